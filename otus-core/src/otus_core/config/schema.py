"""JSON Schema (draft 2020-12) of a configuration class."""

from __future__ import annotations

from typing import Any

from otus_core.config.converter import unstructure
from otus_core.config.fields import Option
from otus_core.config.shape import (
    Choice,
    Either,
    Entries,
    Field,
    Items,
    Length,
    Nested,
    Null,
    Own,
    Scalar,
    Shape,
    fields_of,
)
from otus_core.model.described import DRAFT

# The pattern of ``converter.DURATION``, in the form of ECMA-262 that JSON Schema asks for: ^ and $ in the place of \Z.
DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema(cls: type, title: str = "") -> dict[str, Any]:
    """Give the schema of a configuration class as a document of its own."""
    return {"$schema": DRAFT, "title": title or cls.__name__, **object_schema(cls)}


def object_schema(cls: type) -> dict[str, Any]:
    """Give the schema of a configuration class, to be put into another."""
    properties: dict[str, Any] = {}
    required: list[Any] = []
    either: list[dict[str, Any]] = []
    for field in fields_of(cls):
        about = field_schema(field)
        for key in field.keys:
            properties[key] = (
                about if key == field.key else {**about, "description": f"Another spelling of {field.key}."}
            )
        if field.required and len(field.keys) == 1:
            required.append(field.key)
        elif field.required:
            either.append({"oneOf": [{"required": [key]} for key in field.keys]})
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = required
    if either:
        made["allOf"] = either
    return made


def field_schema(field: Field) -> dict[str, Any]:
    """Give the schema of one field: its shape, bounds, help and default."""
    about = shape_schema(field.shape, field.option)
    _add_lengths(about, field.option)
    if field.option.help:
        about["description"] = field.option.help
    if not field.required and not isinstance(field.shape, Nested):
        about["default"] = unstructure(field.default, field.hint)
    if field.option.secret:
        about["writeOnly"] = True
    return about


def shape_schema(shape: Shape, option: Option) -> dict[str, Any]:
    """Give the schema of one shape; bounds and choices go to the scalars in it, as the validator holds them to each
    item.
    """
    if isinstance(shape, Nested):
        return object_schema(shape.cls)
    if isinstance(shape, Items):
        return {"type": "array", "items": shape_schema(shape.item, option)}
    if isinstance(shape, Entries):
        return {"type": "object", "additionalProperties": shape_schema(shape.value, Option())}
    if isinstance(shape, Either):
        return {"anyOf": [shape_schema(one, option) for one in shape.options]}
    if isinstance(shape, Null):
        return {"type": "null"}
    if isinstance(shape, Choice):
        return {"enum": list(shape.values)}
    if isinstance(shape, Own):
        return dict(shape.type.schema)
    if isinstance(shape, Length):
        return {"anyOf": [_add_bounds({"type": "number"}, option), {"type": "string", "pattern": DURATION}]}
    return _scalar(shape, option)


def _scalar(shape: Scalar, option: Option) -> dict[str, Any]:
    about: dict[str, Any] = {"type": TYPES[shape.type]} if shape.type in TYPES else {}
    if option.choices:
        about["enum"] = list(option.choices)
    if shape.type is str and option.pattern is not None:
        # JSON Schema patterns match anywhere in a text; ours match all of it.
        about["pattern"] = f"^(?:{option.pattern})$"
    return _add_bounds(about, option) if shape.type in (int, float) else about


def _add_bounds(about: dict[str, Any], option: Option) -> dict[str, Any]:
    bounds = {
        "minimum": option.ge,
        "exclusiveMinimum": option.gt,
        "maximum": option.le,
        "exclusiveMaximum": option.lt,
    }
    return about | {key: bound for key, bound in bounds.items() if bound is not None}


def _add_lengths(about: dict[str, Any], option: Option) -> None:
    for one in about.get("anyOf", [about]):
        least, most = {
            "string": ("minLength", "maxLength"),
            "array": ("minItems", "maxItems"),
            "object": ("minProperties", "maxProperties"),
        }.get(one.get("type", ""), ("", ""))
        if least and option.min_length is not None:
            one[least] = option.min_length
        if most and option.max_length is not None:
            one[most] = option.max_length
