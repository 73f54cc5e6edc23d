"""Decides which commands are executed: for whom, how old, how often, signed by whom, allowed or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from otus_core import PluginInitFailed
from otus_kafka.envelope import (
    EVERYBODY,
    SIGNATURE_HEADER,
    Command,
    Refused,
    is_signed,
    parse_command,
    read_keys,
    read_object,
    target_of,
)
from otus_kafka.rate import Bucket
from otus_kafka.settings import KafkaChannelConfig

BURST_S = 10.0
"""So many seconds' worth of commands may come at once."""


class Gate:
    """One node's rules, the cheapest first. Raises PluginInitFailed when the file of keys cannot be used."""

    def __init__(self, config: KafkaChannelConfig, hostname: str) -> None:
        self._config = config
        self._hostname = hostname
        keys = _keys(config)
        self._checks_signatures = bool(keys)
        self._keys = {target: keys[target] for target in (hostname, EVERYBODY) if target in keys}
        self._bucket = Bucket(config.max_commands_per_second, config.max_commands_per_second * BURST_S)

    @property
    def own_key(self) -> bytes | None:
        """Give the key that this node signs with: its own, else that of broadcasts; ``None`` where it has none."""
        return self._keys.get(self._hostname, self._keys.get(EVERYBODY))

    def check(self, value: bytes | None, headers: Mapping[str, bytes], now: float) -> Command | None:
        """Give a record's command when it may be executed, ``None`` when it is somebody else's. Raises Refused.

        A record without a signature that must have one is not read at all, and nothing that a refusal says depends on a
        record before its signature holds.
        """
        value = value or b""
        # The cheapest check first, and reading JSON last: a sender of nonsense is to cost as little as possible.
        if len(value) > self._config.max_command_bytes:
            raise Refused("too_large", f"a command has at most {self._config.max_command_bytes} bytes")
        must_hold = self._config.signing.required or (self._checks_signatures and SIGNATURE_HEADER in headers)
        if must_hold and SIGNATURE_HEADER not in headers:
            raise Refused("unsigned", "commands must be signed")
        data, target = self._read(value, headers) if must_hold else _read(value)
        if target not in ("", EVERYBODY, self._hostname):
            return None
        command = parse_command(data)
        if must_hold:
            if not command.request_id:
                # A signature covers the request id, by which a copy of the record is known again.
                raise command.refuse("no_request_id", "a signed command needs a request_id, or it could be sent again")
            command = attrs.evolve(command, signed=True)
        self._check_age(command, now)
        return command

    def admit(self, command: Command) -> None:
        """Count a command that is about to be executed. Raises Refused (``rate``)."""
        if not self._bucket.take():
            raise command.refuse("rate", f"more than {self._config.max_commands_per_second:g} commands a second")

    def _read(self, value: bytes, headers: Mapping[str, bytes]) -> tuple[dict[str, Any], str]:
        """Read a record that must be signed; gives its object and for whom it is.

        Raises Refused (``signature``, ``malformed``).
        """
        signers = [target for target, key in self._keys.items() if is_signed(key, value, headers)]
        forged = Refused("signature", "the signature is not valid here")
        try:
            data, target = _read(value)
        except Refused:
            raise forged if not signers else Refused("malformed", "signed, but not a JSON object") from None
        holds = target in signers if target else bool(signers)
        if not holds and target in ("", EVERYBODY, self._hostname):
            raise forged
        return data, target

    def _check_age(self, command: Command, now: float) -> None:
        age = now - command.timestamp
        if age > self._config.command_ttl:
            raise command.refuse("expired", f"the command is older than {self._config.command_ttl:g} s")
        if -age > self._config.command_clock_skew:
            limit = self._config.command_clock_skew
            raise command.refuse("future", f"the command is more than {limit:g} s in the future: check the clocks")


def _read(value: bytes) -> tuple[dict[str, Any], str]:
    data = read_object(value)
    return data, target_of(data)


def _keys(config: KafkaChannelConfig) -> dict[str, bytes]:
    if not config.signing.keys_file:
        return {}
    try:
        return read_keys(config.signing.keys_file)
    except (OSError, ValueError) as error:
        raise PluginInitFailed(f"kafka: signing.keys_file: {error}") from None
