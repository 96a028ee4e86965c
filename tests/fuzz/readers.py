"""The readers that are fuzzed, what each may answer, and sound inputs to begin with.

A reader takes any bytes. It answers, or raises one of the failures that its docstring
names: anything else that it raises is a finding. What it takes it writes again as it was:
two spellings of one thing would be a way to change a record and not its meaning.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from noodle_journal.exports.checking import check_export
from noodle_journal.exports.manifest import (
    LINES,
    MANIFEST_NAME,
    PAYLOAD_TYPE,
    Form,
    Manifest,
    Segment,
    decode_line,
    decode_manifest,
    encode_manifest,
    full_line,
    hashes_line,
    redacted_line,
    segment_name,
)
from noodle_journal.failures import (
    ExportUnreadable,
    JournalDamaged,
    JournalForged,
    JournalFormatNewer,
)
from noodle_journal.format.canonical import NotCanonical, encode, pad, parse, parse_padded, unpad
from noodle_journal.format.checkpoints import Checkpoint, LogSigner
from noodle_journal.format.clear import (
    EpochClear,
    GivenUp,
    RetentionClear,
    StateClear,
    TreeMark,
    decode_epoch,
    decode_retention,
    decode_state,
    encode_epoch,
    encode_retention,
    encode_state,
)
from noodle_journal.format.envelopes import open_envelope, seal_envelope
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.notes import LogKey, NotANote, parse_note
from noodle_journal.format.proof_files import (
    Consistency,
    Inclusion,
    ProvedRecord,
    check_proof,
    decode_proof,
    encode_proof,
)
from noodle_journal.format.records import (
    FLAG_CLEAR,
    FLAGS_KNOWN,
    FORMAT_VERSION,
    HEADER,
    MAGIC,
    NO_LEAF,
    NO_TAG,
    Kind,
    Row,
)
from noodle_journal.format.sealing import PlainKeys, Tagger
from noodle_journal.soundness import decode_row, epoch_clear
from tests.memory import memory_folder

__all__ = [
    "FORMS",
    "READERS",
    "REFUSALS",
    "SIGNER",
    "Finding",
    "first_record",
    "read",
    "seeds",
    "signed_export",
]

LOG_ID: Final = b"l" * 16
TAG_KEY: Final = b"t" * 32
TYPE: Final = "application/vnd.noodle.testing+json"
RUN: Final = "01RUN"
REFUSALS: Final = (
    NotCanonical,
    NotANote,
    JournalDamaged,
    JournalForged,
    JournalFormatNewer,
    ExportUnreadable,
)
SIGNER: Final = LogSigner(b"s" * 32)


class Finding(AssertionError):
    """A reader took what it would not have written."""


def _same(reader: str, wrote: bytes, data: bytes) -> None:
    if wrote != data:
        raise Finding(f"{reader} took {data!r} and writes {wrote!r}")


def _canonical(data: bytes) -> None:
    _same("parse", encode(parse(data))[0], data)


def _padded(data: bytes) -> None:
    text, body = parse_padded(data)
    _same("parse_padded", pad(text), data)
    if unpad(data) != text or parse(text) != body:
        raise Finding(f"parse_padded and parse of unpad differ over {data!r}")


def _epoch(data: bytes) -> None:
    _same("decode_epoch", encode_epoch(decode_epoch(data)), data)


def _state(data: bytes) -> None:
    _same("decode_state", encode_state(decode_state(data)), data)


def _retention(data: bytes) -> None:
    _same("decode_retention", encode_retention(decode_retention(data)), data)


def _envelope(data: bytes) -> None:
    open_envelope(data, payload_type=TYPE)


def _note(data: bytes) -> None:
    with contextlib.suppress(UnicodeDecodeError):
        parse_note(data.decode())


def _proof(data: bytes) -> None:
    report = check_proof(data, public_key=SIGNER.public_key)
    proof = decode_proof(data) if report.ok else None
    if proof is not None:
        _same("decode_proof", encode_proof(proof), data)
        return
    _same("decode_proof", encode_proof(decode_proof(data)), data)


def _manifest(data: bytes) -> None:
    _same("decode_manifest", encode_manifest(decode_manifest(data)), data)


def _line(form: Form) -> Callable[[bytes], None]:
    def look(data: bytes) -> None:
        decode_line(data, form)

    return look


class _Open(PlainKeys):
    """A cipher that seals nothing: the bytes behind it are the fuzzer's."""

    def open(self, *, associated: bytes, nonce: bytes, sealed: bytes) -> bytes:
        """What is sealed, as it is."""
        del associated, nonce
        return sealed


OPEN: Final = _Open(data_key=b"d" * 32, log_id=LOG_ID)


def _row(data: bytes) -> None:
    """Header, one byte that says how long the clear part is, clear part, what is sealed."""
    header, rest = data[: HEADER.size], data[HEADER.size :]
    size, rest = rest[0] if rest else 0, rest[1:]
    clear = rest[:size] if size else None
    row = Row(7, header, clear, b"n" * 12, rest[size:], None, None, None)
    with contextlib.suppress(*REFUSALS):
        epoch_clear(row, log_id=LOG_ID)
    record = decode_row(row, log_id=LOG_ID, keys=OPEN, tagger=Tagger(TAG_KEY))
    if record.seq != 7:
        raise Finding(f"record 7 is read as {record.seq}")


FORMS: Final = tuple(Form)
MEMORY: Final = memory_folder()


def _room() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="noodle-fuzz-", dir=MEMORY)


def _archive(data: bytes) -> None:
    with _room() as made:
        path = Path(made) / "export.tar"
        path.write_bytes(data)
        check_export(path, public_key=SIGNER.public_key)


def _export(data: bytes) -> None:
    """The form, and the lines of one segment; what the log signs of them is made to fit."""
    form, lines = FORMS[(data or b"\0")[0] % len(FORMS)], data[1:]
    with _room() as made:
        folder = Path(made)
        for name, content in signed_export(form, lines):
            (folder / name).write_bytes(content)
        check_export(folder, public_key=SIGNER.public_key)


def signed_export(form: Form, lines: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of an export whose manifest is signed, over whatever lines."""
    count = max(1, lines.count(b"\n"))
    roots = re.findall(rb'"root":"([0-9a-f]{64})"', lines)
    root = bytes.fromhex(roots[-1].decode()) if roots else b"r" * 32
    signature = SIGNER.sign(Checkpoint(LOG_ID, count, root, b"").text.encode())
    note = Checkpoint(LOG_ID, count, root, signature).note(SIGNER.public_key)
    digest = hashlib.sha256(lines).digest()
    segment = Segment(segment_name(1), 1, count, max(1, len(lines)), digest)
    manifest = Manifest(LOG_ID, form, (LogKey(SIGNER.public_key),), note, (segment,))
    payload = encode_manifest(manifest)
    yield MANIFEST_NAME, seal_envelope(payload, payload_type=PAYLOAD_TYPE, signer=SIGNER)
    yield segment.name, lines


def first_record() -> tuple[tuple[Any, ...], bytes]:
    """The row of a journal's first record, and its leaf: an epoch, signed."""
    clear = encode_epoch(
        EpochClear(b"k" * 16, b"e" * 16, b"c" * 32, SIGNER.public_key, TreeMark.of(Frontier()))
    )
    header = HEADER.pack(
        MAGIC, FORMAT_VERSION, FLAGS_KNOWN, Kind.KEY_EPOCH, LOG_ID, 1, 1, 1, 1, NO_TAG, NO_LEAF
    )
    nonce, sealed = b"n" * 12, b"s" * 80
    leaf = leaf_hash(header, clear, nonce, sealed)
    tree = Frontier()
    tree.push(leaf)
    root = tree.root()
    signature = SIGNER.sign(Checkpoint(LOG_ID, 1, root, b"").text.encode())
    return (1, header, clear, nonce, sealed, leaf, root, signature), leaf


READERS: Final[dict[str, Callable[[bytes], None]]] = {
    "canonical": _canonical,
    "padded": _padded,
    "epoch": _epoch,
    "state": _state,
    "retention": _retention,
    "envelope": _envelope,
    "note": _note,
    "proof": _proof,
    "manifest": _manifest,
    "full line": _line(Form.FULL),
    "redacted line": _line(Form.REDACTED),
    "hashes line": _line(Form.HASHES),
    "row": _row,
    "archive": _archive,
    "export": _export,
}
"""Each reader by its name. The first byte of a fuzzed input chooses one."""


def read(data: bytes) -> None:
    """Give the bytes behind the first one to the reader that it chooses. Raises findings only."""
    if data:
        with contextlib.suppress(*REFUSALS):
            list(READERS.values())[data[0] % len(READERS)](data[1:])


def seeds() -> Iterator[tuple[str, bytes]]:
    """Inputs that each reader takes, by its name."""
    tree = Frontier()
    for leaf in (b"a" * 32, b"b" * 32, b"c" * 32):
        tree.push(leaf)
    mark, root = TreeMark.of(tree), tree.root()
    keys = (LogKey(SIGNER.public_key), LogKey(b"q" * 32, b"z" * 64))
    body = encode({"at_ms": 1, "list": [None, True, 1.5, "é"], "upgrade": RUN})[0]
    yield "canonical", body
    yield "padded", pad(body)
    whole = EpochClear(b"k" * 16, b"e" * 16, b"c" * 32, SIGNER.public_key, mark)
    yield "epoch", encode_epoch(whole)
    handed = replace(whole, key_signature=b"z" * 64, gave_up=GivenUp(3, b"r" * 32))
    yield "epoch", encode_epoch(handed)
    yield "state", encode_state(StateClear(mark))
    yield "retention", encode_retention(RetentionClear(1, 2, 3, "log_retention_days = 90"))
    yield "envelope", seal_envelope(body, payload_type=TYPE, signer=SIGNER)
    checkpoint = Checkpoint(LOG_ID, 3, root, b"")
    signature = SIGNER.sign(checkpoint.text.encode())
    note = Checkpoint(LOG_ID, 3, root, signature).note(SIGNER.public_key)
    yield "note", note.encode()
    record = ProvedRecord(b"h" * 96, b"c", b"n" * 12, b"s" * 64)
    for proved in (record, None):
        yield "proof", encode_proof(Inclusion(keys, 3, b"c" * 32, proved, (root,), note))
    yield "proof", encode_proof(Consistency(keys, (root,), note, note))
    segments = (Segment(segment_name(1), 1, 3, 100, b"d" * 32),)
    yield "manifest", encode_manifest(Manifest(LOG_ID, Form.FULL, keys, note, segments))
    row = (3, b"h" * 96, b"c", b"n" * 12, b"s" * 64, None, root, signature)
    yield "full line", full_line(row, root, body)
    yield "full line", full_line((3, *[None] * 7), root, None)
    yield "redacted line", redacted_line(row, root, body)
    yield "hashes line", hashes_line(row, root, None)
    first, leaf = first_record()
    for at, form in enumerate(FORMS):
        lines = LINES[form](first, leaf, None)
        yield "export", bytes([at]) + lines
        yield "archive", _tar(signed_export(form, lines))
    for kind, cleared in ((3, b""), (18, encode_epoch(whole)[:255])):
        flags = FLAG_CLEAR if cleared else 0
        tag = Tagger(TAG_KEY).tag(RUN)
        header = HEADER.pack(MAGIC, FORMAT_VERSION, flags, kind, LOG_ID, 7, 1, 1, 1, tag, b"p" * 32)
        yield "row", header + bytes([len(cleared)]) + cleared + pad(body)


def _tar(files: Iterator[tuple[str, bytes]]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue().rstrip(b"\0") + bytes(1024)
