"""The reference pages are what the code says, and the catalogue of failures is sound."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from noodle_engine.cli import exits
from noodle_engine.cli.pages.__main__ import PAGES
from noodle_engine.cli.pages.answers import ANSWERS
from noodle_engine.cli.pages.commands import commands
from noodle_engine.cli.pages.errors import failures
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.reading.files import KNOWN_VARIABLES

REFERENCE: Final = Path(__file__).resolve().parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_what_the_code_says(name: str) -> None:
    """If this fails: python -m noodle_engine.cli.pages."""
    assert (REFERENCE / name).read_text() == PAGES[name]()


def test_every_failure_has_a_code_of_its_own() -> None:
    codes = Counter(failure.code for failure in failures())
    assert {code: count for code, count in codes.items() if count > 1} == {}


def test_a_code_is_written_as_codes_are() -> None:
    assert [one.code for one in failures() if not re.fullmatch(r"[a-z][a-z0-9_]*", one.code)] == []


def test_every_failure_ends_with_a_documented_exit_code() -> None:
    assert {one.code for one in failures() if one.exit_code not in exits.ALL} == set()
    assert {one.code for one in failures() if one.exit_code in (exits.DONE, exits.PENDING)} == set()


def test_every_failure_is_on_the_page() -> None:
    headings = re.findall(r"^## (\S+)$", (REFERENCE / "errors.md").read_text(), re.MULTILINE)
    assert headings == [failure.code for failure in failures()]


def test_every_failure_says_what_it_is_in_its_docstring() -> None:
    assert [one.__name__ for one in failures() if not (one.__doc__ or "").strip()] == []


def test_every_command_has_a_documented_shape() -> None:
    assert set(ANSWERS) == {words for words, _ in commands()}


def test_every_exit_code_is_in_the_guide() -> None:
    guide = (REFERENCE.parent / "guide" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \|", guide, re.MULTILINE)
    assert [int(row) for row in rows] == list(exits.ALL)


def test_every_setting_and_variable_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", (REFERENCE / "settings.md").read_text(), re.MULTILINE)
    assert rows == [*catalogue().keys, *catalogue().variables, *KNOWN_VARIABLES]
