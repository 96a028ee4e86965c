"""`noodle config` as a user meets it: without a home, with files, with broken ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from noodle_engine.cli.main import main
from noodle_engine.execute.failures import SettingsRefused
from noodle_engine.execute.home.config_files import migrate_files
from noodle_policies.settings.migrating import Migration, leads_here
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.reading.sections import read_sections
from noodle_policies.settings.schema import settings_schema
from noodle_policies.settings.starting import PRESETS, file_of, starting_files
from tests.unit.policies.settings.sources import nested, reference, write

POINTS = "runtime_upgrade.rollback.max_rollback_points"
Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no home."""
    for name in [name for name in os.environ if name.startswith("NOODLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NOODLE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `noodle config WORDS --json`: its exit code, and its one document."""

    def asked(*words: str) -> tuple[int, Any]:
        code = main(["config", *words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return asked


def test_show_needs_neither_home_nor_key_and_makes_nothing(here: Path, run: Run) -> None:
    code, shown = run("show")
    assert code == 0
    assert (shown["format"], shown["changed"], shown["files"]) == (1, [], [])
    assert set(shown["own"]) == {"noodle"}
    assert "noodle" not in shown["settings"]
    assert shown["settings"]["runtime_upgrade"]["rollback"]["max_rollback_points"] == 10
    assert list(here.parent.iterdir()) == [here]


def test_every_layer_counts_and_an_option_most(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here.parent / "home" / "config", "noodle.json", nested(POINTS, 3))
    assert run("explain", POINTS)[1]["value"] == 3
    write(here / "noodle-core" / "config", "noodle.json", nested(POINTS, 4))
    assert run("explain", POINTS)[1]["value"] == 4
    monkeypatch.setenv(f"NOODLE_{POINTS}", "5")
    assert run("explain", POINTS)[1]["value"] == 5
    code, told = run("--set", f"{POINTS}=7", "explain", POINTS, "--set", f"{POINTS}=6")
    assert (code, told["value"]) == (0, 6)
    assert [one["value"] for one in told["said"]] == [6, 5, 4, 3, 10]
    assert run("show", "--changed", "--set", f"{POINTS}=6")[1]["settings"] == {
        "rollback_manager": {"max_rollback_points": 6},
        "runtime_upgrade": {"rollback": {"max_rollback_points": 6}},
    }


@pytest.mark.parametrize(
    "words", ["debug.enabled", "=1", "debug.enabld=1", "debug.enabled=maybe", "debug.log_level=x"]
)
def test_an_option_that_sets_nothing_is_refused_by_every_command(
    words: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = run("show", "--set", words)
    assert (code, answer["error"]["code"]) == (2, "usage")
    for command in ("status", "rollback", "plan"):
        assert main(["--set", words, command, "x"]) == 2
        assert "--set" in capsys.readouterr().err


def test_settings_that_cannot_be_used_are_refused_and_explained(here: Path, run: Run) -> None:
    folder = write(here / "noodle-core" / "config", "noodle.json", nested(POINTS, 0))
    code, answer = run("show")
    assert (code, answer["error"]["code"]) == (2, "settings_invalid")
    code, told = run("explain", POINTS)
    assert (code, told["value"], told["problems_in_all"]) == (0, 10, 1)
    code, answer = run("validate")
    assert (code, answer["valid"]) == (2, False)
    assert answer["problems"][0] | {"text": ""} == {
        "kind": "range",
        "place": f"{folder}/noodle.json:1:35",
        "key": POINTS,
        "text": "",
    }


def test_an_unknown_key_is_refused_with_the_nearest(run: Run) -> None:
    code, answer = run("explain", f"{POINTS}s")
    assert (code, answer["error"]["code"]) == (2, "setting_unknown")
    assert f"did you mean {POINTS}?" in answer["error"]["problem"]


def test_a_folder_is_checked_alone_and_in_each_of_its_environments(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOODLE_LOG_LEVEL", "nonsense")
    folder = write(here / "set", "noodle.json", nested("debug.stack_traces", True))
    write(folder, "settings.json", {})
    code, answer = run("validate", "set")
    assert (code, answer["environments"]) == (0, ["none"])
    assert answer["unread"] == ["set/settings.json"]
    write(folder / "production", "noodle.json", nested(POINTS, 0))
    write(folder / "staging", "noodle.json", nested(POINTS, 4))
    code, answer = run("validate", "set")
    assert (code, answer["environments"]) == (2, ["none", "production", "staging"])
    # The value that is wrong, and the rule of production that another one breaks.
    assert {one["key"] for one in answer["problems"]} == {POINTS, "debug.stack_traces"}
    assert all("in production" in one["text"] for one in answer["problems"])
    write(folder / "production", "noodle.json", {})
    code, answer = run("validate", "set")
    assert [(one["kind"], one["key"]) for one in answer["problems"]] == [
        ("security", "debug.stack_traces")
    ]


def test_two_folders_are_compared_by_what_they_make(here: Path, run: Run) -> None:
    write(here / "a", "noodle.json", nested(POINTS, 3))
    write(here / "b", "component_sections.json", nested("rollback_manager.max_rollback_points", 3))
    assert run("diff", "a", "b")[1]["differing"] == []
    write(here / "b", "noodle.json", nested("debug.log_level", "ERROR"))
    assert run("diff", "a", "b")[1]["differing"] == [
        {
            "key": "debug.log_level",
            "one": "INFO",
            "other": "ERROR",
            "one_place": "",
            "other_place": "b/noodle.json:1:12",
        }
    ]
    code, answer = run("diff", "a")
    assert (code, answer["other"]) == (0, "in force")
    assert [row["other"] for row in answer["differing"]] == [10, 10]


def test_a_person_can_read_each_answer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words; one key of ten."""
    write(here, "noodle.json", nested(POINTS, 3))
    for words in (["show"], ["show", "--changed"], ["validate"], ["diff", "."]):
        assert main(["config", *words]) == 0
    shown = capsys.readouterr().out
    assert f"{POINTS} = 3  # {here}/noodle.json:1:35" in shown
    for key in list(catalogue().keys.values())[::10]:
        assert main(["config", "explain", key.name]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"{key.name} = ")
        assert all(word in told for word in ("why", "said by", "legal", "to set")), told
    assert main(["config", "explain", "runtime_upgrade"]) == 0
    assert POINTS in capsys.readouterr().out


# -- init and migrate ---------------------------------------------------------------------


@pytest.mark.parametrize("environment", PRESETS)
def test_starting_files_load_and_make_what_was_asked_for(
    environment: str, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, made = run("init", "--environment", environment)
    folder = here / "noodle-core" / "config"
    assert (code, made["folder"], made["found"]) == (0, str(folder), True)
    assert sorted(made["files"]) == sorted(os.listdir(folder))
    if environment != "minimal":
        monkeypatch.setenv("NOODLE_ENVIRONMENT", environment)
    assert run("validate")[1]["valid"]
    by_files = run("show")[1]
    for name in made["files"]:
        (folder / name).unlink()
    for variable, text in PRESETS[environment].items():
        monkeypatch.setenv(variable, text)
    assert run("show")[1]["hash"] == by_files["hash"]


def test_starting_files_are_explained_and_pass_the_schema() -> None:
    validator = Draft202012Validator(settings_schema())
    for environment in PRESETS:
        files = starting_files(environment)
        notes = files.pop("settings.md")
        for name, text in files.items():
            assert name in notes
            assert list(validator.iter_errors(json.loads(text))) == []
            values, problems = read_sections(
                {key: one for key, one in json.loads(text).items() if key != "version"},
                lambda _: "",
            )
            assert problems == []
            assert all(f"`{key}` = " in notes and file_of(key) == name for key in values)


def test_the_presets_are_the_reference_s_environments() -> None:
    for environment, variables in PRESETS.items():
        text = reference(f"environments/{environment}.env").read_text()
        assert dict(line.split("=", 1) for line in text.split()) == variables


def test_starting_files_take_no_file_s_place(here: Path, run: Run) -> None:
    folder = write(here / "set", "debug.json", {})
    write(folder, "noodle.json", nested(POINTS, 3))
    code, answer = run("init", "set")
    assert (code, answer["error"]["code"]) == (3, "settings_exist")
    assert sorted(os.listdir(folder)) == ["debug.json", "noodle.json"]
    (folder / "noodle.json").unlink()
    assert run("init", "set")[0] == 0
    assert run("init", "set")[0] == 3


def test_nothing_is_migrated_that_is_current(here: Path, run: Run) -> None:
    assert run("init")[0] == 0
    before = {path: path.read_bytes() for path in (here / "noodle-core" / "config").iterdir()}
    code, answer = run("migrate")
    assert (code, answer["migrated"], len(answer["current"])) == (0, [], len(before) - 1)
    assert {path: path.read_bytes() for path in before} == before


def test_a_version_that_nothing_leads_from_is_refused(here: Path, run: Run) -> None:
    write(here, "noodle.json", {"version": 0})
    shown = run("show")[1]["error"]
    assert shown["code"] == "settings_invalid"
    assert "migrate" not in shown["problem"]
    for version in (0, 2, "1"):
        write(here, "noodle.json", {"version": version})
        code, answer = run("migrate")
        assert (code, answer["error"]["code"]) == (2, "settings_version_unknown")


# In version 0, which never was, the debug section was called logging.
def renamed(content: dict[str, Any]) -> None:
    if "logging" in content:
        content["debug"] = content.pop("logging")


MIGRATION = Migration(0, "section logging is called debug", renamed)
OLD = {"version": 0, "logging": {"log_level": "ERROR"}}


def test_only_an_older_version_with_a_whole_way_leads_here() -> None:
    assert leads_here(0, [MIGRATION])
    for version in (-1, 1, 2, False, "0", -(10**15)):
        assert not leads_here(version, [MIGRATION])
    assert not leads_here(0)


def test_a_migration_keeps_what_was_there_and_says_what_it_did(here: Path, run: Run) -> None:
    folder = write(here / "set", "noodle.json", OLD)
    write(folder / "production", "noodle.json", OLD)
    write(folder, "component_sections.json", nested(POINTS, 3))
    (folder / "noodle.json").chmod(0o640)
    old = (folder / "noodle.json").read_bytes()
    tried = migrate_files([folder], migrations=[MIGRATION], dry_run=True)
    assert [row.backup for row in tried.migrated] == [None, None]
    assert sorted(os.listdir(folder)) == ["component_sections.json", "noodle.json", "production"]
    made = migrate_files([folder], migrations=[MIGRATION])
    first = made.migrated[0]
    assert (first.from_version, first.to_version) == (0, 1)
    assert first.steps == ("0 to 1: section logging is called debug",)
    assert Path(str(first.backup)).read_bytes() == old
    assert (folder / "noodle.json").stat().st_mode & 0o777 == 0o640
    assert json.loads((folder / "noodle.json").read_text()) == {
        "version": 1,
        "debug": {"log_level": "ERROR"},
    }
    assert (folder / "production" / "noodle.json.version-0").read_bytes() == old
    assert run("validate", "set")[1]["valid"]
    assert migrate_files([folder], migrations=[MIGRATION]).migrated == ()
    # As after a kill between the backup and the file.
    (folder / "noodle.json").write_bytes(old)
    again = migrate_files([folder], migrations=[MIGRATION]).migrated[0]
    assert again.backup == first.backup


def test_a_backup_takes_no_other_s_place(here: Path) -> None:
    folder = write(here, "noodle.json", OLD)
    write(folder, "noodle.json.version-0", "another")
    made = migrate_files([folder], migrations=[MIGRATION])
    assert made.migrated[0].backup == str(folder / "noodle.json.version-0.2")
    assert (folder / "noodle.json.version-0").read_text() == "another"


@pytest.mark.parametrize(
    "beside", [{"version": 0, "logging": {"log_levl": 1}}, {"debug": {"log_level": "x"}}, "{"]
)
def test_one_file_that_would_not_load_stops_all_of_them(here: Path, beside: object) -> None:
    folder = write(here, "noodle.json", OLD)
    write(folder, "component_sections.json", beside)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with pytest.raises(SettingsRefused):
        migrate_files([folder], migrations=[MIGRATION])
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before
