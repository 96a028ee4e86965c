"""Noodle's own kinds keep the contract; acts, points, strategies, and the commands for plug-ins."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from noodle_engine.cli.main import main
from noodle_engine.machine.codec import decode, encode
from noodle_engine.machine.plan import Plan, plan_hash
from noodle_engine.registry.manifest import parse_manifest
from noodle_engine.testing import Tree, Trees, manifests, plans, trees
from noodle_engine.testing.acting import act
from noodle_engine.testing.contract import TargetContract
from noodle_engine.testing.running import contract_of
from noodle_engine.testing.versions import read_tree, write_tree
from tests.memory import room
from tests.scripts.test_commands import fits

DEATH_S_MAX = 30


def test_the_machine_is_a_test_case_of_its_own() -> None:
    class Contract(TargetContract):
        kind = "file"

    assert issubclass(Contract.TestCase, TargetContract.TestCase.__mro__[-2])
    assert hasattr(Contract.TestCase, "runTest")


def test_an_act_that_does_not_end_is_ended_with_what_it_started() -> None:
    reading, writing = os.pipe()

    def forever() -> None:
        subprocess.Popen(["sleep", "600"], pass_fds=[writing])
        threading.Event().wait()

    assert act(forever, seconds_max=0.5).late
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], DEATH_S_MAX)  # open while either lives
    assert ready
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_killed_act_leaves_what_was_called_before_its_point_and_nothing_after(
    tmp_path: Path,
) -> None:
    def writing() -> None:
        for name in "abc":
            os.mkdir(tmp_path / name)

    for point, there in ((0, ""), (1, "a"), (2, "ab"), (3, "abc")):
        assert act(writing, die_at=point).killed
        assert "".join(sorted(one.name for one in tmp_path.iterdir())) == there
        for one in tmp_path.iterdir():
            one.rmdir()
    assert act(writing, die_at=4).killed  # all is done, and nobody was told
    for one in tmp_path.iterdir():
        one.rmdir()
    assert act(writing, die_at=5).calls == ("mkdir",) * 3


def test_bytes_in_a_buffer_are_lost_by_a_kill(tmp_path: Path) -> None:
    def writing() -> None:
        with (tmp_path / "file").open("wb") as file:
            file.write(b"buffered")

    assert act(writing, die_at=2).killed
    assert (tmp_path / "file").read_bytes() == b""
    assert act(writing).calls[:2] == ("open", "write")


@settings(max_examples=10)
@given(text=manifests())
def test_drawn_manifests_are_legal(text: str) -> None:
    assert parse_manifest(text.encode(), Path("noodle.toml")).kind == "file"


@settings(max_examples=10)
@given(plan=plans())
def test_drawn_plans_are_stored_and_read_again(plan: Plan) -> None:
    assert plan_hash(decode(Plan, encode(plan))) == plan_hash(plan)


@settings(max_examples=10)
@given(tree=trees())
def test_drawn_trees_can_be_written(tree: Tree) -> None:
    with room("noodle-contract-") as folder:
        write_tree(folder / "tree", tree)
        assert read_tree(folder / "tree") == Trees().shown(tree)


def asked(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_plugin_list_names_the_kinds_and_who_brings_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = asked(capsys, "plugin", "list")
    fits("plugin list", answer)
    assert {one["kind"] for one in answer["kinds"]} >= {"file", "directory"}
    assert all(one["contract"] for one in answer["kinds"] if one["provider"] == "noodle-upgrade")
    assert main(["plugin", "list"]) == 0
    assert "noodle_engine.targets.file:FileTarget" in capsys.readouterr().out


PLUG_IN = """
[noodle.targets]
faulty = faulty_kind:Faulty
plain = faulty_kind:Plain
odd = faulty_kind:Odd
[noodle.target_contracts]
faulty = faulty_kind:FaultyContract
odd = faulty_kind:Odd
"""
FAULTY_KIND = """
from noodle_engine.targets.file import FileTarget
from noodle_engine.testing import TargetContract

class Plain(FileTarget):
    kind = "plain"

class Odd(FileTarget):
    kind = "odd"

class Faulty(FileTarget):
    kind = "faulty"
    def plan(self, request):
        (request.path.parent / "planned").touch()
        return super().plan(request)

class FaultyContract(TargetContract):
    kind = "faulty"
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a fault, as pip would install one."""
    facts = tmp_path / "faulty_kind-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-kind\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(PLUG_IN)
    (tmp_path / "faulty_kind.py").write_text(FAULTY_KIND)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plug_in")
def test_a_plug_in_that_breaks_a_law_ends_with_6_and_its_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = asked(capsys, "plugin", "test", "faulty", code=6)["error"]
    assert error["code"] == "contract_broken"
    assert error["data"]["law"] == "reads"
    assert error["data"]["story"][-1] == "plan"
    brought = {one["kind"]: one for one in asked(capsys, "plugin", "list")["kinds"]}
    assert brought["faulty"]["provider"] == "faulty-kind"
    assert (brought["faulty"]["contract"], brought["plain"]["contract"]) == (True, False)


@pytest.mark.usefixtures("plug_in")
@pytest.mark.parametrize(
    ("kind", "code", "failure"),
    [
        ("nothing", 3, "kind_unknown"),
        ("plain", 2, "payload_unsaid"),
        ("odd", 3, "contract_unusable"),
    ],
)
def test_a_kind_that_cannot_be_tested_is_refused_and_says_why(
    capsys: pytest.CaptureFixture[str], kind: str, code: int, failure: str
) -> None:
    found = asked(capsys, "plugin", "test", kind, code=code)["error"]["code"]
    assert found == failure


def test_without_the_extra_the_command_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from noodle_engine.cli.main import main\n"
        "sys.exit(main(['plugin', 'test', 'file', '--json']))"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False
    )
    error = json.loads(ran.stdout)["error"]
    assert (ran.returncode, error["code"]) == (3, "extra_missing")
    assert "noodle-upgrade[testing]" in error["remedy"]


def test_a_payload_that_is_said_needs_no_contract_of_the_plug_in() -> None:
    assert isinstance(contract_of("file", "tree").versions, Trees)
