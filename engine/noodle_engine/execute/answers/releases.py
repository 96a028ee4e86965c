"""What is registered, and how two releases differ. Reads only; no payload is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noodle_engine.disk.trees.manifest import Change, ChangeKind, EntryKind, name_text
from noodle_engine.execute.answers.views import (
    DIFFERENCES_MAX,
    Difference,
    DiffView,
    LintView,
    ReleaseRow,
)
from noodle_engine.machine.plan import Diff
from noodle_engine.registry.payloads.difference import compare_releases
from noodle_engine.registry.payloads.lint import lint, lint_source
from noodle_engine.registry.release import Release
from noodle_engine.registry.store import ReleaseStore
from noodle_journal.errors import NoodleError

__all__ = ["diff_view", "lint_view", "release_rows"]


def release_rows(store: ReleaseStore, name: str) -> tuple[ReleaseRow, ...]:
    """Every release of a component, the newest first; one that is damaged says so."""
    rows = []
    for version in store.versions(name):
        try:
            rows.append(_row(store.look(name, version)))
        except NoodleError as failure:
            why = f"{failure.problem} ({failure.cause}); {failure.remedy}"
            rows.append(ReleaseRow(name, version, problem=why))
    return tuple(rows)


def _row(release: Release) -> ReleaseRow:
    return ReleaseRow(
        component=release.name,
        version=release.version,
        kind=release.manifest.kind,
        content=release.content,
        files=release.files,
        size_bytes=release.size_bytes,
    )


def diff_view(old: Release, new: Release) -> DiffView:
    """How two releases differ. Raises ReleaseDamaged or a disk failure."""
    found = compare_releases(old, new)
    told = found.changes[:DIFFERENCES_MAX]
    return DiffView(
        component=new.name,
        same=not found.changes and not found.manifest,
        old=_row(old),
        new=_row(new),
        diff=_counted(found.changes, found.bytes_copied, found.bytes_shared),
        manifest=found.manifest,
        differences=tuple(
            Difference(
                component=new.name,
                change=one.kind.value,
                path=name_text(one.path) or ".",
                size=None if one.new is None else one.new.size,
                what=one.what,
            )
            for one in told
        ),
        left_out=len(found.changes) - len(told),
    )


def lint_view(store: ReleaseStore, release: Path | str) -> LintView:
    """Advice on a release: a folder (a Path), or one that is known (NAME@VERSION).

    Raises what adding the release would be refused for.
    """
    if isinstance(release, str):
        known = store.find(release)
        manifest, advice = known.manifest, lint(known)
    else:
        source = store.source(release)
        manifest, advice = source.manifest, lint_source(source)
    return LintView(manifest.name, manifest.version, manifest.kind, advice)


def _counted(changes: Sequence[Change], copied: int, shared: int) -> Diff:
    kinds = [change.kind for change in changes if not _is_folder_only(change)]
    return Diff(
        added=kinds.count(ChangeKind.ADDED),
        changed=kinds.count(ChangeKind.CHANGED) + kinds.count(ChangeKind.ATTRIBUTES),
        removed=kinds.count(ChangeKind.REMOVED),
        bytes_copied=copied,
        bytes_shared=shared,
    )


def _is_folder_only(change: Change) -> bool:
    """Whether it is a folder that comes or goes: what is in it is counted."""
    there = change.new or change.old
    comes_or_goes = change.kind in (ChangeKind.ADDED, ChangeKind.REMOVED)
    return comes_or_goes and there is not None and there.kind is EntryKind.FOLDER
