"""Messages for suites: as reporters and processors get them, ordinary and odd."""

from __future__ import annotations

from otus_core.model.output import OutputPacket
from otus_core.pipeline.stored import restore, store

BEGUN_NS = 1_771_669_800_000_000_000
TEXTS = {
    "long": "x" * 65536,
    "escape": "\x1b[31mred\x07",
    "lines": "one\r\ntwo\u2028three",
    "direction": "\u202eevil",
    "quotes": "\"'\\`${}<>&;,=:\t",
    "other letters": "Grüße ☎ 电话 \U0001f4de",
    "nul": "a\0b",
}
"""What packets put into labels: anything that is text."""


def outputs(count: int = 3) -> list[OutputPacket]:
    """Give some messages, as reporters and processors get them."""
    return [
        OutputPacket(
            task_id="test",
            agent_id="test",
            timestamp=BEGUN_NS + n,
            src_ip="192.0.2.1",
            dst_ip="198.51.100.2",
            src_port=5060,
            dst_port=5060,
            labels={"sip.method": "INVITE", "sip.call_id": f"call-{n}"},
            payload_type="sip",
            payload={"n": n},
            raw_payload=b"INVITE sip:bob@example.org SIP/2.0\r\n\r\n",
        )
        for n in range(count)
    ]


def odd_outputs(payload_type: str = "sip") -> dict[str, OutputPacket]:
    """Give messages that are unusual, and that packets can bring about, by what is odd about them."""
    odd = {
        f"a label with {what}": OutputPacket(
            payload_type=payload_type,
            timestamp=BEGUN_NS,
            labels={"sip.call_id": text, "sip.method": text},
            payload={"text": text},
            raw_payload=text.encode(),
        )
        for what, text in TEXTS.items()
    }
    odd["nothing in it"] = OutputPacket(payload_type=payload_type, labels={})
    odd["many labels"] = OutputPacket(payload_type=payload_type, labels={f"x.n{n}": str(n) for n in range(1000)})
    odd["IPv6"] = OutputPacket(payload_type=payload_type, labels={}, src_ip="2001:db8::1", dst_ip="2001:db8::2")
    odd["a time before 1970"] = OutputPacket(payload_type=payload_type, labels={}, timestamp=-1)
    odd["a time far away"] = OutputPacket(payload_type=payload_type, labels={}, timestamp=2**62)
    odd["bytes that are no text"] = OutputPacket(payload_type=payload_type, labels={}, raw_payload=bytes(range(256)))
    return odd


def from_spool(batch: list[OutputPacket]) -> list[OutputPacket]:
    """Give messages as they come back from a spool: of the payload only its JSON is left."""
    return [restore(store(output)) for output in batch]
