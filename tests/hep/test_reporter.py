"""The reporter ``hep`` in a process of ``otus run``, and alone where servers come and go."""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from otus_core import ConfigInvalid, OutputPacket, PluginInitFailed, ReportResult
from otus_core.testing.contract import ReporterContract
from otus_hep.connection import Connection
from otus_hep.server import log
from tests.e2e.test_run import otus, outputs
from tests.hep.chunks import cut
from tests.hep.servers import Server, make_certificates, server_context
from tests.patience import PATIENCE_S, wait

pytestmark = pytest.mark.usefixtures("examples")


class Alone(ReporterContract):
    """Lends its way of making a reporter; as it is no test, none of its own are collected."""

    component = "hep"

    def context(self, **more: Any) -> Any:
        """Say which label tells calls apart, as the parser sip does."""
        return super().context(call_labels={"sip": "sip.call_id"}, **more)


del ReporterContract


def running(run: Callable[[Any], Coroutine[Any, Any, Any]], **config: Any) -> Any:
    return Alone().running(run, config)


def messages(first: int, count: int = 10) -> list[OutputPacket]:
    return [
        OutputPacket(
            payload_type="sip",
            timestamp=1_767_268_800_000_000_000 + n,
            labels={"sip.call_id": f"call-{n}"},
            raw_payload=b"%d" % n,
        )
        for n in range(first, first + count)
    ]


def numbers(server: Server) -> list[int]:
    return [int(one.payload) for one in server.packets]


def report_to(*servers: Server, **config: Any) -> Callable[..., Any]:
    def run(work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        addresses = [server.address for server in servers]
        return running(work, servers=addresses, **{"settle": 0.02, "retry_after": 0.1, **config})

    return run


def task_file(folder: Path, capture: Path, server: str, **config: Any) -> Path:
    path = folder / "task.json"
    reporter = {"type": "hep", "config": {"servers": [server], **config}}
    path.write_text(json.dumps({"capture": {"type": "pcap", "files": [str(capture)]}, "parsers": ["sip"],
                                "reporters": [reporter]}))  # fmt: skip
    return path


def ran(task: Path, code: int = 0) -> dict[str, Any]:
    done = otus("run", "--task", task, "-q", "--summary-json", "-")
    assert done.returncode == code, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["unaccounted"] == 0
    return told


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_every_message_of_a_capture_arrives(examples: Path, tmp_path: Path, transport: str) -> None:
    expected = outputs(examples / "call.pcap")
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    key.chmod(0o600)
    with Server(stream=transport == "tcp") as server:
        config = {"transport": transport, "key_file": str(key), "node_name": "edge-1", "capture_id": 12}
        told = ran(task_file(tmp_path, examples / "call.pcap", server.address, **config))
        found = server.until(len(expected))
    assert told["reporters"]["hep"]["reported"] == len(expected) == len(found)
    for one, packet in zip(expected, found, strict=True):
        assert packet.correlation == one["labels"]["sip.call_id"]
        assert (packet.src, packet.dst) == (one["src_ip"], one["dst_ip"])
        assert (packet.src_port, packet.dst_port, packet.protocol) == (one["src_port"], one["dst_port"], 17)
        assert (packet.key, packet.node, packet.capture_id, packet.kind) == ("s3cret", "edge-1", 12, 1)
        start = one["labels"].get("sip.method", "SIP/2.0").encode()
        assert packet.payload.startswith(start)


def test_what_is_too_large_is_counted(examples: Path, tmp_path: Path) -> None:
    """A limit below the capture's larger messages, as heplify-server's 8,192 is below others."""
    with Server(stream=False) as server:
        told = ran(task_file(tmp_path, examples / "call.pcap", server.address, max_size=600), code=1)
        counted = told["reporters"]["hep"]
        wait(lambda: len(server.packets) == counted["reported"], what="what was reported comes")
        assert all(len(packet.payload) < 600 for packet in server.packets)
    assert 0 < counted["reported"] < counted["offered"]
    assert counted["dropped"] == {"report_error:too_large": counted["offered"] - counted["reported"]}


def test_the_next_server_takes_over_and_the_first_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(log, level, lambda event, **fields: told.append((event, fields["server"])))

    async def run(reporter: Any) -> None:
        assert (await reporter.report(messages(0))).reported == 10
        first.close()
        assert (await reporter.report(messages(10))).reported == 10
        assert first.address in reporter.status()["reason"]
        with Server(first.port) as again:
            await asyncio.sleep(0.15)  # `retry_after`, which is a pause by definition
            assert (await reporter.report(messages(20))).reported == 10
            assert reporter.status()["reason"] == ""
            assert sorted(numbers(again)) == list(range(20, 30))

    with Server() as first, Server() as second:
        report_to(first, second, transport="tcp")(run)
        assert (numbers(first), numbers(second)) == (list(range(10)), list(range(10, 20)))
    assert told == [("server_unavailable", first.address), ("server_available", first.address)]


def test_calls_are_shared_and_stay_whole() -> None:
    calls = [*messages(0, 40), *messages(0, 40)]

    async def run(reporter: Any) -> None:
        assert (await reporter.report(calls)).reported == 80

    with Server(stream=False) as one, Server(stream=False) as other:
        report_to(one, other, distribution="share")(run)
        wait(lambda: len(one.packets) + len(other.packets) == 80, what="all come")
        shares = [{packet.correlation for packet in server.packets} for server in (one, other)]
    assert not shares[0] & shares[1] and min(map(len, shares)) > 5


def test_a_connection_that_breaks_is_opened_again_and_nothing_is_lost() -> None:
    """What was sent and may not have been read is sent again: rather twice than not at all."""

    async def run(reporter: Any) -> None:
        for n in range(30):
            report = asyncio.ensure_future(reporter.report(messages(10 * n)))
            if n % 5 == 2:
                await asyncio.sleep(0)
                server.break_connections()
            result: ReportResult = await report
            while result.retry:
                result = await reporter.report(messages(10 * n))
            assert result.reported == 10

    with Server() as server:
        report_to(server, transport="tcp")(run)
        assert set(numbers(server)) == set(range(300))


def test_a_quiet_connection_is_probed() -> None:
    """The kernel waits to probe it: timer 2 of /proc/net/tcp is that of keep-alive (proc_net_tcp of the kernel)."""

    async def run(reporter: Any) -> None:
        assert await reporter.report(messages(0)) == ReportResult(reported=10)
        wait(lambda: timer_to(server.address) == "02", what="nothing is on the way any more, and a probe is due")

    with Server(stream=True) as server:
        report_to(server, transport="tcp")(run)


def timer_to(address: str) -> str:
    """Give which timer runs for the connection to an address of IPv4."""
    place = f":{int(address.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (timer,) = [row[5].partition(":")[0] for row in rows if row[2].endswith(place) and row[3] == "01"]
    return timer


def test_nobody_is_there() -> None:
    async def run(reporter: Any) -> tuple[ReportResult, dict[str, Any]]:
        result = await reporter.report(messages(0))
        return result, reporter.status()

    for config in ({"transport": "tcp"}, {"transport": "tls"}, {}):
        result, status = running(run, servers=["127.0.0.1:1"], **config)
        if config:  # over UDP the first goes before the kernel can know
            assert (result.reported, list(result.retry)) == (0, ["unavailable"])
        assert result.reported + sum(map(len, result.retry.values())) == 10
        assert result.reported == 10 or status == {
            "state": "disconnected", "reason": "127.0.0.1:1: Connection refused", "servers": 1,
        }  # fmt: skip
    status = running(run, servers=["no-such-host.invalid:9060"])[1]
    assert status["reason"].startswith("no-such-host.invalid:9060: ")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_servers_may_have_ipv6_addresses(transport: str) -> None:
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6, kind) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(PATIENCE_S)
        if transport == "tcp":
            sock.listen()

        async def run(reporter: Any) -> None:
            result = await reporter.report(messages(0, 3))
            assert (result.reported, reporter.status()["reason"]) == (3, "")

        running(run, servers=[f"[::1]:{sock.getsockname()[1]}"], transport=transport, settle=0.02)
        if transport == "udp":
            came = b"".join(sock.recv(65_536) for _ in range(3))
        else:
            peer, _ = sock.accept()
            with peer:
                came = b"".join(iter(lambda: peer.recv(65_536), b""))
    found, rest = cut(came)
    assert [one.payload for one in found] == [b"0", b"1", b"2"] and not rest


def test_a_server_that_takes_nothing_is_given_up() -> None:
    """It accepts, and never reads: the kernels' buffers fill, and then nothing moves."""

    async def run(reporter: Any) -> None:
        bulk = [OutputPacket(payload_type="sip", raw_payload=b"x" * 60_000, timestamp=1) for _ in range(400)]
        result = await reporter.report(bulk)
        assert (result.reported, len(result.retry["unavailable"])) == (0, 400)
        assert "takes nothing more" in reporter.status()["reason"]

    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        running(run, servers=[f"127.0.0.1:{deaf.getsockname()[1]}"], transport="tcp", timeout=0.3)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("host", "tls", "said"),
    [
        ("localhost", {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}, ""),
        ("127.0.0.1", {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}, "mismatch"),
        ("127.0.0.1", {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key",
                       "verify_hostname": False}, ""),
        ("localhost", {"cert_file": "client.pem", "key_file": "client.key"}, "CERTIFICATE_VERIFY_FAILED"),
        ("localhost", {"ca_file": "ca.pem"}, "certificate required|CERTIFICATE_REQUIRED|closed|reset"),
    ],
    ids=["good", "other name", "name not checked", "unknown authority", "no client certificate"],
)  # fmt: skip
def test_tls(certificates: Path, host: str, tls: dict[str, Any], said: str) -> None:
    async def run(reporter: Any) -> tuple[ReportResult, str]:
        result = await reporter.report(messages(0))
        return result, reporter.status()["reason"]

    options = {key: str(certificates / value) if isinstance(value, str) else value for key, value in tls.items()}
    with Server(context=server_context(certificates, client=True)) as server:
        result, reason = running(run, servers=[f"{host}:{server.port}"], transport="tls", tls=options, settle=0.2)
        assert bool(said) == bool(reason) and re.search(said, reason), reason
        assert (result.reported, len(server.packets)) == ((0, 0) if said else (10, 10))


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async def run(_reporter: Any) -> None:
        pass

    for config in ({"key_file": str(tmp_path / "none")},
                   {"transport": "tls", "tls": {"ca_file": str(tmp_path / "none")}}):  # fmt: skip
        with pytest.raises(PluginInitFailed, match=str(tmp_path / "none")):
            running(run, servers=["127.0.0.1:9060"], **config)


def test_a_wrong_option_is_refused() -> None:
    for server, config, said in (
        ("homer", {}, "servers"),
        ("homer:0", {}, "there is no port 0"),
        ("homer:9060", {"max_size": 65_535}, "max_size"),
        ("homer:9060", {"tls": {"key_file": "k"}}, "cert_file"),
    ):
        with pytest.raises(ConfigInvalid, match=said):
            Alone().settings({"servers": [server], **config})


def test_what_is_acknowledged_while_it_is_asked_about_is_not_waited_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes on their way and bytes acknowledged are two questions to the kernel, and answers may come in between."""
    acknowledged, under_way = iter((100, 150, 150)), iter((50, 0))
    asked = object.__new__(Connection)
    asked._socket = socket.socket()
    monkeypatch.setattr(asked, "count_acknowledged", lambda: next(acknowledged))
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: struct.pack("i", next(under_way)))
    with asked._socket:
        assert asked._mark() == 150
