"""`noodle resume`, `noodle abort` and `noodle rescue`: after something stopped."""

# ruff: noqa: PLC0415, PLR0917
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import check_platform, opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.waiting import (
    answer_upgrade,
    answer_upgrades,
    ask,
    wait_options,
    waiting_for,
)

if TYPE_CHECKING:
    from noodle_engine.cli.show.shapes import Candidate
    from noodle_engine.machine.records import Observation

__all__ = ["abort", "rescue", "resume"]

_RELEASES = {
    "retry": "On hold: try the failed step once more.",
    "restore": "On hold over a foreign target: put back what the journal expects, keep the other.",
    "adopt": "On hold over a foreign target: accept what is there as it is.",
    "back": "On hold: take the upgrade back.",
    "promote": "On hold: go on all the same: what failed counts as done.",
}


@click.command(cls=NoodleCommand, short_help="Finish, or take back, what was interrupted.")
@click.argument("upgrade", metavar="[ID]", required=False)
@click.option("--retry", "ways", flag_value="retry", multiple=True, help=_RELEASES["retry"])
@click.option("--restore", "ways", flag_value="restore", multiple=True, help=_RELEASES["restore"])
@click.option("--adopt", "ways", flag_value="adopt", multiple=True, help=_RELEASES["adopt"])
@click.option("--back", "ways", flag_value="back", multiple=True, help=_RELEASES["back"])
@click.option("--promote", "ways", flag_value="promote", multiple=True, help=_RELEASES["promote"])
@click.option(
    "--take-over", is_flag=True, help="Take a target back that another home has taken over."
)
@wait_options
@click.pass_obj
def resume(
    invocation: Invocation,
    upgrade: str | None,
    ways: tuple[str, ...],
    take_over: bool,  # noqa: FBT001 - click calls by keyword
    wait: float | None,
    no_wait: bool,  # noqa: FBT001
) -> int:
    """Finish, or take back, an upgrade that was interrupted; without an ID, all of them.

    Works after any crash, from any process, and as often as you like: an
    upgrade that has ended is left as it is. An upgrade on hold goes on only
    with one of --retry, --restore, --adopt, --back, --promote.
    """
    from noodle_engine.machine.states import Release

    if len(set(ways)) > 1:
        raise click.UsageError("give one of --retry, --restore, --adopt, --back, --promote")
    if ways and upgrade is None:
        raise click.UsageError(f"--{ways[0]} needs the ID of the upgrade it is for")
    release = Release(ways[0]) if ways else None
    with (
        opened(invocation) as noodle,
        waiting_for(invocation, wait=wait, no_wait=no_wait) as waiting,
    ):
        views = noodle.resume(upgrade, release=release, take_over=take_over, waiting=waiting)
    return answer_upgrades(invocation, views, waited=not no_wait)


@click.command(cls=NoodleCommand, short_help="Take an open upgrade back.")
@click.argument("upgrade", metavar="ID")
@wait_options
@click.pass_obj
def abort(
    invocation: Invocation,
    upgrade: str,
    wait: float | None,
    no_wait: bool,  # noqa: FBT001
) -> int:
    """Take an open upgrade back: every target as it was before.

    Works in every state but the two ends. To undo an upgrade that was
    committed: noodle rollback NAME.
    """
    with (
        opened(invocation) as noodle,
        waiting_for(invocation, wait=wait, no_wait=no_wait) as waiting,
    ):
        view = noodle.abort(upgrade, waiting=waiting)
    return answer_upgrade(invocation, view, waited=not no_wait, asked_back=True)


@click.command(cls=NoodleCommand, short_help="Exchange a target by hand, without the journal.")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--with",
    "location",
    type=click.Path(path_type=Path),
    metavar="CANDIDATE",
    help="Exchange the target with this one of the listed files.",
)
@click.option("--kind", help="The target's kind. [default: by what is there]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def rescue(
    invocation: Invocation,
    target: Path,
    location: Path | None,
    kind: str | None,
    yes: bool,  # noqa: FBT001
) -> int:
    """Exchange a target by hand, for a journal that cannot be trusted.

    Lists what Noodle keeps beside TARGET, with digests. With --with it puts
    one of them in the target's place by one exchange; what was there stays
    under the candidate's name. Needs no home, no key and no journal.
    """
    check_platform()
    from noodle_engine.cli.rescuing import by_hand, candidates_of, kind_at
    from noodle_engine.cli.show.shapes import RescueView

    path = target.absolute()
    kind = kind or kind_at(path)
    found = candidates_of(kind, path)
    invocation.say(_candidate_lines(path, found))
    if location is None:
        invocation.document(RescueView(str(path), found))
        return exits.DONE
    where = location.absolute()
    ask(invocation, f"Exchange {path} with {where}?", yes=yes)
    observed = by_hand(kind, path, where)
    kept = observed.attributes.get("kept")
    invocation.answer(_exchanged_lines(path, where, observed, tree=kind == "directory"))
    invocation.document(RescueView(str(path), found, exchanged=str(where), kept=kept))
    return exits.DONE


def _candidate_lines(path: Path, found: tuple[Candidate, ...]) -> list[str]:
    roles = {
        "target": "what is in place now",
        "beside": "was staged to come, or was displaced by an exchange",
        "point": "an old version that was kept",
        "foreign": "what somebody else had put in place",
        "unproved": "begun and never finished: may be incomplete",
    }
    lines = [f"beside {clean(str(path))}:"]
    for one in found:
        lines.append(f"  {clean(one.location)}")
        lines.append(f"    {roles.get(one.role, one.role)}")
        lines.append(f"    {clean(one.root)}")
    lines.append("")
    if all(one.role == "target" for one in found):
        lines.append("nothing of Noodle's is beside it: there is nothing to exchange it with")
        return lines
    lines.append(f"next: `noodle rescue {clean(str(path))} --with CANDIDATE` exchanges it")
    return lines


def _exchanged_lines(path: Path, where: Path, observed: Observation, *, tree: bool) -> list[str]:
    kept = observed.attributes.get("kept")
    lines = [f"{clean(str(path))} is now what {clean(str(where))} was"]
    if kept:
        lines.append(f"  what was in place is kept as {clean(kept)}")
        if tree:  # nothing can be carried without the journal, which says what is data
            lines.append(
                "  with what programs wrote inside of it: an exchange by hand carries none"
            )
    return lines
