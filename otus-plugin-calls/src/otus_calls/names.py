"""The names of labels and counters, without importing compiled code."""

from __future__ import annotations

VERSION = 1
"""Of the records' schemas: it grows when a field changes its meaning or goes away, not when one is added."""

STATES = (
    "trying",
    "ringing",
    "early_media",
    "no_reply",
    "in_call",
    "completed",
    "cancelled",
    "busy",
    "no_answer",
    "declined",
    "redirected",
    "challenged",
    "failed",
    "lost",
)
"""The states of a call. ``transitions`` says how one leads to another."""

CALL_LABELS = (
    "call.call_id",
    "call.state",
    "call.code",
    "call.reason",
    "call.from_user",
    "call.to_user",
    "call.from_uri",
    "call.to_uri",
    "call.caller",
    "call.callee",
    "call.user_agent",
    "call.server",
    "call.pdd",
    "call.setup",
    "call.talk",
    "call.total",
    "call.mos",
    "call.flags",
    "call.hangup_by",
    "call.q850",
    "call.hops",
    "call.legs",
    "call.ended",
)
REGISTRATION_LABELS = (
    "registration.aor",
    "registration.contact",
    "registration.registrar",
    "registration.source",
    "registration.state",
    "registration.code",
    "registration.user_agent",
    "registration.ended",
)
KPI_LABELS = ("kpi.attempts", "kpi.ser", "kpi.seer", "kpi.asr", "kpi.ner", "kpi.acd")

CALL_COUNTERS = tuple(f"calls_{state}" for state in STATES)
"""Calls that were reported, by their state in the end."""
REGISTRATION_STATES = ("registered", "unregistered", "expired", "rejected", "challenged", "wrong_password", "no_reply")
REGISTRATION_COUNTERS = tuple(f"registrations_{state}" for state in REGISTRATION_STATES)
STREAM_COUNTERS = ("streams", "streams_lossy", "streams_poor")
"""Streams of calls that have ended; those that lost more than 1 % of their packets; those with a MOS below 3.6."""
OTHER_COUNTERS = (
    "attempts",
    "established",
    "effective",
    "ineffective",
    "evicted",
    "legs_not_compared",
    "messages_cut",
    "namesakes",
    "not_followed",
)
COUNTERS = (*CALL_COUNTERS, *REGISTRATION_COUNTERS, *STREAM_COUNTERS, *OTHER_COUNTERS)
