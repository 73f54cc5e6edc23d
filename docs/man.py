"""Makes ``otus-core/man/otus.1``, the manual page, from the definitions of the commands.

``nox -s reference`` writes it, next to the reference pages; a test tells when it is no longer true. It is in man(7)'s
macros, without a date: the same commands give the same page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import otus_core
from otus_core.cli.app import OtusGroup, app
from otus_core.cli.help import EXAMPLES, EXIT_STATUS, OPTIONS, UNFILLED

PAGE = Path(__file__).parents[1] / "otus-core" / "man" / "otus.1"
ENVIRONMENT = (
    ("OTUS_CONTROL_SOCKET", "The daemon's control socket, as --socket."),
    ("OTUS_DISABLED_PLUGINS", "Plugins that are not loaded, with commas between them, as --no-plugin."),
    ("OTUS_FLEET_BROKERS", "The brokers that otus fleet connects to, as --brokers."),
    ("OTUS_KEY_PATH", "Any key of the configuration: its path below otus in upper case, with underscores for dots, as "
     "OTUS_LOG_LEVEL for log.level."),
    ("NO_COLOR", "If set, nothing is coloured."),
    ("XDG_CACHE_HOME", "Where Otus remembers what plugins offer, in the folder otus (default: ~/.cache)."),
)  # fmt: skip
FILES = (
    ("/etc/otus/config.yml", "The daemon's configuration, where the service unit looks for it."),
    ("/etc/otus/tasks.d/", "Task files: tasks.d beside the configuration, applied at start and reload."),
    ("/run/otus/otus.sock", "The daemon's control socket."),
    ("/var/lib/otus/", "Tasks and what the daemon remembers (data_dir)."),
)


def each_command() -> Iterator[tuple[str, Any]]:
    """Give every command with its path, as ``otus task list``, groups left out, in the order of their names."""
    root = typer.main.get_command(app)
    assert isinstance(root, OtusGroup)
    context = typer.Context(root, info_name="otus")
    for name in root.list_commands(context):
        yield from _below(root.get_command(context, name), context, f"otus {name}")


def _below(command: Any, parent: Any, path: str) -> Iterator[tuple[str, Any]]:
    context = typer.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(context):
        yield from _below(command.get_command(context, name), context, f"{path} {name}")


def option_of(one: Any) -> tuple[str, str]:
    """Give how an option or argument is written, and what it means."""
    if one.param_type_name == "argument":
        return str(one.human_readable_name), one.help or ""
    takes = "" if one.is_flag else f" {(one.metavar or one.type.name.removesuffix(' range')).upper()}"
    return f"{', '.join([*one.opts, *one.secondary_opts])}{takes}", one.help or ""


def usage_of(path: str, command: Any) -> str:
    """Give the line that says how a command is called."""
    arguments = [one.human_readable_name for one in command.params if one.param_type_name == "argument"]
    return " ".join([path, *arguments, "[OPTIONS]"])


def manual() -> str:
    """Give the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.\\" Made by `nox -s reference` from the code: change that, not this page.'
    yield f'.TH OTUS 1 "" "Otus {otus_core.__version__}" "User Commands"'
    yield from (".SH NAME", "otus \\- watch SIP and VoIP traffic: calls, media, registrations")
    yield from (".SH SYNOPSIS", ".B otus", ".I COMMAND", "[OPTIONS] [ARGUMENTS]")
    yield ".SH DESCRIPTION"
    yield _text(
        "Otus reads packets from capture files or network interfaces, finds the SIP messages in them, and shows calls, "
        "their media and registrations, or sends messages on. Parsers, destinations and some commands come from "
        "plugins; this page has the commands of the first-party ones. otus plugins list shows what is installed, and "
        "otus COMMAND --help explains a command."
    )
    yield from (".SH OPTIONS", "These may stand before or after any command.")
    yield from _table(OPTIONS)
    yield ".SH COMMANDS"
    for path, command in each_command():
        yield f'.SS "{_text(path)}"'
        yield from (".B " + _text(usage_of(path, command)), ".PP")
        yield from _paragraphs(command.help or "")
        yield from _table(option_of(one) for one in command.params if one.name != "help" and one.help)
    for title, rows in (("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        yield f'.SH "{title}"'
        yield from _table(rows)
    yield ".SH EXAMPLES"
    yield from _table(EXAMPLES)
    yield from (".SH SEE ALSO", ".BR tshark (1),", ".BR tcpdump (8),", ".BR sngrep (8)")


def _table(rows: Any) -> Iterator[str]:
    for left, right in rows:
        yield from (".TP", ".B " + _text(left), _text(" ".join(right.split())) or "\\&")


def _paragraphs(text: str) -> Iterator[str]:
    for part in text.split("\n\n"):
        if part.startswith(UNFILLED):
            yield from (
                ".nf",
                *(_text(line.strip()) for line in part.removeprefix(UNFILLED).splitlines()),
                ".fi",
                ".PP",
            )
        else:
            yield from (_text(" ".join(part.split())), ".PP")


def _text(text: str) -> str:
    """Escape text for troff: backslashes, hyphens that are to be copied, and what would be a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return re.sub(r"^([.'])", r"\\&\1", text)


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(manual())
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
