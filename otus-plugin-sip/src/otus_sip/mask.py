"""Processor ``mask``: puts pseudonyms in the place of what tells who somebody is, before anything is reported.

In: outputs of every kind. Out: the same ones, whose labels, payload and ``raw_payload`` agree with each other: of SIP
the message is made again of the masked bytes; of other payloads the texts in their JSON are masked.
"""

from __future__ import annotations

import json
from typing import Any

from otus_core import BaseProcessor, ConfigInvalid, ConfigProblem, Context, OutputPacket, encode_json, read_secret
from otus_sip.config import MaskConfig
from otus_sip.message import SipMessage
from otus_sip.pseudonyms import (
    Names,
    Pseudonyms,
    mask_spans,
    names_in_description,
    names_in_head,
    names_in_text,
)
from otus_sip.rewritten import rewritten

KEY_MIN = 16
"""Characters of a key; fewer can be tried out."""
DEPTH_MAX = 32
"""Nesting of a payload that is looked through: it is made by parsers, of third parties too."""
PERSONAL = frozenset(
    ("user", "display", "username", "name", "email", "phone", "note", "from_user", "to_user", "subject")
)
"""Names of members whose whole text is about a person."""


class Mask(BaseProcessor):
    """Masks one output at a time."""

    def __init__(self, config: MaskConfig) -> None:
        try:
            key = read_secret(config.key_file).encode()
        except (OSError, ValueError) as error:
            raise ConfigInvalid([ConfigProblem("key_file", str(error))]) from None
        if len(key) < KEY_MIN:
            raise ConfigInvalid([ConfigProblem("key_file", f"the key has fewer than {KEY_MIN} characters")])
        self._pseudonyms = Pseudonyms(key[:64], config.keep_digits)
        self._bodies = config.bodies == "mask"
        self._names = Names()  # what records tell of calls names them by Call-IDs, in which a number may stand

    def wire(self, context: Context) -> None:
        """Take the counter."""
        self._masked = context.counter("masked")

    def process(self, output: OutputPacket) -> bool:
        """Mask; everything stays."""
        known: set[bytes] = set()
        payload = output.payload
        own: dict[str, str] = {}
        if isinstance(payload, SipMessage):
            raw = self._message(payload, known)
            if raw != payload.raw:
                payload = rewritten(payload, raw)
                output.replace(payload=payload, raw_payload=payload.raw)
                self._masked()
            own = payload.labels()
            for name in known:
                self._names.add(name)
        else:
            self._other(output)
        output.labels = {name: own.get(name) or self._text(value) for name, value in output.labels.items()}
        return True

    def _message(self, message: SipMessage, known: set[bytes]) -> bytes:
        """Mask a message's bytes: head and body, and what a datagram has behind it."""
        raw, body = message.raw, message.body
        trailing = message.trailing
        start = len(raw) - len(trailing) - len(body)
        head = mask_spans(raw[:start], names_in_head(raw[:start]), self._pseudonyms, known)
        kind = (message.content_type or "").lower()
        if kind.partition(";")[0].strip() == "application/sdp" and message.header("Content-Encoding") is None:
            told = mask_spans(body, names_in_description(body), self._pseudonyms, known)
        else:
            told = _blank(body) if self._bodies else mask_spans(body, names_in_text(body), self._pseudonyms, known)
        return head + told + _blank(trailing)

    def _other(self, output: OutputPacket) -> None:
        """Mask what is not SIP: the texts of its JSON, and texts in its bytes."""
        plain = json.loads(encode_json(output))["payload"]
        masked = self._value(plain, "", 0)
        raw = mask_spans(output.raw_payload, names_in_head(output.raw_payload), self._pseudonyms, self._names)
        if masked != plain or raw != output.raw_payload:
            output.replace(payload=masked if masked != plain else output.payload, raw_payload=raw)
            self._masked()

    def _value(self, value: Any, name: str, depth: int) -> Any:
        if depth > DEPTH_MAX:
            return None
        if isinstance(value, dict):
            return {key: self._value(one, key, depth + 1) for key, one in value.items()}
        if isinstance(value, list):
            return [self._value(one, name, depth + 1) for one in value]
        if not isinstance(value, str):
            return value
        if name in PERSONAL:
            return self._pseudonyms.name(value.encode()).decode("utf-8", "replace")
        return self._text(value)

    def _text(self, text: str) -> str:
        told = text.encode("utf-8", "surrogatepass")
        return mask_spans(told, names_in_text(told), self._pseudonyms, self._names).decode("utf-8", "replace")


def _blank(data: bytes) -> bytes:
    """Give as many letters x for all but line ends."""
    return bytes(c if c in b"\r\n" else 120 for c in data)
