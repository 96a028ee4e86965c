"""Checking an export: with the public key, and with nothing of the journal.

Owns the verdict over a folder or archive. The records go through the very pass that a
journal's rows go through; what is not there (in the redacted form and in hashes only) is
taken as a compacted row is, on the word of the signed manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from noodle_journal.exports.files import ExportFiles
from noodle_journal.exports.manifest import (
    LINE_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    PAYLOAD_TYPE,
    Form,
    Line,
    Manifest,
    Segment,
    decode_line,
    decode_manifest,
)
from noodle_journal.failures import DamageKind, ExportUnreadable, JournalDamaged, damaged
from noodle_journal.format.canonical import NotCanonical
from noodle_journal.format.checkpoints import LogVerifier
from noodle_journal.format.clear import check_frame
from noodle_journal.format.envelopes import is_signed, open_envelope
from noodle_journal.format.notes import NotANote, Note, parse_note, signed_checkpoint, trusted_keys
from noodle_journal.format.records import (
    CLEAR_KINDS,
    FLAG_CLEAR,
    FLAG_COMMIT_END,
    FLAGS_KNOWN,
    FORMAT_VERSION,
    HEADER,
    MAGIC,
    NO_LEAF,
    Row,
)
from noodle_journal.storage.keystore import Head
from noodle_journal.verification.checker import Checker
from noodle_journal.verification.report import Damage, Report
from noodle_journal.verification.sources import RawRow

ROWS_AT_ONCE = 64
NO_FENCE = 2**63
"""An export does not say which writer was the last: none is below it."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The verdict over an export: of its records, and which form it has (None: unknown)."""

    report: Report
    form: Form | None


def check_export(
    path: Path,
    *,
    public_key: bytes,
    since: Sequence[Note] = (),
    every_signature: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Check the export in a folder, or in one tar archive. Memory is that of one record.

    Damage is a value. Raises: ExportUnreadable for what cannot be looked at.
    """
    with closing(ExportFiles(path)) as files:
        form: Form | None = None
        try:
            manifest = _manifest(files, public_key)
            form = manifest.form
            with closing(ExportSource(files, manifest)) as source:
                report = _checked(
                    source,
                    manifest,
                    public_key=public_key,
                    since=since,
                    every_signature=every_signature,
                    progress=progress,
                )
            return ExportReport(report, form)
        except JournalDamaged as exc:
            damage = Damage(exc.seq, exc.kind, exc.problem, exc.remedy)
            nothing = Report(False, "", 0, b"", 0, 0, 0, 0, 0, 0, 0, damage, None)
            return ExportReport(nothing, form)


def _manifest(files: ExportFiles, public_key: bytes) -> Manifest:
    """The manifest, if the log signed it. Raises: JournalDamaged, ExportUnreadable."""

    def invalid(why: str) -> JournalDamaged:
        return damaged(seq=0, kind=DamageKind.MANIFEST_INVALID, problem=f"the manifest: {why}")

    if MANIFEST_NAME not in files.names:
        raise invalid("there is none")
    try:
        data = files.manifest(MANIFEST_BYTES_MAX)
        payload, signature, named = open_envelope(data, payload_type=PAYLOAD_TYPE)
        manifest = decode_manifest(payload)
        note = parse_note(manifest.checkpoint)
    except (NotCanonical, NotANote) as exc:
        raise invalid(str(exc)) from exc
    log_id = manifest.log_id
    keys = trusted_keys(manifest.keys, log_id=log_id, trusted=public_key)
    if not keys or manifest.keys[0].public_key != public_key:
        raise damaged(
            seq=0,
            kind=DamageKind.PUBLIC_KEY_CHANGED,
            problem="the log's first key is not the one that is trusted",
        )
    if not is_signed(payload, signature, named, payload_type=PAYLOAD_TYPE, public_key=keys[-1]):
        raise invalid("it is not signed with the log's last key")
    last = manifest.segments[-1].last if manifest.segments else 0
    if note.log_id != log_id or note.size != last:
        raise invalid("its checkpoint is not that of its last record")
    if len(note.signatures) != 1 or signed_checkpoint(note, keys[-1:]) is None:
        raise invalid("its checkpoint is not signed with the log's last key")
    wanted = sorted([MANIFEST_NAME, *(one.name for one in manifest.segments)])
    if files.strange() or files.names != wanted:
        differing = sorted({*files.names} ^ {*wanted}) or files.strange()
        raise damaged(
            seq=0,
            kind=DamageKind.EXPORT_MALFORMED,
            problem=f"there are other files than the manifest says: {differing[0]!r}",
        )
    return manifest


def _checked(
    source: ExportSource,
    manifest: Manifest,
    *,
    public_key: bytes,
    since: Sequence[Note],
    every_signature: bool,
    progress: Callable[[int, int], None] | None,
) -> Report:
    own = parse_note(manifest.checkpoint)
    checker = Checker(
        source=source,
        ring=None,
        keystore_log_id=manifest.log_id,
        trusted=public_key,
        heads=(),
        every_signature=every_signature,
        since=[
            Head(note.size, note.root, signature)
            for note in (own, *since)
            for _, signature in (note.signatures or ((b"", bytes(64)),))
        ],
        recorded_only=manifest.form is Form.FULL,
    )

    def all_rows(checker: Checker) -> None:
        if manifest.form is not Form.FULL:
            checker.verifiers = [LogVerifier(key.public_key) for key in manifest.keys]
            checker.verifier = checker.verifiers[-1]
        total = checker.stop
        checker.rows_up_to(total, None if progress is None else lambda done: progress(done, total))
        source.end()

    return checker.run(all_rows)


class ExportSource:
    """The lines of an export as rows. Each segment is hashed while it is read through."""

    def __init__(self, files: ExportFiles, manifest: Manifest) -> None:
        self._files = files
        self._manifest = manifest
        self._lines = self._through()
        self._leaf = NO_LEAF
        self._bad: JournalDamaged | None = None

    def close(self) -> None:
        """Give the file back that is being read."""
        self._lines.close()

    def begin(self) -> tuple[bytes | None, int, int]:
        """Log id, last record; no fence."""
        segments = self._manifest.segments
        return self._manifest.log_id, segments[-1].last if segments else 0, NO_FENCE

    def batch(self, at: int, end: int) -> Sequence[RawRow]:
        """The next rows. They are read once, from the first to the last."""
        if self._bad is not None:
            raise self._bad
        found: list[RawRow] = []
        try:
            for line in self._lines:
                found.append(line.row)
                if len(found) >= min(ROWS_AT_ONCE, end - at):
                    break
        except JournalDamaged as exc:
            if not found:
                raise
            self._bad = exc  # what was read before the bad line is checked first
        return found

    def end(self) -> None:
        """Read on to the end of the last segment: its digest is looked at there."""
        for _ in self._lines:
            break

    def rows_from(self, at: int, end: int) -> Sequence[Row]:
        """Rows from anywhere; used only where something is wrong."""
        found: list[Row] = []
        with closing(self._from(at)) as lines:
            for line in lines:
                if line.row[0] >= end or len(found) >= ROWS_AT_ONCE:
                    break
                found.append(Row._make(line.row))
        return found

    def last_checkpoint(self, *, above: int, up_to: int) -> tuple[int, bytes, bytes] | None:
        """The last root in a range, as far as lines can be read."""
        found: tuple[int, bytes, bytes] | None = None
        with closing(self._from(above + 1)) as lines:
            for line in lines:
                seq, root, signature = line.row[0], line.row[6], line.row[7]
                if seq > up_to:
                    break
                if root is not None and signature is not None:
                    found = (seq, root, signature)
        return found

    def commit_end_from(self, start: int) -> int | None:
        """Exports are checked whole."""
        return max(start, self.begin()[1])

    def retention_after(self, after: int) -> Sequence[Row]:
        """Exports are checked whole: there is none after the end."""
        return self.rows_from(after + 1, after + 1)

    def problem(self) -> str | None:
        """A segment's digest says everything."""
        return None

    # -- lines -------------------------------------------------------------------

    def _through(self) -> Generator[Line, None, None]:
        for segment in self._manifest.segments:
            yield from self._segment(segment)

    def _segment(self, segment: Segment) -> Iterator[Line]:
        digest, size, seq = hashlib.sha256(), 0, segment.first
        with self._files.open(segment.name) as file:
            for data in _lines_of(file):
                digest.update(data)
                size += len(data)
                if seq > segment.last:
                    raise _malformed(seq, f"{segment.name} has more lines than the manifest says")
                line = self._line(seq, data)
                yield line
                seq += 1
        if seq <= segment.last:
            raise _malformed(seq, f"{segment.name} ends before it")
        if digest.digest() != segment.sha256 or size != segment.size_bytes:
            raise _malformed(segment.first, f"{segment.name} is not what the manifest signed")

    def _line(self, seq: int, data: bytes) -> Line:
        try:
            line = decode_line(data, self._manifest.form)
        except NotCanonical as exc:
            raise _malformed(seq, f"its line is not as it was written: {exc}") from exc
        if line.row[0] != seq:
            raise damaged(seq=seq, kind=DamageKind.MISSING, problem="its line is gone")
        if self._manifest.form is Form.REDACTED and line.header is not None:
            _check_header(line, self._leaf, self._manifest.log_id)
        self._leaf = line.row[5]
        return line

    def _from(self, at: int) -> Generator[Line, None, None]:
        """Lines from `at` on, as far as they can be read."""
        form = self._manifest.form
        for segment in self._manifest.segments:
            if segment.last < at:
                continue
            try:
                with self._files.open(segment.name) as file:
                    for data in _lines_of(file):
                        line = decode_line(data, form)
                        if line.row[0] >= at:
                            yield line
            except (NotCanonical, ExportUnreadable, JournalDamaged):
                return


def _lines_of(file: BinaryIO) -> Iterator[bytes]:
    while data := file.readline(LINE_BYTES_MAX + 1):
        if len(data) > LINE_BYTES_MAX:
            raise _malformed(0, "a line is too long")
        yield data


def _check_header(line: Line, before: bytes, log_id: bytes) -> None:
    """A redacted record's header, which no leaf proves: it fits its place."""
    assert line.header is not None  # the caller looked
    seq = line.row[0]
    magic, version, flags, kind, its_log, its_seq, _, _, _, _, previous = HEADER.unpack(line.header)
    problem: tuple[DamageKind, str] | None = None
    if magic != MAGIC or version != FORMAT_VERSION or flags & ~FLAGS_KNOWN:
        problem = DamageKind.MALFORMED, "its header is none"
    elif its_log != log_id:
        problem = DamageKind.FOREIGN, "it belongs to another journal"
    elif its_seq != seq:
        problem = DamageKind.MOVED, f"it was written as record {its_seq}"
    elif bool(flags & FLAG_CLEAR) != (line.clear is not None) or (
        line.clear is None and kind in set(map(int, CLEAR_KINDS))
    ):
        problem = DamageKind.MALFORMED, "its clear part is not as its header says"
    elif previous != before:
        problem = DamageKind.CHAIN_BROKEN, "it follows another record"
    elif bool(flags & FLAG_COMMIT_END) != (line.row[6] is not None):
        missing = bool(flags & FLAG_COMMIT_END)
        kinds = DamageKind.CHECKPOINT_MISSING, DamageKind.CHECKPOINT_MISPLACED
        problem = kinds[not missing], "a signature is not where its commit ends"
    if problem is None and line.clear is not None:
        try:
            check_frame(line.clear)
        except NotCanonical as exc:
            problem = DamageKind.CLEAR_INVALID, str(exc)
    if problem is not None:
        raise damaged(seq=seq, kind=problem[0], problem=problem[1])


def _malformed(seq: int, why: str) -> JournalDamaged:
    return damaged(seq=seq, kind=DamageKind.EXPORT_MALFORMED, problem=why)
