"""JSON Schema (draft 2020-12) of what a payload holds, from the class that describes it.

The class is a ``TypedDict`` or made with attrs. Its annotations say everything: ``Annotated[float | None, "seconds"]``
adds a description, ``Annotated[str, ("format", "date-time")]`` any other keyword: in pairs, because what stands in a
union is hashed.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
LISTS = (list, tuple, frozenset, set)

Schema = dict[str, Any]


def describe(cls: type) -> Schema:
    """Give the schema of a class, the classes in it under ``$defs``.

    Every member that is not ``NotRequired`` must be there, and nothing else may. Raises TypeError for an annotation
    that JSON cannot hold, and for two classes of one name.
    """
    known: dict[str, tuple[type, Schema]] = {}
    made = dict(_members(cls, known))
    if known:
        made["$defs"] = {name: schema for name, (_, schema) in sorted(known.items())}
    return made


def _members(cls: type, known: dict[str, tuple[type, Schema]]) -> Schema:
    """Give the schema of an object's members."""
    hints = get_type_hints(cls, include_extras=True)
    required = (
        set(getattr(cls, "__required_keys__", ())) if is_typeddict(cls) else {field.name for field in attrs.fields(cls)}
    )
    properties: Schema = {}
    for name, hint in hints.items():
        if name not in required and not is_typeddict(cls):
            continue  # a constant of the class, and no field
        # Where annotations are text, as here, the class itself does not know of its NotRequired (PEP 655).
        while get_origin(hint) in (NotRequired, Required):
            (required.discard if get_origin(hint) is NotRequired else required.add)(name)
            hint = get_args(hint)[0]
        properties[name] = _schema(hint, known)
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = [name for name in properties if name in required]
    return made


def _schema(hint: Any, known: dict[str, tuple[type, Schema]]) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if isinstance(hint, type) and hint in PLAIN:
        return {"type": PLAIN[hint]}
    if origin is Annotated:
        return _annotate(_schema(arguments[0], known), arguments[1:])
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _either([_schema(one, known) for one in arguments])
    if origin in LISTS or (isinstance(origin, type) and issubclass(origin, Iterable) and len(arguments) == 1):
        return {"type": "array", "items": _schema(arguments[0], known)}
    if isinstance(origin, type) and issubclass(origin, Mapping) and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema(arguments[1], known)}
    if is_typeddict(hint) or attrs.has(hint):
        return _named(hint, known)
    raise TypeError(f"{hint!r} has no place in JSON")


def _named(cls: type, known: dict[str, tuple[type, Schema]]) -> Schema:
    """Refer to a class in ``$defs``, and describe it there once."""
    name = cls.__name__
    if known.setdefault(name, (cls, {}))[0] is not cls:
        raise TypeError(f"two classes are called {name}")
    if not known[name][1]:
        known[name][1]["type"] = "object"  # so that a class within itself ends here
        known[name][1].update(_members(cls, known))
    return {"$ref": f"#/$defs/{name}"}


def _annotate(schema: Schema, notes: tuple[Any, ...]) -> Schema:
    made = dict(schema)
    for note in notes:
        keyword, value = ("description", note) if isinstance(note, str) else note
        made[keyword] = list(value) if isinstance(value, tuple) else value
    return made


def _literal(values: tuple[Any, ...]) -> Schema:
    kinds = {PLAIN[type(value)] for value in values}
    return {"type": kinds.pop() if len(kinds) == 1 else sorted(kinds), "enum": list(values)}


def _either(schemas: list[Schema]) -> Schema:
    """Give the schema of one of several; ``T | None`` of a plain type is written as a list of types."""
    something = [one for one in schemas if one != {"type": "null"}]
    if len(something) == 1 and len(something) < len(schemas) and isinstance(something[0].get("type"), str):
        made = dict(something[0])
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
        return made
    if all(set(one) == {"type"} for one in schemas):
        return {"type": [one["type"] for one in schemas]}
    return {"anyOf": schemas}
