"""Checkpoints: a tree's size and root, signed by the log.

Owns the note text and the signature over it. Stores 64 signature bytes only:
the text is rebuilt from log id, size and root.

Laws
P1. One size and root have one text, and one key has one signature for it
    (Ed25519 is deterministic).

Source: C2SP tlog-checkpoint and signed-note; RFC 8032.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

LABEL_NEW_KEY = b"noodle journal 1 new log key\n"
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed tree head. `plain` is true where the epoch is not encrypted."""

    log_id: bytes
    size: int
    root: bytes
    signature: bytes
    plain: bool = False

    @property
    def origin(self) -> str:
        """The log's name in the note."""
        return origin_of(self.log_id)

    @property
    def text(self) -> str:
        """What is signed."""
        return note_text(log_id=self.log_id, size=self.size, root=self.root, plain=self.plain)

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the signature is this key's."""
        return LogVerifier(public_key).accepts(self.text.encode(), self.signature)

    def note(self, public_key: bytes) -> str:
        """The whole signed note, as a C2SP witness or verifier reads it."""
        key_hash = hashlib.sha256(self.origin.encode() + b"\n\x01" + public_key).digest()[:4]
        line = base64.b64encode(key_hash + self.signature).decode()
        return f"{self.text}\n\u2014 {self.origin} {line}\n"


def origin_of(log_id: bytes) -> str:
    """The checkpoint origin of a log, which is its key name too."""
    return f"noodle.journal/{log_id.hex()}"


def note_text(*, log_id: bytes, size: int, root: bytes, plain: bool = False) -> str:
    """Origin, size, root, and `cipher none` where encryption is off; a line each."""
    text = f"{origin_of(log_id)}\n{size}\n{base64.b64encode(root).decode()}\n"
    return text + "cipher none\n" if plain else text


class LogSigner:
    """The log's Ed25519 key."""

    __slots__ = ("_private", "public_key")

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """64 bytes over `message`."""
        return self._private.sign(message)


class LogVerifier:
    """The log's public key, 32 bytes."""

    __slots__ = ("_public", "public_key")

    def __init__(self, public_key: bytes) -> None:
        self._public = Ed25519PublicKey.from_public_bytes(public_key)
        self.public_key = public_key

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` over `message` is this key's."""
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def new_key_message(*, log_id: bytes, public_key: bytes) -> bytes:
    """What the log key before signs to hand over to `public_key`."""
    return LABEL_NEW_KEY + log_id + public_key
