"""The contracts of processors and reporters, which get messages that a parser has made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from otus_core.components import BaseProcessor, BaseReporter, ReportResult
from otus_core.model.output import OutputPacket
from otus_core.pipeline.fates import sort_out
from otus_core.plugins.component_hooks import CALLS, CALLS_MAX_S, hooks_of, seconds_of, strange_hooks
from otus_core.testing.contract.component import TRIES, Contract


def outputs(count: int = 3) -> list[OutputPacket]:
    """Give some messages, as reporters and processors get them."""
    return [
        OutputPacket(
            task_id="test",
            agent_id="test",
            timestamp=1_771_669_800_000_000_000 + n,
            src_ip="192.0.2.1",
            dst_ip="198.51.100.2",
            src_port=5060,
            dst_port=5060,
            labels={"sip.method": "INVITE", "sip.call_id": f"call-{n}"},
            payload_type="sip",
            payload={"n": n},
            raw_payload=b"INVITE sip:bob@example.org SIP/2.0\r\n\r\n",
        )
        for n in range(count)
    ]


class ProcessorContract(Contract):
    """What a processor must do."""

    kind = "processor"

    def make_processor(self) -> BaseProcessor:
        """Construct, wire and start a new processor."""
        made: BaseProcessor = self.make()
        made.start()
        return made

    def test_it_decides_and_leaves_payloads_alone(self) -> None:
        """``process`` gives a truth value; labels stay text."""
        processor = self.make_processor()
        for output in outputs():
            payload, raw = output.payload, output.raw_payload
            assert processor.process(output) in (True, False)
            assert (output.payload, output.raw_payload) == (payload, raw)
            assert all(type(k) is str and type(v) is str for k, v in output.labels.items())
        processor.stop()

    def test_labels_may_be_missing(self) -> None:
        """Not every protocol has every label."""
        processor = self.make_processor()
        assert processor.process(OutputPacket(labels={})) in (True, False)
        processor.stop()


class ReporterContract(Contract):
    """What a reporter must do; ``config`` leads it to a destination of the test's own."""

    kind = "reporter"

    def report(self, batch: Sequence[OutputPacket]) -> ReportResult:
        """Start a new reporter, report one batch, and stop it."""

        async def run() -> ReportResult:
            reporter: BaseReporter = self.make()
            await reporter.start()
            try:
                result = await reporter.report(batch)
                await reporter.flush()
                return result
            finally:
                await reporter.stop()

        return asyncio.run(run())

    def test_every_message_of_a_batch_has_its_fate(self) -> None:
        """What is reported, failed, to be retried and final adds up to the batch."""
        batch = outputs()
        result = self.report(batch)
        assert sort_out(result, len(batch)).fault == ""
        assert {*result.failed, *result.retry, *result.final} <= set(self.declaration.failure_reasons)

    def test_hooks_are_taken_quickly(self) -> None:
        """A reporter that receives hooks takes a thousand of them without waiting: packets would wait too."""

        async def run() -> float:
            reporter: BaseReporter = self.make()
            strange = list(strange_hooks(reporter))
            assert not strange, strange
            hooks = hooks_of(reporter)
            if hooks is None:
                return 0.0
            await reporter.start()
            try:
                return seconds_of(hooks)
            finally:
                await reporter.stop()

        took = min(asyncio.run(run()) for _ in range(TRIES))
        assert took <= CALLS_MAX_S, f"{CALLS} hooks took {took:.1f} s or more"

    def test_an_empty_batch_does_no_harm(self) -> None:
        """Nothing to report is nothing reported."""
        result = self.report([])
        assert (result.reported, dict(result.failed)) == (0, {})
