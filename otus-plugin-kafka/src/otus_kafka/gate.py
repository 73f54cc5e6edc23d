"""Decides which commands are executed: for whom, how old, how often, signed by whom, allowed or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otus_core import PluginInitFailed
from otus_kafka.envelope import EVERYBODY, SIGNATURE_HEADER, Command, Refused, is_signed, parse_command, read_keys
from otus_kafka.settings import AllowConfig, KafkaChannelConfig

BURST_S = 10.0
"""So many seconds' worth of commands may come at once."""


class Gate:
    """One node's rules. Raises PluginInitFailed when the file of keys cannot be used."""

    def __init__(self, config: KafkaChannelConfig, hostname: str, now: float) -> None:
        self._config = config
        self._hostname = hostname
        self._keys = _keys(config)
        self._tokens = config.max_commands_per_second * BURST_S
        self._refilled = now

    def check(self, value: bytes | None, headers: Mapping[str, bytes], now: float) -> Command | None:
        """Give a record's command when it is to be executed, ``None`` when it is somebody else's. Raises Refused."""
        config = self._config
        if value is not None and len(value) > config.max_command_bytes:
            raise Refused("too_large", f"a command has at most {config.max_command_bytes} bytes")
        command = parse_command(value)
        if command.target not in (EVERYBODY, self._hostname):
            return None
        about = {"request_id": command.request_id, "command": command.command, "target": command.target}
        self._check_signature(command, value or b"", headers, about)
        self._check_age(command, now, about)
        _check_allowed(config.allow, command, about)
        if not self._take_token(now):
            rate = config.max_commands_per_second
            raise Refused("rate", f"more than {rate:g} commands a second", **about)
        return command

    def _check_signature(
        self, command: Command, value: bytes, headers: Mapping[str, bytes], about: Mapping[str, str]
    ) -> None:
        if not self._config.signing.required and not (self._keys and SIGNATURE_HEADER in headers):
            return
        if SIGNATURE_HEADER not in headers:
            raise Refused("unsigned", "commands must be signed", **about)
        if not is_signed(self._keys.get(command.target), value, headers):
            raise Refused("signature", "the signature is not valid here", **about)
        if not command.request_id:
            raise Refused("no_request_id", "a signed command needs a request_id, or it could be sent again", **about)

    def _check_age(self, command: Command, now: float, about: Mapping[str, str]) -> None:
        age = now - command.timestamp
        if age > self._config.command_ttl:
            raise Refused("expired", f"the command is older than {self._config.command_ttl:g} s", **about)
        if -age > self._config.command_clock_skew:
            limit = self._config.command_clock_skew
            raise Refused("future", f"the command is more than {limit:g} s in the future: check the clocks", **about)

    def _take_token(self, now: float) -> bool:
        rate = self._config.max_commands_per_second
        self._tokens = min(rate * BURST_S, self._tokens + max(0.0, now - self._refilled) * rate)
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _keys(config: KafkaChannelConfig) -> dict[str, bytes]:
    if not config.signing.keys_file:
        return {}
    try:
        return read_keys(config.signing.keys_file)
    except (OSError, ValueError) as error:
        raise PluginInitFailed(f"kafka: signing.keys_file: {error}") from None


def _check_allowed(allow: AllowConfig, command: Command, about: Mapping[str, str]) -> None:
    if allow.commands is not None and command.command not in allow.commands:
        raise Refused("not_allowed", f"{command.command} is not allowed from afar on this node", **about)
    if command.command != "task_create":
        return
    config = command.payload.get("config")
    config = config if isinstance(config, dict) else {}
    _check_named("interface", allow.interfaces, [_of(config.get("capture"), "interface")], about)
    reporters = config.get("reporters")
    named = [_type(entry) for entry in reporters] if isinstance(reporters, (list, tuple)) else [""]
    _check_named("reporter", allow.reporters, named, about)


def _check_named(what: str, allowed: Sequence[str] | None, named: Sequence[str], about: Mapping[str, str]) -> None:
    for name in named:
        if allowed is not None and name not in allowed:
            listed = ", ".join(allowed) or "none"
            raise Refused("not_allowed", f"a task from afar may use the {what} {listed} on this node", **about)


def _of(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _type(entry: Any) -> str:
    return entry if isinstance(entry, str) else _of(entry, "type") or _of(entry, "name")
