"""What the guides show is done, on captures of ``examples`` and on an interface of a namespace, and prints what stands
there. What only a node, a compiler or a cluster could do is named here, with the reason; ``test_commands`` looks
whether its commands and options exist.
"""

from __future__ import annotations

import os
import re
import shlex
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
CALLS = """
import itertools, socket, struct, time
data, at, frames = open("examples/call.pcap", "rb").read(), 24, []
while at < len(data):
    size = struct.unpack_from("<I", data, at + 8)[0]
    frames.append(data[at + 16 : at + 16 + size])
    at += 16 + size
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
    wire.bind(("far", 0))
    for number in itertools.count(10000):
        for frame in frames:
            wire.send(frame.replace(b"31016", b"%d" % number))
            time.sleep(0.05)
"""
"""The call of the example again and again, with another Call-ID each time: a call that goes on has not ended."""
MEDIA = "(while :; do tcpreplay -q -x 10 -i far one.pcapng; sleep 0.2; done) > replay.log 2>&1 &"


def start(script: str) -> str:
    """Give the command that runs a Python program in the background."""
    return f"python3 -c {shlex.quote(script)} > /dev/null 2>&1 &"


TRAFFIC = (*INTERFACE, start(CALLS))
STREAMS = (*INTERFACE, "otus extract big.pcap -o one.pcapng --call 5", MEDIA)
INVITE = (
    *(
        "INVITE sip:bob@example.com SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1:5066;branch=z9hG4bK1",
        "Call-ID: 1@example.com",
    ),
    *("From: <sip:alice@example.com>;tag=1", "To: <sip:bob@example.com>", "CSeq: 1 INVITE", "", ""),
)
SEND = f"""
import socket, time
while True:
    with socket.socket(type=socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 5066))
        phone.sendto({chr(10).join(INVITE).encode()!r}, ("127.0.0.1", 5060))
    time.sleep(0.3)
"""
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
    "../otus-plugin-console/README.md": Stage(),
    "../otus-plugin-filter/README.md": Stage(),
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
    "guides/hidden.md": Stage((start(SEND),), live=("sudo otus run",)),
    "guides/live.md": Stage((*TRAFFIC, CONFIG), live=("sudo otus run",)),
    "guides/media.md": Stage((*FILES, *STREAMS), live=("sudo otus media",)),
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
