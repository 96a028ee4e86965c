"""Following an upgrade: what has just become durable, as lines or as a bar.

Owns how events are shown while a change runs. What it shows is in the journal
already; that showing fails never stops an upgrade.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from noodle_engine.cli.failures import OutputFailed
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import moment

if TYPE_CHECKING:
    from noodle_engine.api import UpgradeEvent

__all__ = ["following"]

Follow = Callable[["UpgradeEvent"], None]

_BEGINS = "step.intent"
_ENDS = "step.done"
_MOVES = "transition"
_TOLD = frozenset({_BEGINS, _MOVES, "alert"})


@contextmanager
def following(out: Invocation, *, steps: int | None = None) -> Iterator[Follow | None]:
    """What to call with each event: None if nobody looks.

    `steps` is how many steps the upgrade has if all goes well, for the bar.
    """
    if out.json or out.quiet:
        yield None
    elif out.live:
        with _bar(out, steps) as follow:
            yield follow
    else:
        yield _plain(out)


def _plain(out: Invocation) -> Follow:
    def follow(event: UpgradeEvent) -> None:
        if event.label not in _TOLD and not out.verbose:
            return
        line = f"  {clean(event.text)}"
        if out.verbose:
            line = f"  {event.seq:>6} {moment(event.at_ms)} {event.label:<12}{line}"
        try:
            out.write(line + "\n")
        except OutputFailed:
            return  # said when the answer itself cannot be written

    return follow


@contextmanager
def _bar(out: Invocation, steps: int | None) -> Iterator[Follow]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = [SpinnerColumn(), BarColumn(bar_width=24)]
    if steps is not None:
        columns.append(MofNCompleteColumn())
    console = Console(highlight=False, markup=False)
    with Progress(
        *columns, TextColumn("{task.description}", markup=False), console=console, transient=True
    ) as progress:
        task = progress.add_task("", total=steps)

        def follow(event: UpgradeEvent) -> None:
            if event.label == _BEGINS:
                progress.update(task, description=clean(event.text))
            elif event.label == _ENDS:
                progress.advance(task)
            if out.verbose or event.label == _MOVES:
                progress.console.print(f"  {clean(event.text)}")

        yield follow
