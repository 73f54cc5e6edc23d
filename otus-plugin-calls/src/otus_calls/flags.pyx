"""What is wrong with a call, or odd: flags, each with the evidence for it."""

from functools import lru_cache
from ipaddress import ip_address

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcmp

from otus_core.inline.text cimport ADDRESS_MAX

from otus_calls.media import time_of
from otus_calls.session import CALLEE, CALLER

from otus_calls.note cimport ADDRESS, Packed
from otus_calls.replay cimport Outcome
from otus_calls.session cimport Session

cdef int64_t _SECOND = 1_000_000_000
cdef double _TALK_LEAST_S = 3.0             # a shorter call may well end before anybody has spoken
cdef int64_t _LATE_MEDIA_NS = 2 * _SECOND   # whoever answered is heard after a round trip; callers notice two seconds
cdef int64_t _AFTER_BYE_NS = _SECOND
cdef enum:
    PAYLOAD_MAX = 1472          # bytes of UDP payload in one packet on Ethernet
    REJECTIONS_LOOP = 2         # credentials refused once may be old (RFC 7616 §3.3, a stale nonce); twice, wrong
    UDP = 17
ADDRESSES_MAX = 1024
"""Addresses of which it is remembered whether they are private."""
cdef tuple _LOOPS = (482, 483)  # RFC 3261 §21.4.20 loop detected, §21.4.21 too many hops
cdef tuple _EVENTS = ("telephone-event", "cn", "red")
cdef tuple _SIDES = (CALLER, CALLEE)
cdef str _CALLER = CALLER
cdef object _time_of = time_of


cdef list find_flags(dict facts, Outcome outcome, Session session, object config, bint media):
    """Give the flags of a call: ``flag`` and ``evidence``, a text. ``facts`` is what its record tells otherwise."""
    cdef list found = []
    _see_signalling(found, facts, outcome)
    _see_times(found, facts, config)
    _see_addresses(found, facts, outcome, session)
    _see_media(found, facts, outcome, session, media)
    return found


cdef inline int _flag(list found, str flag, str evidence) except -1:
    found.append({"flag": flag, "evidence": evidence})
    return 0


cdef int _see_signalling(list found, dict facts, Outcome outcome) except -1:
    cdef int copies = outcome.duplicates
    cdef list icmp = facts["icmp"]
    cdef dict auth = facts["auth"]
    cdef int total = outcome.count
    if copies and copies * 3 >= total:
        _flag(found, "captured_twice", f"{copies} of {total} messages came twice within 20 ms")
    if outcome.retransmissions:
        _flag(found, "retransmissions", f"{outcome.retransmissions} messages were sent again")
    if outcome.answer and not outcome.ack and outcome.invite_ok_repeated:
        _flag(found, "ack_lost", "the 2xx was sent again, and no ACK was seen")
    if outcome.cancel and outcome.answer:
        _flag(found, "cancel_race", f"a CANCEL {_after(outcome.cancel, outcome.answer)} the 2xx")
    if icmp:
        _flag(found, "icmp_unreachable", f"{icmp[0]['error']}, {len(icmp)} times")
    if auth is not None and auth["rejected"] >= REJECTIONS_LOOP:
        _flag(found, "auth_loop", f"credentials were refused {auth['rejected']} times")
    if facts["code"] in _LOOPS:
        _flag(found, "loop", f"{facts['code']} {facts['reason'] or ''}".rstrip())
    _see_size(found, outcome)
    _see_timer(found, facts, outcome)
    return 0


cdef int _see_size(list found, Outcome outcome) except -1:
    cdef const Packed *note
    cdef int32_t i
    cdef int big = 0
    cdef uint32_t most = 0
    for i in range(outcome.count):
        note = outcome.order[i]
        if note.size > PAYLOAD_MAX and note.flow.protocol == UDP:
            big += 1
            most = max(most, note.size)
    if big:
        _flag(found, "fragmented", f"{big} messages of up to {most} bytes over UDP")
    return 0


cdef int _see_timer(list found, dict facts, Outcome outcome) except -1:
    cdef dict timer = facts["session_timer"]
    cdef str state = facts["state"]
    if timer is not None and (state == "lost" or state == "in_call"):
        unseen = (outcome.last - _time_of(timer["last"])) / 1e9
        if state == "lost" or unseen > timer["expires"]:
            _flag(found, "session_timer",
                  f"{timer['expires']} s, refreshed {timer['refreshes']} times, and no BYE")
    return 0


cdef str _after(int64_t one, int64_t other):
    return f"{abs(one - other) / 1e6:.0f} ms {'before' if one < other else 'after'}"


cdef int _see_times(list found, dict facts, object config) except -1:
    waited = facts["pdd"] if facts["pdd"] is not None else facts["setup"]
    if waited is not None and waited > config.slow_setup:
        _flag(found, "slow_setup", f"{waited:.1f} s until it rang")
    if facts["talk"] is not None and facts["talk"] < config.short_call:
        _flag(found, "short_call", f"{facts['talk']:.1f} s")
    return 0


@lru_cache(ADDRESSES_MAX)
def _is_private(address):
    """Whether an address is not for the whole Internet (RFC 1918, RFC 4193, RFC 6598, link-local)."""
    try:
        return not ip_address(address).is_global
    except ValueError:
        return False


cdef str _address_in(list lines):
    cdef dict one
    for one in lines:
        if one["address"] and len(<str>one["address"]) <= ADDRESS_MAX:
            return one["address"]
    return None


cdef int _see_addresses(list found, dict facts, Outcome outcome, Session session) except -1:
    cdef str seen
    cdef str said
    cdef list lines
    cdef int32_t i
    for side in _SIDES:
        seen = facts[side]["ip"]
        lines = session.lines.get(side)
        said = None if lines is None else _address_in(lines)
        if said is None and side == _CALLER:
            said = _address_in(session.offered)
        if said is not None and seen and said != seen and _is_private(said) and not _is_private(seen):
            _flag(found, "nat", f"the {side} announces {said} and sends from {seen}")
    for one in facts["media"]:
        if one["match"] == "nat":
            _flag(found, "nat", f"media of {one['src']} came from where nothing was announced")
            break
    if outcome.count > 1 and facts["caller"]["ip"] != facts["callee"]["ip"]:
        for i in range(1, outcome.count):
            if memcmp(outcome.order[i].flow.src, outcome.order[0].flow.src, ADDRESS):
                return 0
        _flag(found, "one_sided_capture", f"all messages come from {outcome.note(0).src}")
    return 0


cdef int _see_media(list found, dict facts, Outcome outcome, Session session, bint media) except -1:
    cdef list streams = facts["media"]
    cdef bint agreed = session.agreed is not None
    cdef int64_t end
    if streams and agreed:
        _see_codecs(found, streams, session)
    if streams and outcome.bye:
        longest = max([_time_of(one["last"]) for one in streams])
        if longest > outcome.bye + _AFTER_BYE_NS:
            _flag(found, "media_after_bye", f"{(longest - outcome.bye) / 1e9:.1f} s after the BYE")
    if not outcome.answer or not media:
        return 0
    begun = [_time_of(one["first"]) for one in streams if one["first"]]
    if begun and min(begun) > outcome.answer + _LATE_MEDIA_NS:
        _flag(found, "late_media", f"{(min(begun) - outcome.answer) / 1e9:.1f} s after the answer")
    end = outcome.bye or outcome.last
    talked = (end - outcome.answer - session.held_for(outcome.answer, end)) / 1e9
    if talked < _TALK_LEAST_S or session.t38 or not agreed:
        return 0
    legs = [one for one in facts["legs"] if one.get("media")]
    sides = {one["by"] for one in streams} | {side for one in legs for side in one["media"]}
    if not streams and not legs:
        _flag(found, "no_media", f"no stream in {talked:.0f} s")
    elif len(sides - {None}) == 1 and None not in sides:
        side = next(iter(sides))
        _flag(found, f"one_way:{side}", f"as seen here, only the {side} sent media in {talked:.0f} s")
    return 0


cdef int _see_codecs(list found, list streams, Session session) except -1:
    cdef set codecs = session.codecs()
    for one in streams:
        codec = (one["codec"] or "").lower()
        if codec and codec not in codecs and codec not in _EVENTS:
            _flag(found, "codec_mismatch", f"{one['codec']} is in no session description")
            return 0
    return 0
