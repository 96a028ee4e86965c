"""`noodle audit`: prove the journal, read it, replay it, hand it to somebody else."""

from __future__ import annotations

import click

from noodle_engine.cli.commands.audit.anchoring import anchors
from noodle_engine.cli.commands.audit.exporting import export
from noodle_engine.cli.commands.audit.looking import diff, replay, show
from noodle_engine.cli.commands.audit.proving import checkpoint, prove
from noodle_engine.cli.commands.audit.verifying import verify
from noodle_engine.cli.lazy import CommandGroup

__all__ = ["audit"]


@click.group(cls=CommandGroup, short_help="Verify, show, replay and prove the journal.")
def audit() -> None:
    """Verify, show, replay and prove the journal."""


for _command in (verify, show, replay, diff, checkpoint, prove, export, anchors):
    audit.add_command(_command)
