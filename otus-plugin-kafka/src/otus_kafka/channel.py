"""The command channel ``kafka``: takes commands from a topic, has the daemon execute them, and sends the answers to another topic.

Nothing here stops the daemon: a broker that is down is tried again, a consumer that went silent is made anew. Commands run one after another beside the polling, so
that a slow one does not cost the membership in the consumer group.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from otus_core import BaseCommandChannel, Chores, CommandHandler, Context, printable
from otus_kafka import envelope
from otus_kafka.begun import Begun
from otus_kafka.client_log import LastLine, capture_client_log
from otus_kafka.connection import client_options, close_apart, explained
from otus_kafka.envelope import Command, Refused
from otus_kafka.executed import Executed
from otus_kafka.gate import BURST_S, Gate
from otus_kafka.inflate import Guard, guard_fetches
from otus_kafka.link import ProducerLink
from otus_kafka.rate import Bucket
from otus_kafka.reports import Reports
from otus_kafka.settings import KafkaChannelConfig

POLL_MS = 500
POLL_MOST = 16
"""Records that may lie here at once, each at most as large as what a batch may inflate to."""
INFLATED = 2
"""A batch may inflate to so many times ``max_command_bytes``."""
SILENT_REQUESTS = 6
"""A consumer that heard nothing of its broker for so many times ``request_timeout`` is made anew: it looks the brokers' names up only at its start."""
BACKOFF_S = (0.5, 10.0)
CLOSE_S = 5.0
WAITING_MAX = 1000
"""Commands that may wait for the one that runs."""
ANSWER_WITHIN_S = 10.0
QUIET = frozenset({"rate", "unsigned", "signature", "too_large", "busy"})
"""Refusals that are not answered: who floods us, or is not who he says, gets no work out of us."""
LOG_RATE, LOG_BURST = 1.0, 20.0
FETCH_EXTRA = 65536
IDS_MIN = 10_000
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
        self._chores = Chores()
        self._line = LastLine()
        self._silent_s = config.request_timeout * SILENT_REQUESTS
        self._reason = "not connected yet"
        self._counts: Counter[str] = Counter()
        self._lines = Bucket(LOG_RATE, LOG_BURST)

    def wire(self, context: Context) -> None:
        """Take the node's name, and the folder for what must survive a restart. Raises PluginInitFailed."""
        config = self._config
        self._context = context
        self._group = config.group_id or f"otus-{context.hostname}"
        self._gate = Gate(config, context.hostname)
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
            self._executed.load(time.time() - self._config.command_ttl - self._config.command_clock_skew)
            self._begun.open()
        except OSError as error:
            log.error("command_state_unusable", error=str(error))
        heartbeat = self._config.heartbeat
        if self._config.response_topic or heartbeat.topic or heartbeat.events_topic:
            self._link = ProducerLink(self._config, acks="all", linger_ms=0)
            self._link.start()
        self._chores.start("kafka:commands", self._consume, self._failed)
        self._chores.start("kafka:execution", self._execute)
        if self._link is not None and (heartbeat.topic or heartbeat.events_topic):
            self._chores.start("kafka:reports", Reports(heartbeat, self._context.hostname, handler, self._send).run)

    async def stop(self) -> None:
        """Finish the command that runs, and disconnect."""
        await self._chores.stop()
        await self._disconnect()
        if self._link is not None:
            await self._link.stop()
            self._link = None
        self._begun.close()

    def status(self) -> Mapping[str, Any]:
        """Give the connection's state, and what became of the commands."""
        connected = self._consumer is not None and bool(self._consumer.assignment()) and not self._reason
        return {
            "type": "kafka",
            "connected": connected,
            "last_error": "" if connected else self._reason,
            "topic": self._config.topic,
            "group": self._group,
            "warning": "" if self._config.signing.required else UNSIGNED,
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
        self._failed(explained(text, self._config) if text else f"{type(error).__name__}: {printable(str(error), 200)}")

    def _failed(self, reason: str) -> None:
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
        while True:
            async with asyncio.timeout(self._silent_s):
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_MOST)
            assigned = frozenset(consumer.assignment())
            if assigned and assigned != known:
                await self._settle(consumer, assigned, batches)
                known = assigned
            latest = max((consumer.last_poll_timestamp(part) or 0 for part in assigned), default=0) / 1000
            heard = max(heard, time.monotonic() - max(0.0, time.time() - latest)) if latest else heard
            if time.monotonic() - heard > self._silent_s:
                raise TimeoutError(f"the broker has not been heard of for {self._silent_s:.0f} s")
            for records in batches.values():
                await self._take(records)
            if batches:
                await consumer.commit()

    async def _settle(self, consumer: AIOKafkaConsumer, assigned: frozenset[Any], taken: Mapping[Any, Any]) -> None:
        """Commit where we begin, so that what comes while we are away later is not skipped; what was just taken is not done yet."""
        positions = {
            part: taken[part][0].offset if part in taken else await consumer.position(part) for part in assigned
        }
        await consumer.commit(positions)
        if self._reason:
            log.info("command_channel_up", topic=self._config.topic, group=self._group)
        self._reason = ""

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
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
                await self._accept(command, place, now)
            except Refused as refused:
                self._begun.end()
                await self._refuse(refused, place)

    def _put_out(self, reason: str) -> None:
        """Count and tell what is skipped unread: it inflates beyond the bound, or the last process did not survive it."""
        self._counts[f"refused:{reason}"] += 1
        self._say("command_refused", reason=SKIPPED[reason])

    async def _accept(self, command: Command, place: str, now: float) -> None:
        """Queue a command for execution, unless it has been executed. Raises Refused."""
        request_id = command.request_id or place
        if request_id in self._executed:
            self._counts["duplicates"] += 1
            self._say("command_repeated", request_id=command.request_id, command=command.command, target=command.target)
            return
        if self._waiting.full():
            raise command.refused("busy", "too many commands are waiting")
        try:
            await asyncio.to_thread(self._executed.add, request_id, now)
        except OSError as error:
            log.error("command_state_unusable", error=str(error))
        self._waiting.put_nowait((command, place))

    async def _refuse(self, refused: Refused, place: str) -> None:
        self._counts[f"refused:{refused.reason}"] += 1
        self._say(
            "command_refused", reason=refused.text, record=place, command=refused.command, request_id=refused.request_id
        )
        if refused.reason in QUIET or refused.target not in (envelope.EVERYBODY, self._context.hostname):
            return
        await self._answer(refused.command, refused.request_id, envelope.error(envelope.INVALID_REQUEST, refused.text))

    def _say(self, event: str, **fields: str) -> None:
        """Log at a bounded rate: what is refused comes from afar."""
        if self._lines.take():
            log.warning(event, **{name: printable(text, 200) for name, text in fields.items()})

    async def _execute(self) -> None:
        """Run commands in the order in which they came."""
        while True:
            command, place = await self._waiting.get()
            answer = await self._run(command)
            self._record(command, place, answer)
            self._counts["executed"] += 1
            await self._answer(command.command, command.request_id, answer)

    def _record(self, command: Command, place: str, answer: Mapping[str, Any]) -> None:
        """Log who wanted what, and what became of it."""
        problem = answer.get("error")
        log.info(
            "command_executed",
            channel="kafka",
            topic=self._config.topic,
            record=place,
            principal=f"key of {command.target}" if command.signed else "unsigned",
            command=command.command,
            request_id=command.request_id,
            task=printable(str(_task_of(command.payload)), 64),
            result="error" if problem else "done",
            error=printable(str(problem.get("message") if isinstance(problem, dict) else problem), 300)
            if problem
            else "",
        )

    async def _run(self, command: Command) -> Mapping[str, Any]:
        assert self._handler is not None
        running = asyncio.ensure_future(self._handler(command.command, command.payload))
        try:
            async with asyncio.timeout(self._config.command_timeout):
                return await asyncio.shield(running)
        except TimeoutError:
            limit = self._config.command_timeout
            return envelope.error(envelope.INTERNAL_ERROR, f"not done within {limit:g} s; it goes on")
        except Exception as error:  # the handler answers with errors; this is a defect, and the caller should know
            return envelope.error(envelope.INTERNAL_ERROR, f"{type(error).__name__}: {error}")

    async def _answer(self, command: str, request_id: str, answer: Mapping[str, Any]) -> None:
        if not request_id or not self._config.response_topic:
            return
        value = envelope.make_answer(self._context.hostname, command, request_id, answer, time.time())
        sent = await self._send(self._config.response_topic, value)
        log.debug(
            "answer_written" if sent else "answer_not_written", topic=self._config.response_topic, request_id=request_id
        )
        self._counts["answers_sent" if sent else "answers_lost"] += 1

    async def _send(self, topic: str, value: bytes) -> bool:
        """Send one record, with our name as its key; says whether a broker has it."""
        link = self._link
        if link is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if not await link.wait_up(asyncio.get_running_loop().time() + ANSWER_WITHIN_S) or link.producer is None:
                    return False
                await link.producer.send_and_wait(topic, value, key=self._context.hostname.encode())
                return True
        except (KafkaError, TimeoutError, OSError) as error:
            self._say("answer_lost", topic=topic, error=f"{type(error).__name__}: {error}")
            return False


def _task_of(payload: Mapping[str, Any]) -> object:
    config = payload.get("config") or payload.get("task")
    return payload.get("task_id") or (config.get("id", "") if isinstance(config, dict) else "")
