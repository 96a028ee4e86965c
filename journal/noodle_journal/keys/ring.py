"""The keys of one log, unwrapped as they are needed.

Owns the way from the master key to an epoch's keys. Never stores a key that is
not wrapped, and never makes one up.

Laws
G1. An epoch's key is used only where the epoch's record commits to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from noodle_journal.failures import (
    DamageKind,
    KeyMissing,
    KeystoreDamaged,
    WrongKey,
    damaged,
)
from noodle_journal.format.checkpoints import LogSigner, LogVerifier
from noodle_journal.format.clear import EpochClear
from noodle_journal.format.sealing import EpochKeys, Tagger
from noodle_journal.keys import KeyPurpose, MasterKey, NotUnwrapped
from noodle_journal.storage.keystore import Keystore

EPOCH_KEYS_KEPT_MAX = 64


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
        self.signer = LogSigner(self._single(KeyPurpose.LOG))
        self.verifier = LogVerifier(self.signer.public_key)
        self._epochs: dict[int, EpochKeys] = {}
        self._lock = threading.Lock()

    def epoch_keys(self, *, epoch: int, find: Callable[[], tuple[int, EpochClear]]) -> EpochKeys:
        """The keys of an epoch; `find` gives its record's number and clear part.

        Raises: KeyMissing, JournalForged, KeystoreDamaged.
        """
        found = self._epochs.get(epoch)
        if found is None:
            epoch_seq, clear = find()
            found = self.unwrap_epoch(clear, epoch=epoch, seq=epoch_seq)
            self.keep(epoch, found)
        return found

    def keep(self, epoch: int, keys: EpochKeys) -> None:
        """Remember an epoch's keys."""
        with self._lock:
            if len(self._epochs) >= EPOCH_KEYS_KEPT_MAX:
                self._epochs.pop(min(self._epochs))
            self._epochs[epoch] = keys

    def unwrap_epoch(self, clear: EpochClear, *, epoch: int, seq: int) -> EpochKeys:
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
        try:
            data_key = self.master.unwrap(wrapped, log_id=self.log_id)
        except NotUnwrapped as exc:
            raise KeystoreDamaged(path=str(self.keystore.path), problem=str(exc)) from exc
        keys = EpochKeys(data_key=data_key, log_id=self.log_id)
        of_this_epoch = wrapped.epoch == epoch and wrapped.purpose == KeyPurpose.DATA.value
        if not of_this_epoch or keys.commitment != clear.commitment:
            raise damaged(
                seq=seq,
                kind=DamageKind.KEY_MISMATCH,
                problem=f"epoch {epoch} commits to another key than it names",
            )
        return keys

    def _single(self, purpose: KeyPurpose) -> bytes:
        wrapped = self.keystore.single(purpose)
        try:
            return self.master.unwrap(wrapped, log_id=self.log_id)
        except NotUnwrapped as exc:
            raise KeystoreDamaged(path=str(self.keystore.path), problem=str(exc)) from exc
