"""A whole task file to begin with, from an expression such as ``afpacket/sip,filter/console``.

In: the expression and the registry. Out: YAML that is valid as it is, with every other option of each component
commented out. Raises ConfigInvalid.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from otus_core.config.sample import example_of, outline
from otus_core.declarations import KINDS
from otus_core.errors import ConfigInvalid, PluginNotFound
from otus_core.plugins.registry import Registered, Registry
from otus_core.task.options import CaptureOptions, ParserOptions, ProcessorOptions, ReporterOptions, TaskOptions

FORM = "CAPTURER/PARSER,PROCESSOR,…/REPORTER,…"
PARTS_MAX = 64
"""Each component that is named is imported: a long expression must not take for ever."""
HEAD = """\
# A task made from {expression}
#
# Replace what is marked CHANGE-ME, and examples such as an interface; remove the # before a key to set it.
# `otus validate -f FILE` checks it, `otus run --task FILE` runs it, `otus task create -f FILE` gives it to the daemon.

"""
LISTS: tuple[tuple[str, type], ...] = (
    ("parser", ParserOptions),
    ("processor", ProcessorOptions),
    ("reporter", ReporterOptions),
)
OWN = ("type", "config")


def task_sample(expression: str, registry: Registry) -> str:
    """Give the file. Between capturer and reporters stand parsers and processors, in order; without a parser every
    installed one is used.
    """
    stages = [[name.strip() for name in stage.split(",")] for stage in expression.split("/")]
    if len(stages) < 2 or len(stages[0]) != 1 or not all(name for stage in stages for name in stage):
        raise ConfigInvalid(f"{expression!r} is no pipeline: write {FORM}, such as afpacket/sip,filter/console")
    if sum(map(len, stages)) > PARTS_MAX:
        raise ConfigInvalid(f"the pipeline has more than {PARTS_MAX} parts")
    capturer = _component(registry, stages[0][0], ("capturer",))
    between = [_component(registry, name, ("parser", "processor")) for stage in stages[1:-1] for name in stage]
    chosen = {
        "parser": [one for one in between if one.declaration.kind == "parser"],
        "processor": [one for one in between if one.declaration.kind == "processor"],
        "reporter": [_component(registry, name, ("reporter",)) for name in stages[-1]],
    }
    listed = [f"{kind}s" for kind, _ in LISTS]
    parts = [
        HEAD.format(expression=" ".join(expression.split())),
        outline(TaskOptions, 0, {"id": "sample"}, ("capture", *listed)),
    ]
    parts += [_capture(capturer)]
    parts += [_list(kind, chosen[kind], options) for kind, options in LISTS]
    return "\n".join(parts)


def _component(registry: Registry, name: str, kinds: Sequence[str]) -> Registered:
    """Find what a name in the expression stands for; ``KIND:NAME`` says of which kind it is."""
    given, colon, bare = name.rpartition(":")
    if colon and given not in kinds:
        raise ConfigInvalid(f"{name!r}: here stands a {' or a '.join(kinds)}")
    found, refusals = [], []
    for kind in (given,) if colon else kinds:
        try:
            found.append(registry.component(kind, bare))
        except PluginNotFound as error:
            refusals.append(str(error))
    if len(found) > 1:
        raise ConfigInvalid(f"{name!r} is a {' and a '.join(kinds)}: write {kinds[0]}:{bare} or {kinds[1]}:{bare}")
    if not found:
        raise ConfigInvalid(_nearest(refusals) + _elsewhere(registry, bare, kinds))
    return found[0]


def _nearest(refusals: Sequence[str]) -> str:
    """Of what several kinds say to a name, give what helps most: what to install, or a name like it."""
    return next((refusal for refusal in refusals if "there are:" not in refusal), refusals[0])


def _elsewhere(registry: Registry, name: str, kinds: Sequence[str]) -> str:
    others = [one.declaration for kind in KINDS if kind not in kinds for one in registry.components(kind)]
    kind = next((one.kind for one in others if one.name == name), None)
    return "" if kind is None else f" (there is a {kind.replace('_', ' ')} of this name; the form is {FORM})"


def _capture(one: Registered) -> str:
    cls = one.declaration.load_config()
    lines = f"# {one.declaration.summary}\ncapture:\n  type: {one.declaration.name}\n"
    return lines + outline(CaptureOptions, 2, {}, OWN) + outline(cls, 2, example_of(cls))


def _list(kind: str, chosen: Sequence[Registered], options: type) -> str:
    if not chosen:
        return "" if kind != "parser" else "# Every installed parser is used, because none is named.\n#parsers: []\n"
    return f"{kind}s:\n" + "".join(_entry(one, options) for one in chosen)


def _entry(one: Registered, options: type) -> str:
    cls = one.declaration.load_config()
    example: dict[str, Any] = example_of(cls)
    own = outline(cls, 6, example)
    key = "config" if example else "#config"
    config = f"    {key}:\n{own}" if own else ""
    about = f"  # {one.declaration.summary}\n  - type: {json.dumps(one.declaration.name)}\n"
    return about + outline(options, 4, {}, OWN) + config
