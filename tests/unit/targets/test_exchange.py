"""What a killed step, a stranger and a full disk do to an exchange (laws G1 to G5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from noodle_engine.disk import names
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.text import path_bytes
from noodle_engine.targets.base import Source
from noodle_engine.targets.failures import ForeignFound, TargetMoved
from tests.unit.targets.site import NEW, OLD, STRANGE, UPGRADE, Site, content


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def synced() -> Iterator[list[int]]:
    """The inodes of all that is synced meanwhile; the syncs are done too."""
    seen: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield seen


def location_of(attributes: dict[str, str]) -> Path:
    return Path(os.fsdecode(path_bytes(attributes["location"])))


@pytest.mark.parametrize("step", [StepName.CHECK, StepName.STAGE, StepName.SWAP])
def test_a_folder_that_became_a_link_stops_every_step(site: Site, step: StepName) -> None:
    site.until(StepName.SNAPSHOT)
    elsewhere = site.folder / "elsewhere"
    site.path.parent.rename(elsewhere)
    site.path.parent.symlink_to(elsewhere)

    for act in (site.do, site.undo if step is not StepName.CHECK else site.do, site.probe):
        with pytest.raises(TargetMoved) as caught:
            act(step)
        assert caught.value.leads_to == elsewhere / "web.py"
    assert (elsewhere / "web.py").read_bytes() == OLD
    assert not list(elsewhere.glob(".web.py.next-*"))


def test_a_point_found_kept_already_is_made_durable(site: Site) -> None:
    site.until(StepName.RECHECK)
    site.do(StepName.POINT)
    with synced() as folders:
        site.do(StepName.POINT)
    assert {site.place.releases.stat().st_ino, site.place.parent.stat().st_ino} <= set(folders)


def test_a_point_that_was_moved_home_already_is_made_durable(site: Site) -> None:
    site.until(StepName.CLEAN_COMMITTED)
    back = back_to_point(site)
    back.until(StepName.STAGE)
    back.undo(StepName.STAGE)
    with synced() as folders:
        back.undo(StepName.STAGE)
    assert {site.place.releases.stat().st_ino, site.place.parent.stat().st_ino} <= set(folders)


def back_to_point(site: Site) -> Site:
    """The upgrade back to what `site` has kept."""
    kept = next(site.place.releases.iterdir())
    back = Site(site.folder, new=None, upgrade="01JZZZZZZZZZZZZZZZZZZZZZZY")
    source = Source(kept, content(kept.read_bytes()), point=True)
    component = replace(back.context.component, root=source.content)
    back.context = replace(back.context, source=source, component=component, expected_new=None)
    return back


def test_a_drop_of_what_is_gone_is_made_durable(site: Site) -> None:
    site.until(StepName.POINT)
    kept = next(site.place.releases.iterdir())
    assert site.target.drop(kept) == len(OLD)
    with synced() as folders:
        assert site.target.drop(kept) == 0
    assert site.place.releases.stat().st_ino in folders


def test_two_upgrades_from_one_version_keep_it_under_two_names(site: Site) -> None:
    site.until(StepName.CLEAN_COMMITTED)
    site.path.write_bytes(OLD)
    again = Site(site.folder, upgrade="01JZZZZZZZZZZZZZZZZZZZZZZY")
    again.until(StepName.CLEAN_COMMITTED)

    kept = sorted(site.place.releases.iterdir())
    assert len(kept) == 2
    site.target.drop(next(one for one in kept if one.name.endswith(UPGRADE)))
    assert [one.read_bytes() for one in kept if one.exists()] == [OLD]


def test_a_stranger_exchanged_in_the_window_is_never_moved_without_a_word(site: Site) -> None:
    """The engine was killed between its exchange back and the look at what it displaced."""
    site.until(StepName.SWAP)
    stranger = site.path.with_name("stranger")
    stranger.write_bytes(STRANGE)
    os.replace(stranger, site.path)  # just before the exchange back,
    names.exchange(site.beside, site.path)  # after which the engine dies

    with pytest.raises(ForeignFound) as caught:
        site.undo(StepName.SWAP)
    assert caught.value.where == site.beside
    assert (site.read(), site.beside.read_bytes()) == (OLD, STRANGE)

    site.allow_restore(None)
    site.back()
    assert site.read() == OLD
    assert site.path.with_name(f"web.py.foreign-{site.upgrade}").read_bytes() == STRANGE


def test_an_old_written_after_the_recheck_is_kept_by_a_point_that_was_killed(site: Site) -> None:
    site.until(StepName.RECHECK)
    site.beside.write_bytes(b"written by who had it open")
    site.beside.rename(site.target.objects(site.context, site.place).kept_at())  # and killed

    kept = site.do(StepName.POINT)
    assert location_of(kept.attributes).read_bytes() == b"written by who had it open"
    assert kept.attributes["content"] == content(b"written by who had it open")


def test_where_the_old_cannot_be_moved_it_is_kept_where_it_stands(site: Site) -> None:
    site.until(StepName.RECHECK)
    site.place.releases.rmdir()
    (site.folder / "elsewhere").mkdir()
    site.place.releases.symlink_to(site.folder / "elsewhere")  # a stranger's

    kept = site.do(StepName.POINT)
    site.do(StepName.CLEAN_COMMITTED)
    assert location_of(kept.attributes) == site.beside
    assert site.beside.read_bytes() == OLD


def test_a_probe_of_stage_survives_a_payload_that_is_gone(tmp_path: Path) -> None:
    site = Site(tmp_path, old=None)
    site.until(StepName.STAGE)
    assert site.context.source is not None
    site.context.source.path.unlink()
    assert site.probe(StepName.STAGE).answer is ProbeAnswer.NOT_DONE
    assert site.beside.read_bytes() == NEW
