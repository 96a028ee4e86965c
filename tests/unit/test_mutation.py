"""The list of mutants that may survive is of mutants that there are, and stands on its page."""

from __future__ import annotations

from pathlib import Path

from tests.mutation.mutants import mutants_of
from tests.mutation.page import PAGE, survivors
from tests.mutation.reasons import REASONS

ROOT = Path(__file__).resolve().parents[2]


def test_each_survivor_with_a_reason_is_a_mutant_that_there_is() -> None:
    files = {name.split(" ", 1)[0] for name in REASONS}
    there = {mutant.name for file in files for mutant in mutants_of(ROOT, file)}
    assert set(REASONS) <= there


def test_the_page_lists_the_survivors_with_their_reasons() -> None:
    assert PAGE.read_text(encoding="utf-8").endswith(survivors())


def test_a_change_is_of_one_place_and_leaves_the_rest(tmp_path: Path) -> None:
    source = '''def first(a: int) -> int:
    """Words."""
    return a + 1 if a > 2 else 0


def second() -> int:
    return 2
'''
    (tmp_path / "some.py").write_text(source)
    found = {mutant.name.split(": ", 1)[1]: mutant for mutant in mutants_of(tmp_path, "some.py")}
    assert set(found) == {
        "return a + 1 if a > 2 else 0 -> return None",
        "a + 1 if a > 2 else 0 -> 0 if a > 2 else a + 1",
        "a + 1 -> a - 1",
        "a > 2 -> a >= 2",
        "1 -> 2",
        "2 -> 3",
        "0 -> 1",
        "return 2 -> return None",
    }

    def first(a: int) -> int:
        return 0

    first.__code__ = found["a > 2 -> a >= 2"].code(tmp_path)
    assert [first(1), first(2), first(3)] == [0, 3, 4]
