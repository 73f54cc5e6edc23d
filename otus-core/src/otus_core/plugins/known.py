"""What the distributions of this repository bring: the one place where the core names plugins.

It is for what no installed plugin can say: what to install for a component or command that is not here, which
distributions ``--safe`` still loads, which need no trial import, and which names a new plugin cannot have.
"""

from __future__ import annotations

COMMAND = "command"

BROUGHT: dict[str, tuple[str, ...]] = {
    "otus-plugin-afpacket": ("capturer:afpacket",),
    "otus-plugin-calls": (
        "processor:calls",
        *("command:calls", "command:ladder", "command:registrations", "command:kpi", "command:report"),
        "command:extract",
    ),
    "otus-plugin-console": ("reporter:console",),
    "otus-plugin-filter": ("processor:filter", "processor:label"),
    "otus-plugin-hep": ("capturer:hep", "reporter:hep"),
    "otus-plugin-kafka": ("command_channel:kafka", "reporter:kafka", "command:fleet"),
    "otus-plugin-pcap": ("capturer:pcap",),
    "otus-plugin-rtp": ("parser:rtp", "command:media"),
    "otus-plugin-sip": ("parser:sip", "parser:icmp"),
}
"""By distribution: its components as ``kind:name``, and its commands as ``command:name``."""

FIRST_PARTY = frozenset({"otus-core", *BROUGHT})
SOURCE = "where otus-core came from (a clone: pip install ./{distribution}; a folder of wheels: pip install {wheel})"
"""Where a distribution of ours is found. None is on an index, and a stranger could take the name there."""
_WHO = {what: distribution for distribution, brought in BROUGHT.items() for what in brought}


def who_brings(kind: str, name: str) -> str | None:
    """Name the distribution that brings a component, or a command (kind ``command``)."""
    return _WHO.get(f"{kind}:{name}")


def how_to_install(distribution: str) -> str:
    """Say where a distribution of ours is installed from."""
    wheel = f"{distribution.replace('-', '_')}-*.whl"
    return f"install {distribution} from {SOURCE.format(distribution=distribution, wheel=wheel)}"


def names_of(kind: str) -> set[str]:
    """Give the names of all components of a kind."""
    return {what.partition(":")[2] for what in _WHO if what.startswith(f"{kind}:")}


def component_beside(command: str) -> tuple[str, str] | None:
    """Give a component, as kind and name, of the distribution that brings a command: why that is missing is why the
    command is.
    """
    distribution = who_brings(COMMAND, command)
    if distribution is None:
        return None
    kind, _, name = BROUGHT[distribution][0].partition(":")
    return kind, name
