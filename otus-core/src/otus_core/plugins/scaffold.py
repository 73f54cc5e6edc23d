"""Writes a complete distribution for a new plugin, from the templates in ``otus_core/scaffold``.

It works, and passes its tests, as it is written.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from otus_core.errors import ConfigInvalid, OtusError
from otus_core.plugins.known import FIRST_PARTY, who_brings
from otus_core.plugins.records import PluginRecord
from otus_core.plugins.selection import normalize

KINDS = ("parser", "processor", "reporter", "capturer", "command_channel")
# PEP 508 and Python's identifiers at once, with hyphens for underscores: it names a distribution and a module.
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_MAX = 40
"""Characters: the distribution's name, its folder and its module are made of it."""
SUFFIX = ".tmpl"
ARTICLE = {
    "parser": "Reads {} packets",
    "processor": "Processor {}",
    "reporter": "Reporter {}",
    "capturer": "Capturer {}",
    "command_channel": "Command channel {}",
}
PORTS = """

@otus_core.configuration
class @class@Config:
    \"\"\"What the parser looks for.\"\"\"

    ports: list[int] = otus_core.option(factory=lambda: [9999], ge=1, le=65535, help="Ports whose packets are ours.")
"""
VALUE = """

@otus_core.configuration
class @class@Config:
    \"\"\"What the processor does.\"\"\"

    value: str = otus_core.option(default="yes", min_length=1, max_length=64, help="Value of the label.")
"""
PATH = """

@otus_core.configuration
class @class@Config:
    \"\"\"Where the messages or frames are.\"\"\"

    path: str = otus_core.option(min_length=1, help="Path of the file.")
"""
PORT = """

@otus_core.configuration
class @class@Config:
    \"\"\"Where commands come in.\"\"\"

    port: int = otus_core.option(default=9999, ge=1, le=65535, help="TCP port on the loopback interface.")
"""
SIZE = """

@otus_core.configuration
class @class@Config:
    \"\"\"What the parser takes.\"\"\"

    size_max: int = otus_core.option(default=65536, ge=8, le=1 << 20, help="Bytes of the longest message.")
"""
INTERVAL = """

@otus_core.configuration
class @class@Config:
    \"\"\"How the processor counts.\"\"\"

    interval: otus_core.Duration = otus_core.option(default=10.0, ge=0.1, le=86400, help="Time between two records.")
    addresses_max: int = otus_core.option(default=10_000, ge=1, help="Addresses that are counted at a time.")
"""
CONFIG = {
    "parser": PORTS,
    "parser_streams": SIZE,
    "processor": VALUE,
    "processor_records": INTERVAL,
    "reporter": PATH,
    "capturer": PATH,
    "command_channel": PORT,
}
"""By template: a kind, or a kind and what is special about it."""
PREFIXES = ("otus-plugin-", "otus-")
"""What the name of a distribution begins with, and so need not stand before that of its component."""


def write_plugin(
    kind: str, name: str, folder: Path, *, special: str = "", taken: Sequence[PluginRecord] = ()
) -> list[Path]:
    """Write the distribution ``otus-plugin-NAME`` into ``folder``; gives its files.

    ``special`` names another template of this kind: ``streams`` of parsers, ``records`` of processors. ``taken`` are
    the plugins that are there, whose names are refused. Raises OtusError (ConfigInvalid for a wrong kind or name), and
    then has written nothing.
    """
    _check(kind, name)
    _check_free(kind, name, taken)
    template = f"{kind}_{special}" if special else kind
    if template not in CONFIG:
        raise ConfigInvalid(f"there is no {kind.replace('_', ' ')} with {special} to be written")
    target = folder / f"otus-plugin-{name}"
    if target.exists():
        raise OtusError(f"{target} exists already: nothing was written")
    if not folder.is_dir():
        raise OtusError(f"{folder} is not a folder")
    module = name.replace("-", "_")
    words = {
        "@dot@": ".",  # what begins with one is left out where sources are copied
        "@name@": name,
        "@module@": module,
        "@package@": f"otus_{module}",
        "@class@": "".join(part.capitalize() for part in name.split("-")),
        "@kind@": kind.replace("_", " "),
        "@summary@": ARTICLE[kind].format(name),
    }
    words = {"@config@": _fill(CONFIG[template], words).rstrip("\n"), **words}
    written = []
    root = files("otus_core").joinpath("scaffold")
    for part in ("common", template):
        for path, data in _templates(root.joinpath(part), ""):
            file = target / _fill(path, words).removesuffix(SUFFIX)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_fill(data.decode(), words).encode())
            written.append(file)
    return sorted(written)


def _check(kind: str, name: str) -> None:
    if kind not in KINDS:
        raise ConfigInvalid(f"{kind!r} is no kind of plugin that can be written: take one of {', '.join(KINDS)}")
    if not NAME.fullmatch(name) or len(name) > NAME_MAX:
        raise ConfigInvalid(
            f"{name!r} is no name: small letters, digits and single hyphens, a letter first, at most {NAME_MAX}"
        )
    if keyword.iskeyword(name):
        raise ConfigInvalid(f"{name!r} is a word of Python: take another name")


def bare(name: str) -> str:
    """Give a name without what every distribution's begins with: ``otus-plugin-x`` is a plugin for ``x``."""
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def _check_free(kind: str, name: str, taken: Sequence[PluginRecord]) -> None:
    """See that neither the component nor its distribution or its package is there already. Raises ConfigInvalid."""
    distribution, package = f"otus-plugin-{name}", f"otus_{name.replace('-', '_')}"
    spoken = kind.replace("_", " ")
    first_party = who_brings(kind, name)
    for record in taken:
        if any((component.kind, component.name) == (kind, name) for component in record.components):
            raise ConfigInvalid(f"there is a {spoken} {name!r} already, of {record.distribution}: take another name")
        if normalize(record.distribution) == distribution:
            raise ConfigInvalid(f"{record.distribution} is installed already: take another name")
    if first_party is not None or distribution in FIRST_PARTY:
        raise ConfigInvalid(f"{name!r} is a name of {first_party or distribution}: take another one")
    if find_spec(package) is not None:
        raise ConfigInvalid(f"there is a package {package} already: take another name than {name!r}")


def _templates(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _templates(entry, f"{path}/")
        elif path.endswith(SUFFIX):
            yield path, entry.read_bytes()


def _fill(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
