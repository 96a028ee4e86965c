"""The master key: where it comes from, what it wraps, how it is written down.

Owns the key file, the recovery key and the wrapping of every other key. Never
logs a key, never puts one into an error, never makes one up where one is
missing.

Laws
K1. decode_recovery(encode_recovery(key)) == key; one wrong character is found.
K2. A wrapped key opens only with its master key, log, purpose, id and epoch.
K3. A key file is never written over, and others can never read it.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noodle_journal.failures import (
    JournalExists,
    JournalFull,
    JournalUnreadable,
    KeyExposed,
    KeyInvalid,
    KeyMissing,
)
from noodle_journal.format.sealing import HEDGE_BYTES, NONCE_BYTES, hkdf

MASTER_KEY_BYTES = 32
KEY_ID_BYTES = 16
KEY_FILE_BYTES_MAX = 4096
KEY_VARIABLE = "NOODLE_JOURNAL_KEY"
MASTER_KEY_FILE = "keys/master.key"
PUBLIC_KEY_FILE = "keys/log.pub"

LABEL_KEK_ID = b"noodle journal 1 kek id"
LABEL_WRAP = b"noodle journal 1 wrap key"
LABEL_WRAP_NONCE = b"noodle journal 1 wrap nonce key"
LABEL_WRAPPED = b"noodle journal 1 wrapped key"

_CHECK_BYTES = 3  # 32 + 3 bytes are exactly 56 base32 characters
_GROUP = 7
# Base32 has none of these digits; people read and type them for letters.
_LOOKALIKES = str.maketrans({"0": "O", "1": "I", "8": "B", "-": "", " ": "", "\n": "", "\t": ""})


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


def encode_recovery(key: bytes) -> str:
    """The master key to write down: eight groups of seven base32 letters."""
    check = hashlib.sha256(b"noodle recovery key" + key).digest()[:_CHECK_BYTES]
    text = base64.b32encode(key + check).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def decode_recovery(text: str, *, source: str = "the recovery key") -> bytes:
    """The master key that was written down; spaces, case and 0/1/8 do not matter.

    Raises: KeyInvalid, also for a single wrong character.
    """
    try:
        data = base64.b32decode(text.upper().translate(_LOOKALIKES))
    except (binascii.Error, ValueError) as exc:
        raise KeyInvalid(source=source, reason="not 56 base32 letters") from exc
    key, check = data[:MASTER_KEY_BYTES], data[MASTER_KEY_BYTES:]
    wanted = hashlib.sha256(b"noodle recovery key" + key).digest()[:_CHECK_BYTES]
    if len(key) != MASTER_KEY_BYTES or not hmac.compare_digest(check, wanted):
        raise KeyInvalid(source=source, reason="its checksum does not match")
    return key


def parse_master_key(text: str, *, source: str) -> bytes:
    """64 hexadecimal digits, or a recovery key. Raises: KeyInvalid."""
    text = text.strip()
    if len(text) == 2 * MASTER_KEY_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError as exc:
            raise KeyInvalid(source=source, reason="not 64 hexadecimal digits") from exc
    return decode_recovery(text, source=source)


def load_master_key(*, variable: str | None, file: Path | None) -> bytes:
    """The master key: a set variable wins over the file.

    `variable` is the value of NOODLE_JOURNAL_KEY, or None where it is not set.

    Raises: KeyMissing, KeyInvalid, KeyExposed, JournalUnreadable.
    """
    if variable is not None:
        return parse_master_key(variable, source=KEY_VARIABLE)
    if file is None:
        raise KeyMissing(
            what="the master key",
            remedy=f"set {KEY_VARIABLE}, or `noodle init` to make a key file",
        )
    return parse_master_key(read_key_file(file), source=str(file))


def read_key_file(path: Path) -> str:
    """The text of a key file that only its owner can read.

    Raises: KeyMissing, KeyExposed, KeyInvalid, JournalUnreadable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as exc:
        raise KeyMissing(
            what=str(path),
            remedy=f"put the file back, set {KEY_VARIABLE}, or use the recovery key "
            "that `noodle init` showed",
        ) from exc
    except OSError as exc:
        raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyInvalid(source=str(path), reason="not a plain file")
        if found.st_mode & 0o077:
            raise KeyExposed(path=str(path), mode=f"{stat.S_IMODE(found.st_mode):04o}")
        data = os.read(descriptor, KEY_FILE_BYTES_MAX)
    except OSError as exc:
        raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
    finally:
        os.close(descriptor)
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as exc:
        raise KeyInvalid(source=str(path), reason="not text") from exc


def make_key_file(path: Path, key: bytes) -> None:
    """Write `key` to a new 0600 file, durable on return, its folder entry too.

    A cut leaves either no file or the whole one: it is written under another
    name and linked into place. Raises: JournalExists, JournalFull,
    JournalUnreadable.
    """
    write_new_file(path, (key.hex() + "\n").encode(), mode=0o600)


def read_public_key(path: Path) -> bytes:
    """The log's public key from a file with 64 hexadecimal digits.

    Raises: KeyMissing, KeyInvalid, JournalUnreadable.
    """
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX)
    except FileNotFoundError as exc:
        raise KeyMissing(
            what=str(path), remedy="give --public-key FILE, the one kept from `noodle init`"
        ) from exc
    except OSError as exc:
        raise JournalUnreadable(path=str(path), reason=exc.strerror or str(exc)) from exc
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError as exc:
        raise KeyInvalid(source=str(path), reason="not hexadecimal digits") from exc
    if len(key) != 32:
        raise KeyInvalid(source=str(path), reason=f"{len(key)} bytes, not 32")
    return key


def write_new_file(path: Path, data: bytes, *, mode: int) -> None:
    """A new file, whole or absent after any cut, never over an old one."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(draft, path)
        draft.unlink()
        sync_folder(path.parent)
    except FileExistsError as exc:
        draft.unlink(missing_ok=True)
        raise JournalExists(path=str(path)) from exc
    except OSError as exc:
        raise os_failure(path, exc) from exc


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def os_failure(path: Path, exc: OSError) -> JournalFull | JournalUnreadable:
    """The failure for an OSError before anything of the journal was written."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return JournalFull(path=str(path))
    return JournalUnreadable(path=str(path), reason=exc.strerror or str(exc))


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
