"""Each planted fault of a target kind is found, under the law that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noodle_engine.testing import ContractBroken, Files
from noodle_engine.testing.laws import PROMISES, Law
from noodle_engine.testing.site import Site
from tests.memory import room
from tests.unit.testing.faulty import FAULTS, Fault


@pytest.fixture
def folder() -> Iterator[Path]:
    with room("noodle-contract-") as made:
        yield made / "site"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.target.__name__)
def test_a_planted_fault_is_found_under_its_law(fault: Fault, folder: Path) -> None:
    with pytest.raises(ContractBroken) as found:
        fault.drive(Site(fault.target(), Files(), folder))
    assert found.value.law == fault.law, found.value
    assert found.value.story


def test_every_law_has_a_planted_fault_and_a_promise() -> None:
    assert {fault.law for fault in FAULTS} == set(Law) == set(PROMISES)
