"""Secrets in a task's plain data: covered where it is shown, refused where it would be kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otus_core.config.exposed import pair_covered, warn_of_files
from otus_core.config.mask import MASK, mask
from otus_core.errors import ConfigInvalid, ConfigProblem
from otus_core.plugins.registry import Registry
from otus_core.task.config import CAPTURE_KEYS
from otus_core.task.inherit import LISTS


def refuse_secrets(data: Mapping[str, Any], registry: Registry) -> None:
    """See to it that a valid task names no secret itself, because it is kept on disk.

    Raises ConfigInvalid, which names each secret's key and never its value.
    """
    problems = [ConfigProblem(path, _advice(path)) for path, _ in pair_covered(mask_task(data, registry), data)]
    if problems:
        raise ConfigInvalid(problems)


def _advice(path: str) -> str:
    key = path.rpartition(".")[2]
    return (
        "is a secret, and the daemon keeps its tasks on disk: write it to a file and name that file in "
        f"{key}_file, or give it in the daemon's configuration, where tasks inherit it from"
    )


def find_exposed_files(data: Mapping[str, Any], registry: Registry) -> list[str]:
    """Give a warning for each file of secrets that a valid task names and that others can read."""
    return warn_of_files(pair_covered(mask_task(data, registry, "secret_file"), data))


def mask_task(data: Mapping[str, Any], registry: Registry, which: str = "secret") -> dict[str, Any]:
    """Give a task's plain data with the secrets of its components covered (or what else ``mask`` knows); of a component
    that is not installed all options are.
    """
    masked = dict(data)
    if isinstance(data.get("capture"), Mapping):
        masked["capture"] = _mask("capturer", data["capture"], data["capture"], registry, which)
    for key in LISTS:
        if isinstance(data.get(key), (list, tuple)):
            masked[key] = [_mask_entry(key.removesuffix("s"), entry, registry, which) for entry in data[key]]
    return masked


def _mask_entry(kind: str, entry: Any, registry: Registry, which: str) -> Any:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("config"), Mapping):
        return entry
    return {**entry, "config": _mask(kind, entry, entry["config"], registry, which)}


def _mask(
    kind: str, entry: Mapping[str, Any], config: Mapping[str, Any], registry: Registry, which: str
) -> dict[str, Any]:
    try:
        cls = registry.component(kind, str(entry.get("type", entry.get("name")))).declaration.load_config()
        masked: dict[str, Any] = mask(config, cls, which=which)
    except (Exception, SystemExit):  # it is not installed, or broken: nobody can say which of its options are secret
        if which != "secret":  # nor which of them name files
            return dict(config)
        # Rather all of them than one: what is covered can be read in the task's own file.
        return {key: value if key in CAPTURE_KEYS else MASK for key, value in config.items()}
    return masked
