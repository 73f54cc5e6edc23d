"""Twelve ways that calls go, as scenarios for sipp: what each side does in turn, and what Otus must say of it.

A step of a side is ``>`` and what it sends, ``<`` and what it waits for, or a pause in ms.
"""

from __future__ import annotations

import attrs

SDP = "v=0\no=- 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\nt=0 0\nm=audio 4000 RTP/AVP 8\na={0}\n"
ASKS = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}\nFrom: <sip:a@[local_ip]>;tag=f[call_number]"
ANSWERS = "[last_Via:]\n[last_From:]\n{to}\n[last_Call-ID:]\n[last_CSeq:]\nContact: <sip:b@[local_ip]:[local_port]>"
END = "Content-Type: application/sdp\nContent-Length: [len]\n\n{0}"

Step = str | int


@attrs.frozen
class Scenario:
    """``caller`` and ``callee`` are their steps; the rest is what a call record holds, times in seconds."""

    name: str
    caller: tuple[Step, ...]
    callee: tuple[Step, ...]
    state: str
    code: int | None
    ring: float | None = None
    talk: float | None = None
    flag: str = ""
    branches: int | None = None
    attempts: int = 1


INVITE, RING, OK, ACK = ">INVITE 1 sdp", ("<100?", "<180"), "<200", ">ACK 1"
BYE = (">BYE 9", "<200")
TAKES_BYE = ("<ACK", "<BYE", ">200 OK dialog")

SCENARIOS = (
    Scenario("answered", (INVITE, *RING, OK, ACK, 300, *BYE),
             ("<INVITE", 100, ">180 Ringing", 100, ">200 OK sdp", *TAKES_BYE), "completed", 200, 0.1, 0.3),
    Scenario("busy", (INVITE, "<486", ACK), ("<INVITE", 50, ">486 Busy Here", "<ACK"), "busy", 486),
    Scenario("noanswer", (INVITE, *RING, "<480", ACK), ("<INVITE", 50, ">180 Ringing", 300, ">480 Unavailable", "<ACK"),
             "no_answer", 480, 0.05),
    Scenario("cancelled", (INVITE, *RING, 100, ">CANCEL 1", "<200", "<487", ACK),
             ("<INVITE", 50, ">180 Ringing", "<CANCEL", ">200 OK", ">487 Request Terminated of INVITE", "<ACK"),
             "cancelled", 487, 0.05),
    Scenario("cancelrace", (INVITE, *RING, 100, ">CANCEL 1", "<200", "<200", ACK, 200, *BYE),
             ("<INVITE", 50, ">180 Ringing", "<CANCEL", ">200 OK sdp of INVITE", ">200 OK", *TAKES_BYE),
             "completed", 200, 0.05, 0.2, "cancel_race"),
    Scenario("redirected", (INVITE, "<302", ACK), ("<INVITE", ">302 Moved", "<ACK"), "redirected", 302),
    Scenario("auth", (INVITE, "<401", ACK, ">INVITE 2 sdp proof", OK, ">ACK 2", 200, *BYE),
             ("<INVITE", ">401 Unauthorized", "<ACK", "<INVITE", 50, ">200 OK sdp", *TAKES_BYE),
             "completed", 200, 0.05, 0.2, attempts=2),
    Scenario("noretry", (INVITE, "<401", ACK), ("<INVITE", ">401 Unauthorized", "<ACK"), "challenged", 401),
    Scenario("forked", (INVITE, *RING, "<180", OK, ACK, 200, *BYE),
             ("<INVITE", 50, ">180 Ringing", ">180 Ringing tag other", 50, ">200 OK sdp", *TAKES_BYE),
             "completed", 200, 0.05, 0.2, branches=2),
    Scenario("hold", (INVITE, OK, ACK, 100, ">INVITE 2 sdp held", OK, ">ACK 2", 200, *BYE),
             ("<INVITE", 50, ">200 OK sdp", "<ACK", "<INVITE", ">200 OK sdp dialog", *TAKES_BYE),
             "completed", 200, 0.05, 0.3),
    Scenario("early", (INVITE, "<183", OK, ACK, 200, *BYE),
             ("<INVITE", 50, ">183 Session Progress sdp", 100, ">200 OK sdp", *TAKES_BYE), "completed", 200, 0.05, 0.2),
    Scenario("silent", (INVITE, 100), (), "trying", None),
    Scenario("closed", (INVITE, 100), (), "trying", None, flag="icmp_unreachable"),
)  # fmt: skip


def script(scenario: Scenario, *, caller: bool) -> str:
    """Give one side of a scenario as sipp's XML."""
    steps = scenario.caller if caller else scenario.callee
    told = "".join(_step(one, caller) for one in steps)
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="{scenario.name}">\n{told}</scenario>\n'


def _step(step: Step, caller: bool) -> str:
    if isinstance(step, int):
        return f'<pause milliseconds="{step}"/>\n'
    what = step[1:]
    if step[0] == "<":
        kind = "response" if what[0].isdigit() else "request"
        optional = ' optional="true"' if what.endswith("?") else ""
        return f'<recv {kind}="{what.rstrip("?")}"{optional}/>\n'
    text = _request(what.split()) if caller else _response(what)
    return f"<send><![CDATA[\n\n{text}\n]]></send>\n"


def _request(words: list[str]) -> str:
    method, number = words[0], words[1]
    branch = f"z9hG4bK-[pid]-[call_number]-{number if method != 'BYE' else 'bye'}"
    dialog = "sdp" in words and "held" in words or method == "BYE" or method == "ACK"
    to = "[peer_tag_param]" if dialog else ""
    lines = [
        f"{method} sip:b@[remote_ip]:[remote_port] SIP/2.0",
        ASKS.format(branch=branch),
        f"To: <sip:b@[remote_ip]>{to}",
        "Call-ID: [call_id]",
        f"CSeq: {number} {method}",
        "Contact: <sip:a@[local_ip]:[local_port]>",
        "Max-Forwards: 70",
    ]
    if "proof" in words:
        lines.append('Authorization: Digest username="a", realm="x", nonce="1", uri="sip:b@x", response="0"')
    body = SDP.format("sendonly" if "held" in words else "sendrecv") if "sdp" in words else ""
    return "\n".join([*lines, END.format(body) if body else "Content-Length: 0\n"])


def _response(what: str) -> str:
    has_sdp, of_invite = " sdp" in what, " of INVITE" in what
    tag = ";tag=other[call_number]" if " tag other" in what else ";tag=t[call_number]"
    line = what
    for mark in (" sdp", " of INVITE", " tag other", " dialog"):
        line = line.replace(mark, "")
    text = ANSWERS.format(to="[last_To:]" + ("" if " dialog" in what else tag))
    if of_invite:
        text = text.replace("[last_CSeq:]", "CSeq: 1 INVITE")
    return "\n".join(
        [f"SIP/2.0 {line}", text, END.format(SDP.format("sendrecv")) if has_sdp else "Content-Length: 0\n"]
    )
