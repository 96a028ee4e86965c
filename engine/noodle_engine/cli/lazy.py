"""The table of commands, each loaded when it is used.

Owns which commands there are, where each lives, its one line of help, and the
options that every command takes before and after its name. `noodle --help`
imports nothing but click: the line of help stands here, and a test holds it
to the command's own.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import click

from noodle_engine.cli.show.terminal import Invocation

__all__ = ["COMMANDS", "CommandGroup", "NoodleCommand", "Root", "global_options"]


class Entry(NamedTuple):
    """One command: its section, module (in `commands`), attribute and line of help."""

    section: str
    module: str
    attribute: str
    help: str


_START = "Start"
_CHANGE = "Change"
_WATCH = "Look"
_RECOVER = "When something stopped"
_JOURNAL = "The journal"
_SETTINGS = "Settings"
_PLUG_INS = "Plug-ins"

COMMANDS: dict[str, Entry] = {
    "init": Entry(_START, "home", "init", "Make a home: journal and keys."),
    "demo": Entry(_START, "demo", "demo", "Upgrade a running shop, kill it in the middle, resume."),
    "component": Entry(_START, "component", "component", "Releases that can be applied."),
    "plan": Entry(_CHANGE, "change", "plan", "Show what apply would do."),
    "apply": Entry(_CHANGE, "change", "apply", "Upgrade, install or remove components."),
    "rollback": Entry(_CHANGE, "change", "rollback", "Go back to the version kept before."),
    "gc": Entry(_CHANGE, "points", "gc", "Drop old versions that are no longer kept."),
    "run": Entry(_CHANGE, "home", "run", "Stay and drive upgrades for other commands."),
    "status": Entry(_WATCH, "look", "status", "What is installed, what is open; or one upgrade."),
    "steps": Entry(_WATCH, "look", "steps", "The steps of one upgrade."),
    "history": Entry(_WATCH, "look", "history", "Upgrades, newest first."),
    "diff": Entry(_WATCH, "look", "diff", "What one release has that another has not."),
    "points": Entry(_WATCH, "points", "points", "The old versions that are kept."),
    "doctor": Entry(_WATCH, "home", "doctor", "Check what Noodle stands on, and say what to do."),
    "diagnostics": Entry(
        _WATCH, "diagnostics", "diagnostics", "What somebody who helps needs to see."
    ),
    "resume": Entry(_RECOVER, "recover", "resume", "Finish, or take back, what was interrupted."),
    "abort": Entry(_RECOVER, "recover", "abort", "Take an open upgrade back."),
    "rescue": Entry(
        _RECOVER, "recover", "rescue", "Exchange a target by hand, without the journal."
    ),
    "audit": Entry(_JOURNAL, "audit.group", "audit", "Verify, show, replay and prove the journal."),
    "key": Entry(_JOURNAL, "key", "key", "The journal's keys: look, rotate, rewrap, recover."),
    "journal": Entry(
        _JOURNAL, "journal", "journal", "Back up, restore, compact or take over the journal."
    ),
    "config": Entry(
        _SETTINGS, "config.group", "config", "The settings: what they are, why, and their files."
    ),
    "plugin": Entry(
        _PLUG_INS, "plugin", "plugin", "Kinds of target that plug-ins bring, and their proof."
    ),
    "completion": Entry(_START, "completion", "completion", "Print completion for a shell."),
}


def _set(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        invocation = context.find_object(Invocation)
        if invocation is not None and value:
            setattr(invocation, name, value)

    return remember


def _add_settings(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> None:
    invocation = context.find_object(Invocation)
    for one in value:
        key, equals, text = one.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{one!r} is not KEY=VALUE", context, parameter)
        # A wrong one is a wrong command, whatever the command would have made of it.
        from noodle_policies.settings.reading.texts import read_options

        _, problems = read_options([(key, text)])
        if problems:
            raise click.BadParameter(problems[0].text, context, parameter)
        if invocation is not None:
            invocation.options.append((key, text))


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value:
        from noodle_engine import __version__

        click.echo(f"noodle {__version__}")
        context.exit()


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """The options that are taken before and after a command's name."""
    flags = {
        "json": ("--json", "Answer with one JSON document."),
        "quiet": ("-q/--quiet", "Print only what was asked for, and errors."),
        "verbose": ("-v/--verbose", "Print more."),
        "debug": ("--debug", "Print a traceback with an error."),
    }
    options: list[click.Parameter] = [
        click.Option(
            ["--home"],
            metavar="DIR",
            help="Where journal, keys and releases live; otherwise NOODLE_HOME, "
            "or noodle in the state directory.",
            expose_value=False,
            is_eager=True,
            hidden=hidden,
            callback=_set("home"),
        )
    ]
    options.append(
        click.Option(
            ["--set"],
            metavar="KEY=VALUE",
            multiple=True,
            help="Set a setting for this command, over variables and files; again for more.",
            expose_value=False,
            is_eager=True,
            hidden=hidden,
            callback=_add_settings,
        )
    )
    options.extend(
        click.Option(
            words.split("/"),
            is_flag=True,
            help=text,
            expose_value=False,
            is_eager=True,
            hidden=hidden and name != "json",
            callback=_set(name),
        )
        for name, (words, text) in flags.items()
    )
    return options


class NoodleCommand(click.Command):
    """A command that also takes the global options."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        taken = {option for parameter in self.params for option in parameter.opts}
        self.params.extend(
            option for option in global_options(hidden=True) if option.opts[0] not in taken
        )


class CommandGroup(click.Group):
    """A group whose commands are NoodleCommands, and which names the nearest command."""

    command_class = NoodleCommand

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.extend(global_options(hidden=not isinstance(self, Root)))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest known one."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"there is no command {name!r}{hint}")
        return super().resolve_command(ctx, args)


class Root(CommandGroup):
    """The `noodle` command itself: its commands are loaded when they are used."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                help="Print the version.",
                expose_value=False,
                is_eager=True,
                callback=_show_version,
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and return the command; None if there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"noodle_engine.cli.commands.{entry.module}")
        found: click.Command = getattr(module, entry.attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without importing any."""
        del ctx
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name, entry.help)
                        for name, entry in COMMANDS.items()
                        if entry.section == section
                    ]
                )
