"""Calls put together from tshark's fields, by other means than ours: the table of a capture, for comparison.

For each Call-ID and From tag of an INVITE without To tag: what the caller saw. Written to be plain, not fast; it looks
at each question by itself, over all messages of the call, and knows no states.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from tests.tshark import SipMessage, last_time, sip_messages

MEANS = {486: "busy", 600: "busy", 487: "cancelled", 408: "no_answer", 480: "no_answer"}
MEANS |= {603: "declined", 607: "declined", 608: "declined", 401: "challenged", 407: "challenged"}


@attrs.frozen
class Row:
    """One call; times in seconds, ``None`` where there is none."""

    state: str
    code: int | None
    pdd: float | None
    setup: float | None
    talk: float | None
    hangup_by: str | None


def table(capture: Path, *options: str) -> dict[tuple[str, str], Row]:
    """Give a row for each call in a capture."""
    messages = sorted(sip_messages(capture, *options), key=lambda one: one.time)
    end = last_time(capture)
    begun: dict[tuple[str, str], SipMessage] = {}
    for one in messages:
        if one.method == "INVITE" and not one.to_tag and one.call_id:
            begun.setdefault((one.call_id, one.from_tag), one)
    return {key: _row(first, [one for one in messages if _belongs(one, key)], end) for key, first in begun.items()}


def _belongs(one: SipMessage, key: tuple[str, str]) -> bool:
    return one.call_id == key[0] and key[1] in (one.from_tag, one.to_tag)


def _row(first: SipMessage, messages: list[SipMessage], end: int) -> Row:
    tag = first.from_tag
    attempts = [m for m in messages if m.method == "INVITE" and not m.to_tag and m.src == first.src]
    branches = {m.branch for m in attempts}
    last_cseq = max(m.cseq for m in attempts)
    said = [
        m
        for m in messages
        if m.status and m.cseq_method == "INVITE" and m.from_tag == tag and m.branch in branches and m.cseq <= last_cseq
    ]
    answer = next((m for m in said if 200 <= m.status < 300), None)
    ring = next((m for m in said if 100 < m.status < 300), None)
    finals = [m for m in said if m.status >= 300 and m.status not in (401, 407)]
    bye = next((m for m in messages if m.method == "BYE"), None)
    state, code = _outcome(said, attempts, answer, bye, finals, end)
    return Row(
        state,
        code,
        _seconds(first, ring),
        _seconds(first, answer),
        _seconds(answer, bye),
        None if bye is None else "caller" if bye.from_tag == tag else "callee",
    )


def _outcome(
    said: list[SipMessage],
    attempts: list[SipMessage],
    answer: SipMessage | None,
    bye: SipMessage | None,
    finals: list[SipMessage],
    end: int,
) -> tuple[str, int | None]:
    if answer is not None:
        return ("completed" if bye is not None else "in_call"), answer.status
    if bye is not None:
        return "completed", finals[-1].status if finals else None
    last = next((m for m in reversed(said) if m.status >= 300), None)
    again = last is not None and any(m.time > last.time and m.cseq > last.cseq for m in attempts)
    if last is not None and not again:
        state = MEANS.get(last.status, "redirected" if last.status < 400 else "failed")
        return state, finals[-1].status if finals else last.status
    provisional = [m for m in said if m.status > 100 and (last is None or m.time > last.time)]
    code = finals[-1].status if finals else None
    if any(m.status == 183 or m.has_sdp for m in provisional):
        return "early_media", code
    if provisional:
        return "ringing", code
    return "trying" if said or end - attempts[-1].time < 32 * 10**9 else "no_reply", code


def _seconds(one: SipMessage | None, other: SipMessage | None) -> float | None:
    return None if one is None or other is None else (other.time - one.time) / 1e9
