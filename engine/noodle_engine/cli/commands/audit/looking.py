"""`noodle audit show` and `replay`: what the journal says."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import component_lines, moment

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import AuditEntry, ReplayView

__all__ = ["replay", "show"]


@click.command(cls=NoodleCommand, short_help="Records as sentences.")
@click.argument("upgrade", metavar="[ID]", required=False)
@click.option(
    "--from", "start", type=click.IntRange(min=1), default=1, metavar="SEQ", help="First."
)
@click.option("--to", "last", type=click.IntRange(min=1), metavar="SEQ", help="Last.")
@click.pass_obj
def show(invocation: Invocation, upgrade: str | None, start: int, last: int | None) -> int:
    """Records of the journal as sentences; with an ID, those of one upgrade."""
    if upgrade is not None and (start != 1 or last is not None):
        raise click.UsageError("--from and --to are for the whole journal: leave the ID out")
    with opened(invocation) as noodle:
        entries = noodle.audit_show(upgrade, start=start, stop=None if last is None else last + 1)
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

    Without --at it replays to the end, compares with the live state and with
    what is on disk, and exits 6 if they differ.
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
