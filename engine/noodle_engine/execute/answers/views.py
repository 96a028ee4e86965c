"""What callers see: the documented shapes of answers.

Owns one frozen type for each answer of the API, the command line (`--json`)
and the socket; all three show the same. A field is never left out: what is
not there is null. `format` is 1 until a field changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from noodle_engine.machine.plan import Diff, Plan
from noodle_engine.machine.records import Observation
from noodle_engine.machine.states import Direction, HoldReason, Reason, State, Status

__all__ = [
    "DIFFERENCES_MAX",
    "AuditEntry",
    "AuditVerdict",
    "CollectedView",
    "ComponentLine",
    "ComponentRow",
    "ComponentsView",
    "DiffView",
    "Difference",
    "HistoryRow",
    "HistoryView",
    "HoldView",
    "HomeView",
    "InitView",
    "JournalHead",
    "LintView",
    "PlanView",
    "PointLeft",
    "PointRow",
    "PointsView",
    "ReleaseRow",
    "ReplayView",
    "StepRow",
    "StepsView",
    "UpgradeRow",
    "UpgradeView",
    "VerifiedRow",
    "VerifiedView",
    "Waiting",
]

DIFFERENCES_MAX = 10_000
"""How many differences an answer has."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class JournalHead:
    """How long the journal is, and the root of its tree (hexadecimal)."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an upgrade waits for: a step, its turn (`key` limits it), a person, `unpause`."""

    waits_for: str = field(metadata={"name": "for"})
    key: str | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HoldView:
    """Why an upgrade stands still, and the ways on."""

    reason: HoldReason
    component: str | None = None
    expected: str | None = None
    found: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ComponentLine:
    """One component of an upgrade. `observed`: old, new, foreign or absent.

    `kept` is where a repair has put what stood there.
    """

    name: str
    kind: str
    target: str
    from_version: str | None = field(default=None, metadata={"name": "from"})
    to_version: str | None = field(default=None, metadata={"name": "to"})
    observed: str | None = None
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step. `state`: waiting, running, done, failed, undone, undoing."""

    id: str
    name: str
    component: str
    state: str
    attempts: int = 0
    duration_ms: int | None = None
    error: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """One upgrade: the answer of apply, rollback, resume, abort and status ID.

    `writers_stopped` are components whose `quiesce` has run and whose `unquiesce` has not.
    """

    upgrade: str
    state: State
    status: Status
    direction: Direction
    undoing: bool
    reason: Reason | None
    detail: str | None
    waiting: Waiting | None
    hold: HoldView | None
    components: tuple[ComponentLine, ...]
    step: StepRow | None
    allowed: tuple[str, ...]
    journal: JournalHead
    plan_hash: str
    requested_ms: int
    finished: bool
    writers_stopped: tuple[str, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class UpgradeRow:
    """One open upgrade in the list of status."""

    upgrade: str
    state: State
    status: Status
    direction: Direction
    undoing: bool
    components: tuple[str, ...]
    hold: HoldReason | None
    requested_ms: int
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """One component known to the home. `installed` is null if nothing is.

    Of an installed directory: its `layout` (tree or link), and the paths and patterns
    that are no part of a release.
    """

    name: str
    kind: str | None
    target: str | None
    installed: str | None
    releases: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    layout: str | None = None
    mutable: tuple[str, ...] = ()
    unmanaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HomeView:
    """The answer of status without an id.

    `settings_problems` says what is wrong with the settings: until that is mended no
    upgrade begins, and a process that runs keeps the settings of before. `anchor_problems`
    names the anchors that were not reached when something was sent last.
    """

    open: tuple[UpgradeRow, ...]
    components: tuple[ComponentRow, ...]
    journal: JournalHead
    settings_problems: tuple[str, ...] = ()
    anchor_problems: tuple[str, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One release. `files` is null for a payload that is a plain file.

    `problem` says why the release cannot be trusted; then nothing else is known of it.
    """

    component: str
    version: str
    kind: str | None = None
    content: str | None = None
    files: int | None = None
    size_bytes: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ComponentsView:
    """The answer of component add, list, show and forget.

    `known` are the releases of these components, the newest first of each.
    `notices` say what whoever added a release should know.
    """

    components: tuple[ComponentRow, ...]
    known: tuple[ReleaseRow, ...] = ()
    notices: tuple[str, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changes: `change` is added, removed, changed or attributes.

    `path` is within the component's target (empty: the target itself), `size` of
    the new in bytes, `what` names the attributes that differ.
    """

    component: str
    change: str
    path: str
    size: int | None = None
    what: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LintView:
    """The answer of component lint: what the publisher of a release may want to change."""

    component: str
    version: str
    kind: str
    advice: tuple[str, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class DiffView:
    """The answer of diff: what leads from one release to another.

    `differences` are at most DIFFERENCES_MAX, by path; `left_out` counts the others.
    `diff` counts files and links (a folder only if it stays and changes), and the
    bytes of the new that the old does not have, and has. `manifest` names what
    differs in noodle.toml.
    """

    component: str
    same: bool
    old: ReleaseRow = field(metadata={"name": "from"})
    new: ReleaseRow = field(metadata={"name": "to"})
    diff: Diff
    manifest: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    left_out: int = 0
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class PlanView:
    """The answer of plan: nothing to do, or the plan, its hash and what it changes.

    `differences` are at most DIFFERENCES_MAX; `left_out` counts the others. A plan
    file has none of them. `not_now` says why `apply` refuses as long as the settings are so.
    """

    changes: bool
    plan_hash: str | None
    plan: Plan | None
    already: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    left_out: int = 0
    not_now: str | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class VerifiedRow:
    """One component, held against what is installed.

    `differences` lead from what is installed to what is there (removed: missing);
    `left_out` counts those beyond DIFFERENCES_MAX. `extras` are paths that no
    release has. `problem` says why it was not looked at; `upgrade` is the open upgrade
    that is the reason.
    """

    component: str
    version: str | None
    target: str
    whole: bool
    differences: tuple[Difference, ...] = ()
    left_out: int = 0
    extras: tuple[str, ...] = ()
    files: int = 0
    files_read: int = 0
    bytes_read: int = 0
    problem: str | None = None
    upgrade: str | None = None


@dataclass(frozen=True, slots=True)
class VerifiedView:
    """The answer of component verify."""

    whole: bool
    components: tuple[VerifiedRow, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class StepsView:
    """The answer of steps."""

    upgrade: str
    steps: tuple[StepRow, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One upgrade of the history, newest first."""

    upgrade: str
    state: State
    status: Status
    direction: Direction
    reason: Reason | None
    actor: str
    components: tuple[ComponentLine, ...]
    requested_ms: int
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class ShreddedRow:
    """Records that were made unreadable, and by which rule."""

    first: int
    last: int
    rule: str


@dataclass(frozen=True, slots=True)
class HistoryView:
    """The answer of history. `hidden_by` is the setting that left older ones out.

    `shredded` are the records whose upgrades cannot be listed any more. `settings_problems`
    says what is wrong with the settings: then none left any out.
    """

    upgrades: tuple[HistoryRow, ...]
    hidden_by: str | None = None
    shredded: ShreddedRow | None = None
    settings_problems: tuple[str, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class InitView:
    """The answer of init. The recovery key is shown once and kept nowhere.

    `key_source` is where the master key is, as `encryption.key_source` names it.
    """

    home: str
    log_id: str
    public_key_file: str
    recovery_key: str
    key_source: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """The answer of audit verify. `ok` false names the first bad record.

    `plain_epochs` were written with encryption switched off: anybody can read them.
    `shredded` were made unreadable, as signed records say. `first` and `last` are the records
    that were asked for; `since` is the size of the checkpoint that was given; `form` that of
    the export that was checked.
    """

    ok: bool
    size: int
    root: str
    epochs: int
    signatures: int
    heads: int
    with_key: bool
    damage: str | None = None
    first_bad: int | None = None
    problem: str | None = None
    remedy: str | None = None
    known_up_to: int | None = None
    plain_epochs: int = 0
    shredded: tuple[ShreddedRow, ...] = ()
    first: int = 1
    last: int = 0
    since: int | None = None
    form: str | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One record as audit show prints it. `fields` is what was sealed."""

    seq: int
    kind: str
    at_ms: int
    epoch: int
    fence: int
    upgrade: str | None
    actor: str | None
    text: str
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplayView:
    """The answer of audit replay: what the records up to `at` say.

    `differs`: where live is not what the whole journal says. `since`: what is at the targets
    now and was not at an earlier `at`. `observed`: what is at the targets of then, now.
    """

    at: int
    size: int
    upgrades: tuple[UpgradeRow, ...]
    components: tuple[ComponentRow, ...]
    differs: tuple[str, ...]
    since: tuple[str, ...] = ()
    observed: dict[str, Observation] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class PointRow:
    """A kept old version.

    `size_bytes` is what it takes on disk, null if it is gone: `own_bytes` of it are
    freed when it is dropped, `shared_bytes` stay with what else has them.
    """

    component: str
    version: str | None
    upgrade: str
    at_ms: int
    target: str
    location: str
    size_bytes: int | None
    own_bytes: int | None = None
    shared_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PointsView:
    """The answer of points: oldest first, and what all of them take on disk."""

    points: tuple[PointRow, ...]
    size_bytes: int
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class PointLeft:
    """A component whose kept old versions could not be dropped, and why."""

    component: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class CompactedView:
    """The answer of journal compact: rows replaced by their hashes, and bytes given back."""

    rows: int
    bytes_freed: int
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class CollectedView:
    """The answer of gc: what was dropped (or, with `dry_run`, would be), and bytes freed.

    `shredded_records` of the journal were made unreadable, for they are over.
    """

    dropped: tuple[PointRow, ...]
    bytes_freed: int
    left: tuple[PointLeft, ...] = ()
    shredded_records: int = 0
    dry_run: bool = False
    format: int = FORMAT
