"""A verification's report as the documented answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from noodle_engine.execute.answers.views import AuditVerdict, ShreddedRow
from noodle_journal import Note, Report
from noodle_journal.format.clear import RetentionClear

__all__ = ["verdict_of"]


def _together(found: Sequence[RetentionClear]) -> Iterator[ShreddedRow]:
    """Ranges that follow one another, made unreadable by one rule, as one."""
    row: ShreddedRow | None = None
    for one in found:
        if row is not None and row.last + 1 == one.first and row.rule == one.rule:
            row = replace(row, last=one.last)
            continue
        if row is not None:
            yield row
        row = ShreddedRow(one.first, one.last, one.rule)
    if row is not None:
        yield row


def verdict_of(
    report: Report, *, with_key: bool, since: Note | None = None, form: str | None = None
) -> AuditVerdict:
    """The verdict over a journal, or over an export of that form."""
    bad = report.first_bad
    return AuditVerdict(
        ok=report.ok,
        size=report.size,
        root=report.root.hex(),
        epochs=report.epochs,
        signatures=report.signatures_checked,
        heads=report.heads_checked,
        with_key=with_key,
        damage=bad.kind.value if bad else None,
        first_bad=bad.seq if bad else None,
        problem=bad.problem if bad else None,
        remedy=bad.remedy if bad else None,
        known_up_to=report.known_up_to,
        plain_epochs=report.plain_epochs,
        shredded=tuple(_together(report.shredded)),
        first=report.first,
        last=report.last,
        since=None if since is None else since.size,
        form=form,
    )
