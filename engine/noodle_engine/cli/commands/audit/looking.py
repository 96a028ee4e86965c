"""`noodle audit show` and `replay`: what the journal says."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.commands.audit.words import MOMENT
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import component_lines, moment, shredded_words

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import AuditEntry, ReplayView
    from noodle_engine.execute.auditing.comparing import AuditDiffView

__all__ = ["diff", "replay", "show"]


@click.command(cls=NoodleCommand, short_help="Records as sentences.")
@click.argument("upgrade", metavar="[ID]", required=False)
@click.option(
    "--from", "start", type=click.IntRange(min=1), default=1, metavar="SEQ", help="First."
)
@click.option("--to", "last", type=click.IntRange(min=1), metavar="SEQ", help="Last.")
@click.option("--since", type=MOMENT, metavar="TIME", help="Written then or later.")
@click.option("--until", type=MOMENT, metavar="TIME", help="Written before.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Of this kind, such as step.done; again for more.",
)
@click.option("--component", metavar="NAME", help="About this component.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N of them.")
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="The last N of them.")
@click.pass_obj
def show(  # noqa: PLR0917 - one option each
    invocation: Invocation,
    upgrade: str | None,
    start: int,
    last: int | None,
    since: int | None,
    until: int | None,
    kinds: tuple[str, ...],
    component: str | None,
    limit: int | None,
    tail: int | None,
) -> int:
    """Records of the journal as sentences; with an ID, those of one upgrade.

    All options given must hold. A TIME is a date, a date and time (UTC unless
    it says otherwise), or how long ago: 90s, 15m, 2h, 3d. It is compared with
    the machine's clock when the record was written, which may have gone back.
    """
    from noodle_engine.execute.auditing.filtering import Filter
    from noodle_journal import Kind

    if limit is not None and tail is not None:
        raise click.UsageError("--limit takes the first ones, --tail the last ones: give one")
    labels = {one.label for one in Kind}
    unknown = sorted(set(kinds) - labels)
    if unknown:
        raise click.UsageError(
            f"no record is of kind {clean(unknown[0])!r}; kinds are: {', '.join(sorted(labels))}"
        )
    wanted = Filter(
        first=start,
        last=last,
        since_ms=since,
        until_ms=until,
        kinds=frozenset(kinds),
        component=component,
        limit=limit,
        tail=tail,
    )
    with opened(invocation) as noodle:
        gone = noodle.shredded()
        if gone is not None and start <= gone.last:
            invocation.warn(f"made unreadable: {shredded_words(gone)}")
        entries = noodle.audit_show(upgrade, wanted=wanted)
        if invocation.json:
            _stream(invocation, entries)
        else:
            for entry in entries:
                if invocation.reader_gone:
                    break
                invocation.answer(_entry_lines(invocation, entry))
    return exits.DONE


def _stream(out: Invocation, entries: Iterator[AuditEntry]) -> None:
    """One document, written as it is read: a journal may be larger than memory."""
    import orjson

    from noodle_engine.machine.codec import encode

    between = ""
    out.write('{"format":1,"entries":[')
    for entry in entries:
        out.write(between + orjson.dumps(encode(entry, keep_none=True), default=str).decode())
        between = ","
        if out.reader_gone:
            return
    out.write("]}\n")


def _entry_lines(out: Invocation, entry: AuditEntry) -> Iterator[str]:
    run = out.style(f"{entry.upgrade or '-':<26}", "faint")
    kind = out.style(f"{entry.kind:<18}", "faint")
    yield f"{entry.seq:>6}  {moment(entry.at_ms)}  {run}  {kind} {clean(entry.text)}"
    if out.verbose:
        for name, value in entry.fields.items():
            yield f"          {name}: {clean(str(value))}"


@click.command(cls=NoodleCommand, short_help="What the journal says was true at a record.")
@click.argument("upgrade", metavar="[ID]", required=False)
@click.option("--at", type=click.IntRange(min=1), metavar="SEQ", help="The record to stop after.")
@click.pass_obj
def replay(invocation: Invocation, upgrade: str | None, at: int | None) -> int:
    """Fold the journal's records again, up to --at, and say what was true then.

    It says where what is at the targets now is not what was there then. Without
    --at it replays to the end, compares with the live state too, and exits 6 if
    anything differs.
    """
    with opened(invocation) as noodle:
        view = noodle.audit_replay(upgrade, at=at)
    invocation.answer(_replay_lines(invocation, view))
    invocation.document(view)
    return exits.NOT_TRUSTED if view.differs else exits.DONE


def _replay_lines(out: Invocation, view: ReplayView) -> Iterator[str]:
    yield f"as of record {view.at} of {view.size}:"
    for row in view.upgrades:
        way = ", going back" if row.undoing else ""
        named = ", ".join(row.components)
        yield f"  upgrade {row.upgrade}: {clean(named)}, {row.state.value.replace('_', ' ')}{way}"
    for line in component_lines(out, view.components):
        yield f"  {line}"
    if view.at == view.size and not view.differs:
        yield "what is live and what is on disk is what the journal says"
    for one in view.differs:
        yield f"{out.style('differs:', 'bad')} {clean(one)}"
    for one in view.since:
        yield f"since then: {clean(one)}"


@click.command(cls=NoodleCommand, short_help="What changed between two records.")
@click.argument("first", metavar="A", type=click.IntRange(min=0))
@click.argument("last", metavar="B", type=click.IntRange(min=1))
@click.pass_obj
def diff(invocation: Invocation, first: int, last: int) -> int:
    """What the records after A, up to and with B, changed; A is 0 for the beginning."""
    if first > last:
        raise click.UsageError(f"{first} comes after {last}: name the earlier record first")
    with opened(invocation) as noodle:
        view = noodle.audit_diff(first, last)
    invocation.answer(_diff_lines(invocation, view))
    invocation.document(view)
    return exits.DONE


def _diff_lines(out: Invocation, view: AuditDiffView) -> Iterator[str]:
    yield f"after record {view.first}, up to record {view.last} of {view.size}:"
    for one in view.components:
        old, new = one.before or "absent", one.after or "absent"
        what = f" ({', '.join(one.changed)})" if one.changed else ""
        yield f"  {clean(one.component)}: {clean(old)} -> {clean(new)}{what}, by {one.upgrade}"
    for row in view.upgrades:
        way = f"{row.before} -> {row.after}" if row.before else f"requested, now {row.after}"
        why = f" ({row.reason})" if row.reason else ""
        named = clean(", ".join(row.components))
        yield f"  upgrade {row.upgrade}: {named}: {way.replace('_', ' ')}{why}"
    for word, points in (("kept", view.kept), ("dropped", view.dropped)):
        for point in points:
            yield f"  {word}: {clean(point)}"
    for key in view.settings:
        yield f"  setting changed: {clean(key)}"
    if not (view.components or view.upgrades or view.kept or view.dropped or view.settings):
        yield "  nothing that is alive"
    counted = ", ".join(f"{count} {kind}" for kind, count in view.records.items())
    yield out.style(f"  records: {counted or 'none'}", "faint")
