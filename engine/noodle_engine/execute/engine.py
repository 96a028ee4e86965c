"""The engine: one home's only writer, and the upgrades that it drives.

Owns the journal while it holds the home's lock, one thread for each upgrade
that runs, and the deadlines of those. What it knows is the fold of the
journal's records and nothing else (`recording` owns N1 and N4).

Laws
N2. An action begins only after the record of its intent is durable.
N3. A target is touched only while the home and the target are both locked.
N5. An upgrade has at most one thread here, and all that is said to it from
    outside is decided on what its records say at that moment.
N6. What is said to an upgrade is acted on, also where its thread was just ending.

Locks are taken in this order: `_state`, an upgrade's `mutex`, the journal's
turn, the timers'.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from noodle_engine.disk.locks import FileLock
from noodle_engine.execute.driving import Control, Driving
from noodle_engine.execute.failures import RequestRefused, UpgradeUnknown
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.settings import settings_from_journal
from noodle_engine.execute.planning import check_free, check_versions
from noodle_engine.execute.recording import Heard, Live, Recorder, StepProgress
from noodle_engine.execute.retention import check_room
from noodle_engine.execute.timing.limits import at_once_limit, back_limit_ms, total_limit_ms
from noodle_engine.execute.timing.live_clock import ClockMark, LiveClock
from noodle_engine.execute.timing.timers import Timers
from noodle_engine.machine.decide import (
    ReleaseHold,
    Said,
    TimerDue,
    TurnBack,
    note,
)
from noodle_engine.machine.plan import Plan, plan_hash
from noodle_engine.machine.records import (
    AT_ONCE_POLICY,
    BACK_TIMER,
    TOTAL_TIMER,
    Access,
    Anchored,
    Decided,
    Entry,
    Event,
    Noted,
    Requested,
    TimerSet,
    Transition,
    fields_of,
)
from noodle_engine.machine.states import TERMINAL, Direction, Message, OnCrash, Reason, Release
from noodle_engine.machine.upgrade import Fold, Upgrade
from noodle_engine.registry.store import ReleaseStore
from noodle_journal import Journal, Kind, NewRecord, Record
from noodle_journal.errors import NoodleError
from noodle_policies.settings.values import Values

if TYPE_CHECKING:
    from noodle_engine.execute.anchoring.anchoring import Anchoring

__all__ = ["Engine", "Heard", "kind_of"]

TIMER_RETRY_MS = 5_000
"""When a deadline that could not be recorded is told again."""

Around = Callable[[Upgrade, Values], AbstractContextManager[object]]
"""What surrounds the driving of an upgrade, in its thread."""
Failed = Callable[[str, str | None, BaseException], None]
"""Is told of each failure: the upgrade, its step (None: it is the engine's own), and what it was.
It must not raise, nor wait."""

_KINDS: dict[str, Kind] = {kind.label: kind for kind in Kind}


def kind_of(label: str) -> Kind:
    """The journal's number for a record kind's name."""
    return _KINDS[label]


@dataclass(slots=True)
class _Runner:
    """One upgrade that is being driven.

    `again`: something was said after its last look; `resumed`: that it goes on.
    """

    upgrade: str
    control: Control = field(default_factory=Control)
    ended: threading.Event = field(default_factory=threading.Event)
    take_over: bool = False
    queued: bool = False
    again: bool = False
    resumed: bool = False
    failure: BaseException | None = None


def _begins_back(upgrade: Upgrade, event: Event) -> bool:
    match event:
        case Transition(undoing=True, message=Message.TURN_BACK | Message.RELEASE):
            return True
        case Noted(code="resumed"):
            return upgrade.undoing and upgrade.state not in TERMINAL
        case _:
            return False


class Engine:
    """Drives upgrades. The caller has the home's lock and gives it up by `close`."""

    def __init__(
        self, home: Home, lock: FileLock, clock: LiveClock, releases: ReleaseStore
    ) -> None:
        self.home = home
        self.releases = releases
        self.clock = clock
        self._lock = lock
        self._recorder = Recorder()
        self._runners: dict[str, _Runner] = {}
        self._failures: dict[str, BaseException] = {}
        self._read_settings: tuple[Mapping[str, Any], Values] | None = None
        self._settings_now: Values | None = None
        self._unused_key = ("", 0)
        self.around: Around = lambda _upgrade, _settings: contextlib.nullcontext()
        self.failed: Failed = lambda _upgrade, _step, _failure: None
        self.anchoring: Anchoring | None = None
        self._leaving = False
        self._state = threading.Condition(threading.RLock())
        self._timers = Timers(clock.now_ms, self._timer_due)

    def begin(self, live: Live) -> None:
        """Take the fold of what the journal holds, before anything is written to it."""
        self._recorder.begin(live)
        self.clock.start_after(live.world.at_ms, ClockMark.read(self.home.clock_file))

    def attach(self, journal: Journal) -> None:
        """Take the opened journal; nothing else works before."""
        self._recorder.attach(journal)
        if journal.elsewhere is None:
            self._keep_clock()

    def anchor(self, settings: Values) -> None:
        """Have signed heads kept where `settings` say; without any such place nothing is done.

        Nor for a journal that was copied or moved here, until a take-over: its heads are old.
        """
        if self.journal.elsewhere is not None:
            return
        from noodle_engine.execute.anchoring.options import anchor_options  # noqa: PLC0415

        options = anchor_options(settings)
        if self.anchoring is None:
            if not options.sinks:
                return
            # Most homes have no anchors: they do not pay for them.
            from noodle_engine.execute.anchoring.anchoring import Anchoring  # noqa: PLC0415

            self.anchoring = Anchoring(
                journal=lambda: self.journal,
                append=lambda events: self.append(events, actor="engine"),
                marks=lambda: self.world.anchors or {},
                now_ms=self.clock.now_ms,
            )
        self.anchoring.obey(options)

    def _keep_clock(self) -> None:
        mark = self.clock.mark
        if mark is not None:
            mark.write(self.home.clock_file)

    @property
    def world(self) -> Fold:
        """The live fold."""
        return self._recorder.live.world

    @property
    def live(self) -> Live:
        """The live fold, and the record up to which it is one."""
        return self._recorder.live

    @property
    def journal(self) -> Journal:
        """The journal; only the engine appends to it."""
        return self._recorder.journal

    def committed(self, records: Sequence[Record]) -> None:
        """The journal's word that records are durable."""
        self._recorder.committed(records)

    def listen(self, listener: Callable[[Heard], None]) -> Callable[[], None]:
        """Hear every record from now on; returns how to stop hearing."""
        return self._recorder.listen(listener)

    def watch(self, watcher: Callable[[StepProgress], None]) -> Callable[[], None]:
        """Hear how far steps come, as far as they say; returns how to stop hearing."""
        return self._recorder.watch(watcher)

    def tell(self, progress: StepProgress) -> None:
        """Tell the watchers how far a step has come."""
        self._recorder.tell(progress)

    def alone(self) -> AbstractContextManager[object]:
        """While inside, no other thread requests, resumes or aborts anything."""
        return self._state

    def append(
        self,
        events: Sequence[Event],
        *,
        actor: str,
        upgrade: str | None = None,
        going_back: bool = False,
    ) -> None:
        """Make events durable, in order, in one commit.

        Raises what the journal raises; and, unless it leads back, what an anchor says
        against the journal.
        """
        if not events:
            return
        anchoring = self.anchoring
        if anchoring is not None and anchoring.found is not None and not going_back:
            raise anchoring.found
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
        self._recorder.append(
            [NewRecord(kind_of(e.label), e.upgrade, fields_of(e)) for e in entries],
            going_back=going_back,
            head=ends,
        )
        if jump is not None:
            self._keep_clock()
        for event in events:
            if isinstance(event, TimerSet) and upgrade is not None:
                self._timers.set(upgrade, event.id, event.due_ms)
        if ends:
            self.journal.restore_reserve()
        if anchoring is not None and not isinstance(events[0], Anchored):
            anchoring.changed(ends=ends, back=going_back)

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

        The same request key and plan return the upgrade of the first request,
        also where it has ended. Raises ComponentBusy, TargetsOverlap, PointsFull,
        PlanStale or RequestRefused; then nothing was recorded.
        """
        with self._state:
            known = self.known_request(plan, request_key)
            if known is not None:
                return known
            # The caller looked at the targets; meanwhile another request may have ended.
            check_versions(plan, self.world)
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
        """Record a request durably, and drive nothing.

        Raises ComponentBusy, TargetsOverlap, PointsFull; then nothing was recorded.
        """
        check_free(plan.components, self.world)
        check_room(plan, self.world)
        events: list[Event] = [
            Requested(
                plan=plan,
                plan_hash=plan_hash(plan),
                settings_hash=settings_hash,
                settings=None if settings_hash in self.world.settings else dict(settings),
                on_crash=on_crash,
                request_key=request_key,
            )
        ]
        back = plan.direction is Direction.BACK
        if not back:
            due = self.clock.now_ms() + total_limit_ms(settings_from_journal(settings))
            events.append(TimerSet(TOTAL_TIMER, due, Message.TIMER_DUE.value))
        self.append(events, actor=actor, upgrade=upgrade, going_back=back)

    def known_request(self, plan: Plan, request_key: str | None) -> str | None:
        """The upgrade that a request key named first, open or ended; None for a new key.

        Cost: for a key that no open upgrade has, all requests are read.
        Raises RequestRefused if that upgrade has another plan.
        """
        if request_key is None:
            return None
        known = self.world.request_keys.get(request_key)
        found = self.world.upgrades.get(known) if known is not None else None
        if found is not None:
            upgrade, digest = found.id, found.plan_hash
        else:
            record = self._request_record(request_key)
            if record is None:
                return None
            upgrade, digest = str(record.body["upgrade"]), str(record.body["plan_hash"])
        if digest != plan_hash(plan):
            raise RequestRefused(request_key, upgrade)
        return upgrade

    def _request_record(self, request_key: str) -> Record | None:
        """The request that named a key first. What was read once for it is not read again."""
        key, read_up_to = self._unused_key
        oldest = read_up_to if key == request_key else 0
        newest = 0
        for record in self.journal.read_back(sys.maxsize, Kind.UPGRADE_REQUESTED):
            newest = newest or record.seq
            if record.seq <= oldest:
                break
            if record.body.get("request_key") == request_key:
                return record
        self._unused_key = (request_key, newest)
        return None

    def resume(
        self,
        upgrade: str,
        *,
        actor: str,
        release: Release | None = None,
        take_over: bool = False,
    ) -> None:
        """Take an open upgrade up again; one that runs already is left running.

        With `take_over` a target that another home has taken is taken back.
        A release goes on from the hold: no crash, as `on_crash` means one, is seen in it.
        Raises MessageRefused if there is a release and no hold that it ends.
        """
        with self._state:
            resumed = release is None or self.open_upgrade(upgrade).paused
            if release is not None:
                self.say(upgrade, ReleaseHold(release), actor=actor)
            self.open_upgrade(upgrade)
            runner = self._runners.get(upgrade)
            if runner is None:
                self._start(upgrade, actor, resumed=resumed, take_over=take_over)
            elif runner.control.leaving or runner.control.idle:
                runner.again = True
                runner.resumed = runner.resumed or resumed

    def abort(self, upgrade: str, *, actor: str) -> None:
        """Turn an open upgrade back. Raises MessageRefused if the table refuses it."""
        with self._state:
            self.open_upgrade(upgrade)
            self.say(upgrade, TurnBack(Reason.CANCELLED, "aborted by a person"), actor=actor)
            if upgrade not in self._runners:
                self._start(upgrade, actor, resumed=True)

    def say(self, upgrade: str, said: Said, *, actor: str) -> None:
        """Record a message from outside; the upgrade's own thread acts on it (laws N5, N6)."""
        with self._state:
            runner = self._runners.get(upgrade)
            if runner is None:
                self._say(upgrade, said, actor)
                return
            with runner.control.mutex:
                self._say(upgrade, said, actor)
                leaves = runner.control.leaving and not isinstance(said, TimerDue)
                runner.again = runner.again or runner.control.idle or leaves
            found = self.world.upgrades.get(upgrade)
            if found is not None and found.undoing:
                runner.control.turn_back()
                self._state.notify_all()  # one that queues goes back at once

    def _say(self, upgrade: str, said: Said, actor: str) -> None:
        found = self.open_upgrade(upgrade)
        events = note(found, said, self.clock.now_ms())
        self.record(found, events, actor)

    def open_upgrade(self, upgrade: str) -> Upgrade:
        """An upgrade that is not finished. Raises UpgradeUnknown."""
        found = self.world.upgrades.get(upgrade)
        if found is None:
            raise UpgradeUnknown(upgrade)
        return found

    def record(
        self, upgrade: Upgrade, events: Sequence[Event], actor: str, *, going_back: bool = False
    ) -> None:
        """Append an upgrade's events, with the deadline of what begins with them."""
        back = upgrade.undoing or upgrade.plan.direction is Direction.BACK
        deadline = self._deadline(upgrade, events)
        begins = deadline is not None and deadline.id == BACK_TIMER
        if deadline is not None:
            events = (*events, deadline)
        self.append(
            events, actor=actor, upgrade=upgrade.id, going_back=going_back or back or begins
        )

    def _deadline(self, upgrade: Upgrade, events: Sequence[Event]) -> TimerSet | None:
        """The deadline that begins with events: of a way back, or of what a person let go on.

        A way back that is taken up again gets a new one: it goes on at resume.
        Forward, only a person's release gives new time, never a crash.
        """
        settings = self.settings_of(upgrade)
        now = self.clock.now_ms()
        if any(_begins_back(upgrade, event) for event in events):
            due = now + back_limit_ms(settings, upgrade.plan.direction)
            return TimerSet(BACK_TIMER, due, Message.TIMER_DUE.value)
        released = any(
            isinstance(event, Transition) and event.message is Message.RELEASE for event in events
        )
        if released and upgrade.plan.direction is Direction.FORWARD:
            due = now + total_limit_ms(settings)
            return TimerSet(TOTAL_TIMER, due, Message.TIMER_DUE.value)
        return None

    def record_access(self, access: Access, *, going_back: bool = False) -> None:
        """Record whether a caller was allowed something; `going_back` if that leads back."""
        self.append([access], actor=access.subject, going_back=going_back)

    # -- driving ----------------------------------------------------------

    def _start(self, upgrade: str, actor: str, *, resumed: bool, take_over: bool = False) -> None:
        runner = _Runner(upgrade, take_over=take_over)
        self._runners[upgrade] = runner
        self._failures.pop(upgrade, None)
        if self._leaving:
            runner.control.leave()
        self._timers.set_all(upgrade, self.open_upgrade(upgrade).timers)
        thread = threading.Thread(
            target=lambda: self._run(runner, actor, resumed=resumed),
            name=f"upgrade-{upgrade}",
            daemon=True,
        )
        try:
            thread.start()
        except BaseException:
            self._end(runner)  # the machine has no thread left: nobody may wait for this one
            raise

    def _run(self, runner: _Runner, actor: str, *, resumed: bool) -> None:
        goes_on = True
        while goes_on:
            try:
                self._wait_for_turn(runner)
                if not runner.control.leaving:
                    self._drive(runner, actor, resumed=resumed)
            except BaseException as failure:  # noqa: BLE001 - the waiting caller raises it
                runner.failure = failure
                self.failed(runner.upgrade, None, failure)
            with self._state:
                goes_on = self._has_more(runner)
                if goes_on:
                    resumed = runner.resumed
                    runner.again, runner.resumed, runner.control = False, False, Control()
                else:
                    self._end(runner)

    def _has_more(self, runner: _Runner) -> bool:
        """Whether something was said that its thread has not looked at (law N6)."""
        return (
            runner.again
            and runner.failure is None
            and not self._leaving
            and runner.upgrade in self.world.upgrades
        )

    def _end(self, runner: _Runner) -> None:
        del self._runners[runner.upgrade]
        self._timers.forget(runner.upgrade)
        if runner.failure is not None and runner.upgrade in self.world.upgrades:
            self._failures[runner.upgrade] = runner.failure
        runner.ended.set()
        self._state.notify_all()

    def _wait_for_turn(self, runner: _Runner) -> None:
        """Queue while more run than the settings allow. Going back never queues."""
        with self._state:
            while not runner.control.leaving:
                found = self.world.upgrades.get(runner.upgrade)
                if found is None or found.undoing or found.plan.direction is Direction.BACK:
                    break
                limit, key = at_once_limit(self.settings_now(found))
                running = [one for one in self._runners.values() if not one.queued]
                others = len([one for one in running if one is not runner])
                if others < limit:
                    break
                runner.queued = True
                if found.waits_for != key:
                    self._tell_that_it_waits(found, key, limit, others)
                self._state.wait()
            runner.queued = False

    def _tell_that_it_waits(self, upgrade: Upgrade, key: str, limit: int, running: int) -> None:
        inputs = {"key": key, "limit": str(limit), "running": str(running)}
        waits = Decided(AT_ONCE_POLICY, "wait", inputs, (f"{running} run, {key} is {limit}",))
        # It waits whether or not anybody can read so.
        with contextlib.suppress(NoodleError):
            self.append([waits], actor="engine", upgrade=upgrade.id)

    def settings_now(self, upgrade: Upgrade) -> Values:
        """The settings for the live keys: those in force now, also for what runs already.

        Without any, those that the upgrade was requested under.
        """
        return self._settings_now or self.settings_of(upgrade)

    def take_settings(self, settings: Values) -> None:
        """Have live keys obeyed as `settings` has them, at once."""
        self.anchor(settings)
        with self._state:
            self._settings_now = settings
            self._state.notify_all()  # more may run now than a moment ago

    def settings_of(self, upgrade: Upgrade) -> Values:
        """The settings that an upgrade was requested under."""
        stored = self.world.settings.get(upgrade.settings_hash, {})
        read = self._read_settings
        if read is None or read[0] is not stored:
            # Whoever queues asks again at each turn: most upgrades have the same ones.
            self._read_settings = read = (stored, settings_from_journal(stored))
        return read[1]

    def _drive(self, runner: _Runner, actor: str, *, resumed: bool) -> None:
        upgrade = self.open_upgrade(runner.upgrade)
        driving = Driving(self, runner.upgrade, actor, runner.control)
        with self.around(upgrade, self.settings_of(upgrade)):
            try:
                action = driving.begin(resumed=resumed, take_over=runner.take_over)
                while action is not None:
                    action = driving.record(driving.perform(action))
            finally:
                driving.close()

    def _timer_due(self, upgrade: str, timer: str) -> None:
        """Tell a deadline to the upgrade; one that nobody drives hears it when it is taken up."""
        with self._state:
            if upgrade not in self._runners or upgrade not in self.world.upgrades:
                return
            try:
                self.say(upgrade, TimerDue(timer), actor="engine")
            except NoodleError:
                # Its own thread meets the same trouble and reports it.
                self._timers.set(upgrade, timer, self.clock.now_ms() + TIMER_RETRY_MS)

    # -- waiting and ending -----------------------------------------------

    def wait(self, upgrade: str, timeout_s: float | None = None) -> bool:
        """Wait until nobody drives the upgrade; False if the time ran out.

        Raises what the upgrade's thread raised.
        """
        with self._state:
            runner = self._runners.get(upgrade)
            failure = self._failures.get(upgrade)
        if runner is None:
            if failure is not None:
                raise failure
            return True
        if not runner.ended.wait(timeout_s):
            return False
        if runner.failure is not None:
            raise runner.failure
        return True

    def leave(self, upgrade: str | None = None) -> None:
        """Stop after the step that runs; what is stopped can be resumed.

        Without `upgrade`, all of them and what is asked for later.
        """
        with self._state:
            self._leaving = self._leaving or upgrade is None
            for runner in self._runners.values():
                if upgrade in (None, runner.upgrade):
                    runner.control.leave()
            self._state.notify_all()

    @contextlib.contextmanager
    def interrupted_by(
        self, upgrades: Sequence[str], stop: threading.Event | None
    ) -> Iterator[None]:
        """While inside, `stop` makes the upgrades stop after the step that runs.

        Their threads look at it themselves: no further step begins once it is set.
        """
        if stop is None:
            yield
            return
        with self._state:
            running = [self._runners[one] for one in upgrades if one in self._runners]
            controls = [runner.control for runner in running]
            for control in controls:
                control.interrupts.append(stop)
        try:
            yield
        finally:
            if stop.is_set():
                for one in upgrades:
                    self.leave(one)
            for control in controls:
                control.interrupts.remove(stop)

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
        if self.anchoring is not None:
            self.anchoring.close()
        self.journal.close()
        self._lock.release()
