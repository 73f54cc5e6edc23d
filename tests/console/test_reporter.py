"""The reporter: JSON lines, results, and a reader that goes away."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from otus_console.config import ConsoleConfig
from otus_console.reporter import ConsoleReporter
from otus_core import Context, PluginInitFailed, ReportResult
from otus_core.process.output import StdoutWriter
from tests.console.written import report, request, response, written


class Broken:
    """A payload that cannot be encoded, nor looked at."""

    def to_json(self) -> bytes:
        raise RuntimeError("no")

    def to_text(self) -> str:
        raise RuntimeError("no")


def test_json_is_one_object_a_line_with_nine_digits() -> None:
    came, results = written(
        [request(), response("200", "OK")], [request(labels={"x.y": "BYE\n\x1b\u2028"})], format="json"
    )
    assert came.count(b"\n") == 3
    assert came.replace(b"\n", b"").decode("ascii").isprintable()
    objects = [json.loads(line) for line in came.splitlines()]
    assert [o["timestamp"] for o in objects] == ["2026-02-21T10:30:00.123456789Z"] * 3
    assert objects[2]["labels"]["x.y"] == "BYE\n\x1b\u2028"
    assert set(objects[0]) >= {"task_id", "src_ip", "dst_port", "labels", "payload_type", "payload", "raw_payload"}
    assert results == [ReportResult(2), ReportResult(1)]


@pytest.mark.parametrize("form", ["text", "json"])
def test_json_has_no_colour_and_text_only_where_wanted(form: str) -> None:
    came, _ = written([request()], isatty=True, format=form, color="always")
    assert (b"\x1b" in came) is (form == "text")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_message_that_cannot_be_encoded_fails_alone(form: str) -> None:
    came, results = written([request(), request(payload=Broken()), request("BYE")], format=form)
    assert came.count(b"\n") == (2 if form == "json" else 3)  # text has the date above it
    assert results == [ReportResult(2, {"encode": [1]})]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_batch_of_which_nothing_is_left_writes_nothing(form: str) -> None:
    came, results = written([], [request(payload=Broken())], format=form)
    assert came == b""
    assert results == [ReportResult(0), ReportResult(0, {"encode": [0]})]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_closed_pipe_is_told_to_the_core(form: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError):
            asyncio.run(report(StdoutWriter(writer), [[request()]], format=form))
    finally:
        os.close(writer)


def test_a_batch_is_one_write() -> None:
    reader, writer = os.pipe()
    try:
        asyncio.run(report(StdoutWriter(writer), [[request()] * 10], format="text"))
        assert os.read(reader, 1 << 16).count(b"\n") == 11
    finally:
        os.close(reader)
        os.close(writer)


def test_without_standard_output_it_says_so() -> None:
    with pytest.raises(PluginInitFailed, match="no standard output"):
        ConsoleReporter(ConsoleConfig()).wire(Context(task_id="t", agent_id="a"))


def test_others_have_their_turn_between_pieces_of_a_slow_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otus_console.reporter.TURN_S", -1)
    turns: list[int] = []

    class Elsewhere:
        isatty, columns = False, 0

        async def write(self, lines: bytes) -> None:
            asyncio.get_running_loop().call_soon(turns.append, lines.count(b"\n"))

    async def seen_within() -> list[int]:
        reporter = ConsoleReporter(ConsoleConfig(format="json"))
        reporter.wire(Context(task_id="t", agent_id="a", stdout=Elsewhere()))
        await reporter.report([request()] * 100)
        return list(turns)

    assert asyncio.run(seen_within()) == [40, 40, 20]
