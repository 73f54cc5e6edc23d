"""JSON Schema of a task file, with the options of every component that is installed."""

from __future__ import annotations

from typing import Any

from otus_core.config.schema import object_schema
from otus_core.model.described import DRAFT
from otus_core.plugins.registry import Registered, Registry
from otus_core.task.config import CAPTURE_KEYS, FANOUT
from otus_core.task.options import CaptureOptions, ParserOptions, ProcessorOptions, ReporterOptions, TaskOptions

LISTS = (("parser", ParserOptions), ("processor", ProcessorOptions), ("reporter", ReporterOptions))


def task_schema(registry: Registry) -> dict[str, Any]:
    """Give the schema. A component that is not installed is not in it, as no task can use it here."""
    made = object_schema(TaskOptions)
    properties = made["properties"]
    about = properties["capture"].get("description", "")
    properties["capture"] = {"description": about, "oneOf": [_capture(one) for one in registry.components("capturer")]}
    for kind, options in LISTS:
        components = registry.components(kind)
        names = {"enum": [one.declaration.name for one in components]}
        properties[f"{kind}s"]["items"] = {"anyOf": [names, *(_entry(one, options) for one in components)]}
    return {"$schema": DRAFT, "title": "Otus task", **made}


def _capture(one: Registered) -> dict[str, Any]:
    """Give the schema of ``capture`` for one capturer: its options lie flat beside ``type``."""
    around = _add_type(object_schema(CaptureOptions), one)
    own = object_schema(one.declaration.load_config())
    shared = {key: around["properties"][key] for key in CAPTURE_KEYS}
    fanout = {FANOUT: {"type": "integer", "minimum": 1, "description": "Another name for workers."}}
    rules = [*around.get("allOf", ()), *own.get("allOf", ())]
    return {
        "type": "object",
        "properties": {**own["properties"], **shared, **fanout},
        "additionalProperties": False,
        "required": own.get("required", []),
        "allOf": rules,
    }


def _entry(one: Registered, options: type) -> dict[str, Any]:
    """Give the schema of one component of a list."""
    made = _add_type(object_schema(options), one)
    config = object_schema(one.declaration.load_config())
    made["properties"]["config"] = config
    if config.get("required"):
        made["required"] = [*made.get("required", ()), "config"]
    return made


def _add_type(made: dict[str, Any], one: Registered) -> dict[str, Any]:
    """Let ``type``, in both spellings, be this component's name alone."""
    for key in ("type", "name"):
        made["properties"][key] = {"const": one.declaration.name, "description": one.declaration.summary}
    return made
