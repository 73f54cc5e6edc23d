"""A session description in a few words: what a VoIP engineer looks for first.

The description is a parser's own class, so that all that is asked of it is asked for by name and may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otus_core import printable

MEDIA_MAX = 3
CODECS_MAX = 3
NAME_MAX = 16


def media_summary(sdp: Any) -> str:
    """Say ``SDP audio 49170 PCMU,PCMA``, with less where less is known."""
    media = getattr(sdp, "media", ())
    if not isinstance(media, Sequence) or not media:
        return "SDP"
    told = [_medium(medium) for medium in media[:MEDIA_MAX]]
    return "SDP " + " + ".join(told) + (" + …" if len(media) > MEDIA_MAX else "")


def _medium(medium: Any) -> str:
    words = [printable(str(getattr(medium, "media", "media")), NAME_MAX)]
    port = getattr(medium, "port", None)
    if isinstance(port, int):
        words.append("off" if port == 0 else str(port))  # RFC 3264 §6: port 0 refuses the stream
    codecs = getattr(medium, "codecs", ())
    if isinstance(codecs, Sequence) and codecs:
        names = ",".join(printable(str(codec), NAME_MAX) for codec in codecs[:CODECS_MAX])
        words.append(names + (",…" if len(codecs) > CODECS_MAX else ""))
    return " ".join(words)
