"""The last way out: candidates, and the exchange by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from noodle_engine.machine.plan import StepName
from noodle_engine.targets.failures import CandidateUnknown
from tests.unit.targets.site import NEW, OLD, STRANGE, Site


def roles(site: Site) -> dict[str, str]:
    return {
        found.attributes["role"]: found.attributes["location"]
        for found in site.target.rescue(site.path)
    }


def test_each_thing_beside_the_target_is_a_candidate_with_its_role(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.until(StepName.POINT)
    again = Site(tmp_path, new=STRANGE, upgrade="01JXXXXXXXXXXXXXXXXXXXXXXX")
    again.until(StepName.STAGE)
    foreign = again.path.with_name(f"web.py.foreign-{site.upgrade}")
    foreign.write_bytes(b"foreign")
    (again.place.stage(again.upgrade) / "new").write_bytes(b"half")

    found = roles(again)
    assert set(found) == {"target", "beside", "point", "foreign", "unproved"}
    assert found["beside"] == str(again.beside)
    assert all(seen.attributes["sha256"] for seen in again.target.rescue(again.path))


def test_an_exchange_by_hand_is_undone_by_doing_it_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.until(StepName.SWAP)
    for expected in (OLD, NEW):
        observed = site.target.exchange_by_hand(site.path, site.beside)
        assert site.read() == expected
        assert observed.attributes["kept"] == str(site.beside)


def test_a_missing_target_is_given_back_by_hand(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.until(StepName.SWAP)
    site.path.unlink()
    assert roles(site)["target"] == str(site.path)
    assert "kept" not in site.target.exchange_by_hand(site.path, site.beside).attributes
    assert site.read() == OLD


def test_only_a_candidate_can_be_exchanged_by_hand(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.until(StepName.SWAP)
    other = tmp_path / "srv" / "other"
    other.write_bytes(STRANGE)
    for location in (other, site.path, Path("/etc/hostname"), site.place.lock):
        with pytest.raises(CandidateUnknown):
            site.target.exchange_by_hand(site.path, location)
    assert site.read() == NEW
