"""The help page of ``otus``, made from the table of commands: no command is imported for it, and no rich, which takes
longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from otus_core.cli.commands import SECTIONS, Entry
from otus_core.process.terminal import is_coloured

OPTIONS = (
    ("-c, --config FILE", "the daemon's configuration file"),
    ("--socket PATH", "the daemon's control socket (default: from the configuration)"),
    ("--output text|json", "print answers as text or as JSON"),
    ("--no-plugin NAME", "do not load this plugin; may be repeated"),
    ("--safe", "load first-party plugins only"),
    ("--version", "print the version"),
    ("--install-completion", "make TAB complete commands and options in this shell"),
    ("-h, --help", "show this page; otus COMMAND --help explains a command"),
)
EXIT_STATUS = (
    ("0", "all went well"),
    ("1", "the operation failed, or otus status found something down"),
    ("2", "the command line, a task or a configuration is wrong"),
    ("3", "no daemon runs"),
    ("130", "interrupted"),
)
EXAMPLES = (
    ("otus run call.pcap", "print a line for each SIP message"),
    ("otus run call.pcap --format json", "print a JSON object for each message"),
    ('sudo otus run -i eth0 --bpf "udp port 5060"', "capture live; Ctrl-C ends it"),
    ("otus plugins list", "show what is installed, what is broken, and why"),
)


UNFILLED = "\b\n"
"""Before a paragraph whose lines click leaves as they are (its documentation, "Preventing Rewrapping")."""


def keep_examples(text: str) -> str:
    """Give a command's help with its paragraphs of command lines marked, so that each example stays on its line."""
    marked = []
    for part in text.split("\n\n"):
        is_example = all(line.lstrip().startswith(("otus ", "sudo otus ")) for line in part.splitlines())
        marked.append(UNFILLED + part if part and is_example else part)
    return "\n\n".join(marked)


def help_page(from_plugins: Mapping[str, Entry]) -> str:
    """Give the page as text; ``from_plugins`` are the commands that plugins add."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if is_coloured() else ("", "")
    lines = [
        f"{bold}otus{plain} captures packets, finds the SIP messages in them, and prints them or sends them on.",
        "",
    ]
    lines += [f"{bold}Usage{plain}", "  otus COMMAND [OPTIONS] [ARGUMENTS]", ""]
    sections = {**SECTIONS, "From plugins": from_plugins} if from_plugins else SECTIONS
    width = max(len(name) for entries in sections.values() for name in entries) + 2
    for title, entries in sections.items():
        lines.append(f"{bold}{title}{plain}")
        lines += [f"  {name:<{width}}{entry.summary}" for name, entry in entries.items()]
        lines.append("")
    for title, table in (("Options", OPTIONS), ("Exit status", EXIT_STATUS), ("Examples", EXAMPLES)):
        width = max(len(left) for left, _ in table) + 2
        lines.append(f"{bold}{title}{plain}")
        lines += [f"  {left:<{width}}{right}" for left, right in table]
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"
