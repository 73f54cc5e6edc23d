"""What the reporter sends is what tshark reads, with a dissector of HEP that knows the specification alone."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from otus_core.testing import packets
from otus_hep.rtcp import homer_json
from tests.e2e.test_hidden import write
from tests.e2e.test_run import otus, outputs
from tests.hep.test_correlation import described
from tests.hep.test_encoding import RTCP
from tests.needs import tool
from tests.sip.messages import message

DISSECTOR = Path(__file__).parent / "hep3.lua"
TIMEOUT_S = 60
SEGMENT = 1000
INFLATE = {"gzip": gzip.decompress, "zlib": zlib.decompress}


def conversation(path: Path) -> Path:
    """A call with RTCP, one of its messages in a VLAN, and messages over IPv6, UDP and TCP; one is very long."""
    ends = {"src": "192.0.2.1", "dst": "192.0.2.2"}
    invite = message("INVITE sip:bob@example.net SIP/2.0", body=described(4000, "RTP/AVP"))
    answer = message("SIP/2.0 200 OK", body=described(5000, "RTP/AVP"))
    long = message("MESSAGE sip:bob@example.net SIP/2.0", body=b"x" * 8000)
    six = {"src": "2001:db8::1", "dst": "2001:db8::2"}
    return write(
        path,
        packets.udp(invite, **ends),
        packets.vlan(packets.udp(answer, src="192.0.2.2", dst="192.0.2.1"), 42),
        packets.udp(RTCP, **ends, src_port=4001, dst_port=5001),
        packets.udp(long, **six),
        packets.tcp(message("OPTIONS sip:bob@example.net SIP/2.0"), **six, src_port=40000),
    )


def sent(task: Path, transport: str) -> list[bytes]:
    """Run a task with a reporter that sends here; gives what came, datagram by datagram or all in one."""
    stream = transport == "tcp"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(TIMEOUT_S)
        if stream:
            sock.listen()
        written = json.loads(task.read_text())
        written["reporters"][0]["config"]["servers"] = [f"127.0.0.1:{sock.getsockname()[1]}"]
        task.write_text(json.dumps(written))
        done = otus("run", "--task", task, "-q", "--summary-json", "-")
        assert done.returncode == 0, done.stderr
        count = json.loads(done.stdout)["reporters"]["hep"]["reported"]
        if not stream:
            return [sock.recv(1 << 16) for _ in range(count)]
        peer, _ = sock.accept()
        with peer:
            return [b"".join(iter(lambda: peer.recv(1 << 16), b""))]


def capture_of(path: Path, came: list[bytes], transport: str) -> Path:
    """Write what came as a capture of it; over TCP in segments that know nothing of packets."""
    if transport == "udp":
        frames = [frame for one in came for frame in packets.fragments(packets.udp(one, dst_port=9060))]
        return write(path, *frames)
    parts = [(at, came[0][at : at + SEGMENT]) for at in range(0, len(came[0]), SEGMENT)]
    return write(path, *(packets.tcp(part, src_port=40000, dst_port=9060, seq=1 + at) for at, part in parts))


def dissected(capture: Path) -> Iterator[dict[str, Any]]:
    """Give what tshark shows of each packet: field → value, and the chunks' bytes altogether as ``chunks``."""
    command = [tool("tshark"), "-X", f"lua_script:{DISSECTOR}", "-T", "pdml", "-r", str(capture)]
    shown = subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT_S).stdout
    for proto in ElementTree.fromstring(shown).iter("proto"):
        if proto.get("name") != "hep3":
            continue
        fields: dict[str, Any] = {"chunks": 0}
        for field in proto.iter("field"):
            name = str(field.get("name")).removeprefix("hep3.")
            if name == "chunk":
                fields["chunks"] += int(str(field.get("size")))
            elif name != "vendor" or field.get("show") != "0":
                assert name not in fields, name
                fields[name] = field.get("value") if name in ("payload", "compressed") else field.get("show")
        yield fields


@pytest.mark.parametrize(("transport", "compression"), [("udp", "none"), ("tcp", "gzip")])
def test_tshark_reads_every_chunk(tmp_path: Path, transport: str, compression: str) -> None:
    capture, key, task = conversation(tmp_path / "call.pcap"), tmp_path / "key", tmp_path / "task.json"
    key.write_text("s3cret\n")
    config = {"transport": transport, "key_file": str(key), "node_name": "edge-1", "capture_id": 12, "servers": ["?"]}
    reporter = {"type": "hep", "config": {**config, "compression": compression}}
    source = {"type": "pcap", "files": [str(capture)]}
    task.write_text(json.dumps({"capture": source, "parsers": ["sip", "rtp"], "reporters": [reporter]}))
    expected = [one for one in outputs(capture, "--parser", "sip", "--parser", "rtp")
                if one["payload_type"] in ("sip", "rtcp")]  # fmt: skip
    found = list(dissected(capture_of(tmp_path / "hep.pcap", sent(task, transport), transport)))
    assert len(found) == len(expected) == 5
    for number, (one, ours) in enumerate(zip(found, expected, strict=True)):
        raw = base64.b64decode(ours["raw_payload"])
        rtcp = ours["payload_type"] == "rtcp"
        squeezed = one.pop("compressed", None)
        assert (squeezed is not None) == (compression != "none"), number
        payload = bytes.fromhex(one.pop("payload") if squeezed is None else squeezed)
        assert (payload if squeezed is None else INFLATE[compression](payload)) == (homer_json(raw) if rtcp else raw)
        version = 4 if "." in ours["src_ip"] else 6
        assert one.pop("chunks") + 6 == int(one.pop("length"))
        assert one == {
            "family": "2" if version == 4 else "10",
            "protocol": str(ours["protocol"]),
            f"src{version}": ours["src_ip"],
            f"dst{version}": ours["dst_ip"],
            "src_port": str(ours["src_port"]),
            "dst_port": str(ours["dst_port"]),
            "seconds": str(number),
            "microseconds": "0",
            "kind": "5" if rtcp else "1",
            "capture_id": "12",
            "node": "edge-1",
            "key": "s3cret",
            "correlation": ours["labels"]["rtp.call_id" if rtcp else "sip.call_id"],
            **({"vlan": "42"} if ours.get("vlans") else {}),
        }
