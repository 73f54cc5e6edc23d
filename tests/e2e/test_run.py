"""``otus run`` as a person or a script uses it: whole processes, our own captures."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import keeps

OTUS = str(Path(sys.executable).with_name("otus"))
ENVIRONMENT = {**os.environ, "NO_COLOR": "1"}


def otus(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([OTUS, *map(str, arguments)], capture_output=True, timeout=60, env=ENVIRONMENT, **options)


def outputs(*arguments: object, **options: Any) -> list[dict[str, Any]]:
    done = otus("run", *arguments, "--format", "json", "-q", **options)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def what(output: dict[str, Any]) -> str:
    labels = output["labels"]
    return str(labels.get("sip.method") or labels["sip.status_code"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("call", ["INVITE", "180", "200", "ACK", "BYE", "200"]),
        ("register", ["REGISTER", "401", "REGISTER", "200"]),
        ("cancel", ["INVITE", "CANCEL", "487", "ACK"]),
        ("reinvite", ["INVITE", "200", "ACK", "INVITE", "200", "ACK", "BYE", "200"]),
        ("vlan", ["INVITE", "BYE"]),
        ("fragmented", ["INVITE"]),
        ("tcp", ["INVITE", "BYE"]),
    ],
)
def test_the_examples_show_their_calls(examples: Path, name: str, expected: list[str]) -> None:
    found = iter([what(output) for output in outputs(examples / f"{name}.pcap")])
    assert all(one in found for one in expected)


def test_tunnels_are_looked_into_when_asked(examples: Path) -> None:
    assert outputs(examples / "vxlan.pcap") == []
    inside = outputs(examples / "vxlan.pcap", "--tunnels", "vxlan")
    assert {output["tunnel"] for output in inside} == {"vxlan"}
    assert all(output["outer_src_ip"] != output["src_ip"] for output in inside)


def test_raw_payload_is_the_message(examples: Path) -> None:
    first = outputs(examples / "call.pcap")[0]
    raw = base64.b64decode(first["raw_payload"])
    assert raw.startswith(b"INVITE sip:")
    assert first["payload"]["method"] == "INVITE"
    assert first["payload"]["sdp"]["media"][0]["type"] == "audio"
    assert [first["task_id"], first["pipeline_id"], first["protocol"]] == ["run", 0, 17]


def test_text_is_a_line_a_message(examples: Path) -> None:
    done = otus("run", examples / "call.pcap")
    date, *lines = done.stdout.decode().splitlines()
    assert date.startswith("2026-11-24 ")
    assert len(lines) == len(outputs(examples / "call.pcap"))
    assert "INVITE" in lines[0]
    assert "audio 20000 PCMU,PCMA,telephone-event" in lines[0]
    assert b"reported" in done.stderr


def test_the_summary_is_the_identity(examples: Path, tmp_path: Path) -> None:
    done = otus("run", examples / "call.pcap", "--format", "none", "-q", "--summary-json", tmp_path / "s.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["unaccounted"] == 0
    assert summary["kept"] == summary["reporters"]["discard"]["reported"] > 0
    keys = (
        "frames_read messages_added units fragments_merged fragments_held segments_merged segments_held dropped matched"
    )
    assert set(keys.split()) <= set(summary)
    assert summary["elapsed_s"] > 0 < summary["cpu_s"]


def test_the_summary_may_go_to_standard_output(examples: Path) -> None:
    done = otus("run", examples / "call.pcap", "--format", "none", "-q", "--summary-json", "-")
    assert (done.returncode, json.loads(done.stdout)["kept"]) == (0, 7)


def test_a_run_without_any_parser_says_so(examples: Path) -> None:
    done = otus("--no-plugin", "sip", "run", examples / "call.pcap", "-q")
    assert (done.returncode, done.stdout) == (0, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("otus: there is no parser, so nothing will be reported: parser 'sip' cannot be used")
    assert "--no-plugin" in line


def test_a_filter_keeps_what_matches(examples: Path) -> None:
    kept = outputs(examples / "call.pcap", "--filter", "sip.cseq_method == 'BYE'")
    assert [what(output) for output in kept] == ["BYE", "200"]


def test_stdin_several_files_and_gzip(examples: Path, tmp_path: Path) -> None:
    data = (examples / "call.pcap").read_bytes()
    packed = tmp_path / "call.pcap.gz"
    packed.write_bytes(gzip.compress(data))
    alone = outputs(examples / "call.pcap")
    assert outputs("-", input=data) == alone
    assert outputs(packed) == alone
    assert len(outputs(examples / "call.pcap", packed)) == 2 * len(alone)


def test_workers_share_a_file(examples: Path, tmp_path: Path) -> None:
    files = [examples / f"{name}.pcap" for name in ("call", "register", "fragmented", "vlan")]
    alone = outputs(*files)
    shared = outputs(*files, "--workers", 2, "--summary-json", tmp_path / "s.json")
    keys = ("timestamp", "src_ip", "raw_payload")
    assert sorted([o[k] for k in keys] for o in shared) == sorted([o[k] for k in keys] for o in alone)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["unaccounted"], summary["kept"]) == (0, len(alone))


def test_a_bpf_filter_applies_to_files(examples: Path) -> None:
    assert outputs(examples / "call.pcap", "--bpf", "tcp") == []
    assert len(outputs(examples / "call.pcap", "--bpf", "udp port 5060 or udp")) > 0


TASK = """
id: from-file
capture: {type: pcap, files: [%s]}
parsers: [sip]
processors:
  - {type: filter, config: {drop_if: "sip.method == 'INVITE'"}}
  - {type: label, config: {labels: {site: lab}}}
reporters:
  - {type: console, config: {format: json}}
"""


def test_a_task_file_is_the_whole_chain(examples: Path, tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK % (examples / "call.pcap"))
    done = otus("run", "--task", task, "-q")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert "INVITE" not in [what(output) for output in found]
    assert {output["labels"]["site"] for output in found} == {"lab"}


@pytest.mark.parametrize("spelling", ["files: [%s]", "file: %s", "files: %s", "file: [%s]"])
def test_a_task_may_name_one_file_as_it_is(examples: Path, tmp_path: Path, spelling: str) -> None:
    task = tmp_path / "task.yaml"
    task.write_text(TASK.replace("files: [%s]", spelling) % (examples / "call.pcap"))
    done = otus("run", "--task", task, "-q")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 6)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "nothing to read"),
        (["x.pcap", "--interface", "lo"], "not both"),
        (["x.pcap", "--format", "xml"], "xml"),
        (["x.pcap", "--task", "t.yaml", "--format", "json"], "--task"),
        (["x.pcap", "--parser", "spi"], "sip"),
        (["x.pcap", "--filter", "sip.method =="], "column"),
        (["x.pcap", "--filter", ""], "--filter: at column 1"),
        (["x.pcap", "--task", "t.yaml", "--filter", ""], "--task"),
        (["-", "--workers", "2"], "standard input"),
        (["x.pcap", "--bpf", "udp prot 5060"], "udp prot 5060"),
        (["x.pcap", "--tunnels", "vxlam"], "vxlan"),
        (["--workers", "0", "x.pcap"], "workers"),
    ],
    ids=[
        "nothing",
        "two sources",
        "format",
        "task and format",
        "parser",
        "filter",
        "empty filter",
        "task and filter",
        "shared stdin",
        "bpf",
        "tunnels",
        "workers",
    ],
)
def test_wrong_usage_is_told(arguments: list[str], word: str) -> None:
    done = otus("run", *arguments)
    assert done.returncode == 2
    assert word in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_damaged_file_gives_what_comes_before_and_one_error(examples: Path, tmp_path: Path) -> None:
    whole = outputs(examples / "call.pcap")
    cut = tmp_path / "cut.pcap"
    cut.write_bytes((examples / "call.pcap").read_bytes()[:-10])
    done = otus("run", cut, "--format", "json", "-q")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) in (len(whole), len(whole) - 1)
    (line,) = done.stderr.decode().splitlines()
    assert str(cut) in line
    assert "offset" in line


@pytest.mark.parametrize("content", [b"", b"GET / HTTP/1.1"], ids=["empty", "no capture"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_no_capture_is_told_once(tmp_path: Path, content: bytes, workers: int) -> None:
    file = tmp_path / "no.pcap"
    file.write_bytes(content)
    done = otus("run", file, "-q", "--workers", workers)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"otus: {file}: at offset 0: ")


def test_a_pipe_that_workers_cannot_share_is_told_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = otus("run", pipe, "-q", "--workers", 2)
    assert (done.returncode, done.stderr.decode()) == (
        1,
        f"otus: {pipe}: only one worker can read it: use `workers: 1`\n",
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = otus("run", tmp_path / "no.pcap", "-q")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_a_closed_pipe_ends_quietly(examples: Path) -> None:
    command = (
        f"{OTUS} run {' '.join([str(examples / 'call.pcap')] * 200)} --format json -q | head -n 1; exit "
        f"${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["task_id"] == "run"


def test_an_interrupted_run_says_so(examples: Path) -> None:
    command = [OTUS, "run", str(examples / "call.pcap"), "--speed", "0.001", "-q"]

    def interrupted() -> float:
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            begun = time.monotonic()
            try:
                assert process.wait(60) == 130
            finally:
                process.kill()
            return time.monotonic() - begun

    keeps(5.0, interrupted)


def test_the_plugins_are_listed() -> None:
    rows = json.loads(otus("plugins", "list", "--json").stdout)
    assert {"name", "kind", "distribution", "version", "state", "stage", "reason"} <= set(rows[0])
    assert ("sip", "parser", "ready") in {(row["name"], row["kind"], row["state"]) for row in rows}


def test_arguments_have_their_help(examples: Path) -> None:
    assert b"Capture files" in otus("run", "--help").stdout
