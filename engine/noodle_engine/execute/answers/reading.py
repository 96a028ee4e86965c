"""Answers about a home, from its journal and its targets. Reads only.

Owns the way from the fold and the records to the views that callers see. It
needs no lock: it works beside a live writer, on what is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from noodle_engine.execute.actions import local_path
from noodle_engine.execute.answers.views import (
    AuditEntry,
    ComponentLine,
    ComponentRow,
    HistoryRow,
    HoldView,
    HomeView,
    JournalHead,
    ReplayView,
    StepRow,
    UpgradeRow,
    UpgradeView,
    Waiting,
)
from noodle_engine.execute.answers.wording import change_of, sentence
from noodle_engine.execute.failures import UpgradeUnknown
from noodle_engine.machine.plan import ABSENT, Step, state_of
from noodle_engine.machine.records import Entry, Requested, StepDone, entry_of
from noodle_engine.machine.states import (
    TERMINAL,
    HoldReason,
    Outcome,
    State,
    status_of,
)
from noodle_engine.machine.upgrade import Fold, Upgrade, fold, fold_upgrade, requested
from noodle_engine.targets.load import load_target
from noodle_journal import Kind, Record

__all__ = [
    "JournalReader",
    "audit_entries",
    "component_rows",
    "entry_in",
    "find_upgrade",
    "history",
    "home_view",
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
    def log_id(self) -> str:
        """Which journal it is (hexadecimal)."""

    def read(self, start: int = 1, stop: int | None = None) -> Iterator[Record]:
        """The records from `start` up to and without `stop`."""

    def read_run(self, run: str) -> Iterator[Record]:
        """The records of one upgrade."""

    def read_back(self, limit: int) -> Iterator[Record]:
        """The newest records first."""


def head_of(journal: JournalReader) -> JournalHead:
    """Size and root."""
    return JournalHead(journal.size, journal.root.hex())


def entry_in(record: Record) -> Entry | None:
    """The entry that a record holds, or None for a kind the engine has no use for."""
    if not isinstance(record.kind, Kind):
        return None
    return entry_of(record.kind.label, record.body)


def find_upgrade(journal: JournalReader, world: Fold, wanted: str) -> Upgrade:
    """The upgrade whose id is, or begins with, `wanted`.

    Raises UpgradeUnknown if there is none, or more than one.
    """
    wanted = wanted.upper()
    if wanted in world.upgrades:
        return world.upgrades[wanted]
    exact = _from_records(journal.read_run(wanted))
    if exact is not None:
        return exact
    known = {
        str(record.body["upgrade"])
        for record in journal.read()
        if record.kind is Kind.UPGRADE_REQUESTED
    }
    matches = sorted(one for one in known if one.startswith(wanted)) if wanted else []
    if len(matches) != 1:
        raise UpgradeUnknown(wanted, matches)
    found = world.upgrades.get(matches[0]) or _from_records(journal.read_run(matches[0]))
    if found is None:
        raise UpgradeUnknown(wanted)
    return found


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


def home_view(
    journal: JournalReader, world: Fold, releases: Mapping[str, Sequence[str]]
) -> HomeView:
    """What is open and what is installed."""
    return HomeView(
        open=tuple(_upgrade_row(one) for one in world.upgrades.values()),
        components=component_rows(world, releases),
        journal=head_of(journal),
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
                releases=tuple(releases.get(name, ())),
                points=tuple(
                    point.version or "unversioned"
                    for point in world.points
                    if point.component == name
                ),
            )
        )
    return tuple(rows)


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
                from_version=one.from_version,
                to_version=one.to_version,
                observed=_final(upgrade) if finished else _observed(upgrade, one.name),
            )
            for one in upgrade.plan.components
        ),
        step=step,
        allowed=_allowed(upgrade),
        journal=head_of(journal),
        plan_hash=upgrade.plan_hash,
        requested_ms=upgrade.requested_ms,
        finished=finished,
    )


def _final(upgrade: Upgrade) -> str:
    return "new" if upgrade.state is State.COMMITTED else "old"


def _observed(upgrade: Upgrade, name: str) -> str:
    """Old, new, foreign, absent, or unreadable: by looking at the target."""
    component = upgrade.plan.component(name)
    try:
        root = load_target(component.kind).observe(local_path(component.target)).root
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
    due = min(upgrade.timers.values(), default=None)
    return Waiting("step", until_ms=due)


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
            return tuple(f"noodle rollback {one.name}" for one in upgrade.plan.components)
        return ()
    hold = upgrade.hold
    if hold is not None:
        ways = {
            HoldReason.FOREIGN: ("--restore", "--adopt", "--retry"),
            HoldReason.IRREVERSIBLE: ("--promote", "--back", "--retry"),
            HoldReason.FAILURE_KEPT: ("--retry", "--promote", "--back"),
        }.get(hold.reason, ("--retry",))
        return tuple(f"{resume} {way}" for way in ways)
    if upgrade.undoing:
        return (resume,)
    return (resume, f"noodle abort {upgrade.id}")


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


def history(journal: JournalReader, limit: int | None) -> tuple[HistoryRow, ...]:
    """Upgrades, newest request first; all of them if there is no limit."""
    rows: list[HistoryRow] = []
    for record in journal.read_back(journal.size):
        if record.kind is not Kind.UPGRADE_REQUESTED:
            continue
        if limit is not None and len(rows) >= limit:
            break
        upgrade = _from_records(journal.read_run(str(record.body["upgrade"])))
        if upgrade is not None:
            rows.append(_history_row(upgrade))
    return tuple(rows)


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
                from_version=one.from_version,
                to_version=one.to_version,
                observed=_final(upgrade) if ended else None,
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


def replay(journal: JournalReader, at: int | None, only: str | None, world: Fold) -> ReplayView:
    """What the records up to `at` say; at the end, also where live disk differs."""
    size = journal.size
    stop = size if at is None else min(at, size)
    seen = Fold()
    ended: dict[str, Upgrade] = {}
    for record in journal.read(1, stop + 1):
        entry = entry_in(record)
        if entry is None:
            continue
        if entry.upgrade is not None:
            before = seen.upgrades.get(entry.upgrade) or ended.get(entry.upgrade)
            if before is not None:
                ended[entry.upgrade] = fold_upgrade(before, entry)
        seen = fold(seen, entry)
        if entry.upgrade in seen.upgrades:
            ended[entry.upgrade] = seen.upgrades[entry.upgrade]
    differs = []
    if stop == size:
        if seen.components != world.components or seen.points != world.points:
            differs.append("the live fold differs from the replayed one")
        for name, installed in seen.components.items():
            if any(one.name == name for u in seen.upgrades.values() for one in u.plan.components):
                continue  # in the middle of an upgrade the upgrade itself says where it is
            path = local_path(installed.target)
            root = load_target(installed.kind).observe(path).root
            if root != installed.root:
                differs.append(f"{name}: {path} is not what the journal says ({root})")
    return ReplayView(
        at=stop,
        size=size,
        upgrades=tuple(
            _upgrade_row(one)
            for one in ended.values()
            if only is None or one.id.startswith(only.upper())
        ),
        components=component_rows(seen, {}),
        differs=tuple(differs),
    )
