"""SIP messages and their session descriptions, as a library: ``otus_sip.parse(data)``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otus_sip.message import NameAddress, SipMessage, parse
    from otus_sip.sdp import Media, Sdp

__version__ = "0.1.0"
__all__ = ["Media", "NameAddress", "Sdp", "SipMessage", "parse"]
_WHERE = {"NameAddress": "message", "SipMessage": "message", "parse": "message", "Media": "sdp", "Sdp": "sdp"}


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'otus_sip' has no attribute {name!r}")
    value = getattr(import_module(f"otus_sip.{module}"), name)
    globals()[name] = value
    return value
