"""`noodle points` and `noodle gc`: the old versions that are kept, and their going."""

from __future__ import annotations

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation
from noodle_engine.cli.show.wording import collected_lines, point_lines

__all__ = ["gc", "points"]


@click.command(cls=NoodleCommand, short_help="The old versions that are kept.")
@click.argument("name", required=False)
@click.pass_obj
def points(invocation: Invocation, name: str | None) -> int:
    """The old versions that are kept, oldest first, and what each takes on disk.

    `noodle rollback NAME` goes back to the newest that is not installed,
    `--to VERSION` to another.
    """
    with opened(invocation) as noodle:
        view = noodle.points(name)
    invocation.answer(point_lines(view))
    invocation.document(view)
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="Drop old versions that are no longer kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and change nothing.")
@click.pass_obj
def gc(invocation: Invocation, dry_run: bool) -> int:  # noqa: FBT001
    """Drop old versions that are no longer kept.

    Of each component the newest ten stay (`rollback.max_rollback_points`) for
    thirty days (`rollback.rollback_retention_days`), and its newest for
    `rollback_manager.cleanup.max_retention_days`. `noodle run` does this by itself. A
    component that an open upgrade has is left alone. Exit 5 if some could not
    be dropped.

    Records of the journal that are older than `log_retention_days` (of
    `security.audit_logging`) are made unreadable as well; `noodle run` does that by itself.
    """
    with opened(invocation) as noodle:
        view = noodle.collect(dry_run=dry_run)
    invocation.answer(collected_lines(view))
    invocation.document(view)
    return exits.NEEDS_PERSON if view.left else exits.DONE
