"""Following an upgrade: what has just become durable, as lines or as a bar.

Owns how events are shown while a change runs. What it shows is in the journal
already, or passes away; that showing fails never stops an upgrade.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noodle_engine.cli.failures import OutputFailed
from noodle_engine.cli.show.pace import Pace
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words, moment

if TYPE_CHECKING:
    from noodle_engine.api import UpgradeEvent
    from noodle_engine.execute.recording import StepProgress

__all__ = ["PLAIN_EVERY_S", "Following", "following", "showing"]

Progress = Callable[[int, int], None]
WIDE_COLUMNS = 80
"""A narrower terminal gets a shorter bar."""
PLAIN_EVERY_S = 5.0
"""How often a pipe is told how far a step has come."""

_BEGINS = "step.intent"
_ENDS = "step.done"
_MOVES = "transition"
_TOLD = frozenset({_BEGINS, _MOVES, "alert"})


@dataclass(frozen=True, slots=True)
class Following:
    """What to call with each event, and with how far a step has come."""

    event: Callable[[UpgradeEvent], None]
    progress: Callable[[StepProgress], None]


@contextmanager
def following(
    out: Invocation, *, steps: int | None = None, amount: Callable[[int], str] = bytes_words
) -> Iterator[Following | None]:
    """How an upgrade is shown while it runs: None if nobody looks.

    `steps` is how many steps the upgrade has if all goes well, for the bar; `amount`
    says how far a step has come.
    """
    if out.json or out.quiet:
        yield None
    elif out.live:
        with _bar(out, steps, amount) as shown:
            yield shown
    else:
        yield _plain(out, amount)


@contextmanager
def showing(
    out: Invocation, doing: str, amount: Callable[[int], str] = bytes_words
) -> Iterator[Progress | None]:
    """What a long command that is no upgrade calls with bytes (or what `amount` says) of all."""
    with following(out, amount=amount) as shown:
        if shown is None:
            yield None
            return
        from noodle_engine.api import UpgradeEvent
        from noodle_engine.execute.recording import StepProgress

        if out.live:
            shown.event(UpgradeEvent(0, None, _BEGINS, doing, 0))
        yield lambda done, total: shown.progress(StepProgress("", doing, done, total))


def _plain(out: Invocation, amount: Callable[[int], str]) -> Following:
    def follow(event: UpgradeEvent) -> None:
        if event.label not in _TOLD and not out.verbose:
            return
        line = f"  {clean(event.text)}"
        if out.verbose:
            line = f"  {event.seq:>6} {moment(event.at_ms)} {event.label:<12}{line}"
        say(line)

    def say(line: str) -> None:
        try:
            out.write(line + "\n")
        except OutputFailed:
            return  # said when the answer itself cannot be written

    pace = Pace(time.monotonic, amount)
    told_s = time.monotonic()

    def progress(now: StepProgress) -> None:
        nonlocal told_s
        words = pace.words(now.step, now.done_bytes, now.total_bytes)
        if time.monotonic() - told_s >= PLAIN_EVERY_S and now.done_bytes < now.total_bytes:
            told_s = time.monotonic()
            say(f"    {words}")

    return Following(follow, progress)


@contextmanager
def _bar(out: Invocation, steps: int | None, amount: Callable[[int], str]) -> Iterator[Following]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    console = Console(highlight=False, markup=False)
    columns = [SpinnerColumn(), BarColumn(bar_width=24 if console.width >= WIDE_COLUMNS else 8)]
    if steps is not None:
        columns.append(MofNCompleteColumn())
    # A bar of more than one line is not wholly erased where a line of it was wrapped.
    one_line = Column(no_wrap=True, overflow="ellipsis")
    columns.append(TextColumn("{task.description}", markup=False, table_column=one_line))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=steps)
        doing = ""
        pace = Pace(time.monotonic, amount)

        def follow(event: UpgradeEvent) -> None:
            nonlocal doing
            if event.label == _BEGINS:
                doing = clean(event.text)
                bar.update(task, description=doing)
            elif event.label == _ENDS:
                bar.advance(task)
            if out.verbose or event.label == _MOVES:
                bar.console.print(f"  {clean(event.text)}")

        def progress(now: StepProgress) -> None:
            words = pace.words(now.step, now.done_bytes, now.total_bytes)
            bar.update(task, description=f"{doing}  {words}")

        yield Following(follow, progress)
