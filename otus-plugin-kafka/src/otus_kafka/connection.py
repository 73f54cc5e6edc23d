"""From the options to what the client library wants to know, and from its errors to words that say what to do."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Coroutine
from typing import Any

import structlog
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from otus_core import PluginInitFailed, client_tls, read_secret
from otus_kafka.settings import ClientConfig, SaslConfig, TlsConfig

REFUSED = re.compile(r"\[Errno (\d{1,5})\] Connect call failed \('([^']*)', (\d+)[\d, ]*\)")
"""How asyncio says that a connection could not be made: error number and address, as Python writes them."""

log = structlog.get_logger("otus.kafka")


def client_options(config: ClientConfig) -> dict[str, Any]:
    """Give the keyword arguments that producer and consumer share.

    Raises PluginInitFailed for files that cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.brokers),
        "client_id": config.client_id,
        "request_timeout_ms": int(config.request_timeout * 1000),
        "security_protocol": _protocol(config),
    }
    if config.tls.enabled:
        options["ssl_context"] = _ssl_context(config.tls)
    if config.sasl.enabled:
        options["sasl_mechanism"] = config.sasl.mechanism
        options["sasl_plain_username"] = config.sasl.username
        options["sasl_plain_password"] = _password(config.sasl)
    return options


def is_compiled() -> bool:
    """Whether the client library has its compiled parts; without them it falls back to slow Python, silently."""
    return "_crecords" in DefaultRecordBatchBuilder.__module__


def explain(line: str, config: ClientConfig) -> str:
    """Put a line of the client's log into words, and add what the line leaves out."""
    line = REFUSED.sub(lambda found: f"{found[2]}:{found[3]}: {os.strerror(int(found[1]))}", line)
    if line.endswith("closed"):
        return f"{line}: the broker hung up; {_expectations(config)}"
    if line.endswith(": "):
        return f"{line}TLS could not be agreed on; does this port speak TLS?"
    return line


def is_auth(text: str) -> bool:
    """Whether a reason is about who we are rather than about reaching anybody."""
    return any(
        part in text for part in ("SaslAuthentication", "Authentication", "AuthorizationFailed", "KeyError: 'v'")
    )


async def close_apart(closing: Coroutine[Any, Any, None], within: float) -> None:
    """Close a client in a task of its own, for at most ``within`` seconds.

    aiokafka's ``stop()`` awaits tasks that it has cancelled, and after an outage that raises CancelledError in whoever
    called it, who would end as if told to.
    """
    task = asyncio.create_task(closing, name="kafka:close")
    try:
        await asyncio.wait({task}, timeout=within)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
    if not task.done():
        log.debug("kafka_close_failed", reason=f"not done within {within:g} s")
    elif task.cancelled() or task.exception() is not None:
        log.debug("kafka_close_failed", reason="cancelled" if task.cancelled() else repr(task.exception()))


def _expectations(config: ClientConfig) -> str:
    if not config.tls.enabled and not config.sasl.enabled:
        return "does this port expect TLS or SASL?"
    if config.tls.enabled and not config.tls.cert_file:
        return "does it expect a client certificate?"
    return "does it accept this login?"


def _protocol(config: ClientConfig) -> str:
    if config.sasl.enabled:
        return "SASL_SSL" if config.tls.enabled else "SASL_PLAINTEXT"
    return "SSL" if config.tls.enabled else "PLAINTEXT"


def _password(sasl: SaslConfig) -> str:
    return _read_secret(sasl.password_file, "sasl.password_file") if sasl.password_file else sasl.password


def _read_secret(path: str, option: str) -> str:
    try:
        return read_secret(path)
    except (OSError, ValueError) as error:
        raise PluginInitFailed(f"kafka: {option}: {error}") from None


def _ssl_context(tls: TlsConfig) -> ssl.SSLContext:
    try:
        return client_tls(tls)
    except ValueError as error:
        raise PluginInitFailed(f"kafka: tls: {error}") from None
