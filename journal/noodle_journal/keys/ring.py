"""The keys of one log, unwrapped as they are needed.

Owns the way from the master key to an epoch's keys, and which of the log's signing
keys signs. Never stores a key that is not wrapped, and never makes one up.

Laws
G1. An epoch's key is used only where the epoch's record commits to it.
G2. The log is signed with the key that its last epoch names. A key of the log stays
    in the keystore when another follows it, so that an older copy of the journal can
    still hand over to the newest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noodle_journal.failures import (
    DamageKind,
    KeyMissing,
    KeystoreDamaged,
    WrongKey,
    damaged,
)
from noodle_journal.format.checkpoints import LogSigner, LogVerifier, note_text
from noodle_journal.format.clear import CIPHER_NONE, EpochClear
from noodle_journal.format.sealing import EpochKeys, PlainKeys, Sealing, Tagger
from noodle_journal.keys import KeyPurpose, MasterKey, NotUnwrapped, WrappedKey
from noodle_journal.storage.keystore import Head, Keystore

EPOCH_KEYS_KEPT_MAX = 64

Entropy = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class LogKey:
    """A signing key of the log: its row, and the epoch from which it signs."""

    key_id: bytes
    epoch: int
    signer: LogSigner


def keys_of(data_key: bytes, *, log_id: bytes, cipher: str) -> Sealing:
    """What a data key gives under a cipher that an epoch names."""
    kind = PlainKeys if cipher == CIPHER_NONE else EpochKeys
    return kind(data_key=data_key, log_id=log_id)


def accepted_head(head: Head, *, log_id: bytes, verifiers: Sequence[LogVerifier]) -> bool:
    """Whether one of these keys signed a head. A head does not say which cipher its epoch had."""
    texts = [
        note_text(log_id=log_id, size=head.size, root=head.root, plain=plain).encode()
        for plain in (False, True)
    ]
    # The last key signed most of what is asked for.
    return any(one.accepts(text, head.signature) for one in reversed(verifiers) for text in texts)


class KeyRing:
    """The keys of one log, unwrapped as they are needed.

    Safe to use from several threads.
    """

    def __init__(self, *, keystore: Keystore, master_key: bytes) -> None:
        """Raises: WrongKey, KeyInvalid, KeystoreDamaged."""
        self.master = MasterKey(master_key)
        self.keystore = keystore
        self.log_id = keystore.log_id
        if keystore.kek_id != self.master.kek_id:
            raise WrongKey(wanted=keystore.kek_id.hex(), found=self.master.kek_id.hex())
        self.tagger = Tagger(self._single(KeyPurpose.TAG))
        self.log_keys = [
            LogKey(wrapped.key_id, wrapped.epoch, LogSigner(self._unwrap(wrapped)))
            for wrapped in keystore.log_keys()
        ]
        self.signer = self.log_keys[0].signer
        self._verifiers = [LogVerifier(one.signer.public_key) for one in self.log_keys]
        self._epochs: dict[int, Sealing] = {}
        self._lock = threading.Lock()

    @property
    def first_public_key(self) -> bytes:
        """The public key that the log began with: keys/log.pub, and what people keep."""
        return self.log_keys[0].signer.public_key

    def sign_with(self, public_key: bytes) -> None:
        """Sign with this key of the log from now on. Raises: JournalForged (G2)."""
        for one in self.log_keys:
            if one.signer.public_key == public_key:
                self.signer = one.signer
                return
        raise damaged(
            seq=0,
            kind=DamageKind.PUBLIC_KEY_CHANGED,
            problem="its last epoch is signed with a key that the keystore has not",
        )

    def add_log_key(self, seed: bytes, *, epoch: int, key_id: bytes, entropy: Entropy) -> LogKey:
        """A new key of the log, durable in the keystore; nothing is signed with it yet."""
        wrapped = self.master.wrap(
            seed,
            log_id=self.log_id,
            purpose=KeyPurpose.LOG,
            key_id=key_id,
            epoch=epoch,
            entropy=entropy,
        )
        self.keystore.add_key(wrapped)
        added = LogKey(key_id, epoch, LogSigner(seed))
        self.log_keys.append(added)
        self._verifiers.append(LogVerifier(added.signer.public_key))
        return added

    def drop_log_key(self, key: LogKey) -> None:
        """Delete a key that no epoch names."""
        self.keystore.delete_key(key.key_id)
        at = self.log_keys.index(key)
        del self.log_keys[at], self._verifiers[at]

    def accepts(self, head: Head) -> bool:
        """Whether the log signed this head, with whichever of its keys and cipher."""
        return accepted_head(head, log_id=self.log_id, verifiers=self._verifiers)

    def epoch_keys(self, *, epoch: int, find: Callable[[], tuple[int, EpochClear]]) -> Sealing:
        """The keys of an epoch; `find` gives its record's number and clear part.

        Raises: KeyMissing, JournalForged, KeystoreDamaged.
        """
        found = self._epochs.get(epoch)
        if found is None:
            epoch_seq, clear = find()
            found = self.unwrap_epoch(clear, epoch=epoch, seq=epoch_seq)
            self.keep(epoch, found)
        return found

    def keep(self, epoch: int, keys: Sealing) -> None:
        """Remember an epoch's keys."""
        with self._lock:
            if len(self._epochs) >= EPOCH_KEYS_KEPT_MAX:
                self._epochs.pop(min(self._epochs))
            self._epochs[epoch] = keys

    def shred(self, up_to: int) -> int:
        """Delete the keys of the epochs up to that number; how many there were.

        Each is durable by itself: after a kill the rest is left to be deleted.
        """
        gone = self.keystore.data_keys_to(up_to)
        for wrapped in gone:
            self.keystore.delete_key(wrapped.key_id)
        with self._lock:
            self._epochs = {epoch: kept for epoch, kept in self._epochs.items() if epoch > up_to}
        return len(gone)

    def unwrap_epoch(self, clear: EpochClear, *, epoch: int, seq: int) -> Sealing:
        """The keys that a `key.epoch` record names and commits to.

        Raises: KeyMissing, JournalForged, KeystoreDamaged.
        """
        with self._lock:
            wrapped = self.keystore.data_key(clear.key_id)
        if wrapped is None:
            raise KeyMissing(
                what=f"the key of epoch {epoch}",
                remedy="put back the keystore.db that was saved last; "
                "a shredded epoch is named in `noodle history`",
            )
        keys = keys_of(self._unwrap(wrapped), log_id=self.log_id, cipher=clear.cipher)
        of_this_epoch = wrapped.epoch == epoch and wrapped.purpose == KeyPurpose.DATA.value
        if not of_this_epoch or keys.commitment != clear.commitment:
            raise damaged(
                seq=seq,
                kind=DamageKind.KEY_MISMATCH,
                problem=f"epoch {epoch} commits to another key than it names",
            )
        return keys

    def _single(self, purpose: KeyPurpose) -> bytes:
        return self._unwrap(self.keystore.single(purpose))

    def _unwrap(self, wrapped: WrappedKey) -> bytes:
        try:
            return self.master.unwrap(wrapped, log_id=self.log_id)
        except NotUnwrapped as exc:
            raise KeystoreDamaged(path=str(self.keystore.path), problem=str(exc)) from exc
