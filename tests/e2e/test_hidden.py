"""What a capture hides is said: the numbers are tshark's, and the option that is named looks."""

from __future__ import annotations

import json
import ssl
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.hidden import KINDS, LINKS
from otus_core.decode.link_types import UNREAD_LINK_TYPES
from otus_core.decode.options import TUNNELS, DecoderConfig
from otus_core.model.accounts import Accounts
from otus_core.testing import packets
from tests.e2e.node import Node
from tests.e2e.test_run import otus
from tests.patience import wait
from tests.sip.messages import message

TSHARK = (
    ("zeek__tunnels__gtp__gtp2_different_udp_port.pcap", "gtpu", "gtp.message == 0xff"),
    ("zeek__tunnels__gtp__gtp6_gtp_0x32.pcap", "gtpu", "gtp.message == 0xff"),
    ("ndpi__vxlan.pcap", "vxlan", "vxlan"),
    ("tcpdump__geneve.pcap", "geneve", "geneve"),
    ("zeek__tunnels__gre-within-gre.pcap", "gre", "gre"),
    ("suricata__bug-5437-02.pcap", "erspan", "erspan"),
    ("ndpi__6in4tunnel.pcap", "ipip", "ip.proto == 41"),
    ("zeek__tunnels__Teredo.pcap", "teredo", "teredo"),
    ("wireshark-wiki__adsl-cpe__nb6-telephone.pcap", "l2tp", "l2tp.type == 0"),
    ("pkts__sctp_init_collision.cap", "sctp", "sctp"),
    ("libtrace__test__traces__100_sll.pcap", "truncated_frames", "frame.cap_len < frame.len"),
    ("scapy__test__pcaps__gmlan_trace.pcap.gz", "link:227", "frame"),
)
SMALL = message()


def write(path: Path, *frames: bytes, cut: int | None = None, link_type: int = 1) -> Path:
    """Write a capture, its frames cut where it is asked for."""
    records = (struct.pack("<IIII", i, 0, len(one[:cut]), len(one)) + one[:cut] for i, one in enumerate(frames))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type) + b"".join(records))
    return path


def summary(capture: Path, *arguments: str) -> dict[str, Any]:
    done = otus("run", capture, "--format", "none", "-q", "--summary-json", "-", *arguments)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["unaccounted"] == 0
    return told


def hidden(capture: Path, *arguments: str) -> dict[str, int]:
    return {one["what"]: one["count"] for one in summary(capture, *arguments)["not_looked_into"]}


@pytest.mark.parametrize(("name", "kind", "shown"), TSHARK)
def test_the_numbers_are_those_of_tshark(
    corpora: Path, name: str, kind: str, shown: str, require_tool: Callable[[str], str]
) -> None:
    asked = [require_tool("tshark"), "-n", "-r", str(corpora / name), "-Y", shown]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False).stdout
    expected = len(told.splitlines())
    assert expected > 0
    assert hidden(corpora / name).get(kind) == expected


BUILT = {
    "gtpu": packets.gtpu(packets.udp(SMALL)),
    "vxlan": packets.vxlan(packets.udp(SMALL)),
    "geneve": packets.geneve(packets.udp(SMALL)),
    "gre": packets.gre(packets.udp(SMALL)),
    "ipip": packets.ipip(packets.udp(SMALL)),
    "erspan": packets.erspan(packets.udp(SMALL)),
    "hep": packets.hep(packets.udp(SMALL)),
}


@pytest.mark.parametrize("kind", BUILT)
def test_the_option_that_is_named_looks_into_it(tmp_path: Path, kind: str) -> None:
    capture = write(tmp_path / "one.pcap", BUILT[kind], BUILT[kind])
    told = otus("run", capture)
    block = told.stderr.decode().partition("not looked into:\n")[2].splitlines()
    (line,) = block
    assert line.startswith("  2 packets in ")
    option = line.partition(": ")[2].split()
    assert (option[0], told.stdout) == ("--tunnels", b"")
    found = otus("run", capture, *option)
    assert found.stdout.count(b"OPTIONS") == 2 and b"not looked into" not in found.stderr


def test_nothing_is_said_where_nothing_is_hidden(examples: Path) -> None:
    assert b"not looked into" not in otus("run", examples / "call.pcap").stderr
    assert summary(examples / "call.pcap")["not_looked_into"] == []


def hello() -> bytes:
    """The first flight of a real TLS client."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(coming, going, server_hostname="sip.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return going.read()


def test_what_sip_hides_in_tcp_is_told_by_its_kind(tmp_path: Path, field: Path) -> None:
    tls = write(
        tmp_path / "tls.pcap",
        packets.tcp(hello(), dst_port=5061),
        packets.tcp(hello(), dst_port=5060, src_port=40000),
        packets.tcp(hello(), dst_port=443, src_port=40000),
        packets.udp(b"\x16\xfe\xfd" + bytes(40), dst_port=5061),
        packets.udp(b"\x81\xc8" + bytes(40), src_port=5061),
    )
    assert hidden(tls) == {"sip:tls": 3}
    assert hidden(field / "49-websocket.pcap") == {}
    cut = write(
        tmp_path / "cut.pcap",
        packets.tcp(SMALL[:100]),
        packets.tcp(SMALL[100:], seq=101),
        packets.tcp(SMALL + SMALL[:60], seq=1 + len(SMALL)),
    )
    assert hidden(cut) == {"cut_streams": 1}


def test_a_crowded_segment_hides_nothing(tmp_path: Path) -> None:
    """The smallest messages that are SIP on its port: 64 KiB hold more of them than a parser may make of one packet."""
    tiny = b"SIP/2.0 200\n\n"
    capture = write(tmp_path / "crowded.pcap", packets.tcp(tiny * 5000))
    told = summary(capture)
    assert told["messages_added"] == 4999 and told["reporters"]["discard"]["reported"] == 5000
    assert told["not_looked_into"] == []


def test_messages_that_the_capture_cut_are_counted(field: Path, tmp_path: Path) -> None:
    found = hidden(field / "15-snaplen.pcap")
    assert found["sip:truncated_messages"] == 3 and found["truncated_frames"] >= 3
    body = message("INVITE sip:a@b SIP/2.0", body=b"v=0\r\n" * 40)
    capture = write(tmp_path / "cut.pcap", packets.udp(body), packets.tcp(body), cut=400)
    assert hidden(capture) == {"truncated_frames": 2, "sip:truncated_messages": 2}


def test_fragments_without_their_first_one_are_told(tmp_path: Path) -> None:
    first, *rest = packets.fragments(packets.udp(message(body=b"x" * 4000)), 1200)
    assert hidden(write(tmp_path / "rest.pcap", *rest)) == {"fragments_without_first": len(rest)}
    assert hidden(write(tmp_path / "first.pcap", first, *rest[:-1])) == {}
    task = tmp_path / "apart.yml"
    capture = write(tmp_path / "all.pcap", first, *rest)
    task.write_text(
        f"capture: {{type: pcap, files: [{capture}]}}\ndecoder: {{ip_reassembly: false}}\nparsers: [sip]\nreporters: "
        "[discard]\n"
    )
    done = otus("run", "--task", task)
    assert f"{1 + len(rest)} fragments that were not put together: decoder.ip_reassembly: true" in done.stderr.decode()


def test_a_link_type_has_its_number_and_name(tmp_path: Path) -> None:
    capture = write(tmp_path / "user.pcap", b"\0" * 20, link_type=147)
    done = otus("run", capture)
    assert "  1 frame of link type 147 (USER0): not supported yet" in done.stderr.decode().splitlines()
    assert hidden(write(tmp_path / "none.pcap", b"\0" * 20, link_type=4711)) == {"link:other": 1}


def test_the_names_are_those_of_the_link_types_that_are_not_read() -> None:
    accounts = Accounts(("frames_read", *COUNTERS))
    decoder = Decoder(accounts, DecoderConfig())
    for number in range(300):
        before = accounts["dropped{decode:unsupported_link}"]
        decoder.decode_one(bytes(64), link_type=number)
        refused = accounts["dropped{decode:unsupported_link}"] > before
        assert not (number in UNREAD_LINK_TYPES and not refused), number
        if number in UNREAD_LINK_TYPES:
            assert accounts[f"hidden{{link:{number}}}"] == 1


def test_every_option_that_is_named_exists() -> None:
    named = {word for told, remedy in (*KINDS.values(), *LINKS.values()) for word in remedy.split() if word[0] == "["}
    assert {word.strip("[]") for word in named} == set(TUNNELS)


def test_a_task_and_its_metrics_say_it_too(node: Node, tmp_path: Path) -> None:
    # Replayed, so that the task goes on
    frames = (
        BUILT["gtpu"],
        packets.tcp(hello(), dst_port=5061),
        *[packets.udp(SMALL)] * 600,
    )
    capture = write(tmp_path / "mixed.pcap", *frames)
    node.start()
    task = {"id": "t", "capture": {"type": "pcap", "files": [str(capture)], "speed": 2}, "reporters": ["discard"]}
    assert node.call("task", "create", "-f", "-", text=json.dumps(task))[0] == 0
    for what in ("gtpu", "sip:tls"):
        sample = ("otus_not_looked_into_total", (("task", "t"), ("what", what)))
        wait(lambda sample=sample: node.metrics().get(sample) == 1.0, what=f"the metric says {what}")
    told = node.state("t")["counters"]["not_looked_into"]
    assert {"what": "gtpu", "count": 1, "told": "packets in GTP-U", "remedy": "decoder.tunnels: [gtpu]"} in told
    for command in (("task", "status", "t"), ("stats",)):
        text = otus("--socket", f"{node.folder}/o.sock", *command).stdout.decode()
        assert "not looked into:\n  1 packet in GTP-U: decoder.tunnels: [gtpu]" in text
