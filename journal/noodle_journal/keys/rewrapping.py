"""Another master key for a journal: every wrapped key is wrapped anew, in one transaction.

Owns the order between the two places that a rewrap changes, the source of the master key
and the keystore, and what is made of a rewrap that was cut off. The caller holds the
home's lock, and no writer has the journal open.

A small file, keys/rewrap.json, stands from the first write to the last: while it is
there, the key is looked for in both sources, by its id. So the journal opens at every
moment, with the old key or the new one.

Laws
V1. A cut at any point leaves a journal that opens with the old master key, or one that
    opens with the new; `settle_rewrap` ends it on that side.
V2. After it no key in the keystore opens with the old master key, nor do the bytes that
    SQLite no longer uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from noodle_journal.errors import NoodleError
from noodle_journal.failures import KeyInvalid, KeystoreDamaged, WrongKey
from noodle_journal.keys.files import (
    draft_of,
    read_key_file,
    remove_new_file,
    write_new_file,
)
from noodle_journal.keys.master import KeyPurpose, MasterKey, NotUnwrapped, kek_id
from noodle_journal.keys.sources import KeySource
from noodle_journal.storage.keystore import Keystore

__all__ = [
    "REWRAP_FILE",
    "Names",
    "current_key",
    "names_of",
    "rewrap",
    "settle_rewrap",
    "under_way",
]

REWRAP_FILE: Final = "keys/rewrap.json"

Sources = Mapping[str, KeySource]


@dataclass(frozen=True, slots=True)
class Names:
    """What a keystore says without any key: its log's id, and its master key's."""

    log_id: bytes
    kek_id: bytes


@dataclass(frozen=True, slots=True)
class _Rewrap:
    before: str
    after: str
    kek_id: bytes


def names_of(folder: Path) -> Names:
    """Raises: KeystoreAbsent, KeystoreDamaged, JournalUnreadable."""
    keystore = Keystore(folder, read_only=True)
    try:
        return Names(keystore.log_id, keystore.kek_id)
    finally:
        keystore.close()


def under_way(folder: Path) -> bool:
    """Whether a rewrap was begun, and not settled."""
    path = folder / REWRAP_FILE
    return path.exists() or draft_of(path).exists()


def current_key(folder: Path, *, chosen: str, sources: Sources) -> bytes:
    """The master key: from the chosen source, or where a rewrap that is not settled left it.

    Raises: as the sources; WrongKey where none of them has the one that is wanted.
    """
    found = _read(folder)
    if found is None:
        return sources[chosen].read()
    wanted = names_of(folder).kek_id
    first: NoodleError | None = None
    for name in dict.fromkeys((found.after, found.before, chosen)):
        source = sources[name]
        for read in (source.read_next, source.read):
            try:
                key = read()
            except NoodleError as exc:
                first = first or exc
                continue
            if key is not None and kek_id(key) == wanted:
                return key
    raise first or WrongKey(wanted=wanted.hex(), found=found.kek_id.hex())


def rewrap(
    folder: Path,
    *,
    old_key: bytes,
    new_key: bytes,
    before: KeySource,
    after: KeySource,
    entropy: Callable[[int], bytes],
) -> None:
    """Wrap every key of the log with `new_key`, which `after` keeps from here on.

    Durable on return, but for the old source's key: `settle_rewrap` ends that. After a
    failure or a kill see law V1.

    Raises: WrongKey, KeystoreDamaged, JournalFull, JournalIoError, and as the sources.
    """
    old, new = MasterKey(old_key), MasterKey(new_key)
    keystore = Keystore(folder)
    try:
        if keystore.kek_id != old.kek_id:
            raise WrongKey(wanted=keystore.kek_id.hex(), found=old.kek_id.hex())
        content = {"from": before.name, "kek_id": new.kek_id.hex(), "to": after.name}
        remove_new_file(folder / REWRAP_FILE)
        write_new_file(folder / REWRAP_FILE, orjson.dumps(content) + b"\n", mode=0o600)
        after.put_next(new_key)
        wrapped = []
        for key in keystore.all_keys():
            try:
                opened = old.unwrap(key, log_id=keystore.log_id)
            except NotUnwrapped as exc:
                raise KeystoreDamaged(path=str(keystore.path), problem=str(exc)) from exc
            wrapped.append(
                new.wrap(
                    opened,
                    log_id=keystore.log_id,
                    purpose=KeyPurpose(key.purpose),
                    key_id=key.key_id,
                    epoch=key.epoch,
                    entropy=entropy,
                )
            )
        keystore.rewrap(wrapped, new.kek_id)
    finally:
        keystore.close()


def settle_rewrap(folder: Path, *, chosen: str, sources: Sources) -> str | None:
    """End a rewrap, or undo one that was cut off before its transaction.

    Returns the source that the settings have to name, where they name another: until
    they do, both are looked into. Nothing where there is nothing to settle.

    Raises: as the sources; then it can be settled again.
    """
    found = _read(folder)
    if found is None:
        remove_new_file(folder / REWRAP_FILE)  # killed before it began
        return None
    after, before = sources[found.after], sources[found.before]
    if names_of(folder).kek_id != found.kek_id:
        after.drop_next()
        remove_new_file(folder / REWRAP_FILE)
        return None
    after.take_next()
    if before.name != after.name:
        before.drop()
    if chosen == after.name:
        remove_new_file(folder / REWRAP_FILE)
        return None
    return after.name


def _read(folder: Path) -> _Rewrap | None:
    path = folder / REWRAP_FILE
    if not path.exists():
        return None
    try:
        content = orjson.loads(read_key_file(path))
        return _Rewrap(content["from"], content["to"], bytes.fromhex(content["kek_id"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise KeyInvalid(source=str(path), reason="it is not what Noodle wrote") from exc
