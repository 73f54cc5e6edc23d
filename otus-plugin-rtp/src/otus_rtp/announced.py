"""What was announced of a packet's endpoints, and what that says of its stream."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import attrs

from otus_core import FlowKey, FlowRegistry
from otus_rtp.codecs import UNKNOWN, Codec, read_codec

CODECS_MAX = 128
"""Payload types of one announcement: there are no more."""
KNOWN_MAX = 256
"""What calls announce of codecs, of which so much is remembered."""
COMMON = "RTP/AVP"
WAYS = {3: "both", 2: "destination", 1: "source"}
"""By the score of a match."""


@attrs.frozen(kw_only=True, eq=False)
class Registered:
    """A match by 5-tuple, with the attributes of ``FlowMatch``."""

    owner: str
    context: Mapping[str, Any]
    destination: Mapping[str, Any] | None
    source: Mapping[str, Any] | None = None
    score: int = 3


def find_matches(flows: FlowRegistry | None, packet: Any, key: FlowKey) -> tuple[Any, ...]:
    """Give whoever announced RTP for what a packet goes to and comes from; empty where nobody did."""
    if flows is None:
        return ()
    found = tuple([match for match in flows.find(packet) if carries_rtp(match.context)])
    if found:
        return found
    context = flows.get(key)
    if not carries_rtp(context):
        return ()
    return (Registered(owner=str(context.get("call_id", "")), context=context, destination=context),)


def carries_rtp(context: Any) -> bool:
    """Whether a context announces RTP: its profile names it (RFC 3551, 3711, 4585, 5764), or it has none."""
    if not isinstance(context, dict):
        return False
    profile = context.get("profile", COMMON)
    return profile == COMMON or "RTP/" in str(profile).upper()


def is_encrypted(matches: tuple[Any, ...]) -> bool:
    """Whether SDP says that media are encrypted."""
    for match in matches:
        context = match.context
        if context.get("keying") or "SAVP" in str(context.get("profile", "")):
            return True
    return False


def codecs_of(matches: tuple[Any, ...]) -> Mapping[int, Codec]:
    """Give what payload types mean: what the receiver says of them, then the sender; the first match rules.

    Calls that announce the same share what is given.
    """
    said = [
        tuple(rtpmaps.items()) if len(rtpmaps) <= CODECS_MAX else tuple(islice(rtpmaps.items(), CODECS_MAX))
        for match in reversed(matches)
        for context in (match.source, match.destination)
        if context and isinstance(rtpmaps := context.get("codecs"), dict)
    ]
    try:
        return _read_codecs(tuple(said))
    except TypeError:  # somebody announced a dict in the place of a text
        return _read_codecs(tuple(tuple((number, str(rtpmap)) for number, rtpmap in one) for one in said))


@lru_cache(KNOWN_MAX)
def _read_codecs(said: tuple[tuple[tuple[int, Any], ...], ...]) -> Mapping[int, Codec]:
    """Read what descriptions say, of which a later one overrides an earlier one."""
    return {
        number: codec for rtpmaps in said for number, rtpmap in rtpmaps if (codec := read_codec(str(rtpmap))) != UNKNOWN
    }


def say_match(matches: tuple[Any, ...]) -> str:
    """Say how a stream was matched: by both of its ends, by one, or by where a party behind NAT was found."""
    if not matches:
        return "guess"
    if is_latched(matches):
        return "nat"
    return WAYS.get(matches[0].score, "both")


def is_latched(matches: tuple[Any, ...]) -> bool:
    """Whether an end of the first match is where a party behind NAT was found, and not what it announced."""
    first = matches[0]
    return bool(first.destination and first.destination.get("nat") or first.source and first.source.get("nat"))


def watched_keys(key: FlowKey) -> tuple[FlowKey, ...]:
    """Give the keys under which the registry may tell of an end that concerns a 5-tuple."""
    src_ip, src_port, dst_ip, dst_port, protocol = key.parts()
    return (key, FlowKey.endpoint(src_ip, src_port, protocol), FlowKey.endpoint(dst_ip, dst_port, protocol))
