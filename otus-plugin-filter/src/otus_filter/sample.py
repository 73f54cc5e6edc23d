"""Processor ``sample``: keeps a part of the calls, each of them whole.

What a call is says the label that its parser declares (``call_label``), and of a record its key. Whether a call stays
is a matter of that text and the seed alone, so that all workers and nodes choose the same ones and nothing is
remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from otus_core import BaseProcessor, Context, OutputPacket
from otus_filter.thinning import SampleConfig

SCALE = 1 << 64
"""As many values as eight bytes of a digest have."""


class Sample(BaseProcessor):
    """Compares a digest of the call with the rate."""

    def __init__(self, config: SampleConfig) -> None:
        self._below = round(config.rate * SCALE)
        self._seed = blake2b(config.seed.encode(), digest_size=16).digest()
        self._others = config.others == "keep"
        self._labels: Mapping[str, str] = {}

    def wire(self, context: Context) -> None:
        """Take the labels of calls, and the counters."""
        self._labels = context.call_labels
        self._kept, self._dropped = context.counter("kept"), context.counter("dropped")

    def process(self, output: OutputPacket) -> bool:
        """Say whether the message's call is among those that stay."""
        name = self._labels.get(output.payload_type)
        call = output.label(name) if name is not None else None
        call = output.key if call is None else call
        if call is None:
            return self._others
        digest = blake2b(call.encode("utf-8", "surrogatepass"), digest_size=8, key=self._seed).digest()
        kept = int.from_bytes(digest) < self._below
        (self._kept if kept else self._dropped)()
        return kept
