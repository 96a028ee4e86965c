"""`noodle config`: the settings in force, each explained, checked and compared."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from noodle_engine.cli import exits
from noodle_engine.cli.commands.config.making import init, migrate
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.show.terminal import Invocation

__all__ = ["config"]

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


def _names(
    _context: click.Context, _parameter: click.Parameter, beginning: str
) -> list[CompletionItem]:
    from noodle_policies.settings.explaining import names_with

    return [CompletionItem(name) for name in names_with(beginning)]


@click.group(cls=CommandGroup, short_help="The settings: what they are, why, and their files.")
def config() -> None:
    """The settings: what they are, why, and their files.

    Option (--set) counts more than variable, variable more than file, file more
    than default. Files are read from the home's own folder `config`, and over it
    from NOODLE_CONFIG_DIR, else noodle-core/config here, else here.
    """


@config.command(short_help="Every setting in force.")
@click.option("--changed", is_flag=True, help="Only those that are not at their default.")
@click.pass_obj
def show(invocation: Invocation, changed: bool) -> int:  # noqa: FBT001
    """Every setting in force, and where those come from that somebody set.

    Noodle's own options are listed apart. Exit 2 if settings cannot be used.
    """
    from noodle_engine.cli.show.config_words import settings_lines
    from noodle_engine.execute.home.config import in_force
    from noodle_policies.settings.showing import settings_view

    view = settings_view(in_force(invocation.home, invocation.options), only_changed=changed)
    invocation.answer(settings_lines(invocation, view))
    invocation.document(view)
    return exits.DONE


@config.command(short_help="What a setting is now, why, and what a change would change.")
@click.argument("name", metavar="KEY", shell_complete=_names)
@click.pass_obj
def explain(invocation: Invocation, name: str) -> int:
    """What a setting is now, why, and what would be different if it were changed.

    KEY is a setting, a section (its settings are listed) or a variable. Also
    for settings that cannot be used: what is wrong with them is told.
    """
    from noodle_engine.cli.show.config_words import explanation_lines, listing_lines
    from noodle_engine.execute.home.config import explained
    from noodle_policies.settings.explaining import Explanation

    view = explained(invocation.home, invocation.options, name)
    if isinstance(view, Explanation):
        invocation.answer(explanation_lines(invocation, view))
    else:
        invocation.answer(listing_lines(invocation, view))
    invocation.document(view)
    return exits.DONE


@config.command(short_help="Check the settings, and name everything that is wrong.")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@click.pass_obj
def validate(invocation: Invocation, folder: Path | None) -> int:
    """Check the settings, and name everything that is wrong. Exit 2 if anything is.

    Without DIR: what would be in force here, with variables and options. With
    DIR: that folder's files alone, and once more with each environment's folder
    in it over them.
    """
    from noodle_engine.cli.show.config_words import validated_lines
    from noodle_engine.execute.home.config import validated

    view = validated(invocation.home, invocation.options, folder)
    invocation.answer(validated_lines(invocation, view))
    invocation.document(view)
    return exits.DONE if view.valid else exits.USAGE


@config.command(short_help="Which settings differ between two folders.")
@click.argument("one", metavar="A", type=FOLDER)
@click.argument("other", metavar="[B]", type=FOLDER, required=False)
@click.pass_obj
def diff(invocation: Invocation, one: Path, other: Path | None) -> int:
    """Which settings differ between two folders of files.

    Without B: between A and what is in force here. NOODLE_ENVIRONMENT counts for
    both; other variables count only for what is in force.
    """
    from noodle_engine.cli.show.config_words import difference_lines
    from noodle_engine.execute.home.config import compared

    view = compared(invocation.home, invocation.options, one, other)
    invocation.answer(difference_lines(invocation, view))
    invocation.document(view)
    return exits.DONE


@config.command(short_help="The JSON Schema of a settings file.")
@click.pass_obj
def schema(invocation: Invocation) -> int:
    """The JSON Schema (draft 2020-12) of a settings file, for editors and other tools.

    What it takes, loads; but for rules between keys and what only this machine
    knows, which `noodle config validate` checks too.
    """
    from noodle_engine.cli.show.shapes import SchemaView
    from noodle_policies.settings.schema import schema_text, settings_schema

    invocation.answer(schema_text().rstrip("\n"))
    invocation.document(SchemaView(settings_schema()))
    return exits.DONE


config.add_command(init)
config.add_command(migrate)
