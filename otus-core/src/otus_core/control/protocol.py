"""JSON-RPC 2.0, one request a line: what a request may be, and what an answer looks like.

See https://www.jsonrpc.org/specification. Bytes in, values out; no I/O.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

from otus_core.config.fields import configuration, option
from otus_core.config.message import MessageForm
from otus_core.errors import ConfigInvalid, ConfigProblem, OtusError
from otus_core.values import frozen

# JSON-RPC 2.0 §5.1 reserves -32768 to -32000 and gives these five a meaning; -32000 to -32099 are the server's.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
NOT_ALLOWED = -32001
"""Of the range that JSON-RPC leaves to servers: this caller may command nothing here."""
BUSY = -32002
"""Of the same range: there is no room for this request now."""

REQUEST_MAX = 4 << 20
"""Bytes of one request: a task file of 1 MiB, escaped, and its envelope."""
DEPTH_MAX = 32
"""Nesting of a request; the deepest task needs about ten."""
NO_MARKS = bytes(set(range(256)) - set(b'[{}]"'))
"""All bytes but brackets and quotation marks. In UTF-8 no byte of a longer character is one of these (RFC 3629 §3)."""
STEPS = bytes.maketrans(b"[{}]", b"\x01\x01\xff\xff")
"""How a bracket changes the depth, as signed bytes."""


@frozen
class Request:
    """A request; ``id`` is ``None`` for a notification, which gets no answer."""

    method: str
    params: Mapping[str, Any]
    id: str | int | None
    is_notification: bool = False


@configuration
class Frame:
    """The members of a request as it comes over the socket."""

    jsonrpc: Literal["2.0"] = option()
    method: str = option()
    params: Mapping[str, Any] | None = option(default=None)
    id: str | int | None = option(default=None)


FRAME = MessageForm(Frame)


@frozen(eq=False)
class Follow:
    """An answer with more behind it: ``opening`` is the result; each of the ``events`` goes out as a notification
    ``method``, until there are no more or the caller goes.
    """

    opening: Mapping[str, Any]
    method: str
    events: AsyncGenerator[Mapping[str, Any], None]


class RpcError(Exception):
    """An error as it goes over the wire; ``request_id`` is that of the request it answers, where it could be read.

    ``problems`` are those of a configuration that is refused, and go into the error's ``data``.
    """

    def __init__(
        self, code: int, message: str, request_id: str | int | None = None, problems: Sequence[ConfigProblem] = ()
    ) -> None:
        self.code = code
        self.message = message
        self.request_id = request_id
        self.problems = problems
        super().__init__(message)


def parse(line: bytes) -> Request:
    """Read one line. Raises RpcError."""
    data = load_json(line)
    if not isinstance(data, dict):
        raise RpcError(INVALID_REQUEST, "a request is one JSON object; batches are not supported")
    frame = FRAME.take(data)
    if frame is None:
        raise _misfit(data)
    # JSON-RPC 2.0 §4.1: a request without an id is a notification; one whose id is null is not.
    return Request(frame.method, frame.params or {}, frame.id, "id" not in data)


def _misfit(data: Mapping[str, Any]) -> RpcError:
    """Say everything that is wrong with a request."""
    problems = FRAME.problems(data)
    given = data.get("id")
    wrong = {problem.path for problem in problems}
    code = INVALID_PARAMS if wrong == {"params"} else INVALID_REQUEST
    told = "; ".join(map(str, problems))
    return RpcError(code, told, None if "id" in wrong else given, problems)


def load_json(data: bytes) -> Any:
    """Read JSON with a bound on its depth. Raises RpcError."""
    if _is_too_deep(data):
        raise RpcError(PARSE_ERROR, f"nested more than {DEPTH_MAX} deep")
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RpcError(PARSE_ERROR, f"not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, f"not JSON: {error}") from None


def _is_too_deep(data: bytes) -> bool:
    """Whether brackets outside of strings are nested too deep; may also be said of what is no JSON."""
    # Two counts in C: nearly every request is done with that.
    if data.count(b"[") + data.count(b"{") <= DEPTH_MAX:
        return False
    # Without escapes, every second piece between quotation marks is outside of strings, where brackets nest.
    marks = data.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, NO_MARKS)
    outside = b"".join(marks.replace(b'""', b"").split(b'"')[::2])
    return any(map(DEPTH_MAX.__lt__, accumulate(array("b", outside.translate(STEPS)))))


def answer(request_id: str | int | None, result: Any) -> bytes:
    """Give the line that answers a request."""
    return _line({"jsonrpc": "2.0", "id": request_id, "result": result})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    """Give the line that tells a caller something that it did not ask for by itself."""
    return _line({"jsonrpc": "2.0", "method": method, "params": dict(params)})


def refusal(error: RpcError, request_id: str | int | None = None) -> bytes:
    """Give the line that refuses a request."""
    return _line(
        {"jsonrpc": "2.0", "id": error.request_id if request_id is None else request_id, "error": error_object(error)}
    )


def error_object(error: RpcError) -> dict[str, Any]:
    """Give the ``error`` member of an answer."""
    about: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.problems:
        about["data"] = {"problems": [{"path": p.path, "message": p.message} for p in error.problems]}
    return about


def rpc_error(error: OtusError) -> RpcError:
    """Give what a caller is told of an error: a configuration that is refused came in the caller's params (-32602)."""
    if isinstance(error, ConfigInvalid):
        return RpcError(INVALID_PARAMS, str(error), problems=error.problems)
    return RpcError(INTERNAL_ERROR, str(error))


def _line(value: Any) -> bytes:
    # ASCII: what a packet or a plugin said is escaped, so that it reaches no terminal raw.
    return json.dumps(value, separators=(",", ":"), default=str).encode("ascii") + b"\n"
