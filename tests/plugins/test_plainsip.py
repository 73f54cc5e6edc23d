"""A SIP parser in plain Python, written as anybody could: it sees over UDP what the first-party one sees, in every
capture, and keeps the contract. It declares no streams: over TCP it sees segments, and the first-party one messages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest

from otus_core.testing import packets
from tests.e2e.test_corpora import own_bytes, registry, run
from tests.plugins.installed import Installed
from tests.sip.messages import message

SOURCE = Path(__file__).parent / "otus-plugin-plainsip"
UDP = 17
NOT_ITS = ("sip.malformed", "sip.trailing_bytes")
"""Labels of the first-party parser alone."""
CONTRACT = """
from pathlib import Path
from otus_core.testing.contract import ParserContract

class TestPlainSip(ParserContract):
    component = "plainsip"
    samples = Path(__file__).parent / "samples"
"""

COSTS = """
import json, time
from otus_plainsip.message import begins, read

def cost(piece, count):
    data = b"INVITE sip:x SIP/2.0\\r\\nFrom: " + piece.encode() * count + b"\\r\\n\\r\\n"
    spent = []
    for _ in range(7):
        begun = time.process_time()
        read(begins(data), False)
        spent.append(time.process_time() - begun)
    return min(spent)

pieces = ["Via: x\\r\\n", "A: b\\r\\n c\\r\\n", "<", '"', "Via: x\\r\\n\\n", "From: a\\r\\n", "\\r\\n ", "t", "\\\\"]
ratios = {piece: min(cost(piece, 40000) / max(cost(piece, 20000), 1e-4) for _ in range(3)) for piece in pieces}
print(json.dumps(ratios))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = Installed(tmp_path_factory.mktemp("plainsip"))
    made.install(SOURCE)
    return made


@pytest.fixture
def in_process(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process, too, find what is installed."""
    monkeypatch.syspath_prepend(str(installed.site))
    registry.cache_clear()
    yield
    registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith("otus_plainsip")]:
        del sys.modules[name]


def seen(output: dict[str, Any]) -> tuple[Any, ...]:
    payload = output["payload"]
    what = payload.get("method"), payload.get("request_uri"), payload.get("status_code"), payload.get("reason")
    labels = {name: value for name, value in output["labels"].items() if name not in NOT_ITS}
    return output["timestamp"], labels, what, payload["headers"], own_bytes(output)


def over_udp(outputs: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [seen(output) for output in outputs if output["protocol"] == UDP]


def has_streams(summary: dict[str, Any], outputs: list[dict[str, Any]]) -> bool:
    """Whether anything was put together over TCP, or was to be."""
    tried = any(name.startswith("reassembly:") for name in summary["dropped"])
    return tried or summary["segments_merged"] > 0 or any(output["protocol"] != UDP for output in outputs)


def told(summary: dict[str, Any]) -> dict[str, int]:
    """What was dropped, whichever parser dropped it."""
    return {name.replace("plainsip", "sip"): count for name, count in summary["dropped"].items()}


def test_it_is_listed_and_keeps_every_rule(installed: Installed) -> None:
    assert "SIP (RFC 3261) in plain Python" in installed.otus("plugins", "list").stdout
    checked = installed.otus("plugins", "check", "plainsip")
    assert (checked.returncode, checked.stdout.count("✗")) == (0, 0), checked.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_it_sees_what_the_first_party_parser_sees(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = 0
    for path in sorted(corpora.iterdir()):
        if path.is_file() and path.suffix not in (".md", ".tsv"):
            oracle, dropped = run(path, monkeypatch)
            outputs, ours = run(path, monkeypatch, "plainsip")
            assert over_udp(outputs) == over_udp(oracle), path.name
            if not has_streams(dropped, oracle):
                assert told(ours) == told(dropped), path.name
            messages += len(over_udp(outputs))
    assert messages > 2000


UNUSUAL = {
    "usual": message(),
    "compact": message(call_id="i: c", from_="f: <sip:a@b>", to="t: sip:c@d;tag=1", via="v: SIP/2.0/UDP x"),
    "small": message(call_id="call-id: c", from_="FROM:<sip:a@b>", to="to : sip:c@d"),
    "folded": message(from_="From: Alice\r\n <sip:a@b>;tag=1", via="Via: a,\r\n\tb"),
    "two-vias": message(via="Via: one\r\nVia: two \r\nVIA: three"),
    "vias-apart": message("OPTIONS sip:x SIP/2.0", "Via: late"),
    "two-calls": message(call_id="i: first\r\nCall-ID: second"),
    "bare-lf": message().replace(b"\r\n", b"\n"),
    "mixed": message().replace(b"\r\nTo", b"\nTo"),
    "early-end": message().replace(b"\r\nTo", b"\n\nTo"),
    "late-lf-end": message().replace(b"\r\nTo", b"\n\r\nTo"),
    "quoted": message(from_='From: "A \\"<sip:no@x>\\"" <sip:a@b>', to='To: "d" <sip:c@d>'),
    "no-values": message(call_id="Call-ID: ", via="Via:", from_="From: <>", to="To: ;tag=1"),
    "no-colon": message(call_id="Call-ID c"),
    "no-utf-8": message(call_id="Call-ID: \udcff\udcfe"),
    "cseq": message(cseq="007\tINVITE"),
    "bad-cseq": message(cseq="seven INVITE"),
    "short": message("INVITE sip:x SIP/2.0", "Content-Length: 3", body=b"abcdef"),
    "long": message("INVITE sip:x SIP/2.0", "l : 99", body=b"abcdef"),
    "two-lengths": message("INVITE sip:x SIP/2.0", "Content-Length: 2", "l: 2", body=b"abcdef"),
    "no-end": message()[:-4],
    "cut": message()[:-30],
    "crlf-first": b"\r\n\r\n" + message(),
    "unknown-method": message("FROB sip:x SIP/2.0"),
    "no-reason": message("SIP/2.0 200 "),
    "bare-status": message("SIP/2.0 200"),
    "bad-status": message("SIP/2.0 700 No"),
    "bad-line": message("INVITE  sip:x SIP/2.0"),
    "old": message("INVITE sip:x SIP/1.0"),
    "keep-alive": b"\r\n\r\n",
    "stun": bytes.fromhex("000100002112a442") + bytes(12),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http-as-sip": b"SIP/2.0 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("port", [5060, 7000])
def test_it_agrees_on_what_is_unusual(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = tmp_path / "unusual.pcap"
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for data in UNUSUAL.values():
            writer.writepkt(packets.udp(data, dst_port=port, src_port=9))
    oracle, dropped = run(capture, monkeypatch)
    outputs, ours = run(capture, monkeypatch, "plainsip")
    for one, other in zip(outputs, oracle, strict=True):
        assert seen(one) == seen(other)
    assert told(ours) == told(dropped)


def test_it_keeps_the_contract(installed: Installed, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    for name in ("usual", "compact", "folded", "no-utf-8", "short"):
        (samples / f"{name}.bin").write_bytes(UNUSUAL[name])
    (tmp_path / "test_contract.py").write_text(CONTRACT)
    done = installed.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path)
    assert done.returncode == 0, done.stdout


def test_its_cost_is_linear(installed: Installed) -> None:
    done = installed.run(sys.executable, "-c", COSTS)
    assert done.returncode == 0, done.stderr
    assert {piece: ratio for piece, ratio in json.loads(done.stdout).items() if ratio > 3.0} == {}
