"""`noodle config` as a user meets it: without a home, with files, with broken ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noodle_engine.cli.main import main
from noodle_policies.settings.model.catalogue import catalogue
from tests.unit.policies.settings.sources import nested, write

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


@pytest.mark.parametrize("words", [["--set", "debug.enabled"], ["--set", "=1"]])
def test_an_option_that_sets_nothing_is_refused(words: list[str], run: Run) -> None:
    code, answer = run("show", *words)
    assert (code, answer["error"]["code"]) == (2, "usage")


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
    assert [one["key"] for one in answer["problems"]] == [POINTS]
    assert "in production" in answer["problems"][0]["text"]
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
    """Every key, in words."""
    write(here, "noodle.json", nested(POINTS, 3))
    for words in (["show"], ["show", "--changed"], ["validate"], ["diff", "."]):
        assert main(["config", *words]) == 0
    shown = capsys.readouterr().out
    assert f"{POINTS} = 3  # {here}/noodle.json:1:35" in shown
    for key in catalogue().keys.values():
        assert main(["config", "explain", key.name]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"{key.name} = ")
        assert all(word in told for word in ("why", "said by", "legal", "to set")), told
    assert main(["config", "explain", "runtime_upgrade"]) == 0
    assert POINTS in capsys.readouterr().out
