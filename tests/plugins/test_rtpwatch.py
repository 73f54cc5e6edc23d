"""A plugin that keeps state, written from the documents alone in plain Python: what it says of RTP streams is what
tshark says of them. It runs where nothing but wheels was ever installed, if there are wheels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.needs import corpora
from tests.plugins.installed import WHEELS, FromWheels, Installed
from tests.tshark import RTP_BY_SIP, rtp_streams

SOURCE = Path(__file__).parent / "otus-plugin-rtpwatch"
ONLY = ("--parser", "sip", "--parser", "rtpwatch")


class Figures(NamedTuple):
    """What is said of one stream."""

    packets: int
    lost: int
    mean: float
    most: float


Streams = dict[tuple[str, str, str], Figures]  # by source, destination and SSRC

CAPTURES = (
    *RTP_BY_SIP,
    "michalcab__sip.pcap.pcapng",
    "ndpi__skinny.pcap",
    "wireshark-wiki__umts__Mobile-Terminating-Call_AMR_ee10a9.pcap",
)

# What announces these streams is not SIP, so they are told by their ports.
PORTS = {
    "ndpi__skinny.pcap": (9395, 9396, 9399, 9400, 17718, 32144),  # Cisco's SCCP
    "wireshark-wiki__umts__Mobile-Terminating-Call_AMR_ee10a9.pcap": (40002, 50002),  # RANAP over SCTP
    "sibilant__SIP_CALL_RTP_G711.pcap": (40362,),  # MGCP, beside a call by SIP
}

# Streams whose jitter is another than tshark's, by SSRC, and why ours is right.
OTHER_JITTER = {
    # An event's packets all have the timestamp of its beginning (RFC 4733 §2.2), so tshark takes the time since then
    # for jitter. It comes to 18 ms where nothing was late.
    "0x3EDD3882": "telephone-event",
    "0x5711BF84": "telephone-event",
    # While somebody is silent, comfort noise is sent seldom and at no fixed time (RFC 3389 §4): its timestamps say
    # nothing of jitter, but tshark counts them. Its mean leaves values out that its divisor does not.
    "0x06C156FD": "comfort noise",
    "0x44C61AFB": "comfort noise",
    "0x42F433D4": "comfort noise",
    # Two packets make a picture, with one timestamp. The greatest jitter is the same; tshark's mean takes one value a
    # picture, but divides by the number of packets.
    "0x43306582": "pictures of several packets",
}

# Here a STUN packet on the port of a stream makes tshark take all that follows for STUN, which it then cannot read: it
# sees nothing of the one stream (0x71EC036B), and one packet of the other (0x3ADF0949). With its heuristic for RTP it
# sees them whole.
HEURISTIC = ("goffinet__voip1b.pcapng", "michalcab__sip.pcap", "michalcab__sip.pcap.pcapng")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder, own = tmp_path_factory.mktemp("rtpwatch"), ("core", "plugin-sip", "plugin-pcap", "plugin-console")
    names = [f"otus-{name}" for name in (*own, "plugin-filter")]
    made = FromWheels(folder, *names) if WHEELS else Installed(folder)
    made.install(SOURCE)
    return made


def see_by_tshark(capture: Path) -> Streams:
    heuristic = ["--enable-heuristic", "rtp_udp"] if capture.name in HEURISTIC else []
    streams = {}
    for one in rtp_streams(capture, *heuristic):
        src, src_port, dst, dst_port = one.ends
        key = f"{src}:{src_port}", f"{dst}:{dst_port}", f"0x{one.ssrc.upper()}"
        streams[key] = Figures(one.packets, one.lost, *one.jitter)
    return streams


def run(
    installed: Installed, capture: Path, folder: Path, *options: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Give the plugin's records, and the summary."""
    if ports := PORTS.get(capture.name):
        parsers = ["sip", {"type": "rtpwatch", "config": {"ports": ports}}]
        reporter = {"type": "console", "config": {"format": "json"}}
        task = {
            "id": "t",
            "capture": {"type": "pcap", "file": str(capture)},
            "parsers": parsers,
            "reporters": [reporter],
        }
        (folder / "task.json").write_text(json.dumps(task))
        command = ["--task", folder / "task.json"]
    else:
        command = [capture, "--format", "json", *ONLY]
    done = installed.otus("run", *command, "--summary-json", folder / "summary.json", *options)
    assert done.returncode == 0, done.stderr
    outputs = [json.loads(line) for line in done.stdout.splitlines()]
    return [one for one in outputs if one["payload_type"] == "rtpwatch"], json.loads(
        (folder / "summary.json").read_text()
    )


def read_streams(records: list[dict[str, Any]]) -> Streams:
    streams = {}
    for one in records:
        payload = one["payload"]
        key = (
            f"{one['src_ip']}:{one['src_port']}",
            f"{one['dst_ip']}:{one['dst_port']}",
            one["labels"]["rtpwatch.ssrc"],
        )
        assert key not in streams
        jitter = (payload.get("jitter_mean_ms", 0), payload.get("jitter_max_ms", 0))  # tshark says 0 of one packet
        streams[key] = Figures(payload["packets"], payload["lost"], *jitter)
    return streams


def test_the_captures_are_all_in_which_tshark_sees_streams() -> None:
    lines = (corpora() / "MANIFEST.tsv").read_text().splitlines()
    place = lines[0].split("\t").index("rtp_streams_via_sdp")
    rows = [line.split("\t") for line in lines[1:]]
    assert sorted(row[0] for row in rows if int(row[place] or 0)) == sorted(CAPTURES)


@pytest.mark.parametrize("name", CAPTURES)
def test_it_says_of_each_stream_what_tshark_says(installed: Installed, tmp_path: Path, name: str) -> None:
    theirs = see_by_tshark(corpora() / name)
    records, summary = run(installed, corpora() / name, tmp_path)
    ours = read_streams(records)
    assert summary["unaccounted"] == 0
    assert sum(stream.packets for stream in ours.values()) == summary["consumed"]["parser:rtpwatch"]
    assert {*ours} == {*theirs}
    for key, seen in theirs.items():
        told = ours[key]
        assert (told.packets, told.lost) == (seen.packets, seen.lost)
        if key[2] not in OTHER_JITTER:
            assert (told.mean, told.most) == pytest.approx((seen.mean, seen.most), abs=0.005)
        if key[2] == "0x43306582":
            assert told.most == pytest.approx(seen.most, abs=0.005)


def test_two_workers_give_the_same_records(installed: Installed, tmp_path: Path) -> None:
    capture = corpora() / "sibilant__SIP_CALL_RTP_G711.pcap"
    (tmp_path / "two").mkdir()
    assert run(installed, capture, tmp_path)[0] == run(installed, capture, tmp_path / "two", "--workers", "2")[0]


def test_records_are_filtered_by_their_labels(installed: Installed, tmp_path: Path) -> None:
    capture = corpora() / "wireshark-wiki__sip-and-rtp__sip-rtp-g711.pcap"
    records, summary = run(installed, capture, tmp_path, "--filter", "rtpwatch.codec == 'PCMA/8000'")
    assert [(one["labels"]["rtpwatch.ssrc"], one["key"]) for one in records] == [
        ("0x343FFA34", records[0]["payload"]["calls"][0])
    ]
    assert summary["unaccounted"] == 0


@pytest.mark.slow
def test_it_keeps_the_contract_and_every_rule(installed: Installed) -> None:
    checked = installed.otus("plugins", "check", "rtpwatch")
    assert (checked.returncode, checked.stdout.count("✗")) == (0, 0), checked.stdout
    done = installed.run(installed.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", installed.copy / "tests")
    assert done.returncode == 0, done.stdout


def test_it_is_small_and_typed(installed: Installed, tmp_path: Path) -> None:
    sources = sorted((SOURCE / "src").rglob("*.py"))
    assert sum(len(source.read_text().splitlines()) for source in sources) < 150
    mypy = [installed.python, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "mypy"]
    done = installed.run(*mypy, *sources)
    assert done.returncode == 0, done.stdout
