"""Journals to attack, made once and copied for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.attacks.tampering import Copies, Victim, make_journal
from tests.unit.journal.place import MEMORY


@pytest.fixture(scope="session")
def copies() -> Iterator[Copies]:
    root = MEMORY if MEMORY.is_dir() else None
    with TemporaryDirectory(dir=root, prefix="noodle-attacks-") as folder:
        made, room = Path(folder, "made"), Path(folder, "room")
        made.mkdir()
        room.mkdir()
        make_journal(made)
        yield Copies(made, room)


@pytest.fixture
def victim(copies: Copies) -> Victim:
    return copies.take()
