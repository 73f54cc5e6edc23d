"""What the guides show is done, on captures of ``examples`` and on an interface of a namespace, and prints what stands
there. What only a node, a compiler or a cluster could do is named here, with the reason; ``test_commands`` looks
whether its commands and options exist.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest

from tests.docs.snippets import follow
from tests.house.test_house import DOCUMENTS
from tests.needs import ROOT, tool

DOCS = ROOT / "docs"
FILES = (
    "cp examples/call.pcap . && cp call.pcap capture.pcap",
    "gunzip -c examples/office.pcap.gz > big.pcap",
    "cp big.pcap capture.pcapng",
)
"""What readers have of their own."""
INTERFACE = (
    "ip link add eth0 type veth peer name far",
    "ip link set far up && ip link set eth0 up && ip addr add 192.0.2.20/24 dev eth0",
)
CALLS = "(while :; do tcpreplay -q -i far {}; sleep 0.2; done) > replay.log 2>&1 &"
TRAFFIC = (*INTERFACE, CALLS.format("examples/call.pcap"))
MEDIA = (
    *INTERFACE,
    "otus extract big.pcap -o one.pcapng --call 5",
    CALLS.format("-x 10 one.pcapng"),
)
TASK = re.search(r"```yaml\n(id: .*?)```", (DOCS / "guides" / "live.md").read_text(), re.DOTALL)
WRITE_TASK = f"cat > task.yaml <<'END'\n{TASK[1] if TASK else ''}END"
CONFIG = "otus config sample > config.yml && chmod 600 config.yml"
DAEMON = "otus daemon -c config.yml > messages.json 2> otus.log &"
ANSWERS = "until otus status --alive --quiet 2> /dev/null; do sleep 0.1; done"
SCREEN = "a screen"
COMPILES = {"python3 -m venv": "of nox -s demo, which compiles", "pip install": "of nox -s demo, which compiles"}


@attrs.frozen
class Stage:
    """A page's commands before its own, what is put in the place of which words, the commands that end by Ctrl-C alone,
    and those that are not done, with the reason.
    """

    prepare: tuple[str, ...] = ()
    changes: Mapping[str, str] = attrs.field(factory=dict)
    live: tuple[str, ...] = ()
    apart: Mapping[str, str] = attrs.field(factory=dict)


STAGES = {
    "../README.md": Stage(
        (*FILES, "cp call.pcap a.pcap", "gzip < big.pcap > b.pcapng.gz", *TRAFFIC),
        live=("sudo otus run",),
        apart={
            "sudo tcpdump": "of a program that captures for ever",
            "nox": "minutes",
            "sudo nox": "minutes",
            **COMPILES,
        },
    ),
    "../otus-plugin-calls/README.md": Stage(FILES),
    "../otus-plugin-rtp/README.md": Stage(FILES),
    "index.md": Stage(
        FILES,
        apart={
            "sudo otus calls -i eth0 --watch": SCREEN,
            "sudo otus daemon": "of the tutorial of a node",
            "sudo otus top": SCREEN,
            "otus fleet": "of the tutorial of a fleet",
            **COMPILES,
        },
    ),
    "plugins.md": Stage(FILES, changes={"-e 'otus-plugin-dns[test]'": "./otus-plugin-dns", "-e ./otus": "./otus"}),
    "guides/calls.md": Stage(
        (*FILES, *TRAFFIC),
        live=("sudo otus calls -i eth0 ",),
        apart={"sudo otus calls -i eth0 --watch": SCREEN},
    ),
    "guides/clone.md": Stage(apart=COMPILES),
    "guides/daemon.md": Stage(
        (*TRAFFIC, WRITE_TASK),
        changes={
            "$ otus validate -f config": "$ chmod 600 config.yml; otus validate -f config",
            "$ sudo otus daemon -c config.yml": f"$ {DAEMON}\n…\n$ {ANSWERS}",
        },
        live=("sudo otus stats --watch", "sudo otus tap"),
        apart={"sudo otus top": SCREEN},
    ),
    "guides/files.md": Stage(FILES, changes={"--processor NAME": "--processor calls"}),
    "guides/health.md": Stage((*INTERFACE, CONFIG, DAEMON, ANSWERS)),
    "guides/live.md": Stage((*TRAFFIC, CONFIG), live=("sudo otus run",)),
    "guides/media.md": Stage((*FILES, *MEDIA), live=("sudo otus media",)),
    "guides/tasks.md": Stage(
        (*INTERFACE, CONFIG, DAEMON, ANSWERS, "mkdir tasks", WRITE_TASK, "mv task.yaml tasks/"),
    ),
}

ELSEWHERE = {
    "../CONTRIBUTING.md": "sessions of nox",
    "fleet.md": "many nodes",
    "install.md": "packages; the sessions that make them try them",
    "reference/commands.md": "made from the code",
    "speed.md": "sessions of nox",
}


def test_every_page_with_commands_is_followed() -> None:
    pages = [path for path in DOCUMENTS if "```console" in path.read_text() and path.parent.name != "tutorials"]
    assert {os.path.relpath(path, DOCS) for path in pages} == {*STAGES, *ELSEWHERE}


@pytest.mark.parametrize("page", STAGES)
def test_a_guide_does_what_it_says(page: str, tmp_path: Path) -> None:
    stage = STAGES[page]
    if any("jq" in word for word in (DOCS / page).read_text().split()):
        tool("jq")
    if any("tcpreplay" in command for command in stage.prepare):
        tool("tcpreplay")
    assert follow(
        DOCS / page, tmp_path, changes=stage.changes, prepare=stage.prepare, live=stage.live, apart=stage.apart
    )
