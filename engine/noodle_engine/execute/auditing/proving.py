"""Proofs of records and checkpoints, and the check of one without a home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from noodle_engine.disk.whole import write_whole
from noodle_engine.execute.auditing.failures import OutputTaken, TextUnreadable
from noodle_engine.execute.auditing.views import CheckpointView, ProofChecked, ProofView
from noodle_journal import (
    NotANote,
    Note,
    ProofReport,
    Reader,
    check_proof,
    kind_of,
    label_of,
    parse_note,
    prove_consistency,
    prove_inclusion,
)
from noodle_journal.failures import CheckpointAbsent
from noodle_journal.format.notes import NOTE_BYTES_MAX
from noodle_journal.format.proof_files import PROOF_BYTES_MAX

__all__ = [
    "checked_proof",
    "checkpoint_view",
    "consistency_view",
    "inclusion_view",
    "note_in",
]

_MODE: Final = 0o644  # it holds nothing that is not sealed


def note_in(path: Path) -> Note:
    """The signed checkpoint in a file. Raises TextUnreadable."""
    text = _read(path, "a signed checkpoint", NOTE_BYTES_MAX)
    try:
        return parse_note(text.decode())
    except (NotANote, UnicodeDecodeError) as error:
        raise TextUnreadable(path, "a signed checkpoint", str(error)) from error


def checkpoint_view(reader: Reader, out: Path | None) -> CheckpointView:
    """The last signed head, as a note; written to a new file too.

    Raises CheckpointAbsent, OutputTaken, DiskError.
    """
    note = reader.note
    if note is None:
        raise CheckpointAbsent(size=0, before=0)
    said = parse_note(note)
    return CheckpointView(said.size, said.root.hex(), note, _written(out, note.encode()))


def inclusion_view(
    home: Path, seq: int, at: int | Note | None, *, public_key: bytes, out: Path | None = None
) -> ProofView:
    """A proof that a record is in a checkpoint. Raises as `noodle_journal.prove_inclusion`."""
    return _proof_view(prove_inclusion(home, seq, at=at, public_key=public_key), public_key, out)


def consistency_view(
    home: Path,
    first: int | Note,
    second: int | Note | None,
    *,
    public_key: bytes,
    out: Path | None = None,
) -> ProofView:
    """A proof that a checkpoint begins another. Raises as `noodle_journal.prove_consistency`."""
    return _proof_view(
        prove_consistency(home, first, second, public_key=public_key), public_key, out
    )


def checked_proof(path: Path, public_key: bytes) -> ProofChecked:
    """Whether a proof's file proves what it says. Raises TextUnreadable."""
    found = check_proof(_read(path, "a proof", PROOF_BYTES_MAX), public_key=public_key)
    return ProofChecked(
        ok=found.ok,
        proof=found.proof,
        problem=found.problem,
        log_id=found.log_id,
        seq=found.seq,
        kind=None if found.kind is None else label_of(kind_of(found.kind)),
        at_ms=None if found.at_ns is None else found.at_ns // 1_000_000,
        first_size=found.first_size,
        size=found.size,
    )


def _proof_view(data: bytes, public_key: bytes, out: Path | None) -> ProofView:
    found: ProofReport = check_proof(data, public_key=public_key)
    return ProofView(
        proof=found.proof,
        log_id=found.log_id or "",
        size=found.size or 0,
        document=data.decode(),
        seq=found.seq,
        first_size=found.first_size,
        path=_written(out, data),
    )


def _written(out: Path | None, data: bytes) -> str | None:
    if out is None:
        return None
    path = Path(os.path.abspath(out))  # noqa: PTH100 - a link stays one
    if not write_whole(path, data, _MODE, replace=False):
        raise OutputTaken(path)
    return str(path)


def _read(path: Path, what: str, most: int) -> bytes:
    """A file of bounded size; a pipe will do. Raises TextUnreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise TextUnreadable(path, what, error.strerror or str(error)) from error
    if len(data) > most:
        raise TextUnreadable(path, what, f"it is longer than {most} bytes")
    return data
