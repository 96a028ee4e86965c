"""Answers as lines for somebody who has never seen one.

Owns the text form of every view. Pure but for colours, which the invocation
decides; each function returns lines and prints nothing.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from noodle_engine.cli.show.terminal import Invocation, clean

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import (
        CollectedView,
        ComponentLine,
        ComponentRow,
        HistoryView,
        HomeView,
        PointRow,
        PointsView,
        ReleaseRow,
        ShreddedRow,
        StepsView,
        UpgradeRow,
        UpgradeView,
        Waiting,
    )

__all__ = [
    "bytes_words",
    "collected_lines",
    "component_lines",
    "duration",
    "history_lines",
    "home_lines",
    "moment",
    "payload_words",
    "point_lines",
    "steps_lines",
    "upgrade_lines",
    "versions",
]

_STATE_STYLE = {"committed": "good", "rolled_back": "warn"}
_WAYS = {
    "--retry": "try the step that failed once more",
    "--restore": "put back what the journal expects; what is there now is kept beside it",
    "--adopt": "accept what is there now as it is",
    "--back": "take the upgrade back",
    "--promote": "what failed counts as done",
}
_HOLDS = {
    "foreign": "somebody else changed a target, so Noodle touches nothing more",
    "irreversible": "a step that cannot be undone has been done",
    "failure_kept": "a step failed, and the settings say to keep it as it is for a look",
    "old_broken": "the old version cannot be put back as it was",
    "newer_data": "going back would lose data that was made since",
    "back_overdue": "going back took longer than its limit",
}
_OBSERVED = {
    "new": "the new side",
    "old": "the old side",
    "absent": "nothing",
    "foreign": "something that neither the old nor the new version is",
}


def moment(at_ms: int | None) -> str:
    """A time in UTC, to the second."""
    if at_ms is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms / 1000))


def duration(ms: int | None) -> str:
    """A duration for people."""
    if ms is None:
        return ""
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def bytes_words(count: int) -> str:
    """A number of bytes for people."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024 or unit == "MiB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def payload_words(row: ReleaseRow) -> str:
    """`directory, 20 files, 4.0 MiB`."""
    if row.problem is not None:
        return f"cannot be trusted: {clean(row.problem)}"
    files = "" if row.files is None else f", {row.files} file{'' if row.files == 1 else 's'}"
    return f"{row.kind}{files}, {bytes_words(row.size_bytes or 0)}"


def versions(old: str | None, new: str | None) -> str:
    """`1.0.0 -> 1.1.0`, with what is not there called absent."""
    return f"{old or 'absent'} -> {new or 'absent'}"


def change(line: ComponentLine) -> str:
    """`web 1.0.0 -> 1.1.0`."""
    return f"{line.name} {versions(line.from_version, line.to_version)}"


def home_lines(out: Invocation, view: HomeView) -> Iterator[str]:
    """What is installed and what is open; first what is wrong with the settings."""
    if view.settings_problems:
        yield out.style("the settings cannot be used:", "bad")
        for problem in view.settings_problems:
            yield f"  {clean(problem)}"
        yield "  until they are corrected no upgrade begins; what runs keeps those of before"
        yield ""
    if view.anchor_problems:
        yield out.style("not anchored:", "bad")
        for problem in view.anchor_problems:
            yield f"  {clean(problem)}"
        yield ""
    if view.open:
        yield out.style("open upgrades:", "strong")
        for row in view.open:
            yield from _open_lines(out, row)
        yield ""
    if not view.components:
        yield "no component is known yet"
        yield out.command("  `noodle component add FOLDER` makes a release known")
        return
    yield from component_lines(out, view.components)
    if not view.open:
        yield ""
        yield f"no upgrade is open; the journal has {view.journal.size} records"


def _open_lines(out: Invocation, row: UpgradeRow) -> Iterator[str]:
    way = "going back" if row.undoing else row.state.value
    hold = f", on hold ({_plain(row.hold)})" if row.hold else ""
    yield f"  {row.upgrade}  {clean(', '.join(row.components))}"
    yield f"    {out.style(way + hold, 'warn')}, since {moment(row.requested_ms)}"
    if row.waiting is not None and row.waiting.key is not None:
        yield f"    waiting: {row.waiting.key}"
    yield out.command(f"    look: `noodle status {row.upgrade}`")
    if row.hold is None:
        yield out.command(f"    finish: `noodle resume {row.upgrade}`")


def component_lines(
    out: Invocation,
    rows: Sequence[ComponentRow],
    known: Sequence[ReleaseRow] = (),
    *,
    full: bool = False,
) -> Iterator[str]:
    """Components: what is installed where, what could be applied, what is kept.

    Of the releases in `known` it says more than the version; with `full`, also how each
    component is installed.
    """
    for row in rows:
        installed = row.installed or "not installed"
        yield f"{out.style(clean(row.name), 'strong')}  {installed}"
        if row.target:
            yield f"  target:    {clean(row.target)}"
        if full:
            yield from _installed_lines(row)
        if row.releases:
            yield f"  releases:  {', '.join(row.releases)}"
        for one in known:
            if one.component == row.name:
                yield f"    {one.version}  {payload_words(one)}"
        if row.points:
            yield f"  kept old:  {', '.join(dict.fromkeys(row.points))}"


def _installed_lines(row: ComponentRow) -> Iterator[str]:
    if row.layout is not None:
        words = {"tree": "a directory, exchanged whole", "link": "a link to a release"}
        yield f"  layout:    {row.layout} ({words.get(row.layout, '')})"
    if row.mutable:
        yield f"  mutable:   {clean(', '.join(row.mutable))}"
    if row.unmanaged:
        yield f"  unmanaged: {clean(', '.join(row.unmanaged))}"
    if row.installed is not None and row.installed not in row.releases:
        yield "  no release is known of what is installed: it was adopted, or accepted, as it stood"


def point_lines(view: PointsView) -> Iterator[str]:
    """The kept old versions."""
    if not view.points:
        yield "no old version is kept"
        return
    for row in view.points:
        yield f"{clean(row.component)}  {row.version or 'unversioned'}  {_point_facts(row)}"
    yield ""
    yield f"{len(view.points)} kept, {bytes_words(view.size_bytes)}"


def _point_facts(row: PointRow) -> str:
    size = "gone from the disk" if row.size_bytes is None else bytes_words(row.size_bytes)
    if row.shared_bytes and row.own_bytes is not None:
        size += f", {bytes_words(row.own_bytes)} of them its own"
    return f"{size}, since {moment(row.at_ms)}"


def collected_lines(view: CollectedView) -> Iterator[str]:
    """What was dropped, or would be."""
    verb = "would drop" if view.dry_run else "dropped"
    for row in view.dropped:
        yield f"{verb} {clean(row.component)} {row.version or 'unversioned'}, {_point_facts(row)}"
    for one in view.left:
        yield f"kept those of {clean(one.component)}: {clean(one.problem)}; {clean(one.remedy)}"
    freed = bytes_words(view.bytes_freed)
    if view.shredded_records:
        verb = "would be" if view.dry_run else "were"
        yield (
            f"{view.shredded_records} records of the journal {verb} made unreadable: "
            "they are over (security.audit_logging.log_retention_days)"
        )
    if not view.dropped and not view.left:
        yield "nothing to drop: all that is kept is to be kept"
    else:
        yield f"{freed} would be freed" if view.dry_run else f"{freed} freed"


def upgrade_lines(out: Invocation, view: UpgradeView) -> Iterator[str]:
    """One upgrade: where it stands, what is on disk, what can be done."""
    named = ", ".join(change(line) for line in view.components)
    yield f"upgrade {view.upgrade}: {clean(named)}"
    yield f"  {_standing(out, view)}"
    if view.detail:
        yield f"  why:     {clean(view.detail)}"
    for line in view.components:
        yield f"  target:  {clean(line.target)}"
        if line.observed is not None:
            yield f"  on disk: {_on_disk(line, view.direction)}"
        if line.kept is not None:
            yield f"  kept:    {clean(line.kept)}, what was there before"
    if view.step is not None and view.hold is None:
        yield f"  step:    {clean(view.step.id)} ({view.step.state})"
    if view.hold is not None:
        yield from _hold_lines(view)
    if view.writers_stopped:
        yield f"  stopped: who writes {clean(', '.join(view.writers_stopped))}, until it goes on"
    if view.waiting is not None:
        yield from _waiting_lines(view.waiting)
    if view.state == "rolled_back" and view.detail:
        yield out.command(f"  look:    `noodle steps {view.upgrade} --output`")
    if view.allowed:
        yield "  you can:"
        for command in view.allowed:
            yield f"    {out.command(command)}{_way(command)}"


def _waiting_lines(waiting: Waiting) -> Iterator[str]:
    if waiting.key is not None:
        yield f"  waiting: {waiting.key}"
    if waiting.until_ms is not None:
        yield f"  limit:   {moment(waiting.until_ms)}, then it is taken back"


def _standing(out: Invocation, view: UpgradeView) -> str:
    state = out.style(_plain(view.state.value), _STATE_STYLE.get(view.state.value, "warn"))
    if view.state == "committed":
        tail = "" if view.finished else "; cleaning up is left (`noodle resume`)"
        return out.command(f"{state}: {_result(view)}{tail}")
    if view.state == "rolled_back":
        reason = f" ({_plain(view.reason.value)})" if view.reason else ""
        kept = any(line.observed == "foreign" for line in view.components)
        which = "every target that nobody else changed" if kept else "every target"
        return f"{state}{reason}: {which} is as it was before"
    if view.hold is not None:
        return f"{out.style('on hold', 'bad')} in state {state}: {_plain(view.hold.reason.value)}"
    if view.undoing:
        reason = f" ({_plain(view.reason.value)})" if view.reason else ""
        return f"{state}, going back{reason}"
    return f"{state}: not finished"


def _result(view: UpgradeView) -> str:
    if view.direction == "back":
        return "the old version is back"
    if all(line.to_version is None for line in view.components):
        return "removed"
    if all(line.from_version == line.to_version for line in view.components):
        return "what was installed is put back"
    return "the new version is in place"


def _on_disk(line: ComponentLine, direction: str) -> str:
    observed = line.observed or ""
    words = _OBSERVED.get(observed, observed)
    if observed not in ("new", "old"):
        return clean(words)
    version = line.to_version if observed == "new" else line.from_version
    if direction == "back":
        words = "what this rollback leads to" if observed == "new" else "what it goes back from"
    else:
        words = f"{words} of this upgrade"
    return clean(f"{version or 'nothing'} ({words})")


def _hold_lines(view: UpgradeView) -> Iterator[str]:
    hold = view.hold
    if hold is None:
        return
    yield f"  because: {_HOLDS.get(hold.reason.value, _plain(hold.reason.value))}"
    if hold.component:
        yield f"  where:   {clean(hold.component)}"
    if hold.detail and not (hold.expected or hold.found):
        yield f"  detail:  {clean(hold.detail)}"
    if hold.expected:
        yield f"  expected {clean(hold.expected)}"
    if hold.found:
        yield f"  found    {clean(hold.found)}"


def _way(command: str) -> str:
    words = _WAYS.get(command.rsplit(" ", 1)[-1])
    return f"   # {words}" if words else ""


def steps_lines(out: Invocation, view: StepsView) -> Iterator[str]:
    """Every step with its state, time and what it printed."""
    from noodle_engine.execute.answers.wording import step_words

    yield f"upgrade {view.upgrade}"
    for number, step in enumerate(view.steps, 1):
        words = step_words(step.id, undo=False, done=False)
        style = {"done": "good", "failed": "bad"}.get(step.state, "faint")
        again = f", {step.attempts} times" if step.attempts > 1 else ""
        took = f", {duration(step.duration_ms)}" if step.duration_ms is not None else ""
        state = out.style(f"{step.state:<10}", style)
        yield f"  {number:>3}. {state} {clean(words)}  [{clean(step.id)}{again}{took}]"
        if step.error:
            yield f"       failed: {clean(step.error)}"
        if step.output:
            for line in step.output.rstrip("\n").split("\n"):
                yield f"       | {clean(line)}"


def history_lines(out: Invocation, view: HistoryView) -> Iterator[str]:
    """Upgrades, newest first."""
    if not view.upgrades and view.hidden_by is None:
        yield "nothing was upgraded yet" if view.shredded is None else "nothing is left to list"
    for row in view.upgrades:
        state = out.style(_plain(row.state.value), _STATE_STYLE.get(row.state.value, "warn"))
        reason = f" ({_plain(row.reason.value)})" if row.reason else ""
        way = "back: " if row.direction == "back" else ""
        named = ", ".join(change(line) for line in row.components)
        yield f"{moment(row.requested_ms)}  {row.upgrade}  {way}{clean(named)}  {state}{reason}"
        if out.verbose:
            ended = moment(row.ended_ms) if row.ended_ms is not None else "still open"
            yield f"    by {clean(row.actor)}, ended {ended}"
    if view.hidden_by is not None:
        yield out.style(f"older ones: `noodle history --all` ({view.hidden_by})", "faint")
    if view.shredded is not None:
        yield out.style(f"made unreadable: {shredded_words(view.shredded)}", "faint")


def shredded_words(row: ShreddedRow) -> str:
    """Which records were made unreadable, and why."""
    return f"records {row.first} to {row.last} ({clean(row.rule)})"


def _plain(word: str) -> str:
    return word.replace("_", " ")
