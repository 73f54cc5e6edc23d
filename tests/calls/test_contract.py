"""The processor keeps the contract of processors; its records are as the shipped schemas say."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

import otus_sip
from otus_calls.names import CALL_LABELS, KPI_LABELS, REGISTRATION_LABELS
from otus_calls.records import CallPayload, KpiPayload, RegistrationPayload
from otus_core import OutputPacket
from otus_core.model.described import describe
from otus_core.testing.contract import ProcessorContract
from tests.calls.bench import BEGUN, CALLEE, Bench, sdp
from tests.calls.test_registrations import answered, register


class Recorder(Bench):
    """Keeps what is given."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[OutputPacket] = []

    def give(self, output: OutputPacket) -> Any:
        self.outputs.append(output)
        return super().give(output)


def conversation() -> list[OutputPacket]:
    """Give the messages of calls and registrations."""
    bench = Recorder()
    for n in range(4):
        bench.established(call=f"c{n}")
    for n in range(3):
        bench.bye(call=f"c{n}")
    register(bench, 1)
    answered(bench, 1, 200)
    return bench.outputs


class TestCalls(ProcessorContract):
    """As for any processor."""

    component = "calls"

    def messages(self) -> list[OutputPacket]:
        """Give SIP."""
        return conversation()


class Told:
    """A message of a parser of SIP that is not compiled: it says what ``SipMessage`` says, as bytes."""

    def __init__(self, message: otus_sip.SipMessage) -> None:
        self._message = message

    def packed_signalling(self) -> bytes:
        return self._message.packed_signalling()

    def packed_fields(self, names: frozenset[str]) -> bytes:
        return self._message.packed_fields(names)

    @property
    def description(self) -> bytes | None:
        return self._message.description


class Foreign(Bench):
    """Gives every other message as one of another parser."""

    def give(self, output: OutputPacket) -> Any:
        if self._given % 4 < 2:
            src, sport, dst, dport, _ = output.flow.parts()
            output = OutputPacket(
                timestamp=output.timestamp,
                src_ip=src,
                src_port=sport,
                dst_ip=dst,
                dst_port=dport,
                payload=Told(output.payload),
                payload_type="sip",
                raw_payload=output.raw_payload,
            )
        return super().give(output)


@pytest.mark.parametrize("workers", [1, 2])
def test_messages_of_another_parser_are_followed_alike(workers: int) -> None:
    told: list[Any] = []
    for bench in (Bench(workers), Foreign(workers)):
        bench.established(more=('Authorization: Digest username="a", response="b"',))
        bench.answer(200, body=sdp(CALLEE[0]), after=0.5)
        bench.bye(more=("Reason: Q.850;cause=16",))
        register(bench, 1)
        answered(bench, 1, 200, "Contact: <sip:alice@192.0.2.1>;expires=60")
        bench.finish()
        told.append((bench.calls(), bench.of("registration"), bench.counted))
    assert told[0] == told[1]
    ((call,), (registration,), counted) = told[1]
    assert (call["state"], call["q850"], call["retransmissions"], len(call["messages"])) == ("completed", 16, 1, 7)
    assert call["messages"][0]["sdp"] and (registration["state"], registration["expires"]) == ("registered", 60)
    assert not counted.get("not_followed")


def test_messages_that_say_nothing_are_counted() -> None:
    bench = Bench()
    bench.give(OutputPacket(timestamp=BEGUN, payload=object(), payload_type="sip"))
    assert bench.counted == {"not_followed": 1} and bench.finish() == []


def every_kind() -> Bench:
    bench = Bench(kpi=60.0)
    bench.tick()
    bench.established()
    bench.bye()
    bench.invite(call="c2")
    bench.answer(486, "Busy Here", call="c2", more=("Reason: Q.850;cause=17",))
    register(bench, 1)
    answered(bench, 1, 200)
    bench.established(call="c3", body=sdp(CALLEE[0]))
    bench.finish()
    return bench


@pytest.mark.parametrize("kind", ["call", "registration", "kpi"])
def test_records_are_as_the_schema_says(kind: str) -> None:
    schema = describe({"call": CallPayload, "registration": RegistrationPayload, "kpi": KpiPayload}[kind])
    found = every_kind().of(kind)
    assert found
    for one in found:
        jsonschema.validate(one, schema)
        assert set(one) == set(schema["properties"])


def _with_all_there_is(payload: Any) -> Any:
    """Give a payload of the same kind, of which everything is known."""
    party = {"uri": "sip:a@b", "user": "a", "display": None}
    end = {"ip": "192.0.2.1", "port": 5060, "transport": "UDP", "vlan": None, "agent": "x"}
    parts = {"from": party, "to": party, "caller": end, "callee": end}
    lists = {"flags": [{"flag": "nat"}], "legs": [{"call_id": "x"}], "hops": [{}]}
    known = {name: "x" if value in (None, "") else value for name, value in payload.facts.items()}
    return type(payload)(known | {name: part for name, part in (parts | lists).items() if name in known})


def test_labels_are_those_that_are_named() -> None:
    named = {"call": CALL_LABELS, "registration": REGISTRATION_LABELS, "kpi": KPI_LABELS}
    for record in every_kind().records:
        assert set(_with_all_there_is(record.payload).labels()) == set(named[record.payload_type])
        assert record.payload.to_text()


def test_a_message_that_another_parser_made_is_left_alone() -> None:
    bench = Bench()
    assert bench.give(OutputPacket(payload_type="sip", payload={"method": "INVITE"})) is True
    assert bench.counted == {"not_followed": 1}


def test_messages_are_taken_in_if_that_is_asked_for() -> None:
    bench = Bench(consume=True)
    raw = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"
    assert repr(bench.give(OutputPacket(payload_type="sip", payload=otus_sip.parse(raw)))) == "CONSUMED"


def test_the_end_is_told_a_few_calls_at_a_time() -> None:
    """A worker whose loop stands still for long is taken for one that hangs."""
    bench = Bench()
    for n in range(2000):
        bench.invite(call=f"c{n}", after=0.0001)
    (one,) = bench.team
    told = iter(one.finish(BEGUN))
    next(told)
    assert one.calls == 1999
    assert len(list(told)) == 1999
    assert one.calls == 0
