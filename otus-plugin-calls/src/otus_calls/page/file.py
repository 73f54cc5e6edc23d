"""Makes one self-contained HTML file: style, script and data are in it, and it asks the network for nothing.

The data stand in an element of the type ``application/json``, in which no character can end it or begin another. The
page's policy (CSP) lets run only the script whose digest it names, and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""HTML ends an element of data at ``</script``, and begins a comment at ``<!--`` (HTML standard, script data state)."""


def page_of(content: Mapping[str, Any]) -> bytes:
    """Give the page."""
    folder = files("otus_calls.page")
    page, style, script = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in _ESCAPES.items():
        data = data.replace(character, escape)
    parts = {"style": style, "script": script, "style_digest": _digest(style), "script_digest": _digest(script)}
    for name, text in {**parts, "data": data}.items():  # the data last: nothing in them is looked for
        page = page.replace(f"@{name}@", text)
    return page.encode("utf-8", "backslashreplace")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
