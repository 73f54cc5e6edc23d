"""Commands and answers as they lie in their topics, and their signatures. Nothing here talks to anybody.

A command: ``{"version": "v1", "target": HOST or "*", "command", "timestamp" (RFC 3339), "request_id", "payload"}``. Its
answer: ``{"version", "source", "command", "request_id", "timestamp", "result" or "error"}``, with the host's name as
key. A signature travels in a header: ``otus-signature: v1=`` and the HMAC-SHA256 of the value in hex.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from otus_core import read_regular

VERSION = "v1"
EVERYBODY = "*"
SIGNATURE_HEADER = "otus-signature"
SIGNATURE_PREFIX = "v1="
NAME_MAX = 253
REQUEST_ID_MAX = 256
KEY_BYTES_MIN = 16
KEYS_FILE_MAX = 8 << 20
"""Bytes of a file of keys: those of some ten thousand nodes."""
COMMAND = re.compile(r"[a-z][a-z_]{0,63}")
INVALID_REQUEST, INTERNAL_ERROR = -32600, -32603
TASK_KEYS = ("task", "config", "capture")
"""Where a task that was sent as it is has its keys."""
EXAMPLE = (
    '{"version": "v1", "target": "HOST", "command": "task_create", "timestamp": "2026-02-21T10:30:00Z", '
    '"request_id": "r1", "payload": {"config": {...}}}'
)


@attrs.frozen(kw_only=True)
class Command:
    """A command that is whole; whether it is to be executed is another question."""

    target: str
    command: str
    timestamp: float
    request_id: str
    payload: Mapping[str, Any]
    signed: bool = False

    def refused(self, reason: str, text: str) -> Refused:
        """Give the refusal of this command."""
        return Refused(reason, text, request_id=self.request_id, command=self.command, target=self.target)


class Refused(Exception):
    """A command is not executed.

    ``reason`` is one word for counters, ``request_id`` and ``command`` are known where it could be read so far.

    ``incomplete`` are records whose writer does not know how commands look: those are answered without a ``request_id``
    too.
    """

    def __init__(
        self,
        reason: str,
        text: str,
        *,
        request_id: str = "",
        command: str = "",
        target: str = "",
        incomplete: bool = False,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.request_id = request_id
        self.command = command
        self.target = target
        self.incomplete = incomplete


def read_object(value: bytes | None) -> dict[str, Any]:
    """Read a record's value as one JSON object. Raises Refused (``malformed``)."""
    try:
        data = json.loads(value or b"")
    except (ValueError, RecursionError):
        raise Refused("malformed", "not JSON") from None
    if not isinstance(data, dict):
        raise Refused("malformed", "not a JSON object")
    return data


def target_of(data: Mapping[str, Any]) -> str:
    """Give for whom a record is, empty where it does not say so."""
    return _text(data, "target")


def parse_command(data: Mapping[str, Any]) -> Command:
    """Make a command of a record's object. Raises Refused (``report``, ``version``, ``no_target``, ``malformed``)."""
    about: dict[str, Any] = {name: _text(data, name) for name in ("request_id", "command", "target")}
    if "source" in data and not about["target"]:
        # Our own answers, where both topics are one: an answer to an answer would be answered for ever.
        raise Refused("report", "an answer or a report of a node, and no command")
    if data.get("version") != VERSION or not about["target"]:
        raise _incomplete(data, about)
    payload = data.get("payload")
    problem = _problem(data, about["command"], payload)
    if problem:
        raise Refused("malformed", problem, **about)
    return Command(timestamp=_seconds(data["timestamp"]) or 0.0, payload=payload or {}, **about)


def _incomplete(data: Mapping[str, Any], about: Mapping[str, Any]) -> Refused:
    """Say what a record lacks to be a command: people send tasks, and requests as the control socket takes them."""
    if data.get("version", VERSION) != VERSION:
        return Refused("version", f"the version must be {VERSION!r}", **about)
    missing = [name for name in ("version", "target", "command", "timestamp", "request_id") if not data.get(name)]
    advice = "; method, params and id are called command, payload and request_id here" if "method" in data else ""
    if any(name in data for name in TASK_KEYS):
        advice = "; the task belongs below payload.config"
    text = (
        f"not a command of version {VERSION!r}: it lacks {', '.join(missing)}{advice}. A command looks like {EXAMPLE}"
    )
    named = dict(about)
    if "method" in data:
        named |= {"command": _text(data, "method"), "request_id": about["request_id"] or _id_of(data)}
    return Refused("no_target" if data.get("version") else "version", text, incomplete=True, **named)


def _id_of(data: Mapping[str, Any]) -> str:
    """Give a JSON-RPC request's id as text."""
    return str(data["id"]) if type(data.get("id")) is int else _text(data, "id")


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    limit = REQUEST_ID_MAX if name == "request_id" else NAME_MAX
    return value if isinstance(value, str) and len(value) <= limit and value.isprintable() else ""


def _problem(data: Mapping[str, Any], command: str, payload: object) -> str:
    if not COMMAND.fullmatch(command):
        return "command must be the name of a command"
    if data.get("request_id") not in (None, "") and not _text(data, "request_id"):
        return f"request_id must be a text of at most {REQUEST_ID_MAX} printable characters"
    if _seconds(data.get("timestamp")) is None:
        return "timestamp must be a time like 2026-02-21T10:30:00Z"
    if payload is not None and not isinstance(payload, dict):
        return "payload must be an object"
    if payload is None and any(name in data for name in TASK_KEYS):
        return "the task belongs below payload.config"
    return ""


def _seconds(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def make_command(target: str, command: str, payload: Mapping[str, Any], request_id: str, now: float) -> bytes:
    """Write a command."""
    return _encode(
        {
            "version": VERSION,
            "target": target,
            "command": command,
            "timestamp": rfc3339(now),
            "request_id": request_id,
            "payload": payload,
        }
    )


def make_answer(
    source: str, command: str, request_id: str, answer: Mapping[str, Any], now: float, instance: str = ""
) -> bytes:
    """Write an answer; ``answer`` holds ``result`` or ``error``, ``instance`` names the process that gives it."""
    head = {"version": VERSION, "source": source, "instance": instance, "command": command, "request_id": request_id}
    return _encode({**head, "timestamp": rfc3339(now), **answer})


def make_report(source: str, now: float, **fields: Any) -> bytes:
    """Write what a node says without being asked."""
    return _encode({"version": VERSION, "source": source, "timestamp": rfc3339(now), **fields})


def parse_object(value: bytes | None) -> dict[str, Any] | None:
    """Read an answer or a report, ``None`` when it is none of ours.

    Numbers that JSON does not have (NaN, infinities) are none of ours either.
    """
    try:
        data = json.loads(value or b"", parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and data.get("version") == VERSION and _text(data, "source") else None


def _finite(text: str) -> float:
    """Read a number. Raises ValueError for what cannot be written as JSON again."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a JSON number")
    return number


def rfc3339(now: float) -> str:
    """Give a time in UTC, to the millisecond."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error(code: int, message: str) -> dict[str, Any]:
    """Give the error member of an answer."""
    return {"error": {"code": code, "message": message}}


def _encode(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode("ascii")


def sign(key: bytes, value: bytes) -> bytes:
    """Give the header's value."""
    return (SIGNATURE_PREFIX + hmac.new(key, value, hashlib.sha256).hexdigest()).encode("ascii")


def is_signed(key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> bool:
    """Whether the header holds the signature that this key gives."""
    given = headers.get(SIGNATURE_HEADER) or b""
    return key is not None and hmac.compare_digest(sign(key, value), given)


def read_keys(path: str) -> dict[str, bytes]:
    """Read lines ``TARGET KEY-IN-HEX``; blank lines and what follows # do not count.

    Raises OSError and ValueError, which name the line.
    """
    keys: dict[str, bytes] = {}
    for number, line in enumerate(read_regular(path, KEYS_FILE_MAX).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            target, key = words[0], bytes.fromhex(words[1])
        except (IndexError, ValueError):
            raise ValueError(f'{path}: line {number} is not "TARGET KEY-IN-HEX"') from None
        if len(words) != 2 or len(key) < KEY_BYTES_MIN:
            raise ValueError(
                f"{path}: line {number}: a key has at least {KEY_BYTES_MIN} bytes, {KEY_BYTES_MIN * 2} digits"
            )
        keys[target] = key
    return keys
