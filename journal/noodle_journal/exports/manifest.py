"""What an export is made of: its manifest, and the lines of its segments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from noodle_journal.format.canonical import JsonValue, NotCanonical, encode, parse
from noodle_journal.format.clear import exactly, unhex
from noodle_journal.format.notes import LogKey
from noodle_journal.format.proof_files import decode_key, encode_key

MANIFEST_NAME = "manifest.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:noodle:journal-export:1"
EXPORT_FORMAT = 1
SEGMENT_RECORDS_MAX = 10_000
MANIFEST_BYTES_MAX = 256 * 1024 * 1024
LINE_BYTES_MAX = 96 * 1024 * 1024
"""A body of 16 MiB, readable, and sealed in hexadecimal digits."""


class Form(StrEnum):
    """How much of the records is in an export."""

    FULL = "full"  # everything, bodies readable
    REDACTED = "redacted"  # headers, and bodies without what names anything
    HASHES = "hashes"  # leaves, roots and signatures


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of lines: records `first` to `last`."""

    name: str
    first: int
    last: int
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the log signs of an export."""

    log_id: bytes
    form: Form
    keys: tuple[LogKey, ...]
    checkpoint: str
    segments: tuple[Segment, ...]


def segment_name(number: int) -> str:
    """The name of the segment with this number, from 1."""
    return f"segment-{number:06}.jsonl"


def encode_manifest(manifest: Manifest) -> bytes:
    """The payload: an in-toto statement."""
    segments = manifest.segments
    body: dict[str, JsonValue] = {
        "_type": STATEMENT_TYPE,
        "predicate": {
            "checkpoint": manifest.checkpoint,
            "form": manifest.form.value,
            "format": EXPORT_FORMAT,
            "keys": [encode_key(key) for key in manifest.keys],
            "log_id": manifest.log_id.hex(),
            "segments": [
                {"bytes": one.size_bytes, "first": one.first, "last": one.last, "name": one.name}
                for one in segments
            ],
        },
        "predicateType": PREDICATE_TYPE,
        "subject": [{"digest": {"sha256": one.sha256.hex()}, "name": one.name} for one in segments],
    }
    return encode(body)[0]


def decode_manifest(payload: bytes) -> Manifest:
    """Raises: NotCanonical."""
    statement = exactly(parse(payload), "_type predicate predicateType subject")
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise NotCanonical("not the statement of an export of this format")
    fields = exactly(statement["predicate"], "checkpoint form format keys log_id segments")
    if fields["format"] != EXPORT_FORMAT or isinstance(fields["format"], bool):
        raise NotCanonical(f"its format is {fields['format']!r}, known is {EXPORT_FORMAT}")
    if fields["form"] not in list(Form) or not isinstance(fields["checkpoint"], str):
        raise NotCanonical("its form or checkpoint is none")
    listed, subjects, keys = fields["segments"], statement["subject"], fields["keys"]
    if not (isinstance(listed, list) and isinstance(subjects, list) and isinstance(keys, list)):
        raise NotCanonical("segments, subject or keys is no list")
    if len(listed) != len(subjects):
        raise NotCanonical("its segments are not its subjects")
    segments: list[Segment] = []
    for number, (one, subject) in enumerate(zip(listed, subjects, strict=True), start=1):
        segments.append(_segment(number, one, subject, segments[-1].last if segments else 0))
    return Manifest(
        log_id=unhex(fields["log_id"], 16),
        form=Form(str(fields["form"])),
        keys=tuple(decode_key(key) for key in keys),
        checkpoint=fields["checkpoint"],
        segments=tuple(segments),
    )


def _segment(number: int, listed: JsonValue, subject: JsonValue, before: int) -> Segment:
    fields = exactly(listed, "bytes first last name")
    named = exactly(subject, "digest name")
    numbers = (fields["first"], fields["last"], fields["bytes"])
    if any(type(one) is not int for one in numbers):
        raise NotCanonical("a segment's place is no number")
    first, last, size = (int(str(one)) for one in numbers)
    name = segment_name(number)
    if fields["name"] != name or named["name"] != name:
        raise NotCanonical(f"segment {number} is not called {name}")
    if first != before + 1 or not first <= last < first + SEGMENT_RECORDS_MAX or size < 1:
        raise NotCanonical(f"segment {number} does not follow the one before")
    digest = unhex(exactly(named["digest"], "sha256")["sha256"], 32)
    return Segment(name, first, last, size, digest)


# -- lines -----------------------------------------------------------------------------


def full_line(row: tuple[Any, ...], leaf: bytes, text: bytes | None) -> bytes:
    """A line with everything. `text` is the body as it was sealed."""
    _, header, clear, nonce, sealed, _, _, _ = row
    record, hashed = b"null", _optional(leaf)
    if header is not None:
        hashed = b"null"  # it is computed
        record = b'{"clear":%b,"header":"%b","nonce":"%b","sealed":"%b"}' % (
            _optional(clear),
            _hex(header),
            _hex(nonce),
            _hex(sealed),
        )
    body = b"null" if text is None else text
    return b'{"body":%b,"leaf":%b,"record":%b,%b' % (body, hashed, record, _end(row))


def redacted_line(row: tuple[Any, ...], leaf: bytes, text: bytes | None) -> bytes:
    """A line without what is sealed. `text` is the body as it may be read."""
    _, header, clear, _, _, _, _, _ = row
    return b'{"body":%b,"clear":%b,"header":%b,"leaf":"%b",%b' % (
        b"null" if text is None else text,
        _optional(clear),
        _optional(header),
        _hex(leaf),
        _end(row),
    )


def hashes_line(row: tuple[Any, ...], leaf: bytes, _text: bytes | None) -> bytes:
    """A line of hashes only."""
    return b'{"leaf":"%b",%b' % (_hex(leaf), _end(row))


LINES = {Form.FULL: full_line, Form.REDACTED: redacted_line, Form.HASHES: hashes_line}


def _end(row: tuple[Any, ...]) -> bytes:
    return b'"root":%b,"seq":%d,"signature":%b}\n' % (
        _optional(row[6]),
        row[0],
        _optional(row[7]),
    )


def _hex(value: bytes) -> bytes:
    return value.hex().encode()


def _optional(value: bytes | None) -> bytes:
    return b"null" if value is None else b'"%b"' % _hex(value)


FIELDS = {
    Form.FULL: "body leaf record root seq signature",
    Form.REDACTED: "body clear header leaf root seq signature",
    Form.HASHES: "leaf root seq signature",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line as read: the row as far as it is there, and the header of a redacted one."""

    row: tuple[Any, ...]
    header: bytes | None
    clear: bytes | None


def decode_line(data: bytes, form: Form) -> Line:
    """Raises: NotCanonical."""
    if data[-1:] != b"\n":
        raise NotCanonical("the last line does not end")
    fields = exactly(parse(data[:-1]), FIELDS[form])
    seq = fields["seq"]
    if type(seq) is not int:
        raise NotCanonical("seq is not a number")
    root, signature = _maybe(fields["root"], 32), _maybe(fields["signature"], 64)
    if form is not Form.HASHES and not isinstance(fields["body"], (dict, type(None))):
        raise NotCanonical("a body is not an object")
    if form is Form.FULL and (fields["record"] is None) is (fields["leaf"] is None):
        raise NotCanonical("it has not either a record or a leaf")
    if form is Form.FULL and fields["record"] is not None:
        record = exactly(fields["record"], "clear header nonce sealed")
        header, clear = unhex(record["header"], 96), _maybe(record["clear"])
        nonce, sealed = unhex(record["nonce"], 12), unhex(record["sealed"])
        return Line((seq, header, clear, nonce, sealed, None, root, signature), header, clear)
    redacted = form is Form.REDACTED
    return Line(
        (seq, None, None, None, None, unhex(fields["leaf"], 32), root, signature),
        _maybe(fields["header"], 96) if redacted else None,
        _maybe(fields["clear"]) if redacted else None,
    )


def _maybe(value: JsonValue, length: int | None = None) -> bytes | None:
    return None if value is None else unhex(value, length)
