"""What is wrong with a call, or odd: flags, each with the evidence for it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from otus_calls.media import time_of
from otus_calls.session import CALLEE, CALLER, Session

if TYPE_CHECKING:
    from otus_calls.config import CallsConfig
    from otus_calls.replay import Outcome

SECOND = 1_000_000_000
TALK_LEAST_S = 3.0
"""A shorter call may well end before anybody has spoken."""
LATE_MEDIA_NS = 2 * SECOND
"""Whoever has answered is heard after a round trip; a caller notices two seconds of silence."""
AFTER_BYE_NS = SECOND
PAYLOAD_MAX = 1472
"""Bytes of UDP payload in one packet on Ethernet."""
LOOPS = (482, 483)
"""RFC 3261 §21.4.20 loop detected, §21.4.21 too many hops."""
EVENTS = ("telephone-event", "cn", "red")
REJECTIONS_LOOP = 2
"""Credentials that are refused once may be old (a stale nonce, RFC 7616 §3.3); twice, they are wrong."""

Found = Iterator[tuple[str, str]]


def find_flags(
    facts: dict[str, Any], outcome: Outcome, session: Session, config: CallsConfig, *, media: bool
) -> list[dict[str, str]]:
    """Give the flags of a call: ``flag`` and ``evidence``, a text. ``facts`` is what its record tells otherwise."""
    found = [
        *_of_signalling(facts, outcome),
        *_of_times(facts, config),
        *_of_addresses(facts, outcome, session),
        *_of_media(facts, outcome, session, media=media),
    ]
    return [{"flag": flag, "evidence": evidence} for flag, evidence in found]


def _of_signalling(facts: dict[str, Any], outcome: Outcome) -> Found:
    copies, total = outcome.duplicates, len(outcome.notes)
    if copies and copies * 3 >= total:
        yield "captured_twice", f"{copies} of {total} messages came twice within 20 ms"
    if outcome.retransmissions:
        yield "retransmissions", f"{outcome.retransmissions} messages were sent again"
    if outcome.answer and not outcome.ack and outcome.invite_ok_repeated:
        yield "ack_lost", "the 2xx was sent again, and no ACK was seen"
    if outcome.cancel and outcome.answer:
        yield "cancel_race", f"a CANCEL {_after(outcome.cancel, outcome.answer)} the 2xx"
    if facts["icmp"]:
        yield "icmp_unreachable", f"{facts['icmp'][0]['error']}, {len(facts['icmp'])} times"
    if facts["auth"] and facts["auth"]["rejected"] >= REJECTIONS_LOOP:
        yield "auth_loop", f"credentials were refused {facts['auth']['rejected']} times"
    if facts["code"] in LOOPS:
        yield "loop", f"{facts['code']} {facts['reason'] or ''}".rstrip()
    big = [note.size for note in outcome.notes if note.size > PAYLOAD_MAX and note.protocol == 17]
    if big:
        yield "fragmented", f"{len(big)} messages of up to {max(big)} bytes over UDP"
    timer = facts["session_timer"]
    if timer and facts["state"] in ("lost", "in_call"):
        unseen = (outcome.last - time_of(timer["last"])) / 1e9
        if facts["state"] == "lost" or unseen > timer["expires"]:
            yield "session_timer", f"{timer['expires']} s, refreshed {timer['refreshes']} times, and no BYE"


def _after(one: int, other: int) -> str:
    return f"{abs(one - other) / 1e6:.0f} ms {'before' if one < other else 'after'}"


def _of_times(facts: dict[str, Any], config: CallsConfig) -> Found:
    waited = facts["pdd"] if facts["pdd"] is not None else facts["setup"]
    if waited is not None and waited > config.slow_setup:
        yield "slow_setup", f"{waited:.1f} s until it rang"
    if facts["talk"] is not None and facts["talk"] < config.short_call:
        yield "short_call", f"{facts['talk']:.1f} s"


def _is_private(address: str | None) -> bool:
    """Whether an address is not for the whole Internet (RFC 1918, RFC 4193, RFC 6598, link-local)."""
    try:
        return address is not None and not ip_address(address).is_global
    except ValueError:
        return False


def _of_addresses(facts: dict[str, Any], outcome: Outcome, session: Session) -> Found:
    for side in (CALLER, CALLEE):
        seen = facts[side]["ip"]
        said = next((one["address"] for one in session.lines.get(side, ()) if one["address"]), None)
        if side == CALLER and said is None:
            said = next((one["address"] for one in session.offered if one["address"]), None)
        if said and seen and said != seen and _is_private(said) and not _is_private(seen):
            yield "nat", f"the {side} announces {said} and sends from {seen}"
    matched = [one for one in facts["media"] if one["match"] == "nat"]
    if matched:
        yield "nat", f"media of {matched[0]['src']} came from where nothing was announced"
    senders = {note.src for note in outcome.notes}
    if len(outcome.notes) > 1 and len(senders) == 1 and facts["caller"]["ip"] != facts["callee"]["ip"]:
        yield "one_sided_capture", f"all messages come from {next(iter(senders))}"


def _of_media(facts: dict[str, Any], outcome: Outcome, session: Session, *, media: bool) -> Found:
    streams = facts["media"]
    yield from _of_codecs(streams, session)
    if outcome.bye:
        late = [one for one in streams if time_of(one["last"]) > outcome.bye + AFTER_BYE_NS]
        if late:
            longest = max(time_of(one["last"]) for one in late)
            yield "media_after_bye", f"{(longest - outcome.bye) / 1e9:.1f} s after the BYE"
    if not outcome.answer or not media:
        return
    begun = [time_of(one["first"]) for one in streams if one["first"]]
    if begun and min(begun) > outcome.answer + LATE_MEDIA_NS:
        yield "late_media", f"{(min(begun) - outcome.answer) / 1e9:.1f} s after the answer"
    end = outcome.bye or outcome.last
    talked = (end - outcome.answer - session.held_for(outcome.answer, end)) / 1e9
    if talked < TALK_LEAST_S or session.t38 or not session.agreed:
        return
    legs = [one for one in facts["legs"] if one.get("media")]
    sides = {one["by"] for one in streams} | {side for one in legs for side in one["media"]}
    if not streams and not legs:
        yield "no_media", f"no stream in {talked:.0f} s"
    elif len(sides - {None}) == 1 and None not in sides:
        side = next(iter(sides))
        yield f"one_way:{side}", f"as seen here, only the {side} sent media in {talked:.0f} s"


def _of_codecs(streams: list[dict[str, Any]], session: Session) -> Found:
    if not session.agreed:
        return
    for one in streams:
        codec = (one["codec"] or "").lower()
        if codec and codec not in session.codecs and codec not in EVENTS:
            yield "codec_mismatch", f"{one['codec']} is in no session description"
            return
