"""`noodle plugin`: the kinds of target that plug-ins bring, and their proof."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.opening import check_platform
from noodle_engine.cli.show.terminal import Invocation, clean

__all__ = ["plugin"]

_EXAMPLES = 50


@click.group(cls=CommandGroup, short_help="Kinds of target that plug-ins bring, and their proof.")
def plugin() -> None:
    """Kinds of target that plug-ins bring, and their proof."""


@plugin.command("list", short_help="The kinds of target that can be upgraded here.")
@click.pass_obj
def list_(invocation: Invocation) -> int:
    """The kinds of target that can be upgraded here, and which package brings each.

    Reads what is installed beside Noodle; no plug-in is loaded, no home is needed.
    """
    from noodle_engine.testing.views import kinds_here

    view = kinds_here()
    for one in view.kinds:
        tested = "" if one.contract else "  (brings no contract: say --payload to test it)"
        words = f"{one.kind:<16} {one.provider} {one.version or ''}".rstrip()
        invocation.answer(clean(f"{words}  {one.value}{tested}"))
    invocation.document(view)
    return exits.DONE


@plugin.command("test", short_help="Hold a kind of target to its contract, with kills.")
@click.argument("name")
@click.option(
    "--examples",
    type=click.IntRange(0, 100_000),
    default=_EXAMPLES,
    show_default=True,
    help="How many histories are drawn by chance.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63),
    help="Draw others; without it they are the same in every run.",
)
@click.option(
    "--every",
    type=click.IntRange(0, 1000),
    default=1,
    show_default=True,
    help="Kill at each so-manieth point only, 0 at none: quicker, and says less.",
)
@click.option(
    "--payload",
    type=click.Choice(["file", "tree"]),
    help="What a release of this kind has, where the plug-in brings no contract.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False, writable=True),
    metavar="DIR",
    help="Where to make the folders that are tested in. [default: in memory]",
)
@click.pass_obj
def test(  # noqa: PLR0917 - click gives them by name
    invocation: Invocation,
    name: str,
    examples: int,
    seed: int | None,
    every: int,
    payload: str | None,
    folder: Path | None,
) -> int:
    """Hold a kind of target to its contract: do, undo and probe, with kills and strangers.

    Every law once; then a process is killed after each call of it that changes a disk, and
    the upgrade ended forward or back; then histories by chance. It works in folders of its
    own, and needs no home. The extra `testing` has to be installed.
    """
    check_platform()
    from noodle_engine.testing.failures import ExtraMissing

    try:
        from noodle_engine.testing.running import contract_of, run_contract
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ExtraMissing(module=error.name) from error
    view = run_contract(
        contract_of(name, payload),
        examples=examples,
        every=every,
        seed_of_run=seed,
        folder=None if folder is None else folder.absolute(),
        told=lambda text: invocation.say(f"  {text}"),
    )
    invocation.answer(
        f"{view.kind} keeps all {len(view.laws)} laws: {view.kills} kills, "
        f"{view.examples} histories, {view.seconds:.0f} s"
    )
    invocation.document(view)
    return exits.DONE
