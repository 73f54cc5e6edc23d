"""Decides which commands are executed: for whom, how old, how often, signed by whom, allowed or not."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from otus_core import PluginInitFailed
from otus_kafka.envelope import EVERYBODY, SIGNATURE_HEADER, Command, Refused, is_signed, parse_command, read_keys
from otus_kafka.rate import Bucket
from otus_kafka.settings import KafkaChannelConfig

BURST_S = 10.0
"""So many seconds' worth of commands may come at once."""


class Gate:
    """One node's rules. Raises PluginInitFailed when the file of keys cannot be used."""

    def __init__(self, config: KafkaChannelConfig, hostname: str) -> None:
        self._config = config
        self._hostname = hostname
        self._keys = _keys(config)
        self._bucket = Bucket(config.max_commands_per_second, config.max_commands_per_second * BURST_S)

    def check(self, value: bytes | None, headers: Mapping[str, bytes], now: float) -> Command | None:
        """Give a record's command when it is to be executed, ``None`` when it is somebody else's. Raises Refused."""
        config = self._config
        if value is not None and len(value) > config.max_command_bytes:
            raise Refused("too_large", f"a command has at most {config.max_command_bytes} bytes")
        command = parse_command(value)
        if command.target not in (EVERYBODY, self._hostname):
            return None
        command = attrs.evolve(command, signed=self._check_signature(command, value or b"", headers))
        self._check_age(command, now)
        if not self._bucket.take():
            raise command.refused("rate", f"more than {config.max_commands_per_second:g} commands a second")
        return command

    def _check_signature(self, command: Command, value: bytes, headers: Mapping[str, bytes]) -> bool:
        if not self._config.signing.required and not (self._keys and SIGNATURE_HEADER in headers):
            return False
        if SIGNATURE_HEADER not in headers:
            raise command.refused("unsigned", "commands must be signed")
        if not is_signed(self._keys.get(command.target), value, headers):
            raise command.refused("signature", "the signature is not valid here")
        if not command.request_id:
            raise command.refused("no_request_id", "a signed command needs a request_id, or it could be sent again")
        return True

    def _check_age(self, command: Command, now: float) -> None:
        age = now - command.timestamp
        if age > self._config.command_ttl:
            raise command.refused("expired", f"the command is older than {self._config.command_ttl:g} s")
        if -age > self._config.command_clock_skew:
            limit = self._config.command_clock_skew
            raise command.refused("future", f"the command is more than {limit:g} s in the future: check the clocks")


def _keys(config: KafkaChannelConfig) -> dict[str, bytes]:
    if not config.signing.keys_file:
        return {}
    try:
        return read_keys(config.signing.keys_file)
    except (OSError, ValueError) as error:
        raise PluginInitFailed(f"kafka: signing.keys_file: {error}") from None
