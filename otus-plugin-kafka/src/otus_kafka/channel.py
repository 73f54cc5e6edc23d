"""The command channel ``kafka``: takes commands from a topic, has the daemon execute them, and sends the answers to
another topic.

Nothing here stops the daemon: a broker that is down is tried again, a consumer that went silent is made anew. Commands
run one after another beside the polling, so that a slow one does not cost the membership in the consumer group.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from otus_core import BaseCommandChannel, Chores, CommandHandler, Context, calling, hookimpl, printable
from otus_kafka import envelope
from otus_kafka.answers import Answers, Speaker
from otus_kafka.begun import Begun
from otus_kafka.client_log import LastLine, capture_client_log
from otus_kafka.connection import client_options, close_apart, explain
from otus_kafka.envelope import Command, Refused
from otus_kafka.executed import Executed
from otus_kafka.gate import BURST_S, Gate
from otus_kafka.inflate import Guard, guard_fetches
from otus_kafka.link import ProducerLink
from otus_kafka.namesakes import ADVICE, Namesakes
from otus_kafka.rate import Bucket
from otus_kafka.reports import Reports
from otus_kafka.settings import KafkaChannelConfig

POLL_MS = 500
"""How long one poll waits: as often, at the least, it is seen whether the consumer has gone silent."""
POLL_MOST = 16
"""Records that may lie here at once, each at most as large as what a batch may inflate to."""
INFLATED = 2
"""A batch may inflate to so many times ``max_command_bytes``."""
SILENT_REQUESTS = 6
"""A consumer that heard nothing of its broker for so many times ``request_timeout`` is made anew: it looks the brokers'
names up only at its start.
"""
BACKOFF_S = (0.5, 10.0)
"""First and longest pause between two connections."""
CLOSE_S = 5.0
"""After that the client is left to itself: an outage may keep it from leaving its group for as long as it lasts."""
ANSWER_WITHIN_S = 2.0
"""How long the end waits for the command that runs, and its answer: half of what a channel's stop may take at most
(``control.channels.STOP_WITHIN_S``).
"""
WAITING_MAX = 1000
"""Commands that may wait for the one that runs."""
COMMIT_EVERY_S = 1.0
"""Records that are not executed are committed together: a commit takes the broker longer than refusing a hundred of
them.
"""
LOG_RATE, LOG_BURST = 1.0, 20.0
"""Lines a second, and at once: records come from afar, and may come by the thousand."""
FETCH_EXTRA = 65536
"""Room of a fetch beside the largest command: the batch's header, the record's key and headers."""
IDS_MIN = 10_000
"""Request ids that are remembered at the least, however low the rate of commands is bounded."""
SKIPPED = {
    "inflated": "a batch of records inflates beyond twice max_command_bytes",
    "unfinished": "this record was begun by a process that did not finish it",
}
UNSIGNED = "commands need no signature: whoever can write to the topic commands this node; set signing.required"

log = structlog.get_logger("otus.kafka")


class KafkaChannel(BaseCommandChannel):
    """One node's commands."""

    def __init__(self, config: KafkaChannelConfig) -> None:
        self._config = config
        self._context = Context(task_id="", agent_id="")
        self._consumer: AIOKafkaConsumer | None = None
        self._link: ProducerLink | None = None
        self._handler: CommandHandler | None = None
        self._waiting: asyncio.Queue[tuple[Command, str]] = asyncio.Queue(WAITING_MAX)
        self._late: set[asyncio.Future[Mapping[str, Any]]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ending = False
        self._chores = Chores()
        self._line = LastLine()
        self._silent_s = config.request_timeout * SILENT_REQUESTS
        self._reason = "not connected yet"
        self._counts: Counter[str] = Counter()
        self._lines = Bucket(LOG_RATE, LOG_BURST)
        self._reports: Reports | None = None
        self._namesakes: Namesakes | None = None

    def wire(self, context: Context) -> None:
        """Take the node's name, and the folder for what must survive a restart. Raises PluginInitFailed."""
        config = self._config
        self._context = context
        self._group = config.group_id or f"otus-{context.hostname}"
        self._gate = Gate(config, context.hostname)
        instance = context.instance or secrets.token_hex(8)
        self._speaker = Speaker(hostname=context.hostname, instance=instance, key=self._gate.own_key)
        window = (config.command_ttl + config.command_clock_skew + BURST_S) * config.max_commands_per_second
        state = self._state_file()
        self._begun = Begun(state and state.with_name(state.name + ".begun"))
        self._executed = Executed(state, max(IDS_MIN, int(window)))
        self._options = client_options(config)

    def _state_file(self) -> Path | None:
        if self._config.state_file:
            return Path(self._config.state_file)
        if not self._context.data_dir:
            return None
        return Path(self._context.data_dir) / f"commands-{re.sub(r'[^A-Za-z0-9._-]', '_', self._group)}.json"

    async def start(self, handler: CommandHandler) -> None:
        """Connect in the background."""
        self._handler = handler
        capture_client_log()
        if not self._config.signing.required:
            log.warning("command_channel_unsigned", topic=self._config.topic, message=UNSIGNED)
        try:
            oldest = time.time() - self._config.command_ttl - self._config.command_clock_skew
            await asyncio.to_thread(self._executed.load, oldest)  # it waits for the disk
            self._begun.open()
        except OSError as error:
            log.error("command_state_unusable", error=str(error))
        config, beats = self._config, self._config.heartbeat
        topics = [topic for topic in (config.response_topic, beats.topic) if topic]
        if topics or beats.events_topic:
            self._link = ProducerLink(config, acks="all", linger_ms=0)
            self._link.start()
        self._answers = Answers(self._speaker, config.response_topic, self._link, self._counts, self._say)
        self._chores.start("kafka:commands", self._consume, self._note_failure)
        self._chores.start("kafka:execution", self._execute)
        self._chores.start("kafka:refusals", self._answers.answer_refusals)
        self._reports = Reports(beats, self._context.node_ip, handler, self._answers, self._counts)
        if beats.topic:
            self._chores.start("kafka:heartbeat", self._reports.beat)
        if beats.events_topic:
            self._chores.start("kafka:events", self._reports.tell_changes)
        if self._link is not None and topics:
            names = (self._speaker, self._link, self._options, topics, beats.interval, self._say)
            self._namesakes = Namesakes(*names)
            self._chores.start("kafka:namesakes", self._namesakes.run)

    async def stop(self) -> None:
        """Finish and answer the command that runs, unless that takes too long, and disconnect."""
        self._ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._idle.wait()
        await self._chores.stop()
        await self._disconnect()
        if self._link is not None:
            await self._link.stop()
            self._link = None
        self._begun.close()

    @hookimpl
    def otus_task_state_changed(self, task_id: str, old: str, new: str, reason: str) -> None:
        """Tell of the change on the topic of events."""
        if self._reports is not None and self._config.heartbeat.events_topic:
            self._reports.note_change(task_id, old, new, reason)

    def status(self) -> Mapping[str, Any]:
        """Give the connection's state, and what became of the commands."""
        connected = self._consumer is not None and bool(self._consumer.assignment()) and not self._reason
        namesakes = self._namesakes.status() if self._namesakes is not None else {}
        warnings = [] if self._config.signing.required else [UNSIGNED]
        if namesakes:
            warnings.append(ADVICE)
        return {
            "type": "kafka",
            "connected": connected,
            "last_error": "" if connected else self._reason,
            "topic": self._config.topic,
            "group": self._group,
            "warning": "; ".join(warnings),
            "namesakes": namesakes,
            "commands": dict(sorted(self._counts.items())),
        }

    async def _consume(self) -> None:
        """Stay connected and take what comes."""
        pause = BACKOFF_S[0]
        limit = INFLATED * self._config.max_command_bytes
        guard_fetches(Guard(limit, self._put_out, self._begun.begin, self._begun.end))
        while True:
            self._line.listen()
            began = time.monotonic()
            await self._disconnect()  # what a life that was cut short left: it would keep its place in the group
            try:
                await self._connect()
                await self._poll()
            except Exception as error:  # whatever the client library raises: it must not end the channel
                self._fail(error)
            await self._disconnect()
            pause = BACKOFF_S[0] if time.monotonic() - began > self._silent_s else min(pause * 2, BACKOFF_S[1])
            await asyncio.sleep(pause)

    def _fail(self, error: Exception) -> None:
        text = self._line.take()
        self._note_failure(
            explain(text, self._config) if text else f"{type(error).__name__}: {printable(str(error), 200)}"
        )

    def _note_failure(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("command_channel_down", topic=self._config.topic, reason=reason)
        self._reason = reason

    async def _connect(self) -> None:
        config = self._config
        self._consumer = AIOKafkaConsumer(
            config.topic,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset=config.auto_offset_reset,
            max_partition_fetch_bytes=config.max_command_bytes + FETCH_EXTRA,
            metadata_max_age_ms=30_000,
            **self._options,
        )
        await self._consumer.start()

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_apart(consumer.stop(), CLOSE_S)

    async def _poll(self) -> None:
        """Take records until the consumer fails or goes silent."""
        consumer = self._consumer
        assert consumer is not None
        heard, known = time.monotonic(), frozenset[Any]()
        committed, is_behind = time.monotonic(), False
        while True:
            async with asyncio.timeout(self._silent_s):
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_MOST)
            assigned = frozenset(consumer.assignment())
            if assigned and assigned != known:
                async with asyncio.timeout(self._silent_s):  # the client asks again for as long as nobody answers
                    await self._settle(consumer, assigned, batches)
                known = assigned
            latest = max((consumer.last_poll_timestamp(part) or 0 for part in assigned), default=0) / 1000
            heard = max(heard, time.monotonic() - max(0.0, time.time() - latest)) if latest else heard
            if time.monotonic() - heard > self._silent_s:
                raise TimeoutError(f"the broker has not been heard of for {self._silent_s:.0f} s")
            accepted = [await self._take(records) for records in batches.values()]
            await asyncio.sleep(0)  # what lies here already is given without a wait: others have their turn between
            is_behind |= bool(batches)
            if any(accepted) or (is_behind and (not batches or time.monotonic() - committed > COMMIT_EVERY_S)):
                async with asyncio.timeout(self._silent_s):
                    await consumer.commit()
                committed, is_behind = time.monotonic(), False

    async def _settle(self, consumer: AIOKafkaConsumer, assigned: frozenset[Any], taken: Mapping[Any, Any]) -> None:
        """Commit where we begin, so that what comes while we are away later is not skipped; what was just taken is not
        done yet.
        """
        positions = {
            part: taken[part][0].offset if part in taken else await consumer.position(part) for part in assigned
        }
        await consumer.commit(positions)
        if self._reason:
            log.info("command_channel_up", topic=self._config.topic, group=self._group)
        self._reason = ""

    async def _take(self, records: Sequence[ConsumerRecord]) -> int:
        """Judge records, and queue the commands among them; gives how many those are."""
        accepted = 0
        for record in records:
            place, now = f"@{record.partition}:{record.offset}", time.time()
            if not self._begun.begin(place):
                self._put_out("unfinished")
                continue
            try:
                command = self._gate.check(record.value, dict(record.headers), now)
                self._begun.end()
                if command is None:
                    self._counts["for_others"] += 1
                    continue
                accepted += await self._accept(command, place, now)
            except Refused as refused:
                self._begun.end()
                self._refuse(refused, record, place)
        return accepted

    def _put_out(self, reason: str) -> None:
        """Count and tell what is skipped unread: it inflates beyond the bound, or the last process did
        not survive it.
        """
        self._counts[f"refused:{reason}"] += 1
        self._say("command_refused", reason=SKIPPED[reason])

    async def _accept(self, command: Command, place: str, now: float) -> bool:
        """Queue a command for execution, unless it has been executed; says whether it will be. Raises Refused."""
        request_id = command.request_id or place
        if request_id in self._executed:
            self._counts["duplicates"] += 1
            about = {"request_id": command.request_id, "command": command.command, "target": command.target}
            self._say("command_repeated", **about, **self._where(place))
            return False
        self._gate.admit(command)
        if self._waiting.full():
            raise command.refuse("busy", "too many commands are waiting")
        try:
            # On disk before it runs: a command that takes the daemon down must not run again when it is back.
            await asyncio.to_thread(self._executed.add, request_id, now)
        except OSError as error:
            log.error("command_state_unusable", error=str(error))
        self._waiting.put_nowait((command, place))
        return True

    def _refuse(self, refused: Refused, record: ConsumerRecord, place: str) -> None:
        self._counts[f"refused:{refused.reason}"] += 1
        about = {"command": refused.command, "request_id": refused.request_id}
        self._say("command_refused", reason=lambda: refused.text, **about, **self._where(place))
        self._answers.refuse(refused, record)

    def _say(self, event: str, **fields: str | int | Callable[[], str]) -> None:
        """Log at a bounded rate: what is refused comes from afar."""
        if self._lines.take():
            given = {name: value() if callable(value) else value for name, value in fields.items()}
            told = {name: printable(value, 200) if isinstance(value, str) else value for name, value in given.items()}
            log.warning(event, **told)

    async def _execute(self) -> None:
        """Run commands in the order in which they came."""
        while not self._ending:
            command, place = await self._waiting.get()
            self._idle.clear()
            try:
                with calling(self._who(command, place)):
                    answer = await self._run(command)
                self._counts["executed"] += 1
                await self._answers.answer(command.command, command.request_id, answer)
            finally:
                self._idle.set()

    def _who(self, command: Command, place: str) -> dict[str, str | int]:
        """Say for the daemon's log who gave a command, and where it stands in the topic."""
        principal = f"key of {command.target}" if command.signed else "unsigned"
        return {"principal": principal, "request_id": command.request_id, **self._where(place)}

    def _where(self, place: str) -> dict[str, str | int]:
        partition, _, offset = place.removeprefix("@").partition(":")
        return {"topic": self._config.topic, "partition": int(partition), "offset": int(offset)}

    async def _run(self, command: Command) -> Mapping[str, Any]:
        assert self._handler is not None
        running = asyncio.ensure_future(self._handler(command.command, command.payload))
        self._late.add(running)  # asyncio itself keeps no task that is under way
        running.add_done_callback(self._late.discard)
        try:
            async with asyncio.timeout(self._config.command_timeout):
                return await asyncio.shield(running)
        except TimeoutError:
            limit = self._config.command_timeout
            return envelope.error(envelope.INTERNAL_ERROR, f"not done within {limit:g} s; it goes on")
        except Exception as error:  # the handler answers with errors; this is a defect, and the caller should know
            return envelope.error(envelope.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
