"""`noodle audit anchors`: what was kept elsewhere, held against the journal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import moment

if TYPE_CHECKING:
    from noodle_engine.execute.anchoring.answering import AnchorRow, AnchorsView

__all__ = ["anchors"]

_WORDS = {
    "agrees": ("agrees", "good"),
    "given_up": ("given up by a take-over", "warn"),
    "nothing": ("has nothing of this journal", "warn"),
    "unread": ("cannot be asked", "faint"),
    "unreachable": ("cannot be reached", "warn"),
    "unsigned": ("is NOT signed by this journal", "bad"),
    "fork": ("FORK", "bad"),
    "rollback": ("ROLLBACK", "bad"),
}


@click.command(cls=NoodleCommand, short_help="Hold the journal against what is kept elsewhere.")
@click.pass_obj
def anchors(invocation: Invocation) -> int:
    """Ask every place that `noodle.anchors` names for what it keeps, and compare.

    A journal that ends before an anchor is a ROLLBACK, one with another
    history a FORK: exit 6, and nothing more goes forward on it. Exit 5 if an
    anchor cannot be reached. Changes nothing.
    """
    with opened(invocation) as noodle:
        view = noodle.audit_anchors()
    invocation.answer(_lines(invocation, view))
    invocation.document(view)
    if not view.ok:
        return exits.NOT_TRUSTED
    unreachable = any(row.verdict == "unreachable" for row in view.anchors)
    return exits.NEEDS_PERSON if unreachable else exits.DONE


def _lines(out: Invocation, view: AnchorsView) -> Iterator[str]:
    if not view.anchors:
        yield "nothing is anchored: no setting `noodle.anchors` names a place"
    for row in view.anchors:
        yield from _row_lines(out, row)
    if view.ok:
        yield f"the journal has {view.size} records; anchors prove those up to {view.known_up_to}"


def _row_lines(out: Invocation, row: AnchorRow) -> Iterator[str]:
    words, style = _WORDS[row.verdict]
    size = "" if row.size is None else f", {row.size} records"
    yield f"{out.style(words, style)}  {clean(row.sink)}{size}"
    if row.problem is not None:
        yield f"  problem:   {clean(row.problem)}"
    if row.remedy is not None:
        yield f"  do:        {clean(out.command(row.remedy))}"
    if row.kept_ms is not None:
        yield f"  last kept: {row.kept_size} records, {moment(row.kept_ms)}"
