"""`noodle audit verify`: whether the journal is what was written."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.commands.audit.words import public_key_of
from noodle_engine.cli.follow import showing
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import check_platform
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import shredded_words

if TYPE_CHECKING:
    from noodle_engine.execute.answers.views import AuditVerdict

__all__ = ["verify"]


@click.command(cls=NoodleCommand, short_help="Prove that the journal is whole and unchanged.")
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use this public key and no secret: contents stay sealed.",
)
@click.option("--every-signature", is_flag=True, help="Check each signature, not one an epoch.")
@click.option(
    "--since",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A checkpoint kept elsewhere: is the journal still what it signed, and more?",
)
@click.option(
    "--from",
    "first",
    type=click.IntRange(min=1),
    default=1,
    metavar="SEQ",
    help="Open contents from this record on; those before are hashed only.",
)
@click.option(
    "--to", "last", type=click.IntRange(min=1), metavar="SEQ", help="End where its commit ends."
)
@click.option(
    "--export",
    "exported",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Check an export instead; needs only a public key.",
)
@click.pass_obj
def verify(  # noqa: PLR0917 - one option each
    invocation: Invocation,
    public_key: Path | None,
    every_signature: bool,  # noqa: FBT001
    since: Path | None,
    first: int,
    last: int | None,
    exported: Path | None,
) -> int:
    """Prove that the journal is whole and unchanged.

    Recomputes every record's hash and the tree over them, and checks the
    signatures and the kept heads; on all cores, and beside a live writer.
    Exit 6 and the first bad record if not.

    --since takes a file that `noodle audit checkpoint` wrote. A journal that
    ends before it is a ROLLBACK, one with another history a FORK.
    """
    if last is not None and last < first:
        raise click.UsageError(f"--to {last} is before --from {first}")
    if exported is not None and (first, last) != (1, None):
        raise click.UsageError("an export is checked whole: --from and --to are for the journal")
    note = None
    if since is not None:
        from noodle_engine.execute.auditing.proving import note_in

        note = note_in(since)
    if exported is not None:
        from noodle_engine.execute.auditing.exporting import checked_export

        key = public_key_of(invocation, public_key)
        with showing(invocation, "checking the export", "{:,} records".format) as progress:
            verdict = checked_export(
                exported, key, since=note, every_signature=every_signature, progress=progress
            )
        return _answer(invocation, verdict)
    check_platform()
    from noodle_engine.api import Noodle

    with (
        Noodle.open(invocation.home, options=invocation.options) as noodle,
        showing(invocation, "checking the journal", "{:,} records".format) as progress,
    ):
        verdict = noodle.audit_verify(
            public_key=None if public_key is None else public_key_of(invocation, public_key),
            every_signature=every_signature,
            since=note,
            first=first,
            last=last,
            progress=progress,
        )
    return _answer(invocation, verdict)


def _answer(out: Invocation, verdict: AuditVerdict) -> int:
    out.answer(_verdict_lines(out, verdict))
    out.document(verdict)
    return exits.DONE if verdict.ok else exits.NOT_TRUSTED


def _verdict_lines(out: Invocation, verdict: AuditVerdict) -> Iterator[str]:
    how = "with the home's key" if verdict.with_key else "with the public key only"
    whole = (verdict.first, verdict.last) == (1, verdict.size)
    if verdict.ok:
        journal = "the journal is" if verdict.form is None else f"the {verdict.form} export is"
        what = journal if whole else f"records {verdict.first} to {verdict.last} are"
        yield f"{out.style(f'{what} whole and unchanged', 'good')}, checked {how}"
        yield f"  records:    {verdict.size}"
        if verdict.form in (None, "full"):
            plain = f", {verdict.plain_epochs} NOT encrypted" if verdict.plain_epochs else ""
            yield f"  epochs:     {verdict.epochs}{plain}"
        yield from (f"  shredded:   {shredded_words(one)}" for one in verdict.shredded)
        yield f"  signatures: {verdict.signatures} checked"
        if verdict.form is None:
            yield f"  heads:      {verdict.heads} kept outside the journal agree"
        if verdict.since is not None:
            yield f"  since:      the checkpoint of {verdict.since} records is still in it"
        yield f"  root:       {verdict.root}{'' if whole else f', of {verdict.last} records'}"
        return
    what = "the journal" if verdict.form is None else "the export"
    yield f"{out.style(f'{what} is NOT what was written', 'bad')}, checked {how}"
    yield f"  first bad:  record {verdict.first_bad}, {verdict.damage}"
    yield f"  problem:    {clean(verdict.problem or '')}"
    if verdict.known_up_to is not None:
        yield f"  good up to: record {verdict.known_up_to}"
    yield f"  do:         {clean(out.command(verdict.remedy or ''))}"
