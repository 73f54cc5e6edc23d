"""Runs a real node for minutes and breaks what is around it: ``nox -s soak -- MINUTES [CALLS_A_SECOND]``, as root.

sipp's calls cross a veth pair; a daemon captures them with two workers and reports to a real Kafka broker. In the
course of it the broker is away for a fifth of the time, a worker is killed with SIGKILL, and the configuration is
reloaded. At the end every frame must be accounted for, and the topic must hold every message that the workers read and
that the killed one did not take with it. Exit status 1 when anything is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from tests.kafka.broker import Broker
from tests.kafka.node import Daemon
from tests.kafka.test_daemon_by_kafka import own_wire
from tests.live.net import Pair, own_memory, sipp_answers

MINUTES, CALLS_A_SECOND = 15.0, 100
SETTLES_WITHIN_S = 180.0


def main(arguments: list[str]) -> int:
    """Run, print what was seen, and give the exit status."""
    minutes = float(arguments[0]) if arguments else MINUTES
    rate = int(arguments[1]) if len(arguments) > 1 else CALLS_A_SECOND
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder) / "broker") as broker, own_wire() as wire:
        daemon = Daemon(broker, Path(folder) / "node")
        try:
            return soak(daemon, *wire, Path(folder), minutes * 60, rate)
        finally:
            daemon.end()


@contextmanager
def running_broker(folder: Path) -> Any:
    """Give a broker of our own."""
    broker = Broker(folder)
    broker.prepare()
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def soak(daemon: Daemon, pair: Pair, interface: str, folder: Path, seconds: float, rate: int) -> int:
    """Make calls for a time, with faults in it, and judge."""
    spool = {"path": str(folder / "spool"), "max_bytes": 1 << 30}
    task = {
        "id": "calls",
        "workers": 2,
        "capture": {"type": "afpacket", "interface": interface, "bpf_filter": "udp port 5060"},
        "parsers": ["sip"],
        "reporters": [{"type": "kafka", "config": {"topic": daemon.data}, "spool": spool}],
    }
    file = folder / "task.json"
    file.write_text(json.dumps(task))
    settle(lambda: daemon.process.poll() is None and (daemon.folder / "o.sock").exists(), "the daemon is up")
    say(str(daemon.call("task", "apply", "-f", str(file))))
    with sipp_answers(pair.NEAR, folder):
        command = ("sipp", "-sn", "uac", f"{pair.NEAR}:5060", "-i", pair.FAR, "-p", 5060, "-nostdin")
        length = ("-m", int(seconds * rate), "-r", rate, "-d", 10, "-l", 20_000)
        calls = pair.popen(
            pair.far, *map(str, (*command, *length)), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        plan: list[tuple[float, str, Callable[[], Any]]] = [
            (0.2, "the broker goes away", daemon.broker.stop),
            (0.3, "a worker is killed", lambda: os.kill(workers(daemon)[0]["pid"], signal.SIGKILL)),
            (0.4, "the broker comes back", daemon.broker.start),
            (0.6, "the configuration is reloaded", lambda: daemon.call("reload")),
        ]
        begun = time.monotonic()
        for part, what, do in plan:
            watch(daemon, begun + part * seconds)
            say(what)
            do()
        watch(daemon, begun + seconds)
        calls.wait(SETTLES_WITHIN_S)
    settle(lambda: is_settled(daemon), "nothing is on its way any more")
    return judge(daemon)


def judge(daemon: Daemon) -> int:
    """Compare what was captured with what the topic holds; print both."""
    total = status(daemon)["counters"]
    kafka = total["reporters"]["kafka"]
    found = records(daemon)
    twice = sum(n - 1 for n in found.values())
    lost_by_crash = sum(n for name, n in total["dropped"].items() if "crash" in name)
    lost_by_crash += sum(n for name, n in kafka["dropped"].items() if "crash" in name)
    say(json.dumps({"counters": total, "records": found.total(), "different": len(found), "twice": twice}, indent=1))
    wrong = [
        f"{name}: {seen}, expected {wanted}"
        for name, seen, wanted in (
            ("unaccounted", total["unaccounted"], 0),
            ("kernel_drop", total["kernel_drop"], 0),
            ("dropped by the reporter, but for the crash", sum(kafka["dropped"].values()) - lost_by_crash, 0),
            ("records that are there", len(found) >= total["kept"] - lost_by_crash, True),
        )
        if seen != wanted
    ]
    say("\n".join(wrong) or f"nothing lost; {lost_by_crash} with the worker that was killed")
    return 1 if wrong else 0


def records(daemon: Daemon) -> Counter[tuple[Any, ...]]:
    """Count each message of the topic: a message is told apart by its time, its addresses and its bytes."""
    settings = {"bootstrap.servers": daemon.broker.bootstrap, "group.id": "soak", "enable.auto.commit": False}
    consumer = Consumer(settings)
    found: Counter[tuple[Any, ...]] = Counter()
    for partition in consumer.list_topics(daemon.data, timeout=30).topics[daemon.data].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(daemon.data, partition), timeout=30)
        consumer.assign([TopicPartition(daemon.data, partition, low)])
        at = low
        while at < high:
            for record in consumer.consume(1000, timeout=30):
                assert record.error() is None, record.error()
                value = json.loads(record.value())
                found[value["src_ip"], value["src_port"], value["timestamp"], value["raw_payload"]] += 1
                at = record.offset() + 1
    consumer.close()
    return found


def watch(daemon: Daemon, until: float) -> None:
    """Say every half a minute how it goes."""
    while (left := until - time.monotonic()) > 0:
        counters = status(daemon)["counters"]
        kafka = {name: n for name, n in counters["reporters"]["kafka"].items() if n}
        memory = [own_memory(worker["pid"]) >> 20 for worker in workers(daemon) if worker["pid"]]
        say(f"kept {counters['kept']}, unaccounted {counters['unaccounted']}, {kafka}, MiB {memory}")
        time.sleep(min(left, 30.0))


def is_settled(daemon: Daemon) -> bool:
    """Whether all that was captured has been reported or dropped."""
    counters = status(daemon)["counters"]
    kafka = counters["reporters"]["kafka"]
    held = kafka["queued"] + kafka["in_flight"] + kafka.get("in_spool", 0)
    return held == 0 and counters["in_ring"] == 0 and counters["unaccounted"] == 0


def settle(done: Callable[[], bool], what: str) -> None:
    """Wait for something that has to come. Raises TimeoutError."""
    until = time.monotonic() + SETTLES_WITHIN_S
    while not done():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(1)


def status(daemon: Daemon) -> dict[str, Any]:
    return daemon.call("task", "status", "calls")


def workers(daemon: Daemon) -> list[dict[str, Any]]:
    return list(status(daemon)["workers"])


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
