"""Components that speak over time: records, ticks on the packet clock, the end of the source; each is counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from otus_core import (
    CONSUMED,
    DecodedPacket,
    FlowKey,
    FlowRegistry,
    FrameBatch,
    OutputPacket,
    Parsed,
    Record,
    encode_json,
)
from otus_core.decode.decoder import COUNTERS, Decoder
from otus_core.decode.options import DecoderConfig
from otus_core.errors import TaskStartFailed
from otus_core.model.accounts import Accounts
from otus_core.pipeline.buffer import SendBuffer
from otus_core.pipeline.counters import Roster, counter_names, unaccounted
from otus_core.pipeline.loop import Pipeline
from otus_core.pipeline.slots import RECORDS_MAX, Outbox, ParserSlot, ProcessorSlot
from tests.core.pipeline.test_loop import frame

SECOND = 10**9
ROSTER = Roster(("p",), ("first", "second"), {"r": ()})


class Taker:
    """A parser that takes packets in and tells how many, as ``speak`` has it: what it gets is (outbox, now)."""

    tick_interval = 1.0

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.taken = 0
        self.ticks: list[int] = []
        self.ends: list[int] = []
        self.answer: Any = CONSUMED
        self.on_tick: Any = lambda _now: None
        self.on_finish: Any = lambda _now: None

    def take(self, packet: DecodedPacket) -> Any:
        self.taken += 1
        return self.answer(packet) if callable(self.answer) else self.answer

    def tick(self, now: int) -> Iterable[Record] | None:
        self.ticks.append(now)
        told: Iterable[Record] | None = self.on_tick(now)
        return told

    def finish(self, now: int) -> Iterable[Record] | None:
        self.ends.append(now)
        told: Iterable[Record] | None = self.on_finish(now)
        return told


class Hearer:
    """A processor that keeps what it sees, and says what it is told to."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.heard: list[OutputPacket] = []
        self.answer: Any = True
        self.on_finish: Any = lambda _now: None

    def process(self, output: OutputPacket) -> Any:
        self.heard.append(output)
        return self.answer(output) if callable(self.answer) else self.answer

    def finish(self, now: int) -> Iterable[Record] | None:
        told: Iterable[Record] | None = self.on_finish(now)
        return told


class Bench:
    """A pipeline with one parser and two processors."""

    def __init__(self, *, live: bool = False, capacity: int = 1000, **slots: Any) -> None:
        self.accounts = Accounts(counter_names(ROSTER, COUNTERS))
        self.buffer = SendBuffer(self.accounts, "r", capacity, 1 << 30, not live)
        self.errors: list[str] = []
        outbox = Outbox("parser p", ("sum", "text"))
        outboxes = [Outbox(f"processor {name}", ("made",)) for name in ROSTER.processors]
        self.parser = Taker(outbox)
        self.first, self.second = (Hearer(one) for one in outboxes)
        accounts = self.accounts
        self.pipeline = Pipeline(
            accounts=accounts,
            decoder=Decoder(accounts, DecoderConfig()),
            flows=FlowRegistry(),
            parsers=[ParserSlot(accounts, "p", self.parser, ("sum", "text"), ("udp",), 1, outbox)],
            processors=[
                ProcessorSlot(accounts, name, part, False, mark, outbox=part.outbox, **slots.get(name, {}))
                for mark, (name, part) in enumerate(zip(ROSTER.processors, (self.first, self.second), strict=True), 2)
            ],
            buffers=[self.buffer],
            task_id="t",
            agent_id="a",
            pipeline_id=0,
            on_error=lambda kind, name, error: self.errors.append(f"{kind} {name}: {error}"),
            live=live,
        )

    def feed(self, *times: float) -> None:
        """Packets at these seconds."""
        batch = FrameBatch.from_frames([(int(at * SECOND), frame(b"x")) for at in times])
        at = 0
        while at < len(batch):
            at = self.pipeline.process(batch, at, 512, 10**9)

    def end(self) -> None:
        self.pipeline.finish()
        while not self.pipeline.carry_on():
            pass
        for i in range(2):
            self.pipeline.finish_processor(i)
            while not self.pipeline.carry_on():
                pass

    def sent(self) -> list[tuple[str, Any]]:
        self.outputs = self.buffer.take(10**6)
        return [(output.payload_type, output.payload) for output in self.outputs]

    def counted(self) -> dict[str, int]:
        counters = self.accounts.snapshot()
        taken = counters["r.offered"] - counters["r.queued"] - counters["r.dropped{buffer_overflow}"]
        assert unaccounted({**counters, "r.in_flight": taken}, ROSTER) == 0
        shown = ("records", "consumed", "kept", "matched", "dropped", "errors")
        return {name: n for name, n in counters.items() if n and name.startswith(shown)}


def test_what_a_parser_takes_in_is_no_drop_and_is_told_of_at_the_end() -> None:
    bench = Bench()
    bench.parser.on_finish = lambda now: [Record("sum", bench.parser.taken, now)]
    bench.feed(10, 11, 12.5)
    bench.end()
    assert bench.sent() == [("sum", 3)]
    assert bench.parser.ends == [12.5 * SECOND]
    assert bench.counted() == {"consumed{parser:p}": 3, "records{parser:p}": 1, "kept": 1}


def test_ticks_come_on_the_packet_clock_at_multiples_of_the_interval_and_once_for_a_gap() -> None:
    bench = Bench()
    bench.feed(10.2, 10.9, 11.0, 11.1, 12.7, 100.5, 100.9, 101)
    assert bench.parser.ticks == [int(at * SECOND) for at in (11.0, 12.7, 100.5, 101)]


def test_a_tick_comes_before_the_packet_that_brings_its_time() -> None:
    bench = Bench()
    bench.parser.on_tick = lambda now: bench.parser.outbox.emit(Record("sum", bench.parser.taken, now))
    bench.feed(1.5, 1.6, 2.5, 2.6, 3.5)
    assert bench.sent() == [("sum", 2), ("sum", 4)]


def test_an_idle_live_source_ticks_too() -> None:
    bench = Bench(live=True)
    bench.feed(10.5)
    assert bench.pipeline.advance(int(10.9 * SECOND))
    assert bench.pipeline.advance(int(11.2 * SECOND))
    assert bench.parser.ticks == [int(11.2 * SECOND)]


def test_a_live_clock_does_not_believe_a_packet_from_the_far_future() -> None:
    bench = Bench(live=True)
    bench.feed(10.5, 10**6, 10.7)
    assert bench.parser.ticks == []


def test_a_record_goes_through_the_processors_behind_its_component_and_no_other() -> None:
    bench = Bench(first={"accepts": ("text",)})
    bench.parser.answer = lambda packet: Parsed("message", {}, payload_type="text")

    def answer(output: OutputPacket) -> bool:
        bench.first.outbox.emit(Record("made", f"of {output.payload}", output.timestamp))
        return True

    bench.first.answer = answer
    bench.parser.on_finish = lambda now: [Record("sum", "sum", now)]
    bench.second.on_finish = lambda now: [Record("made", "last", now)]
    bench.feed(1)
    bench.end()
    assert [output.payload for output in bench.first.heard] == ["message"]
    assert [output.payload for output in bench.second.heard] == ["of message", "message", "sum"]
    assert [payload for _, payload in bench.sent()] == ["of message", "message", "sum", "last"]
    assert bench.counted() == {
        "matched": 1,
        "records{parser:p}": 1,
        "records{processor:first}": 1,
        "records{processor:second}": 1,
        "kept": 4,
    }


def test_a_processor_may_take_in_and_drop_records_and_each_is_counted() -> None:
    bench = Bench()
    bench.parser.on_finish = lambda now: (Record("sum", n, now) for n in range(10))
    bench.first.answer = lambda output: CONSUMED if output.payload < 3 else True
    bench.second.answer = lambda output: output.payload != 5
    bench.feed(1)
    bench.end()
    assert [payload for _, payload in bench.sent()] == [3, 4, 6, 7, 8, 9]
    counted = bench.counted()
    assert counted["records{parser:p}"] == 10
    assert (counted["consumed{processor:first}"], counted["dropped{filtered:second}"]) == (3, 1)


def test_many_records_wait_for_full_buffers_and_packets_wait_for_them() -> None:
    bench = Bench(capacity=100)
    bench.parser.on_tick = lambda now: (Record("sum", n, now) for n in range(1000))
    batch = FrameBatch.from_frames([(at * SECOND, frame(b"x")) for at in (1, 2, 2)])
    at = bench.pipeline.process(batch, 0, 512, 10**9)
    assert at == 1
    got: list[Any] = []
    while at < 3:
        assert len(bench.buffer) <= 101
        got += bench.sent()
        taken = bench.parser.taken
        at = bench.pipeline.process(batch, at, 512, 10**9)
        assert bench.parser.taken == taken or at == 3
    assert [payload for _, payload in got + bench.sent()] == list(range(1000))
    bench.counted()


def test_a_live_source_waits_for_no_buffer_and_what_overflows_is_counted() -> None:
    bench = Bench(live=True, capacity=100)
    bench.parser.on_tick = lambda now: (Record("sum", n, now) for n in range(1000))
    bench.feed(1, 2)
    assert bench.parser.taken == 2
    assert len(bench.buffer) == 100
    counters = bench.accounts.snapshot()
    assert counters["records{parser:p}"] == counters["kept"] == 1000
    assert counters["r.dropped{buffer_overflow}"] == 900


def _broken(now: int) -> Iterator[Record]:
    yield Record("sum", 1, now)
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("told", "complaint", "kept"),
    [
        (lambda now: [Record("sum", 1, now), "x"], "parser p emitted str, not a Record", 1),
        (lambda now: [Record("other", 1, now)], "emitted the payload type 'other'; it declares sum, text", 0),
        (_broken, "broken", 1),
        (lambda now: 5, "'int' object is not iterable", 0),
        (lambda now: 1 / 0, "division by zero", 0),
    ],
    ids=["no record", "undeclared", "a generator that raises", "no iterator", "raises"],
)
def test_a_fault_of_tick_is_the_component_s_and_costs_no_packet(told: Any, complaint: str, kept: int) -> None:
    bench = Bench()
    bench.parser.on_tick = told
    bench.feed(1, 2, 2.5)
    assert bench.parser.taken == 3
    assert len(bench.errors) == 1 and complaint in bench.errors[0]
    counted = bench.counted()
    assert (counted.get("kept", 0), counted["errors{parser:p}"], counted["consumed{parser:p}"]) == (kept, 1, 3)


def test_a_component_that_emits_too_much_in_one_call_is_told_and_what_it_emitted_before_stays() -> None:
    bench = Bench(capacity=10 * RECORDS_MAX)

    def flood(packet: DecodedPacket) -> Any:
        for n in range(RECORDS_MAX + 1):
            bench.parser.outbox.emit(Record("sum", n, packet.timestamp))
        return CONSUMED

    bench.parser.answer = flood
    bench.feed(1)
    assert "more than 4096 records in one call" in bench.errors[0]
    counted = bench.counted()
    assert (counted["records{parser:p}"], counted["dropped{parse_error:p}"]) == (RECORDS_MAX, 1)


def test_only_a_processor_that_rewrites_may_replace_a_payload() -> None:
    bench = Bench(second={"rewrites": True})
    bench.parser.answer = lambda packet: Parsed("secret", {"a": "b"}, payload_type="text")
    kept: list[OutputPacket] = []

    def rewrite(output: OutputPacket) -> bool:
        output.replace(payload="***", raw_payload=b"***")
        kept.append(output)
        return True

    bench.second.answer = rewrite
    bench.feed(1)
    assert bench.sent() == [("text", "***")]
    assert (bench.outputs[0].raw_payload, bench.outputs[0].labels) == (b"***", {"a": "b"})
    with pytest.raises(TypeError, match="only a processor that declares rewrites"):
        kept[0].replace(payload="later")
    bench.first.answer = rewrite
    bench.feed(2)
    assert "only a processor that declares rewrites" in bench.errors[0]


@pytest.mark.parametrize("interval", [None, 0.05, -1, float("nan"), float("inf"), "1s", True, 1e9])
def test_an_interval_that_makes_no_sense_fails_the_start(interval: Any) -> None:
    class Odd(Taker):
        tick_interval = interval

    outbox = Outbox("parser p", ("sum",))
    with pytest.raises(TaskStartFailed, match=r"parser p.*tick_interval"):
        ParserSlot(Accounts(counter_names(ROSTER, COUNTERS)), "p", Odd(outbox), ("sum",), ("udp",), 1, outbox)


def test_a_record_is_json_without_what_it_does_not_have() -> None:
    bench = Bench()
    bench.parser.on_finish = lambda now: [
        Record("sum", {"n": 1}, now, key="k", labels={"a.b": "c"}),
        Record("sum", None, now, src_ip="2001:db8::1", dst_ip=b"\x20\x01" + 14 * b"\x00", src_port=5, protocol=17),
    ]
    bench.feed(1)
    bench.end()
    bench.sent()
    envelope = {"task_id": "t", "agent_id": "a", "pipeline_id": 0, "timestamp": 1000}
    envelope |= {"payload_type": "sum", "raw_payload": ""}
    assert [json.loads(encode_json(output)) for output in bench.outputs] == [
        envelope | {"labels": {"a.b": "c"}, "key": "k", "payload": {"n": 1}},
        envelope
        | {"labels": {}, "payload": None, "src_ip": "2001:db8::1", "dst_ip": "2001::"}
        | {"src_port": 5, "dst_port": 0, "protocol": 17},
    ]


FLOW = FlowKey("192.0.2.1", 1, "192.0.2.2", 2, 17)


def test_a_flow_stands_for_addresses_ports_and_protocol() -> None:
    bench = Bench()
    bare = OutputPacket(src_ip=None, dst_ip=None, protocol=0, is_record=True).flow
    assert bare is None
    six = FlowKey("2001:db8::1", 1, "2001:db8::2", 65535, 6)
    flows = (FLOW, bare, FLOW.packed(), six, six.packed())
    bench.parser.on_finish = lambda now: [Record("sum", None, now, flow=flow) for flow in flows]
    bench.feed(1)
    bench.end()
    bench.sent()
    assert [output.flow for output in bench.outputs] == [FLOW, None, FLOW, six, six]


@pytest.mark.parametrize(
    "fields",
    [
        {"payload_type": 1},
        {"timestamp": 1.5},
        {"timestamp": 1 << 64},
        {"labels": {"a": 1}},
        {"labels": [("a", "b")]},
        {"key": 5},
        {"src_ip": "192.0.2.1"},
        {"src_ip": "192.0.2.1", "dst_ip": "2001:db8::1"},
        {"src_ip": 5, "dst_ip": 5},
        {"src_port": 65536},
        {"protocol": -1},
        {"size": 1.0},
        {"flow": ("192.0.2.1", 1, "192.0.2.2", 2, 17)},
        {"flow": FLOW.packed()[:-1]},
        {"flow": bytes([5]) * 40},
        {"flow": FLOW, "src_port": 5},
        {"flow": FLOW, "src_ip": "192.0.2.1", "dst_ip": "192.0.2.2"},
    ],
    ids=str,
)
def test_a_record_that_is_not_sound_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        Record(**({"payload_type": "sum", "payload": None, "timestamp": 1} | fields))


def test_what_is_yielded_at_the_end_of_a_live_source_waits_for_room() -> None:
    bench = Bench(live=True, capacity=4)
    bench.first.on_finish = lambda now: iter([Record("made", n, now) for n in range(10)])
    bench.pipeline.finish()
    assert bench.pipeline.carry_on()
    bench.pipeline.finish_processor(0)
    for expected in ([0, 1, 2, 3], [4, 5, 6, 7]):
        assert not bench.pipeline.carry_on()
        assert not bench.pipeline.carry_on(), "asked again, it waits on"
        assert [payload for _, payload in bench.sent()] == expected
    assert bench.pipeline.carry_on()
    assert [payload for _, payload in bench.sent()] == [8, 9]
    assert bench.accounts.snapshot()["r.dropped{buffer_overflow}"] == 0


def test_nobody_is_waited_for_once_it_is_forced() -> None:
    bench = Bench(live=True, capacity=4)
    bench.first.on_finish = lambda now: iter([Record("made", n, now) for n in range(10)])
    bench.pipeline.finish()
    bench.pipeline.carry_on()
    bench.pipeline.finish_processor(0)
    assert bench.pipeline.carry_on(True)
    assert [payload for _, payload in bench.sent()] == [6, 7, 8, 9]
    assert bench.accounts.snapshot()["r.dropped{buffer_overflow}"] == 6
