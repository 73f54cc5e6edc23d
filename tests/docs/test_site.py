"""The site builds strictly, holds every document, and works in a browser by itself, on a screen and on a telephone."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from docs.pictures import FOLDER, PICTURES, picture, text_of
from docs.site import build, lay_out, page_names
from tests.needs import tool

WIDTHS = (1280, 390)
PAGES = (
    ".",
    "tutorials/capture",
    "guide",
    "guides/calls",
    "guides/outages",
    "install",
    "kafka",
    "comparison",
    "reference/commands",
    "decisions",
)
"""Those that are looked at: the first one, and one of each kind, with the widest tables and blocks."""
TAKEN = re.compile(
    r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//"
    r"|<link[^>]* rel=\"?(?:stylesheet|preconnect|icon)\"?[^>]* href=\"?(?:https?:)?//"
)
LOOK = """<!doctype html><meta charset="utf-8"><title>look</title><pre id="seen"></pre><script>
const seen = [];
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:900px`;
  frame.src = `${page}/`;
  const loaded = new Promise(done => frame.onload = done);
  document.body.append(frame);
  await loaded;
  const root = frame.contentDocument.documentElement;
  seen.push({page, width, wide: root.scrollWidth, title: frame.contentDocument.querySelector("h1")?.innerText ?? ""});
  frame.remove();
}
(async () => {
  for (const page of PAGES) for (const width of WIDTHS) await look(page, width);
  document.getElementById("seen").textContent = JSON.stringify(seen);
  document.body.dataset.ready = "yes";
})();
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that says nothing of each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("site")
    lay_out(project)
    build(project)
    return project / "site"


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pages_take_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    assert [str(page.relative_to(site)) for page in pages if TAKEN.search(page.read_text())] == []


def test_the_search_finds_words_of_every_page(site: Path) -> None:
    (index,) = site.glob("search*.json")
    found = {item["location"].partition("#")[0] for item in json.loads(index.read_text())["items"]}
    assert {name.removesuffix("index.md").removesuffix(".md") for name in page_names().values()} <= {
        location.removesuffix("/") for location in found
    }


def test_pages_fit_a_screen_and_a_telephone(site: Path, address: str, tmp_path: Path) -> None:
    """In a real browser: no page is wider than the window, none asks another host, and none has an error."""
    assert [page for page in PAGES if not (site / page / "index.html").exists()] == []
    looking = LOOK.replace("PAGES)", f"{json.dumps(PAGES)})").replace("WIDTHS)", f"{list(WIDTHS)})")
    (site / "look.html").write_text(looking)
    log = tmp_path / "net.json"
    done = subprocess.run(
        [
            tool("chromium-headless-shell"), "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=60000",
            "--window-size=1400,1000", "--dump-dom", f"{address}/look.html",
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert 'data-ready="yes"' in done.stdout
    asked = set(re.findall(r'"url":"(\w+://[^/"]*)', log.read_text(errors="replace")))
    assert asked <= {address}, asked
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1])  # type: ignore[index]
    assert len(seen) == len(PAGES) * len(WIDTHS)
    assert [one for one in seen if one["wide"] > one["width"] or not one["title"]] == []


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_what_its_command_prints(name: str) -> None:
    assert text_of((FOLDER / f"{name}.svg").read_text()) == text_of(picture(name)), "nox -s pictures"
