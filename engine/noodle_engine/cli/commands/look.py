"""`noodle status`, `steps`, `history` and `diff`: questions; nothing is changed."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation
from noodle_engine.cli.show.wording import history_lines, home_lines, steps_lines, upgrade_lines

__all__ = ["diff", "history", "status", "steps"]

HISTORY_LIMIT_MAX = 1_000_000


@click.command(cls=NoodleCommand, short_help="What is installed, what is open; or one upgrade.")
@click.argument("upgrade", metavar="[ID]", required=False)
@click.pass_obj
def status(invocation: Invocation, upgrade: str | None) -> int:
    """What is installed and what is open; with an ID, where one upgrade stands.

    Looks at the targets on disk too. An ID may be shortened to a beginning
    that only one upgrade has. Exit 0 whatever the state is.
    """
    with opened(invocation) as noodle:
        if upgrade is None:
            home = noodle.status()
            invocation.answer(home_lines(invocation, home))
            invocation.document(home)
        else:
            view = noodle.upgrade(upgrade)
            invocation.answer(upgrade_lines(invocation, view))
            invocation.document(view)
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="The steps of one upgrade.")
@click.argument("upgrade", metavar="ID")
@click.option("--output", is_flag=True, help="Show what hooks and checks printed.")
@click.pass_obj
def steps(invocation: Invocation, upgrade: str, output: bool) -> int:  # noqa: FBT001
    """The steps of one upgrade, in order, and how each ended."""
    with opened(invocation) as noodle:
        view = noodle.steps(upgrade, output=output)
    invocation.answer(steps_lines(invocation, view))
    invocation.document(view)
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="Upgrades, newest first.")
@click.option(
    "--limit",
    type=click.IntRange(1, HISTORY_LIMIT_MAX),
    default=20,
    show_default=True,
    metavar="N",
    help="At most so many.",
)
@click.option("--all", "everything", is_flag=True, help="All that the journal holds.")
@click.pass_obj
def history(invocation: Invocation, limit: int, everything: bool) -> int:  # noqa: FBT001
    """Upgrades, newest first, and how each ended."""
    with opened(invocation) as noodle:
        view = noodle.history(limit=limit, everything=everything)
    invocation.answer(history_lines(invocation, view))
    if view.settings_problems and not everything:
        invocation.warn(
            "the settings cannot be used, so none left any out; `noodle config validate` says why"
        )
    invocation.document(view)
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="What one release has that another has not.")
@click.argument("old", metavar="NAME@VERSION")
@click.argument("new", metavar="NAME@VERSION")
@click.option("--all", "everything", is_flag=True, help="Name every file that differs.")
@click.pass_obj
def diff(invocation: Invocation, old: str, new: str, everything: bool) -> int:  # noqa: FBT001
    """What leads from one known release to another: files, attributes, noodle.toml.

    Compares what was signed of them; no file of theirs is read. What is on disk
    is compared by `noodle component verify`.
    """
    from noodle_engine.cli.show.diff_words import diff_lines

    with opened(invocation) as noodle:
        view = noodle.diff(old, new)
    invocation.answer(diff_lines(invocation, view, everything=everything))
    invocation.document(view)
    return exits.DONE
