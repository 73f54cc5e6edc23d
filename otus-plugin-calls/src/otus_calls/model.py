"""What the records hold: payloads of the types ``call``, ``registration`` and ``kpi``.

``facts`` is what their JSON holds, with every field that ``records`` describes; what is not known is ``None``. The
facts of a call are put together when somebody asks for them first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any


def moment(at: int) -> str | None:
    """Give a time in ns since 1970 as RFC 3339 has it, to the microsecond; ``None`` for 0."""
    if not at:
        return None
    seconds, rest = divmod(at, 1_000_000_000)
    second = _second(seconds)
    return f"{second}.{rest // 1000:06d}Z" if second else None


@lru_cache(256)
def _second(seconds: int) -> str:
    """Give a second, the same for many times of one call; nothing for one beyond the years of a ``datetime``."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
    except (ValueError, OverflowError, OSError):  # a capture may name any year
        return ""


class Payload:
    """What the three have in common."""

    __slots__ = ("_facts",)

    def __init__(self, facts: dict[str, Any] | Callable[[], dict[str, Any]]) -> None:
        self._facts = facts

    @property
    def facts(self) -> dict[str, Any]:
        """All that is known."""
        facts = self._facts
        if not isinstance(facts, dict):
            facts = self._facts = facts()
        return facts

    def to_json(self) -> bytes:
        """Give the facts as JSON."""
        return json.dumps(self.facts, separators=(",", ":")).encode()

    def describe(self) -> dict[str, Any]:
        """Give the labels, ``None`` for those that do not apply."""
        raise NotImplementedError

    def labels(self) -> dict[str, str]:
        """Give the labels that apply."""
        return {name: _text(value) for name, value in self.describe().items() if value is not None and value != ""}

    def label(self, name: str) -> str | None:
        """Give one label."""
        return self.labels().get(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.labels()!r})"


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _end(party: dict[str, Any]) -> str | None:
    ip, port = party["ip"], party["port"]
    if not ip:
        return None
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class Call(Payload):
    """A call."""

    __slots__ = ()

    def describe(self) -> dict[str, Any]:
        """Give the labels, ``None`` for those that do not apply."""
        facts = self.facts
        return {
            "call.call_id": facts["call_id"],
            "call.state": facts["state"],
            "call.code": facts["code"],
            "call.reason": facts["reason"],
            "call.from_user": (facts["from"] or {}).get("user"),
            "call.to_user": (facts["to"] or {}).get("user"),
            "call.from_uri": (facts["from"] or {}).get("uri"),
            "call.to_uri": (facts["to"] or {}).get("uri"),
            "call.caller": _end(facts["caller"]),
            "call.callee": _end(facts["callee"]),
            "call.user_agent": facts["caller"]["agent"],
            "call.server": facts["callee"]["agent"],
            **{f"call.{name}": facts[name] for name in ("pdd", "setup", "talk", "total", "mos")},
            "call.flags": ",".join(one["flag"] for one in facts["flags"]),
            "call.hangup_by": facts["hangup_by"],
            "call.q850": facts["q850"],
            "call.hops": len(facts["hops"]),
            "call.legs": ",".join(one["call_id"] for one in facts["legs"]),
            "call.ended": facts["ended"],
        }

    def to_text(self) -> str:
        """Say it in one line."""
        facts = self.facts
        who = [(facts[name] or {}).get("user") or (facts[name] or {}).get("uri") or "?" for name in ("from", "to")]
        parts = [
            f"CALL {who[0]} → {who[1]}",
            facts["state"].replace("_", " "),
            "" if facts["code"] is None else f"{facts['code']} {facts['reason'] or ''}".rstrip(),
            "" if facts["pdd"] is None else f"PDD {facts['pdd']:.2f} s",
            "" if facts["talk"] is None else f"talk {facts['talk']:.1f} s",
            "" if facts["mos"] is None else f"MOS {facts['mos']:.2f}",
            " ".join(one["flag"] for one in facts["flags"]),
            facts["call_id"],
        ]
        return "  ".join(part for part in parts if part)


class Registration(Payload):
    """A registration: what one contact of one address of record did at one registrar."""

    __slots__ = ()

    def describe(self) -> dict[str, Any]:
        """Give the labels, ``None`` for those that do not apply."""
        facts = self.facts
        names = ("aor", "contact", "registrar", "source", "state", "code", "user_agent", "ended")
        return {f"registration.{name}": facts[name] for name in names}

    def to_text(self) -> str:
        """Say it in one line."""
        facts = self.facts
        expires = facts["expires"]
        parts = [
            f"REGISTRATION {facts['aor']}",
            facts["state"].replace("_", " "),
            f"contact {facts['contact']}" if facts["contact"] else "",
            f"at {facts['registrar']}",
            "" if expires is None else f"expires {expires} s",
            f"{facts['failures']} failures" if facts["failures"] else "",
            "scan" if facts["scan"] else "",
        ]
        return "  ".join(part for part in parts if part)


class Kpi(Payload):
    """Figures of all calls and registrations of an interval."""

    __slots__ = ()

    def describe(self) -> dict[str, Any]:
        """Give the labels, ``None`` for those that do not apply."""
        facts = self.facts
        return {f"kpi.{name}": facts[name] for name in ("attempts", "ser", "seer", "asr", "ner", "acd")}

    def to_text(self) -> str:
        """Say it in one line."""
        facts = self.facts
        shares = [
            f"{name.upper()} {facts[name]:.1f} %" for name in ("asr", "ner", "ser", "seer") if facts[name] is not None
        ]
        return "  ".join([f"KPI {facts['attempts']} attempts", *shares])
