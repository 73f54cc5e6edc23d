"""Writes a complete distribution for a new plugin, from the templates in ``otus_core/scaffold``.

It works, and passes its tests, as it is written.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from otus_core.errors import ConfigInvalid, OtusError

KINDS = ("parser", "processor", "reporter", "capturer", "command_channel")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_MAX = 40
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
CONFIG = {"parser": PORTS, "processor": VALUE, "reporter": PATH, "capturer": PATH, "command_channel": PORT}


def write_plugin(kind: str, name: str, folder: Path) -> list[Path]:
    """Write the distribution ``otus-plugin-NAME`` into ``folder``; gives its files.

    Raises OtusError (ConfigInvalid for a wrong kind or name), and then has written nothing.
    """
    _check(kind, name)
    target = folder / f"otus-plugin-{name}"
    if target.exists():
        raise OtusError(f"{target} exists already: nothing was written")
    if not folder.is_dir():
        raise OtusError(f"{folder} is not a folder")
    module = name.replace("-", "_")
    words = {
        "@name@": name,
        "@module@": module,
        "@package@": f"otus_{module}",
        "@class@": "".join(part.capitalize() for part in name.split("-")),
        "@kind@": kind.replace("_", " "),
        "@summary@": ARTICLE[kind].format(name),
    }
    words = {"@config@": _filled(CONFIG[kind], words).rstrip("\n"), **words}
    written = []
    root = files("otus_core").joinpath("scaffold")
    for part in ("common", kind):
        for path, data in _templates(root.joinpath(part), ""):
            file = target / _filled(path, words).removesuffix(SUFFIX)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_filled(data.decode(), words).encode())
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


def _templates(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _templates(entry, f"{path}/")
        elif path.endswith(SUFFIX):
            yield path, entry.read_bytes()


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
