"""The page of commands: each one's own help, its JSON shape, the exit codes."""

from __future__ import annotations

from collections.abc import Iterator

import click

from noodle_engine.cli import exits
from noodle_engine.cli.main import root
from noodle_engine.cli.pages.answers import ANSWERS

__all__ = ["commands", "commands_page"]

_WIDTH = 88

_HEAD = """\
# Commands

`noodle COMMAND --help` shows the same. The options of `noodle` itself (`--home`, `--set`,
`--json`, `--quiet`, `--verbose`, `--debug`) are taken before and after a command's name.

Made from the commands by `python -m noodle_engine.cli.pages`; do not edit.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it."""
    context = click.Context(root, info_name="noodle")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if isinstance(command, click.Group):
            for below, one in command.commands.items():
                yield f"{name} {below}", one
        elif command is not None:
            yield name, command


def commands_page() -> str:
    """The page, in Markdown."""
    lines = [_HEAD, "## noodle", "", *_help("noodle", root)]
    for words, command in commands():
        lines += ["", f"## noodle {words}", "", *_help(f"noodle {words}", command), ""]
        shapes = (f"[{one.__name__}](json.md#{one.__name__.lower()})" for one in ANSWERS[words])
        lines.append(f"JSON: {' or '.join(shapes)}")
    lines += ["", "## Exit codes", "", "| exit | when |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in exits.ALL.items()]
    return "\n".join(lines) + "\n"


def _help(words: str, command: click.Command) -> list[str]:
    context = click.Context(
        command,
        info_name=words,
        terminal_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    text = command.get_help(context)
    return ["```text", *(line.rstrip() for line in text.split("\n")), "```"]
