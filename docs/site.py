"""Lays out the site: the repository's documents link to each other as they lie there; here they become pages.

In: Markdown anywhere in the repository, and ``docs/zensical.toml``. Out: a project in ``.cache/site``, whose folder
``site`` holds the built site. ``nox -s docs`` runs both steps; Zensical's strict mode then checks links and anchors.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / ".cache" / "site"
CONFIG = "zensical.toml"
ASSETS = ("pictures/*.svg", "style.css", "ansible/*.yml")
"""What pages show beside text, below ``docs``."""
LINK = re.compile(
    r"(?P<code>```.*?```|`[^`\n]+`)"  # what looks like a link in code is none; where both begin, the first one counts
    r"|(?P<image>!?)\[(?P<shown>(?:[^\]`]|`[^`\n]*`)*)\]\((?P<link>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)",
    re.DOTALL,
)
PIPED = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
"""Code in a table with an escaped ``|``: code hosts take the backslash away, Python-Markdown shows it."""
FILES = "files"
"""The folder of the site with files of the repository that pages link to."""


def page_names(root: Path = ROOT) -> dict[str, str]:
    """Give the name of each page on the site, by the document's path in the repository."""
    names = {f"docs/{path.relative_to(root / 'docs')}": path for path in (root / "docs").rglob("*.md")}
    pages = {name: name.removeprefix("docs/") for name in names}
    pages |= {
        f"{path.parent.name}/README.md": f"plugins/{path.parent.name}.md" for path in root.glob("otus-*/README.md")
    }
    pages |= {"deploy/README.md": "deploy.md", "README.md": "index.md"}
    pages |= {f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
    return pages


def lay_out(project: Path = PROJECT, root: Path = ROOT) -> None:
    """Write the project anew; the cache of an earlier build stays. Raises ValueError for a link that leads nowhere."""
    pages, files = page_names(root), set[str]()
    target = project / "docs"
    shutil.rmtree(target, ignore_errors=True)
    for source, name in pages.items():
        if source == "README.md":
            continue  # the site has a first page of its own
        text = relinked((root / source).read_text(), source, pages, files, root)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)
    assets = {path: str(path.relative_to(root / "docs")) for one in ASSETS for path in (root / "docs").glob(one)}
    for path, name in {**assets, **{root / file: f"{FILES}/{file}" for file in files}}.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
    shutil.copyfile(root / "docs" / CONFIG, project / CONFIG)


def relinked(text: str, source: str, pages: Mapping[str, str], files: set[str], root: Path) -> str:
    """Give a document whose links are those of the site; files of the repository that it links to go into ``files``."""
    own = pages[source]

    def changed(found: re.Match[str]) -> str:
        image, shown, link, anchor = (found[name] or "" for name in ("image", "shown", "link", "anchor"))
        if found["code"] or not link or "://" in link:
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if not (root / path).exists():
            raise ValueError(f"{source}: {link} leads nowhere")
        if (root / path / "README.md").exists():
            path = f"{path}/README.md"
        if (root / path).is_dir():
            return shown  # a site has no listings of folders
        if image or path.startswith("docs/") and path not in pages:
            name = path.removeprefix("docs/")
        elif path in pages:
            name = pages[path]
        else:
            files.add(path)
            name = f"{FILES}/{path}"
        return f"{image}[{shown}]({os.path.relpath(name, PurePosixPath(own).parent)}{anchor})"

    return PIPED.sub(_unescaped, LINK.sub(changed, text))


def _unescaped(found: re.Match[str]) -> str:
    return f"<code>{html.escape(found[1].replace(chr(92) + '|', '|')).replace('|', '&#124;')}</code>"


def build(project: Path = PROJECT) -> None:
    """Build the laid-out project; ends with Zensical's status where a link or an anchor is wrong."""
    program = Path(sys.executable).with_name("zensical")
    subprocess.run([program, "build", "--strict", "--clean", "-f", project / CONFIG], check=True)


if __name__ == "__main__":
    lay_out()
    build()
