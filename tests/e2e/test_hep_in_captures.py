"""HEP inside captures, ``--tunnels hep``: its messages with the addresses and times that it carries."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from otus_core.testing import packets
from tests.core.decode.frames import exported
from tests.e2e.test_hidden import write
from tests.e2e.test_run import otus, outputs
from tests.sip.messages import message

CALL = (
    message("INVITE sip:bob@example.net SIP/2.0", body=b"v=0\r\n" * 400),
    message("BYE sip:bob@example.net SIP/2.0"),
)
NOON = 1_767_261_600_123_456_000


def inside(data: bytes, port: int = 9060) -> bytes:
    return packets.udp(data, src="10.9.9.1", dst="10.9.9.2", src_port=40000, dst_port=port)


def hep2(payload: bytes, version: int = 2, src: bytes = bytes(3) + b"\1", dst: bytes = bytes(3) + b"\2") -> bytes:
    """A packet of version 1 or 2 as Kamailio's siptrace sends it."""
    head = struct.pack("!BBBBHH", version, 8 + 2 * len(src), 2 if len(src) == 4 else 10, 17, 5060, 5062) + src + dst
    when = struct.pack("<IIHxx", 1_767_261_600, 123_456, 2001) if version == 2 else b""
    return head + when + payload


def told(output: dict[str, Any]) -> tuple[Any, ...]:
    names = ("timestamp", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", "tunnel", "outer_src_ip")
    return (*[output.get(name) for name in names], output["labels"]["sip.method"])


def test_a_message_has_the_addresses_and_the_time_of_its_capture(tmp_path: Path) -> None:
    about: dict[str, Any] = {"src": "192.0.2.8", "dst": "192.0.2.9", "src_port": 5070, "timestamp": NOON}
    six = {**about, "src": "2001:db8::8", "dst": "2001:db8::9"}
    capture = write(
        tmp_path / "hep.pcap",
        inside(packets.hep3(CALL[0], **about)),
        inside(packets.hep3(CALL[1], **about), port=7777),
        inside(packets.hep3(CALL[1], **six, protocol=6)),
        inside(hep2(CALL[1])),
        inside(hep2(CALL[1], 1)),
        inside(hep2(CALL[1], 2, bytes(15) + b"\1", bytes(15) + b"\2")),
    )
    found = [told(one) for one in outputs(capture, "--tunnels", "hep")]
    time = "2026-01-01T10:00:00.123456000Z"
    here = ("192.0.2.8", 5070, "192.0.2.9", 5060)
    assert found == [
        (time, *here, 17, "hep", "10.9.9.1", "INVITE"),
        (time, *here, 17, "hep", "10.9.9.1", "BYE"),
        (time, "2001:db8::8", 5070, "2001:db8::9", 5060, 6, "hep", "10.9.9.1", "BYE"),
        (time, "0.0.0.1", 5060, "0.0.0.2", 5062, 17, "hep", "10.9.9.1", "BYE"),
        ("1970-01-01T00:00:04.000000000Z", "0.0.0.1", 5060, "0.0.0.2", 5062, 17, "hep", "10.9.9.1", "BYE"),
        (time, "::1", 5060, "::2", 5062, 17, "hep", "10.9.9.1", "BYE"),
    ]


def test_hep_in_fragments_is_read(tmp_path: Path) -> None:
    """The datagram lies in memory of its own, also where what HEP holds came over TCP."""
    whole = inside(packets.hep3(CALL[0], protocol=6))
    capture = write(tmp_path / "cut.pcap", *packets.fragments(whole, 600), *packets.fragments(whole, 400, 77))
    found = outputs(capture, "--tunnels", "hep")
    assert [(one["labels"]["sip.method"], one["protocol"]) for one in found] == [("INVITE", 6)] * 2


def test_messages_of_one_connection_are_no_segments(tmp_path: Path) -> None:
    """HEP and exported PDUs hold whole messages: none of them is taken for a repetition of another."""
    twice = (CALL[0], CALL[0], CALL[1], CALL[1])
    hep = write(tmp_path / "hep.pcap", *(inside(packets.hep3(one, protocol=6)) for one in twice))
    pdus = write(tmp_path / "pdu.pcap", *(exported(one, 2) for one in twice), link_type=252)
    for capture in (hep, pdus):
        found = [one["labels"]["sip.method"] for one in outputs(capture, "--tunnels", "hep")]
        assert found == ["INVITE", "INVITE", "BYE", "BYE"]


def over_tcp(data: bytes, *cuts: int) -> list[bytes]:
    """Segments of one connection, cut at these places."""
    places = [0, *cuts, len(data)]
    parts = [(at, data[at:end]) for at, end in pairwise(places)]
    about = {"src": "10.9.9.1", "dst": "10.9.9.2", "src_port": 40000, "dst_port": 9060}
    return [packets.tcp(part, seq=1 + at, **about) for at, part in parts]


def test_hep_over_tcp_is_read(tmp_path: Path) -> None:
    """Several packets in one segment, one in several, out of order, and each with the time that it carries."""
    about: dict[str, Any] = {"src": "192.0.2.8", "dst": "192.0.2.9", "src_port": 5070}
    rtp = packets.hep3(b"\x80 no SIP", timestamp=NOON, kind=34)
    sent = [packets.hep3(one, timestamp=NOON + n * 1000, protocol=6 if n else 17, **about)
            for n, one in enumerate((*CALL, CALL[1]))]  # fmt: skip
    squeezed = packets.hep3(b"", (16, gzip.compress(CALL[1])), timestamp=NOON + 3000, **about)
    data = b"".join((*sent, rtp, squeezed))
    a, b, c = len(sent[0]) - 500, len(sent[0]) - 100, len(sent[0]) + 5
    first, second, third, last = over_tcp(data, a, b, c)
    expected = [
        (
            f"2026-01-01T10:00:00.12345{6 + n}000Z",
            "192.0.2.8",
            5070,
            "192.0.2.9",
            5060,
            protocol,
            "hep",
            "10.9.9.1",
            what,
        )
        for n, (protocol, what) in enumerate([(17, "INVITE"), (6, "BYE"), (6, "BYE"), (17, "BYE")])
    ]
    for name, frames in (("plain", over_tcp(data)), ("cut", [first, third, second, last])):
        capture, summed = write(tmp_path / f"{name}.pcap", *frames), tmp_path / "summary.json"
        found = outputs(capture, "--tunnels", "hep", "--summary-json", summed)
        assert [told(one) for one in found] == expected
        summary = json.loads(summed.read_text())
        assert (summary["unaccounted"], summary["dropped"], summary["not_looked_into"]) == (0, {"unmatched": 1}, [])
    plain = json.loads(otus("run", capture, "--format", "none", "--summary-json", "-", "-q").stdout)
    assert [one["what"] for one in plain["not_looked_into"]] == ["hep_tcp"]


def test_hep_over_tcp_may_be_cut_anywhere(tmp_path: Path) -> None:
    data = packets.hep3(CALL[1], timestamp=NOON) + packets.hep3(CALL[1], timestamp=NOON, protocol=6)
    frames = []
    for at in range(1, len(data)):
        about = {"src": "10.9.9.1", "dst": "10.9.9.2", "src_port": 1024 + at, "dst_port": 9060}
        frames += [packets.tcp(data[:at], **about), packets.tcp(data[at:], seq=1 + at, **about)]
    capture = write(tmp_path / "cuts.pcap", *frames)
    assert len(outputs(capture, "--tunnels", "hep")) == 2 * (len(data) - 1)


def test_compressed_payloads_are_inflated(tmp_path: Path) -> None:
    """Also of what came in fragments, and never more than a datagram holds."""
    made = [packets.hep3(b"", (16, squeeze(CALL[0])), timestamp=NOON) for squeeze in (gzip.compress, zlib.compress)]
    bomb = packets.hep3(b"", (16, gzip.compress(bytes(10_000_000))))
    random = packets.hep3(b"", (16, zlib.compress(CALL[0] + Random(1).randbytes(3000))), timestamp=NOON)
    frames = [*map(inside, made), *packets.fragments(inside(random), 1000), *over_tcp(bomb), inside(bomb)]
    capture = write(tmp_path / "squeezed.pcap", *frames)
    summed = tmp_path / "summary.json"
    found = outputs(capture, "--tunnels", "hep", "--summary-json", summed)
    assert [one["labels"]["sip.method"] for one in found] == ["INVITE"] * 3
    assert [base64.b64decode(one["raw_payload"])[: len(CALL[0])] for one in found] == [CALL[0]] * 3
    summary = json.loads(summed.read_text())
    assert summary["unaccounted"] == 0
    hidden = {one["what"]: one["count"] for one in summary["not_looked_into"]}
    assert hidden == {"hep": 1, "hep_tcp": 1}


def test_what_is_damaged_is_said_to_be_hidden(tmp_path: Path) -> None:
    good = packets.hep3(CALL[1], timestamp=NOON)
    compressed = packets.hep3(b"", (16, b"\x1f\x8b"))
    damaged = [good[:40], good[:4] + b"\0\5" + good[6:], good[:10] + b"\0\0" + good[12:], packets.hep3(b""), compressed]
    capture = write(tmp_path / "bad.pcap", *map(inside, damaged))
    done = otus("run", capture, "--tunnels", "hep", "--format", "none", "--summary-json", "-", "-q")
    summary = json.loads(done.stdout)
    assert summary["unaccounted"] == 0 and summary["dropped"] == {"unmatched": 5}
    assert [(one["what"], one["count"]) for one in summary["not_looked_into"]] == [("hep", 5)]


def test_the_captures_of_the_corpora_give_what_the_wireshark_plugin_shows(corpora: Path) -> None:
    name = "hep-wireshark__pcap__hep.pcap"
    lines = (corpora / "oracle" / f"{name}.hep-lua.sip.jsonl").read_text().splitlines()
    expected = [(one.get("method"), one.get("status"), one["call_id"], one["cseq"]) for one in map(json.loads, lines)]
    found = [one["labels"] for one in outputs(corpora / name, "--tunnels", "hep")]
    ours = [
        (
            one.get("sip.method") if "sip.status_code" not in one else None,
            one.get("sip.status_code"),
            one["sip.call_id"],
        )
        for one in found
    ]
    assert ours == [one[:3] for one in expected]
