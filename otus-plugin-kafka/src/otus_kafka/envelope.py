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
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import attrs

from otus_core import MessageForm, configuration, option, read_regular, register_type

VERSION = "v1"
EVERYBODY = "*"
SIGNATURE_HEADER = "otus-signature"
SIGNATURE_PREFIX = "v1="
SCHEMA_HEADER = "schema"
SCHEMAS = {kind: b"urn:otus:schema:%s:1" % kind.encode() for kind in ("answer", "heartbeat", "event")}
"""What `otus schema` calls them (``documents``, ``plugin``)."""
NAME_MAX = 253
"""Characters: the longest host name (RFC 1035 §2.3.4, without the final dot)."""
REQUEST_ID_MAX = 256
"""Characters: ids are remembered on disk, and stand in answers and log lines."""
KEY_BYTES_MIN = 16
"""128 bits: shorter ones could be found by trying."""
KEYS_FILE_MAX = 8 << 20
"""Bytes of a file of keys: those of some ten thousand nodes."""
INVALID_REQUEST, INTERNAL_ERROR = -32600, -32603
"""The numbers of JSON-RPC (§5.1), as the control socket answers with them too."""
TASK_KEYS = ("task", "config", "capture")
"""Where a task that was sent as it is has its keys."""
EXAMPLE = (
    '{"version": "v1", "target": "HOST", "command": "task_create", "timestamp": "2026-02-21T10:30:00Z", '
    '"request_id": "r1", "payload": {"config": {...}}}'
)


class Moment(float):
    """A time in seconds since 1970."""


class Name(str):
    """The name of a node, or of all."""


class RequestId(str):
    """What names a request and its answer; empty where none is wanted."""


def read_moment(value: object) -> Moment:
    """Read a time as RFC 3339 writes it. Raises ValueError."""
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError("it is no text of at most 40 characters")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("it has no offset to UTC")
    try:
        return Moment(moment.timestamp())
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _read_name(value: object) -> Name:
    if not value:
        raise ValueError("it is empty")
    return Name(_short(value, NAME_MAX))


def _read_id(value: object) -> RequestId:
    return RequestId(_short(value, REQUEST_ID_MAX))


def _short(value: object, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise ValueError(f"it is no text of at most {limit} printable characters")
    return value


register_type(Moment, read=read_moment, takes="a time like 2026-02-21T10:30:00Z")
register_type(Name, read=_read_name, takes="the name of a node")
register_type(RequestId, read=_read_id, takes=f"a text of at most {REQUEST_ID_MAX} printable characters")


@configuration
class Envelope:
    """The members of a command as it lies in the topic."""

    version: Literal["v1"] = option()
    target: Name = option()
    command: str = option(pattern="[a-z][a-z_]{0,63}")
    timestamp: Moment = option()
    request_id: RequestId | None = option(default=None)
    payload: Mapping[str, Any] | None = option(default=None)


@configuration
class Said:
    """What answers and reports have in common."""

    version: Literal["v1"] = option()
    source: Name = option()


ENVELOPE, SAID = MessageForm(Envelope), MessageForm(Said)


@attrs.frozen(kw_only=True)
class Command:
    """A command that is whole; whether it is to be executed is another question."""

    target: str
    command: str
    timestamp: float
    request_id: str
    payload: Mapping[str, Any]
    signed: bool = False

    def refuse(self, reason: str, text: str) -> Refused:
        """Give the refusal of this command."""
        return Refused(reason, text, request_id=self.request_id, command=self.command, target=self.target)


class Refused(Exception):
    """A command is not executed.

    ``reason`` is one word for counters, ``request_id`` and ``command`` are known where it could be read so far. Most
    refusals of a flood are told to nobody, so what is wrong may be found out when ``text`` is asked for.

    ``incomplete`` are records whose writer does not know how commands look: those are answered without a ``request_id``
    too.
    """

    def __init__(
        self,
        reason: str,
        text: str | Callable[[], str],
        *,
        request_id: str = "",
        command: str = "",
        target: str = "",
        incomplete: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self._text = text
        self.request_id = request_id
        self.command = command
        self.target = target
        self.incomplete = incomplete

    @property
    def text(self) -> str:
        """What is wrong, in words."""
        return self._text if isinstance(self._text, str) else self._text()


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
    found = ENVELOPE.take(data)
    if found is None or (found.payload is None and any(name in data for name in TASK_KEYS)):
        raise _refusal(data)
    return Command(
        target=str(found.target),
        command=found.command,
        timestamp=float(found.timestamp),
        request_id=str(found.request_id or ""),
        payload=found.payload or {},
    )


def _refusal(data: Mapping[str, Any]) -> Refused:
    """Say why a record is no command; as little as possible is found out before somebody is told."""
    about: dict[str, Any] = {name: _text(data, name) for name in ("request_id", "command", "target")}
    if "source" in data and not about["target"]:
        # Our own answers, where both topics are one: an answer to an answer would be answered for ever.
        return Refused("report", "an answer or a report of a node, and no command", **about)
    if data.get("version") != VERSION or not about["target"]:
        return _incomplete(data, about)
    return Refused("malformed", lambda: _problems(data), **about)


def _problems(data: Mapping[str, Any]) -> str:
    """Give everything that is wrong with a command."""
    found = ENVELOPE.problems(data)
    return "; ".join(map(str, found)) if found else "the task belongs below payload.config"


def _incomplete(data: Mapping[str, Any], about: Mapping[str, Any]) -> Refused:
    """Say what a record lacks to be a command: people send tasks, and requests as the control socket takes them."""
    if data.get("version", VERSION) != VERSION:
        return Refused("version", f"the version must be {VERSION!r}", **about)
    named = dict(about)
    if "method" in data:
        named |= {"command": _text(data, "method"), "request_id": about["request_id"] or _id_of(data)}
    reason = "no_target" if data.get("version") else "version"
    return Refused(reason, lambda: _missing(data), incomplete=True, **named)


def _missing(data: Mapping[str, Any]) -> str:
    missing = [name for name in ("version", "target", "command", "timestamp", "request_id") if not data.get(name)]
    advice = "; method, params and id are called command, payload and request_id here" if "method" in data else ""
    if any(name in data for name in TASK_KEYS):
        advice = "; the task belongs below payload.config"
    return (
        f"not a command of version {VERSION!r}: it lacks {', '.join(missing)}{advice}. A command looks like {EXAMPLE}"
    )


def _id_of(data: Mapping[str, Any]) -> str:
    """Give a JSON-RPC request's id as text."""
    return str(data["id"]) if type(data.get("id")) is int else _text(data, "id")


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    limit = REQUEST_ID_MAX if name == "request_id" else NAME_MAX
    return value if isinstance(value, str) and len(value) <= limit and value.isprintable() else ""


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
        # Python reads NaN and Infinity, and 1e999 as infinity; RFC 8259 §6 has none of them, and other readers refuse
        # them.
        data = json.loads(value or b"", parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return data if SAID.take(data) is not None else None


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
    # compare_digest takes the same time wherever the two differ: == would let a sender find a signature byte by byte.
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
