"""What a session description says of the media of a call (RFC 8866): endpoints, codecs, direction."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MEDIA_MAX = 16
"""m= lines of a description: calls have two or three, and each is kept as long as the call."""
FORMATS_MAX = 32
"""Payload types of a line: as many as can be chosen freely (96 to 127, RFC 3551 §6)."""
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")  # RFC 8866 §6.7
UNSPECIFIED = ("0.0.0.0", "::")
"""Hold as RFC 2543 had it (RFC 3264 §8.4)."""
# RFC 3551 §6, for payload types without a rtpmap
STATIC = {
    "0": "PCMU",
    "3": "GSM",
    "4": "G723",
    "8": "PCMA",
    "9": "G722",
    "13": "CN",
    "18": "G729",
    "26": "JPEG",
    "34": "H263",
}


@lru_cache(64)  # of a record each is read twice: for the message, and for what the session came to
def read_sdp(body: bytes | None) -> list[dict[str, Any]]:
    """Give a description's media lines: ``media``, ``address``, ``port``, ``protocol``, ``codecs``, ``direction``.

    Others get the same list: nobody changes it.
    """
    session: dict[str, Any] = {"address": None, "direction": "sendrecv"}
    lines: list[dict[str, Any]] = []
    at = session
    for line in (body or b"").decode("utf-8", "replace").splitlines():
        kind, _, value = line.partition("=")
        if kind == "m":
            if len(lines) == MEDIA_MAX:
                break
            at = _media(value, session)
            lines.append(at)
        elif kind == "c":
            parts = value.split()
            at["address"] = parts[2].partition("/")[0] if len(parts) >= 3 else None
        elif kind == "a":
            _attribute(at, value)
    for one in lines:
        maps = one.pop("maps")
        one["codecs"] = [maps.get(number) or STATIC.get(number) or number for number in one["codecs"]]
    return lines


def _media(value: str, session: dict[str, Any]) -> dict[str, Any]:
    media, port, protocol, *formats = (*value.split(), "", "", "")[:FORMATS_MAX] if value.split()[2:] else ("", "", "")
    port = port.partition("/")[0]
    return {
        "media": media,
        "address": session["address"],
        "port": int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0,
        "protocol": protocol,
        "codecs": [one for one in formats if one],
        "direction": session["direction"],
        "maps": {},
    }


def _attribute(at: dict[str, Any], value: str) -> None:
    name, _, rest = value.partition(":")
    if value in DIRECTIONS:
        at["direction"] = value
    elif name == "rtpmap" and "maps" in at:
        number, _, encoding = rest.partition(" ")
        if len(at["maps"]) < FORMATS_MAX:
            at["maps"][number] = encoding.strip().partition("/")[0]


def is_held(lines: list[dict[str, Any]]) -> bool:
    """Whether the sender of a description holds the other party (RFC 3264 §8.4): it takes no audio."""
    audio = [one for one in lines if one["media"] == "audio" and one["port"]]
    return bool(audio) and all(
        one["direction"] in ("sendonly", "inactive") or one["address"] in UNSPECIFIED for one in audio
    )


def is_fax(lines: list[dict[str, Any]]) -> bool:
    """Whether a description offers or takes T.38 (ITU-T T.38 annex D)."""
    return any(one["media"] == "image" and one["port"] and "t38" in [c.lower() for c in one["codecs"]] for one in lines)


def endpoints(lines: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Give where a description says that its sender listens."""
    return {(one["address"], one["port"]) for one in lines if one["address"] and one["port"]}
