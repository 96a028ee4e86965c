"""Signed notes: a checkpoint as it is kept elsewhere, and the keys that may have signed it.

Owns reading one back, and the way from the key that somebody trusts to the keys that were
handed over to since. Pure.

Laws
P2. parse_note(checkpoint.note(key)) gives the checkpoint back, and no other text does.
P3. A key counts only where each key from the trusted one to it signed the next.

Source: C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from noodle_journal.format.checkpoints import (
    SIGNATURE_BYTES,
    Checkpoint,
    LogVerifier,
    new_key_message,
)

NOTE_BYTES_MAX = 64 * 1024
_ORIGIN = re.compile(r"noodle\.journal/([0-9a-f]{32})")
_SIZE = re.compile(r"[1-9][0-9]{0,18}")
_LINE = re.compile(r"\u2014 (\S+) (\S+)")
_HASH_BYTES = 4


class NotANote(ValueError):
    """A text is no signed checkpoint of a journal."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note as read: what is said, and who seems to have signed it. Proves nothing yet.

    `signatures` are 4 bytes that name a key, and 64 over the text; those of the log only.
    """

    log_id: bytes
    size: int
    root: bytes
    plain: bool
    signatures: tuple[tuple[bytes, bytes], ...]

    def checkpoint(self, public_key: bytes) -> Checkpoint | None:
        """The checkpoint, if this key signed it; None if not."""
        verifier = LogVerifier(public_key)
        for named, signature in self.signatures:
            found = Checkpoint(self.log_id, self.size, self.root, signature, plain=self.plain)
            if named == _key_hash(found.origin, public_key) and verifier.accepts(
                found.text.encode(), signature
            ):
                return found
        return None


@dataclass(frozen=True, slots=True)
class LogKey:
    """A log key, and the signature over it by the one before (None for the first)."""

    public_key: bytes
    key_signature: bytes | None = None


def parse_note(text: str) -> Note:
    """Read a signed checkpoint. Signatures of others (witnesses) are passed over.

    Raises: NotANote.
    """
    body, found, rest = text.partition("\n\n")
    lines = body.split("\n")
    if not found or len(lines) not in (3, 4) or (len(lines) == 4 and lines[3] != "cipher none"):
        raise NotANote("not a text of three lines, an empty one, and signatures")
    origin, size = _ORIGIN.fullmatch(lines[0]), _SIZE.fullmatch(lines[1])
    if origin is None:
        raise NotANote("its first line is not noodle.journal/ and 32 hexadecimal digits")
    if size is None or int(lines[1]) >= 2**63:
        raise NotANote("its second line is not the number of records")
    root = _base64(lines[2])
    if root is None or len(root) != 32:
        raise NotANote("its third line is not a root in base64")
    if not rest.endswith("\n"):
        raise NotANote("its last line does not end")
    signatures: list[tuple[bytes, bytes]] = []
    for line in rest[:-1].split("\n"):
        signed = _LINE.fullmatch(line)
        if signed is None:
            raise NotANote("a line after the empty one is no signature")
        data = _base64(signed[2])
        if data is None:
            raise NotANote("a signature is not base64")
        if signed[1] == lines[0] and len(data) == _HASH_BYTES + SIGNATURE_BYTES:
            signatures.append((data[:_HASH_BYTES], data[_HASH_BYTES:]))
    return Note(bytes.fromhex(origin[1]), int(lines[1]), root, len(lines) == 4, tuple(signatures))


def trusted_keys(keys: Sequence[LogKey], *, log_id: bytes, trusted: bytes) -> list[bytes]:
    """The keys from the trusted one on; empty if it is not there, or a hand-over is unsigned."""
    found: list[bytes] = []
    before: bytes | None = None
    for key in keys:
        if before is None:
            is_handed = key.key_signature is None
        else:
            message = new_key_message(log_id=log_id, public_key=key.public_key)
            signature = key.key_signature
            is_handed = signature is not None and LogVerifier(before).accepts(message, signature)
        if not is_handed:
            return []
        before = key.public_key
        if found or before == trusted:
            found.append(before)
    return found


def signed_checkpoint(note: Note, keys: Sequence[bytes]) -> Checkpoint | None:
    """The checkpoint of a note that one of `keys` signed, or None."""
    for key in keys:
        found = note.checkpoint(key)
        if found is not None:
            return found
    return None


def _key_hash(origin: str, public_key: bytes) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n\x01" + public_key).digest()[:_HASH_BYTES]


def _base64(text: str) -> bytes | None:
    """The bytes of a text in the one spelling that they have."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None
