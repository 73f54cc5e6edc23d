"""What documents name is there: commands with their options, keys of the configuration and of tasks, files, metrics.

This looks at each document, also where it tells of what no test can do: a node with systemd, a cluster, a fleet.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import otus_core
from docs.man import each_command
from docs.pages import metrics
from otus_core.cli.help import OPTIONS
from otus_core.config.effective import effective_from, is_configuration
from otus_core.config.schema import object_schema
from otus_core.config.shipped import config_schema
from otus_core.plugins.loader import load
from otus_core.task.config import load_task
from tests.house.test_house import DOCUMENTS
from tests.needs import ROOT

PAGES = [path for path in DOCUMENTS if path.name not in ("CHANGELOG.md", "decisions.md")]
"""Those that say how things are; these two also tell how they were."""
BLOCK = re.compile(r"^ *```(\w+)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(?:sudo )?(otus [^`]+)`")
LEADING = re.compile(r"sudo|until|while|do|then|if|[;|&(]+|\w+=.*")
"""After these a command begins."""
GLOBAL = {word.split()[0] for names, _ in OPTIONS for word in names.split(", ")} | {"--help", "--show-completion"}
ALL = dict(each_command())
GROUPS = {path.rpartition(" ")[0] for path in ALL}
TASK = {"id": "t", "capture": {"type": "afpacket", "interface": "lo"}, "reporters": ["discard"]}
REGISTRY = load()


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls(text: str) -> Iterator[list[str]]:
    """Give the command lines of otus, in blocks and within sentences, as words."""
    lines = [
        line for language, body in BLOCK.findall(text) if language in ("console", "sh") for line in body.splitlines()
    ]
    told = [line.removeprefix("$ ") for line in lines if line.startswith(("$ ", "otus ", "sudo ", "for ", "until "))]
    for line in [*told, *SPAN.findall(BLOCK.sub("", text))]:
        words: list[str] | None = None
        before = ";"
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if words is not None and set(word) <= set("();<>|&"):
                yield words
                words = None
            elif words is not None:
                words.append(word)
            elif word.rpartition("/")[2] == "otus" and LEADING.fullmatch(before):
                words = ["otus"]
            before = word


def unknown(words: list[str]) -> list[str]:
    """Give what is no command and no option of it."""
    path, rest = words[0], words[1:]
    while path in GROUPS and (names := [word for word in rest if not word.startswith("-") and "…" not in word]):
        if f"{path} {names[0]}" not in ALL and f"{path} {names[0]}" not in GROUPS:
            return [names[0]] if names[0].islower() else []
        path = f"{path} {names[0]}"
        rest.remove(names[0])
    known = GLOBAL.union(*([*one.opts, *one.secondary_opts] for one in ALL[path].params) if path in ALL else ())
    return [word for word in rest if word.startswith("-") and word != "-" and word.partition("=")[0] not in known]


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_commands_have_the_options_that_are_named(path: Path) -> None:
    assert [(" ".join(words), wrong) for words in calls(path.read_text()) if (wrong := unknown(words))] == []


def test_commands_are_looked_at() -> None:
    assert list(
        calls("```console\n$ sudo otus calls -i eth0 | x -y  # -z\n$ a=1 bin/otus top; b -c\n```\n`otus run --ask`")
    ) == [
        ["otus", "calls", "-i", "eth0"],
        ["otus", "top"],
        ["otus", "run", "--ask"],
    ]
    assert unknown(["otus", "run", "--ask", "--safe", "-"]) == ["--ask"]
    assert unknown(["otus", "task", "made", "t"]) == ["made"]
    assert unknown(["otus", "--safe", "task", "list", "--history"]) == []


def examples() -> Iterator[tuple[str, Any]]:
    """Give what stands in blocks of YAML."""
    for path in PAGES:
        for language, body in BLOCK.findall(path.read_text()):
            if language == "yaml" and path.parent.name != "tutorials":  # which are done, with plugins of their own
                yield ids(path), yaml.safe_load(body)


@pytest.mark.parametrize(("page", "told"), list(examples()))
def test_an_example_of_yaml_is_valid(page: str, told: Any) -> None:
    if is_configuration(told):
        effective_from(told, page, {"OTUS_NODE_IP": "192.0.2.1"}, REGISTRY.config_sections())
        return
    task = {"processors": told} if isinstance(told, list) else told
    load_task({**TASK, **task}, REGISTRY, source=page)


def keys(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give each key of a schema with its path."""
    for name, part in schema.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from keys(part, f"{prefix}{name}.")


def test_keys_of_the_configuration_are_there() -> None:
    known = set(keys(config_schema(REGISTRY.config_sections())["properties"]["otus"]))
    channel = REGISTRY.component("command_channel", "kafka").declaration.load_config()
    known |= {f"command_channel.kafka.{name}" for name in keys(object_schema(channel))}
    tops = {name for name in known if "." not in name}
    wrong = [
        f"{ids(path)}: {name}"
        for path in PAGES
        for name in re.findall(r"`(?:otus\.)?([a-z_]+(?:\.[a-z_]+)+)(?::[^`]*)?`", path.read_text())
        if name.partition(".")[0] in tops and name not in known
    ]
    assert len(known) > 50 and wrong == []


def test_files_of_the_repository_are_there() -> None:
    wrong = [
        f"{ids(path)}: {name}"
        for path in PAGES
        for _, body in BLOCK.findall(path.read_text())
        for name in re.findall(r"(?<![\w/.-])(?:deploy|examples|docs|tests)/[\w./-]*\w", body)
        if not (ROOT / name).exists()
    ]
    assert wrong == []


def test_metrics_and_alerts_are_there() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    known = {*re.findall(r"otus_\w+", metrics()), *alerts, *otus_core.__all__}
    form = re.compile(r"`(otus_\w+_(?:total|ratio|bytes|seconds|state|info)|Otus[A-Z]\w+)\b")
    wrong = [f"{ids(path)}: {name}" for path in PAGES for name in form.findall(path.read_text()) if name not in known]
    assert wrong == []
