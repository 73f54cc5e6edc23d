"""Stored outputs: what comes back is what any reporter would have got."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otus_core import OutputPacket, encode_json
from otus_core.pipeline.stored import restore, store

PLAIN = {"src_ip": "192.0.2.1", "dst_ip": "198.51.100.2", "src_port": 5060, "dst_port": 65535}
V6 = {"src_ip": "2001:db8::1", "dst_ip": "2001:db8::2"}
TUNNEL = {"outer_src_ip": "10.0.0.1", "outer_dst_ip": "10.0.0.2", "tunnel": "vxlan", "vni": 0xFFFFFF}


class Odd:
    def to_json(self) -> bytes:
        return b'{"odd":[1,2.5,null]}'


@pytest.mark.parametrize(
    "fields",
    [
        {},
        PLAIN,
        V6 | {"protocol": 6},
        PLAIN | TUNNEL | {"vlans": (1, 4094)},
        PLAIN | {"tunnel": "gre", "vni": 0, "outer_src_ip": "2001:db8::9", "outer_dst_ip": "2001:db8::8"},
        PLAIN | {"vlans": (7,)},
        {"labels": {"sip.from_uri": "sip:ü\udce4@x", "": "", "a": "\ud800"}},
        {"payload": {"a": [1, {"b": "ü"}]}},
        {"payload": Odd()},
        {"task_id": "t", "agent_id": "ä", "pipeline_id": 255, "timestamp": 2**62 + 1, "payload_type": "sip"},
        {"raw_payload": bytes(range(256)) * 256},
        {"src_ip": None, "dst_ip": None, "protocol": 0, "key": "", "is_record": True},
        V6 | {"key": "call-1", "is_record": True, "payload": {"mos": 4.1}},
    ],
)
def test_what_comes_back_is_what_was_stored(fields: dict[str, Any]) -> None:
    output = OutputPacket(**fields)
    again = restore(store(output))
    for timestamp in ("ms", "rfc3339"):
        assert encode_json(again, timestamp) == encode_json(output, timestamp)
    names = "timestamp labels raw_payload task_id agent_id pipeline_id payload_type flow tunnel vni vlans outer_src_ip"
    for name in (*names.split(), "src_ip", "key", "is_record"):
        assert getattr(again, name) == getattr(output, name)
    assert store(again) == store(output)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_bytes_that_hold_no_output_are_refused_in_one_way(noise: bytes, cut: int) -> None:
    whole = store(OutputPacket(labels={"a": "b"}, raw_payload=b"xyz"))
    for data in (noise, whole[:cut], whole[:cut] + noise, b"\x01" + whole[1:]):
        if data != whole:
            with pytest.raises(ValueError, match="stored"):
                restore(data)
