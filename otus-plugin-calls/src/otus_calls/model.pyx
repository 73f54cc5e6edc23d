"""What the records hold: payloads of the types ``call``, ``registration`` and ``kpi``.

``facts`` is what their JSON holds, with every field that ``records`` describes; what is not known is ``None``. The
facts of a call are put together when somebody asks for them first.
"""

import json

cimport cython
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from otus_core.inline.text cimport print_date, print_padded

from otus_core import to_json

cdef object _to_json = to_json
cdef int64_t _SECOND = 1_000_000_000
cdef int64_t _DAY = 86400

# Many times of one call are in the same second.
cdef int64_t _last_second = -1
cdef char _moment[27]
memcpy(_moment, b"0000-00-00T00:00:00.000000Z", 27)


cpdef str moment(int64_t at):
    """Give a time in ns since 1970 as RFC 3339 has it, to the microsecond; ``None`` for 0 and for one before 1970."""
    global _last_second
    cdef int64_t second = at // _SECOND
    cdef int64_t of_day
    if at <= 0:
        return None
    if second != _last_second:
        of_day = second % _DAY
        print_date(_moment, second // _DAY)
        print_padded(_moment + 11, of_day // 3600, 2)
        print_padded(_moment + 14, of_day // 60 % 60, 2)
        print_padded(_moment + 17, of_day % 60, 2)
        _last_second = second
    print_padded(_moment + 20, at % _SECOND // 1000, 6)
    return _moment[:27].decode("ascii")


cdef class Payload:
    """What the three have in common."""

    def __init__(self, facts):
        self.told = facts

    @property
    def facts(self):
        """All that is known."""
        return self.all()

    cdef dict all(self):
        if type(self.told) is not dict:
            self.told = self.told()
        return self.told

    def to_json(self):
        """Give the facts as JSON."""
        return _to_json(self.all())

    def labels(self):
        """Give the labels that apply."""
        raise NotImplementedError

    def label(self, name):
        """Give one label."""
        return self.labels().get(name)

    def __repr__(self):
        return f"{type(self).__name__}({self.labels()!r})"


cdef int _put(dict labels, str name, object value) except -1:
    """Add a label, if it applies: seconds and scores have three decimals."""
    if value is None or value == "":
        return 0
    if type(value) is not str:
        value = f"{value:.3f}" if type(value) is float else str(value)
    labels[name] = value
    return 0


cdef dict _labels_of(str kind, tuple names, dict facts):
    cdef dict labels = {}
    for name in names:
        _put(labels, kind + name, facts[name])
    return labels


cdef str _end(dict party):
    cdef str ip = party["ip"]
    if not ip:
        return None
    return f"[{ip}]:{party['port']}" if ":" in ip else f"{ip}:{party['port']}"


@cython.final
cdef class Call(Payload):
    """A call. Its messages are half of a record; they become objects when somebody asks for the facts."""

    cdef dict few(self):
        """Give the facts; the messages are among them, in the last place, only once somebody has asked for all."""
        if type(self.told) is not dict:
            told = self.told()
            if type(told) is dict:
                self.told = told
            else:
                self.told, self.messages = told
        return self.told

    cdef dict all(self):
        cdef dict facts = self.few()
        if self.messages is not None:
            facts["messages"] = json.loads(self.messages)
            self.messages = None
        return facts

    def to_json(self):
        """Give the facts as JSON."""
        cdef bytes told = _to_json(self.few())
        if self.messages is None:
            return told
        return told[:len(told) - 1] + b',"messages":' + self.messages + b"}"

    def labels(self):
        """Give the labels that apply."""
        cdef dict facts = self.few()
        cdef dict caller = facts["caller"]
        cdef dict callee = facts["callee"]
        cdef dict begun = facts["from"] or {}
        cdef dict called = facts["to"] or {}
        cdef dict labels = {}
        _put(labels, "call.call_id", facts["call_id"])
        _put(labels, "call.state", facts["state"])
        _put(labels, "call.code", facts["code"])
        _put(labels, "call.reason", facts["reason"])
        _put(labels, "call.from_user", begun.get("user"))
        _put(labels, "call.to_user", called.get("user"))
        _put(labels, "call.from_uri", begun.get("uri"))
        _put(labels, "call.to_uri", called.get("uri"))
        _put(labels, "call.caller", _end(caller))
        _put(labels, "call.callee", _end(callee))
        _put(labels, "call.user_agent", caller["agent"])
        _put(labels, "call.server", callee["agent"])
        _put(labels, "call.pdd", facts["pdd"])
        _put(labels, "call.setup", facts["setup"])
        _put(labels, "call.talk", facts["talk"])
        _put(labels, "call.total", facts["total"])
        _put(labels, "call.mos", facts["mos"])
        _put(labels, "call.flags", _joined(facts["flags"], "flag"))
        _put(labels, "call.hangup_by", facts["hangup_by"])
        _put(labels, "call.q850", facts["q850"])
        _put(labels, "call.hops", len(facts["hops"]))
        _put(labels, "call.legs", _joined(facts["legs"], "call_id"))
        _put(labels, "call.ended", facts["ended"])
        return labels

    def to_text(self):
        """Say it in one line."""
        cdef dict facts = self.few()
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


cdef str _joined(list told, str name):
    return ",".join([one[name] for one in told]) if told else None


cdef tuple _OF_REGISTRATIONS = ("aor", "contact", "registrar", "source", "state", "code", "user_agent", "ended")
cdef tuple _OF_KPI = ("attempts", "ser", "seer", "asr", "ner", "acd")


@cython.final
cdef class Registration(Payload):
    """A registration: what one contact of one address of record did at one registrar."""

    def labels(self):
        """Give the labels that apply."""
        return _labels_of("registration.", _OF_REGISTRATIONS, self.all())

    def to_text(self):
        """Say it in one line."""
        cdef dict facts = self.all()
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


@cython.final
cdef class Kpi(Payload):
    """Figures of all calls and registrations of an interval."""

    def labels(self):
        """Give the labels that apply."""
        return _labels_of("kpi.", _OF_KPI, self.all())

    def to_text(self):
        """Say it in one line."""
        cdef dict facts = self.all()
        shares = [
            f"{name.upper()} {facts[name]:.1f} %" for name in ("asr", "ner", "ser", "seer") if facts[name] is not None
        ]
        return "  ".join([f"KPI {facts['attempts']} attempts", *shares])
