"""Measures the way to Kafka: ``nox -s bench -- kafka``, or ``python -m tests.bench kafka``.

Capture file → SIP → JSON and headers → snappy → a real broker on this machine, every message acknowledged by it; CPU
seconds of our process, its start taken off. Beside it, in the same run, the same values through one ``send()`` a
message of the client library. The ratio of the two decides: machines differ and are shared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.generate import capture
from tests.kafka.broker import Broker, missing_tools
from tests.kafka.client import make_topic

RUNS = 3
PARTITIONS = 4
RATIO = 2.1
"""How many times what ``send()`` alone does; 100,000 messages a CPU second where that does 48,000."""
PLAIN_MESSAGES = 50_000
PLAIN = """
import asyncio, resource, sys
from aiokafka import AIOKafkaProducer

async def main(bootstrap, topic, path, count):
    values = [line for line, _ in zip(open(path, "rb").read().splitlines(), range(count))]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="snappy", linger_ms=20,
                                max_batch_size=1 << 18)
    await producer.start()
    begun = used()
    for at in range(0, len(values), 500):
        futures = [await producer.send(topic, value, key=b"192.0.2.1:5060-192.0.2.2:5060",
                                       headers=[("task_id", b"run")]) for value in values[at:at + 500]]
        await asyncio.gather(*futures)
    print(len(values), used() - begun)
    await producer.stop()

def used():
    taken = resource.getrusage(resource.RUSAGE_SELF)
    return taken.ru_utime + taken.ru_stime

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
"""


def task(folder: Path, files: list[Path], broker: Broker, topic: str) -> Path:
    """Write a task that reads files and reports to Kafka."""
    path = folder / "task.json"
    data = {
        "id": "bench",
        "capture": {"type": "pcap", "files": [str(file) for file in files]},
        "parsers": ["sip"],
        "reporters": [{"type": "kafka", "config": {"brokers": [broker.bootstrap], "topic": topic, "batch_size": 1000}}],
    }
    path.write_text(json.dumps(data))
    return path


def chain(folder: Path, file: Path, broker: Broker, topic: str) -> tuple[int, float]:
    """Give the messages that the broker acknowledged, and CPU seconds."""
    from tests.bench.measure import OTUS, process

    summary = folder / "summary.json"
    path = task(folder, [file], broker, topic)
    cpu, _ = process(OTUS, "run", "--task", str(path), "-q", "--summary-json", str(summary))
    told = json.loads(summary.read_text())
    if told["unaccounted"] or told["reporters"]["kafka"]["dropped"]:
        raise SystemExit(f"messages were lost: {told}")
    return int(told["reporters"]["kafka"]["reported"]), cpu


def plain(folder: Path, file: Path, broker: Broker, topic: str) -> float:
    """Give messages a CPU second of ``send()``."""
    from tests.bench.measure import OTUS

    values = folder / "values"
    if not values.exists():
        with values.open("wb") as out:
            subprocess.run([OTUS, "run", str(file), "--format", "json", "-q"], stdout=out, check=True)
    command = [sys.executable, "-c", PLAIN, broker.bootstrap, topic, str(values), str(PLAIN_MESSAGES)]
    count, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return int(count) / float(seconds)


def main() -> None:
    """Measure, print one line each."""
    missing = missing_tools()
    if missing:
        raise SystemExit(f"a Kafka broker needs {', '.join(missing)} (see CONTRIBUTING.md)")
    file = capture(Path(".cache") / "bench", "sip")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty = folder / "empty.pcap"
        empty.write_bytes(file.read_bytes()[:24])
        broker = Broker(folder / "broker")
        broker.prepare()
        broker.start()
        try:
            rates, others = [], []
            for _ in range(RUNS):
                topic = make_topic(broker, PARTITIONS)
                _, start = chain(folder, empty, broker, topic)
                messages, cpu = chain(folder, file, broker, topic)
                rates.append(messages / (cpu - start))
                others.append(plain(folder, file, broker, make_topic(broker, PARTITIONS)))
        finally:
            broker.stop()
    rate, other = statistics.median(rates), statistics.median(others)
    verdict = "PASS" if rate >= RATIO * other else "MISS"
    sys.stdout.write(
        f"{'capture file to Kafka':<28} {rate:>9,.0f} messages a CPU second, {1e6 / rate:.1f} µs a message: "
        f"{rate / other:.2f} x send() alone, target {RATIO} x  {verdict}\n"
        f"{'send() alone':<28} {other:>9,.0f} messages a CPU second, {1e6 / other:.1f} µs a message\n"
    )


if __name__ == "__main__":
    main()
