"""Agents that are slow, many, or loud: what they take of a real process is bounded, and others' messages all arrive."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from otus_core.testing import packets
from tests.hep.relay import Relay
from tests.hep.servers import Server
from tests.hep.test_round_trip import hep_to
from tests.patience import wait
from tests.sip.messages import message

pytestmark = pytest.mark.slow

CONNECTIONS = 256
"""As many as are served at a time unless the configuration says otherwise."""
HELD_MOST = 65_535
"""Bytes of a packet of HEP, which a connection may have begun."""
GROWTH_MAX = 3 * CONNECTIONS * HELD_MOST
"""Bytes: what all have begun, and once more while a piece is put behind it, and what allocators keep."""
MESSAGES = 300


def resident(relay: Relay) -> int:
    """Give the bytes of memory that the worker has; the process that waits for it has next to none."""
    (worker,) = Path(f"/proc/{relay.child.pid}/task/{relay.child.pid}/children").read_text().split()
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def good(number: int) -> bytes:
    sent = message("OPTIONS sip:a@b SIP/2.0").replace(b"Call-ID: ", b"Call-ID: %d-" % number)
    return packets.hep3(sent, timestamp=1_767_268_800_000_000_000 + number)


def calls(server: Server) -> set[str]:
    return {str(one.correlation) for one in list(server.packets)}


def test_many_slow_agents_take_bounded_memory_and_stop_nobody(tmp_path: Path) -> None:
    """Each of 300 has begun the largest packet there is, and sends a byte of it now and then; 256 may be there."""
    begun = b"HEP3\xff\xff" + b"\0\0\0\x0f\xff\xf9" + bytes(HELD_MOST - 2000)
    with (
        Server() as server,
        Relay(tmp_path / "relay", hep_to(server.address), max_connections_per_source=1000, timeout=3600) as relay,
        contextlib.ExitStack() as stack,
    ):
        before = resident(relay)
        slow = []
        for _ in range(CONNECTIONS + 44):
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", relay.port))))
            slow[-1].sendall(begun)
        quick = stack.enter_context(socket.create_connection(("127.0.0.1", relay.port)))
        for number in range(MESSAGES):
            quick.sendall(good(number))
            with contextlib.suppress(ConnectionError):  # it has given way to another
                slow[number].send(b"\0")
        wait(lambda: len(calls(server)) == MESSAGES, what="the messages of the one that is quick arrive")
        grown = resident(relay) - before
        assert CONNECTIONS * HELD_MOST // 2 < grown < GROWTH_MAX, "the worker holds what they have begun, and no more"
        told = relay.summary()["counted"]
        counted = {name.removeprefix("capturer:hep:"): count for name, count in told.items()}
    assert counted["connections_displaced"] >= 44
    assert counted["packets"] == MESSAGES


def test_a_loud_agent_does_not_stop_others(tmp_path: Path) -> None:
    """One floods over TCP without a pause, and over UDP with as much as the socket's buffer holds."""
    loud, stop = packets.hep3(message("OPTIONS sip:flood@b SIP/2.0"), timestamp=1), threading.Event()

    def flood(port: int) -> None:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.2", 0))
            sock.connect(("127.0.0.1", port))
            sock.settimeout(1.0)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    sock.sendall(loud * 100)

    with Server() as server, Relay(tmp_path / "relay", hep_to(server.address), max_rate=2000) as relay:
        before = resident(relay)
        thread = threading.Thread(target=flood, args=(relay.port,))
        thread.start()
        try:
            with (
                socket.socket(type=socket.SOCK_DGRAM) as flooding,
                socket.socket(type=socket.SOCK_DGRAM) as quiet,
                socket.create_connection(("127.0.0.1", relay.port)) as stream,
            ):
                flooding.bind(("127.0.0.3", 0))
                for number in range(0, MESSAGES, 2):
                    for _ in range(20):
                        flooding.sendto(loud, ("127.0.0.1", relay.port))
                    quiet.sendto(good(number), ("127.0.0.1", relay.port))
                    stream.sendall(good(number + 1))
                wait(lambda: len(calls(server)) >= MESSAGES + 1, what="the messages of the quiet one arrive")
        finally:
            stop.set()
            thread.join()
        assert resident(relay) - before < GROWTH_MAX
