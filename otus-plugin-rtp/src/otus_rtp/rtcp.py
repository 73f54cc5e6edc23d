"""RTCP as it is written (RFC 3550 §6, RFC 3611): a compound packet read into plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otus_core import ParseError, printable

TYPES = {200: "SR", 201: "RR", 202: "SDES", 203: "BYE", 204: "APP", 205: "RTPFB", 206: "PSFB", 207: "XR"}
"""RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2."""
ITEMS = {1: "cname", 2: "name", 3: "email", 4: "phone", 5: "loc", 6: "tool", 7: "note"}
"""RFC 3550 §6.5."""
PACKETS_MAX = 64
BLOCKS_MAX = 64
TEXT_MAX = 255
BLOCK = 24
NTP_1970 = 2_208_988_800
"""Seconds from 1900 to 1970 (RFC 5905 §6)."""


def read_compound(data: bytes) -> list[dict[str, Any]]:
    """Read all packets of a datagram. Raises ParseError unless their lengths fit it (RFC 3550 A.2)."""
    packets: list[dict[str, Any]] = []
    at = 0
    while at < len(data):
        if len(data) - at < 4 or data[at] >> 6 != 2:
            raise ParseError("RTCP with something else behind it")
        size = 4 + 4 * int.from_bytes(data[at + 2 : at + 4])
        if at + size > len(data) or len(packets) == PACKETS_MAX:
            raise ParseError("RTCP whose lengths do not fit")
        packets.append(_read_packet(data[at : at + size]))
        at += size
    return packets


def read_encrypted(data: bytes) -> list[dict[str, Any]]:
    """Read what SRTCP leaves in clear: the type of the first packet, and who sent it (RFC 3711 §3.4)."""
    return [{"type": TYPES.get(data[1], str(data[1])), "ssrc": _ssrc(data, 4)}]


def _ssrc(data: bytes, at: int) -> str:
    return data[at : at + 4].hex()


def _number(data: bytes, at: int, size: int, *, signed: bool = False) -> int:
    return int.from_bytes(data[at : at + size], signed=signed)


def _read_packet(data: bytes) -> dict[str, Any]:
    kind, count = data[1], data[0] & 31
    told: dict[str, Any] = {"type": TYPES.get(kind, str(kind))}
    if kind == 203:
        told.update(_read_bye(data, count))
    elif kind == 202:
        told["chunks"] = list(_read_chunks(data, count))
    elif len(data) >= 8:
        told["ssrc"] = _ssrc(data, 4)
        if kind in (200, 201):
            told.update(_read_report(data, count, 28 if kind == 200 else 8))
        elif kind == 207:
            told["blocks"] = list(_read_blocks(data))
    return told


def _read_report(data: bytes, count: int, at: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if len(data) < at + count * BLOCK:
        raise ParseError("an RTCP report shorter than it says")
    if at == 28:
        ntp = _number(data, 8, 8)
        told["ntp"] = ntp
        told["rtp_timestamp"] = _number(data, 16, 4)
        told["packets"] = _number(data, 20, 4)
        told["bytes"] = _number(data, 24, 4)
    told["reports"] = [_read_block(data, at + n * BLOCK) for n in range(count)]
    return told


def _read_block(data: bytes, at: int) -> dict[str, Any]:
    """Read a report block (RFC 3550 §6.4.1)."""
    return {
        "ssrc": _ssrc(data, at),
        "fraction_lost": data[at + 4] / 256,
        "lost": _number(data, at + 5, 3, signed=True),
        "highest_sequence": _number(data, at + 8, 4),
        "jitter": _number(data, at + 12, 4),
        "lsr": _number(data, at + 16, 4),
        "dlsr": _number(data, at + 20, 4),
    }


def _read_bye(data: bytes, count: int) -> dict[str, Any]:
    if len(data) < 4 + 4 * count:
        raise ParseError("an RTCP BYE shorter than it says")
    told: dict[str, Any] = {"ssrcs": [_ssrc(data, 4 + 4 * n) for n in range(count)]}
    rest = data[4 + 4 * count :]
    if rest and rest[0] and rest[0] < len(rest):
        told["reason"] = _text(rest[1 : 1 + rest[0]])
    return told


def _text(data: bytes) -> str:
    return printable(data.decode("utf-8", "replace"), TEXT_MAX)


def _read_chunks(data: bytes, count: int) -> Iterator[dict[str, Any]]:
    at = 4
    for _ in range(count):
        if len(data) < at + 5:
            raise ParseError("an RTCP SDES shorter than it says")
        chunk: dict[str, Any] = {"ssrc": _ssrc(data, at)}
        at += 4
        while at < len(data) and data[at]:
            if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
                raise ParseError("an RTCP SDES item longer than its packet")
            name, size = ITEMS.get(data[at]), data[at + 1]
            if name is not None:
                chunk[name] = _text(data[at + 2 : at + 2 + size])
            at += 2 + size
        at = (at + 4) & ~3  # at least one zero ends the list, up to the next word
        yield chunk


def _read_blocks(data: bytes) -> Iterator[dict[str, Any]]:
    """Read the blocks of an extended report (RFC 3611 §3) that are of use here: 4 to 7."""
    at = 8
    for _ in range(BLOCKS_MAX):
        if at + 4 > len(data):
            return
        kind, size = data[at], 4 + 4 * _number(data, at + 2, 2)
        if at + size > len(data):
            raise ParseError("an RTCP XR block longer than its packet")
        block = data[at : at + size]
        if kind == 4 and size == 12:
            yield {"block": "receiver_reference_time", "ntp": _number(block, 4, 8)}
        elif kind == 5:
            yield {"block": "dlrr", "reports": [_read_dlrr(block, n) for n in range(4, size - 11, 12)]}
        elif kind == 6 and size == 40:
            yield _read_summary(block)
        elif kind == 7 and size == 36:
            yield _read_voip(block)
        at += size


def _read_dlrr(block: bytes, at: int) -> dict[str, Any]:
    return {"ssrc": _ssrc(block, at), "lrr": _number(block, at + 4, 4), "dlrr": _number(block, at + 8, 4)}


def _read_summary(block: bytes) -> dict[str, Any]:
    """Read a statistics summary (RFC 3611 §4.6); a flag says which of its figures are there."""
    told: dict[str, Any] = {"block": "statistics_summary", "ssrc": _ssrc(block, 4)}
    if block[1] & 0x80:
        told["lost"] = _number(block, 12, 4)
    if block[1] & 0x40:
        told["duplicates"] = _number(block, 16, 4)
    if block[1] & 0x20:
        told["jitter"] = dict(
            zip(("min", "max", "mean", "deviation"), [_number(block, n, 4) for n in range(20, 36, 4)], strict=True)
        )
    return told


def _known(value: int, unknown: int) -> int | None:
    return None if value == unknown else value


def _read_voip(block: bytes) -> dict[str, Any]:
    """Read VoIP metrics (RFC 3611 §4.7); 127 says that a value is not known, and delays of 0 (§4.7.3) too."""
    signal, noise = _number(block, 20, 1, signed=True), _number(block, 21, 1, signed=True)
    return {
        "block": "voip_metrics",
        "ssrc": _ssrc(block, 4),
        "loss_pct": round(block[8] * 100 / 256, 2),
        "discard_pct": round(block[9] * 100 / 256, 2),
        "burst_density_pct": round(block[10] * 100 / 256, 2),
        "gap_density_pct": round(block[11] * 100 / 256, 2),
        "burst_ms": _number(block, 12, 2),
        "gap_ms": _number(block, 14, 2),
        "round_trip_ms": _known(_number(block, 16, 2), 0),
        "end_system_ms": _known(_number(block, 18, 2), 0),
        "signal_dbm": _known(signal, 127),
        "noise_dbm": _known(noise, 127),
        "echo_loss_db": _known(block[22], 127),
        "gmin": block[23],
        "r": _known(block[24], 127),
        "external_r": _known(block[25], 127),
        "mos_lq": None if block[26] == 127 else block[26] / 10,
        "mos_cq": None if block[27] == 127 else block[27] / 10,
    }
