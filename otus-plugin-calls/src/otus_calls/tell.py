"""Puts together what is told of a call: every field of its record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otus_calls.fields import REQUEST_URI
from otus_calls.flags import find_flags
from otus_calls.media import join_media, lower_mos
from otus_calls.model import moment
from otus_calls.names import VERSION
from otus_calls.parties import read_party
from otus_calls.sdp import read_sdp
from otus_calls.session import CALLEE, CALLER, read_session

if TYPE_CHECKING:
    from otus_calls.config import CallsConfig
    from otus_calls.note import Note
    from otus_calls.replay import Outcome
    from otus_calls.table import Call

TRANSPORTS = {6: "TCP", 17: "UDP", 132: "SCTP"}
BRANCHES_MAX = 32
"""Of a record: a call that is forked to more telephones has the others left out."""
HOPS_MAX = 16
TRANSFERS_MAX = 16
_Q850 = re.compile(r"Q\.850\s*;(?:[^,]*;)?\s*cause\s*=\s*(\d{1,3})", re.IGNORECASE)
"""RFC 3326 §2: ``Reason: Q.850;cause=16;text="Terminated"``; parameters come in any order."""


def seconds(begin: int, end: int) -> float | None:
    """Give the time between two times, ``None`` where one of them was not seen or they are the wrong way round."""
    return round((end - begin) / 1e9, 6) if begin and end and end >= begin else None


def tell_call(call: Call, outcome: Outcome, ended: str | None, config: CallsConfig, *, media: bool) -> dict[str, Any]:
    """Tell all that is known of a call; ``ended`` is why it was reported, ``None`` while it is under way. ``media``:
    streams are being followed, so that missing ones mean something.
    """
    session = read_session(outcome.notes)
    asked = (outcome.invite or outcome.first).fields or {}
    final = outcome.final or (outcome.challenge if outcome.state == "challenged" else None)
    streams = join_media(call.streams or [], call.from_tag.decode("utf-8", "replace"), session)
    facts: dict[str, Any] = {
        "version": VERSION,
        "call_id": call.call_id.decode("utf-8", "replace"),
        "from_tag": call.from_tag.decode("utf-8", "replace"),
        **{name: moment(getattr(outcome, name)) for name in ("start", "ring", "answer", "end")},
        "from": read_party(asked.get("from")),
        "to": read_party(asked.get("to")),
        "request_uri": asked.get(REQUEST_URI) or None,
        "pai": read_party(asked.get("p-asserted-identity")),
        "diversion": read_party(asked.get("diversion")),
        **_parties(outcome, asked),
        "state": outcome.state,
        "code": None if final is None else final.status,
        "reason": None if final is None else final.reason,
        **_reasons(outcome),
        "warning": None if final is None else (final.fields or {}).get("warning"),
        **_times(outcome),
        "hangup_by": None if not outcome.bye else CALLER if outcome.bye_by_caller else CALLEE,
        "post_bye": outcome.post_bye,
        "attempts": outcome.attempts,
        "auth": _auth(outcome),
        "retransmissions": outcome.retransmissions,
        "duplicates": outcome.duplicates,
        "reinvites": outcome.reinvites,
        "hold": [{"by": one["by"], "from": moment(one["from"]), "to": moment(one["to"] or 0)} for one in session.hold],
        "transfers": _transfers(outcome),
        "t38": session.t38,
        "dtmf": _dtmf(outcome, streams),
        "session_timer": _session_timer(outcome),
        "icmp": list(call.errors or []),
        "hops": _hops(outcome),
        "branches": _branches(outcome),
        "legs": list(call.legs or []),
        "media": streams,
        "mos": lower_mos(streams),
        "flags": [],
        "partial": outcome.partial,
        "ended": ended,
        "messages_cut": call.cut,
        "messages": [tell_message(note) for note in outcome.notes] if config.messages else [],
    }
    facts["flags"] = find_flags(facts, outcome, session, config, media=media)
    return facts


def tell_message(note: Note) -> dict[str, Any]:
    """Tell one message: a line of a ladder."""
    fields = note.fields or {}
    return {
        "time_ns": note.time,
        "src": note.src,
        "sport": note.sport,
        "dst": note.dst,
        "dport": note.dport,
        "transport": TRANSPORTS.get(note.protocol, str(note.protocol)),
        "by": CALLER if note.from_caller == (note.status == 0) else CALLEE,
        "method": note.method,
        "status": note.status or None,
        "reason": note.reason,
        "cseq": note.cseq,
        "to_tag": note.to_tag.decode("utf-8", "replace") or None,
        "branch": note.branch.decode("utf-8", "replace") or None,
        "retransmission": note.repeat == 1,
        "duplicate": note.repeat == 2,
        "size": note.size,
        "reason_header": fields.get("reason"),
        "refer_to": fields.get("refer-to"),
        "sdp": None if note.body is None else read_sdp(note.body),
    }


def _parties(outcome: Outcome, asked: Mapping[str, str]) -> dict[str, Any]:
    first = outcome.invite or outcome.first
    at, away = (first.src, first.sport), (first.dst, first.dport)
    if outcome.caller != at:
        at, away = away, at
    answered = next((one.fields for one in (outcome.accepted, outcome.final) if one is not None and one.fields), {})
    shared = {
        "transport": TRANSPORTS.get(first.protocol, str(first.protocol)),
        "vlan": None if first.vlan < 0 else first.vlan,
    }
    return {
        "caller": {"ip": at[0] or None, "port": at[1], **shared, "agent": asked.get("user-agent")},
        "callee": {
            "ip": away[0] or None,
            "port": away[1],
            **shared,
            "agent": answered.get("server") or answered.get("user-agent"),
        },
    }


def _reasons(outcome: Outcome) -> dict[str, Any]:
    """Give the Q.850 cause, and the whole Reason (RFC 3326), of what ended the call."""
    for note in (outcome.bye_note, outcome.final, *reversed([one for one in outcome.notes if one.method == "CANCEL"])):
        said = (note.fields or {}).get("reason") if note is not None else None
        if said:
            cause = _Q850.search(said)
            return {"q850": int(cause[1]) if cause else None, "reason_header": said}
    return {"q850": None, "reason_header": None}


def _times(outcome: Outcome) -> dict[str, Any]:
    """Give the times of RFC 6076: SRD (§4.3) from the INVITE that was not challenged to the first answer that is no
    100, SDD (§4.4) from the BYE to its answer, SDT (§4.5) from the 2xx to the BYE; and those under other names.
    """
    heard = min((at for at in (outcome.ring, outcome.answer) if at), default=0)
    return {
        "pdd": seconds(outcome.start, heard) if outcome.invite is not None else None,
        "setup": seconds(outcome.start, outcome.answer) if outcome.invite is not None else None,
        "talk": seconds(outcome.answer, outcome.bye),
        "total": seconds(outcome.start, outcome.end),
        "srd": seconds(outcome.attempt, outcome.reply),
        "sdd": seconds(outcome.bye, outcome.bye_answered),
        "sdt": seconds(outcome.answer, outcome.bye),
    }


def _auth(outcome: Outcome) -> dict[str, Any] | None:
    """Tell whether the caller was challenged, and what came of it (RFC 3261 §22)."""
    if not outcome.challenges:
        return None
    return {
        "challenges": outcome.challenges,
        "accepted": outcome.state != "challenged",
        "rejected": rejections(outcome),
    }


def rejections(outcome: Outcome) -> int:
    """Count challenges of an INVITE that had credentials, unless the nonce was merely stale (RFC 7616 §3.3)."""
    with_proof = {
        note.cseq
        for note in outcome.notes
        if note.method == "INVITE"
        and not note.status
        and {"authorization", "proxy-authorization"} & set(note.fields or ())
    }
    return sum(
        1
        for note in outcome.notes
        if note.method == "INVITE"
        and note.status in (401, 407)
        and not note.repeat
        and note.cseq in with_proof
        and not any(
            "stale=true" in (note.fields or {}).get(name, "") for name in ("www-authenticate", "proxy-authenticate")
        )
    )


def _transfers(outcome: Outcome) -> list[dict[str, Any]]:
    """Tell of each REFER (RFC 3515)."""
    found: list[dict[str, Any]] = []
    for note in outcome.notes:
        if note.method != "REFER" or note.repeat:
            continue
        if note.status == 0 and not any(one["cseq"] == note.cseq for one in found) and len(found) < TRANSFERS_MAX:
            fields = note.fields or {}
            found.append(
                {
                    "at": moment(note.time),
                    "by": CALLER if note.from_caller else CALLEE,
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


def _dtmf(outcome: Outcome, streams: list[dict[str, Any]]) -> dict[str, Any]:
    """Count digits: as events in the media (RFC 4733), and INFO requests (RFC 6086), most of which carry one."""
    digits = [event for stream in streams for event in stream.pop("events", ())]
    info = [note for note in outcome.notes if note.method == "INFO" and note.status == 0 and not note.repeat]
    return {"rtp": len(digits), "info": len({(note.cseq, note.from_caller) for note in info})}


def _session_timer(outcome: Outcome) -> dict[str, Any] | None:
    """Tell what session timer was agreed on (RFC 4028 §9), and how often it was refreshed."""
    said = ((outcome.accepted.fields or {}) if outcome.accepted is not None else {}).get("session-expires")
    expires = (said or "").partition(";")[0].strip()
    if not said or not (expires.isascii() and expires.isdecimal() and len(expires) < 8):
        return None
    refreshed = {
        (note.cseq, note.from_caller): note.time
        for note in outcome.notes
        if note.method in ("INVITE", "UPDATE") and 200 <= note.status < 300 and note.time >= outcome.answer
    }
    refresher = re.search(r"refresher\s*=\s*(ua[cs])", said, re.IGNORECASE)
    return {
        "expires": int(expires),
        "refresher": refresher[1].lower() if refresher else None,
        "refreshes": len(refreshed) - 1,
        "last": moment(max(refreshed.values(), default=0)),
    }


def _hops(outcome: Outcome) -> list[dict[str, Any]]:
    """Give who sent the INVITE on, in order of time, beginning with the caller, and to whom."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for note in outcome.notes:
        if note.method != "INVITE" or note.status or note.to_tag or not note.from_caller:
            continue
        sender = (note.src, note.sport)
        if sender not in found and len(found) < HOPS_MAX:
            found[sender] = {
                **{name: getattr(note, name) for name in ("src", "sport", "dst", "dport")},
                "transport": TRANSPORTS.get(note.protocol, str(note.protocol)),
                "delay_ms": round((note.time - outcome.start) / 1e6, 3),
            }
    return list(found.values())


def _branches(outcome: Outcome) -> list[dict[str, Any]]:
    """Tell what became of each dialog that the INVITE made: a fork has several, told apart by their To tags."""
    found: dict[bytes, dict[str, Any]] = {}
    for note in outcome.notes:
        if note.method != "INVITE" or note.status <= 100 or not note.to_tag or not note.from_caller:
            continue
        one = found.get(note.to_tag)
        if one is None:
            if len(found) == BRANCHES_MAX:
                continue
            one = {"to_tag": note.to_tag.decode("utf-8", "replace"), "src": note.src, "sport": note.sport}
            one |= {"ring": None, "answer": None, "code": None}
            found[note.to_tag] = one
        if note.status < 200:
            one["ring"] = one["ring"] or moment(note.time)
        elif one["code"] is None:
            one["code"] = note.status
            one["answer"] = moment(note.time) if note.status < 300 else None
    return list(found.values())
