"""What an auditor is answered: the documented shapes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CheckpointView", "ExportView", "ProofChecked", "ProofView"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """The answer of audit checkpoint: a signed head, and the note to keep elsewhere."""

    size: int
    root: str
    note: str
    path: str | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ExportView:
    """The answer of audit export. `form` is full, redacted or hashes."""

    path: str
    form: str
    log_id: str
    size: int
    root: str
    segments: int
    size_bytes: int
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ProofView:
    """The answer of audit prove: a proof. `document` is the bytes of its file."""

    proof: str
    log_id: str
    size: int
    document: str
    seq: int | None = None
    first_size: int | None = None
    path: str | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ProofChecked:
    """The answer of audit prove --check. `kind` and `at_ms` are what the proved record says."""

    ok: bool
    proof: str
    problem: str | None
    log_id: str | None
    seq: int | None
    kind: str | None
    at_ms: int | None
    first_size: int | None
    size: int | None
    format: int = FORMAT
