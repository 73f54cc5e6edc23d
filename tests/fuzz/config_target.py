"""Fuzz target: any bytes as a configuration or task file.

Each is refused with words that a terminal can bear, or understood, within bounds of time and size.

``python -m tests.fuzz.config_target`` runs seeds and mutations of them; with ``--fuzz`` and atheris it fuzzes.
"""

from __future__ import annotations

import functools
import json
import time
from typing import Any

from otus_core.config.effective import effective_from, is_configuration
from otus_core.config.load import load_bytes
from otus_core.config.shipped import shipped_config
from otus_core.errors import ConfigInvalid, OtusError
from otus_core.plugins.loader import load
from otus_core.plugins.registry import Registry
from otus_core.task.config import load_task, unwrap
from tests.fuzz.harness import run

WITHIN_S = 2.0
"""Far more than any input of a seed's size takes, on any machine and in a sanitizer build."""
TOLD_MAX = 1 << 20
GROWTH_MAX = 64
"""How many times larger than the file what is made of it may be: an alias would make it millions."""
ENVIRONMENT = {"OTUS_NODE_IP": "192.0.2.1"}


@functools.cache
def registry() -> Registry:
    """The installed plugins."""
    return load()


def one_input(data: bytes) -> None:
    """Read ``data`` as the daemon and ``otus validate`` do."""
    begun = time.process_time()
    refusal = None
    try:
        understood(load_bytes(data, "fuzz"), len(data))
    except OtusError as error:
        refusal = error
    assert time.process_time() - begun < WITHIN_S
    if refusal is not None:
        told = str(refusal)
        assert told and len(told) < TOLD_MAX
        assert told.replace("\n", "").isprintable(), repr(told)


def understood(value: Any, size: int) -> None:
    """Go on with what a file holds. Raises OtusError."""
    assert len(json.dumps(value, allow_nan=False)) <= GROWTH_MAX * (size + 1)
    if is_configuration(value):
        effective_from(value, "fuzz", ENVIRONMENT, registry().config_sections())
        return
    config = load_task(unwrap(value, "fuzz"), registry(), source="fuzz")
    again = load_task(config.source, registry())
    assert again.source == config.source
    if refused(config.source):
        raise ConfigInvalid("what was valid is not valid as a file")


def refused(source: dict[str, Any]) -> bool:
    """Whether a valid task, written as the store writes it, is refused when it is read again."""
    try:
        load_task(load_bytes(json.dumps(source).encode()), registry())
    except ConfigInvalid:
        return True
    return False


def seeds() -> list[bytes]:
    """Give files of both kinds and both spellings, and hostile ones."""
    task = {
        "id": "t1",
        "workers": 2,
        "capture": {"type": "pcap", "files": ["a.pcap"], "bpf_filter": "udp port 5060"},
        "decoder": {"tunnels": ["vxlan"], "ip_reassembly": {"timeout": "30s"}},
        "parsers": ["sip", {"type": "sip", "id": "other", "config": {"ports": [5060]}}],
        "processors": [{"name": "filter", "config": {"drop_if": "sip.method == 'OPTIONS'"}}],
        "reporters": [{"type": "console", "batch_size": 7, "fallback": "discard"}, "discard"],
    }
    lines = "id: t1\ncapture: {type: pcap, files: [x]}\nparsers:\n  - sip\nreporters: [discard]\n"
    return [
        shipped_config(registry().config_sections()).encode(),
        json.dumps(task).encode(),
        json.dumps({"command": "task_create", "task": task}, indent=2).encode(),
        lines.encode(),
        b"otus: {log: {level: debug, outputs: {loki: {labels: {app: x}}}}, kafka: {brokers: ['a:1'], sasl: {enabled: "
        b"true}}}\n",
        b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
        b"a: 1\na: 2\n",
        b"!!python/object/apply:os.system ['true']\n",
        b"otus: !!binary aGVsbG8=\n--- \n...\n",
        b'{"a": {"a": {"a": [[[[1e999, NaN, 0x10, 1_000, 0o17]]]]}}}',
        b"otus: {log: {level: \xe2\x80\xae, \x1b[31m: \xff}}\n",
        b"? [complex, key]\n: |\n  folded\n  text\n<<: {a: b}\n",
        b"[" * 100 + b"{" * 100,
    ]


if __name__ == "__main__":
    run(one_input, seeds())
