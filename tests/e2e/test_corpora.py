"""Every capture of the corpora: nothing breaks, every frame is accounted for, and every SIP message is the one that
tshark saw.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from otus_core.cli import foreground
from otus_core.plugins.loader import load
from otus_core.task.config import load_task

TUNNELS = "vxlan,gre,geneve,ipip,gtpu"

NOT_READ = {
    "wireshark-wiki__protos-test-suite-traffic__c07-sip-r2.cap": "Network Monitor 2, which is neither pcap "
    "nor pcapng; the oracle read it through tshark",
}


class Collected:
    """Standard output that is kept."""

    isatty = False
    columns = 0
    ended = None
    waited_ns = 0

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    async def write(self, lines: bytes) -> None:
        self.lines.append(lines)


@functools.cache
def registry() -> Any:
    return load()


def run(
    path: Path, monkeypatch: pytest.MonkeyPatch, parser: str = "sip"
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the whole chain over one capture, in this process."""
    collected = Collected()
    monkeypatch.setattr(foreground, "StdoutWriter", lambda: collected)
    request = foreground.RunRequest(files=(str(path),), format="json", parsers=(parser,), tunnels=TUNNELS, quiet=True)
    data = foreground.task_data(request)
    if parser == "sip":  # the oracle has the bytes as they came
        data["parsers"] = [{"type": "sip", "config": {"show_credentials": True}}]
    config = load_task(data, registry())
    result = foreground.run_task(config, registry(), request)
    return [json.loads(line) for line in b"".join(collected.lines).splitlines()], result.summary


def oracle_of(path: Path) -> list[tuple[str, str]] | None:
    """Give the SHA-256 and the method or status of each message that is ours to report, in order; ``None`` without an
    oracle.
    """
    for found in (path.parent / "oracle").glob(f"{path.name.replace('[', '[[]')}.sip.jsonl*"):
        data = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
        rows = [json.loads(line) for line in data.splitlines()]
        return [(row["sha256"], row.get("method") or row["status"]) for row in rows if not row.get("in_icmp_error")]
    return None


def test_every_capture(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captures = [path for path in sorted(corpora.iterdir()) if path.is_file() and path.suffix not in (".md", ".tsv")]
    wrong, compared = [], 0
    for path in captures:
        outputs, summary = run(path, monkeypatch)
        if summary["unaccounted"]:
            wrong.append(f"{path.name}: {summary['unaccounted']} unaccounted")
        expected = oracle_of(path)
        if expected is None or path.name in NOT_READ:
            continue
        found = [_identity(output) for output in outputs]
        compared += len(expected)
        if found != expected:
            wrong.append(f"{path.name}: {len(found)} messages, {len(expected)} expected")
    assert not wrong
    assert (len(captures) >= 600, compared > 1000) == (True, True)


def test_http_that_says_sip_is_not_sip(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ndpi__http_on_sip_port.pcap", "suricata__http-evader__http-evader-486.pcap"):
        path = corpora / name
        if path.exists():
            assert run(path, monkeypatch)[0] == []


def own_bytes(output: dict[str, Any]) -> bytes:
    """Give a message without what its datagram has behind it."""
    raw = base64.b64decode(output["raw_payload"])
    head, end, body = raw.partition(b"\r\n\r\n")
    return head + end + body[: output["payload"].get("content_length")]


def _identity(output: dict[str, Any]) -> tuple[str, str]:
    labels = output["labels"]
    digest = hashlib.sha256(own_bytes(output)).hexdigest()
    return digest, labels.get("sip.method") or labels["sip.status_code"]
