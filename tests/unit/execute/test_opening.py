"""Opening a home: what is refused, and what a home that was moved still knows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from noodle_engine import Noodle
from noodle_journal.failures import JournalElsewhere
from tests.unit.execute.site import Driven, Site


def installed(noodle: Noodle) -> dict[str, str | None]:
    return {one.name: one.installed for one in noodle.status().components}


def copied(site: Site) -> Path:
    """The whole home under another name, as `cp -a` makes it."""
    there = site.folder / "copy"
    shutil.copytree(site.path, there, ignore=shutil.ignore_patterns("socket"))
    return there


# -- a home that was copied -----------------------------------------------------


def test_a_copied_home_is_read_and_not_written_until_it_is_taken_over(site: Site) -> None:
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
    with Noodle.open(copied(site)) as copy:
        assert installed(copy) == {"web": "1.0.0"}
        size = copy.status().journal.size
        with pytest.raises(JournalElsewhere):
            copy.apply(["web@1.1.0"])
        assert copy.status().journal.size == size
        assert site.has("web", "1.0.0")

        copy.take_over()
        view = copy.apply(["web@1.1.0"])

        assert view is not None
        assert site.has("web", "1.1.0")
        assert copy.audit_verify().ok


def test_a_take_over_forgets_nothing(site: Site) -> None:
    """The adopting session writes the fold anew: it must be that of all records before."""
    site.release("web", "1.0.0")
    site.release("web", "1.1.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
    with site.open() as noodle:
        before = noodle.status()
    with Noodle.open(copied(site)) as copy:
        copy.take_over()
        taken = copy.status()
        replayed = copy.audit_replay()
    with Noodle.open(copy.home) as again:
        reopened = again.status()

    assert before.components == taken.components == reopened.components
    assert before.components[0].points == ("1.0.0",)
    assert replayed.differs == ()


def test_a_take_over_keeps_what_is_open(site: Site) -> None:
    site.release("web", "1.0.0")
    held = Driven.open(site)
    held.engine.leave()
    upgrade = held.submit(held.plan("web@1.0.0"), request_key="once")
    held.close()
    with Noodle.open(copied(site)) as copy:
        copy.take_over()
        assert [one.upgrade for one in copy.status().open] == [upgrade]

        (view,) = copy.resume()

        assert view.state.value == "committed"
        assert site.has("web", "1.0.0")
