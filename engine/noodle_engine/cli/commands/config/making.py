"""`noodle config init` and `migrate`: the files of the settings."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.show.terminal import Invocation, clean

__all__ = ["init", "migrate"]

ENVIRONMENTS = ("development", "staging", "production", "minimal")


@click.command(cls=NoodleCommand, short_help="Write settings files to begin with.")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    default="production",
    show_default=True,
    help="What they are for; minimal switches everything off that can be.",
)
@click.pass_obj
def init(invocation: Invocation, folder: Path | None, environment: str) -> int:
    """Write settings files to begin with, and settings.md, which explains each value.

    Without DIR: to NOODLE_CONFIG_DIR, else to noodle-core/config here. Refuses
    if any settings file is there.
    """
    from noodle_engine.execute.home.config_files import make_files

    view = make_files(folder, environment, os.environ, Path.cwd())
    invocation.answer(f"made settings for {environment} in {clean(view.folder)}")
    invocation.answer(f"  {name}" for name in view.files)
    where = "" if view.found else f"NOODLE_CONFIG_DIR={shlex.quote(view.folder)} "
    named = "" if environment == "minimal" else f"NOODLE_ENVIRONMENT={environment} "
    if where or named:
        invocation.say(f"for Noodle to use them so: export {clean(where + named).strip()}")
    invocation.document(view)
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="Bring older settings files to this version.")
@click.argument(
    "folder",
    metavar="[DIR]",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=False,
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def migrate(invocation: Invocation, folder: Path | None, dry_run: bool) -> int:  # noqa: FBT001
    """Bring older settings files to the version that this Noodle reads.

    Without DIR: those that count here. Says what it changes; each file's old
    content stays beside it as NAME.version-N. Nothing is changed unless all of it
    loads afterwards.
    """
    from noodle_engine.execute.home.config import folders_here
    from noodle_engine.execute.home.config_files import migrate_files

    folders = folders_here(invocation.home) if folder is None else [folder]
    view = migrate_files(folders, dry_run=dry_run)
    word = "would be" if dry_run else "is now"
    for row in view.migrated:
        invocation.answer(f"{clean(row.file)} {word} of version {row.to_version}")
        invocation.answer(f"  {step}" for step in row.steps)
        if row.backup is not None:
            invocation.answer(f"  before: {clean(row.backup)}")
    if not view.migrated:
        count = len(view.current)
        files = f"{count} file{'' if count == 1 else 's'}"
        invocation.answer(f"nothing to do: {files}, all of the version that is read")
    invocation.document(view)
    return exits.DONE
