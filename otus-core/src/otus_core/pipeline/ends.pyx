"""Tells parsers that flows which were looked up have ended: between packets, and only where somebody listens."""

from otus_core.pipeline.breaker cimport Breaker, is_open


cdef class FlowEnds:
    """``listeners`` are, of each parser, its ``on_flow_end`` or ``None``, its breaker and its running mark."""

    def __init__(self, Accounts accounts not None, FlowRegistry flows not None, listeners, on_error):
        self.accounts = accounts
        self.flows = flows
        self.listeners = [listener for listener in listeners if listener[0] is not None]
        self.on_error = on_error
        self.running = accounts.slot("running")
        if self.listeners:
            flows.take_ends()       # from now on they are kept

    cdef int tell(self, int64_t now) except -1:
        """Tell of what has ended since the last call; ``now`` is the breakers' time. What a parser raises is counted
        against it.
        """
        cdef Breaker breaker
        cdef int mark
        if not self.flows.ends:
            return 0
        for key, context in self.flows.take_ends():
            for hear, breaker, mark in self.listeners:
                if is_open(breaker, now):
                    continue
                self.accounts.at[self.running] = mark
                try:
                    hear(key, context)
                except BaseException as error:
                    self.accounts.at[breaker.errors] += 1
                    breaker.failed(now)
                    self.on_error("parser", breaker.name, error)
        self.accounts.at[self.running] = 0
        return 0
