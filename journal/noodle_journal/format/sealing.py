"""Sealing one record under its epoch's key.

Owns key derivation, hedged nonces and the cipher. Never stores a key.

Laws
S1. A record opens only under its epoch's key, at its place, with its clear part.
    With encryption switched off anybody reads it; that it is the log's takes the key.
S2. A nonce repeats only for the same header, clear part and plaintext, even
    when the random source repeats (a cloned machine).

Source: NIST SP 800-38D (AES-GCM), RFC 5869 (HKDF); hedged nonces after RFC
9180's and RFC 6979's reasoning: randomness and message both feed the nonce.
"""

from __future__ import annotations

import hmac
from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noodle_journal.format.records import NO_TAG, TAG_BYTES

NONCE_BYTES = 12
MAC_BYTES = 16
HEDGE_BYTES = 16

LABEL_RECORD = b"noodle journal 1 record key"
LABEL_PLAIN = b"noodle journal 1 plain key"
LABEL_NONCE = b"noodle journal 1 nonce key"
LABEL_COMMITMENT = b"noodle journal 1 key commitment"


class NotAuthentic(ValueError):
    """The bytes were not sealed with this key, here."""


def hkdf(*, key: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA-256 (RFC 5869): one round is enough for them."""
    extracted = hmac.digest(salt, key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


class EpochKeys:
    """What one data key gives: a cipher, a nonce key, and the commitment to it."""

    __slots__ = ("_cipher", "_nonce_key", "commitment")

    plain: ClassVar[bool] = False

    def __init__(self, *, data_key: bytes, log_id: bytes) -> None:
        self._cipher = AESGCM(hkdf(key=data_key, salt=log_id, info=LABEL_RECORD))
        self._nonce_key = hkdf(key=data_key, salt=log_id, info=LABEL_NONCE)
        self.commitment = hkdf(key=data_key, salt=log_id, info=LABEL_COMMITMENT)

    def seal(self, *, associated: bytes, padded: bytes, random16: bytes) -> tuple[bytes, bytes]:
        """Nonce and ciphertext with its tag; `associated` is header and clear part."""
        nonce = hmac.digest(self._nonce_key, random16 + associated + padded, "sha256")[:NONCE_BYTES]
        return nonce, self._cipher.encrypt(nonce, padded, associated)

    def open(self, *, associated: bytes, nonce: bytes, sealed: bytes) -> bytes:
        """The padded plaintext. Raises: NotAuthentic."""
        try:
            return self._cipher.decrypt(nonce, sealed, associated)
        except (InvalidTag, ValueError) as exc:
            raise NotAuthentic("not sealed under this key at this place") from exc


class PlainKeys:
    """As EpochKeys where encryption is switched off: the text is legible, and still sealed.

    What follows the text is AES-GCM's tag over it (GMAC, NIST SP 800-38D section 3): whoever
    has the key knows at once that a record is the log's; whoever has not, by the tree.
    """

    __slots__ = ("_cipher", "_nonce_key", "commitment")

    plain: ClassVar[bool] = True

    def __init__(self, *, data_key: bytes, log_id: bytes) -> None:
        self._cipher = AESGCM(hkdf(key=data_key, salt=log_id, info=LABEL_PLAIN))
        self._nonce_key = hkdf(key=data_key, salt=log_id, info=LABEL_NONCE)
        self.commitment = hkdf(key=data_key, salt=log_id, info=LABEL_COMMITMENT)

    def seal(self, *, associated: bytes, padded: bytes, random16: bytes) -> tuple[bytes, bytes]:
        """Nonce, and the text with its tag."""
        nonce = hmac.digest(self._nonce_key, random16 + associated + padded, "sha256")[:NONCE_BYTES]
        return nonce, padded + self._cipher.encrypt(nonce, b"", associated + padded)

    def open(self, *, associated: bytes, nonce: bytes, sealed: bytes) -> bytes:
        """The padded plaintext. Raises: NotAuthentic."""
        padded, tag = legible(sealed), sealed[-MAC_BYTES:]
        try:
            self._cipher.decrypt(nonce, tag, associated + padded)
        except (InvalidTag, ValueError) as exc:
            raise NotAuthentic("not sealed under this key at this place") from exc
        return padded


def legible(sealed: bytes) -> bytes:
    """The padded text of a record that was sealed with encryption switched off."""
    return sealed[:-MAC_BYTES]


Sealing = EpochKeys | PlainKeys
"""The keys of one epoch."""


class Tagger:
    """Opaque tags per upgrade: HMAC-SHA-256 under the log's tag key, 12 bytes."""

    __slots__ = ("_key", "_known")

    KNOWN_MAX = 4096  # tags kept in memory

    def __init__(self, tag_key: bytes) -> None:
        self._key = tag_key
        self._known: dict[str, bytes] = {}

    def tag(self, run: str | None) -> bytes:
        """The tag of an upgrade; twelve zeros for a record of none."""
        if run is None:
            return NO_TAG
        found = self._known.get(run)
        if found is None:
            if len(self._known) >= self.KNOWN_MAX:
                self._known.clear()
            found = hmac.digest(self._key, run.encode(), "sha256")[:TAG_BYTES]
            self._known[run] = found
        return found
