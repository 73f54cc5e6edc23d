"""Makes the pictures of the documentation: what real commands write to a terminal of a certain width, as SVG.

``nox -s pictures`` writes them to ``docs/pictures``; a test runs the commands again and compares the text. They name
no font of another host, as rich's own template would.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
OTUS = Path(sys.executable).with_name("otus")
OFFICE = "examples/office.pcap.gz"
PICTURES: dict[str, tuple[int, str]] = {
    "calls": (120, f"otus calls {OFFICE}"),
    "problems": (120, f"otus calls {OFFICE} --problems"),
    "ladder": (92, f"otus ladder {OFFICE} --call 5"),
    "media": (112, f"otus media {OFFICE}"),
}
"""By name: the width of the terminal, and the command."""
LINES = 60
THEME = TerminalTheme(
    (16, 24, 32), (216, 222, 230),
    [(16, 24, 32), (240, 113, 120), (126, 200, 140), (240, 200, 110), (120, 170, 245), (198, 146, 233),
     (100, 200, 210), (216, 222, 230)],
    [(110, 124, 140), (255, 140, 145), (150, 225, 165), (255, 220, 140), (150, 190, 255), (215, 170, 250),
     (130, 220, 230), (255, 255, 255)],
)  # fmt: skip
"""Foreground on background, then the eight colours, and the same brighter."""
REMOTE = re.compile(r"\s*@font-face \{.*?\}\n|\s*<!--.*?-->", re.DOTALL)
FAMILY = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def shown(width: int, command: str) -> str:
    """Run a command at a terminal; gives what it wrote to standard output, with its colours. Raises
    CalledProcessError.
    """
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (LINES, width))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "HOME": os.devnull}
    process = subprocess.Popen(
        [OTUS, *command.split()[1:]], cwd=ROOT, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment
    )
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: nobody has the other end open any more
            break
        written += piece
        if not piece:
            break
    os.close(master)
    _, errors = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, written, errors)
    return written.decode().replace("\r\n", "\n")


def picture(name: str) -> str:
    """Give a picture: the command after a prompt, and what it writes."""
    width, command = PICTURES[name]
    text = Text.from_ansi(shown(width, command).rstrip("\n") + "\n\n")  # a last line is cut at its feet
    width = max(cell_len(line) for line in text.plain.splitlines()) + 1
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    prompt = Text.assemble(("$ ", "bright_black"), (command, "bold bright_white"))
    console.print(prompt, no_wrap=True, overflow="ignore")
    console.print(text, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True, end="")
    svg = console.export_svg(title="", theme=THEME, unique_id=f"otus-{name}", font_aspect_ratio=0.61)
    svg = REMOTE.sub("\n", svg).replace("Fira Code, monospace", FAMILY).replace("Fira Code", FAMILY)
    return re.sub(r"\n\s*\n+", "\n", svg).rstrip() + "\n"


def text_of(svg: str) -> list[str]:
    """Give the lines of text that a picture shows."""
    lines: dict[float, str] = {}
    for at, text in re.findall(r'<text [^>]*?y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        lines[float(at)] = lines.get(float(at), "") + text
    return [lines[at].replace("&#160;", " ").rstrip() for at in sorted(lines)]


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(picture(name))
        sys.stdout.write(f"{FOLDER / name}.svg\n")


if __name__ == "__main__":
    main()
