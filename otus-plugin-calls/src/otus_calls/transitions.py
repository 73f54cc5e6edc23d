"""How a call goes from one state to another: the tables that ``replay.pyx`` runs, with the rule behind each line.

A call's state is that of its caller: only what passes at the first hop, to and from the caller, is an event, because
a proxy hides from the caller what becomes of the branches of a fork (RFC 3261 §16.7). What is in no line of the table
changes nothing. Retransmissions and copies of a message are no events.
"""

from __future__ import annotations

from otus_calls.names import STATES

EVENTS = (
    "invite",  # an INVITE that begins a dialog, so without a To tag
    "trying",  # 100
    "ringing",  # 101 to 199
    "early_media",  # 183, or another of these with a session description
    "answer",  # 2xx to the INVITE
    "redirect",  # 3xx
    "challenge",  # 401, 407
    "no_answer",
    "busy",
    "terminated",
    "decline",
    "fail",  # any other final response
    "bye",
    "timer_b",  # 64 * T1 without any response
    "silence",  # an answered call of which nothing is seen any more, neither messages nor media
)

STATUS_EVENTS: dict[range | int, str] = {
    range(100, 101): "trying",  # RFC 3261 §21.1.1
    range(101, 200): "ringing",  # §21.1.2 180, §21.1.3 181, §21.1.4 182, RFC 7315 199
    183: "early_media",  # §21.1.5; RFC 3960 §3
    range(200, 300): "answer",  # §21.2
    range(300, 400): "redirect",  # §21.3
    range(400, 700): "fail",  # §21.4 to §21.6
    401: "challenge",  # §21.4.2, §22.2
    407: "challenge",  # §21.4.8, §22.3
    408: "no_answer",  # §21.4.9
    480: "no_answer",  # §21.4.18
    486: "busy",  # §21.4.24
    487: "terminated",  # §21.4.25: a CANCEL or a BYE has ended the INVITE
    600: "busy",  # §21.6.1
    603: "decline",  # §21.6.2
    607: "decline",  # RFC 8197: unwanted
    608: "decline",  # RFC 8688: rejected by an intermediary
}
"""What a response to an INVITE means. A single code goes before the range that it lies in."""

ENDS: dict[str, str] = {
    "redirect": "redirected",  # RFC 3261 §8.1.3.4: the caller may go elsewhere
    "challenge": "challenged",  # §22.1: the caller may try again with credentials
    "no_answer": "no_answer",
    "busy": "busy",
    "terminated": "cancelled",  # §9.1: a CANCEL alone changes nothing, the 487 tells that it was in time
    "decline": "declined",
    "fail": "failed",
}
"""What a final response makes of a call that was not answered."""

UNANSWERED = ("trying", "ringing", "early_media")
OVER = ("redirected", "challenged", "no_answer", "busy", "cancelled", "declined", "failed", "no_reply")


def _table() -> dict[tuple[str, str], str]:
    table: dict[tuple[str, str], str] = {}
    for state in UNANSWERED:
        # §13.2.2.1: provisional responses. One that tells less than the one before takes nothing back.
        table[state, "ringing"] = "early_media" if state == "early_media" else "ringing"
        table[state, "early_media"] = "early_media"
        # §13.2.2.4: the 2xx makes the dialog, not the ACK.
        table[state, "answer"] = "in_call"
        # §13.2.2.2 and §13.2.2.3
        table |= {(state, event): end for event, end in ENDS.items()}
        # §15.1.1: the caller may end an early dialog by BYE; the 487 that follows says no more.
        table[state, "bye"] = "completed"
    # §17.1.1.2: Timer B fires in the state "Calling" only, that is, before any response.
    table["trying", "timer_b"] = "no_reply"
    for state in OVER:
        # §8.1.3.5, §22.2: the same call is tried once more, elsewhere or with credentials.
        table[state, "invite"] = "trying"
        # §9.1: the 2xx may cross the CANCEL; §13.2.2.4: a 2xx of another branch may come later than a failure.
        table[state, "answer"] = "in_call"
    # What comes after a timer that fired here (our clock is not the caller's) is still an answer.
    table["no_reply", "ringing"] = "ringing"
    table["no_reply", "early_media"] = "early_media"
    table |= {("no_reply", event): end for event, end in ENDS.items()}
    # §15.1.1: BYE ends the session; its answer adds nothing.
    table["in_call", "bye"] = "completed"
    # RFC 4028 §10 for sessions with a timer; else the media tell (``follow``).
    table["in_call", "silence"] = "lost"
    table["lost", "bye"] = "completed"
    return table


TABLE = _table()
"""From a state and an event to the next state."""

assert all(before in STATES and after in STATES for (before, _), after in TABLE.items())

TIMER_B_NS = 32_000_000_000
"""64 * T1, RFC 3261 §17.1.1.2; T1 is 500 ms (§17.1.1.1)."""
