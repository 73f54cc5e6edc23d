"""What the parties say of a stream by SIP: at the end of a call, or in a voice-quality report (RFC 6035)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from otus_core import FlowKey


def take_said(streams: Iterable[Any], owner: Any, context: Mapping[str, Any]) -> None:
    """Add to the streams of a call what one of its parties reports: what it received to those that go to it, and what
    it sent to those that come from it.
    """
    reported = context["reported"]
    if not isinstance(reported, dict):
        return
    for stream in streams:
        way = _way(stream, owner, context.get("tag"), reported)
        if way == "to":
            _note(stream, "receiver", reported.get("by"), reported.get("received"))
        elif way == "from":
            _note(stream, "sender", reported.get("by"), reported.get("sent"))
            _note(stream, "receiver", reported.get("by"), reported.get("peer_received"))


def _note(stream: Any, who: str, by: Any, figures: Any) -> None:
    if isinstance(figures, dict) and figures:
        if stream.said is None:
            stream.said = {}
        stream.said[who] = {"by": by, **figures}


def _way(stream: Any, owner: Any, tag: Any, reported: Mapping[str, Any]) -> str:
    """Say whether a stream goes to the party that reports, or comes from it; empty where that cannot be known."""
    local, remote = _end(reported.get("local")), _end(reported.get("remote"))
    if local or remote:
        return _way_by_ends(stream, local, remote)
    for match in stream.matches:
        if match.owner != owner or tag is None:
            continue
        sender, receiver = match.source or {}, match.destination or {}
        if tag in (receiver.get("tag"), sender.get("peer_tag")):
            return "to"
        if tag in (sender.get("tag"), receiver.get("peer_tag")):
            return "from"
    return ""


def _way_by_ends(stream: Any, local: Mapping[str, Any], remote: Mapping[str, Any]) -> str:
    """The same by what a report names: a stream by its SSRC, else by where it goes to or comes from."""
    ssrc = f"{stream.ssrc:08x}"
    if "ssrc" in local or "ssrc" in remote:
        return "to" if ssrc == remote.get("ssrc") else "from" if ssrc == local.get("ssrc") else ""
    key: FlowKey = stream.flow.key
    src_ip, src_port, dst_ip, dst_port, _ = key.parts()
    for way, ip, port in (("to", dst_ip, dst_port), ("from", src_ip, src_port)):
        if (_pack(local.get("ip")), local.get("port")) == (ip, port):
            return way
    return ""


def _end(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, dict) else {}


def _pack(address: Any) -> bytes:
    try:
        return ip_address(address).packed if isinstance(address, str) else b""
    except ValueError:
        return b""
