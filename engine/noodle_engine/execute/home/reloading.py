"""The settings of a held home, looked at again: taken over whole, or not at all.

Owns which settings are in force while a process holds a home, and the thread that
hears of changes. What makes settings of files is not its business.

Laws
W1. What is in force was made of one reading of all sources, and the next reading was the
    same: a file that is just being written is not taken.
W2. Settings that cannot be used leave those of before in force.
W3. A change is in the journal before it counts: once, with the keys that differ, without
    any value. If it cannot be written there, the next look tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.settings import (
    Options,
    Settled,
    folders_of,
    inputs_of,
    settled_from,
)
from noodle_engine.execute.home.watching import Changes, watched
from noodle_engine.machine.records import ConfigChanged
from noodle_journal.errors import NoodleError
from noodle_policies.settings.reading.files import Inputs
from noodle_policies.settings.values import Values

__all__ = ["WATCH_AFTER_S", "Reloading"]

WATCH_AFTER_S: Final = 5.0
"""A process that holds a home for less looks at each request, and does not watch."""
READINGS_MAX: Final = 20
RECORDED_MAX: Final = 512
"""How many keys, and how many problems, a record names: a file may have thousands."""
RECORDED_LETTERS_MAX: Final = 512


class Reloading:
    """Which settings are in force. Safe to use from several threads.

    `record` makes a change durable; `take` gets what is in force from then on.
    """

    def __init__(
        self,
        home: Home,
        environment: Mapping[str, str],
        options: Options,
        *,
        record: Callable[[ConfigChanged], None],
        take: Callable[[Values], None],
        changes: Changes = watched,
    ) -> None:
        self._home = home
        self._environment = environment
        self._options = options
        self._record = record
        self._take = take
        self._changes = changes
        self._turn = threading.Lock()
        self._digest: str | None = None
        self._settled = Settled(None, None)
        self._in_force: Values | None = None
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def in_force(self) -> Values | None:
        """The last settings that could be used; None if there were none yet."""
        return self._in_force

    def look(self) -> Settled:
        """Read the settings, and put what changed into force. Never raises.

        What comes back is what stands there now: settings that cannot be used are a
        failure, though those of before are in force still (law W2).
        """
        with self._turn:
            inputs = self._read()
            if inputs.digest == self._digest:
                return self._settled
            steady = self._steady(inputs)
            if steady is None or steady.digest == self._digest:
                return self._settled
            return self._taken(steady)

    def _read(self) -> Inputs:
        return inputs_of(self._home, self._environment, self._options)

    def _steady(self, inputs: Inputs) -> Inputs | None:
        """A reading that the next one was equal to (law W1); None if none was: look later."""
        for _ in range(READINGS_MAX):
            again = self._read()
            if again.digest == inputs.digest:
                return again
            inputs = again
        return inputs if self._digest is None else None

    def _taken(self, inputs: Inputs) -> Settled:
        found = settled_from(self._home, inputs)
        change = None if self._digest is None else self._change(found)
        if change is not None:
            try:
                self._record(change)
            except NoodleError:
                return self._settled  # law W3
        self._digest, self._settled = inputs.digest, found
        if found.values is not None and found.values is not self._in_force:
            self._in_force = found.values
            self._take(found.values)
        return found

    def _change(self, found: Settled) -> ConfigChanged | None:
        """What changed, or None if nothing did that anybody could notice."""
        before = self._in_force
        old_hash = None if before is None else before.hash
        if found.values is None:
            failure, known = found.failure, self._settled.failure
            if failure is None or (known is not None and known.places == failure.places):
                return None
            keys, places = _bounded(failure.keys), _bounded(failure.places)
            return ConfigChanged(keys, old_hash, None, False, places)
        if self._settled.failure is None and old_hash == found.values.hash:
            return None  # only a blank or the order of keys
        keys = () if before is None else _differing(before, found.values)
        return ConfigChanged(_bounded(keys), old_hash, found.values.hash, True)

    # -- the thread -------------------------------------------------------

    def start(self) -> None:
        """Watch, once this process has held the home for WATCH_AFTER_S, or at `hurry`."""
        thread = threading.Thread(target=self._watch, name="settings", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is left: each request looks still
            return
        self._thread = thread

    def hurry(self) -> None:
        """Watch from now on: this process stays."""
        self._hurry.set()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._hurry.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        self._hurry.wait(WATCH_AFTER_S)
        if self._stop.is_set():
            return
        self.look()
        for _ in self._changes(self._folders, self._stop):
            self.look()

    def _folders(self) -> list[Path]:
        folders = folders_of(self._home, self._environment)
        environment = self._environment.get("NOODLE_ENVIRONMENT")
        within = [folder / environment for folder in folders] if environment else []
        return [*folders, *within]


def _differing(before: Values, after: Values) -> tuple[str, ...]:
    old, new = before.by_key, after.by_key
    return tuple(
        key for key in dict.fromkeys((*old, *new)) if _said(old.get(key)) != _said(new.get(key))
    )


def _bounded(named: Sequence[str]) -> tuple[str, ...]:
    """What fits into a record, and how much more there was."""
    more = len(named) - RECORDED_MAX
    told = (one[:RECORDED_LETTERS_MAX] for one in named[:RECORDED_MAX])
    return (*told, *([f"and {more} more"] if more > 0 else []))


def _said(value: object) -> bytes:
    """A value as the journal has it: the cache of a home has lists where the model has tuples."""
    return orjson.dumps(value)
