"""`noodle diagnostics`: what somebody who helps needs to see."""

from __future__ import annotations

from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean

__all__ = ["diagnostics"]


@click.group(cls=CommandGroup, short_help="What somebody who helps needs to see.")
def diagnostics() -> None:
    """What somebody who helps needs to see, in one file, without any secret."""


@diagnostics.command(short_help="Write states, checks, settings and logs into one file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file to write. [default: in the home's diagnostics folder]",
)
@click.pass_obj
def bundle(invocation: Invocation, out: Path | None) -> int:
    """Write states, checks, settings and logs into one file (tar.gz, mode 0600).

    It holds no key, no token and no password; names and paths of what is upgraded
    it does. `about.txt` in it says what each part is. Works also where the journal
    or the settings cannot be read.
    """
    with opened(invocation) as noodle:
        view = noodle.bundle(None if out is None else out.absolute())
    invocation.answer(f"wrote {clean(view.path)} ({view.size_bytes} bytes)")
    invocation.say(
        (
            f"  in it: {', '.join(view.parts)}",
            "  no key and no token is in it; names and paths are: look before you send it",
        )
    )
    invocation.document(view)
    return exits.DONE
