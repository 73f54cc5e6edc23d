"""Each way in which a plugin can be broken: it alone suffers, and its record says where, why, who and which version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otus_core.plugins.known import who_brings
from otus_core.plugins.missing import why_missing
from tests.core.plugins.distributions import Site, good


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(folder=tmp_path)
    site.install("otus-plugin-fine", good("fine"))
    return site


BROKEN = {
    "fails to import": (
        dict(source="import nowhere_to_be_found"),
        "import",
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    "raises at import": (
        dict(source="raise RuntimeError('\\x1b[31mred\\n' + 'x' * 5000)"),
        "import",
        "RuntimeError: \\x1b[31mred xxx",
    ),
    "calls sys.exit at import": (dict(source="import sys; sys.exit('enough')"), "import", "SystemExit: enough"),
    "misspells a hook": (
        dict(
            source="""
            import otus_core
            @otus_core.hookimpl
            def otus_component():
                return []
            """
        ),
        "validate",
        "there is no hook 'otus_component'",
    ),
    "forgets the mark": (
        dict(source="def otus_components():\n    return []\n"),
        "validate",
        "otus_components is not marked as a hook",
    ),
    "implements nothing": (dict(source="x = 1"), "validate", "otus_plugin_broken implements no hook"),
    "has a wrong hook signature": (
        dict(
            source="""
            import otus_core
            @otus_core.hookimpl
            def otus_components(registry):
                return []
            """
        ),
        "register",
        "otus_components has no argument 'registry'; it has none",
    ),
    "raises in its hook": (
        dict(
            source="""
            import otus_core
            @otus_core.hookimpl
            def otus_components():
                yield otus_core.Parser(name="Not A Name", factory="x:Y", payload_types=("x",))
            """
        ),
        "validate",
        "ValueError: name 'Not A Name': use 1 to 32 of a-z 0-9 _ -, a letter first",
    ),
    "declares something else": (
        dict(
            source="""
            import otus_core
            @otus_core.hookimpl
            def otus_components():
                return ["sip"]
            """
        ),
        "validate",
        "otus_components gave 'sip', not a declaration",
    ),
    "declares a name twice": (
        dict(source=good("twice") + "    " + good("twice").strip().splitlines()[-1].strip() + "\n"),
        "validate",
        "it declares parser 'twice' twice",
    ),
    "has a configuration that is none": (
        dict(
            source="""
            import otus_core
            @otus_core.hookimpl
            def otus_components():
                yield otus_core.Parser(name="c", factory="x:Y", payload_types=("x",), config=dict)
            """
        ),
        "validate",
        "parser 'c': config <class 'dict'> is not a configuration class",
    ),
    **{
        f"has {what}": (
            dict(
                source=f"""
                import otus_core
                @otus_core.hookimpl
                def otus_components():
                    yield otus_core.Parser(name="c", factory="x:Y", payload_types={types!r})
                """
            ),
            "validate",
            f"parser 'c': payload_types: {told}",
        )
        for what, types, told in (
            ("a payload type that is no topic", ("ok", "a/b"), "'a/b' is no topic's name"),
            ("a payload type that is too long", ("x" * 49,), "'" + "x" * 49 + "' is no topic's name"),
            ("a payload type that is a number", (5,), "5 is no topic's name"),
            ("no payload type", (), "give a tuple of 1 to 32"),
            ("too many payload types", tuple(f"t{n}" for n in range(33)), "give a tuple of 1 to 32"),
        )
    },
    "needs another core": (
        dict(source="raise AssertionError('imported')", requires=("Otus_Core>=9",)),
        "version",
        "it needs otus-core>=9, and this is otus-core 0.1.0",
    ),
    "requires what cannot be read": (
        dict(source="raise AssertionError('imported')", requires=("otus-core >= banana",)),
        "version",
        "its requirement 'otus-core >= banana' cannot be read",
    ),
}


@pytest.mark.parametrize(("about", "stage", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_suffers_alone(site: Site, about: dict, stage: str, reason: str) -> None:
    site.install("otus-plugin-broken", version="4.5", **about)
    row = site.row("otus-plugin-broken")
    assert (row["name"], row["kind"], row["version"], row["state"], row["stage"]) == (
        "broken",
        None,
        "4.5",
        "failed",
        stage,
    )
    assert reason in row["reason"]
    assert row["reason"].isprintable() and len(row["reason"]) <= 400
    assert row["remedy"]
    assert site.row("otus-plugin-fine")["state"] == "ready"


def test_a_misspelt_hook_gets_a_suggestion(site: Site) -> None:
    site.install("otus-plugin-broken", **BROKEN["misspells a hook"][0])
    assert site.row("otus-plugin-broken")["remedy"] == "did you mean otus_components?"


def test_an_extra_may_want_another_core(site: Site) -> None:
    site.install("otus-plugin-extra", good("extra"), requires=("otus-core>=9; extra == 'future'", "otus-core-tools>=7"))
    assert site.row("otus-plugin-extra")["state"] == "ready"


def test_two_that_claim_one_name_both_lose_it(site: Site) -> None:
    site.install("otus-plugin-one", good("same"), version="1.1")
    site.install("acme-two", good("same"), version="2.2", entry_point="two")
    for mine, other in (("otus-plugin-one", "two (acme-two 2.2)"), ("acme-two", "one (otus-plugin-one 1.1)")):
        row = site.row(mine)
        assert (row["name"], row["kind"], row["state"], row["stage"]) == ("same", "parser", "failed", "conflict")
        assert row["reason"] == f"parser 'same' is claimed by {other} too"
        assert f'plugins.prefer: {{"parser:same": {mine}}}' in row["remedy"]
    assert site.row("otus-plugin-fine")["state"] == "ready"


def test_prefer_settles_a_conflict(site: Site, tmp_path: Path) -> None:
    site.install("otus-plugin-one", good("same"))
    site.install("acme-two", good("same"), entry_point="two")
    config = tmp_path / "config.yml"
    config.write_text('otus: {plugins: {prefer: {"parser:same": Acme_Two}}}')
    assert site.row("acme-two", "--config", str(config))["state"] == "ready"
    lost = site.row("otus-plugin-one", "--config", str(config))
    assert (lost["state"], lost["reason"]) == ("disabled", "parser 'same' is given to acme-two by plugins.prefer")


def test_who_is_not_preferred_is_shown_and_never_logged_as_failed(site: Site, tmp_path: Path, examples: Path) -> None:
    site.install("otus-plugin-one", good("same") + "    " + good("more").strip().splitlines()[-1].strip())
    site.install("acme-two", good("same"), entry_point="two")
    config = tmp_path / "config.yml"
    for prefer, told, logged in (("acme-two", "Disabled", 0), ("nobody", "Broken", 2)):
        config.write_text(f'otus: {{plugins: {{prefer: {{"parser:same": {prefer}}}}}}}')
        assert told in site.otus("--config", str(config), "plugins", "list").stdout
        done = site.otus("--config", str(config), "run", str(examples / "call.pcap"), "--parser", "sip")
        assert (done.returncode, done.stderr.count("plugin_failed")) == (0, logged)
    rows = {row["name"]: row["state"] for row in site.rows() if row["distribution"] == "otus-plugin-one"}
    assert rows == {"same": "failed", "more": "ready"}


def test_one_entry_point_name_in_two_distributions_loads_both(site: Site) -> None:
    site.install("acme-fine", good("other"), entry_point="fine")
    assert site.row("otus-plugin-fine")["state"] == site.row("acme-fine")["state"] == "ready"


DISABLED = {
    "--no-plugin": (("--no-plugin", "quiet"), {}),
    "its distribution": (("--no-plugin", "Otus_Plugin.Quiet"), {}),
    "OTUS_PLUGINS_DISABLED": ((), {"OTUS_PLUGINS_DISABLED": "other, quiet"}),
    "OTUS_PLUGINS_ENABLED": ((), {"OTUS_PLUGINS_ENABLED": "[fine, sip]"}),
    "OTUS_DISABLED_PLUGINS": ((), {"OTUS_DISABLED_PLUGINS": "other, quiet"}),
    "--safe": (("--safe",), {}),
    "after the command": (("plugins", "list", "--no-plugin", "quiet"), {}),
}


@pytest.mark.parametrize(("arguments", "environment"), DISABLED.values(), ids=DISABLED)
def test_a_disabled_plugin_is_not_imported(site: Site, arguments: tuple, environment: dict) -> None:
    mark = site.folder / "imported"
    site.install("otus-plugin-quiet", f"open({str(mark)!r}, 'w')\n" + good("quiet"))
    row = site.row("otus-plugin-quiet", *(a for a in arguments if a not in ("plugins", "list")), **environment)
    assert (row["name"], row["kind"], row["state"], row["stage"]) == ("quiet", None, "disabled", "disabled")
    assert not mark.exists()
    assert site.row("otus-plugin-quiet")["state"] == "ready"
    assert mark.exists()


NO_PLUGIN = {
    "near": ("sipp", "there is no plugin 'sipp'; did you mean 'sip'?"),
    "a distribution": ("Otus_Plugin.Fine", ""),
    "nearly a distribution": (
        "otus-plugin-fin",
        "there is no plugin 'otus-plugin-fin'; did you mean 'otus-plugin-fine'?",
    ),
    "far": ("\x1b[31m", "there is no plugin '\\x1b[31m'; installed: afpacket, broken, "),
    "broken": ("broken", ""),
    "there": ("fine", ""),
}


@pytest.mark.parametrize(("name", "told"), NO_PLUGIN.values(), ids=NO_PLUGIN)
def test_a_name_of_no_plugin_that_is_to_be_left_out_is_told(site: Site, examples: Path, name: str, told: str) -> None:
    mark = site.folder / "imported"
    site.install("otus-plugin-broken", f"open({str(mark)!r}, 'w')\nimport nowhere")
    call = str(examples / "call.pcap")
    for command in (("plugins", "list", "--no-import"), ("plugins", "list"), ("run", call, "-q", "--parser", "sip")):
        done = site.otus("--no-plugin", name, *command)
        lines = [line for line in done.stderr.splitlines() if "plugin_failed" not in line]
        assert (done.returncode, len(lines)) == (0, 1 if told else 0)
        assert "".join(lines).startswith(f"otus: --no-plugin: {told}" if told else "")
        assert mark.exists() is ("--no-import" not in command and name != "broken")


@pytest.mark.parametrize(("plugins", "expected"), [("disabled: [quiet]", "ready"), ("enabled: [quiet]", "disabled")])
def test_the_configuration_disables_and_allows(site: Site, tmp_path: Path, plugins: str, expected: str) -> None:
    site.install("otus-plugin-quiet", good("quiet"))
    config = tmp_path / "config.yml"
    config.write_text(f"otus: {{plugins: {{{plugins}}}}}")
    states = {expected, site.row("otus-plugin-fine", "-c", str(config))["state"]}
    assert states == {expected}
    assert site.row("otus-plugin-quiet", "-c", str(config))["state"] == (
        "ready" if expected == "disabled" else "disabled"
    )


def test_listing_without_import_reads_metadata_alone(site: Site) -> None:
    mark = site.folder / "imported"
    site.install("otus-plugin-quiet", f"open({str(mark)!r}, 'w')\n" + good("quiet"))
    done = site.otus("plugins", "list", "--no-import", "--json")
    assert '"name": "quiet"' in done.stdout and '"stage": "found"' in done.stdout
    assert not mark.exists()


def test_listing_imports_no_factory_and_no_configuration_class(site: Site) -> None:
    source = good("quiet").replace("payload_types", "config='quiet_parts:Config', payload_types")
    site.install("otus-plugin-quiet", source, modules={"quiet_parts": "raise AssertionError('imported')"})
    assert site.row("otus-plugin-quiet")["state"] == "ready"


def test_a_configuration_class_that_cannot_be_imported_is_told_with_the_task(site: Site, tmp_path: Path) -> None:
    source = good("quiet").replace("payload_types", "config='quiet_parts:Config', payload_types")
    site.install("otus-plugin-quiet", source, modules={"quiet_parts": "import nowhere"})
    assert (
        "parsers[0].config: the configuration class of quiet is broken: ModuleNotFoundError: No module named 'nowhere'"
        in told(site, tmp_path, parser="quiet")
    )


def test_starting_imports_neither_a_mail_parser_nor_packaging(site: Site) -> None:
    """What every command pays for: the requirement with an extra is the form that two of our own plugins have."""
    site.install("otus-plugin-extra", good("extra"), requires=("otus-core[bpf] <0.2, >=0.1",))
    code = "import sys; from otus_core.cli import main; main(['plugins', 'list']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site.folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    heavy = {"email.parser", "packaging", "rich", "yaml", "structlog", "asyncio", "otus_kafka.settings"}
    assert heavy.isdisjoint(done.stderr.split())


REQUIREMENTS = {
    "otus-core": True,
    "otus-core>=0.1,<0.2": True,
    "otus-core (<0.2,>=0.1)": True,
    "otus-core[bpf]>=0.1": True,
    "Otus.Core >= 0.1": True,
    "otus-core~=0.1": True,
    "otus-core>=0.1,<0.2; python_version < '3'": True,
    "otus-core-tools>=7": True,
    "otus-core>0.1": False,
    "otus-core<0.1": False,
    "otus-core!=0.1": False,
    "otus-core[bpf]>=9": False,
    "otus-core>=0.10": False,
}


@pytest.mark.parametrize(("requirement", "met"), REQUIREMENTS.items())
def test_requirements_are_read_as_pip_reads_them(site: Site, requirement: str, met: bool) -> None:
    site.install("otus-plugin-needy", good("needy"), requires=(requirement,))
    row = site.row("otus-plugin-needy")
    assert (row["state"], row["stage"]) == (("ready", "ready") if met else ("failed", "version"))


def test_a_damaged_entry_points_file_costs_nobody_else(site: Site) -> None:
    site.install("otus-plugin-torn", good("torn"))
    (site.folder / "otus_plugin_torn-1.0.dist-info" / "entry_points.txt").write_text("[otus.plugins]\ntorn\n")
    assert site.row("otus-plugin-fine")["state"] == "ready"
    torn = site.row("otus-plugin-torn")
    assert (torn["state"], torn["stage"]) == ("failed", "found")
    assert "entry_points.txt" in torn["reason"]


def test_the_core_itself_offers_discard(site: Site) -> None:
    row = site.row("otus-core")
    assert (row["name"], row["kind"], row["state"], row["stage"]) == ("discard", "reporter", "ready", "ready")


TASK = """
id: t
capture: {{type: {capturer}}}
parsers: [{parser}]
reporters: [{reporter}]
"""


def told(site: Site, tmp_path: Path, **names: str) -> str:
    file = tmp_path / "task.yaml"
    file.write_text(TASK.format(**{"capturer": "nothing", "parser": "fine", "reporter": "discard", **names}))
    done = site.otus("--safe" if names.get("safe") else "--no-plugin=-", "validate", "-f", str(file))
    assert done.returncode == 2
    return done.stderr


def test_a_task_that_names_a_broken_plugin_says_why_it_is_broken(site: Site, tmp_path: Path) -> None:
    site.install("otus-plugin-broken", "import nowhere", version="4.5")
    assert (
        "parsers[0]: parser 'broken' cannot be used: plugin broken (otus-plugin-broken 4.5) failed at import: "
        "ModuleNotFoundError: No module named 'nowhere'" in told(site, tmp_path, parser="broken")
    )


def test_a_misspelt_component_gets_a_suggestion(site: Site, tmp_path: Path) -> None:
    assert "parsers[0]: there is no parser 'fien'; did you mean 'fine'?" in told(site, tmp_path, parser="fien")


def test_a_command_of_a_plugin_is_listed_but_not_imported(site: Site) -> None:
    site.install(
        "otus-plugin-fleet",
        """
        import otus_core
        @otus_core.hookimpl
        def otus_cli_commands():
            return {
                "ships": otus_core.CommandGroup(app="fleet_cli:app", summary="Many nodes"),
                "run": otus_core.CommandGroup(app="fleet_cli:app", summary="Taken"),
            }
        """,
        modules={"fleet_cli": "import typer\napp = typer.Typer()\n@app.command()\ndef sail():\n    print('sailing')\n"},
    )
    page = site.otus("--help")
    assert page.returncode == 0
    assert re.search(r"^  ships +Many nodes \(otus-plugin-fleet\)$", page.stdout, re.MULTILINE)
    assert "Taken" not in page.stdout
    assert site.otus("ships", "sail").stdout == "sailing\n"


def test_the_core_knows_which_commands_its_own_plugins_add(site: Site) -> None:
    """By what it knows it names the plugin of a command that is not there."""
    added = re.findall(r"^  (\S+) .*\((otus-plugin-\S+)\)$", site.otus("--help").stdout, re.MULTILINE)
    assert len(added) > 5
    assert {(who_brings("command", name), name) for name, _ in added} == {(whose, name) for name, whose in added}


def test_a_plugin_that_is_not_installed_is_to_be_had_from_where_the_core_came_from() -> None:
    """Nothing is on an index, where anybody could take the name."""
    told = why_missing([], "parser", "sip", [])
    assert told.startswith("parser 'sip' is not installed: install otus-plugin-sip from where otus-core came from")
    assert "pip install ./otus-plugin-sip;" in told and "pip install otus_plugin_sip-*.whl" in told


def test_a_command_whose_plugin_is_missing_says_which(site: Site) -> None:
    done = site.otus("--no-plugin", "kafka", "fleet", "list")
    assert done.returncode == 2
    assert "the command 'fleet' comes with a plugin: command channel 'kafka' cannot be used" in done.stderr
    assert "comes with a plugin: processor 'calls'" in site.otus("--no-plugin", "calls", "ladder", "x.pcap").stderr


def test_a_command_that_cannot_be_imported_is_one_line(site: Site) -> None:
    site.install(
        "otus-plugin-fleet",
        """
        import otus_core
        @otus_core.hookimpl
        def otus_cli_commands():
            return {"ships": otus_core.CommandGroup(app="nowhere:app", summary="Many nodes")}
        """,
    )
    done = site.otus("ships", "sail")
    assert (done.returncode, done.stderr) == (
        1,
        "otus: the command ships cannot be used: ModuleNotFoundError: No module named 'nowhere'\n",
    )
