"""Payload types: what they mean, and what listeners think of the codecs."""

from __future__ import annotations

from collections.abc import Mapping

Codec = tuple[str, int]
"""Name as it is written, and clock rate in Hz; ("", 0) for one that nobody knows."""

STATIC: Mapping[int, Codec] = {
    0: ("PCMU", 8000),
    3: ("GSM", 8000),
    4: ("G723", 8000),
    5: ("DVI4", 8000),
    6: ("DVI4", 16000),
    7: ("LPC", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),  # its clock is 8000 although it samples at 16,000 (RFC 3551 §4.5.2)
    10: ("L16", 44100),
    11: ("L16", 44100),
    12: ("QCELP", 8000),
    13: ("CN", 8000),
    14: ("MPA", 90000),
    15: ("G728", 8000),
    16: ("DVI4", 11025),
    17: ("DVI4", 22050),
    18: ("G729", 8000),
    19: ("CN", 8000),  # reserved, because it was comfort noise in drafts
    25: ("CelB", 90000),
    26: ("JPEG", 90000),
    28: ("nv", 90000),
    31: ("H261", 90000),
    32: ("MPV", 90000),
    33: ("MP2T", 90000),
    34: ("H263", 90000),
}
"""RFC 3551, tables 4 and 5."""

MEDIA, EVENT, NOISE = range(3)
_KINDS = {"telephone-event": EVENT, "tone": EVENT, "cn": NOISE}
UNKNOWN: Codec = ("", 0)
# The highest rate of audio that is in use; video has 90,000 (RFC 3551 §5). Beyond it, rtpmap is nonsense.
CLOCK_MAX = 192_000
NAME_MAX = 32


def read_codec(rtpmap: str) -> Codec:
    """Read what rtpmap says of a payload type, such as ``opus/48000/2``; UNKNOWN for what makes no sense."""
    name, _, rest = rtpmap.partition("/")
    rate = rest.partition("/")[0]
    if not name or len(name) > NAME_MAX or not rate.isascii() or not rate.isdigit() or len(rate) > 6:
        return UNKNOWN
    clock = int(rate)
    return (name, clock) if 0 < clock <= CLOCK_MAX else UNKNOWN


def codec_of(payload_type: int, announced: Mapping[int, Codec] | None) -> Codec:
    """Say what a payload type means: what SDP says of it, else RFC 3551."""
    if announced:
        found = announced.get(payload_type)
        if found is not None:
            return found
    return STATIC.get(payload_type, UNKNOWN)


def kind_of(name: str) -> int:
    """Say whether a codec carries media, events or comfort noise."""
    return _KINDS.get(name.lower(), MEDIA)
