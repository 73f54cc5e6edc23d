"""``otus report``, as a user runs it: one page, opened in a browser, on which what packets say is text alone."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import dpkt
import pytest

from otus_core.testing import packets
from tests.calls.commands.running import B2BUA, otus
from tests.needs import tool

DONE = "document.title='taken'"
OWN_TAGS = (
    "html head meta title link style body header h1 div ul details summary main input select option label span section "
    "noscript p script"
)
CORPUS = (
    f"<script>{DONE}</script>",
    f"</script><script>{DONE}</script>",
    f"<!--<script>{DONE}",
    f"]]><img src=x onerror={DONE}>",
    f"'\"><svg/onload={DONE}>",
    f"<iframe srcdoc='<script>{DONE}</script>'>",
    f"javascript:{DONE}",
    "<link rel=stylesheet href=http://192.0.2.1/x.css><style>@import 'http://192.0.2.1/y'</style>",
    "<base href=http://192.0.2.1/><meta http-equiv=refresh content='0;url=http://192.0.2.1/'>",
    "${alert(1)}{{constructor.constructor('alert(1)')()}}",
    "@style@ @data@ @script@",
    "&lt;b&gt; \\u003cscript\\u003e \u2028 \u2029 \u202e \ud83d\ude00",
    "<table background=http://192.0.2.1/z><form action=http://192.0.2.1/><input formaction=javascript:alert(1)>",
    "%3Cscript%3Ealert(1)%3C/script%3E",
)


class Page(HTMLParser):
    """What a browser would see of the file before any script has run."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"] and self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data


def hostile(n: int, text: str) -> list[bytes]:
    """Give a call that says ``text`` wherever it can."""
    line = text.replace("\r", "").replace("\n", "")
    user = re.sub(r"[\s<>@:;]", "", line)
    common = (
        f"Via: SIP/2.0/UDP h;branch=z9hG4bK{n}\r\nCall-ID: {n}{line}\r\nCSeq: 1 INVITE\r\n"
        f'From: "{line}" <sip:{user}@h>;tag=1\r\n'
        f"Warning: 399 h {line}\r\nReason: {line}\r\nUser-Agent: {line}\r\nServer: {line}\r\n"
    )
    body = f"v=0\r\no={user} 1 1 IN IP4 192.0.2.1\r\ns={line}\r\nc=IN IP4 {user}\r\nt=0 0\r\n"
    body += f"m={user} 4000 RTP/AVP 96\r\na=rtpmap:96 {line}\r\n"
    invite = f"INVITE sip:{user}@h SIP/2.0\r\n{common}To: <sip:b@h>\r\nContent-Type: application/sdp\r\n"
    invite += f"Content-Length: {len(body.encode('utf-8', 'surrogatepass'))}\r\n\r\n{body}"
    answer = f"SIP/2.0 486 {line}\r\n{common}To: <sip:b@h>;tag=2\r\nContent-Length: 0\r\n\r\n"
    return [one.encode("utf-8", "surrogatepass") for one in (invite, answer)]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=alert(1)>.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n, text in enumerate(CORPUS, 1):
            for m, data in enumerate(hostile(n, text)):
                ends = ("192.0.2.1", "192.0.2.2") if m == 0 else ("192.0.2.2", "192.0.2.1")
                writer.writepkt(packets.udp(data, src=ends[0], dst=ends[1]), 1_700_000_000 + n + m / 10)
    return path


@pytest.fixture(scope="module")
def page(capture: Path) -> Path:
    made = capture.with_name("page.html")
    done = otus("ladder", capture, "--html", made, "--raw")
    assert (done.returncode, done.stderr) == (0, f"otus: {len(CORPUS)} calls in {made}\n")
    return made


def browse(page: Path, fragment: str, folder: Path) -> tuple[str, list[str], list[str]]:
    """Open a page; gives what is in the document then, what the console says, and what was asked of the network."""
    log = folder / "net.json"
    command = [
        tool("chromium-headless-shell"), "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom",
        f"{page.as_uri()}#{fragment}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = re.findall(r'"url":"((?:https?|wss?|ftp):[^"]*)"', log.read_text(errors="replace"))
    return done.stdout, console, asked


def test_the_file_has_two_scripts_and_nothing_that_packets_wrote(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    seen = Page(text)
    assert seen.tags.count("script") == 2
    assert set(seen.tags) == {*OWN_TAGS.split()}
    assert [name for name, _ in seen.attributes if name.startswith("on") or name == "style"] == []
    assert [value for name, value in seen.attributes if name in ("src", "href")] == ["data:,"]
    assert re.search(r"default-src 'none'; script-src 'sha256-[\w+/=]{44}'", text)


def test_what_packets_said_is_in_the_data_as_it_was(page: Path) -> None:
    data = json.loads(Page(page.read_text(encoding="utf-8")).scripts[0])
    agents = [one["agents"] for one in data["calls"]]
    assert [
        text for text, told in zip(CORPUS, agents, strict=True) if text.strip().isascii() and text not in told
    ] == []


@pytest.mark.parametrize("call", [1, 2, 4, 5])
def test_in_a_browser_it_is_text(page: Path, tmp_path: Path, call: int) -> None:
    document, console, asked = browse(page, f"call={call}", tmp_path)
    assert (console, asked) == ([], [])
    assert 'data-ready="yes"' in document
    assert "<title>Otus: calls</title>" in document
    shown = document.partition('<script type="application/json"')[0]
    seen = Page(shown)
    assert {"script", "img", "iframe", "object", "embed", "base", "form"} & set(seen.tags) == set()
    assert [name for name, _ in seen.attributes if name.startswith("on")] == []
    assert CORPUS[call - 1].replace("<", "&lt;").replace(">", "&gt;") in shown.replace("&quot;", '"')


def test_a_real_call_is_drawn_with_its_media(corpora: Path, tmp_path: Path) -> None:
    made = tmp_path / "calls.html"
    assert otus("report", corpora / B2BUA, "-o", made).returncode == 0
    document, console, asked = browse(made, "call=2", tmp_path)
    assert (console, asked) == ([], [])
    for text in (
        "telephone1 → telephone2",
        ">INVITE ↻ again<",
        "RTP PCMU 355, MOS 3.89",
        "172.16.98.145:40216",
        "2 of 2",
    ):
        assert text in document
    assert len(re.findall(r'class="row', document)) == 2


def test_only_the_rows_in_sight_are_in_the_document(tmp_path: Path) -> None:
    capture, made = tmp_path / "many.pcap", tmp_path / "many.html"
    with capture.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for n in range(5000):
            text = (
                f"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{n}\r\nCall-ID: {n}@many\r\n"
                f"CSeq: 1 INVITE\r\nFrom: <sip:{n}@h>;tag=1\r\nTo: <sip:b@h>\r\nContent-Length: 0\r\n\r\n"
            )
            writer.writepkt(packets.udp(text.encode()), 1_700_000_000 + n / 10)
    assert otus("report", capture, "-o", made).returncode == 0
    document, console, _ = browse(made, "", tmp_path)
    assert console == []
    assert "5,000 of 5,000" in document
    assert 10 < len(re.findall(r'class="row', document)) < 100


def test_a_report_is_not_written_over_its_input(examples: Path, tmp_path: Path) -> None:
    capture = tmp_path / "call.pcap"
    capture.write_bytes((examples / "call.pcap").read_bytes())
    done = otus("report", capture, "-o", capture)
    assert (done.returncode, done.stderr) == (2, f"otus: -o: {capture} is also read: it would be lost\n")
    assert otus("report", capture).stderr == "otus: -o: name the page to make\n"
