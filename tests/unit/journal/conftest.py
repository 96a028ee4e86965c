"""The journal's own fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.journal.place import Place, memory_place


@pytest.fixture
def place() -> Iterator[Place]:
    """A home with a new, empty journal."""
    yield from memory_place()
