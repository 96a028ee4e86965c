"""What people do with the keys of a home: look, rewrap, recover, hand the public one out.

Owns the order of a rewrap: what is under way is ended first, the home's lock is held, and
the settings name the new source before the old one is forgotten by the search. Rotation is
the writer's own: whoever holds the home does it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.execute.failures import KeyNotGiven
from noodle_engine.execute.home.layout import Home, hold_alone
from noodle_engine.execute.home.settings import Options, settle
from noodle_engine.execute.keys.finding import (
    chosen_source,
    master_key_of,
    settle_keys,
    sources_of,
)
from noodle_journal import Reader
from noodle_journal.failures import JournalExists, KeyInvalid, KeyMissing, WrongKey
from noodle_journal.format.checkpoints import origin_of
from noodle_journal.keys import (
    KEY_VARIABLE,
    encode_recovery,
    kek_id,
    make_key_file,
    parse_master_key,
    read_key_file,
    read_public_key,
    write_new_file,
)
from noodle_journal.keys.rewrapping import names_of, rewrap, under_way
from noodle_journal.keys.sources import KeySource

__all__ = [
    "KeyRecoveredView",
    "KeyView",
    "NewKeyView",
    "PublicKeyView",
    "RewrappedView",
    "key_in",
    "key_view",
    "make_key",
    "public_key_of",
    "recover_key",
    "rewrap_home",
    "verifier_key",
]

FORMAT: Final = 1
_SETTINGS_FILE: Final = "runtime_upgrade_config.json"
_SETTINGS_BYTES_MAX: Final = 1 << 20
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class KeyView:
    """The answer of key show; no secret is in it.

    `key_source` is where the master key is looked for, `kek_id` its name. `epoch` is the last
    one; with `encrypted` false its records are legible. `rewrap_left` says that a rewrap is not
    ended: until `settings_wanted` is named as `encryption.key_source`, or the next change.
    """

    key_source: str
    kek_id: str
    log_id: str
    epoch: int
    epoch_since_ms: int | None
    epoch_records: int
    encrypted: bool
    public_key: str
    first_public_key: str
    verifier_key: str
    public_key_file: str
    rewrap_left: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class PublicKeyView:
    """The answer of key export-public. `verifier_key` is the same, as C2SP's tools take it."""

    log_id: str
    public_key: str
    verifier_key: str
    file: str | None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class NewKeyView:
    """The answer of key init: a master key that no home uses yet."""

    file: str
    kek_id: str
    recovery_key: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class RewrappedView:
    """The answer of key rewrap. The recovery key is shown once and kept nowhere.

    `settings_wanted` is what `encryption.key_source` has to be set to, by hand;
    `variable_wins` says that NOODLE_JOURNAL_KEY is set still, to the old key.
    """

    key_source: str
    kek_id: str
    old_kek_id: str
    recovery_key: str
    settings_wanted: str | None
    variable_wins: bool
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class KeyRecoveredView:
    """The answer of key recover: where the key is now.

    `kept` is false where the caller keeps it. `settings_wanted` is what
    `encryption.key_source` has to be set to, by hand.
    """

    key_source: str
    kek_id: str
    kept: bool
    settings_wanted: str | None
    format: int = FORMAT


def key_view(home: Home, environment: Mapping[str, str], options: Options) -> KeyView:
    """What there is to know of the keys. Raises what opening the journal raises."""
    settled = settle(home, environment, options)
    key = master_key_of(home, environment, settled)
    with Reader(home.path, master_key=key) as reader:
        epoch = reader.epoch
        return KeyView(
            key_source=chosen_source(home, environment, settled),
            kek_id=kek_id(key).hex(),
            log_id=reader.log_id,
            epoch=epoch.number,
            epoch_since_ms=epoch.at_ns // 1_000_000 if epoch.number else None,
            epoch_records=epoch.records,
            encrypted=not epoch.plain,
            public_key=reader.public_key.hex(),
            first_public_key=reader.first_public_key.hex(),
            verifier_key=verifier_key(bytes.fromhex(reader.log_id), reader.first_public_key),
            public_key_file=str(home.public_key_file),
            rewrap_left=under_way(home.path),
        )


def verifier_key(log_id: bytes, public_key: bytes) -> str:
    """A public key as C2SP signed-note writes verifier keys: name, hash, key."""
    name = origin_of(log_id)
    typed = b"\x01" + public_key
    key_hash = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    return f"{name}+{key_hash.hex()}+{base64.b64encode(typed).decode()}"


def make_key(file: Path, entropy: Callable[[int], bytes]) -> NewKeyView:
    """A new master key in a new file (0600). Raises JournalExists, JournalUnreadable."""
    made = entropy(_KEY_BYTES)
    with _new(file):
        make_key_file(file, made)
    return NewKeyView(str(file.absolute()), kek_id(made).hex(), encode_recovery(made))


@contextmanager
def _new(file: Path) -> Iterator[None]:
    """Say of a file that is there already what a user does about that."""
    try:
        yield
    except JournalExists as exc:
        raise JournalExists(path=str(file), remedy="name a file that is not there yet") from exc


def key_in(file: Path) -> bytes:
    """The master key in a file. Raises KeyMissing, KeyInvalid, KeyExposed."""
    return parse_master_key(read_key_file(file), source=str(file))


def public_key_of(home: Home, file: Path | None) -> PublicKeyView:
    """The key that the log began with, into a new file if one is named; no secret is needed.

    Raises KeyMissing, KeyInvalid, JournalExists, JournalUnreadable.
    """
    home.check()
    found = read_public_key(home.public_key_file)
    log_id = names_of(home.path).log_id
    if file is not None:
        with _new(file):
            write_new_file(file, (found.hex() + "\n").encode(), mode=0o644)
    written = None if file is None else str(file.absolute())
    return PublicKeyView(log_id.hex(), found.hex(), verifier_key(log_id, found), written)


def rewrap_home(
    home: Home,
    environment: Mapping[str, str],
    options: Options,
    *,
    to: str | None,
    new_key: bytes | None,
    entropy: Callable[[int], bytes],
) -> RewrappedView:
    """Another master key for this home, kept by the source `to` or the one that has it now.

    Raises HomeHeld while a process holds the home, KeyNotGiven where the environment is to
    have a key that was not given, and what sources, keystore and disk raise. After a failure
    or a kill the journal opens with the old key or the new one, and the next writer ends it.
    """
    lock = hold_alone(home)
    try:
        settled = settle(home, environment, options)
        settle_keys(home, environment, settled)
        old_key = master_key_of(home, environment, settled)
        chosen = chosen_source(home, environment, settled)
        target = to or chosen
        if target == "environment" and new_key is None:
            raise KeyNotGiven
        key = entropy(_KEY_BYTES) if new_key is None else new_key
        sources = sources_of(home.path, environment, settled)
        rewrap(
            home.path,
            old_key=old_key,
            new_key=key,
            before=sources[chosen],
            after=sources[target],
            entropy=entropy,
        )
        wanted = settle_keys(home, environment, settled)
        if wanted is not None and _name_source(home, wanted):
            wanted = settle_keys(home, environment, settle(home, environment, options))
    finally:
        lock.release()
    variable_wins = wanted is not None and KEY_VARIABLE in environment
    return RewrappedView(
        target,
        kek_id(key).hex(),
        kek_id(old_key).hex(),
        encode_recovery(key),
        settings_wanted=None if variable_wins else wanted,
        variable_wins=variable_wins,
    )


def _name_source(home: Home, source: str) -> bool:
    """Let the home's own settings name the source, where they name one. False: not there."""
    path = home.config / _SETTINGS_FILE
    try:
        raw = read_whole(path, bytes_max=_SETTINGS_BYTES_MAX)
        content = orjson.loads(raw or b"{}")
        if "key_source" not in content.get("encryption", {}):
            return False
        content["encryption"]["key_source"] = source
        text = orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"
        write_whole(path, text, path.stat().st_mode & 0o777, replace=True)
    except (DiskError, OSError, orjson.JSONDecodeError, AttributeError):
        return False  # then the answer says what to write
    return True


def recover_key(
    home: Home,
    environment: Mapping[str, str],
    options: Options,
    text: str,
    *,
    to: str | None = None,
) -> KeyRecoveredView:
    """Put a lost master key back from what was written down, into its source or `to`.

    Raises KeyInvalid for a text that is no key, WrongKey for another journal's, JournalExists
    where the source has another key, HomeHeld, and what the source raises; nothing is changed
    then.
    """
    home.check()
    key = parse_master_key(text, source="what was given")
    wanted = names_of(home.path).kek_id
    if kek_id(key) != wanted:
        raise WrongKey(wanted=wanted.hex(), found=kek_id(key).hex())
    lock = hold_alone(home)
    try:
        settled = settle(home, environment, options)
        chosen = chosen_source(home, environment, settled)
        source = sources_of(home.path, environment, settled)[to or chosen]
        if source.name != "environment" and not _has(source, key):
            source.put_next(key)
            source.take_next()
        named = source.name == chosen or _name_source(home, source.name)
    finally:
        lock.release()
    return KeyRecoveredView(
        source.name,
        wanted.hex(),
        kept=source.name != "environment",
        settings_wanted=None if named else source.name,
    )


def _has(source: KeySource, key: bytes) -> bool:
    """Whether a source has this key. Raises JournalExists where it has another, which stays."""
    try:
        found = source.read()
    except (KeyMissing, KeyInvalid):
        return False
    if found != key:
        raise JournalExists(
            path=f"another key, of id {kek_id(found).hex()}, in the source `{source.name}`,",
            remedy="put it away first: it may be all that another journal has",
        )
    return True
