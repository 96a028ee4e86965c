"""Waiting for an upgrade: the options, the follower, the end.

Owns what apply, rollback, resume and abort have in common on a command line.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from noodle_engine.cli import exits
from noodle_engine.cli.failures import Declined
from noodle_engine.cli.show.terminal import Invocation
from noodle_engine.cli.show.wording import upgrade_lines

if TYPE_CHECKING:
    from noodle_engine.api import Waiting
    from noodle_engine.execute.answers.views import UpgradeView

__all__ = ["answer_upgrade", "ask", "wait_options", "waiting_for"]

WAIT_S_MAX = 7 * 86_400
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def wait_options(command: Decorated) -> Decorated:
    """Add --wait and --no-wait; the command gets `wait` (s, None: to the end) and `no_wait`."""
    wait = click.option(
        "--wait",
        type=click.FloatRange(min=0, max=WAIT_S_MAX),
        metavar="SECONDS",
        help="Wait at most so long (exit 8 then); the upgrade goes on.",
    )
    no_wait = click.option(
        "--no-wait", is_flag=True, help="Return as soon as the request is recorded."
    )
    return wait(no_wait(command))


@contextmanager
def waiting_for(
    out: Invocation, *, wait: float | None, no_wait: bool, steps: int | None = None
) -> Iterator[Waiting]:
    """How a call waits, with what it tells shown and Ctrl-C heard."""
    from noodle_engine.api import Waiting
    from noodle_engine.cli.follow import following
    from noodle_engine.cli.stopping import stop_on_signals

    if wait is not None and no_wait:
        raise click.UsageError("--wait and --no-wait exclude each other")
    first = "stopping after the step that runs; once more leaves at once"
    with stop_on_signals(out, first=first) as stop, following(out, steps=steps) as shown:
        yield Waiting(
            wait=not no_wait,
            wait_ms_max=None if wait is None else round(wait * 1000),
            follow=None if shown is None else shown.event,
            progress=None if shown is None else shown.progress,
            stop=stop,
        )


def ask(out: Invocation, question: str, *, yes: bool) -> bool:
    """Ask on a terminal, and say whether it was asked. In a pipe, or with --json, it never is.

    Raises Declined for a no.
    """
    if yes or not out.on_terminal:
        return False
    if not click.confirm(question, default=False):
        raise Declined
    return True


def answer_upgrade(
    out: Invocation, view: UpgradeView, *, waited: bool = True, asked_back: bool = False
) -> int:
    """Print how an upgrade stands and return its exit code."""
    code = exits.of_upgrade(view, asked_back=asked_back, waited=waited)
    _tell(out, view, code)
    out.document(view)
    return code


def answer_upgrades(out: Invocation, views: Sequence[UpgradeView], *, waited: bool) -> int:
    """Print how several upgrades stand and return the worst exit code."""
    from noodle_engine.cli.show.shapes import OpenView

    codes = [exits.of_upgrade(view, asked_back=True, waited=waited) for view in views]
    for view, code in zip(views, codes, strict=True):
        _tell(out, view, code)
    if not views:
        out.say("no upgrade is open")
    out.document(OpenView(tuple(views)))
    return exits.worst(codes)


def _tell(out: Invocation, view: UpgradeView, code: int) -> None:
    """How an upgrade stands; on standard error if it is no success and --quiet hides the rest."""
    if code == exits.DONE or not out.quiet:
        out.say(upgrade_lines(out, view))
    elif not out.json:
        out.warn(upgrade_lines(out, view))
