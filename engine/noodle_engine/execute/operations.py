"""What can be asked of the engine, by a caller in this process or by the socket.

Owns the operations: each takes plain arguments and returns a view, the same
whichever way it was asked.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from noodle_engine.execute.answers import reading
from noodle_engine.execute.answers.views import CollectedView, CompactedView, UpgradeView
from noodle_engine.execute.answers.wording import sentence
from noodle_engine.execute.engine import Engine, Heard
from noodle_engine.execute.failures import (
    ComponentBusy,
    Interrupted,
    PlanOfOtherHome,
    RequestMalformed,
    RollbackDisabled,
    SettingsDiffer,
    UpgradesDisabled,
)
from noodle_engine.execute.home.reloading import Reloading
from noodle_engine.execute.home.service import Peer, Tell
from noodle_engine.execute.home.settings import Options, Settled
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.execute.planning import check_whole, check_world, observed_root, planned_root
from noodle_engine.execute.recording import StepProgress
from noodle_engine.execute.retention import Keeping, collect
from noodle_engine.execute.shredding import shred
from noodle_engine.machine.codec import JsonObject, decode, encode
from noodle_engine.machine.failures import RecordUnreadable
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.records import Noted
from noodle_engine.machine.states import Direction, OnCrash, Release
from noodle_engine.registry.release import Release as Registered
from noodle_journal.errors import NoodleError
from noodle_policies.settings.values import Values, nested, value_text, values_hash

if TYPE_CHECKING:
    from noodle_engine.execute.observing.observer import Observer

__all__ = ["Operations", "heard_object"]

POLL_S = 0.05
NOTES = frozenset({"component.forgotten", "journal.taken_over", "key.rewrapped"})

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")
Hear = Callable[[Heard], None]
Watch = Callable[[StepProgress], None]


def _show(newest: deque[StepProgress], upgrade: str, watch: Watch | None) -> None:
    """Tell how far a step of the upgrade has come, if there is news and somebody asks."""
    if newest and watch is not None:
        progress = newest.popleft()
        if progress.upgrade == upgrade:
            watch(progress)


def heard_object(heard: Heard) -> JsonObject:
    """A heard record as it goes over the socket."""
    return {
        "seq": heard.seq,
        "upgrade": heard.entry.upgrade,
        "label": heard.entry.label,
        "text": sentence(heard.entry),
        "at_ms": heard.entry.at_ms,
    }


def _refusals_told(method: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """An operation whose refusals its object's observer is told of."""

    @functools.wraps(method)
    def told(*given: _Given.args, **named: _Given.kwargs) -> _Made:
        try:
            return method(*given, **named)
        except NoodleError as failure:
            operations = given[0]
            assert isinstance(operations, Operations)
            operations.tell_refusal(method.__name__, str(named.get("actor", "")), failure)
            raise

    return told


class Operations:
    """The operations on one engine."""

    def __init__(
        self,
        engine: Engine,
        environment: Mapping[str, str],
        options: Options = (),
        observer: Observer | None = None,
    ) -> None:
        """`observer` is told of each refusal, and may refuse to go forward unlogged."""
        self._engine = engine
        self._observer = observer
        self.reloading = Reloading(
            engine.home,
            environment,
            options,
            record=lambda change: engine.append([change], actor="engine"),
            take=self._take_settings,
        )

    def _settled(self) -> Settled:
        return self.reloading.look()

    def _take_settings(self, settings: Values) -> None:
        self._engine.take_settings(settings)
        if self._observer is not None:
            self._observer.obey(settings)

    def tell_refusal(self, operation: str, actor: str, failure: NoodleError) -> None:
        """Tell the observer that something was refused, and nothing changed."""
        if self._observer is not None:
            self._observer.refused(operation, actor, failure)

    @_refusals_told
    def apply(
        self,
        plan: Plan,
        *,
        actor: str,
        on_crash: OnCrash = OnCrash.FORWARD,
        request_key: str | None = None,
        take_over: bool = False,
        made_now: bool = False,
    ) -> str:
        """Request exactly this plan. Returns the upgrade's id.

        `made_now` says that nobody had the time to read it: its targets were looked at just
        before, and step check looks at them again, once they are locked.

        Raises RequestMalformed for a plan that is none, PlanStale if the world
        moved, LogUnwritable, PlanOfOtherHome, UpgradesDisabled, RollbackDisabled, ComponentBusy,
        TargetsOverlap, RequestRefused, and what an anchor says; then nothing was recorded.
        """
        engine = self._engine
        wrong = check_whole(plan)
        if wrong is not None:
            raise RequestMalformed(f"its plan cannot be used: {wrong}")
        settled = self._settled()
        if plan.direction is Direction.FORWARD:
            if not settled.must().switch("runtime_upgrade.enabled"):
                raise UpgradesDisabled
            if self._observer is not None:
                self._observer.must()
            if engine.anchoring is not None:
                engine.anchoring.must_agree()
        elif settled.values and not settled.values.switch("runtime_upgrade.rollback.enabled"):
            raise RollbackDisabled
        if plan.home != engine.journal.log_id:
            raise PlanOfOtherHome(plan.home, engine.journal.log_id)
        stored = settled.values.stored() if settled.values else {}
        digest = values_hash(stored)
        if engine.known_request(plan, request_key) is None:
            look = planned_root(plan) if made_now else observed_root
            check_world(plan, engine.world, digest, look)
        now = engine.clock.now_ms()
        return engine.submit(
            plan,
            upgrade=new_upgrade_id(now, os.urandom(16)),
            actor=actor,
            settings=stored,
            settings_hash=digest,
            on_crash=on_crash,
            request_key=request_key,
            take_over=take_over,
        )

    @_refusals_told
    def resume(
        self,
        upgrade: str | None,
        *,
        actor: str,
        release: Release | None,
        take_over: bool = False,
    ) -> list[str]:
        """Take up one upgrade, or all that are open; with a release, all on hold.

        With `take_over` also where another home has taken a target. Returns their ids.
        """
        engine = self._engine
        if upgrade is None:
            wanted: Sequence[str] = [
                one.id
                for one in engine.world.upgrades.values()
                if release is None or one.hold is not None
            ]
        else:
            wanted = [reading.find_upgrade(engine.journal, engine.world, upgrade).id]
        anchoring = engine.anchoring
        if anchoring is not None and self._goes_forward(wanted, release):
            anchoring.must_agree(unreachable=False)
        taken = []
        for one in wanted:
            if one in engine.world.upgrades:
                engine.resume(one, actor=actor, release=release, take_over=take_over)
            taken.append(one)
        return taken

    def _goes_forward(self, wanted: Sequence[str], release: Release | None) -> bool:
        """Whether one of these goes forward once it is taken up."""
        found = [self._engine.world.upgrades.get(one) for one in wanted]
        return release is not Release.BACK and any(
            one is not None and not one.undoing and one.plan.direction is Direction.FORWARD
            for one in found
        )

    @_refusals_told
    def abort(self, upgrade: str, *, actor: str) -> str:
        """Turn an upgrade back. Returns its id."""
        found = reading.find_upgrade(self._engine.journal, self._engine.world, upgrade)
        self._engine.abort(found.id, actor=actor)
        return found.id

    @_refusals_told
    def note(self, code: str, text: str, data: Mapping[str, str], *, actor: str) -> None:
        """Record one of the notes that commands write."""
        if code not in NOTES:
            raise ValueError(code)
        with self._engine.alone():
            if code == "component.forgotten":
                name = data.get("component", "")
                world = self._engine.world
                for one in world.upgrades.values():
                    if any(component.name == name for component in one.plan.components):
                        raise ComponentBusy(name, one.id)
            self._engine.append([Noted(code, text, dict(data))], actor=actor)

    @_refusals_told
    def rotate(self, *, log_key: bool, actor: str) -> None:
        """Begin a new epoch of the journal now; see `Journal.rotate`."""
        with self._engine.alone():
            self._engine.journal.rotate(log_key=log_key)
            what = "a new epoch and a new signing key" if log_key else "a new epoch"
            self._engine.append([Noted("key.rotated", what, {})], actor=actor)

    @_refusals_told
    def register(self, token: str, *, actor: str) -> None:
        """Record that a prepared release is known, then give it its name.

        After a crash in between it is recorded and not known: adding it again
        records it again. One that somebody else registered meanwhile with the
        same content is not recorded. Raises what `ReleaseStore.publish` raises;
        then no release has changed.
        """

        def record(release: Registered) -> None:
            name, version = release.name, release.version
            data = {"component": name, "version": version, "content": release.content}
            note = Noted("component.added", f"{name} {version} is known", data)
            self._engine.append([note], actor=actor)

        with self._engine.alone():
            self._engine.releases.publish(token, record=record)

    @_refusals_told
    def collect(self, *, actor: str) -> CollectedView:
        """Drop the kept old versions that the settings no longer keep. See `retention`.

        What killed processes left that were adding releases goes too, and so do records of
        the journal that are over.
        """
        self._engine.releases.clear()
        collected = collect(self._engine, Keeping.of(self._settled().must()), actor=actor)
        return replace(collected, shredded_records=self.shred())

    def cleanup_interval(self) -> int | None:
        """How often old versions go by themselves (s); None where they do not."""
        values = self._settled().values
        if values is None or not values.acts("rollback_manager.cleanup.enabled"):
            return None
        return values.whole("rollback_manager.cleanup.cleanup_interval")

    def shred(self) -> int:
        """Make records unreadable that are over; how many. See `shredding`."""
        days = self._settled().must().whole("security.audit_logging.log_retention_days")
        return shred(self._engine, days=days)

    @_refusals_told
    def compact(self, *, actor: str) -> CompactedView:
        """Replace what is shredded by its hashes. See `Journal.compact`."""
        path = self._engine.home.path / "journal.db"
        with self._engine.alone():
            before = path.stat().st_size
            done = self._engine.journal.compact()
            freed = max(0, before - path.stat().st_size)
            text = f"{done} shredded records are hashes now"
            self._engine.append([Noted("journal.compacted", text, {})], actor=actor)
        return CompactedView(done, freed)

    def view(self, upgrade: str) -> UpgradeView:
        """How an upgrade stands."""
        engine = self._engine
        return reading.upgrade_view(
            engine.journal, reading.find_upgrade(engine.journal, engine.world, upgrade)
        )

    def follow(
        self,
        upgrade: str,
        *,
        since: int = 0,
        hear: Hear | None = None,
        watch: Watch | None = None,
        stop: threading.Event | None = None,
        wait_ms_max: int | None = None,
    ) -> UpgradeView:
        """Wait until nobody drives the upgrade any more, and say how it stands.

        `hear` hears its records after sequence number `since`, each once and
        in order. `watch` is told how far its steps come, the newest word only:
        who listens slowly misses some, and holds nobody up. `stop` makes it stop
        after its step (then Interrupted is raised); `wait_ms_max` only ends the
        waiting.
        """
        engine = self._engine
        heard: SimpleQueue[Heard] = SimpleQueue()
        unlisten = engine.listen(heard.put)
        newest: deque[StepProgress] = deque(maxlen=1)
        unwatch = engine.watch(newest.append)
        last = since

        def tell() -> None:
            """Tell what has come; in this thread, so that a slow listener holds nobody up."""
            nonlocal last
            while not heard.empty():
                one = heard.get()
                if one.entry.upgrade == upgrade and one.seq > last:
                    last = one.seq
                    if hear is not None:
                        hear(one)
            _show(newest, upgrade, watch)

        until = None if wait_ms_max is None else time.monotonic() + wait_ms_max / 1000
        try:
            with engine.interrupted_by([upgrade], stop):
                if hear is not None:
                    for earlier in self._recorded(upgrade, since):
                        last = earlier.seq
                        hear(earlier)
                while not engine.wait(upgrade, POLL_S):
                    tell()
                    if stop is not None and stop.is_set():
                        engine.leave(upgrade)  # it may stand in the queue, or between two checks
                        engine.wait(upgrade)
                    elif until is not None and time.monotonic() >= until:
                        break
                tell()
        finally:
            unlisten()
            unwatch()
        if stop is not None and stop.is_set() and self._goes_on_at_resume(upgrade):
            raise Interrupted(upgrade)
        return self.view(upgrade)

    def _goes_on_at_resume(self, upgrade: str) -> bool:
        """Whether an upgrade that nobody drives has neither ended nor waits for a person."""
        found = self._engine.world.upgrades.get(upgrade)
        return found is not None and found.hold is None

    def _recorded(self, upgrade: str, since: int) -> Iterator[Heard]:
        """An upgrade's records after `since` that are there already."""
        for record in self._engine.journal.read_run(upgrade):
            entry = reading.entry_in(record)
            if entry is not None and record.seq > since:
                yield Heard(record.seq, entry)

    # -- the socket -------------------------------------------------------

    def answer(
        self, peer: Peer, operation: str, arguments: Mapping[str, Any], tell: Tell
    ) -> Mapping[str, Any]:
        """Answer one request from the socket. Raises RequestMalformed before it did anything."""
        if operation == "ping":
            return {"pid": os.getpid(), "running": list(self._engine.running)}
        if operation == "collect":
            self._same_settings(arguments)
            actor = str(arguments.get("actor") or peer.name)
            return {"collected": encode(self.collect(actor=actor))}
        if operation == "compact":
            actor = str(arguments.get("actor") or peer.name)
            return {"compacted": encode(self.compact(actor=actor))}
        since = self._engine.journal.size
        begin, wait, limit = self._asked(peer, operation, arguments)

        def hear(heard: Heard) -> None:
            tell(heard_object(heard))

        def show(progress: StepProgress) -> None:
            tell({"progress": encode(progress)})

        watch = show if arguments.get("progress") else None  # an older client asks for none
        views = [
            self.follow(one, since=since, hear=hear, watch=watch, wait_ms_max=limit)
            if wait
            else self.view(one)
            for one in begin()
        ]
        return {"views": [encode(view) for view in views]}

    def _asked(
        self, peer: Peer, operation: str, arguments: Mapping[str, Any]
    ) -> tuple[Callable[[], Sequence[str]], bool, int | None]:
        """What a request asks for, wholly read: what to begin, whether to wait, how long (ms)."""
        try:
            actor = str(arguments.get("actor") or peer.name)
            begin = self._beginning(operation, arguments, actor)
            limit = arguments.get("wait_ms_max")
            return begin, bool(arguments.get("wait", True)), None if limit is None else int(limit)
        except (KeyError, ValueError, TypeError, RecordUnreadable) as error:
            raise RequestMalformed(f"{operation}: {error}") from error

    def _beginning(
        self, operation: str, arguments: Mapping[str, Any], actor: str
    ) -> Callable[[], Sequence[str]]:
        """Read an operation's arguments. What is returned does it, and gives the upgrades' ids."""
        match operation:
            case "apply":
                plan = decode(Plan, arguments["plan"])
                on_crash = OnCrash(arguments.get("on_crash", "forward"))
                key = arguments.get("request_key")
                request_key = None if key is None else str(key)
                take_over = bool(arguments.get("take_over"))
                self._same_settings(arguments)
                made_now = bool(arguments.get("made_now"))
                return lambda: [
                    self.apply(
                        plan,
                        actor=actor,
                        on_crash=on_crash,
                        request_key=request_key,
                        take_over=take_over,
                        made_now=made_now,
                    )
                ]
            case "resume":
                asked = arguments.get("upgrade")
                how = arguments.get("release")
                release = Release(how) if how else None
                upgrade = None if asked is None else str(asked)
                taking = bool(arguments.get("take_over"))
                return lambda: self.resume(upgrade, actor=actor, release=release, take_over=taking)
            case "abort":
                aborted = str(arguments["upgrade"])
                return lambda: [self.abort(aborted, actor=actor)]
            case "register":
                token = str(arguments["token"])
                return lambda: self._registered(token, actor)
            case "rotate":
                log_key = bool(arguments.get("log_key"))
                return lambda: self._rotated(actor, log_key=log_key)
            case "note":
                code, text = str(arguments["code"]), str(arguments["text"])
                data = {str(k): str(v) for k, v in dict(arguments.get("data") or {}).items()}
                if code not in NOTES:
                    raise ValueError(code)
                return lambda: self._noted(code, text, data, actor)
            case _:
                raise ValueError("no such operation")

    def _same_settings(self, arguments: Mapping[str, Any]) -> None:
        """Refuse a request from a process whose settings are others than those of this one.

        An older client sends none; for going back none are sent. Raises SettingsDiffer.
        """
        asked = arguments.get("settings")
        ours = self._settled().values
        if not isinstance(asked, dict) or ours is None or values_hash(nested(asked)) == ours.hash:
            return
        pairs = {
            key: (value_text(ours.by_key.get(key)), value_text(asked.get(key)))
            for key in sorted({*asked, *ours.by_key})
        }
        raise SettingsDiffer({key: pair for key, pair in pairs.items() if pair[0] != pair[1]})

    def _rotated(self, actor: str, *, log_key: bool) -> list[str]:
        self.rotate(log_key=log_key, actor=actor)
        return []

    def _registered(self, token: str, actor: str) -> list[str]:
        self.register(token, actor=actor)
        return []

    def _noted(self, code: str, text: str, data: Mapping[str, str], actor: str) -> list[str]:
        self.note(code, text, data, actor=actor)
        return []
