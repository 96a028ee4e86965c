"""A verification's report as the documented answer."""

from __future__ import annotations

from noodle_engine.execute.answers.views import AuditVerdict
from noodle_journal import Note, Report

__all__ = ["verdict_of"]


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
        first=report.first,
        last=report.last,
        since=None if since is None else since.size,
        form=form,
    )
