"""`noodle audit verify`: whether the journal is what was written."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import check_platform
from noodle_engine.cli.show.terminal import Invocation, clean

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
@click.pass_obj
def verify(invocation: Invocation, public_key: Path | None, every_signature: bool) -> int:  # noqa: FBT001
    """Prove that the journal is whole and unchanged.

    Recomputes every record's hash and the tree over them, and checks the
    signatures and the kept heads. Exit 6 and the first bad record if not.
    """
    check_platform()
    from noodle_engine.api import Noodle

    key = None
    if public_key is not None:
        from noodle_journal import read_public_key

        key = read_public_key(public_key)
    with Noodle.open(invocation.home, options=invocation.options) as noodle:
        verdict = noodle.audit_verify(public_key=key, every_signature=every_signature)
    invocation.answer(_verdict_lines(invocation, verdict))
    invocation.document(verdict)
    return exits.DONE if verdict.ok else exits.NOT_TRUSTED


def _verdict_lines(out: Invocation, verdict: AuditVerdict) -> Iterator[str]:
    how = "with the home's key" if verdict.with_key else "with the public key only"
    if verdict.ok:
        yield f"{out.style('the journal is whole and unchanged', 'good')}, checked {how}"
        yield f"  records:    {verdict.size}"
        plain = f", {verdict.plain_epochs} NOT encrypted" if verdict.plain_epochs else ""
        yield f"  epochs:     {verdict.epochs}{plain}"
        yield f"  signatures: {verdict.signatures} checked"
        yield f"  heads:      {verdict.heads} kept outside the journal agree"
        yield f"  root:       {verdict.root}"
        return
    yield f"{out.style('the journal is NOT what was written', 'bad')}, checked {how}"
    yield f"  first bad:  record {verdict.first_bad}, {verdict.damage}"
    yield f"  problem:    {clean(verdict.problem or '')}"
    if verdict.known_up_to is not None:
        yield f"  good up to: record {verdict.known_up_to}"
    yield f"  do:         {clean(out.command(verdict.remedy or ''))}"
