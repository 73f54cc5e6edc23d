"""Each way through the states of a call, message by message, and what is told of it."""

from __future__ import annotations

import pytest

from otus_calls.names import STATES
from otus_calls.transitions import EVENTS, TABLE
from tests.calls.bench import CALLEE, CALLER, PROXY, Bench, flags, sdp


def test_answered_and_hung_up() -> None:
    bench = Bench()
    bench.established()
    bench.bye(by_caller=False)
    call = bench.call()
    assert (call["state"], call["code"], call["ended"], call["hangup_by"]) == ("completed", 200, "finish", "callee")
    assert (call["pdd"], call["setup"], call["talk"], call["sdd"]) == (0.1, 0.2, 5.1, 0.1)
    assert (call["attempts"], call["retransmissions"], call["duplicates"]) == (1, 0, 0)
    assert (call["from"]["user"], call["to"]["user"]) == ("alice", "bob")
    assert len(call["messages"]) == 6


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (486, "busy"),
        (600, "busy"),
        (480, "no_answer"),
        (408, "no_answer"),
        (603, "declined"),
        (607, "declined"),
        (608, "declined"),
        (302, "redirected"),
        (404, "failed"),
        (503, "failed"),
        (487, "cancelled"),
        (401, "challenged"),
        (407, "challenged"),
    ],
)
def test_final_responses(code: int, state: str) -> None:
    bench = Bench()
    bench.invite()
    bench.answer(180)
    bench.answer(code)
    bench.send("ACK sip:bob@example.com", cseq="1 ACK", tags=("f1", "t1"))
    call = bench.call()
    assert (call["state"], call["code"]) == (state, code)
    assert call["talk"] is None


def test_a_cancel_alone_changes_nothing() -> None:
    bench = Bench()
    bench.invite()
    bench.answer(180)
    bench.send("CANCEL sip:bob@example.com", cseq="1 CANCEL")
    assert bench.call()["state"] == "ringing"


def test_the_200_crosses_the_cancel() -> None:
    bench = Bench()
    bench.invite()
    bench.send("CANCEL sip:bob@example.com", cseq="1 CANCEL")
    bench.answer(200, body=sdp(CALLEE[0]))
    bench.answer(200, cseq="1 CANCEL")
    bench.bye()
    call = bench.call()
    assert call["state"] == "completed"
    assert "cancel_race" in flags(call)


def test_credentials_are_another_attempt_of_the_same_call() -> None:
    bench = Bench()
    bench.invite()
    bench.answer(407)
    bench.invite(cseq="2 INVITE", branch="z9hG4bK2", more=('Proxy-Authorization: Digest username="alice"',), after=1)
    bench.answer(200, cseq="2 INVITE", branch="z9hG4bK2", body=sdp(CALLEE[0]))
    call = bench.call()
    assert (call["state"], call["code"], call["attempts"]) == ("in_call", 200, 2)
    assert call["auth"] == {"challenges": 1, "accepted": True, "rejected": 0}
    assert (call["setup"], call["srd"]) == (1.2, 0.1)


def test_wrong_credentials_again_and_again() -> None:
    bench = Bench()
    for n in range(1, 5):
        proof = ('Authorization: Digest username="alice"',) if n > 1 else ()
        bench.invite(cseq=f"{n} INVITE", branch=f"b{n}", more=proof)
        bench.answer(401, cseq=f"{n} INVITE", branch=f"b{n}")
    call = bench.call()
    assert call["state"] == "challenged"
    assert "auth_loop" in flags(call)


def test_timer_b() -> None:
    bench = Bench()
    bench.invite()
    for wait in (0.5, 1, 2, 4):
        bench.invite(after=wait)
    bench.tick(40)
    (call,) = bench.calls()
    assert (call["state"], call["ended"], call["retransmissions"]) == ("no_reply", "timeout", 4)
    assert bench.counted["calls_no_reply"] == 1


def test_a_100_stops_timer_b() -> None:
    bench = Bench()
    bench.invite()
    bench.answer(100, tags=("f1", ""))
    bench.tick(40)
    assert bench.calls() == []
    bench.tick(400)
    assert bench.calls()[0]["state"] == "trying"


def test_early_media_comes_with_a_description() -> None:
    bench = Bench()
    bench.invite()
    bench.answer(183, body=sdp(CALLEE[0]))
    bench.answer(180)
    assert bench.call()["state"] == "early_media"


def test_bye_before_the_answer() -> None:
    bench = Bench()
    bench.invite()
    bench.answer(180)
    bench.bye()
    bench.answer(487)
    call = bench.call()
    assert (call["state"], call["talk"]) == ("completed", None)


def test_a_fork_has_branches_and_the_caller_hears_one_answer() -> None:
    bench = Bench()
    third = ("192.0.2.4", 5060)
    bench.invite()
    for end, branch in ((CALLEE, "p1"), (third, "p2")):
        bench.invite(way=(PROXY, end), branch=branch, after=0.01)
    bench.answer(180, way=(CALLEE, PROXY), tags=("f1", "t1"), branch="p1")
    bench.answer(180, tags=("f1", "t1"))
    bench.answer(486, way=(third, PROXY), tags=("f1", "t2"), branch="p2")
    bench.answer(200, way=(CALLEE, PROXY), tags=("f1", "t1"), branch="p1", body=sdp(CALLEE[0]))
    bench.answer(200, tags=("f1", "t1"), body=sdp(CALLEE[0]))
    call = bench.call()
    assert (call["state"], call["code"]) == ("in_call", 200)
    assert [(one["to_tag"], one["code"]) for one in call["branches"]] == [("t1", 200), ("t2", 486)]
    assert [one["src"] for one in call["hops"]] == [CALLER[0], PROXY[0]]
    assert call["retransmissions"] == 0


def test_one_call_id_three_calls() -> None:
    """A server that calls on with the same Call-ID: answers and CANCELs of each belong to their own INVITE."""
    bench = Bench()
    for n in (1, 2, 3):
        bench.invite(tags=(f"f{n}", ""), branch=f"b{n}")
    bench.send("CANCEL sip:bob@example.com", cseq="1 CANCEL", tags=("f1", ""), branch="b1")
    bench.answer(487, tags=("f1", "t1"), branch="b1")
    bench.answer(200, tags=("f2", "t2"), branch="b2", body=sdp(CALLEE[0]))
    bench.answer(486, tags=("f3", "t3"), branch="b3")
    bench.bye(tags=("f2", "t2"))
    calls = {call["from_tag"]: call["state"] for call in bench.finish()}
    assert calls == {"f1": "cancelled", "f2": "completed", "f3": "busy"}


def test_a_reinvite_that_is_refused_changes_nothing() -> None:
    bench = Bench()
    bench.established()
    held = sdp(CALLER[0], direction="sendonly")
    bench.invite(cseq="2 INVITE", tags=("f1", "t1"), branch="b5", body=held)
    bench.answer(488, cseq="2 INVITE", branch="b5")
    bench.bye(after=2)
    call = bench.call()
    assert (call["state"], call["code"], call["reinvites"], call["hold"]) == ("completed", 200, 1, [])


def test_hold_begins_with_the_answer() -> None:
    bench = Bench()
    bench.established()
    for cseq, direction in ((2, "sendonly"), (3, "sendrecv")):
        bench.invite(cseq=f"{cseq} INVITE", tags=("f1", "t1"), branch=f"b{cseq}", body=sdp(CALLER[0], 4000, direction))
        bench.answer(200, cseq=f"{cseq} INVITE", branch=f"b{cseq}", body=sdp(CALLEE[0], 4000, "recvonly"), after=1)
    call = bench.call()
    assert [(one["by"], one["to"] is not None) for one in call["hold"]] == [("caller", True)]
    assert call["hold"][0]["from"].endswith("21.500000Z")


def test_a_mirror_port_gives_everything_twice() -> None:
    bench = Bench()
    give, bench.give = bench.give, lambda output: [give(output) for _ in range(2)]  # type: ignore[method-assign]
    bench.established()
    bench.bye()
    call = bench.call()
    assert (call["state"], call["retransmissions"], call["duplicates"]) == ("completed", 0, 6)
    assert "captured_twice" in flags(call)


def test_a_lost_ack() -> None:
    bench = Bench()
    bench.invite()
    for wait in (0.1, 0.5, 1):
        bench.answer(200, body=sdp(CALLEE[0]), after=wait)
    call = bench.call()
    assert {"ack_lost", "retransmissions"} <= flags(call)
    assert call["state"] == "in_call"


def test_reason_and_q850() -> None:
    bench = Bench()
    bench.invite()
    bench.answer(486, "Busy Here", more=('Reason: Q.850;text="User busy";cause=17', 'Warning: 399 host "no"'))
    call = bench.call()
    assert (call["reason"], call["q850"], call["warning"]) == ("Busy Here", 17, '399 host "no"')


def test_a_call_that_began_before_the_capture() -> None:
    bench = Bench()
    bench.bye()
    call = bench.call()
    assert (call["state"], call["partial"], call["pdd"]) == ("completed", True, None)


def test_a_transfer() -> None:
    bench = Bench()
    bench.established()
    bench.send(
        "REFER sip:bob@example.com", cseq="2 REFER", tags=("f1", "t1"), more=("Refer-To: <sip:carol@example.com>",)
    )
    bench.answer(202, cseq="2 REFER")
    (one,) = bench.call()["transfers"]
    assert (one["by"], one["refer_to"], one["code"]) == ("caller", "sip:carol@example.com", 202)


def test_every_state_can_be_reached_and_every_event_means_something() -> None:
    assert set(TABLE.values()) | {"trying"} == set(STATES)
    assert {event for _, event in TABLE} | {"trying"} == set(EVENTS)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_nothing(workers: int) -> None:
    bench = Bench(workers)
    bench.established()
    bench.bye()
    alone = Bench()
    alone.established()
    alone.bye()
    assert bench.call() == alone.call()


def test_too_many_calls_are_evicted_each_with_a_record() -> None:
    bench = Bench(max_calls=10)
    for n in range(100):
        bench.invite(call=f"c{n}", after=0.001)
        bench.answer(180, call=f"c{n}", after=0.001)
    assert len(bench.calls()) == 90
    # Late answers begin no calls. Of earlier ones, two in a hundred runs have a later one in their place (`GONE`).
    for n in range(85, 100):
        bench.answer(200, call=f"c{n}", after=0.001)
    calls = bench.finish()
    assert len({call["call_id"] for call in calls}) == len(calls) == 100
    assert [call["ended"] for call in calls].count("evicted") == 90


def test_too_many_messages_leave_the_beginning_and_the_end() -> None:
    bench = Bench()
    bench.established()
    for n in range(1000):
        bench.send("INFO sip:bob@example.com", cseq=f"{n + 2} INFO", tags=("f1", "t1"), branch=f"i{n}", after=0.01)
    bench.bye(branch="last")
    call = bench.call()
    assert (call["state"], len(call["messages"]), call["messages_cut"]) == ("completed", 256, 750)


def test_interim_records() -> None:
    bench = Bench(interim=10.0)
    bench.established()
    bench.tick(10)
    bench.tick(10)
    assert [(call["ended"], call["state"]) for call in bench.calls()] == [(None, "in_call")]
    bench.bye()
    assert len(bench.finish()) == 2


def test_an_icmp_error_may_come_before_the_message_that_it_is_about() -> None:
    """Another worker has it: RFC 792 sends the error back, so its flow is another one than the message's."""
    bench = Bench(2)
    owner = bench.team[sum(b"c1") % 2]
    owner.on_route("c1", ("icmp", {"error": "port unreachable", "at": None}))
    bench.invite()
    bench.tick()
    assert "icmp_unreachable" in flags(bench.call())
