"""An output as JSON: what every JSON reader gets back."""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import OutputPacket, encode_json, encode_json_lines
from otus_core.model.base64 import encode

KEYS = [
    "task_id",
    "agent_id",
    "pipeline_id",
    "timestamp",
    "src_ip",
    "dst_ip",
    "src_port",
    "dst_port",
    "protocol",
    "labels",
    "payload_type",
    "payload",
    "raw_payload",
]


def decoded(**fields: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(encode_json(OutputPacket(**fields)))
    return result


def test_the_keys_are_those_of_the_specification() -> None:
    assert sorted(decoded()) == sorted(KEYS)


def test_a_tunnelled_and_tagged_packet_says_so() -> None:
    value = decoded(outer_src_ip="2001:db8::1", outer_dst_ip="2001:db8::2", tunnel="vxlan", vni=0, vlans=(7, 8))
    assert value["outer_src_ip"] == "2001:db8::1"
    assert value["outer_dst_ip"] == "2001:db8::2"
    assert (value["tunnel"], value["vni"], value["vlans"]) == ("vxlan", 0, [7, 8])


GROUPS = st.lists(st.sampled_from([0, 0, 0, 1, 0xA0, 0x1000, 0xFFFF]), min_size=8, max_size=8)


@given(st.ip_addresses() | GROUPS.map(lambda groups: IPv6Address(struct.pack("!8H", *groups))))
def test_addresses_are_printed_as_python_prints_them(address: IPv4Address | IPv6Address) -> None:
    value = decoded(src_ip=str(address), dst_ip=str(address))
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped  # Python 3.13 prints the last 32 bits dotted
    assert value["src_ip"] == value["dst_ip"]
    assert value["src_ip"] == str(address) or (mapped and ip_address(value["src_ip"]) == address)


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_a_time_is_rfc_3339_with_nine_digits(ns: int) -> None:
    text = json.loads(encode_json(OutputPacket(timestamp=ns), "rfc3339"))["timestamp"]
    whole = datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert text == f"{whole}.{ns % 10**9:09d}Z"


def test_a_time_is_in_milliseconds_for_kafka() -> None:
    assert decoded(timestamp=1771669800123456789)["timestamp"] == 1771669800123


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=8))
def test_labels_come_back_as_they_were(labels: dict[str, str]) -> None:
    line = encode_json(OutputPacket(labels=dict(labels)))
    assert json.loads(line)["labels"] == labels
    assert line.isascii()
    assert all(byte >= 0x20 and byte != 0x7F for byte in line)


def test_text_that_is_not_unicode_does_not_break_the_line() -> None:
    line = encode_json(OutputPacket(labels={"sip.from_uri": "a\udcffb"}))
    assert json.loads(line)["labels"] == {"sip.from_uri": "a\udcffb"}


@given(st.binary(max_size=200))
def test_the_raw_payload_is_base64(raw: bytes) -> None:
    assert base64.b64decode(decoded(raw_payload=raw)["raw_payload"], validate=True) == raw


@given(st.binary(max_size=300))
def test_base64_is_the_same_with_and_without_vectors(raw: bytes) -> None:
    assert encode(raw) == encode(raw, vectors=False) == base64.b64encode(raw)


@pytest.mark.parametrize("place", range(40))
def test_every_character_is_escaped_wherever_it_stands(place: int) -> None:
    for code in range(128):
        text = "a" * place + chr(code) + "b" * (39 - place)
        for part in (text, text[: place + 1], text[place:]):
            line = encode_json(OutputPacket(labels={"l": part}))
            assert json.loads(line)["labels"] == {"l": part}
            assert all(byte >= 0x20 and byte != 0x7F for byte in line)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_are_text(address: Any, port: int) -> None:
    value = decoded(src_ip=address, dst_ip=address, src_port=port)
    assert (value["src_ip"], value["src_port"]) == (str(address), port)


@attrs.frozen
class Typed:
    name: str
    octets: bytes


class Spliced:
    def to_json(self) -> bytes:
        encode_json(OutputPacket(labels={"nested": "call"}))
        return b'{"own":true}'


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (None, None),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        (Typed("x", b"\xff"), {"name": "x", "octets": "�"}),
        (Spliced(), {"own": True}),
        ({3}, [3]),
    ],
    ids=["none", "dict", "attrs", "to_json, itself encoding", "set"],
)
def test_a_payload_is_encoded_by_its_own_or_the_ordinary_encoder(payload: Any, expected: Any) -> None:
    assert decoded(payload=payload)["payload"] == expected


def test_a_payload_that_raises_leaves_the_next_output_whole() -> None:
    class Broken:
        def to_json(self) -> bytes:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        encode_json(OutputPacket(payload=Broken()))
    assert decoded(task_id="next")["task_id"] == "next"


def test_a_very_large_output_gives_its_memory_back() -> None:
    raw = bytes(2 << 20)
    assert len(encode_json(OutputPacket(raw_payload=raw))) > len(raw)
    assert decoded(raw_payload=b"abc")["raw_payload"] == "YWJj"


def test_an_unknown_time_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'ms' or 'rfc3339'"):
        encode_json(OutputPacket(), "iso")  # type: ignore[arg-type]


def test_lines_are_the_objects_one_after_the_other() -> None:
    outputs = [
        OutputPacket(payload=payload, raw_payload=b"x" * n) for n, payload in enumerate((None, Spliced(), {"a": 1}))
    ]
    assert encode_json_lines(outputs, "rfc3339") == b"".join(encode_json(one, "rfc3339") + b"\n" for one in outputs)
    assert encode_json_lines([]) == b""


def test_a_class_may_say_that_it_has_no_json_of_its_own() -> None:
    class Plain(dict[str, int]):
        to_json = None

    assert json.loads(encode_json(OutputPacket(payload=Plain(a=1))))["payload"] == {"a": 1}


def test_lines_of_what_is_no_output_or_cannot_be_encoded_are_refused() -> None:
    with pytest.raises(TypeError):
        encode_json_lines([OutputPacket(), "text"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        encode_json_lines([OutputPacket(), OutputPacket(payload={("no", "key"): 1})])
    with pytest.raises(ValueError, match="rfc3339"):
        encode_json_lines([], "iso")  # type: ignore[arg-type]
    assert json.loads(encode_json(OutputPacket()))["labels"] == {}


def test_a_number_that_json_does_not_have_is_null() -> None:
    """RFC 8259 §6: neither NaN nor infinity."""
    payload = {"mos": float("nan"), "jitter": [float("inf"), 1.5, -float("inf")]}
    told = json.loads(encode_json(OutputPacket(payload=payload)), parse_constant=pytest.fail)
    assert told["payload"] == {"mos": None, "jitter": [None, 1.5, None]}
