"""The door for commands that come over a channel: what they may do, what they are answered, and their record in the
log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otus_core.caller import current_caller, current_channel
from otus_core.config.daemon import AllowConfig
from otus_core.control.audit import record
from otus_core.control.handler import CommandHandler
from otus_core.control.policy import check_remote
from otus_core.control.protocol import INTERNAL_ERROR, RpcError, error_object, rpc_error
from otus_core.errors import OtusError
from otus_core.log import Logger
from otus_core.plugins.registry import Registry

log = Logger("otus.daemon")


async def execute_from_afar(
    allow: AllowConfig, registry: Registry, handler: CommandHandler, command: str, payload: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Execute a command that came over a channel, and log it; gives ``{"result": …}`` or ``{"error": …}``, and raises
    nothing.
    """
    caller = current_caller()
    answer = await _execute(allow, registry, handler, command, payload)
    said = answer["error"]["message"] if "error" in answer else ""
    params = payload if isinstance(payload, Mapping) else {}
    record(current_channel(), caller.about, str(command), params, said, quietly=caller.routine)
    return answer


async def _execute(
    allow: AllowConfig, registry: Registry, handler: CommandHandler, command: str, payload: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        check_remote(allow, registry, command, payload)
        result = await handler.handle(command, payload)
    except RpcError as error:
        return {"error": error_object(error)}
    except OtusError as error:
        return {"error": error_object(rpc_error(error))}
    except Exception as error:
        log.exception("command_failed", command=command)
        return {"error": error_object(RpcError(INTERNAL_ERROR, f"internal error: {type(error).__name__}"))}
    return {"result": result}
