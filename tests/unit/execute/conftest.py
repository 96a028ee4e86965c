"""A home on a memory file system where there is one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.execute.site import Driven, Site

MEMORY = Path("/dev/shm")


@pytest.fixture
def site() -> Iterator[Site]:
    root = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=root, prefix="noodle-execute-") as folder:
        made = Site(Path(folder))
        yield made
        made.close()


@pytest.fixture
def driven(site: Site) -> Iterator[Driven]:
    made = Driven.open(site)
    yield made
    made.close()
