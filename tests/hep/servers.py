"""Servers that take HEP, for tests: UDP, TCP and TLS, each in a thread of its own."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hep.chunks import Packet, cut, read
from tests.needs import tool
from tests.patience import wait


class Server:
    """Takes packets on 127.0.0.1 until it is closed; ``packets`` are what came, in order."""

    def __init__(self, port: int = 0, context: ssl.SSLContext | None = None, stream: bool = True) -> None:
        self.packets: list[Packet] = []
        self.faults: list[str] = []
        self._context = context
        self._stop = threading.Event()
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", port))
        if stream:
            self._socket.listen()
        self.port = int(self._socket.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept if stream else self._receive, daemon=True)]
        self._threads[0].start()

    def _ready(self, sock: socket.socket) -> bool:
        while not self._stop.is_set():
            if isinstance(sock, ssl.SSLSocket) and sock.pending():
                return True
            if select.select([sock], [], [], 0.05)[0]:
                return True
        return False

    def _receive(self) -> None:
        while self._ready(self._socket):
            self.packets.append(read(self._socket.recv(65536)))

    def _accept(self) -> None:
        while self._ready(self._socket):
            sock, _ = self._socket.accept()
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        rest = b""
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._connections.append(sock)
            while self._ready(sock) and (data := sock.recv(1 << 16)):
                found, rest = cut(rest + data)
                self.packets += found
        except OSError as error:
            self.faults.append(str(error))
        finally:
            sock.close()

    def break_connections(self) -> None:
        """Reset what is connected, as a server that dies does."""
        for sock in self._connections:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.shutdown(socket.SHUT_RDWR)

    def until(self, count: int) -> list[Packet]:
        """Wait for so many packets."""
        wait(lambda: len(self.packets) >= count, what=f"{count} packets come, {len(self.packets)} did")
        return self.packets

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def udp_server(port: int = 0) -> Iterator[Server]:
    with Server(port, stream=False) as server:
        yield server


def make_certificates(folder: Path) -> Path:
    """Make an authority, a server's certificate for localhost, and a client's: NAME.pem and NAME.key."""
    openssl = tool("openssl")

    def run(line: str) -> None:
        subprocess.run([openssl, *line.split()], check=True, capture_output=True, cwd=folder)

    fresh = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    run(f"{fresh} -x509 -subj /CN=authority -keyout ca.key -out ca.pem")
    for name, host in (("server", "localhost"), ("client", "client")):
        run(f"{fresh} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        (folder / "ext").write_text(f"subjectAltName=DNS:{host}\n")
        run(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.pem")
    return folder


def server_context(folder: Path, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if client:
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context
