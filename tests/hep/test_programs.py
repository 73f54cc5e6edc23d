"""With the programs that operators have: Kamailio sends HEP and stores it, sngrep listens, sipp makes the calls."""

from __future__ import annotations

import base64
import re
import sqlite3
import struct
import subprocess
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dpkt
import pytest

from tests.e2e.test_run import otus
from tests.hep.relay import Process, Relay, is_bound
from tests.hep.test_reporter import task_file
from tests.needs import tool
from tests.patience import free_ports, wait

CALLS = 10
LOGGED = re.compile(rb"UDP message (?:sent \((\d+) bytes\):|received \[(\d+)\] bytes :)\n\n")
COLUMNS = (
    "date micro_ts method reply_reason ruri ruri_user ruri_domain from_user from_domain from_tag to_user to_domain "
    "to_tag pid_user contact_user auth_user callid callid_aleg via_1 via_1_branch cseq diversion reason content_type "
    "auth user_agent source_ip source_port destination_ip destination_port contact_ip contact_port originator_ip "
    "originator_port correlation_id proto family rtp_stat type node msg custom_field1 custom_field2 custom_field3"
)
"""Of the table that Kamailio's module sipcapture fills."""
TRACING = """#!KAMAILIO
debug=1
log_stderror=yes
children=1
listen=udp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{to}")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", 2099)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)
request_route {{
    $du = "sip:127.0.0.1:{callee}";
    t_relay();
    exit;
}}
"""
CAPTURING = """#!KAMAILIO
debug=1
log_stderror=yes
children=1
listen=udp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "pv.so"
loadmodule "db_sqlite.so"
loadmodule "sipcapture.so"
modparam("sipcapture", "db_url", "sqlite:///{database}")
modparam("sipcapture", "capture_on", 1)
modparam("sipcapture", "hep_capture_on", 1)
modparam("sipcapture", "table_name", "sip_capture")
request_route {{
    sip_capture();
    drop;
}}
onreply_route {{
    sip_capture();
    drop;
}}
"""


class Kamailio(Process):
    """Kamailio with a configuration of the test's own, in the foreground."""

    def __init__(self, folder: Path, port: int, config: str, **about: Any) -> None:
        folder.mkdir()
        (modules,) = Path("/usr/lib").glob("**/kamailio/modules/siptrace.so")
        (folder / "kamailio.cfg").write_text(config.format(port=port, modules=f"{modules.parent}/", **about))
        super().__init__(folder, tool("kamailio"), "-f", "kamailio.cfg", "-DD", "-E", "-Y", str(folder))
        self.until(lambda: is_bound(port, "udp"), "Kamailio listens")


def logged(path: Path) -> list[bytes]:
    """Give the messages that sipp logged, sent and received."""
    data, found = path.read_bytes(), []
    for entry in LOGGED.finditer(data):
        size = int(entry[1] or entry[2])
        found.append(data[entry.end() : entry.end() + size])
    return found


def both_logged(folder: Path) -> list[bytes]:
    return logged(folder / "uac.log") + logged(folder / "uas.log")


def sipp(folder: Path, *arguments: str) -> list[str]:
    return [tool("sipp"), *arguments, "-i", "127.0.0.1", "-m", str(CALLS), "-nostdin", "-trace_msg", "-message_file"]


def datagrams(capture: Path) -> list[tuple[int, str, int, str, int, bytes]]:
    """Give time in µs, addresses and payload of each datagram of a capture, read by dpkt."""
    found = []
    with capture.open("rb") as file:
        for time, data in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(data).data
            ends = (str(ip_address(ip.src)), ip.data.sport, str(ip_address(ip.dst)), ip.data.dport)
            found.append((round(float(time) * 1e6), *ends, bytes(ip.data.data)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("version", [2, 3])
def test_what_kamailio_mirrors_is_what_sipp_sent(tmp_path: Path, version: int) -> None:
    """Kamailio relays calls between two sipp; its module siptrace mirrors each message at both of its sides.

    One process of Kamailio: two would now and then let the 200 overtake the 180, which ends sipp's call.
    """
    proxy, caller, callee = free_ports(3)
    with Relay(tmp_path / "relay") as relay:
        about = {"to": relay.port, "callee": callee, "version": version}
        with Kamailio(tmp_path / "kamailio", proxy, TRACING, **about):
            uas = sipp(tmp_path, "-sn", "uas", "-p", str(callee))
            uac = sipp(tmp_path, "-sn", "uac", "-p", str(caller), "-d", "50", "-r", "50")
            with Process(tmp_path, *uas, str(tmp_path / "uas.log")):
                wait(lambda: is_bound(callee, "udp"), what="sipp listens")
                calling = [*uac, str(tmp_path / "uac.log"), f"127.0.0.1:{proxy}"]
                done = subprocess.run(calling, capture_output=True, check=False, timeout=60)
                assert done.returncode == 0, done.stdout[-2000:]
                # The one that is called notes what it sent after it has sent it: the caller may have ended by then.
                wait(lambda: len(both_logged(tmp_path)) >= CALLS * 13, what="sipp has noted its last message")
                expected = Counter(both_logged(tmp_path))
                found = relay.outputs(expected.total())
        summary = relay.summary()
    ours = Counter((one["src_port"], one["dst_port"]) for one in found)
    assert len(found) == expected.total() >= CALLS * 13
    assert set(ours) == {(caller, proxy), (proxy, caller), (callee, proxy), (proxy, callee)}
    assert {one["labels"]["capture.node"] for one in found} == {"2099"}
    raw = Counter(base64.b64decode(one["raw_payload"]) for one in found)
    assert raw == expected
    assert summary["reporters"]["console"]["reported"] == expected.total()


def test_kamailio_stores_what_we_send(examples: Path, tmp_path: Path) -> None:
    capture, (port,) = examples / "call.pcap", free_ports(1)
    database = tmp_path / "captured.sqlite"
    with sqlite3.connect(database) as made:
        made.execute("pragma journal_mode = wal")  # else a reader locks Kamailio out, which then stores nothing
        made.execute("create table version (table_name, table_version)")
        made.execute(f"create table sip_capture (id integer primary key, {', '.join(COLUMNS.split())})")
    made.close()
    expected = datagrams(capture)

    def rows() -> list[tuple[Any, ...]]:
        names = "micro_ts, source_ip, source_port, destination_ip, destination_port, msg, correlation_id, callid, node"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as stored:
            return stored.execute(f"select {names} from sip_capture order by micro_ts, id").fetchall()

    with Kamailio(tmp_path / "kamailio", port, CAPTURING, database=database) as kamailio:
        assert otus("run", "--task", task_file(tmp_path, capture, f"127.0.0.1:{port}"), "-q").returncode == 0
        kamailio.until(lambda: len(rows()) >= len(expected), "everything is stored")
        found = rows()
    assert [row[:6] for row in found] == expected
    assert all(row[6] == row[7] and row[8].endswith(":2001") for row in found)


def test_sngrep_shows_the_call_that_we_send(examples: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    shown = tmp_path / "shown.pcap"
    listening = [tool("sngrep"), "-F", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(shown)]
    expected = [one[1:] for one in datagrams(examples / "call.pcap")]
    with Process(tmp_path, *listening) as sngrep:
        sngrep.until(lambda: is_bound(port, "udp"), "sngrep listens")
        task = task_file(tmp_path, examples / "call.pcap", f"127.0.0.1:{port}")
        assert otus("run", "--task", task, "-q").returncode == 0

        def ours() -> list[tuple[Any, ...]]:
            """sngrep also captures on this machine's interfaces, where other tests run."""
            whole = shown.exists() and shown.stat().st_size > struct.calcsize("=IHHiIII")
            found = [one[1:] for one in datagrams(shown)] if whole else []
            return [one for one in found if one[0] in ("192.0.2.10", "192.0.2.20")]

        sngrep.end()
        assert ours() == expected
