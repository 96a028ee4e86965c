"""The resident engine's looks at itself: when, how thoroughly, and what is told."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Mapping, Sequence

from noodle_engine.execute.home.checkup import examine_home
from noodle_engine.execute.home.doctor import Check
from noodle_engine.execute.home.settings import settings_of
from noodle_engine.execute.observing.examining import Examiner, keep_checks, tell_checks
from noodle_engine.execute.observing.observer import observer_of
from tests.unit.execute.site import WAIT_S_MAX, Site
from tests.unit.observe.reading import settings, taken

GOOD = Check("one", ok=True, found="fine")
BAD = Check("two", ok=False, found="gone", remedy="mend it")


class Looks:
    """An examiner under a clock of the test's, and how thorough its looks were."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.now_s = 0.0
        self.thorough: list[bool] = []
        self.told: list[Sequence[Check]] = []
        self.examiner = Examiner(
            self._look,
            lambda: settings_of(site.home, {}),
            self.told.append,
            now_s=lambda: self.now_s,
        )

    def _look(self, thorough: bool) -> Sequence[Check]:
        self.thorough.append(thorough)
        return [GOOD]

    def at(self, now_s: float, values: Mapping[str, object]) -> bool:
        settings(self.site, values)
        self.now_s = now_s
        began = self.examiner.tick()
        self.examiner.close()
        return began


def test_a_look_comes_after_each_interval(site: Site) -> None:
    """diagnostics.health_checks.interval, live"""
    looks = Looks(site)
    key = "diagnostics.health_checks.interval"
    assert [looks.at(now, {key: 100}) for now in (0, 99, 100, 150, 199, 200)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert [looks.at(now, {key: 10}) for now in (209, 210)] == [False, True]
    assert looks.told == [[GOOD]] * 3


def test_there_are_none_where_they_are_off(site: Site) -> None:
    """diagnostics.health_checks.enabled, diagnostics.enabled"""
    looks = Looks(site)
    assert not looks.at(1_000, {"diagnostics.health_checks.enabled": False})
    assert not looks.at(2_000, {"diagnostics.enabled": False})
    assert looks.at(3_000, {})


def test_comprehensive_ones_verify_the_journal_and_try_a_write(site: Site) -> None:
    """diagnostics.health_checks.comprehensive"""
    looks = Looks(site)
    key = "diagnostics.health_checks.comprehensive"
    looks.at(1_000, {key: False})
    looks.at(2_000, {key: True})
    assert looks.thorough == [False, True]
    named = [
        {check.name for check in examine_home(site.home, {}, thorough=thorough)}
        for thorough in looks.thorough
    ]
    assert named[1] - named[0] == {"sync", "journal"}


def test_two_never_run_at_once(site: Site) -> None:
    reached, go = threading.Event(), threading.Event()
    now = [0.0]

    def look(_thorough: bool) -> Sequence[Check]:
        reached.set()
        go.wait(30)
        raise OSError("a look that fails ends no engine")

    told: list[Sequence[Check]] = []
    examiner = Examiner(look, lambda: settings_of(site.home, {}), told.append, now_s=lambda: now[0])
    now[0] = 1_000
    assert examiner.tick()
    assert reached.wait(30)
    now[0] = 2_000
    assert not examiner.tick()
    go.set()
    examiner.close()
    assert examiner.tick()
    examiner.close()
    assert told == []


def test_what_is_not_good_is_a_line_with_what_to_do(site: Site) -> None:
    observer = observer_of(site.home, {})
    tell_checks([GOOD, BAD], observer.logs)
    keep_checks(site.home, [GOOD, BAD], 7)
    observer.close()
    found = [line for line in taken(site) if line["logger"] == "health"]
    assert [(line["event"], line["level"]) for line in found] == [
        ("health.bad", "WARNING"),
        ("health.checked", "INFO"),
    ]
    assert (found[0]["check"], found[0]["remedy"]) == ("two", "mend it")
    kept = json.loads((site.path / "diagnostics" / "health.json").read_text())
    assert (kept["format"], kept["at_ms"]) == (1, 7)
    assert [one["name"] for one in kept["checks"]] == ["one", "two"]
    assert set(kept["checks"][0]) == {"name", "ok", "found", "remedy"}


def test_the_resident_engine_looks_at_itself(site: Site) -> None:
    """With the real loop; the log is a pipe, which says when it has happened."""
    pipe = site.folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    settings(site, {"diagnostics.health_checks.interval": 1, "debug.log_file": str(pipe)})
    stop = threading.Event()
    with site.open() as noodle:
        engine = threading.Thread(target=lambda: noodle.run(stop=stop))
        engine.start()
        told = b""
        while b"health.checked" not in told:
            assert select.select([reader], [], [], WAIT_S_MAX)[0], told
            told += os.read(reader, 65536)
        stop.set()
        engine.join(WAIT_S_MAX)
    os.close(reader)
    assert (site.path / "diagnostics" / "health.json").exists()
