"""One door for kinds of ours and of third parties."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from noodle_engine.targets.failures import KindNotBuilt, KindUnknown, KindUnusable
from noodle_engine.targets.file import FileTarget
from noodle_engine.targets.load import KINDS_TO_COME, known_kinds, load_target

PLUG_IN = """\
from noodle_engine.targets.file import FileTarget

class Good(FileTarget):
    kind = "good"

class Misnamed(FileTarget):
    kind = "another"

class Partial:
    kind = "partial"

class Failing:
    def __init__(self):
        raise RuntimeError("no")

value = 1
"""
ENTRIES = {
    "good": "noodle_test_kinds:Good",
    "misnamed": "noodle_test_kinds:Misnamed",
    "partial": "noodle_test_kinds:Partial",
    "failing": "noodle_test_kinds:Failing",
    "value": "noodle_test_kinds:value",
    "missing": "noodle_test_kinds:Missing",
    "file": "noodle_test_kinds:Good",
    "sqlite": "noodle_test_kinds:Good",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with entry points, on the path as an installer leaves it."""
    (tmp_path / "noodle_test_kinds.py").write_text(PLUG_IN)
    info = tmp_path / "noodle_test_kinds-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noodle-test-kinds\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in ENTRIES.items())
    (info / "entry_points.txt").write_text(f"[noodle.targets]\n{lines}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("noodle_test_kinds", None)


@pytest.mark.usefixtures("installed")
def test_a_plug_ins_kind_comes_through_the_entry_point() -> None:
    assert load_target("good").kind == "good"
    assert "good" in known_kinds()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["misnamed", "partial", "failing", "value", "missing"])
def test_a_plug_in_that_breaks_the_contract_is_named(kind: str) -> None:
    with pytest.raises(KindUnusable) as caught:
        load_target(kind)
    assert caught.value.data["provider"] == "noodle-test-kinds"


@pytest.mark.usefixtures("installed")
def test_a_plug_in_cannot_take_a_kind_of_ours() -> None:
    assert type(load_target("file")) is FileTarget
    with pytest.raises(KindNotBuilt):
        load_target("sqlite")


def test_our_own_entry_point_names_the_built_in() -> None:
    (ours,) = entry_points(group="noodle.targets", name="file")
    assert ours.load() is type(load_target("file"))


@pytest.mark.parametrize("kind", KINDS_TO_COME)
def test_a_kind_to_come_is_refused_by_name(kind: str) -> None:
    with pytest.raises(KindNotBuilt) as caught:
        load_target(kind)
    assert caught.value.kind == kind


def test_an_unknown_kind_is_told_with_the_known_ones() -> None:
    with pytest.raises(KindUnknown) as caught:
        load_target("fil")
    assert "file" in caught.value.known


def test_a_built_in_is_loaded_without_looking_at_what_is_installed() -> None:
    code = (
        "import sys; from noodle_engine.targets.load import load_target; load_target('file'); "
        "print([m for m in ('importlib.metadata', 'pydantic', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
