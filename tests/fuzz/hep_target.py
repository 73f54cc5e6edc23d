"""Fuzz target: any bytes as packets of HEP: as datagrams, as a stream, inside a capture, and as what is sent in HEP.

Each packet is counted once, each frame can be decoded, and what is sent is read back whole.

``python -m tests.fuzz.hep_target`` runs seeds and mutations; with ``--fuzz`` and atheris installed it fuzzes.
"""

from __future__ import annotations

import gzip
import socket
import struct

from otus_core import OutputPacket
from otus_core.testing import packets
from otus_hep.collecting import Collector
from otus_hep.config import HepReporterConfig
from otus_hep.encoding import Encoder
from otus_hep.rtcp import homer_json
from tests.e2e.test_hep_in_captures import hep2
from tests.fuzz.harness import run
from tests.hep.chunks import read

COLLECTOR = Collector(lambda _address: True, 0.0, b"")
SOURCE = COLLECTOR.source(bytes(4))
ENCODER = Encoder(HepReporterConfig(servers=["127.0.0.1:9060"], compression="zlib"), b"n", b"k", {"sip": "sip.call_id"})
NEAR, FAR = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
NEAR.bind(("127.0.0.1", 0))
FAR.connect(NEAR.getsockname())


def one_input(data: bytes) -> None:
    """Receive the bytes each way, and send them."""
    FAR.send(data[:60_000])
    while not COLLECTOR.datagrams(NEAR.fileno(), 1):
        pass
    COLLECTOR.stream(data, SOURCE)
    batch, counted = COLLECTOR.batch(), COLLECTOR.take_counts()
    assert counted.get("packets", 0) == len(batch)
    for frame in batch:
        packets.decode(frame.data, link_type=frame.link_type)
    packets.decode(packets.udp(data[:60_000], dst_port=9060))
    text = data[:100].decode("utf-8", "replace")
    made = ENCODER.encode([OutputPacket(payload_type="sip", labels={"sip.call_id": text}, raw_payload=data)])
    assert len(made) == 0 or read(made[0]).payload == data
    homer_json(data)
    homer_json(data, encrypted=True)


def seeds() -> list[bytes]:
    """Give packets of each version, with each chunk."""
    names = ((12, struct.pack("!I", 7)), (14, b"k"), (17, b"a@b"), (18, b"\0\x2a"), (19, b"edge-1"))
    whole = packets.hep3(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", *names)
    squeezed = packets.hep3(b"", (16, gzip.compress(b"OPTIONS")))
    six = packets.hep3(b"x", src="2001:db8::1", dst="2001:db8::2", protocol=6)
    return [whole, squeezed, six, hep2(b"x"), hep2(b"x", 1), hep2(b"x", 2, bytes(16), bytes(16)), whole + six]


if __name__ == "__main__":
    run(one_input, seeds())
