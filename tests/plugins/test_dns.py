"""A parser that anybody could have written: installed by pip, found, checked, and right about DNS (dpkt
is the oracle).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from tests.plugins.installed import Installed

SOURCE = Path(__file__).parent / "otus-plugin-dns"
NAMES = ["example.org", "_sip._udp.example.org", "a." * 60 + "example", "xn--bcher-kva.example"]
CONTRACT = """
from pathlib import Path
from otus_core.testing.contract import ParserContract

class TestDns(ParserContract):
    component = "dns"
    samples = Path(__file__).parent / "samples"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = Installed(tmp_path_factory.mktemp("dns"))
    made.install(SOURCE)
    return made


def query(name: str, identifier: int) -> bytes:
    return bytes(dpkt.dns.DNS(id=identifier, qd=[dpkt.dns.DNS.Q(name=name, type=dpkt.dns.DNS_SRV)]))


def response(name: str, identifier: int) -> bytes:
    answer = dpkt.dns.DNS.RR(name=name, type=dpkt.dns.DNS_A, cls=1, ttl=60, ip=b"\xc0\0\x02\1", rdata=b"\xc0\0\x02\1")
    return bytes(
        dpkt.dns.DNS(id=identifier, op=0x8180, qd=[dpkt.dns.DNS.Q(name=name, type=dpkt.dns.DNS_A)], an=[answer])
    )


def messages() -> Iterator[tuple[str, bytes]]:
    for n, name in enumerate(NAMES):
        yield f"query-{n}", query(name, 2 * n)
        yield f"response-{n}", response(name, 2 * n + 1)


def test_it_is_listed_and_keeps_every_rule(installed: Installed) -> None:
    assert "DNS over UDP (RFC 1035)" in installed.otus("plugins", "list").stdout
    checked = installed.otus("plugins", "check", "dns")
    assert (checked.returncode, checked.stdout.count("✗")) == (0, 0), checked.stdout


def test_it_reads_what_dpkt_reads(installed: Installed, tmp_path: Path) -> None:
    capture = tmp_path / "dns.pcap"
    payloads = [data for _, data in messages()]
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for data in payloads:
            writer.writepkt(packets.udp(data, dst_port=53))
        writer.writepkt(packets.udp(b"\0" * 12, dst_port=53))
    done = installed.otus("run", capture, "--format", "json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {output["payload_type"] for output in found} == {"dns"}
    assert "dropped parse_error:dns" in done.stderr
    for output, data in zip(found, payloads, strict=True):
        oracle = dpkt.dns.DNS(data)
        labels = output["labels"]
        assert (labels["dns.id"], labels["dns.name"]) == (str(oracle.id), oracle.qd[0].name)
        assert labels["dns.type"] == ("response" if oracle.qr else "query")
        assert [answer["name"] for answer in output["payload"]["answers"]] == [record.name for record in oracle.an]
        assert [answer["ttl"] for answer in output["payload"]["answers"]] == [record.ttl for record in oracle.an]


def test_it_keeps_the_contract(installed: Installed, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    for name, data in messages():
        (samples / f"{name}.bin").write_bytes(data)
    (samples / "empty.bin").write_bytes(bytes(12))
    (samples / "empty.json").write_text(json.dumps({"refused": "no question"}))
    (tmp_path / "test_contract.py").write_text(CONTRACT)
    done = installed.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout


def test_sip_goes_on_beside_it(installed: Installed, examples: Path) -> None:
    done = installed.otus("run", examples / "call.pcap", "--format", "json")
    assert {json.loads(line)["payload_type"] for line in done.stdout.splitlines()} == {"sip"}
