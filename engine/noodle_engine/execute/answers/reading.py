"""Answers about a home, from its journal and its targets. Reads only.

Owns the way from the fold and the records to the views that callers see. It
needs no lock: it works beside a live writer, on what is committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from noodle_engine.execute.answers.views import (
    AuditEntry,
    ComponentLine,
    ComponentRow,
    HistoryRow,
    HoldView,
    HomeView,
    JournalHead,
    ReplayView,
    ShreddedRow,
    StepRow,
    UpgradeRow,
    UpgradeView,
    Waiting,
)
from noodle_engine.execute.answers.wording import change_of, sentence
from noodle_engine.execute.failures import RecordsShredded, UpgradeUnknown, VersionAdopted
from noodle_engine.execute.ids import earliest_id_ms, is_upgrade_id, matching_ids
from noodle_engine.execute.recording import Live
from noodle_engine.execute.timing.clock import CLOCK_JUMP_MS_MAX
from noodle_engine.machine.plan import ABSENT, Step, StepName, state_of
from noodle_engine.machine.records import (
    BACK_TIMER,
    TOTAL_TIMER,
    Entry,
    Observation,
    Requested,
    StepDone,
    entry_of,
)
from noodle_engine.machine.states import (
    TERMINAL,
    HoldReason,
    Outcome,
    State,
    status_of,
)
from noodle_engine.machine.upgrade import (
    Fold,
    Installed,
    Upgrade,
    fold,
    fold_state,
    fold_upgrade,
    requested,
)
from noodle_engine.targets.place import local_path
from noodle_journal import Checkpoint, Kind, Record
from noodle_journal.anchors.comparing import Compared
from noodle_journal.shredding import EpochSpan

__all__ = [
    "JournalReader",
    "Replayed",
    "audit_entries",
    "component_rows",
    "entry_in",
    "find_upgrade",
    "history",
    "home_view",
    "installed_attributes",
    "refuse_adopted",
    "replay",
    "step_rows",
    "upgrade_view",
]


class JournalReader(Protocol):
    """What is read of a journal; the writer and a reader both offer it."""

    @property
    def size(self) -> int:
        """The number of records."""

    @property
    def root(self) -> bytes:
        """The root of the tree over them."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The last signed head: size and root of one moment; None for no records."""

    @property
    def log_id(self) -> str:
        """Which journal it is (hexadecimal)."""

    def read(self, start: int = 1, stop: int | None = None) -> Iterator[Record]:
        """The records from `start` up to and without `stop`."""

    def read_run(self, run: str) -> Iterator[Record]:
        """The records of one upgrade."""

    def read_back(self, limit: int, kind: Kind | None = None) -> Iterator[Record]:
        """The newest records first; of one kind, or of all."""

    def compare(self, notes: Iterable[str]) -> Sequence[Compared]:
        """Signed heads that were kept elsewhere, held against it."""

    @property
    def first_readable(self) -> int:
        """The number of the first record that is not shredded."""

    def spans(self) -> Sequence[EpochSpan]:
        """The ended epochs that are not shredded, oldest first."""

    def first_of(self, run: str) -> int | None:
        """The number of an upgrade's first record."""


def head_of(journal: JournalReader) -> JournalHead:
    """Size and root, of one moment."""
    signed = journal.checkpoint
    if signed is None:
        return JournalHead(0, journal.root.hex())
    return JournalHead(signed.size, signed.root.hex())


def entry_in(record: Record) -> Entry | None:
    """The entry that a record holds, or None for a kind the engine has no use for."""
    if not isinstance(record.kind, Kind):
        return None
    return entry_of(record.kind.label, record.body)


def find_upgrade(journal: JournalReader, world: Fold, wanted: str) -> Upgrade:
    """The upgrade whose id is, or begins with, `wanted` (as `ids.matching_ids` reads it).

    Cost: a beginning is looked for among the requests, from the newest back to the
    time that it stands for; a whole id costs its own records.
    Raises UpgradeUnknown if there is none, or more than one.
    """
    text = wanted.strip().upper()
    open_one = world.upgrades.get(text)
    if open_one is not None:
        return open_one
    if is_upgrade_id(text):
        matches = [text]
    else:
        matches = sorted({*matching_ids(wanted, world.upgrades), *_recorded_ids(journal, wanted)})
    if len(matches) != 1:
        raise UpgradeUnknown(wanted, matches)
    found = world.upgrades.get(matches[0]) or _from_records(journal.read_run(matches[0]))
    if found is None:
        raise UpgradeUnknown(wanted)
    return found


def _recorded_ids(journal: JournalReader, wanted: str) -> Iterator[str]:
    """The ids in the journal that `wanted` names, newest first.

    An id holds the time at which it was made, which is not after its record's.
    """
    earliest_ms = earliest_id_ms(wanted)
    if earliest_ms is None:
        return
    for record in journal.read_back(journal.size, Kind.UPGRADE_REQUESTED):
        if record.at_ns // 1_000_000 < earliest_ms - CLOCK_JUMP_MS_MAX:
            return
        yield from matching_ids(wanted, [str(record.body["upgrade"])])


def _from_records(records: Iterable[Record]) -> Upgrade | None:
    upgrade: Upgrade | None = None
    for record in records:
        entry = entry_in(record)
        if entry is None:
            continue
        if isinstance(entry.event, Requested):
            upgrade = requested(entry)
        elif upgrade is not None:
            upgrade = fold_upgrade(upgrade, entry)
    return upgrade


def refuse_adopted(world: Fold, wanted: str) -> None:
    """Raise VersionAdopted if `wanted` (NAME@VERSION) is installed, or kept, without a release."""
    name, _, version = wanted.partition("@")
    installed = world.components.get(name)
    has = [] if installed is None else [installed.version]
    has += [point.version for point in world.points if point.component == name]
    if version in has:
        raise VersionAdopted(name, version)


def installed_attributes(journal: JournalReader, world: Fold, name: str) -> Mapping[str, str]:
    """What was observed of an installed version when it was staged; empty if no record has it."""
    installed = world.components.get(name)
    if installed is None:
        return {}
    upgrade = _from_records(journal.read_run(installed.upgrade))
    staged = None if upgrade is None else upgrade.observed(StepName.STAGE, name)
    return {} if staged is None or staged.root != installed.root else staged.attributes


def shredded(journal: JournalReader) -> ShreddedRow | None:
    """What was made unreadable at the journal's beginning, as far as it can be told."""
    last = journal.first_readable - 1
    if not last:
        return None
    order = next(journal.read_back(journal.size, Kind.RETENTION), None)
    return ShreddedRow(1, last, "" if order is None else str(order.body.get("rule", "")))


def home_view(
    journal: JournalReader,
    world: Fold,
    releases: Mapping[str, Sequence[str]],
    settings_problems: Sequence[str] = (),
    anchor_problems: Sequence[str] = (),
) -> HomeView:
    """What is open and what is installed; and what is wrong with settings and anchors."""
    return HomeView(
        open=tuple(_upgrade_row(one) for one in world.upgrades.values()),
        components=component_rows(world, releases),
        journal=head_of(journal),
        settings_problems=tuple(settings_problems),
        anchor_problems=tuple(anchor_problems),
    )


def _upgrade_row(upgrade: Upgrade) -> UpgradeRow:
    return UpgradeRow(
        upgrade=upgrade.id,
        state=upgrade.state,
        status=status_of(upgrade.state, upgrade.reason),
        direction=upgrade.plan.direction,
        undoing=upgrade.undoing and upgrade.state not in TERMINAL,
        components=tuple(change_of(one) for one in upgrade.plan.components),
        hold=upgrade.hold.reason if upgrade.hold else None,
        requested_ms=upgrade.requested_ms,
        waiting=_waiting(upgrade),
    )


def component_rows(world: Fold, releases: Mapping[str, Sequence[str]]) -> tuple[ComponentRow, ...]:
    """Every component that is installed or known, by name."""
    rows = []
    for name in sorted({*world.components, *releases}):
        installed = world.components.get(name)
        rows.append(
            ComponentRow(
                name=name,
                kind=installed.kind if installed else None,
                target=str(local_path(installed.target)) if installed else None,
                installed=(installed.version or "unversioned") if installed else None,
                layout=installed.options.get("layout") if installed else None,
                mutable=_listed(installed, "mutable"),
                unmanaged=_listed(installed, "unmanaged"),
                releases=tuple(releases.get(name, ())),
                points=tuple(
                    point.version or "unversioned"
                    for point in world.points
                    if point.component == name
                ),
            )
        )
    return tuple(rows)


def _listed(installed: Installed | None, option: str) -> tuple[str, ...]:
    """A list among the options that a component was installed with."""
    text = None if installed is None else installed.options.get(option)
    if text is None or not text.startswith("["):
        return ()  # nothing is installed, or the option is a plug-in's own
    return tuple(str(one) for one in json.loads(text))


def upgrade_view(journal: JournalReader, upgrade: Upgrade) -> UpgradeView:
    """One upgrade with what its targets hold now."""
    finished = upgrade.finished
    step = _current_step(upgrade)
    return UpgradeView(
        upgrade=upgrade.id,
        state=upgrade.state,
        status=status_of(upgrade.state, upgrade.reason),
        direction=upgrade.plan.direction,
        undoing=upgrade.undoing and upgrade.state not in TERMINAL,
        reason=upgrade.reason,
        detail=upgrade.detail,
        waiting=_waiting(upgrade),
        hold=_hold_view(upgrade),
        components=tuple(
            ComponentLine(
                name=one.name,
                kind=one.kind,
                target=str(local_path(one.target)),
                from_version=one.from_version or _unversioned(one.root_from),
                to_version=one.to_version or _unversioned(one.root),
                observed=(_final(upgrade, one.name) if finished else _observed(upgrade, one.name)),
                kept=_kept_aside(upgrade, one.name),
            )
            for one in upgrade.plan.components
        ),
        step=step,
        allowed=_allowed(upgrade),
        journal=head_of(journal),
        plan_hash=upgrade.plan_hash,
        requested_ms=upgrade.requested_ms,
        finished=finished,
        writers_stopped=upgrade.writers_stopped,
    )


def _unversioned(root: str) -> str | None:
    """What is called a version that has none: something is there, or nothing."""
    return None if root == ABSENT else "unversioned"


def _final(upgrade: Upgrade, name: str) -> str:
    if name in upgrade.adopted:
        return "foreign"
    return "new" if upgrade.state is State.COMMITTED else "old"


def _observed_root(
    kind: str, target: str, expected: Sequence[str], options: Mapping[str, str] | None = None
) -> str:
    """What a target is now; `expected` is likely. Raises what its kind raises."""
    # The list of what is open and installed looks at no target, and does not pay for this.
    from noodle_engine.targets.load import load_target  # noqa: PLC0415

    found = load_target(kind).observe(local_path(target), expected=expected, options=options)
    return found.root


def _observed(upgrade: Upgrade, name: str) -> str:
    """Old, new, foreign, absent, or unreadable: by looking at the target."""
    component = upgrade.plan.component(name)
    try:
        old, new = upgrade.expected_old(component), upgrade.expected_new(component)
        expected = [root for root in (new, old) if root is not None]
        root = _observed_root(component.kind, component.target, expected, component.options)
    except Exception as error:  # noqa: BLE001 - a status must not fail over one target
        return f"unreadable: {error}"
    if root == upgrade.expected_old(component):
        return "old"
    if root == upgrade.expected_new(component):
        return "new"
    return "absent" if root == ABSENT else "foreign"


def _waiting(upgrade: Upgrade) -> Waiting | None:
    if upgrade.hold is not None:
        return Waiting("person")
    if upgrade.paused:
        return Waiting("unpause")
    if upgrade.state in TERMINAL:
        return None
    if upgrade.waits_for is not None:
        return Waiting("turn", upgrade.waits_for, upgrade.timers.get(TOTAL_TIMER))
    timer = BACK_TIMER if upgrade.undoing else TOTAL_TIMER
    return Waiting("step", until_ms=upgrade.timers.get(timer))


def _hold_view(upgrade: Upgrade) -> HoldView | None:
    hold = upgrade.hold
    if hold is None:
        return None
    return HoldView(hold.reason, hold.component, hold.expected, hold.found, hold.detail)


def _allowed(upgrade: Upgrade) -> tuple[str, ...]:
    """The commands that the upgrade takes now."""
    resume = f"noodle resume {upgrade.id}"
    if upgrade.state in TERMINAL:
        if not upgrade.finished:
            return (resume,)
        if upgrade.state is State.COMMITTED:
            return tuple(
                f"noodle rollback {one.name}"
                for one in upgrade.plan.components
                if _kept_old(upgrade, one.name)
            )
        return ()
    hold = upgrade.hold
    if hold is not None:
        known: dict[HoldReason, tuple[str, ...]] = {
            HoldReason.FOREIGN: ("--restore", "--adopt", "--retry"),
            HoldReason.IRREVERSIBLE: ("--promote", "--back", "--retry"),
            HoldReason.FAILURE_KEPT: ("--retry", "--promote", "--back"),
        }
        ways = known.get(hold.reason, ("--retry",))
        names = [component.name for component in upgrade.plan.components]
        if hold.reason is HoldReason.FOREIGN and not any(map(upgrade.is_exchanging, names)):
            ways = ("--adopt", "--retry")  # nothing was exchanged: there is nothing to put back
        if hold.reason is HoldReason.OLD_BROKEN and _waits_for_writers(upgrade):
            ways = ("--retry", "--promote")
        return tuple(f"{resume} {way}" for way in ways)
    if upgrade.undoing:
        return (resume,)
    return (resume, f"noodle abort {upgrade.id}")


def _waits_for_writers(upgrade: Upgrade) -> bool:
    """Whether the way back stands still at a command that stops or starts who writes data."""
    from noodle_engine.machine.decide import undo_order  # noqa: PLC0415 - only who is on hold pays

    following = undo_order(upgrade)
    return bool(following) and following[0].name in (StepName.QUIESCE, StepName.UNQUIESCE)


def _kept_old(upgrade: Upgrade, name: str) -> bool:
    """Whether the upgrade kept an old version that a rollback can go back to."""
    observed = upgrade.step(f"{StepName.POINT.value}:{name}").observed
    return observed is not None and "location" in observed.attributes


def _kept_aside(upgrade: Upgrade, name: str) -> str | None:
    """Where a repair has put what stood at a target."""
    observed = upgrade.step(f"{StepName.POINT.value}:{name}").observed
    kept = None if observed is None else observed.attributes.get("kept")
    return None if kept is None else str(local_path(kept))


def _current_step(upgrade: Upgrade) -> StepRow | None:
    rows = [row for row in step_rows(upgrade, ()) if row.state in ("running", "undoing", "failed")]
    return rows[0] if rows and not upgrade.finished else None


def step_rows(
    upgrade: Upgrade, records: Iterable[Record], *, output: bool = False
) -> tuple[StepRow, ...]:
    """Every step, with durations, and outputs if asked for, from the records."""
    results: dict[str, StepDone] = {}
    for record in records:
        entry = entry_in(record)
        if entry is not None and isinstance(entry.event, StepDone):
            results[entry.event.step] = entry.event
    return tuple(
        _step_row(upgrade, step, results.get(step.id), output=output) for step in upgrade.plan.steps
    )


def _step_row(
    upgrade: Upgrade, step: Step, result: StepDone | None, *, output: bool = False
) -> StepRow:
    state = upgrade.step(step.id)
    if state.undo_attempt and not state.taken_back:
        shown = "undoing"
    elif state.taken_back:
        shown = "undone"
    elif state.in_doubt:
        shown = "running"
    elif state.outcome is Outcome.FAILED:
        shown = "failed"
    elif state.outcome is Outcome.DONE:
        shown = "done"
    elif state_of(step.name) in TERMINAL and upgrade.state in TERMINAL:
        shown = "waiting" if state_of(step.name) is upgrade.state else "not needed"
    else:
        shown = "not needed" if upgrade.state in TERMINAL or upgrade.undoing else "waiting"
    return StepRow(
        id=step.id,
        name=step.name.value,
        component=step.component,
        state=shown,
        attempts=state.attempt + state.undo_attempt,
        duration_ms=result.duration_ms if result else None,
        error=state.error,
        output=result.output if result and output else None,
    )


def history(
    journal: JournalReader,
    limit: int | None,
    *,
    unfinished: Iterable[str] = (),
    finished_max: int | None = None,
    since_ms: int | None = None,
) -> tuple[tuple[HistoryRow, ...], str | None]:
    """Upgrades, newest request first; and the setting that left out an older one.

    At most `limit`; of those that ended at most `finished_max`, and only those that were
    requested at `since_ms` or later. `unfinished` are always among them: the ids of all
    that are open.
    """
    rows: list[HistoryRow] = []
    waited_for = set(unfinished)
    cut: str | None = None
    finished = 0
    for record in journal.read_back(journal.size, Kind.UPGRADE_REQUESTED):
        if (limit is not None and len(rows) >= limit) or (cut is not None and not waited_for):
            break
        name = str(record.body["upgrade"])
        if name not in waited_for and cut is None:
            if since_ms is not None and record.at_ns // 1_000_000 < since_ms:
                cut = "deployment.upgrade_integration.history_days"
            elif finished_max is not None and finished >= finished_max:
                cut = "runtime_upgrade_manager.max_upgrade_history"
        if cut is not None and name not in waited_for:
            continue
        waited_for.discard(name)
        upgrade = _from_records(journal.read_run(name))
        if upgrade is not None:
            row = _history_row(upgrade)
            finished += row.ended_ms is not None
            rows.append(row)
    return tuple(rows), cut


def _history_row(upgrade: Upgrade) -> HistoryRow:
    ended = upgrade.state in TERMINAL
    return HistoryRow(
        upgrade=upgrade.id,
        state=upgrade.state,
        status=status_of(upgrade.state, upgrade.reason),
        direction=upgrade.plan.direction,
        reason=upgrade.reason,
        actor=upgrade.actor,
        components=tuple(
            ComponentLine(
                name=one.name,
                kind=one.kind,
                target=str(local_path(one.target)),
                from_version=one.from_version or _unversioned(one.root_from),
                to_version=one.to_version or _unversioned(one.root),
                observed=_final(upgrade, one.name) if ended else None,
            )
            for one in upgrade.plan.components
        ),
        requested_ms=upgrade.requested_ms,
        ended_ms=upgrade.changed_ms if ended else None,
    )


def audit_entries(records: Iterable[Record]) -> Iterator[AuditEntry]:
    """Records as `audit show` prints them; an unknown kind is shown raw."""
    for record in records:
        entry = entry_in(record)
        kind = record.kind.label if isinstance(record.kind, Kind) else f"kind {record.kind}"
        body: Mapping[str, Any] = record.body
        yield AuditEntry(
            seq=record.seq,
            kind=kind,
            at_ms=record.at_ns // 1_000_000,
            epoch=record.epoch,
            fence=record.fence,
            upgrade=body.get("upgrade"),
            actor=body.get("actor"),
            text=sentence(entry) if entry else _plain(kind),
            fields=dict(body),
        )


def _plain(kind: str) -> str:
    return {
        "key.epoch": "a writer session begins under a new data key",
        "state": "everything alive, so that opening need not read what is older",
    }.get(kind, kind)


class Replayed:
    """The fold of a journal's records, one after the other: what is alive, and every upgrade.

    After a shredding it begins at the first state that can be read.
    """

    def __init__(self, journal: JournalReader, stop: int) -> None:
        """To be told the records up to and with `stop`. Raises RecordsShredded."""
        self.world = Fold()
        self.upgrades: dict[str, Upgrade] = {}
        self._first = journal.first_readable
        if stop < self._first and self._first > 1:
            raise RecordsShredded(self._first - 1)

    def take(self, record: Record) -> None:
        """One record more."""
        if self._first > 1 and record.kind is Kind.STATE:
            # What is shredded before it is in it, as far as it is alive.
            self.world, self._first = fold_state(record.body), 1
            self.upgrades.update(self.world.upgrades)
        entry = entry_in(record)
        if entry is None:
            return
        before = self.upgrades.get(entry.upgrade or "")
        if isinstance(entry.event, Requested):
            self.upgrades[str(entry.upgrade)] = requested(entry)
        elif before is not None:
            self.upgrades[before.id] = fold_upgrade(before, entry)
        self.world = fold(self.world, entry)


def replay(journal: JournalReader, at: int | None, only: str | None, live: Live) -> ReplayView:
    """What the records up to `at` say, and what is at the targets now.

    At the end also where live and disk differ from it; before that, what has changed since
    is told and is no fault. `live` is compared where the records reach the one up to which
    it is a fold.
    """
    size = journal.size
    stop = size if at is None else max(0, min(at, size))
    seen = Replayed(journal, stop)
    differs: list[str] = []
    for record in journal.read(1, stop + 1):
        seen.take(record)
        if record.seq == live.seq and _alive(seen.world) != _alive(live.world):
            differs.append("the live fold differs from the replayed one")
    observed = {name: _observed_now(one) for name, one in seen.world.components.items()}
    told = list(_differing(seen.world, observed))
    upgrades = [one for one in seen.upgrades.values() if only in (None, one.id)]
    return ReplayView(
        at=stop,
        size=size,
        upgrades=tuple(_upgrade_row(one) for one in upgrades),
        components=component_rows(seen.world, {}),
        differs=(*differs, *told) if stop == size else tuple(differs),
        since=() if stop == size else tuple(told),
        observed={name: one for name, one in observed.items() if isinstance(one, Observation)},
    )


def _alive(world: Fold) -> tuple[object, ...]:
    return world.components, world.points, world.upgrades


def _observed_now(installed: Installed) -> Observation | Exception:
    """What is at a target now, or why it cannot be looked at."""
    try:
        return Observation(_observed_root(installed.kind, installed.target, [installed.root]))
    except Exception as error:  # noqa: BLE001 - replaying must not fail over one target
        return error


def _differing(seen: Fold, observed: Mapping[str, Observation | Exception]) -> Iterator[str]:
    """Where a target is not what the records say, save in an open upgrade, which says so itself."""
    moving = {one.name for upgrade in seen.upgrades.values() for one in upgrade.plan.components}
    for name, installed in seen.components.items():
        if name in moving:
            continue
        path, now = local_path(installed.target), observed[name]
        if isinstance(now, Exception):
            yield f"{name}: {path} cannot be looked at ({now})"
        elif now.root != installed.root:
            yield f"{name}: {path} is not what the journal says ({now.root})"
