"""Reads session descriptions (RFC 8866), as far as media need them. Lines that are not sound are passed over."""

from __future__ import annotations

from typing import Any

MEDIA_MAX = 64


def session(body: bytes) -> dict[str, Any]:
    """Give the session's connection address, and its media with their ports, formats, addresses and attributes."""
    found: dict[str, Any] = {"connection": None, "media": []}
    about = found
    for line in body.decode("utf-8", "replace").split("\n"):
        kind, value = line[:2], line[2:].strip()
        if kind == "m=":
            words = value.split()
            if len(words) < 4 or len(found["media"]) == MEDIA_MAX:
                continue
            about = {"kind": words[0], "port": words[1], "protocol": words[2], "formats": words[3:]}
            about |= {"connection": None, "attributes": []}
            found["media"].append(about)
        elif kind == "c=" and value.count(" ") == 2:
            about["connection"] = value.split(" ")[2]
        elif kind == "a=" and about is not found:
            about["attributes"].append(value)
    return found
