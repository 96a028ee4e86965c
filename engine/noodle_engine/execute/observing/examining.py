"""The resident engine's looks at itself: what the doctor asks, again and again.

Owns when they happen and what is told of them. A look runs beside the upgrades, one at a
time, and changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.whole import write_disposable
from noodle_engine.execute.home.doctor import Check
from noodle_engine.execute.home.layout import Home
from noodle_engine.machine.codec import encode
from noodle_engine.observe.levels import Level
from noodle_engine.observe.logs import Logs
from noodle_policies.settings.values import Values

__all__ = ["Examiner", "keep_checks", "tell_checks"]

Look = Callable[[bool], Sequence[Check]]
"""Examines, thoroughly or not."""


class Examiner:
    """Examines now and then. `tick` is called often, by one thread.

    `settings` gives those in force, at each tick anew (they are live); `told` gets the
    answers, in the thread that looked. The first look is one interval after the start.
    """

    def __init__(
        self,
        look: Look,
        settings: Callable[[], Values],
        told: Callable[[Sequence[Check]], None],
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._settings = settings
        self._told = told
        self._now_s = now_s
        self._last_s = now_s()
        self._thread: threading.Thread | None = None

    def tick(self) -> bool:
        """Begin a look if it is time for one, and none runs; whether one was begun."""
        settings = self._settings()
        if not settings.acts("diagnostics.health_checks.enabled"):
            return False
        now = self._now_s()
        if now - self._last_s < settings.whole("diagnostics.health_checks.interval"):
            return False
        if self._thread is not None and self._thread.is_alive():
            return False
        self._last_s = now
        thorough = settings.acts("diagnostics.health_checks.comprehensive")
        self._thread = threading.Thread(
            target=lambda: self._run(thorough=thorough), name="examining", daemon=True
        )
        self._thread.start()
        return True

    def _run(self, *, thorough: bool) -> None:
        with suppress(Exception):  # a look that fails is looked at again
            self._told(self._look(thorough))

    def close(self, wait_s_max: float = 10.0) -> None:
        """Wait for a look that runs, within a bound."""
        if self._thread is not None:
            self._thread.join(wait_s_max)


def tell_checks(checks: Sequence[Check], logs: Logs) -> None:
    """Log what was found: each check that is not good as a line, and how many are."""
    for check in checks:
        if check.ok is not True:
            logs.say(
                "health",
                Level.WARNING if check.ok is False else Level.INFO,
                "health.bad" if check.ok is False else "health.look",
                f"{check.name}: {check.found}",
                fields={"check": check.name, "remedy": check.remedy},
            )
    bad = [check.name for check in checks if check.ok is False]
    good = sum(check.ok is True for check in checks)
    text = f"{good} of {len(checks)} checks are good"
    fields = {"checks": [check.name for check in checks], "bad": bad or None}
    logs.say("health", Level.INFO, "health.checked", text, fields=fields)


def keep_checks(home: Home, checks: Sequence[Check], at_ms: int) -> None:
    """Keep the last answers in the home, in the doctor's shape; on a full disk they are lost."""
    rows = [encode(one, keep_none=True) for one in checks]
    found = {"format": 1, "at_ms": at_ms, "checks": rows}
    with suppress(DiskError):
        write_disposable(
            home.path / "diagnostics" / "health.json", orjson.dumps(found, default=str), 0o600
        )
