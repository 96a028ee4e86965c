"""The master key and what it wraps.

Owns the wrapping of every other key. Never logs a key, never puts one into an
error, never makes one up where one is missing.

Laws
K2. A wrapped key opens only with its master key, log, purpose, id and epoch.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noodle_journal.failures import KeyInvalid
from noodle_journal.format.sealing import HEDGE_BYTES, NONCE_BYTES, hkdf

MASTER_KEY_BYTES = 32
KEY_ID_BYTES = 16

LABEL_KEK_ID = b"noodle journal 1 kek id"
LABEL_WRAP = b"noodle journal 1 wrap key"
LABEL_WRAP_NONCE = b"noodle journal 1 wrap nonce key"
LABEL_WRAPPED = b"noodle journal 1 wrapped key"


class KeyPurpose(StrEnum):
    """What a wrapped key is for."""

    DATA = "data"  # seals one epoch
    TAG = "tag"  # makes the opaque tags
    LOG = "log"  # signs checkpoints


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key as the keystore holds it. `epoch` is 0 for tag and log keys."""

    key_id: bytes
    purpose: str
    epoch: int
    kek_id: bytes
    nonce: bytes
    sealed: bytes


class NotUnwrapped(ValueError):
    """The wrapped key does not open with this master key."""


class MasterKey:
    """The key that wraps all others (KEK)."""

    __slots__ = ("_cipher", "_nonce_key", "kek_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != MASTER_KEY_BYTES:
            raise KeyInvalid(source="the caller", reason=f"{len(key)} bytes, not 32")
        self.kek_id = kek_id(key)
        self._cipher = AESGCM(hkdf(key=key, salt=b"", info=LABEL_WRAP))
        self._nonce_key = hkdf(key=key, salt=b"", info=LABEL_WRAP_NONCE)

    def wrap(
        self,
        key: bytes,
        *,
        log_id: bytes,
        purpose: KeyPurpose,
        key_id: bytes,
        epoch: int,
        entropy: Callable[[int], bytes],
    ) -> WrappedKey:
        """`key` wrapped for this log, purpose, id and epoch."""
        associated = _associated(log_id, purpose, key_id, epoch, self.kek_id)
        hedge = entropy(HEDGE_BYTES) + associated + key
        nonce = hmac.digest(self._nonce_key, hedge, "sha256")[:NONCE_BYTES]
        sealed = self._cipher.encrypt(nonce, key, associated)
        return WrappedKey(key_id, purpose.value, epoch, self.kek_id, nonce, sealed)

    def unwrap(self, wrapped: WrappedKey, *, log_id: bytes) -> bytes:
        """The key inside. Raises: NotUnwrapped."""
        associated = _associated(
            log_id, wrapped.purpose, wrapped.key_id, wrapped.epoch, wrapped.kek_id
        )
        try:
            return self._cipher.decrypt(wrapped.nonce, wrapped.sealed, associated)
        except (InvalidTag, ValueError) as exc:
            raise NotUnwrapped(f"key {wrapped.key_id.hex()} does not open") from exc


def kek_id(key: bytes) -> bytes:
    """The public name of a master key: 16 bytes that do not give it away."""
    return hkdf(key=key, salt=b"", info=LABEL_KEK_ID)[:KEY_ID_BYTES]


def _associated(log_id: bytes, purpose: str, key_id: bytes, epoch: int, kek: bytes) -> bytes:
    name = purpose.encode()
    return (
        LABEL_WRAPPED
        + log_id
        + len(name).to_bytes(1, "big")
        + name
        + key_id
        + epoch.to_bytes(4, "big")
        + kek
    )
