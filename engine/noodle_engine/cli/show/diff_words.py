"""How two releases differ, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from noodle_engine.cli.show.plan_words import difference_lines
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words, payload_words

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import DiffView

__all__ = ["diff_lines"]


def diff_lines(out: Invocation, view: DiffView, *, everything: bool = False) -> Iterator[str]:
    """Both releases, the files that differ, what differs in noodle.toml, and what it would cost."""
    yield f"  ~ {clean(view.component)}  {view.old.version} -> {view.new.version}"
    for sign, row in (("-", view.old), ("+", view.new)):
        yield f"      {sign} {payload_words(row)}"
    yield from difference_lines(out, view.differences, view.left_out, everything=everything)
    if view.same:
        yield "      no difference but the version"
    if view.manifest:
        yield f"noodle.toml differs in: {', '.join(view.manifest)}"
    diff = view.diff
    counts = (("added", diff.added), ("changed", diff.changed), ("removed", diff.removed))
    words = [f"{count} {word}" for word, count in counts if count]
    yield f"files: {', '.join(words) or 'none differ'}"
    copied, shared = bytes_words(diff.bytes_copied), bytes_words(diff.bytes_shared)
    yield f"bytes: {copied} to copy, {shared} that both have"
