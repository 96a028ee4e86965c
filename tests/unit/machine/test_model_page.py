"""The page of the models says what `make specs` searches for; the numbers are held there."""

from __future__ import annotations

import itertools

import tests.traces  # noqa: F401 - finds the models

# isort: split
import page
from models import FAULTS_SAY, MODELS, PROPERTIES


def test_the_page_lists_models_properties_and_faults_as_they_are_searched() -> None:
    stands = page.PAGE.read_text(encoding="utf-8")
    assert page.without_counts(stands) == page.without_counts(page.text({}, "0"))


def test_every_property_is_the_one_that_has_to_find_a_fault() -> None:
    """A property that no fault breaks may hold of anything."""
    found_by = set(itertools.chain.from_iterable(model.faults.values() for model in MODELS))
    assert found_by == set(PROPERTIES)
    for model in MODELS:
        assert set(model.faults.values()) <= {*model.in_each_state, *model.over_time}


def test_every_planted_fault_is_one_that_the_models_have() -> None:
    text = "".join(
        part.read_text(encoding="utf-8") for part in page.PAGE.parents[2].glob("specs/model/*.pml")
    )
    planted = {fault for model in MODELS for fault in model.faults}
    assert planted == set(FAULTS_SAY)
    for fault in planted:
        assert f"#ifdef {fault}\n" in text or f"#ifndef {fault}\n" in text, fault
