"""What a verification found, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from noodle_engine.cli.show.plan_words import difference_lines
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import VerifiedRow, VerifiedView

__all__ = ["verified_lines"]

_EXTRAS_SHOWN = 5


def verified_lines(
    out: Invocation, view: VerifiedView, *, everything: bool = False
) -> Iterator[str]:
    """Each component: as it was installed, or what is not."""
    if not view.components:
        yield "nothing is installed"
    for row in view.components:
        yield from _row_lines(out, row, everything=everything)


def _row_lines(out: Invocation, row: VerifiedRow, *, everything: bool) -> Iterator[str]:
    name = f"{clean(row.component)} {row.version or 'unversioned'}"
    if row.problem is not None:
        how = "is not looked at" if row.upgrade else "cannot be looked at"
        yield out.style(f"{name}  {how}", "warn" if row.upgrade else "bad")
        yield f"  {out.command(clean(row.problem))}"
        return
    if row.whole:
        yield f"{name}  {out.style('as it was installed', 'good')}"
    else:
        yield f"{name}  {out.style('not as it was installed', 'bad')}  {clean(row.target)}"
        yield from difference_lines(out, row.differences, row.left_out, everything=everything)
        if not any(one.path for one in row.differences):
            yield f"      the target {_whole_target(row)}"
    read = f"{row.files_read} of {row.files} files read, {bytes_words(row.bytes_read)}"
    unread = " (the others look as they did; --full reads them too)"
    yield f"  {read}{unread if row.files_read < row.files else ''}"
    if not row.whole:
        how = f"next: `noodle component repair {clean(row.component)}` puts its release back"
        yield out.command(f"  {how}")
    if row.extras:
        shown = row.extras if everything else row.extras[:_EXTRAS_SHOWN]
        more = len(row.extras) - len(shown)
        rest = f" and {more} more" if more else ""
        yield f"  besides, in no release: {clean(', '.join(shown))}{rest}"


def _whole_target(row: VerifiedRow) -> str:
    """What is wrong with a target of which no single file can be named."""
    first = row.differences[0]
    if first.change == "removed":
        return "is missing"
    if "link" in first.what:
        return "leads to another tree of the same content"
    return "has another content, owner, mode or attributes"
