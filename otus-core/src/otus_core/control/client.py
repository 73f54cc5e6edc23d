"""The caller's side of the control socket, for the command line: one connection, one request, one answer."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from otus_core.control.protocol import METHOD_NOT_FOUND
from otus_core.errors import ConfigProblem, DaemonNotRunning, OtusError, RequestRefused

ANSWER_MAX = 64 << 20
"""The status of thousands of tasks; what answers at the path may not be Otus at all."""
TIMEOUT_S = 30.0
"""Creating a task waits until its workers run."""


def call(path: Path, method: str, params: Mapping[str, Any] | None = None, timeout: float = TIMEOUT_S) -> Any:
    """Call the daemon.

    Raises DaemonNotRunning when nothing answers, OtusError with the daemon's own words when it refuses.
    """
    with contextlib.closing(_lines(path, method, params, timeout)) as lines:
        return _result(next(lines), method)


def follow(
    path: Path, method: str, params: Mapping[str, Any], timeout: float = TIMEOUT_S
) -> Generator[dict[str, Any], None, None]:
    """Call the daemon for something that goes on: gives the result, then the params of each notification.

    Raises what ``call`` raises; DaemonNotRunning too where the daemon goes away.
    """
    with contextlib.closing(_lines(path, method, params, timeout)) as lines:
        yield _result(next(lines), method)
        for line in lines:
            yield json.loads(line)["params"]


def lines_of(event: Mapping[str, Any]) -> list[str]:
    """Give the lines of an event of ``task_tap``, without their ends.

    Not by ``splitlines``: a plugin's JSON may hold other ends of lines, such as U+2028, which are none here.
    """
    lines: list[str] = event.get("lines", "").split("\n")
    return lines[:-1]


def _lines(path: Path, method: str, params: Mapping[str, Any] | None, timeout: float) -> Generator[bytes, None, None]:
    """Send a request, and give each line that comes back."""
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params or {})})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
        except PermissionError:  # connecting takes the right to write to the socket (unix(7)), whose mode is 0600
            raise OtusError(f"{path}: permission denied; the daemon answers to root and to its own user") from None
        except OSError as error:
            raise DaemonNotRunning(
                f"no daemon answers at {path} ({error.strerror or error}); start it with `otus daemon` or `systemctl "
                "start otus`"
            ) from None
        received = bytearray()
        try:
            # Why it was hung up on may still be there to read
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(request.encode() + b"\n")
            while True:
                yield _read_line(sock, received)
        except TimeoutError:
            raise OtusError(f"the daemon at {path} did not answer within {timeout:.0f} s") from None
        except OSError as error:
            raise DaemonNotRunning(f"the daemon at {path} went away: {error.strerror or error}") from None


def _read_line(sock: socket.socket, parts: bytearray) -> bytes:
    """Read one line; what comes behind it stays in ``parts``."""
    while (end := parts.find(b"\n")) < 0:
        data = sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError(104, "the connection ended before the answer")
        parts += data
        if len(parts) > ANSWER_MAX:
            raise OtusError(f"the daemon's answer is larger than {ANSWER_MAX} bytes")
    line = bytes(parts[: end + 1])
    del parts[: end + 1]
    return line


def _result(line: bytes, method: str) -> Any:
    try:
        answer = json.loads(line)
    except ValueError:
        raise OtusError("what answers on the control socket does not speak JSON-RPC") from None
    if "error" in answer:
        if answer["error"]["code"] == METHOD_NOT_FOUND:
            raise OtusError(f"the daemon is of another version: it does not know {method}")
        problems = (answer["error"].get("data") or {}).get("problems", ())
        raise RequestRefused(
            answer["error"]["message"], [ConfigProblem(one["path"], one["message"]) for one in problems]
        )
    return answer["result"]
