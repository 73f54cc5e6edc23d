"""A parser or a processor as the loop calls it: its methods looked up once, its counters, its circuit breaker, and the
records that it has emitted and that have not gone on yet.
"""

import math

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF

from otus_core.model.counter_names import name_of
from otus_core.model.accounts cimport Accounts
from otus_core.model.record cimport Record
from otus_core.pipeline.breaker cimport Breaker

from otus_core.components import BaseParser, BaseProcessor
from otus_core.errors import TaskStartFailed

TRANSPORTS = {"udp": TRANSPORT_UDP, "tcp": TRANSPORT_TCP, "icmp": TRANSPORT_ICMP,
              "other": TRANSPORT_ICMP | TRANSPORT_OTHER}
RECORDS_MAX = 4096
"""Records that a component may emit in one call; an iterator that ``tick`` or ``finish`` returns has no such bound."""
TICK_LEAST_S = 0.1
TICK_MOST_S = 86400.0


cdef extern from "Python.h":
    int is_true "PyObject_IsTrue" (PyObject *value)     # -1 where it raised, which is not looked at here


cdef int _pass_on() except -1:
    return -1


cdef object take_error():
    """Give what a call has just raised, with its traceback."""
    try:
        _pass_on()
    except BaseException as error:
        return error


cdef int truth_of(PyObject *answer) noexcept:
    """Give whether an answer is true, and let go of it; -1 where that raises, as after ``call``."""
    cdef int truth = 1 if answer == <PyObject *>True else is_true(answer)
    Py_DECREF(<object>answer)
    return truth


@cython.final
cdef class Outbox:
    """Where a component's records wait until its call returns: ``context.emit`` is its ``emit``.

    ``name`` is the component as errors name it, ``payload_types`` are those that it declares.
    """

    def __init__(self, str name not None, payload_types, Py_ssize_t most=RECORDS_MAX):
        self.name = name
        self.payload_types = frozenset(payload_types)
        self.waiting = []
        self.most = most

    def emit(self, record):
        """Take one record. Raises TypeError for what is none, and ValueError for a payload type that the component does
        not declare and for the record after the last one that a call may emit. Raises RuntimeError when all components
        have finished: nothing would carry the record.
        """
        self.check(record)
        if self.closed:
            raise RuntimeError(f"{self.name} emitted a record when all had finished; finish is the last time")
        if len(self.waiting) >= self.most:
            raise ValueError(f"{self.name} emitted more than {self.most} records in one call; tick and finish may "
                             "return an iterator of any length")
        self.waiting.append(record)

    cpdef int check(self, object record) except -1:
        """Raise what ``emit`` raises for a record that is not sound."""
        if type(record) is not Record:
            raise TypeError(f"{self.name} emitted {type(record).__name__}, not a Record")
        if (<Record>record).payload_type not in self.payload_types:
            there = ", ".join(sorted(self.payload_types)) or "none"
            raise ValueError(f"{self.name} emitted the payload type {(<Record>record).payload_type[:60]!r}; "
                             f"it declares {there}")
        return 0


cdef class Slot:
    """What parsers and processors have in common. Raises TaskStartFailed for an interval that makes no sense."""

    def __init__(self, str kind, Accounts accounts not None, str name, component, int mark, outbox):
        self.breaker = Breaker(kind, name, accounts.slot(name_of("errors", kind, name)))
        self.component = component
        self.outbox = Outbox(f"{kind} {name}", ()) if outbox is None else outbox
        self.mark = mark
        self.records = accounts.slot(name_of("records", kind, name))
        self.consumed = accounts.slot(name_of("consumed", kind, name))
        base = BaseParser if kind == "parser" else BaseProcessor
        self.tick = _own(component, "tick", base)
        self.finish = _own(component, "finish", base)
        self.on_route = _own(component, "on_route", base)
        self.interval = 0 if self.tick is None else _interval(self.outbox.name, component)


cdef object _own(object component, str method, object base):
    """Give a method that the component has and that is not the base class's, which does nothing; else ``None``."""
    if getattr(type(component), method, None) is getattr(base, method):
        return None
    return getattr(component, method, None)


cdef int64_t _interval(str name, object component) except -1:
    interval = getattr(component, "tick_interval", None)
    if type(interval) not in (int, float) or not math.isfinite(interval):
        raise TaskStartFailed(f"{name} has a tick, and no tick_interval: give seconds, such as 1.0")
    if not TICK_LEAST_S <= interval <= TICK_MOST_S:
        raise TaskStartFailed(f"{name}: tick_interval is {interval} s: use {TICK_LEAST_S} to {TICK_MOST_S:.0f}")
    return <int64_t>(interval * 1e9)


@cython.final
cdef class ParserSlot(Slot):
    """A parser, called by ``take`` where it has one of its own, else by ``can_handle`` and ``handle``.

    ``failure_reasons`` are those of its ParseErrors that are counted by name.
    """

    def __init__(self, Accounts accounts not None, str name not None, component, payload_types, transports, int mark,
                 outbox=None, failure_reasons=(), Framer framer=None):
        super().__init__("parser", accounts, name, component, mark, outbox)
        if getattr(type(component), "take", BaseParser.take) is not BaseParser.take:
            self.take = component.take
        else:  # what the base class does with these two takes a Python call more
            self.can_handle = component.can_handle
            self.handle = component.handle
        self.announce = _own(component, "on_announce", BaseParser)
        self.flow_end = _own(component, "on_flow_end", BaseParser)
        self.payload_type = payload_types[0]
        self.payload_types = frozenset(payload_types)
        for transport in transports:
            self.transports |= TRANSPORTS[transport]
        self.framer = framer
        if framer is not None:
            self.transports |= TRANSPORT_STREAM
        self.ignored = accounts.slot(name_of("dropped", "ignored", name))
        self.parse_error = accounts.slot(name_of("dropped", "parse_error", name))
        self.reasons = {reason: accounts.slot(name_of("parse_errors", name, reason)) for reason in failure_reasons}
        self.other = accounts.slot(name_of("parse_errors", name, "other"))
        self.fault = accounts.slot(name_of("parse_errors", name, "fault"))


cdef PyObject *call_in_two(ParserSlot slot, object packet, bint *asks, bint *passes) noexcept:
    """Call a parser without ``take``, as ``call`` does.

    ``asks``: it raised when it was asked whose packet it is. ``passes``: the packet is not its own, and ``None`` is
    given.
    """
    cdef PyObject *answer = call(slot.can_handle, packet)
    cdef int mine
    asks[0] = True
    if answer == NULL:
        return NULL
    mine = truth_of(answer)
    if mine < 0:
        return NULL
    asks[0] = False
    if mine:
        return call(slot.handle, packet)
    passes[0] = True
    Py_INCREF(None)
    return <PyObject *>None


@cython.final
cdef class ProcessorSlot(Slot):
    """A processor; with ``passes`` an output survives its errors. It sees what it ``accepts``, all if that is empty."""

    def __init__(self, Accounts accounts not None, str name not None, component, bint passes, int mark, *, accepts=(),
                 bint rewrites=False, outbox=None):
        super().__init__("processor", accounts, name, component, mark, outbox)
        self.process = component.process
        self.before_finish = _own(component, "before_finish", BaseProcessor)
        self.accepts = frozenset(accepts) if accepts else None
        self.passes = passes
        self.rewrites = rewrites
        self.filtered = accounts.slot(name_of("dropped", "filtered", name))
        self.error = accounts.slot(name_of("dropped", "processor_error", name))
        self.circuit_open = accounts.slot(name_of("dropped", "circuit_open", name))
