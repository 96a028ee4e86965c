"""The engine: one home's only writer, and the upgrades that it drives.

Owns the journal while it holds the home's lock, the live fold, the target
locks, one thread for each upgrade that runs, and the deadlines. What it knows
is the fold of the journal's records and nothing else.

Laws
N1. The live fold changes only by records that are durable.
N2. An action begins only after the record of its intent is durable.
N3. A target is touched only while the home and the target are both locked.
N4. After an error whose outcome is unknown nothing further is done: the
    journal is read again first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from noodle_engine.disk.locks import FileLock
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.failures import ComponentBusy, RequestRefused, UpgradeUnknown
from noodle_engine.execute.home.layout import Home, settings_from_journal
from noodle_engine.execute.live_clock import LiveClock
from noodle_engine.execute.timers import Timers
from noodle_engine.machine.decide import (
    BACK_TIMER,
    TOTAL_TIMER,
    ReleaseHold,
    Said,
    TimerDue,
    TurnBack,
    note,
)
from noodle_engine.machine.plan import Plan, plan_hash
from noodle_engine.machine.records import (
    Access,
    Entry,
    Event,
    Noted,
    Requested,
    TimerSet,
    Transition,
    entry_of,
    fields_of,
)
from noodle_engine.machine.states import TERMINAL, Direction, Message, OnCrash, Reason, Release
from noodle_engine.machine.upgrade import Fold, Upgrade, fold, fold_state
from noodle_engine.registry.store import ReleaseStore
from noodle_journal import Journal, Kind, NewRecord, Record
from noodle_policies.settings.model import Settings

__all__ = ["Engine", "Heard", "fold_loaded", "kind_of"]

_KINDS: dict[str, Kind] = {kind.label: kind for kind in Kind}


def kind_of(label: str) -> Kind:
    """The journal's number for a record kind's name."""
    return _KINDS[label]


def fold_loaded(state: Mapping[str, Any] | None, records: Sequence[Record]) -> Fold:
    """The world as a journal's last state record and what follows say."""
    world = Fold() if state is None else fold_state(state)
    for record in records:
        world = _fold_record(world, record)
    return world


def _fold_record(world: Fold, record: Record) -> Fold:
    if not isinstance(record.kind, Kind):
        return world
    entry = entry_of(record.kind.label, record.body)
    return world if entry is None else fold(world, entry)


@dataclass(frozen=True, slots=True)
class Heard:
    """One durable record, as followers hear it."""

    seq: int
    entry: Entry


@dataclass(slots=True)
class _Runner:
    """One upgrade that is being driven."""

    upgrade: str
    control: Control = field(default_factory=Control)
    ended: threading.Event = field(default_factory=threading.Event)
    take_over: bool = False
    queued: bool = False
    failure: BaseException | None = None


class Engine:
    """Drives upgrades. The caller has the home's lock and gives it up by `close`."""

    def __init__(
        self, home: Home, lock: FileLock, clock: LiveClock, releases: ReleaseStore
    ) -> None:
        self.home = home
        self.releases = releases
        self.clock = clock
        self._lock = lock
        self._world = Fold()
        self._listeners: list[Callable[[Heard], None]] = []
        self._runners: dict[str, _Runner] = {}
        self._state = threading.Condition()
        self._timers = Timers(clock.now_ms, self._timer_due)

    def attach(self, journal: Journal, world: Fold) -> None:
        """Take the opened journal and its fold; nothing else works before."""
        self._journal = journal
        self._world = world
        self.clock.start_after(world.at_ms)
        for upgrade in world.upgrades.values():
            self._timers.set_all(upgrade.id, upgrade.timers)

    @property
    def world(self) -> Fold:
        """The live fold."""
        return self._world

    @property
    def journal(self) -> Journal:
        """The journal; only the engine appends to it."""
        return self._journal

    def committed(self, records: Sequence[Record]) -> None:
        """The journal's word that records are durable (law N1)."""
        for record in records:
            self._world = _fold_record(self._world, record)
            if not isinstance(record.kind, Kind):
                continue
            entry = entry_of(record.kind.label, record.body)
            if entry is not None:
                for listener in tuple(self._listeners):
                    listener(Heard(record.seq, entry))

    def listen(self, listener: Callable[[Heard], None]) -> Callable[[], None]:
        """Hear every record from now on; returns how to stop hearing."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def append(
        self,
        events: Sequence[Event],
        *,
        actor: str,
        upgrade: str | None = None,
        going_back: bool = False,
    ) -> None:
        """Make events durable, in order, in one commit."""
        if not events:
            return
        at_ms = self.clock.now_ms()
        entries = [Entry(event, actor, at_ms, upgrade) for event in events]
        jump = self.clock.take_jump()
        if jump is not None:
            entries.insert(0, Entry(Noted("clock.jumped", jump), actor, at_ms))
        ends = any(
            isinstance(event, Transition)
            and event.target in TERMINAL
            and event.source is not event.target
            for event in events
        )
        self._journal.append(
            [NewRecord(kind_of(e.label), e.upgrade, fields_of(e)) for e in entries],
            going_back=going_back,
            head=ends,
        )
        for event in events:
            if isinstance(event, TimerSet) and upgrade is not None:
                self._timers.set(upgrade, event.id, event.due_ms)
        if ends:
            self._journal.restore_reserve()

    # -- requests ---------------------------------------------------------

    def submit(
        self,
        plan: Plan,
        *,
        upgrade: str,
        actor: str,
        settings: Mapping[str, Any],
        settings_hash: str,
        on_crash: OnCrash,
        request_key: str | None = None,
        take_over: bool = False,
    ) -> str:
        """Record a request durably and start driving it. Returns its id.

        The same request key and plan return the upgrade of the first request.
        Raises ComponentBusy or RequestRefused; then nothing was recorded.
        """
        with self._state:
            known = self._known_request(plan, request_key)
            if known is not None:
                return known
            self.request(
                plan,
                upgrade=upgrade,
                actor=actor,
                settings=settings,
                settings_hash=settings_hash,
                on_crash=on_crash,
                request_key=request_key,
            )
            self._start(upgrade, actor, resumed=False, take_over=take_over)
        return upgrade

    def request(
        self,
        plan: Plan,
        *,
        upgrade: str,
        actor: str,
        settings: Mapping[str, Any],
        settings_hash: str,
        on_crash: OnCrash,
        request_key: str | None = None,
    ) -> None:
        """Record a request durably, and drive nothing. Raises ComponentBusy."""
        for component in plan.components:
            for open_one in self._world.upgrades.values():
                if any(one.name == component.name for one in open_one.plan.components):
                    raise ComponentBusy(component.name, open_one.id)
        events: list[Event] = [
            Requested(
                plan=plan,
                plan_hash=plan_hash(plan),
                settings_hash=settings_hash,
                settings=None if settings_hash in self._world.settings else dict(settings),
                on_crash=on_crash,
                request_key=request_key,
            )
        ]
        back = plan.direction is Direction.BACK
        if not back:
            limit_ms = settings_from_journal(settings).default_timeout * 1000
            due = self.clock.now_ms() + limit_ms
            events.append(TimerSet(TOTAL_TIMER, due, Message.TIMER_DUE.value))
        self.append(events, actor=actor, upgrade=upgrade, going_back=back)

    def _known_request(self, plan: Plan, request_key: str | None) -> str | None:
        if request_key is None or request_key not in self._world.request_keys:
            return None
        known = self._world.request_keys[request_key]
        if self._world.upgrades[known].plan_hash != plan_hash(plan):
            raise RequestRefused(request_key, known)
        return known

    def resume(self, upgrade: str, *, actor: str, release: Release | None = None) -> None:
        """Take an open upgrade up again; one that runs already is left running."""
        with self._state:
            found = self.open_upgrade(upgrade)
            if upgrade in self._runners:
                if release is None:
                    return
            elif release is None or found.hold is None:
                self._start(upgrade, actor, resumed=True)
                return
            self.say(upgrade, ReleaseHold(release), actor=actor)
            if upgrade not in self._runners:
                self._start(upgrade, actor, resumed=True)

    def abort(self, upgrade: str, *, actor: str) -> None:
        """Turn an open upgrade back. Raises MessageRefused if the table refuses it."""
        with self._state:
            self.open_upgrade(upgrade)
            self.say(upgrade, TurnBack(Reason.CANCELLED, "aborted by a person"), actor=actor)
            if upgrade not in self._runners:
                self._start(upgrade, actor, resumed=True)

    def say(self, upgrade: str, said: Said, *, actor: str) -> None:
        """Record a message from outside; the upgrade's own thread acts on it."""
        runner = self._runners.get(upgrade)
        if runner is None:
            self._say(upgrade, said, actor)
            return
        with runner.control.mutex:
            self._say(upgrade, said, actor)
        found = self._world.upgrades.get(upgrade)
        if found is not None and found.undoing:
            runner.control.turn_back()

    def _say(self, upgrade: str, said: Said, actor: str) -> None:
        found = self.open_upgrade(upgrade)
        events = note(found, said, self.clock.now_ms())
        self.record(found, events, actor)

    def open_upgrade(self, upgrade: str) -> Upgrade:
        """An upgrade that is not finished. Raises UpgradeUnknown."""
        found = self._world.upgrades.get(upgrade)
        if found is None:
            raise UpgradeUnknown(upgrade)
        return found

    def record(
        self, upgrade: Upgrade, events: Sequence[Event], actor: str, *, going_back: bool = False
    ) -> None:
        """Append an upgrade's events, with the deadline of a way back that begins."""
        back = upgrade.undoing or upgrade.plan.direction is Direction.BACK
        begins = any(
            isinstance(event, Transition)
            and event.undoing
            and event.message in (Message.TURN_BACK, Message.RELEASE)
            for event in events
        )
        if begins:
            limit_ms = self.settings_of(upgrade).rollback_timeout * 1000
            due = self.clock.now_ms() + limit_ms
            events = (*events, TimerSet(BACK_TIMER, due, Message.TIMER_DUE.value))
        self.append(
            events, actor=actor, upgrade=upgrade.id, going_back=going_back or back or begins
        )

    def record_access(self, access: Access) -> None:
        """Record whether a caller was allowed something."""
        self.append([access], actor=access.subject)

    # -- driving ----------------------------------------------------------

    def _start(self, upgrade: str, actor: str, *, resumed: bool, take_over: bool = False) -> None:
        runner = _Runner(upgrade, take_over=take_over)
        self._runners[upgrade] = runner
        threading.Thread(
            target=lambda: self._run(runner, actor, resumed=resumed),
            name=f"upgrade-{upgrade}",
            daemon=True,
        ).start()

    def _run(self, runner: _Runner, actor: str, *, resumed: bool) -> None:
        try:
            self._wait_for_turn(runner)
            if not runner.control.leaving:
                self._drive(runner, actor, resumed=resumed)
        except BaseException as failure:  # noqa: BLE001 - the waiting caller raises it
            runner.failure = failure
        finally:
            with self._state:
                self._runners.pop(runner.upgrade, None)
                if runner.upgrade not in self._world.upgrades:
                    self._timers.forget(runner.upgrade)
                runner.ended.set()
                self._state.notify_all()

    def _wait_for_turn(self, runner: _Runner) -> None:
        """Queue while more run than the settings allow. Going back never queues."""
        with self._state:
            while not runner.control.leaving:
                found = self._world.upgrades.get(runner.upgrade)
                if found is None or found.undoing or found.plan.direction is Direction.BACK:
                    break
                limit = self.settings_of(found).max_concurrent_upgrades
                running = [one for one in self._runners.values() if not one.queued]
                if len([one for one in running if one is not runner]) < limit:
                    break
                runner.queued = True
                self._state.wait()
            runner.queued = False

    def settings_of(self, upgrade: Upgrade) -> Settings:
        """The settings that an upgrade was requested under."""
        return settings_from_journal(self._world.settings.get(upgrade.settings_hash, {}))

    def _drive(self, runner: _Runner, actor: str, *, resumed: bool) -> None:
        driving = Driving(self, runner.upgrade, actor, runner.control)
        try:
            action = driving.begin(resumed=resumed, take_over=runner.take_over)
            while action is not None:
                action = driving.record(driving.perform(action))
        finally:
            driving.close()

    def _timer_due(self, upgrade: str, timer: str) -> None:
        if upgrade in self._world.upgrades:
            self.say(upgrade, TimerDue(timer), actor="engine")

    # -- waiting and ending -----------------------------------------------

    def wait(self, upgrade: str, timeout_s: float | None = None) -> bool:
        """Wait until nobody drives the upgrade; False if the time ran out.

        Raises what the upgrade's thread raised.
        """
        runner = self._runners.get(upgrade)
        if runner is None:
            return True
        if not runner.ended.wait(timeout_s):
            return False
        if runner.failure is not None:
            raise runner.failure
        return True

    def leave(self, upgrade: str | None = None) -> None:
        """Stop after the step that runs; what is stopped can be resumed."""
        with self._state:
            for runner in self._runners.values():
                if upgrade in (None, runner.upgrade):
                    runner.control.leave()
            self._state.notify_all()

    @property
    def running(self) -> tuple[str, ...]:
        """The upgrades that are being driven now."""
        return tuple(self._runners)

    def drain(self) -> None:
        """Wait until no upgrade is driven any more."""
        with self._state:
            while self._runners:
                self._state.wait()

    def close(self) -> None:
        """Give up the journal and the home's lock. Runners must have ended."""
        self._timers.close()
        self._journal.close()
        self._lock.release()
