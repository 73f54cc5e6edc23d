"""Puts together what is told of a call: every field of its record."""

import re

from libc.stdint cimport int32_t, int64_t

from otus_core.inline.signalling cimport CANCEL, INFO, INVITE, REFER

from otus_calls.fields import REQUEST_URI
from otus_calls.media import join_media, lower_mos
from otus_calls.names import VERSION
from otus_calls.session import CALLEE, CALLER

from otus_calls.flags cimport find_flags
from otus_calls.messages cimport write_messages
from otus_calls.model cimport moment
from otus_calls.note cimport Note, Packed, transport_of
from otus_calls.parties cimport read_party
from otus_calls.replay cimport Outcome
from otus_calls.session cimport Session, read_session
from otus_calls.table cimport Call

cdef enum:
    BRANCHES_MAX = 32           # of a record: a call that is forked to more telephones has the others left out
    HOPS_MAX = 16
    TRANSFERS_MAX = 16
# RFC 3326 §2: ``Reason: Q.850;cause=16;text="Terminated"``; parameters come in any order.
cdef object _Q850 = re.compile(r"Q\.850\s*;(?:[^,]*;)?\s*cause\s*=\s*(\d{1,3})", re.IGNORECASE)
cdef object _REFRESHER = re.compile(r"refresher\s*=\s*(ua[cs])", re.IGNORECASE)
cdef object _VERSION = VERSION
cdef str _REQUEST_URI = REQUEST_URI
cdef str _CALLER = CALLER
cdef str _CALLEE = CALLEE
cdef dict _NONE = {}


cdef tuple tell_call(Call call, Outcome outcome, object ended, object config, bint media):
    """Tell all that is known of a call: its facts but for its messages, and those as JSON. ``ended`` is why it was
    reported, ``None`` while it is under way; ``media``: streams are followed, so that missing ones mean something.
    """
    cdef list described = []
    cdef Session session = read_session(outcome, described)
    cdef Note invite = outcome.note(outcome.invite_at)
    cdef Note final = outcome.note(outcome.final_at)
    cdef str tag = call.from_tag.decode("utf-8", "replace")
    cdef str state = outcome.state
    cdef dict asked = _fields(invite if invite is not None else outcome.note(0))
    cdef list streams = join_media(call.streams, tag, session) if call.streams else []
    cdef dict facts
    if final is None and state == "challenged":
        final = outcome.challenge
    facts = {
        "version": _VERSION,
        "call_id": call.call_id.decode("utf-8", "replace"),
        "from_tag": tag,
        "start": moment(outcome.start),
        "ring": moment(outcome.ring),
        "answer": moment(outcome.answer),
        "end": moment(outcome.end),
        "from": read_party(asked.get("from")),
        "to": read_party(asked.get("to")),
        "request_uri": asked.get(_REQUEST_URI) or None,
        "pai": read_party(asked.get("p-asserted-identity")),
        "diversion": read_party(asked.get("diversion")),
    }
    _tell_parties(facts, outcome, asked)
    facts["state"] = state
    facts["code"] = None if final is None else final.status
    facts["reason"] = None if final is None else final.reason
    _tell_reasons(facts, outcome)
    facts["warning"] = None if final is None else _fields(final).get("warning")
    _tell_times(facts, outcome)
    facts["hangup_by"] = None if not outcome.bye else _CALLER if outcome.bye_by_caller else _CALLEE
    facts["post_bye"] = outcome.post_bye
    facts["attempts"] = outcome.attempts
    facts["auth"] = _auth(outcome) if outcome.challenges else None
    facts["retransmissions"] = outcome.retransmissions
    facts["duplicates"] = outcome.duplicates
    facts["reinvites"] = outcome.reinvites
    facts["hold"] = [{"by": one["by"], "from": moment(one["from"]), "to": moment(one["to"] or 0)}
                     for one in session.hold]
    facts["transfers"] = _transfers(outcome)
    facts["t38"] = session.t38
    facts["dtmf"] = _dtmf(outcome, streams)
    facts["session_timer"] = _session_timer(outcome)
    facts["icmp"] = list(call.errors or ())
    facts["hops"] = _hops(outcome)
    facts["branches"] = _branches(outcome)
    facts["legs"] = list(call.legs or ())
    facts["media"] = streams
    facts["mos"] = lower_mos(streams) if streams else None
    facts["flags"] = None      # its place; they are found with all else that is told
    facts["partial"] = outcome.partial
    facts["ended"] = ended
    facts["messages_cut"] = call.cut
    facts["flags"] = find_flags(facts, outcome, session, config, media)
    return facts, write_messages(outcome, described) if config.messages else b"[]"


cdef inline dict _fields(Note note):
    """Give the header fields of a message that are kept; nobody changes them."""
    return _NONE if note is None or note.fields is None else note.fields


cdef inline str _text(bytes text):
    """Give bytes of a message as text, ``None`` for no bytes."""
    return text.decode("utf-8", "replace") if text else None


cdef object _seconds(int64_t begin, int64_t end):
    """Give the time between two times, to the microsecond; ``None`` where one of them was not seen or they are the
    wrong way round.
    """
    return <double>((end - begin + 500) // 1000) / 1e6 if begin and end and end >= begin else None


cdef int _tell_parties(dict facts, Outcome outcome, dict asked) except -1:
    cdef Note first = outcome.note(max(outcome.invite_at, 0))
    cdef dict answered
    cdef tuple at
    cdef tuple away
    at, away = (first.src, first.sport), (first.dst, first.dport)
    if outcome.caller != at:
        at, away = away, at
    answered = _fields(outcome.note(outcome.accepted_at)) or _fields(outcome.note(outcome.final_at))
    transport = transport_of(first.protocol)
    vlan = None if first.vlan < 0 else first.vlan
    agent = answered.get("server") or answered.get("user-agent")
    facts["caller"] = {"ip": at[0] or None, "port": at[1], "transport": transport, "vlan": vlan,
                       "agent": asked.get("user-agent")}
    facts["callee"] = {"ip": away[0] or None, "port": away[1], "transport": transport, "vlan": vlan, "agent": agent}
    return 0


cdef int _tell_reasons(dict facts, Outcome outcome) except -1:
    """Tell the Q.850 cause, and the whole Reason (RFC 3326), of what ended the call."""
    cdef str said = _said_reason(outcome, outcome.bye_at) or _said_reason(outcome, outcome.final_at)
    cdef int32_t i = outcome.count - 1
    while not said and i >= 0:
        if outcome.order[i].method == CANCEL:
            said = _said_reason(outcome, i)
        i -= 1
    cause = _Q850.search(said) if said else None
    facts["q850"] = int(cause[1]) if cause else None
    facts["reason_header"] = said or None
    return 0


cdef str _said_reason(Outcome outcome, int32_t place):
    """Give the Reason of a message, ``None`` where it has none or there is no such message."""
    if place < 0 or not outcome.order[place].fields:
        return None
    return _fields(outcome.note(place)).get("reason")


cdef int _tell_times(dict facts, Outcome outcome) except -1:
    """Tell the times of RFC 6076: SRD (§4.3) from the INVITE that was not challenged to the first answer that is no
    100, SDD (§4.4) from the BYE to its answer, SDT (§4.5) from the 2xx to the BYE; and those under other names.
    """
    cdef int64_t heard = outcome.ring if outcome.ring else outcome.answer
    cdef bint begun = outcome.invite_at >= 0
    if outcome.ring and outcome.answer:
        heard = min(outcome.ring, outcome.answer)
    facts["pdd"] = _seconds(outcome.start, heard) if begun else None
    facts["setup"] = _seconds(outcome.start, outcome.answer) if begun else None
    facts["talk"] = _seconds(outcome.answer, outcome.bye)
    facts["total"] = _seconds(outcome.start, outcome.end)
    facts["srd"] = _seconds(outcome.attempt, outcome.reply)
    facts["sdd"] = _seconds(outcome.bye, outcome.bye_answered)
    facts["sdt"] = facts["talk"]
    return 0


cdef dict _auth(Outcome outcome):
    """Tell that the caller was challenged, and what came of it (RFC 3261 §22)."""
    return {
        "challenges": outcome.challenges,
        "accepted": outcome.state != "challenged",
        "rejected": _rejections(outcome),
    }


cdef int _rejections(Outcome outcome) except -1:
    """Count challenges of an INVITE that had credentials, unless the nonce was merely stale (RFC 7616 §3.3)."""
    cdef set with_proof = set()
    cdef list notes = outcome.notes
    cdef int count = 0
    cdef Note note
    cdef dict fields
    for note in notes:
        fields = _fields(note)
        if note.method == "INVITE" and not note.status and ("authorization" in fields
                                                            or "proxy-authorization" in fields):
            with_proof.add(note.cseq)
    for note in notes:
        if note.method == "INVITE" and (note.status == 401 or note.status == 407) and not note.repeat:
            fields = _fields(note)
            stale = ("stale=true" in fields.get("www-authenticate", "")
                     or "stale=true" in fields.get("proxy-authenticate", ""))
            count += note.cseq in with_proof and not stale
    return count


cdef list _transfers(Outcome outcome):
    """Tell of each REFER (RFC 3515)."""
    cdef list found = []
    cdef Note note
    cdef int32_t i
    for i in range(outcome.count):
        if outcome.order[i].method != REFER or outcome.order[i].repeat:
            continue
        note = outcome.note(i)
        if note.status == 0 and not any([one["cseq"] == note.cseq for one in found]) and len(found) < TRANSFERS_MAX:
            fields = _fields(note)
            found.append(
                {
                    "at": moment(note.time),
                    "by": _CALLER if note.from_caller else _CALLEE,
                    "cseq": note.cseq,
                    "refer_to": (read_party(fields.get("refer-to")) or {}).get("uri"),
                    "attended": "replaces" in fields.get("refer-to", "").lower(),
                    "code": None,
                }
            )
        for one in found:
            if note.status >= 200 and one["cseq"] == note.cseq and one["code"] is None:
                one["code"] = note.status
    return found


cdef dict _dtmf(Outcome outcome, list streams):
    """Count digits: as events in the media (RFC 4733), and INFO requests (RFC 6086), most of which carry one."""
    cdef set info = set()
    cdef const Packed *note
    cdef int32_t i
    cdef int digits = 0
    for stream in streams:
        digits += len(stream.pop("events", ()))
    for i in range(outcome.count):
        note = outcome.order[i]
        if note.method == INFO and note.status == 0 and not note.repeat:
            info.add((note.cseq, note.by_caller))
    return {"rtp": digits, "info": len(info)}


cdef dict _session_timer(Outcome outcome):
    """Tell what session timer was agreed on (RFC 4028 §9), and how often it was refreshed."""
    cdef str said = _fields(outcome.note(outcome.accepted_at)).get("session-expires")
    cdef dict refreshed = {}
    cdef Note note
    if not said:
        return None
    expires = said.partition(";")[0].strip()
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 8):
        return None
    for note in outcome.notes:
        if ((note.method == "INVITE" or note.method == "UPDATE") and 200 <= note.status < 300
                and note.time >= outcome.answer):
            refreshed[note.cseq, note.from_caller] = note.time
    refresher = _REFRESHER.search(said)
    return {
        "expires": int(expires),
        "refresher": refresher[1].lower() if refresher else None,
        "refreshes": len(refreshed) - 1,
        "last": moment(max(refreshed.values(), default=0)),
    }


cdef list _hops(Outcome outcome):
    """Give who sent the INVITE on, in order of time, beginning with the caller, and to whom."""
    cdef dict found = {}
    cdef const Packed *kept
    cdef Note note
    cdef int32_t i
    for i in range(outcome.count):
        kept = outcome.order[i]
        if kept.status or kept.to_tag or not kept.by_caller or kept.method != INVITE:
            continue
        note = outcome.note(i)
        sender = (note.src, note.sport)
        if sender not in found and len(found) < HOPS_MAX:
            found[sender] = {
                "src": note.src,
                "sport": note.sport,
                "dst": note.dst,
                "dport": note.dport,
                "transport": transport_of(note.protocol),
                "delay_ms": <double>((note.time - outcome.start + 500) // 1000) / 1e3,
            }
    return list(found.values())


cdef list _branches(Outcome outcome):
    """Tell what became of each dialog that the INVITE made: a fork has several, told apart by their To tags."""
    cdef dict found = {}
    cdef dict one
    cdef const Packed *kept
    cdef Note note
    cdef int32_t i
    for i in range(outcome.count):
        kept = outcome.order[i]
        if kept.status <= 100 or not kept.to_tag or not kept.by_caller or kept.method != INVITE:
            continue
        note = outcome.note(i)
        one = found.get(note.to_tag)
        if one is None:
            if len(found) == BRANCHES_MAX:
                continue
            one = found[note.to_tag] = {"to_tag": _text(note.to_tag), "src": note.src, "sport": note.sport,
                                        "ring": None, "answer": None, "code": None}
        if note.status < 200:
            one["ring"] = one["ring"] or moment(note.time)
        elif one["code"] is None:
            one["code"] = note.status
            one["answer"] = moment(note.time) if note.status < 300 else None
    return list(found.values())
