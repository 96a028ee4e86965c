"""`noodle component`: releases that can be applied, and what is installed of them."""

# ruff: noqa: PLC0415, PLR0917 - click calls a command by keyword, with one argument for each option.

from __future__ import annotations

from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.commands.change import TAKE_OVER, YES, show_plan
from noodle_engine.cli.follow import showing
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import component_lines
from noodle_engine.cli.stopping import stop_on_signals
from noodle_engine.cli.waiting import answer_upgrade, ask, wait_options, waiting_for

__all__ = ["component"]


@click.group(cls=CommandGroup, short_help="Releases that can be applied.")
def component() -> None:
    """Releases that can be applied, and what is installed of them.

    A release is a folder with noodle.toml and the payload that it names.
    """


@component.command(short_help="Make a release known.")
@click.argument("release", type=click.Path(path_type=Path))
@click.pass_obj
def add(invocation: Invocation, release: Path) -> int:
    """Make a release known: check it, copy it into the home, sign it.

    RELEASE is a folder with noodle.toml. Adding the same release again changes
    nothing; another content under the same version is refused. A tree shares
    with the component's other releases what they have alike. Ctrl-C stops it:
    nothing is added then.
    """
    first = "stopping; once more leaves at once"
    second = "left at once; `noodle component list` says whether it was added"
    with (
        opened(invocation) as noodle,
        stop_on_signals(invocation, first=first, second=second) as stop,
        showing(invocation, "copying the release") as progress,
    ):
        view = noodle.add(release, stop=stop, progress=progress)
    for notice in view.notices:
        invocation.say(f"note:  {clean(notice)}")
    for row in view.components:
        invocation.say(f"{clean(row.name)}: known are {', '.join(row.releases)}")
        invocation.say(
            invocation.command(f"next: `noodle plan {row.name}@VERSION` shows what would change")
        )
    invocation.document(view)
    return exits.DONE


@component.command(short_help="Take over a directory that is deployed already.")
@click.argument("wanted", metavar="NAME@VERSION")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["tree", "link"]),
    help="What the target is from now on: the directory itself, or a link to a release. "
    "[default: as it is]",
)
@click.option(
    "--mutable",
    multiple=True,
    metavar="PATH",
    help="A path in it that outlasts every release (data, settings); may be repeated.",
)
@click.option(
    "--unmanaged",
    multiple=True,
    metavar="PATTERN",
    help="What is no part of a release, as in .gitignore (*.pyc, run/); may be repeated.",
)
@click.option(
    "--immutable",
    is_flag=True,
    help="No program writes its files: releases may share them by hard links.",
)
@TAKE_OVER
@YES
@wait_options
@click.option("--dry-run", is_flag=True, help="Show the plan and end.")
@click.pass_obj
def adopt(
    invocation: Invocation,
    wanted: str,
    path: Path,
    layout: str | None,
    mutable: tuple[str, ...],
    unmanaged: tuple[str, ...],
    immutable: bool,  # noqa: FBT001
    take_over: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    wait: float | None,
    no_wait: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Take over a directory that is deployed already, byte for byte as it is.

    PATH is a directory, or a link to one. It becomes the installed VERSION of
    NAME: nothing is copied, and what runs from it sees no change. Mutable paths
    move to where they live once, and links take their places.
    """
    with opened(invocation) as noodle:
        view = noodle.plan_adoption(
            wanted,
            path.absolute(),
            layout=layout,
            mutable=mutable,
            unmanaged=unmanaged,
            immutable=immutable,
            take_over=take_over,
        )
        show_plan(invocation, view, asked=dry_run)
        if view.plan is None or dry_run:
            invocation.document(view)
            return exits.DONE
        ask(invocation, "Adopt this directory?", yes=yes)
        with waiting_for(invocation, wait=wait, no_wait=no_wait, steps=None) as waiting:
            upgrade = noodle.apply(view.plan, take_over=take_over, waiting=waiting)
    if upgrade is None:
        invocation.document(view)
        return exits.DONE
    return answer_upgrade(invocation, upgrade, waited=not no_wait)


@component.command("list", short_help="All components.")
@click.pass_obj
def list_(invocation: Invocation) -> int:
    """All components: installed or known."""
    with opened(invocation) as noodle:
        view = noodle.components()
    newest = list({row.component: row for row in reversed(view.known)}.values())
    lines = component_lines(invocation, view.components, newest)
    invocation.answer(lines if view.components else "none")
    invocation.document(view)
    return exits.DONE


@component.command(short_help="One component.")
@click.argument("name")
@click.pass_obj
def show(invocation: Invocation, name: str) -> int:
    """One component: what is installed where and how, its releases, the kept old versions.

    Of each release: its kind, how many files a tree has, and their size.
    """
    with opened(invocation) as noodle:
        view = noodle.components(name)
    invocation.answer(component_lines(invocation, view.components, view.known, full=True))
    invocation.document(view)
    return exits.DONE


@component.command(short_help="Say what in a release may disappoint.")
@click.argument("release", metavar="RELEASE | NAME@VERSION")
@click.pass_obj
def lint(invocation: Invocation, release: str) -> int:
    """Say what in a release may disappoint, before it is added or after.

    RELEASE is a folder with noodle.toml. What would be refused is refused here
    too; the rest is advice. Changes nothing.
    """
    known = "@" in release and not Path(release).exists()
    with opened(invocation) as noodle:
        view = noodle.lint(release if known else Path(release))
    name = f"{clean(view.component)} {view.version}"
    invocation.answer([f"{name}: {clean(hint)}" for hint in view.advice] or f"{name}: no advice")
    invocation.document(view)
    return exits.DONE


@component.command(short_help="Hold what is on disk against what is installed.")
@click.argument("name", required=False)
@click.option("--full", is_flag=True, help="Read every file, also those that look unchanged.")
@click.option("--all", "everything", is_flag=True, help="Name every file that differs.")
@click.pass_obj
def verify(
    invocation: Invocation,
    name: str | None,
    full: bool,  # noqa: FBT001
    everything: bool,  # noqa: FBT001
) -> int:
    """Hold what is on disk against what is installed: one component, or all.

    Says each file that is missing, changed, or has another owner or mode. Files
    that no release has are listed and are no damage. Ends with 6 if something
    is not as it was installed, with 3 if only an open upgrade was in the way.
    Changes nothing.
    """
    from noodle_engine.cli.show.verified_words import verified_lines

    with opened(invocation) as noodle, showing(invocation, "reading what is there") as progress:
        view = noodle.verify(name, full=full, progress=progress)
    invocation.answer(verified_lines(invocation, view, everything=everything))
    invocation.document(view)
    if any(not row.whole and row.upgrade is None for row in view.components):
        return exits.NOT_TRUSTED
    return exits.DONE if view.whole else exits.REFUSED


@component.command(short_help="Put back what is installed.")
@click.argument("name")
@YES
@wait_options
@click.option("--dry-run", is_flag=True, help="Show the plan and end.")
@click.option("--all", "everything", is_flag=True, help="Name every file that changes.")
@click.pass_obj
def repair(
    invocation: Invocation,
    name: str,
    yes: bool,  # noqa: FBT001
    wait: float | None,
    no_wait: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    everything: bool,  # noqa: FBT001
) -> int:
    """Put the installed version back where somebody changed or removed it.

    An upgrade to the same version, from its release, in the journal like any
    other: its hooks and checks run, and what stands there now is kept beside it
    as NAME.foreign-ID. Mutable paths stay as they are. `component verify` says
    beforehand what differs.
    """
    from noodle_engine.cli.show.plan_words import forward_steps

    with opened(invocation) as noodle:
        view = noodle.plan_repair(name)
        show_plan(invocation, view, asked=dry_run, everything=everything)
        if view.plan is None or dry_run:
            invocation.document(view)
            return exits.DONE
        ask(invocation, f"Put {name} back?", yes=yes)
        steps = len(forward_steps(view.plan))
        with waiting_for(invocation, wait=wait, no_wait=no_wait, steps=steps) as waiting:
            upgrade = noodle.apply(view.plan, waiting=waiting)
    if upgrade is None:
        invocation.document(view)
        return exits.DONE
    return answer_upgrade(invocation, upgrade, waited=not no_wait)


@component.command(short_help="Stop knowing what is installed under a name.")
@click.argument("name")
@click.pass_obj
def forget(invocation: Invocation, name: str) -> int:
    """Stop knowing what is installed under a name.

    The target and its kept old versions stay on disk as they are. To remove
    the target itself: noodle apply --remove NAME.
    """
    with opened(invocation) as noodle:
        view = noodle.forget(name)
    invocation.say(f"{clean(name)} is forgotten; its target stays as it is")
    invocation.document(view)
    return exits.DONE
