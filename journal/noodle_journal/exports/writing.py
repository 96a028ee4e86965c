"""Writing an export: one pass that verifies and writes.

Owns the order of files: segments, each durable when it ends, then the manifest, which is
signed last. The folder is the caller's, new and empty; whole or not is decided by its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from noodle_journal.exports.manifest import (
    LINES,
    MANIFEST_NAME,
    PAYLOAD_TYPE,
    SEGMENT_RECORDS_MAX,
    Form,
    Manifest,
    Segment,
    encode_manifest,
    segment_name,
)
from noodle_journal.failures import CheckpointAbsent, InvariantBroken, damaged
from noodle_journal.format.canonical import JsonValue, encode
from noodle_journal.format.clear import decode_epoch
from noodle_journal.format.envelopes import seal_envelope
from noodle_journal.format.notes import LogKey
from noodle_journal.format.records import Kind
from noodle_journal.keys import os_failure
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import open_store
from noodle_journal.storage.keystore import Keystore
from noodle_journal.verification.checker import Checker
from noodle_journal.verification.sources import StoreSource

Redact = Callable[[int, Mapping[str, Any]], Mapping[str, JsonValue]]
"""From a kind's number and a body to what of it may be read by everybody."""

_KEY_EPOCH = int(Kind.KEY_EPOCH).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    log_id: str
    size: int
    root: bytes
    checkpoint: str
    segments: int
    size_bytes: int


def export(
    folder: Path,
    into: Path,
    *,
    master_key: bytes,
    form: Form,
    redact: Redact | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the journal in `folder`, as it is now, to the new and empty folder `into`.

    Works beside a live writer and without the journal's indexes; memory is that of one
    record. `redact` is asked for the redacted form. The same checkpoint gives the same
    bytes. Durable on return, but for the name of `into`; after a failure some of it is there.

    Raises: JournalDamaged (law X1), CheckpointAbsent (an empty journal), JournalUnreadable,
    KeyMissing, WrongKey, and as opening.
    """
    keystore = Keystore(folder, read_only=True)
    with closing(keystore):
        heads = keystore.heads()
        ring = KeyRing(keystore=keystore, master_key=master_key)
        with closing(open_store(folder, read_only=True, with_indexes=False)) as connection:
            writing = _Writing(into, form, redact, [LogKey(ring.first_public_key)])
            checker = Checker(
                source=StoreSource(folder, connection, with_indexes=False),
                ring=ring,
                keystore_log_id=keystore.log_id,
                trusted=ring.first_public_key,
                heads=heads,
                every_signature=False,
                taker=writing.take,
            )

            def all_rows(checker: Checker) -> None:
                total = checker.stop
                checker.rows_up_to(
                    total, None if progress is None else lambda done: progress(done, total)
                )

            try:
                report = checker.run(all_rows)
                bad, last = report.first_bad, report.checkpoint
                if bad is not None:
                    raise damaged(
                        seq=bad.seq, kind=bad.kind, problem=bad.problem, remedy=bad.remedy
                    )
                if last is None:
                    raise CheckpointAbsent(size=0, before=0)
                writing.end_segment()
                note = last.note(writing.keys[-1].public_key)
                # An epoch may have been opened meanwhile, and with it a newer key.
                ring.sign_with(writing.keys[-1].public_key)
                payload = encode_manifest(
                    Manifest(
                        log_id=checker.log_id,
                        form=form,
                        keys=tuple(writing.keys),
                        checkpoint=note,
                        segments=tuple(writing.segments),
                    )
                )
                envelope = seal_envelope(payload, payload_type=PAYLOAD_TYPE, signer=ring.signer)
                _write(into / MANIFEST_NAME, envelope)
            except OSError as exc:
                raise os_failure(into, exc) from exc
            finally:
                writing.close()
    written = sum(one.size_bytes for one in writing.segments) + len(envelope)
    return Exported(report.log_id, report.size, report.root, note, len(writing.segments), written)


@dataclass(slots=True)
class _Writing:
    """The segments in the making, and the keys that pass by."""

    into: Path
    form: Form
    redact: Redact | None
    keys: list[LogKey]
    segments: list[Segment] = field(default_factory=list)
    _file: BinaryIO | None = None
    _hash: Any = None
    _first: int = 0
    _last: int = 0
    _bytes: int = 0

    def take(self, row: tuple[Any, ...], leaf: bytes, text: bytes | None) -> None:
        """One record that was checked."""
        seq, header = row[0], row[1]
        if header is not None and header[6:8] == _KEY_EPOCH:
            self._key(row[2])
        if self._file is not None and seq - self._first >= SEGMENT_RECORDS_MAX:
            self.end_segment()
        if self._file is None:
            path = self.into / segment_name(len(self.segments) + 1)
            self._file = path.open("xb")
            os.fchmod(self._file.fileno(), 0o600)
            self._hash, self._first, self._bytes = hashlib.sha256(), seq, 0
        if self.form is Form.REDACTED and text is not None and header is not None:
            text = self._redacted(int.from_bytes(header[6:8], "big"), text)
        line = LINES[self.form](row, leaf, text)
        self._hash.update(line)
        self._file.write(line)
        self._last = seq
        self._bytes += len(line)

    def end_segment(self) -> None:
        """Make the segment durable, and begin no other."""
        if self._file is None:
            return
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        self._file = None
        name = segment_name(len(self.segments) + 1)
        self.segments.append(
            Segment(name, self._first, self._last, self._bytes, self._hash.digest())
        )

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _redacted(self, kind: int, text: bytes) -> bytes:
        if self.redact is None:
            raise InvariantBroken(what="a redacted export has somebody who redacts")
        return encode(self.redact(kind, orjson.loads(text)))[0]

    def _key(self, clear_part: bytes | None) -> None:
        clear = decode_epoch(clear_part or b"")  # the pass has checked it
        if self.keys[-1].public_key != clear.public_key:
            self.keys.append(LogKey(clear.public_key, clear.key_signature))


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
