"""What ``--help``, completion and ``plugins list`` need is known without importing a plugin in their process: not one
that is disabled at all, and not one that would end it or hold it up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otus_core.plugins import cache
from tests.core.plugins.distributions import Site, good
from tests.e2e.node import Node

WHERE = """
import os, sys
with open({mark!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")
"""
COMMANDS = """
@otus_core.hookimpl
def otus_cli_commands():
    return {"ships": otus_core.CommandGroup(app="fleet_cli:app", summary="Many nodes")}
"""
FLEET = {"fleet_cli": "import typer\napp = typer.Typer()\n@app.command()\ndef sail():\n    print('sailing')\n"}
SHORT = "import otus_core.plugins.look as look; look.LIMIT_S = 2.0"
"""What is done first where a plugin hangs."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-fine", good("fine"))
    return site


def install_marked(site: Site, name: str = "quiet", more: str = "") -> Path:
    """Install a plugin that tells in a file which processes import it."""
    mark = site.folder / f"imported-{name}"
    source = WHERE.format(mark=str(mark)) + good(name) + COMMANDS + more
    site.install(f"otus-plugin-{name}", source, modules=FLEET)
    return mark


def completed(site: Site, words: str, **environment: str) -> list[str]:
    about = {"_OTUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    return site.otus(**about, **environment).stdout.split()


LOOKS = {
    "the help": ("--help",),
    "the list": ("plugins", "list"),
    "a command of the core": ("plugins", "list", "--help"),
    "a command that is not there": ("nonsense",),
    "a run": ("run", "examples/call.pcap", "-q", "--parser", "sip"),
}
LEFT_OUT = {
    "by its name": (("--no-plugin", "quiet"), {}),
    "by its distribution": (("--no-plugin", "otus-plugin-quiet"), {}),
    "in safe mode": (("--safe",), {}),
    "by OTUS_DISABLED_PLUGINS": ((), {"OTUS_DISABLED_PLUGINS": "otus_plugin_quiet"}),
    "by OTUS_PLUGINS_DISABLED": ((), {"OTUS_PLUGINS_DISABLED": "quiet"}),
    "by OTUS_PLUGINS_ENABLED": ((), {"OTUS_PLUGINS_ENABLED": "fine, otus-plugin-pcap, sip, console"}),
}


@pytest.mark.parametrize(("arguments", "environment"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_a_plugin_that_is_left_out_is_never_imported(
    site: Site, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    mark = install_marked(site)
    for command in LOOKS.values():
        site.otus(*arguments, *command, **environment)
        assert not mark.exists(), command
    assert completed(site, " ".join(("otus", *arguments, "sh")), **environment) == []
    assert not mark.exists()


def test_what_is_shown_is_imported_once_and_elsewhere(site: Site) -> None:
    """The process that shows it is not the one that imports it, and when nothing changed nothing is imported again."""
    mark = install_marked(site)
    first = "import os, sys; sys.stderr.write(f'{os.getpid()}\\n')"
    pids = [site.otus("--help", first=first).stderr.strip() for _ in range(2)]
    assert "ships" in site.otus("--help").stdout
    assert "ships" in completed(site, "otus sh")
    assert site.row("otus-plugin-quiet")["state"] == "ready"
    assert len(imports := mark.read_text().split()) == 1
    assert imports[0] not in pids


def test_a_command_of_a_plugin_runs_without_loading_the_others(site: Site) -> None:
    mark = install_marked(site)
    other = site.folder / "imported-other"
    site.install("otus-plugin-other", WHERE.format(mark=str(other)) + good("other"))
    site.otus("--help")
    mark.unlink()
    other.unlink()
    assert site.otus("ships", "sail").stdout == "sailing\n"
    assert not mark.exists() and not other.exists()


KILLERS = {
    "ends the process": ("import os; os._exit(3)", "importing it ends the process, with exit status 3"),
    "ends it well": ("import os; os._exit(0)", "importing it ends the process, with exit status 0"),
    "crashes": ("import os; os.kill(os.getpid(), 11)", "importing it ends the process, by SIGSEGV"),
    "hangs": ("import time; time.sleep(600)", "it is not imported within 2 s"),
    "closes every file and hangs": ("import os, time; os.closerange(0, 99); time.sleep(600)", "by SIGKILL"),
    "interrupts": ("raise KeyboardInterrupt", "importing it ends the process, "),
}


@pytest.mark.parametrize(("source", "reason"), KILLERS.values(), ids=KILLERS)
def test_one_that_kills_at_import_harms_nobody(site: Site, source: str, reason: str, examples: Path) -> None:
    """It is shown with stage and reason; the help, a run and a validation go on without it."""
    site.install("otus-plugin-killer", source)
    site.install("otus-plugin-zebra", good("zebra"))
    assert site.otus("--help", first=SHORT).returncode == 0
    listed = site.otus("plugins", "list", "--json", first=SHORT)
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    killer = rows["killer"]
    assert (killer["state"], killer["stage"]) == ("failed", "import")
    assert reason in killer["reason"] and killer["remedy"].endswith("--no-plugin killer")
    assert (rows["fine"]["state"], rows["zebra"]["state"], rows["discard"]["state"]) == ("ready", "ready", "ready")
    ran = site.otus("run", str(examples / "call.pcap"), "--parser", "sip", "--format", "json", first=SHORT)
    assert (ran.returncode, ran.stdout.count("\n")) == (0, 7), ran.stderr
    assert "killer" in ran.stderr and killer["reason"] in ran.stderr
    workers = site.otus("run", str(examples / "call.pcap"), "-w", "2", "--parser", "sip", "-q", first=SHORT)
    assert (workers.returncode, workers.stdout.count("\n")) == (0, 7), workers.stderr


def test_safe_help_does_not_even_look_at_one_that_hangs(site: Site) -> None:
    site.install("otus-plugin-killer", "import time; time.sleep(600)")
    for command in (("--safe", "--help"), ("--safe", "plugins", "list"), ("--no-plugin", "killer", "--help")):
        assert site.otus(*command, first="import otus_core.plugins.look as look; look.LIMIT_S = 999.0").returncode == 0


def test_one_that_starts_threads_and_processes_holds_nobody_up(site: Site) -> None:
    """What it started in the process that looks at it ends with that process."""
    mark = site.folder / "child"
    source = f"""
import subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
with open({str(mark)!r}, "a") as file:
    file.write(f"{{child.pid}}\\n")
"""
    site.install("otus-plugin-busy", source + good("busy"))
    assert site.row("otus-plugin-busy")["state"] == "ready"
    (pid,) = mark.read_text().split()
    assert not is_running(int(pid))


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_plugin_that_changed_is_looked_at_again(site: Site) -> None:
    mark = install_marked(site)
    assert site.row("otus-plugin-quiet")["summary"] == "quiet"
    module = site.folder / "otus_plugin_quiet.py"
    module.write_text(module.read_text().replace('summary="quiet"', 'summary="loud, and longer"'))
    assert site.row("otus-plugin-quiet")["summary"] == "loud, and longer"
    (site.folder / "otus_plugin_quiet-1.0.dist-info" / "RECORD").write_text("changed,,\n")
    assert site.row("otus-plugin-quiet")["summary"] == "loud, and longer"
    assert len(mark.read_text().split()) == 3


def test_the_list_looks_again_at_what_failed_and_the_help_does_when_something_was_installed(site: Site) -> None:
    mark = site.folder / "imported-broken"
    site.install("otus-plugin-broken", WHERE.format(mark=str(mark)) + "import later\n" + good("broken") + COMMANDS)
    for _ in range(2):
        assert "ships" not in site.otus("--help").stdout
    assert len(mark.read_text().split()) == 1
    assert site.row("otus-plugin-broken")["stage"] == "import"
    assert len(mark.read_text().split()) == 2
    (site.folder / "later.py").write_text("")
    assert "ships" in site.otus("--help").stdout
    assert site.row("otus-plugin-broken")["state"] == "ready"


DAMAGE = {
    "empty": b"",
    "cut": b'{"format": 1, "entr',
    "another format": b'{"format": 99, "entries": {}}',
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe\x00",
    "huge": b" " * ((1 << 18) + 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_written_anew(site: Site, damage: bytes) -> None:
    mark = install_marked(site)
    site.otus("--help")
    site.cache.write_bytes(damage)
    assert "ships" in site.otus("--help").stdout
    assert "ships" in site.otus("--help").stdout
    assert len(mark.read_text().split()) == 2


ODD = [
    {},
    {"stage": "ready"},
    {"stage": "nowhere", "reason": ""},
    {"stage": "ready", "reason": 7},
    {"stage": "ready", "reason": "", "components": [{"kind": "parser"}]},
    {"stage": "ready", "reason": "", "components": [{"kind": "parser", "name": "x", "odd": "y"}]},
    {"stage": "ready", "reason": "", "components": 5},
    {"stage": "ready", "reason": "", "commands": {"x": "y"}},
    {"stage": "ready", "reason": "", "commands": []},
    {"stage": "ready", "reason": "", "files": {}},
    {"stage": "ready", "reason": "", "files": [["/", "x"]]},
    {"stage": "ready", "reason": "", "complaints": [None]},
    None,
    [],
]


def test_entries_that_make_no_sense_are_left_alone(site: Site) -> None:
    mark = install_marked(site)
    site.otus("--help")
    for first in (0, len(ODD) // 2):
        kept = json.loads(site.cache.read_text())
        for n, entry in enumerate(kept["entries"].values()):
            entry["said"] = ODD[(first + n) % len(ODD)]
        site.cache.write_text(json.dumps(kept))
        done = site.otus("--help")
        assert (done.returncode, "ships" in done.stdout, done.stderr) == (0, True, "")
    assert len(mark.read_text().split()) == 3


def test_a_cache_that_others_can_write_or_read_is_not_believed(site: Site) -> None:
    mark = install_marked(site)
    site.otus("--help")
    looks = 1
    for path, mode in (
        (site.cache, 0o644),
        (site.cache, 0o620),
        (site.cache.parent, 0o777),
        (site.cache.parent, 0o770),
    ):
        was = path.stat().st_mode & 0o777
        path.chmod(mode)
        site.otus("--help")
        looks += 1
        assert len(mark.read_text().split()) == looks, (path.name, oct(mode))
        path.chmod(was)
        site.cache.chmod(0o600)
        site.otus("--help")
        looks = len(mark.read_text().split())


def test_the_cache_is_its_users_alone(site: Site) -> None:
    install_marked(site)
    site.otus("--help")
    assert site.cache.stat().st_mode & 0o777 == 0o600
    assert site.cache.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_root_believes_no_cache_of_another_user_and_leaves_nothing_there(site: Site) -> None:
    """The file names code that is imported: whoever may write it would command whoever reads it."""
    mark = install_marked(site)
    site.otus("--help")
    planted = json.loads(site.cache.read_text())
    for entry in planted["entries"].values():
        entry["said"]["commands"] = {"ships": ["planted:app", "Planted"]}
    home = site.cache.parents[1]
    for owned in ((site.cache,), (site.cache, site.cache.parent), (site.cache, site.cache.parent, home)):
        site.cache.write_text(json.dumps(planted))
        for path in (site.cache, site.cache.parent, home):
            os.chown(path, *((1234, 1234) if path in owned else (0, 0)))
        done = site.otus("--help")
        assert (done.returncode, "Planted" in done.stdout, "Many nodes" in done.stdout) == (0, False, True)
    assert {path.name for path in site.cache.parent.iterdir()} == {"plugins.json"}
    assert json.loads(site.cache.read_text()) == planted
    site.cache.unlink()
    site.cache.parent.rmdir()
    assert "ships" in site.otus("--help").stdout
    assert list(home.iterdir()) == []
    assert mark.exists()


def test_a_link_in_the_place_of_the_cache_is_not_followed(site: Site) -> None:
    mark = install_marked(site)
    site.otus("--help")
    elsewhere = site.folder / "elsewhere.json"
    site.cache.rename(elsewhere)
    site.cache.symlink_to(elsewhere)
    kept = elsewhere.read_bytes()
    assert "ships" in site.otus("--help").stdout
    assert len(mark.read_text().split()) == 2
    assert elsewhere.read_bytes() == kept


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null", "relative/path", ""])
def test_a_cache_that_cannot_be_written_does_no_harm(site: Site, home: str) -> None:
    install_marked(site)
    folder = site.folder / "poor"
    folder.mkdir(exist_ok=True)
    for _ in range(2):
        done = site.otus("--help", XDG_CACHE_HOME=home, HOME="/proc/nowhere")
        assert (done.returncode, "ships" in done.stdout, done.stderr) == (0, True, "")
    assert not Path("relative").exists()


def test_two_commands_at_once_leave_a_whole_cache(site: Site) -> None:
    install_marked(site)
    command = [sys.executable, "-c", "import sys; from otus_core.cli import main; sys.exit(main())", "--help"]
    about = {**os.environ, "PYTHONPATH": str(site.folder), "XDG_CACHE_HOME": str(site.folder / "home")}
    running = [subprocess.Popen(command, env=about, stdout=subprocess.PIPE) for _ in range(4)]
    assert all(b"ships" in one.communicate(timeout=60)[0] for one in running)
    json.loads(site.cache.read_text())
    assert [path.name for path in site.cache.parent.iterdir()] == ["plugins.json"]


def test_the_cache_stays_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The newest entries are kept, as many as there is room for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.write({str(n): {"at": n} for n in range(1000)})
    assert set(cache.read()) == {str(n) for n in range(1000 - cache.ENTRIES_MAX, 1000)}
    cache.write({str(n): {"at": n, "said": "x" * 10_000} for n in range(60)})
    kept = cache.read()
    assert "59" in kept and 10 <= len(kept) < 30
    cache.write({"huge": {"at": 1, "said": "x" * cache.SIZE_MAX}})
    assert cache.read() == {}


STRANGE = {
    "--no-plugin": (("--no-plugin", "fien"), "", {}, "--no-plugin: there is no plugin 'fien'; did you mean 'fine'?"),
    "OTUS_DISABLED_PLUGINS": (
        (),
        "",
        {"OTUS_DISABLED_PLUGINS": "fien"},
        "OTUS_DISABLED_PLUGINS: there is no plugin 'fien'; did you mean 'fine'?",
    ),
    "OTUS_PLUGINS_DISABLED": (
        (),
        "",
        {"OTUS_PLUGINS_DISABLED": "fien"},
        "plugins.disabled: there is no plugin 'fien'; did you mean 'fine'?",
    ),
    "disabled": ((), "disabled: [fien]", {}, "plugins.disabled: there is no plugin 'fien'; did you mean 'fine'?"),
    "enabled": ((), "enabled: [fien]", {}, "plugins.enabled: there is no plugin 'fien'; did you mean 'fine'?"),
    "a distribution": (
        (),
        "enabled: [otus-plugin-fien]",
        {},
        "plugins.enabled: there is no plugin 'otus-plugin-fien'; did you mean 'otus-plugin-fine'?",
    ),
    "who is preferred": (
        (),
        'prefer: {"parser:sip": otus-plugin-spi}',
        {},
        "plugins.prefer: there is no plugin 'otus-plugin-spi'; did you mean 'otus-plugin-sip'?",
    ),
    "what is preferred": (
        (),
        'prefer: {"parsr:sip": otus-plugin-sip}',
        {},
        "plugins.prefer: 'parsr:sip' is no KIND:NAME of a component; did you mean 'parser:sip'?",
    ),
}


@pytest.mark.parametrize(("arguments", "plugins", "environment", "told"), STRANGE.values(), ids=STRANGE)
def test_a_name_that_nobody_has_is_told_with_a_suggestion(
    site: Site, arguments: tuple[str, ...], plugins: str, environment: dict[str, str], told: str
) -> None:
    config = site.folder / "config.yml"
    config.write_text(f"otus: {{plugins: {{{plugins}}}}}")
    done = site.otus("-c", str(config), *arguments, "plugins", "list", **environment)
    assert (done.returncode, done.stderr) == (0, f"otus: {told}\n")


def test_a_variable_that_chooses_nothing_is_refused(site: Site) -> None:
    """What it was to keep out would be loaded."""
    mark = install_marked(site)
    done = site.otus("plugins", "list", OTUS_PLUGINS_DISABELD="quiet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "OTUS_PLUGINS_DISABELD: there is no such variable; did you mean OTUS_PLUGINS_DISABLED?" in done.stderr
    assert not mark.exists()


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("n"))
    yield made
    made.end()


def test_the_daemon_starts_without_one_that_kills(site: Site, node: Node) -> None:
    """It is told as every broken plugin is; one that is left out by a variable, or misspelt there, is told as well."""
    mark = install_marked(site)
    site.install("otus-plugin-killer", "import os; os._exit(3)")
    node.start(PYTHONPATH=str(site.folder), XDG_CACHE_HOME=str(site.folder), OTUS_PLUGINS_DISABLED="quiet, fien")
    rows = {row["name"]: row for row in node.rpc("plugin_list")["result"]["plugins"]}
    assert (rows["killer"]["stage"], rows["quiet"]["stage"], rows["fine"]["stage"]) == ("import", "disabled", "ready")
    assert "with exit status 3" in rows["killer"]["reason"]
    assert not mark.exists()
    told = [event["message"] for event in node.log() if event["event"] == "configuration"]
    assert "plugins.disabled: there is no plugin 'fien'; did you mean 'fine'?" in told
    (failed,) = [event for event in node.log() if event["event"] == "plugin_failed"]
    assert (failed["plugin"], failed["stage"]) == ("killer", "import")
