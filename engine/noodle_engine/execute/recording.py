"""The engine's one way into the journal, and the live fold behind it.

Owns the order between the journal and the fold: what is durable is folded, in
the journal's order, and nothing else is. After a commit of unknown outcome it
reads the journal again before anybody appends, so that a record is neither
lost nor written twice.

Laws
N1. The live fold changes only by records that are durable, in their order.
N4. After an error whose outcome is unknown nothing further is done: the
    journal is read again first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noodle_engine.machine.failures import InvariantBroken
from noodle_engine.machine.records import Entry, entry_of
from noodle_engine.machine.upgrade import Fold, fold, fold_state
from noodle_journal import Kind, NewRecord, Record
from noodle_journal.failures import JournalIoError

if TYPE_CHECKING:
    from noodle_journal import Journal, Loaded  # who only reads does not pay for the writer

__all__ = ["Heard", "Live", "Recorder", "StepProgress", "live_of"]

APPENDS_MAX = 2
"""How often a record is offered to the journal: again only where nothing of it survived."""


def _entry_in(record: Record) -> Entry | None:
    if not isinstance(record.kind, Kind):
        return None
    return entry_of(record.kind.label, record.body)


@dataclass(frozen=True, slots=True)
class Heard:
    """One durable record, as followers hear it."""

    seq: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step that runs has come, in bytes. Told to who waits; in no record."""

    upgrade: str
    step: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Live:
    """The fold of all records up to and with number `seq`."""

    world: Fold
    seq: int


def live_of(loaded: Loaded) -> Live:
    """The world as a journal's last state record and what follows say."""
    world = Fold() if loaded.state is None else fold_state(loaded.state)
    for record in loaded.records:
        entry = _entry_in(record)
        world = world if entry is None else fold(world, entry)
    return Live(world, loaded.size)


class Recorder:
    """Appends, folds, and tells listeners. Safe to use from several threads."""

    def __init__(self) -> None:
        self._live = Live(Fold(), 0)
        self._listeners: list[Callable[[Heard], None]] = []
        self._watchers: list[Callable[[StepProgress], None]] = []
        self._gate = threading.Condition()
        self._appending = 0
        self._recovering = False
        self._survivors: list[tuple[int, Mapping[str, Any]]] = []
        self._lost: BaseException | None = None

    def begin(self, live: Live) -> None:
        """Take the fold of what the journal holds, before anything is written to it."""
        self._live = live

    def attach(self, journal: Journal) -> None:
        """Take the opened journal; nothing else works before."""
        self._journal = journal

    @property
    def journal(self) -> Journal:
        """The journal."""
        return self._journal

    @property
    def live(self) -> Live:
        """The fold, and the record up to which it is one."""
        return self._live

    def listen(self, listener: Callable[[Heard], None]) -> Callable[[], None]:
        """Hear every record from now on; returns how to stop hearing.

        It is called by the thread that commits: it must not wait, nor append.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def watch(self, watcher: Callable[[StepProgress], None]) -> Callable[[], None]:
        """Hear how far steps come, as far as they say; returns how to stop hearing.

        It is called by the thread that does the step: it must not wait.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def tell(self, progress: StepProgress) -> None:
        """Tell the watchers how far a step has come."""
        for watcher in tuple(self._watchers):
            watcher(progress)

    def committed(self, records: Sequence[Record]) -> None:
        """The journal's word that records are durable (law N1)."""
        try:
            for record in records:
                entry = _entry_in(record)
                world = self._live.world
                self._live = Live(world if entry is None else fold(world, entry), record.seq)
                if entry is not None:
                    for listener in tuple(self._listeners):
                        listener(Heard(record.seq, entry))
        except BaseException as failure:
            self._lost = failure  # the fold is behind the journal: nothing may follow
            raise

    def append(self, records: Sequence[NewRecord], *, going_back: bool, head: bool) -> None:
        """Make records durable, in order, in one commit, and fold them.

        Raises what the journal raises. After JournalIoError the journal is
        unusable still, and whether these records survived is not known.
        """
        for attempt in range(1, APPENDS_MAX + 1):
            try:
                with self._passing():
                    self._journal.append(records, going_back=going_back, head=head)
            except JournalIoError:
                if self._lost is not None:
                    raise
                if self._survived(records):
                    return
                if attempt == APPENDS_MAX:
                    raise
            else:
                return

    @contextlib.contextmanager
    def _passing(self) -> Iterator[None]:
        """Append, unless the journal is being read again: then after it."""
        with self._gate:
            while self._recovering:
                self._gate.wait()
            if self._lost is not None:
                raise InvariantBroken(law="N1", found=f"{self._lost!r}")
            self._appending += 1
        try:
            yield
        finally:
            with self._gate:
                self._appending -= 1
                self._gate.notify_all()

    def _survived(self, records: Sequence[NewRecord]) -> bool:
        """Whether the failed commit of `records` is on disk after all (law N4).

        Whoever comes first reads the journal again, while nobody appends, and
        folds what is found; all others only ask for their own records.
        """
        with self._gate:
            while self._recovering:
                self._gate.wait()
            if self._journal.poisoned is None:
                return self._claim(records)
            self._recovering = True
            while self._appending:
                self._gate.wait()
        try:
            survivors = self._journal.reopen()
            self.committed(survivors)
        except BaseException:
            self._recovered(())
            raise
        self._recovered(survivors)
        with self._gate:
            return self._claim(records)

    def _recovered(self, survivors: Sequence[Record]) -> None:
        with self._gate:
            self._survivors += [(int(record.kind), record.body) for record in survivors]
            self._recovering = False
            self._gate.notify_all()

    def _claim(self, records: Sequence[NewRecord]) -> bool:
        wanted = [(int(record.kind), record.body) for record in records]
        for start in range(len(self._survivors) - len(wanted) + 1):
            if self._survivors[start : start + len(wanted)] == wanted:
                del self._survivors[start : start + len(wanted)]
                return True
        return False
