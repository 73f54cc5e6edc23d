"""Makes the reference of what a plugin may import: signatures from sources and stubs, texts from docstrings."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs

import otus_core
from docs.api_fields import FIELDS
from otus_core.config.fields import OPTION
from otus_core.model.packet import IP, Ethernet, Transport

HEAD = """# What a plugin may import

For authors of plugins who look up a name, field or method. These are the names that `otus_core` exports, in
alphabetical order, and behind them the classes of which a packet has objects. [Writing a plugin](../plugins.md)
explains how they are used, with examples. Everything else in the core is private. Of a class that plugins do not make
themselves, such as `DecodedPacket`, no signature is given.

`otus_core.testing`, `otus_core.build` and `otus_core.inline` are described in [Writing a plugin](../plugins.md).
"""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BAR = chr(92) + "|"
PARTS = (Ethernet, IP, Transport)
SOURCES = Path(otus_core.__file__).parent


def api_page() -> str:
    """Give the page."""
    names = sorted((name for name in otus_core.__all__ if name != "__version__"), key=str.lower)
    sections = [_section(name, getattr(otus_core, name), _home(name)) for name in names]
    sections += [_section(part.__name__, part, part.__module__) for part in PARTS]
    version = "\n## `__version__`\n\nThe version of the core, as text.\n"
    return "\n".join(HEAD.splitlines()) + "\n" + "".join(sections) + version


def _home(name: str) -> str:
    return f"otus_core.{otus_core._WHERE[name]}"


def _section(name: str, thing: Any, module: str) -> str:
    node = _find(module, name)
    if isinstance(node, ast.ClassDef):
        text = "".join(_class(name, thing))
    elif isinstance(node, FUNCTIONS):
        text = f"{_code(name + _signature(node))}{_said(thing, node)}"
    else:
        text = f"{_code(ast.unparse(node))}{_behind(_tree(module), node) or FIELDS[name]}\n"
    return f"\n## `{name}`\n\n{text}"


def _class(name: str, cls: type) -> Iterator[str]:
    found = list(_members(cls))
    made = [member for member in found if member[0] == "__init__"]
    yield _code(f"{name}{_signature(made[0][1], returns=False)}") if made else ""
    yield _said(cls, None)
    fields = [(member, node, text) for member, node, text in found if not isinstance(node, FUNCTIONS)]
    if fields:
        yield "\n| field | type | meaning |\n|---|---|---|\n"
    for member, node, text in fields:
        meaning = text.replace("\n", " ") or _help(cls, member) or FIELDS.get(f"{name}.{member}") or FIELDS[member]
        yield f"| `{member}` | `{_hint(node).replace('|', BAR)}` | {meaning} |\n"
    for member, node, text in found:
        if member != "__init__" and isinstance(node, FUNCTIONS):
            waits = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
            yield f"\n`{waits}{member}{_signature(node)}`\n\n{text or FIELDS[f'{name}.{member}']}\n"


def _help(cls: type, member: str) -> str:
    """Give the help of an option of a configuration class."""
    found = attrs.fields_dict(cls).get(member) if attrs.has(cls) else None
    return str(found.metadata[OPTION].help) if found is not None and OPTION in found.metadata else ""


def _members(cls: type) -> Iterator[tuple[str, Any, str]]:
    """Give name, node and text of what instances have: fields first come from the class itself, then from its bases."""
    seen = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("otus_core") or not _source(base.__module__).exists():
            continue
        tree = _find(base.__module__, base.__name__)
        for node in tree.body:
            name = _name(node)
            if name in seen or (name.startswith("_") and name != "__init__"):
                continue
            seen.add(name)
            if isinstance(node, FUNCTIONS) and any(_called(one) == "property" for one in node.decorator_list):
                yield name, _field(node.returns), _text(getattr(cls, name, None), node)
            elif isinstance(node, FUNCTIONS):
                yield from _given(node) if name == "__init__" else ()
                yield name, node, _text(getattr(cls, name, None), node)
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                yield name, node, _behind(tree, node).replace("\n", " ")


def _given(init: Any) -> Iterator[tuple[str, Any, str]]:
    """Give the fields that an ``__init__`` takes as they are given."""
    hints = {argument.arg: argument.annotation for argument in [*init.args.args, *init.args.kwonlyargs]}
    for node in init.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute) and _called(node.value) in hints:
            name = node.targets[0].attr
            if not name.startswith("_"):
                yield name, _field(hints[_called(node.value)]), ""


def _field(hint: Any) -> ast.AnnAssign:
    return ast.AnnAssign(ast.Name("_"), hint, None, 1)


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.AnnAssign):
        return _called(node.target)
    if isinstance(node, ast.Assign):
        return _called(node.targets[0])
    return getattr(node, "name", "_")


def _called(node: ast.AST) -> str:
    return getattr(node, "id", "")


def _hint(node: Any) -> str:
    return (
        ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else type(ast.literal_eval(node.value)).__name__
    )


def _said(thing: Any, node: Any) -> str:
    text = _text(thing, node)
    return f"{text}\n" if text else ""


def _text(thing: Any, node: Any) -> str:
    """Give a docstring without the signature that Cython puts before it."""
    text = (node is not None and ast.get_docstring(node)) or inspect.getdoc(thing) or ""
    text = re.sub(r"^[\w.]+\(.*\)( -> [^.\n]+)?\n", "", text).strip()
    return text.replace("``", "`")


def _behind(tree: Any, node: Any) -> str:
    """Give the text behind a name, which says what it is."""
    place = tree.body.index(node) + 1
    if place < len(tree.body) and isinstance(tree.body[place], ast.Expr):
        value = tree.body[place].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return inspect.cleandoc(value.value).replace("``", "`")
    return ""


def _signature(node: Any, *, returns: bool = True) -> str:
    arguments = ast.unparse(node.args)
    for own in ("self, ", "self", "cls, "):
        if arguments.startswith(own):
            arguments = arguments.removeprefix(own)
            break
    given = f" -> {ast.unparse(node.returns)}" if returns and node.returns is not None else ""
    return f"({arguments}){given}"


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n\n"


def _source(module: str) -> Path:
    path = SOURCES.joinpath(*module.split(".")[1:]).with_suffix(".pyi")
    return path if path.exists() else path.with_suffix(".py")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module).read_text())


def _find(module: str, name: str) -> Any:
    for node in _tree(module).body:
        if _name(node) == name:
            return node
    message = f"{module} has no {name}"
    raise LookupError(message)
