"""`noodle journal`: copies of the journal, and which place it belongs to."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.opening import check_platform, opened
from noodle_engine.cli.show.terminal import Invocation, clean

__all__ = ["journal"]


@click.group(cls=CommandGroup, short_help="Back up, restore, compact or take over the journal.")
def journal() -> None:
    """Back up, restore, compact or take over the journal."""


@journal.command(short_help="Copy the journal while it is used.")
@click.argument("destination", type=click.Path(path_type=Path))
@click.pass_obj
def backup(invocation: Invocation, destination: Path) -> int:
    """Copy the journal to a new file, while it may be in use.

    The copy is sealed as the journal is. Keep keystore.db and the recovery key
    apart from it: without the keys the copy can be verified, not read.
    """
    from noodle_engine.cli.show.shapes import DoneView

    with opened(invocation) as noodle:
        noodle.backup(destination)
    invocation.say(f"the journal is copied to {clean(str(destination))}")
    invocation.document(DoneView("journal.backup", str(destination.absolute())))
    return exits.DONE


@journal.command(short_help="Put a copy of the journal back.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--set-aside", is_flag=True, help="Keep a journal that is there as journal.db.broken-N."
)
@click.pass_obj
def restore(invocation: Invocation, source: Path, set_aside: bool) -> int:  # noqa: FBT001
    """Put a copy of the journal in the place of one that is lost or damaged.

    A journal that is still there is never overwritten: --set-aside keeps it
    under another name. Afterwards the journal is read-only until `noodle journal take-over`:
    what was recorded after the copy was made is not in it, so look at the
    targets first.
    """
    check_platform()
    from noodle_engine.api import Noodle
    from noodle_engine.cli.show.shapes import DoneView

    Noodle.restore(source, invocation.home, set_aside=set_aside)
    invocation.say(f"the journal is restored from {clean(str(source))}")
    invocation.say(
        (
            "next: " + invocation.command("`noodle audit verify` says what it holds, then"),
            "      " + invocation.command("`noodle journal take-over` lets it be written"),
        )
    )
    invocation.document(DoneView("journal.restore", str(source.absolute())))
    return exits.DONE


@journal.command(short_help="Replace records that were made unreadable by their hashes.")
@click.pass_obj
def compact(invocation: Invocation) -> int:
    """Replace records that were made unreadable by their hashes, and give the space back.

    What is older than `security.audit_logging.log_retention_days` cannot be read
    any more, and still takes its space; its hashes are all that proving the rest
    needs. The file is written anew at the end, which takes as much free space as
    it has.
    """
    from noodle_engine.cli.show.wording import bytes_words

    with opened(invocation) as noodle:
        view = noodle.compact()
    invocation.answer(
        f"{view.rows} records are hashes now, {bytes_words(view.bytes_freed)} freed"
        if view.rows
        else "nothing to compact: no record was made unreadable that is not a hash already"
    )
    invocation.document(view)
    return exits.DONE


@journal.command("take-over", short_help="Let a moved or restored journal be written.")
@click.pass_obj
def take_over(invocation: Invocation) -> int:
    """Let a journal be written that was moved, restored or copied here.

    Make sure first that no other copy of it is in use: two that both act on
    the same targets would mix versions.
    """
    from noodle_engine.cli.show.shapes import DoneView

    with opened(invocation) as noodle:
        noodle.take_over()
        home = str(noodle.home)
    invocation.say(f"the journal in {clean(home)} is written here from now on")
    invocation.document(DoneView("journal.take-over", home))
    return exits.DONE
