"""`noodle completion`: what a shell needs to complete words. Needs neither home nor key."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import click

from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.show.terminal import Invocation

__all__ = ["completion"]


@click.command(cls=NoodleCommand, short_help="Print completion for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(invocation: Invocation, shell: str) -> int:
    """Print completion for a shell.

    For bash: noodle completion bash > ~/.local/share/bash-completion/completions/noodle
    """
    from click.shell_completion import get_completion_class

    from noodle_engine.cli.main import root

    chosen = get_completion_class(shell)
    if chosen is None:  # pragma: no cover - the choice above names known ones only
        raise click.UsageError(f"no completion is known for {shell}")
    script = chosen(root, {}, "noodle", "_NOODLE_COMPLETE").source()
    if invocation.json:
        invocation.raw({"format": 1, "shell": shell, "script": script})
    else:
        invocation.write(script + "\n")
    return 0
