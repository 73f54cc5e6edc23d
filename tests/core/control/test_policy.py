"""What a caller from afar may do: the kinds of ways in which a task could name something that is not this
node's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otus_core.config.daemon import AllowConfig
from otus_core.control.policy import check_remote
from otus_core.control.protocol import RpcError
from otus_core.errors import ConfigInvalid
from otus_core.plugins.loader import load
from otus_core.plugins.selection import Selection
from otus_core.task.inherit import TaskDefaults, with_defaults

REGISTRY = load(Selection())
LIVE = {"type": "afpacket", "interface": "eth1"}


def ask(
    task: dict[str, Any], allow: AllowConfig | None = None, form: str = "config", command: str = "task_create"
) -> str:
    """Give why a task is refused, empty if it is not."""
    params = task if form == "bare" else {form: task}
    try:
        check_remote(allow or AllowConfig(), REGISTRY, command, params)
    except RpcError as error:
        return error.message
    return ""


@pytest.mark.parametrize("form", ["config", "task", "bare"])
@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"brokers": ["evil:9092"]}, "brokers"),
        ({"tls": {"enabled": False}}, "tls"),
        ({"sasl": {"mechanism": "PLAIN"}}, "sasl"),
        ({"sasl": {"password_file": "/etc/shadow"}}, "sasl"),
        ({"x": [{"key_file": "/etc/shadow"}]}, "key_file"),
    ],
)
def test_no_destination_login_or_file_comes_from_afar(config: dict[str, Any], told: str, form: str) -> None:
    task = {"id": "x", "capture": LIVE, "reporters": [{"type": "kafka", "config": {"topic": "t", **config}}]}
    refusal = ask(task, form=form)
    assert refusal.startswith("not allowed: reporters[0].config.") and told in refusal


@pytest.mark.parametrize("wrapper", ["task", "config"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_a_task_that_is_wrapped_hides_nothing(wrapper: str, depth: int) -> None:
    """What a task stands below is taken off more than once on its way: the check must not see less than those behind
    it.
    """
    task: dict[str, Any] = {"id": "x", "capture": LIVE}
    task["reporters"] = [{"type": "kafka", "config": {"topic": "t", "brokers": ["evil:9092"]}}]
    for _ in range(depth):
        task = {wrapper: task}
    with pytest.raises((RpcError, ConfigInvalid), match=r"brokers|wrapped more than once|unknown key"):
        check_remote(AllowConfig(), REGISTRY, "task_create", {"config": task})


def test_no_spool_or_other_file_beside_the_options_comes_from_afar() -> None:
    reporter = {"type": "kafka", "spool": {"path": "/etc/cron.d"}, "config": {"topic": "t"}}
    assert "reporters[0].spool.path" in ask({"capture": LIVE, "reporters": [reporter]})


def test_applying_a_task_is_held_to_the_same_as_creating_it() -> None:
    reporter = {"type": "kafka", "config": {"topic": "t", "brokers": ["evil:9092"]}}
    assert "brokers" in ask({"capture": LIVE, "reporters": [reporter]}, command="task_apply")


def test_what_does_not_concern_other_places_is_taken() -> None:
    assert not ask({"capture": LIVE, "reporters": [{"type": "kafka", "config": {"topic": "t"}}, "console"]})


def test_capture_files_are_read_below_allowed_folders_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("/etc")
    allow = AllowConfig(capture_paths=[str(tmp_path / "in")])

    def capture(path: str) -> str:
        return ask({"capture": {"type": "pcap", "path": path}, "reporters": ["console"]}, allow)

    assert not capture(f"{tmp_path}/in/a.pcap")
    for path in (f"{tmp_path}/in/../b.pcap", f"{tmp_path}/in-not/a.pcap", f"{tmp_path}/link/passwd", "a.pcap", "\0"):
        assert "capture_paths" in capture(path), path
    assert "capture_paths" in ask({"capture": {"type": "pcap", "files": ["/etc/passwd"]}})


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]], ids=["mappings", "lists"])
@pytest.mark.parametrize(("depth", "refused"), [(15, False), (16, True), (60, True)])
def test_a_task_from_afar_is_looked_through_to_a_depth_and_refused_beyond(wrap: Any, depth: int, refused: bool) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = wrap(value)
    for task in (
        {"capture": {**LIVE, "x": value}, "reporters": ["console"]},
        {"capture": LIVE, "reporters": [{"type": "console", "x": value}]},
    ):
        assert ask(task) == ("not allowed: the task is nested too deep" if refused else "")


def test_the_lists_of_what_is_allowed() -> None:
    allow = AllowConfig(commands=["task_create"], interfaces=["eth1"], reporters=["kafka"], capturers=["afpacket"])
    assert not ask({"capture": LIVE, "reporters": ["kafka"]}, allow)
    assert "interface eth1" in ask({"capture": {**LIVE, "interface": "eth0"}, "reporters": ["kafka"]}, allow)
    assert "reporter kafka" in ask({"capture": LIVE, "reporters": ["kafka", {"name": "console"}]}, allow)
    assert "capturer afpacket" in ask({"capture": {**LIVE, "type": "pcap"}, "reporters": ["kafka"]}, allow)
    with pytest.raises(RpcError, match="daemon_shutdown is not allowed"):
        check_remote(allow, REGISTRY, "daemon_shutdown", {})


def test_a_login_is_inherited_only_with_its_brokers() -> None:
    """For local tasks too: naming other brokers must not send this node's password there."""
    common = {"brokers": ["own:9092"], "sasl": {"enabled": True, "password": "s"}, "tls": {"enabled": True}, "acks": 1}
    defaults = TaskDefaults(
        components={"reporter:kafka": common}, bound={"reporter:kafka": {"brokers": ("sasl", "tls")}}
    )

    def config(**given: Any) -> dict[str, Any]:
        made = with_defaults({"reporters": [{"type": "kafka", "config": given}]}, defaults)
        return dict(made["reporters"][0]["config"])

    assert config(topic="t") == {**common, "topic": "t"}
    assert config(brokers=["own:9092"]) == common
    assert config(brokers=["other:9092"]) == {"brokers": ["other:9092"], "acks": 1}
    assert config(brokers=["other:9092"], sasl={"enabled": True})["sasl"] == {"enabled": True}
