"""The Python API: one home, and everything that can be asked of it.

Owns the way from a call to the process that may carry it out. Questions are
answered from the journal, beside whoever writes. Changes need the home's
lock: whoever gets it becomes the engine, listens on the home's socket and
carries them out; whoever finds it held asks the holder, with the same answer.
"""

# ruff: noqa: PLC0415
# A question pays for reading only: what changes or examines is imported where it is used.

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from noodle_engine.disk.locks import lock_holder
from noodle_engine.execute.answers import reading
from noodle_engine.execute.answers.views import (
    AuditEntry,
    AuditVerdict,
    CollectedView,
    CompactedView,
    ComponentsView,
    DiffView,
    HistoryView,
    HomeView,
    InitView,
    LintView,
    PlanView,
    PointsView,
    ReplayView,
    ShreddedRow,
    StepsView,
    UpgradeView,
    VerifiedView,
)
from noodle_engine.execute.answers.wording import sentence
from noodle_engine.execute.failures import (
    ComponentUnknown,
    HolderGone,
    HolderSilent,
    HomeHeld,
    NothingInstalled,
    UpgradesDisabled,
    WaitInterrupted,
)
from noodle_engine.execute.home.layout import Home, find_home, hold_alone, machine_id
from noodle_engine.execute.home.opening import open_reader, releases_of
from noodle_engine.execute.home.settings import Options, Settled, settle
from noodle_engine.execute.keys.finding import master_key_of
from noodle_engine.execute.recording import Heard, Live, StepProgress
from noodle_engine.machine.codec import decode, encode
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.states import Direction, OnCrash, Release
from noodle_engine.machine.upgrade import Fold
from noodle_engine.registry.listing import known_releases
from noodle_journal import read_public_key
from noodle_journal.errors import NoodleError
from noodle_policies.settings.values import values_hash

if TYPE_CHECKING:
    from noodle_engine.execute.anchoring.answering import AnchorsView
    from noodle_engine.execute.auditing.comparing import AuditDiffView
    from noodle_engine.execute.auditing.filtering import Filter
    from noodle_engine.execute.auditing.views import CheckpointView, ExportView, ProofView
    from noodle_engine.execute.home.checkup import DoctorView
    from noodle_engine.execute.home.doctor import Check
    from noodle_engine.execute.home.holder import Holder
    from noodle_engine.execute.keys.operating import (
        KeyRecoveredView,
        KeyView,
        PublicKeyView,
        RewrappedView,
    )
    from noodle_engine.execute.observing.bundling import BundleView
    from noodle_engine.execute.observing.examining import Examiner
    from noodle_engine.execute.planning import Planner
    from noodle_engine.registry.manifest import ReleaseManifest
    from noodle_journal import Note, Reader

__all__ = ["Noodle", "UpgradeEvent", "Waiting"]

IDLE_S = 1.0
HOLDER_WAIT_S_MAX = 3.0
"""How long a holder may take from its lock to its socket, or the other way round."""
HOLDER_POLL_S = 0.05

Answered = TypeVar("Answered")
Follow = Callable[["UpgradeEvent"], None]
Watch = Callable[[StepProgress], None]


@dataclass(frozen=True, slots=True)
class UpgradeEvent:
    """Something durable that happened to an upgrade, in a plain sentence."""

    seq: int
    upgrade: str | None
    label: str
    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a call waits for its upgrade, and what it tells meanwhile.

    Without `wait` it returns once the request is durable. `wait_ms_max` only
    ends the waiting. `progress` is told how far a step has come, some times a second,
    while it runs. `stop` makes the upgrade stop, resumable, after its step;
    where another process drives it, it only ends the waiting (WaitInterrupted).
    """

    wait: bool = True
    wait_ms_max: int | None = None
    follow: Follow | None = None
    progress: Watch | None = None
    stop: threading.Event | None = None


class Noodle:
    """One home. Use it as a context manager, or call `close`.

    Safe to use from several threads. Opening it changes nothing and takes no
    lock; the first change does.
    """

    def __init__(
        self, home: Home, environment: Mapping[str, str], actor: str, options: Options = ()
    ) -> None:
        self._home = home
        self._environment = environment
        self._options = tuple(options)
        self._actor = actor
        self._guard = threading.RLock()
        self._holder: Holder | None = None

    @classmethod
    def init(
        cls,
        home: Path | str | None = None,
        *,
        master_key: bytes | None = None,
        key_source: str | None = None,
    ) -> InitView:
        """Make a home: keys, journal, first settings. Raises HomeExists, HomeUnusable.

        Without `master_key` that of NOODLE_JOURNAL_KEY is used where it is set, else one is
        made. `key_source` says where it is kept: by default a new one in the home (0600), and
        one that is given by whoever gave it. The recovery key in the answer is shown once and
        kept nowhere.
        """
        from noodle_engine.execute.keys.making import make_home

        where = find_home(home, os.environ, os.geteuid())
        made = make_home(
            where, os.environ, master_key=master_key, key_source=key_source, entropy=os.urandom
        )
        # The first command after it finds them made.
        settle(where, os.environ, ())
        return made

    @classmethod
    def open(
        cls,
        home: Path | str | None = None,
        *,
        actor: str | None = None,
        options: Options = (),
    ) -> Self:
        """Open a home. Raises HomeAbsent and its kin.

        `options` are settings, as pairs of a dotted key and a text: they count more than
        variables and files.
        """
        where = find_home(home, os.environ, os.geteuid())
        where.check()
        return cls(where, os.environ, actor or f"uid:{os.geteuid()}", options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def home(self) -> Path:
        """Where the home is."""
        return self._home.path

    def close(self) -> None:
        """Wait for what runs in this process, then give the home up."""
        with self._guard:
            holder, self._holder = self._holder, None
        if holder is not None:
            holder.close()

    def _settled(self) -> Settled:
        return settle(self._home, self._environment, self._options)

    # -- questions --------------------------------------------------------

    @contextlib.contextmanager
    def _read_live(self, question: str = "look") -> Iterator[tuple[reading.JournalReader, Live]]:
        """A journal to read and its fold; the engine's own while this holds the home."""
        with self._guard:
            holder = self._holder
        if holder is not None:
            holder.observer.read(question, self._actor)
            yield holder.engine.journal, holder.engine.live
            return
        reader, live = open_reader(
            self._home,
            self._environment,
            self._options,
            found=lambda settled: self._tell_read(question, settled),
        )
        try:
            yield reader, live()
        finally:
            reader.close()

    @contextlib.contextmanager
    def _read(self, question: str = "look") -> Iterator[tuple[reading.JournalReader, Fold]]:
        with self._read_live(question) as (journal, live):
            yield journal, live.world

    def _tell_read(self, question: str, settled: Settled) -> None:
        """Put a question into the audit log, where the settings want reads there as well."""
        level = settled.values and settled.values.text("security.audit_logging.log_level")
        if level == "DEBUG":
            from noodle_engine.execute.observing.observer import passing

            with passing(self._home, self._environment, self._options) as observer:
                observer.read(question, self._actor)

    def _tell_refusal(self, operation: str, failure: NoodleError) -> None:
        """Tell what was refused before anybody held the home for it."""
        from noodle_engine.execute.observing.observer import passing

        with self._guard:
            holder = self._holder
        if holder is not None:
            holder.observer.refused(operation, self._actor, failure)
            return
        with (
            contextlib.suppress(Exception),
            passing(self._home, self._environment, self._options) as observer,
        ):
            observer.refused(operation, self._actor, failure)

    @property
    def journal(self) -> Reader:
        """The journal, to read. The caller closes it."""
        reader, _ = open_reader(self._home, self._environment, self._options)
        return reader

    def status(self) -> HomeView:
        """What is open and what is installed."""
        with self._read("status") as (journal, world):
            settled = self._settled()
            problems = () if settled.failure is None else settled.failure.problems
            return reading.home_view(
                journal,
                world,
                known_releases(self._home.path),
                problems,
                self._anchor_problems(world, settled),
            )

    @staticmethod
    def _anchor_problems(world: Fold, settled: Settled) -> Sequence[str]:
        if world.anchors is None or settled.values is None:
            return ()
        from noodle_engine.execute.anchoring.answering import anchor_problems
        from noodle_engine.execute.anchoring.options import anchor_options

        return anchor_problems(world, anchor_options(settled.values))

    def upgrade(self, upgrade_id: str) -> UpgradeView:
        """One upgrade, by its id or a beginning of it. Raises UpgradeUnknown."""
        with self._read("upgrade") as (journal, world):
            return reading.upgrade_view(journal, reading.find_upgrade(journal, world, upgrade_id))

    def steps(self, upgrade_id: str, *, output: bool = False) -> StepsView:
        """The steps of an upgrade; with `output`, what their commands printed."""
        with self._read("steps") as (journal, world):
            found = reading.find_upgrade(journal, world, upgrade_id)
            rows = reading.step_rows(found, journal.read_run(found.id), output=output)
        settings = self._settled().values
        if settings and not settings.switch("runtime_upgrade_manager.performance_monitoring"):
            rows = tuple(replace(row, duration_ms=None) for row in rows)
        return StepsView(found.id, rows)

    def history(self, *, limit: int = 20, everything: bool = False) -> HistoryView:
        """Upgrades, newest first: at most `limit`, and at most what the settings list.

        With `everything` all that the journal holds. `hidden_by` names the setting that
        left older ones out.
        """
        from noodle_engine.execute.timing.limits import DAY_MS

        settled = self._settled()
        settings = settled.values
        wrong = () if settled.failure is None else settled.failure.problems
        with self._read("history") as (journal, world):
            if everything or settings is None:
                rows, _ = reading.history(journal, None if everything else limit)
                gone = reading.shredded(journal)
                return HistoryView(rows, shredded=gone, settings_problems=wrong)
            index = settings.whole("runtime_upgrade_manager.max_upgrade_history")
            days = settings.whole("deployment.upgrade_integration.history_days")
            rows, cut = reading.history(
                journal,
                limit,
                unfinished=world.upgrades,
                finished_max=index,
                since_ms=max(world.at_ms, time.time_ns() // 1_000_000) - days * DAY_MS,
            )
            return HistoryView(rows, cut, reading.shredded(journal))

    def components(self, name: str | None = None) -> ComponentsView:
        """What is installed or known. Raises ComponentUnknown for a name that is not."""
        from noodle_engine.execute.answers.releases import release_rows

        store = releases_of(self._home)
        known = known_releases(self._home.path)
        with self._read("components") as (_, world):
            rows = reading.component_rows(world, known)
        found = tuple(row for row in rows if name in (None, row.name))
        if name is not None and not found:
            raise ComponentUnknown(name, [row.name for row in rows])
        listed = [one for row in found if row.releases for one in release_rows(store, row.name)]
        return ComponentsView(found, tuple(listed))

    def diff(self, old: str, new: str) -> DiffView:
        """What leads from one known release to another (both NAME@VERSION).

        No payload is read. Raises ReleaseUnknown, VersionAdopted, ReleaseDamaged.
        """
        from noodle_engine.execute.answers.releases import diff_view
        from noodle_engine.registry.failures import ReleaseUnknown

        store = releases_of(self._home)
        try:
            return diff_view(store.find(old), store.find(new))
        except ReleaseUnknown as failure:
            with self._read() as (_, world):
                reading.refuse_adopted(world, failure.wanted)
            raise

    def lint(self, release: Path | str) -> LintView:
        """Advice on a release: a folder (a Path), or a known one (NAME@VERSION).

        Changes nothing. Raises what adding the release would be refused for, or
        ReleaseUnknown.
        """
        from noodle_engine.execute.answers.releases import lint_view

        return lint_view(releases_of(self._home), release)

    def verify(
        self,
        name: str | None = None,
        *,
        full: bool = False,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> VerifiedView:
        """Hold what is on disk against what is installed: one component, or all.

        A file that looks as it did when it was read last is believed, unless `full`.
        Changes nothing. Raises NothingInstalled for a name that is not installed.
        """
        from noodle_engine.execute.answers.verifying import verified_view

        with self._read("verify") as (_, world):
            if name is not None and name not in world.components:
                raise NothingInstalled(name)
            names = sorted(world.components) if name is None else [name]
            return verified_view(world, names, full=full, stop=stop, progress=progress)

    def points(self, name: str | None = None) -> PointsView:
        """The kept old versions, oldest first. Raises NothingInstalled for a name that has none."""
        from noodle_engine.execute.retention import point_row

        with self._read("points") as (_, world):
            known = {*world.components, *(point.component for point in world.points)}
            if name is not None and name not in known:
                raise NothingInstalled(name)
            rows = tuple(
                point_row(point) for point in world.points if name in (None, point.component)
            )
        return PointsView(rows, sum(row.size_bytes or 0 for row in rows))

    def collect(self, *, dry_run: bool = False) -> CollectedView:
        """Drop the kept old versions that the settings no longer keep, and shred what is over.

        The newest of a component goes by age alone, and one of a component that an open
        upgrade has never. With `dry_run` nothing is changed: it says what would go.
        Raises SettingsRefused.
        """
        if dry_run:
            return self._collectable()
        return self._here_or_there(
            lambda holder: holder.operations.collect(actor=self._actor), self._ask_collect
        )

    def _collectable(self) -> CollectedView:
        from noodle_engine.execute.retention import Keeping, expired, point_row
        from noodle_engine.execute.shredding import to_shred

        settings = self._settled().must()
        with self._read("collect") as (journal, world):
            now_ms = time.time_ns() // 1_000_000
            gone = expired(world, Keeping.of(settings), now_ms=now_ms)
            days = settings.whole("security.audit_logging.log_retention_days")
            over = to_shred(journal, world.upgrades, now_ns=time.time_ns(), days=days)
        rows = tuple(point_row(point) for point in gone)
        return CollectedView(
            rows,
            sum(row.own_bytes or 0 for row in rows),
            shredded_records=sum(span.last - span.first + 1 for span in over),
            dry_run=True,
        )

    def _ask_collect(self) -> CollectedView:
        from noodle_engine.execute.home.holder import client_of

        request = {"actor": self._actor, "settings": dict(self._settled().must().by_key)}
        answer = client_of(self._home).ask("collect", request)
        return decode(CollectedView, answer["collected"])

    def audit_verify(
        self,
        *,
        public_key: bytes | None = None,
        every_signature: bool = False,
        since: Note | None = None,
        first: int = 1,
        last: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> AuditVerdict:
        """Verify the journal: with the home's key, or with the public key alone.

        `since` is a checkpoint that was kept elsewhere: the journal must still hold what it
        signed. `first` and `last` make it a range. `progress` gets records checked, and all.
        """
        from noodle_engine.execute.auditing.verifying import verdict_of
        from noodle_journal import verify

        key = None
        if public_key is None:
            key = master_key_of(self._home, self._environment, self._settled())
        report = verify(
            self._home.path,
            master_key=key,
            public_key=public_key,
            every_signature=every_signature,
            since=() if since is None else (since,),
            first=first,
            last=last,
            progress=progress,
        )
        return verdict_of(report, with_key=key is not None, since=since)

    def shredded(self) -> ShreddedRow | None:
        """The records at the journal's beginning that cannot be read any more, and why."""
        with self._read("shredded") as (journal, _):
            return reading.shredded(journal)

    def audit_show(
        self,
        upgrade_id: str | None = None,
        *,
        start: int = 1,
        stop: int | None = None,
        wanted: Filter | None = None,
    ) -> Iterator[AuditEntry]:
        """Records as sentences with their fields: of one upgrade, or all from `start`.

        `wanted` says more of what is wanted; the other arguments count more than it does.
        """
        from noodle_engine.execute.auditing.filtering import Filter, chosen

        with self._read("audit_show") as (journal, world):
            found = wanted or Filter()
            if upgrade_id is not None:
                one = reading.find_upgrade(journal, world, upgrade_id)
                found = replace(found, upgrade=one.id)
            if start != 1:
                found = replace(found, first=start)
            if stop is not None:
                found = replace(found, last=stop - 1)
            yield from reading.audit_entries(chosen(journal, found))

    def audit_diff(self, first: int, last: int) -> AuditDiffView:
        """What the records after `first`, up to and with `last`, changed; 0 is before all.

        Raises RecordUnknown, RecordsShredded.
        """
        from noodle_engine.execute.auditing.comparing import compared

        with self._read("audit_diff") as (journal, _):
            return compared(journal, first, last)

    def audit_replay(self, upgrade_id: str | None = None, *, at: int | None = None) -> ReplayView:
        """What the records up to `at` say; at the end, also where live and disk differ.

        Raises UpgradeUnknown for an id that the journal does not have.
        """
        with self._read_live("audit_replay") as (journal, live):
            only = upgrade_id
            if only is not None:
                only = reading.find_upgrade(journal, live.world, only).id
            return reading.replay(journal, at, only, live)

    def audit_export(
        self,
        out: Path,
        *,
        form: str = "full",
        progress: Callable[[int, int], None] | None = None,
    ) -> ExportView:
        """Write the journal as it is now to a new folder, or to a new file ending in `.tar`.

        `form` is full, redacted or hashes. `progress` gets records written, and all. After
        a failure or a kill `out` is not there. Raises OutputTaken, JournalDamaged.
        """
        from noodle_engine.execute.auditing.exporting import Form, export_journal

        return export_journal(
            self._home.path,
            out,
            form=Form(form),
            master_key=master_key_of(self._home, self._environment, self._settled()),
            environment=self._environment,
            progress=progress,
        )

    def audit_anchors(self) -> AnchorsView:
        """Hold the journal against every place that keeps its signed heads; each is asked.

        Raises SettingsRefused, JournalRollback, JournalFork, JournalDamaged.
        """
        from noodle_engine.execute.anchoring.answering import anchors_view
        from noodle_engine.execute.anchoring.options import anchor_options

        options = anchor_options(self._settled().must())
        with self._read("audit_anchors") as (journal, world):
            return anchors_view(journal, world, options)

    def audit_checkpoint(self, *, out: Path | None = None) -> CheckpointView:
        """The last signed head, as a note to keep elsewhere; written to the new file `out` too.

        Raises CheckpointAbsent, OutputTaken.
        """
        from noodle_engine.execute.auditing.proving import checkpoint_view

        with self.journal as reader:
            return checkpoint_view(reader, out)

    def audit_prove(
        self,
        seq: int,
        *,
        at: int | Note | None = None,
        public_key: bytes | None = None,
        out: Path | None = None,
    ) -> ProofView:
        """A proof that record `seq` is in a checkpoint: of that size, of a note, or the last.

        `public_key` is the one that is trusted; otherwise the home's. Needs no secret.
        Raises RecordUnknown, CheckpointAbsent, OutputTaken, JournalDamaged.
        """
        from noodle_engine.execute.auditing.proving import inclusion_view

        key = public_key or read_public_key(self._home.public_key_file)
        return inclusion_view(self._home.path, seq, at, public_key=key, out=out)

    def audit_prove_since(
        self,
        first: int | Note,
        second: int | Note | None = None,
        *,
        public_key: bytes | None = None,
        out: Path | None = None,
    ) -> ProofView:
        """A proof that the checkpoint `first` begins `second`, or the last one.

        Raises as `audit_prove`.
        """
        from noodle_engine.execute.auditing.proving import consistency_view

        key = public_key or read_public_key(self._home.public_key_file)
        return consistency_view(self._home.path, first, second, public_key=key, out=out)

    def plan(
        self, wanted: Sequence[str], *, remove: Sequence[str] = (), take_over: bool = False
    ) -> PlanView:
        """Plan an upgrade to `wanted` (NAME@VERSION). Changes nothing."""
        from noodle_engine.execute.answers.plans import plan_view

        with self._planning(), self._read("plan") as (journal, world):
            planned = self._planner(journal, world, take_over=take_over).forward(wanted, remove)
        view = plan_view(planned)
        values = self._settled().values
        if view.changes and values and not values.switch("runtime_upgrade.enabled"):
            off = UpgradesDisabled()
            return replace(view, not_now=f"{off.problem}; {off.remedy}")
        return view

    def plan_back(self, name: str, *, to: str | None = None) -> PlanView:
        """Plan the way back to a kept old version. Changes nothing."""
        from noodle_engine.execute.answers.plans import plan_view

        with self._planning(), self._read("plan_back") as (journal, world):
            planned = self._planner(journal, world).back(name, to)
        return plan_view(planned)

    def plan_adoption(
        self,
        wanted: str,
        path: Path,
        *,
        layout: str | None = None,
        mutable: Sequence[str] = (),
        unmanaged: Sequence[str] = (),
        immutable: bool = False,
        take_over: bool = False,
    ) -> PlanView:
        """Plan to make the directory at `path` the installed `wanted` (NAME@VERSION).

        `layout` is tree or link (None: as it is), `mutable` paths in it that outlast
        every release, `unmanaged` patterns of what is no part of it. `immutable`:
        nobody writes its files, so that releases may share them. Changes nothing;
        `apply` does the plan.
        """
        from noodle_engine.execute.answers.plans import plan_view
        from noodle_engine.targets.directory.adopting.asked import adoption_options

        options = adoption_options(
            path, layout=layout, mutable=mutable, unmanaged=unmanaged, immutable=immutable
        )
        with self._planning(), self._read("plan_adoption") as (journal, world):
            planner = self._planner(journal, world, take_over=take_over)
            return plan_view(planner.adopt(wanted, path, "directory", options))

    def plan_repair(self, name: str) -> PlanView:
        """Plan to put the installed version of a component back, whatever stands there.

        What stands there is kept beside it, as NAME.foreign-ID. Changes nothing;
        `apply` does the plan. Raises NothingInstalled, NotRepairable.
        """
        from noodle_engine.execute.answers.plans import plan_view

        with self._planning(), self._read("plan_repair") as (journal, world):
            attributes = reading.installed_attributes(journal, world, name)
            return plan_view(self._planner(journal, world).repair(name, attributes))

    @contextlib.contextmanager
    def _planning(self) -> Iterator[None]:
        """Tell what is refused inside."""
        try:
            yield
        except NoodleError as failure:
            self._tell_refusal("plan", failure)
            raise

    def _planner(
        self, journal: reading.JournalReader, world: Fold, *, take_over: bool = False
    ) -> Planner:
        from noodle_engine.execute.planning import Planner
        from noodle_engine.execute.timing.limits import health_limit_ms

        settled = self._settled()
        return Planner(
            world=world,
            releases=releases_of(self._home),
            log_id=journal.log_id,
            settings_hash=settled.values.hash if settled.values else values_hash({}),
            now_ms=lambda: time.time_ns() // 1_000_000,
            take_over=take_over,
            health_ms=health_limit_ms(settled.values),
        )

    @staticmethod
    def load_plan(path: Path) -> Plan:
        """Read a plan file. Raises PlanMalformed."""
        from noodle_engine.execute.planning import read_plan

        return read_plan(path)

    @staticmethod
    def save_plan(plan: Plan, path: Path) -> None:
        """Write a plan file. Raises PlanMalformed."""
        from noodle_engine.execute.planning import write_plan

        write_plan(plan, path)

    # -- changes ----------------------------------------------------------

    def _hold(self) -> Holder | None:
        """The holder, if this process holds the home or can; else None: ask by the socket."""
        from noodle_engine.execute.home.holder import take

        with self._guard:
            if self._holder is None:
                self._holder = take(self._home, self._environment, self._options)
            return self._holder

    def _here_or_there(
        self, here: Callable[[Holder], Answered], there: Callable[[], Answered]
    ) -> Answered:
        """Do it as the holder, or ask the holder; anew where one was just coming or going."""
        until = time.monotonic() + HOLDER_WAIT_S_MAX
        while True:
            holder = self._hold()
            if holder is not None:
                return here(holder)
            try:
                return there()
            except HolderGone:
                if time.monotonic() >= until:
                    raise
            time.sleep(HOLDER_POLL_S)

    def _change(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        local: Callable[[Holder], Sequence[str]],
        waiting: Waiting,
        there: Callable[[], Mapping[str, Any]] = dict,
    ) -> tuple[UpgradeView, ...]:
        """Carry a change out here, or by whoever holds the home.

        `there` says what only the holder needs to be told beside the arguments.
        """

        def here(holder: Holder) -> tuple[UpgradeView, ...]:
            since = holder.engine.journal.size
            upgrades = local(holder)
            if not waiting.wait:
                return tuple(holder.operations.view(one) for one in upgrades)
            with holder.engine.interrupted_by(upgrades, waiting.stop):
                return tuple(
                    holder.operations.follow(
                        one,
                        since=since,
                        hear=_hearing(waiting.follow),
                        watch=waiting.progress,
                        stop=waiting.stop,
                        wait_ms_max=waiting.wait_ms_max,
                    )
                    for one in upgrades
                )

        return self._here_or_there(
            here, lambda: self._ask(operation, {**arguments, **there()}, waiting)
        )

    def _ask(
        self, operation: str, arguments: Mapping[str, Any], waiting: Waiting
    ) -> tuple[UpgradeView, ...]:
        from noodle_engine.execute.home.holder import client_of
        from noodle_engine.execute.home.service import StoppedListening

        upgrades: set[str] = set()

        def hear(heard: Mapping[str, Any]) -> None:
            upgrades.update(filter(None, [heard.get("upgrade")]))
            if "progress" in heard:
                if waiting.progress is not None:
                    waiting.progress(decode(StepProgress, heard["progress"]))
            elif waiting.follow is not None:
                waiting.follow(decode(UpgradeEvent, heard))

        request = {
            **arguments,
            "actor": self._actor,
            "wait": waiting.wait,
            "wait_ms_max": waiting.wait_ms_max,
            "progress": waiting.progress is not None,
        }
        try:
            answer = client_of(self._home).ask(operation, request, hear, waiting.stop)
        except StoppedListening as stopped:
            path, holder = str(self._home.path), lock_holder(self._home.lock_file)
            if not stopped.taken:
                why = "this command was interrupted before it took the request"
                raise HolderSilent(path, holder, why) from None
            only = upgrades.pop() if len(upgrades) == 1 else None
            raise WaitInterrupted(path, holder, only) from None
        return tuple(decode(UpgradeView, view) for view in answer.get("views", ()))

    def apply(
        self,
        wanted: Sequence[str] | Plan,
        *,
        remove: Sequence[str] = (),
        on_crash: OnCrash = OnCrash.FORWARD,
        request_key: str | None = None,
        take_over: bool = False,
        made_now: bool = False,
        waiting: Waiting | None = None,
    ) -> UpgradeView | None:
        """Upgrade to what is wanted, or do exactly a plan. None: nothing to do.

        `made_now` says that a plan was made just before, by the same caller, and nobody was
        asked in between: its targets are looked at next when they are locked.

        Returns how the upgrade stands once nobody drives it: committed, rolled
        back, on hold. Raises a NoodleError for a refusal before anything was
        recorded, Interrupted or WaitInterrupted if `waiting.stop` was set.
        """
        plan = wanted if isinstance(wanted, Plan) else None
        if not isinstance(wanted, Plan):
            plan = self.plan(wanted, remove=remove, take_over=take_over).plan
        if plan is None:
            return None
        return self._request(
            plan,
            on_crash,
            request_key,
            waiting,
            take_over=take_over,
            made_now=made_now or not isinstance(wanted, Plan),
        )

    def rollback(
        self,
        name: str,
        *,
        to: str | None = None,
        request_key: str | None = None,
        waiting: Waiting | None = None,
    ) -> UpgradeView:
        """Undo a committed upgrade: go back to a kept old version.

        Raises PointAbsent or NothingInstalled if there is none.
        """
        plan = self.plan_back(name, to=to).plan
        if plan is None:
            raise NothingInstalled(name)
        return self._request(plan, OnCrash.FORWARD, request_key, waiting, made_now=True)

    def _request(
        self,
        plan: Plan,
        on_crash: OnCrash,
        request_key: str | None,
        waiting: Waiting | None,
        *,
        take_over: bool = False,
        made_now: bool = False,
    ) -> UpgradeView:
        arguments = {
            "plan": encode(plan),
            "on_crash": on_crash.value,
            "request_key": request_key,
            "take_over": take_over,
            "made_now": made_now,
        }

        def local(holder: Holder) -> Sequence[str]:
            return [
                holder.operations.apply(
                    plan,
                    actor=self._actor,
                    on_crash=on_crash,
                    request_key=request_key,
                    take_over=take_over,
                    made_now=made_now,
                )
            ]

        def there() -> dict[str, Any]:
            # Going back is held up by no settings. Forward is: the holder has its own.
            forward = plan.direction is Direction.FORWARD
            return {"settings": dict(self._settled().must().by_key)} if forward else {}

        return self._change("apply", arguments, local, waiting or Waiting(), there)[0]

    def resume(
        self,
        upgrade_id: str | None = None,
        *,
        release: Release | None = None,
        take_over: bool = False,
        waiting: Waiting | None = None,
    ) -> tuple[UpgradeView, ...]:
        """Take up one upgrade, or all that are open; `release` ends a hold.

        `take_over` takes targets back that another home has taken over meanwhile.
        """
        arguments = {
            "upgrade": upgrade_id,
            "release": release.value if release else None,
            "take_over": take_over,
        }
        return self._change(
            "resume",
            arguments,
            lambda holder: holder.operations.resume(
                upgrade_id, actor=self._actor, release=release, take_over=take_over
            ),
            waiting or Waiting(),
        )

    def abort(self, upgrade_id: str, *, waiting: Waiting | None = None) -> UpgradeView:
        """Turn an upgrade back. Raises MessageRefused if it has ended or goes back already."""
        return self._change(
            "abort",
            {"upgrade": upgrade_id},
            lambda holder: [holder.operations.abort(upgrade_id, actor=self._actor)],
            waiting or Waiting(),
        )[0]

    def _note(self, code: str, text: str, data: Mapping[str, str]) -> None:
        self._here_or_there(
            lambda holder: holder.operations.note(code, text, data, actor=self._actor),
            lambda: self._tell_note({"code": code, "text": text, "data": dict(data)}),
        )

    def _tell_note(self, arguments: Mapping[str, Any]) -> None:
        self._ask("note", arguments, Waiting())

    def add(
        self,
        release: Path,
        *,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ComponentsView:
        """Make a release known: copied into the home and signed. Twice is once.

        The order: it is copied into a folder of its own, made durable and read
        back; it is recorded in the journal; it gets its name. Only the last two
        need the home's lock, or whoever holds it, and they take no longer for a
        large release. Killed in between, the release is not known, and adding it
        again begins anew; the next `add` or `collect` removes what was copied.

        `progress` is told bytes done and in all. Raises what the release is
        refused for (KindUnknown, KindNotBuilt and KindUnusable among it;
        HomeShort before anything is written), AddStopped if `stop` was
        set, a disk failure; then the release is not known, and nothing of it is left.
        """
        from noodle_engine.targets.load import load_target

        def accept(manifest: ReleaseManifest) -> None:
            load_target(manifest.kind)  # a version that nobody can apply would be taken for ever

        store = releases_of(self._home)
        with store.prepare(release, accept=accept, stop=stop, progress=progress) as prepared:
            if prepared.known is None:
                self._register(prepared.token)
        view = self.components(prepared.manifest.name)
        return replace(view, notices=prepared.notices)

    def _register(self, token: str) -> None:
        self._here_or_there(
            lambda holder: holder.operations.register(token, actor=self._actor),
            lambda: self._ask_register(token),
        )

    def _ask_register(self, token: str) -> None:
        self._ask("register", {"token": token}, Waiting())

    def forget(self, name: str) -> ComponentsView:
        """Stop knowing what is installed under a name; its target stays as it is."""
        with self._read("forget") as (_, world):
            if name not in world.components:
                raise NothingInstalled(name)
        self._note("component.forgotten", f"{name} is forgotten", {"component": name})
        return self.components()

    # -- keys ---------------------------------------------------------------

    def key(self) -> KeyView:
        """Which keys there are, and where the master key is; no secret is in the answer."""
        from noodle_engine.execute.keys.operating import key_view

        return key_view(self._home, self._environment, self._options)

    def rotate_key(self, *, log_key: bool = False) -> KeyView:
        """Begin a new epoch, whose records are sealed with a new key, now.

        With `log_key` a new key signs from here on, which the old one signed. Through
        whoever holds the home. Raises what an append raises.
        """
        self._here_or_there(
            lambda holder: holder.operations.rotate(log_key=log_key, actor=self._actor),
            lambda: self._ask_rotate(log_key=log_key),
        )
        return self.key()

    def _ask_rotate(self, *, log_key: bool) -> None:
        self._ask("rotate", {"log_key": log_key}, Waiting())

    def rewrap_key(self, *, to: str | None = None, new_key: bytes | None = None) -> RewrappedView:
        """Let another master key wrap every key of this home; the old one opens nothing then.

        `to` is the source that is to keep it, by default the one that has it now; for the
        environment the caller gives `new_key`. No process may hold the home. Raises HomeHeld,
        KeyNotGiven, and what sources, keystore and disk raise; after a failure or a kill the
        journal opens with the old key or the new one, and the next change ends it.
        """
        from noodle_engine.execute.keys.operating import rewrap_home

        self.close()
        view = rewrap_home(
            self._home, self._environment, self._options, to=to, new_key=new_key, entropy=os.urandom
        )
        if view.key_source != "environment":
            data = {"new": view.kek_id, "old": view.old_kek_id, "source": view.key_source}
            self._note("key.rewrapped", "another master key wraps the journal's keys", data)
        return view

    def export_public_key(self, file: Path | None = None) -> PublicKeyView:
        """The public key that proves the journal, into a new file if one is named."""
        from noodle_engine.execute.keys.operating import public_key_of

        return public_key_of(self._home, file)

    def recover_key(self, recovery_key: str, *, to: str | None = None) -> KeyRecoveredView:
        """Put a lost master key back from the recovery key, into its source or `to`.

        Raises KeyInvalid, WrongKey, JournalExists where another key is there, HomeHeld.
        """
        from noodle_engine.execute.keys.operating import recover_key

        return recover_key(self._home, self._environment, self._options, recovery_key, to=to)

    # -- the journal and the process --------------------------------------

    def compact(self) -> CompactedView:
        """Replace records that are shredded by their hashes, and give the space back.

        Through whoever holds the home. Raises JournalFull where there is no room to write the
        journal anew; the rows are compacted all the same.
        """
        return self._here_or_there(
            lambda holder: holder.operations.compact(actor=self._actor), self._ask_compact
        )

    def _ask_compact(self) -> CompactedView:
        from noodle_engine.execute.home.holder import client_of

        answer = client_of(self._home).ask("compact", {"actor": self._actor})
        return decode(CompactedView, answer["compacted"])

    def backup(self, destination: Path) -> None:
        """Copy the journal, beside whoever writes, into a new file."""
        from noodle_journal import backup

        backup(self._home.path, destination)

    @staticmethod
    def restore(source: Path, home: Path | str | None = None, *, set_aside: bool = False) -> None:
        """Put a copy of the journal back, in the place of one that is lost.

        One that is there is refused; with `set_aside` it is kept as
        `journal.db.broken-N`. The copy is read-only until `take_over`. Raises
        HomeHeld if a process holds the home, JournalExists, and what the
        journal says of the copy; then what was there is there.
        """
        from noodle_journal import restore

        where = find_home(home, os.environ, os.geteuid())
        where.check()
        lock = hold_alone(where)
        try:
            restore(source, where.path, set_aside=set_aside)
        finally:
            lock.release()

    @staticmethod
    def doctor(home: Path | str | None = None, *, options: Options = ()) -> DoctorView:
        """Examine machine, home, journal and targets. Changes nothing that lasts."""
        from noodle_engine.execute.home.checkup import DoctorView, examine_home

        where = find_home(home, os.environ, os.geteuid())
        return DoctorView(examine_home(where, os.environ, options))

    def take_over(self) -> None:
        """Let this home's journal, which was copied or moved here, be written again."""
        from noodle_engine.execute.home.holder import take

        with self._guard:
            if self._holder is not None:
                if self._holder.engine.journal.elsewhere is None:
                    return
                self.close()  # it was opened before anybody said that it may be written
            self._holder = take(self._home, self._environment, self._options, adopt=True)
        if self._holder is None:
            raise HomeHeld(str(self._home.path), lock_holder(self._home.lock_file))
        self._note("journal.taken_over", f"the journal is written on {machine_id()}", {})

    def _examiner(self, holder: Holder) -> Examiner:
        """Who examines this home now and then, as the settings in force say."""
        from noodle_engine.execute.home.checkup import examine_home
        from noodle_engine.execute.observing.examining import Examiner, keep_checks, tell_checks

        def told(checks: Sequence[Check]) -> None:
            tell_checks(checks, holder.observer.logs)
            keep_checks(self._home, checks, holder.engine.clock.now_ms())

        return Examiner(
            lambda thorough: examine_home(
                self._home, self._environment, self._options, thorough=thorough
            ),
            lambda: holder.observer.values,
            told,
        )

    def bundle(self, out: Path | None = None) -> BundleView:
        """Write a bundle for who helps: a new file, by default in the home's diagnostics.

        Also of a home whose journal or settings cannot be read. Raises
        DiagnosticsDisabled, BundleUnwritable.
        """
        from noodle_engine.execute.observing.bundling import make_bundle

        return make_bundle(self._home, self._environment, self._options, out=out)

    def run(
        self,
        *,
        stop: threading.Event,
        ready: Callable[[], None] = lambda: None,
        reload: threading.Event | None = None,
        changed: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Be the resident engine until `stop`: take up what is open, answer the socket.

        Settings files that change are taken over by themselves, and looked at within
        IDLE_S of `reload`; `changed` is told each change, also one that is refused, and
        settings that cannot be used at the beginning.
        Raises HomeHeld if another process holds the home.
        """
        from noodle_engine.execute.cleaning import Cleaner

        holder = self._hold()
        if holder is None:
            raise HomeHeld(str(self._home.path), lock_holder(self._home.lock_file))
        unlisten = holder.engine.listen(_telling_settings(changed))
        try:
            failure = holder.operations.reloading.look().failure
            if failure is not None:
                holder.observer.unsettled(failure)
                changed(f"{failure.without_values}; no upgrade begins; {_ASK_VALIDATE}")
            holder.operations.resume(None, actor="engine", release=None)
            holder.operations.reloading.hurry()
            examiner = self._examiner(holder)
            cleaner = Cleaner(holder.operations, time.monotonic, changed)
            ready()
            while not stop.wait(IDLE_S):
                if reload is not None and reload.is_set():
                    reload.clear()
                    holder.operations.reloading.look()
                holder.engine.journal.checkpoint_idle()
                examiner.tick()
                cleaner.tick()
            examiner.close()
        finally:
            unlisten()
        with self._guard:
            self._holder = None
        holder.close(leave=True)


def _hearing(follow: Follow | None) -> Callable[[Heard], None] | None:
    if follow is None:
        return None

    def hear(heard: Heard) -> None:
        entry = heard.entry
        follow(UpgradeEvent(heard.seq, entry.upgrade, entry.label, sentence(entry), entry.at_ms))

    return hear


_ASK_VALIDATE: Final = "`noodle config validate` says what is wrong"


def _telling_settings(changed: Callable[[str], None]) -> Callable[[Heard], None]:
    from noodle_engine.machine.records import ConfigChanged

    def hear(heard: Heard) -> None:
        event = heard.entry.event
        if isinstance(event, ConfigChanged):
            ask = "" if event.accepted else f"; {_ASK_VALIDATE}"
            changed(f"{sentence(heard.entry)}{ask}")

    return hear
