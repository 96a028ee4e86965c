"""`noodle plan`, `noodle apply` and `noodle rollback`: what changes a target."""

# ruff: noqa: PLC0415, PLR0917
# click calls a command by keyword, with one argument for each option.
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.waiting import answer_upgrade, ask, wait_options, waiting_for

if TYPE_CHECKING:
    from noodle_engine.api import Noodle
    from noodle_engine.execute.answers.views import PlanView
    from noodle_engine.machine.plan import Plan

__all__ = ["TAKE_OVER", "YES", "apply", "plan", "rollback", "show_plan"]

_REMOVE = click.option(
    "--remove", multiple=True, metavar="NAME", help="Remove this component; may be repeated."
)
TAKE_OVER = click.option(
    "--take-over", is_flag=True, help="Take over a target that another home's journal owns."
)
_ALL = click.option(
    "--all", "everything", is_flag=True, help="Name every file that changes, not the first ones."
)
YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_ON_CRASH = click.option(
    "--on-crash",
    type=click.Choice(["forward", "back"]),
    default="forward",
    show_default=True,
    help="Which way a resume goes if a crash comes before the first exchange.",
)
_KEY = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Names this request: the same plan file, sent again while its upgrade is open, is that "
    "upgrade. No question is asked.",
)


@click.command(cls=NoodleCommand, short_help="Show what apply would do.")
@click.argument("wanted", nargs=-1, metavar="[NAME@VERSION]...")
@_REMOVE
@TAKE_OVER
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the plan to a file."
)
@_ALL
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit 10, not 0, if there is something to change."
)
@click.pass_obj
def plan(
    invocation: Invocation,
    wanted: tuple[str, ...],
    remove: tuple[str, ...],
    take_over: bool,  # noqa: FBT001 - click calls by keyword
    out: Path | None,
    everything: bool,  # noqa: FBT001
    detailed_exitcode: bool,  # noqa: FBT001
) -> int:
    """Show what apply would do. Changes nothing.

    The plan has a hash. `noodle apply FILE` does exactly the plan that --out
    wrote, or refuses if the world has moved since.
    """
    _check_asked(wanted, remove)
    with opened(invocation) as noodle:
        view = noodle.plan(wanted, remove=remove, take_over=take_over)
        if out is not None and view.plan is not None:
            noodle.save_plan(view.plan, out)
    show_plan(invocation, view, asked=True, everything=everything)
    if view.plan is not None:
        how = f"`noodle apply {clean(_how(wanted, remove, out))}`"
        does = "does it" if view.not_now is None else f"is refused now: {view.not_now}"
        invocation.say(invocation.command(f"next: {how} {does}"))
    invocation.document(view)
    return exits.PENDING if detailed_exitcode and view.changes else exits.DONE


@click.command(cls=NoodleCommand, short_help="Upgrade, install or remove components.")
@click.argument("wanted", nargs=-1, metavar="[NAME@VERSION]... | PLANFILE")
@_REMOVE
@TAKE_OVER
@YES
@_ON_CRASH
@wait_options
@click.option("--dry-run", is_flag=True, help="Show the plan and end.")
@_ALL
@_KEY
@click.pass_obj
def apply(
    invocation: Invocation,
    wanted: tuple[str, ...],
    remove: tuple[str, ...],
    take_over: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    on_crash: str,
    wait: float | None,
    no_wait: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    everything: bool,  # noqa: FBT001
    idempotency_key: str | None,
) -> int:
    """Upgrade, install or remove components; or do a plan file.

    Shows the plan, asks on a terminal (never in a pipe), does it step by step,
    and ends with every target new, or every target as it was. A plan file is
    an argument with a / in it or that ends in .json.
    """
    from noodle_engine.cli.show.plan_words import forward_steps
    from noodle_engine.machine.states import OnCrash

    with opened(invocation) as noodle:
        view = _planned(noodle, wanted, remove, take_over=take_over)
        show_plan(invocation, view, asked=dry_run, everything=everything)
        if view.plan is None or dry_run:
            invocation.document(view)
            return exits.DONE
        asked = idempotency_key is None and ask(invocation, "Apply this plan?", yes=yes)
        steps = len(forward_steps(view.plan))
        with waiting_for(invocation, wait=wait, no_wait=no_wait, steps=steps) as waiting:
            upgrade = noodle.apply(
                view.plan,
                on_crash=OnCrash(on_crash),
                request_key=idempotency_key,
                take_over=take_over,
                made_now=not (asked or _plan_files(wanted)),
                waiting=waiting,
            )
    if upgrade is None:  # what the plan wanted came true meanwhile
        invocation.say("nothing to do")
        invocation.document(view)
        return exits.DONE
    return answer_upgrade(invocation, upgrade, waited=not no_wait)


@click.command(cls=NoodleCommand, short_help="Go back to the version kept before.")
@click.argument("name")
@click.option("--to", metavar="VERSION", help="An older kept version, not the newest.")
@YES
@wait_options
@_KEY
@click.pass_obj
def rollback(
    invocation: Invocation,
    name: str,
    to: str | None,
    yes: bool,  # noqa: FBT001
    wait: float | None,
    no_wait: bool,  # noqa: FBT001
    idempotency_key: str | None,
) -> int:
    """Go back to the version that was kept before the last upgrade.

    This is an upgrade of its own, in the direction back, and is in the journal
    like any other. To take an upgrade back that is still open: noodle abort ID.
    """
    from noodle_engine.cli.show.plan_words import forward_steps
    from noodle_engine.execute.failures import NothingInstalled

    with opened(invocation) as noodle:
        view = noodle.plan_back(name, to=to)
        show_plan(invocation, view, asked=False)
        asked = idempotency_key is None and ask(invocation, f"Go back with {name}?", yes=yes)
        plan = view.plan
        if plan is None:
            raise NothingInstalled(name)
        steps = len(forward_steps(plan))
        with waiting_for(invocation, wait=wait, no_wait=no_wait, steps=steps) as waiting:
            # The plan that was shown, and no other.
            upgrade = noodle.apply(
                plan, request_key=idempotency_key, made_now=not asked, waiting=waiting
            )
    if upgrade is None:
        raise NothingInstalled(name)
    return answer_upgrade(invocation, upgrade, waited=not no_wait)


def _check_asked(wanted: tuple[str, ...], remove: tuple[str, ...]) -> None:
    if not wanted and not remove:
        raise click.UsageError("name what is wanted: NAME@VERSION, or --remove NAME")


def _how(wanted: tuple[str, ...], remove: tuple[str, ...], out: Path | None) -> str:
    """What to give `apply` for this plan."""
    if out is None:
        return " ".join((*wanted, *(f"--remove {one}" for one in remove)))
    named = str(out)
    return named if "/" in named or named.endswith(".json") else f"./{named}"


def _planned(
    noodle: Noodle,
    wanted: tuple[str, ...],
    remove: tuple[str, ...],
    *,
    take_over: bool,
) -> PlanView:
    """The plan to do: from the words, or from the plan file that they name."""
    from noodle_engine.execute.answers.views import PlanView
    from noodle_engine.machine.plan import plan_hash

    files = _plan_files(wanted)
    if not files:
        _check_asked(wanted, remove)
        return noodle.plan(wanted, remove=remove, take_over=take_over)
    if len(wanted) > 1 or remove:
        raise click.UsageError("a plan file says everything: give it alone")
    loaded: Plan = noodle.load_plan(Path(files[0]))
    return PlanView(changes=True, plan_hash=plan_hash(loaded), plan=loaded)


def _plan_files(wanted: tuple[str, ...]) -> list[str]:
    return [one for one in wanted if "/" in one or one.endswith(".json")]


def show_plan(
    invocation: Invocation, view: PlanView, *, asked: bool, everything: bool = False
) -> None:
    """Show a plan: as the answer if it was `asked` for, else beside it."""
    from noodle_engine.cli.show.plan_words import plan_lines

    show = invocation.answer if asked else invocation.say
    show(plan_lines(invocation, view, everything=everything))
    if view.plan is not None:
        show("")
