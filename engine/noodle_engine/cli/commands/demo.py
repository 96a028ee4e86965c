"""`noodle demo`: the whole of Noodle on a small real shop, in half a minute."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import check_platform
from noodle_engine.cli.show.terminal import Invocation, clean

if TYPE_CHECKING:
    from noodle_engine.cli.demo.stage import Stage
    from noodle_engine.cli.show.shapes import DemoStep

__all__ = ["demo"]


@click.command(
    cls=NoodleCommand, short_help="Upgrade a running shop, kill it in the middle, resume."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Play in this empty folder, and leave it there to look at.",
)
@click.option(
    "--program",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Show another noodle program than this one.",
)
@click.pass_obj
def demo(invocation: Invocation, keep: Path | None, program: Path | None) -> int:
    """Adopt a running shop, upgrade it under load, kill the upgrade, resume it.

    Makes a folder with a web application of some hundred files, visitors that
    use it all the time, a home of its own and a free port, and runs the same
    commands that you would. Everything it shows is read back; if anything is
    not as it says, the demo fails. All of it is stopped and removed at the end.
    """
    from noodle_engine.cli.demo.stage import set_stage, this_noodle
    from noodle_engine.cli.demo.story import STEPS, play
    from noodle_engine.cli.show.shapes import DemoView

    check_platform()
    began = time.monotonic()
    noodle = this_noodle() if program is None else (str(program.absolute()),)
    steps: list[DemoStep] = []
    with set_stage(keep, noodle) as stage:
        invocation.say(_opening_lines(stage))
        for step in play(stage):
            steps.append(step)
            invocation.say(_step_lines(invocation, len(steps), step))
    seconds = round(time.monotonic() - began, 1)
    invocation.say(f"all {len(STEPS)} steps did what they say, in {seconds} s")
    invocation.say(_closing_lines(stage))
    kept = str(stage.folder) if stage.kept else None
    invocation.document(DemoView(tuple(steps), seconds, kept))
    return exits.DONE


def _opening_lines(stage: Stage) -> list[str]:
    return [
        f"A small shop in {clean(str(stage.target))} is upgraded from 1.0.0 to 1.1.0 while",
        f"visitors use it on port {stage.port}; its home is {clean(str(stage.home))}.",
        "",
    ]


def _step_lines(out: Invocation, number: int, step: DemoStep) -> list[str]:
    lines = [out.style(f"{number}. {step.name}", "strong")]
    lines.extend(out.style(f"   $ {clean(command)}", "faint") for command in step.commands)
    lines.extend(f"   {clean(line)}" for line in step.told)
    if step.look:
        lines.append(f"   look: {clean(step.look)}")
    lines.append("")
    return lines


def _closing_lines(stage: Stage) -> list[str]:
    if not stage.kept:
        return [
            "The shop is closed and the folder removed; `noodle demo --keep DIR` keeps it,",
            "to try the commands after `look:`. Next: the README upgrades a file of your own.",
        ]
    return [
        "The shop is closed. To try the commands after `look:`",
        f"   cd {clean(str(stage.folder))}",
        f"   export NOODLE_HOME={clean(str(stage.home))}",
    ]
