"""What the encoder writes, read by plain Python."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otus_core import OutputPacket
from otus_hep.config import HepReporterConfig
from otus_hep.encoding import Encoder, Packets
from otus_hep.rtcp import homer_json
from tests.hep.chunks import cut, read

LABELS = {"sip": "sip.call_id", "rtcp": "rtp.call_id"}
NOON = 1_767_268_800_123_456_789
addresses = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)


def encoder(node: bytes = b"edge-1", key: bytes = b"", **options: Any) -> Encoder:
    return Encoder(HepReporterConfig(servers=["127.0.0.1:9060"], **options), node, key, LABELS)


def output(payload: bytes = b"OPTIONS", **about: Any) -> OutputPacket:
    given: dict[str, Any] = {"payload_type": "sip", "labels": {"sip.call_id": "a@b"}, "timestamp": NOON, **about}
    return OutputPacket(raw_payload=payload, **given)


def encoded(*batch: OutputPacket, **options: Any) -> Packets:
    return encoder(**options).encode(batch)


@settings(max_examples=300)
@given(
    ends=addresses,
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    protocol=st.integers(0, 255),
    payload=st.binary(max_size=3000),
    call=st.text(st.characters(codec="utf-8"), max_size=300),
    time=st.integers(0, (1 << 32) * 1_000_000_000 - 1),
    vlans=st.lists(st.integers(0, 4095), max_size=2),
    names=st.tuples(st.binary(max_size=200), st.text(st.characters(codec="ascii"), max_size=100)),
    compression=st.sampled_from(["none", "gzip", "zlib"]),
)
def test_everything_that_goes_in_comes_out(
    ends: tuple[Any, Any],
    ports: tuple[int, int],
    protocol: int,
    payload: bytes,
    call: str,
    time: int,
    vlans: list[int],
    names: tuple[bytes, str],
    compression: str,
) -> None:
    message = output(
        payload,
        src_ip=str(ends[0]),
        dst_ip=str(ends[1]),
        src_port=ports[0],
        dst_port=ports[1],
        protocol=protocol,
        timestamp=time,
        vlans=vlans,
        labels={"sip.call_id": call},
    )
    made = encoded(message, key=names[1].encode(), compression=compression, capture_id=77)
    assert (len(made), made.places, made.failed) == (1, [0], {})
    found = read(made[0])
    assert (found.payload, found.timestamp) == (payload, time // 1000 * 1000)
    assert (ip_address(found.src), ip_address(found.dst)) == ends
    assert (found.src_port, found.dst_port, found.protocol) == (*ports, protocol)
    assert (found.correlation or "", found.node, found.key or "") == (call, "edge-1", names[1])
    assert (found.capture_id, found.kind, found.vlan or 0) == (77, 1, vlans[0] if vlans else 0)


def test_packets_are_in_the_order_of_their_times() -> None:
    times = [5, 3, 9, 3, 1]
    made = encoded(*(output(b"%d" % n, timestamp=time) for n, time in enumerate(times)))
    assert made.places == [4, 1, 3, 0, 2]
    packets, rest = cut(made.stream())
    assert [one.payload for one in packets] == [b"4", b"1", b"3", b"0", b"2"] and not rest


def test_what_is_too_large_is_said_and_never_cut() -> None:
    overhead = len(encoded(output(b"x"))[0]) - 1
    fits, over = output(b"x" * (65_507 - overhead)), output(b"x" * (65_508 - overhead))
    made = encoded(fits, over, output(b"x" * 200_000), output(b"x", labels={"sip.call_id": "x" * 65_530}))
    assert (made.places, made.failed) == ([0], {"too_large": [1, 2, 3]})
    assert len(made[0]) == 65_507 and read(made[0]).payload == fits.raw_payload
    assert encoded(over, transport="tcp", max_size=65_535).places == [0]
    assert encoded(output(b"x" * 8192), max_size=8192).failed == {"too_large": [0]}
    squeezed = encoded(output(b"x" * 200_000), compression="gzip")
    assert read(squeezed[0]).payload == b"x" * 200_000


def test_what_hep_cannot_carry_costs_that_message_alone() -> None:
    batch = [
        output(),
        output(timestamp=-1),
        output(timestamp=(1 << 32) * 1_000_000_000),
        output(labels={"sip.call_id": "x"}, payload_type="dns"),
        output(labels={"sip.call_id": "\ud800"}),
    ]
    made = encoded(*batch)
    assert made.failed == {"encode": [1, 2], "left_out": [3]}
    assert [read(one).correlation for one in made] == ["a@b", "?"]


def test_records_go_as_json_if_they_are_asked_for() -> None:
    record = OutputPacket(
        payload_type="call", payload={"state": "busy"}, key="c@d", is_record=True, src_ip=None, dst_ip=None,
        timestamp=NOON,
    )  # fmt: skip
    assert encoded(record).failed == {"left_out": [0]}
    found = read(encoded(record, records=["call"])[0])
    assert (found.kind, found.correlation, found.src, found.src_port) == (100, "c@d", "0.0.0.0", 0)
    assert json.loads(found.payload)["payload"] == {"state": "busy"}
    assert read(encoded(record, records=["call"], record_kind=35)[0]).kind == 35


# A sender report with two blocks, and the name of its sender; the figures are those that tshark shows
RTCP = bytes.fromhex(
    "82c80012 00000001 e8000000 80000000 00000bb8 00000064 00003e80"
    "00000002 40fffffe 00010005 00000010 12345678 00010000"
    "00000003 00000007 0000ffff 00000020 00000000 00000000"
    "81ca0002 00000001 01016100"
)


def test_rtcp_is_what_homer_reads() -> None:
    packet = output(RTCP, payload_type="rtcp", labels={"rtp.call_id": "a@b"})
    found = read(encoded(packet)[0])
    told = json.loads(found.payload)
    assert (found.kind, found.correlation, told["ssrc"], told["sdes_ssrc"], told["type"]) == (5, "a@b", 1, 1, 200)
    assert told["sender_information"] == {
        "ntp_timestamp_sec": 0xE8000000, "ntp_timestamp_usec": 0x80000000, "rtp_timestamp": 3000, "packets": 100,
        "octets": 16000,
    }  # fmt: skip
    assert told["report_count"] == 2
    assert told["report_blocks"][0] == {
        "source_ssrc": 2, "fraction_lost": 64, "packets_lost": 0xFFFFFE, "highest_seq_no": 65541, "ia_jitter": 16,
        "lsr": 0x12345678, "dlsr": 65536,
    }  # fmt: skip


def test_of_encrypted_rtcp_only_what_is_in_clear_is_sent() -> None:
    labels = {"rtp.call_id": "a@b", "rtp.encrypted": "true"}
    found = read(encoded(output(RTCP, payload_type="rtcp", labels=labels))[0])
    assert json.loads(found.payload) == {"type": 200, "report_count": 2, "ssrc": 1, "encrypted": True}


@given(st.one_of(st.binary(max_size=200), st.integers(0, len(RTCP)).map(lambda n: RTCP[:n])))
def test_rtcp_of_any_bytes_is_json(data: bytes) -> None:
    json.loads(homer_json(data))
    json.loads(homer_json(data, encrypted=True))


def test_a_number_outside_is_refused() -> None:
    with pytest.raises(IndexError):
        encoded(output())[1]
