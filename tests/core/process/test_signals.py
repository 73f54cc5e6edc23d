"""Signals are heard until a process says that it has ended, and then have no effect, whoever else runs in it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time

ENDING = """
import asyncio, signal, threading, time
from otus_core.process.signals import ENDING, hear, ignore

async def main():
    heard = asyncio.Event()
    hear(dict.fromkeys(ENDING, heard.set))
    # The kernel gives a signal to any thread that does not block it (signal(7)).
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    print("ready", flush=True)
    await heard.wait()
    ignore()

asyncio.run(main())
print("ended well", flush=True)
"""
TIMES = 12
"""With asyncio's own handlers every second process is killed."""
PAUSE_S = 30e-6
"""Between two signals: without, they can come faster than the kernel delivers them, and the process stands still."""
LONG_S = 60.0


def test_a_storm_until_the_last_moment() -> None:
    for _ in range(TIMES):
        with subprocess.Popen([sys.executable, "-c", ENDING], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            begun = sent = time.perf_counter()
            for n in itertools.count():
                if process.poll() is not None:
                    break
                process.send_signal((signal.SIGHUP, signal.SIGTERM, signal.SIGINT)[n % 3])
                sent += PAUSE_S
                while time.perf_counter() < sent:
                    pass
                sent = time.perf_counter()
                if sent > begun + LONG_S:
                    process.kill()
            assert (process.returncode, process.stdout.read()) == (0, "ended well\n")


def test_a_signal_wakes_a_loop_that_sleeps() -> None:
    with subprocess.Popen([sys.executable, "-c", ENDING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
