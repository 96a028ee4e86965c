"""`noodle audit checkpoint` and `prove`: what can be shown to somebody without the journal."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.commands.audit.words import public_key_of
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import check_platform, opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import moment

if TYPE_CHECKING:
    from noodle_engine.execute.auditing.views import CheckpointView, ProofChecked, ProofView
    from noodle_journal import Note

__all__ = ["checkpoint", "prove"]

_OUT = click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it to this new file."
)


@click.command(cls=NoodleCommand, short_help="The signed size and root, to keep elsewhere.")
@_OUT
@click.pass_obj
def checkpoint(invocation: Invocation, out: Path | None) -> int:
    """Print the journal's last signed checkpoint: keep it where nobody can change it.

    Later `noodle audit verify --since FILE` says whether the journal still
    holds everything that it held then.
    """
    with opened(invocation) as noodle:
        view = noodle.audit_checkpoint(out=out)
    _tell(invocation, view, view.note)
    return exits.DONE


def _tell(out: Invocation, view: CheckpointView | ProofView, text: str) -> None:
    if view.path is None:
        if not out.json:
            out.write(text)
    else:
        out.say(f"written: {clean(view.path)}, of {view.size} records")
    out.document(view)


@click.command(cls=NoodleCommand, short_help="Prove a record, or that nothing was rewritten.")
@click.argument("seq", metavar="[SEQ]", type=click.IntRange(min=1), required=False)
@click.option(
    "--in",
    "within",
    metavar="CHECKPOINT",
    help="Prove that record SEQ is in this checkpoint; otherwise in the last one.",
)
@click.option("--from", "first", metavar="CHECKPOINT", help="Prove that this one begins --to.")
@click.option("--to", "second", metavar="CHECKPOINT", help="The later one; otherwise the last.")
@click.option(
    "--check",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Check a proof; needs only a public key.",
)
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The log's public key that is trusted; otherwise the home's.",
)
@_OUT
@click.pass_obj
def prove(  # noqa: PLR0917 - one option each
    invocation: Invocation,
    seq: int | None,
    within: str | None,
    first: str | None,
    second: str | None,
    check: Path | None,
    public_key: Path | None,
    out: Path | None,
) -> int:
    """Prove that record SEQ is in a checkpoint, or that one checkpoint begins another.

    A CHECKPOINT is a number of records, or a file that `noodle audit
    checkpoint` wrote. A proof can be checked without the journal and without
    Noodle: specs/journal-format.md says how. Exit 6 if it proves nothing.
    """
    if check is not None:
        if (seq, within, first, second, out) != (None,) * 5:
            raise click.UsageError("--check takes a proof's file, and --public-key")
        return _check(invocation, check, public_key)
    if (seq is None) is (first is None):
        raise click.UsageError(
            "name a record (SEQ), or a checkpoint (--from), or a proof (--check)"
        )
    if seq is None and within is not None:
        raise click.UsageError("--in is for a record (SEQ)")
    if first is None and second is not None:
        raise click.UsageError("--to is for checkpoints (--from)")
    check_platform()
    places = [None if one is None else _place(one) for one in (within, first, second)]
    key = public_key_of(invocation, public_key)
    with opened(invocation) as noodle:
        if seq is not None:
            view = noodle.audit_prove(seq, at=places[0], public_key=key, out=out)
        else:
            assert places[1] is not None  # `first` was named
            view = noodle.audit_prove_since(places[1], places[2], public_key=key, out=out)
    _tell(invocation, view, view.document)
    return exits.DONE


def _place(text: str) -> int | Note:
    """A checkpoint as a command names it."""
    if text.isascii() and text.isdigit():
        return int(text)
    from noodle_engine.execute.auditing.proving import note_in

    return note_in(Path(text))


def _check(out: Invocation, path: Path, public_key: Path | None) -> int:
    from noodle_engine.execute.auditing.proving import checked_proof

    found = checked_proof(path, public_key_of(out, public_key))
    out.answer(_checked_lines(out, found))
    out.document(found)
    return exits.DONE if found.ok else exits.NOT_TRUSTED


def _checked_lines(out: Invocation, found: ProofChecked) -> Iterator[str]:
    if not found.ok:
        yield f"{out.style('it proves nothing', 'bad')}: {clean(found.problem or '')}"
        yield "  do:       ask who gave it for the proof as it was written, and for the key"
        return
    yield out.style("proved", "good")
    if found.proof == "inclusion":
        what = "its hash only" if found.kind is None else found.kind
        at = "" if found.at_ms is None else f", written {moment(found.at_ms)}"
        yield f"  record:   {found.seq} ({what}{at})"
        yield f"  is in:    the signed checkpoint of {found.size} records"
    else:
        yield f"  the first {found.first_size} records are unchanged among the {found.size} signed"
    yield f"  journal:  {found.log_id}"
