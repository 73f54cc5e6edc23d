"""The help page of ``otus``, made from the table of commands: no command is imported for it, and no rich, which takes
longer than all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from otus_core.cli.commands import SECTIONS, Entry
from otus_core.cli.listing import coloured

OPTIONS = (
    ("-c, --config FILE", "configuration of the daemon"),
    ("--socket PATH", "control socket of the daemon"),
    ("--output text|json", "how answers are printed"),
    ("--no-plugin NAME", "leave a plugin out; may be repeated"),
    ("--safe", "load first-party plugins only"),
    ("--version", "print the version"),
    ("--install-completion", "complete commands and options in this shell"),
    ("-h, --help", "this page; otus COMMAND --help tells more"),
)
EXIT_STATUS = (
    ("0", "all went well"),
    ("1", "the operation failed, or otus status found something down"),
    ("2", "the command line, a task or a configuration is wrong"),
    ("3", "no daemon runs"),
    ("130", "interrupted"),
)
EXAMPLES = (
    ("otus run call.pcap", "a line for each SIP message"),
    ("otus run call.pcap --format json", "for machines"),
    ('sudo otus run -i eth0 --bpf "udp port 5060"', "the same, live"),
    ("otus plugins list", "what is installed, what is broken and why"),
)


def help_page(from_plugins: Mapping[str, Entry]) -> str:
    """Give the page as text; ``from_plugins`` are the commands that plugins add."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if coloured() else ("", "")
    lines = [f"{bold}otus{plain} captures packets, understands SIP, and reports what it saw.", ""]
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
