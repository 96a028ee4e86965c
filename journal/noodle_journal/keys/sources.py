"""Where a master key is kept: a file, the environment, the system's keyring, a key service.

Owns the two places that each source has for a key: the one in use, and the next one,
which a rewrap puts beside it before anything is wrapped with it.

Laws
U1. The key in use is replaced only by the next one, and only when that is asked for.
U2. A source that fails says so within its time limit, and never gives a made-up key.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from noodle_journal.failures import KeyInvalid, KeyMissing, KeySourceFailed
from noodle_journal.keys.files import (
    KEY_VARIABLE,
    MASTER_KEY_FILE,
    make_key_file,
    os_failure,
    read_key_file,
    remove_file,
    remove_new_file,
    sync_folder,
    write_new_file,
)
from noodle_journal.keys.recovery import parse_master_key

__all__ = [
    "WRAPPED_KEY_FILE",
    "EnvironmentSource",
    "FileSource",
    "KeyService",
    "KeySource",
    "KeyringSource",
    "ServiceSource",
]

WRAPPED_KEY_FILE: Final = "keys/master.wrapped"
NEXT: Final = ".next"
KEYRING_SERVICE: Final = "noodle journal"
_WRAPPED_FORMAT: Final = 1


class KeySource(Protocol):
    """One source; `name` is what `encryption.key_source` calls it.

    Raises, from each call: KeyMissing, KeyInvalid, KeyExposed, KeySourceFailed,
    JournalFull, JournalUnreadable.
    """

    @property
    def name(self) -> str:
        """What `encryption.key_source` calls it."""

    def read(self) -> bytes:
        """The master key in use. Raises KeyMissing where there is none."""

    def read_next(self) -> bytes | None:
        """The next one, or nothing."""

    def put_next(self, key: bytes) -> None:
        """Keep `key` as the next one, durable on return, instead of one that is there."""

    def take_next(self) -> None:
        """Let the next one be the one in use; without one nothing happens."""

    def drop_next(self) -> None:
        """Forget the next one."""

    def drop(self) -> None:
        """Forget the one in use: another source has taken its place."""


class EnvironmentSource:
    """NOODLE_JOURNAL_KEY: whoever starts Noodle keeps the key, and changes it."""

    name = "environment"

    def __init__(self, value: str | None) -> None:
        self._value = value

    def read(self) -> bytes:
        """As `KeySource`."""
        if self._value is None:
            raise KeyMissing(
                what=KEY_VARIABLE, remedy=f"set {KEY_VARIABLE}, or `encryption.key_source`"
            )
        return parse_master_key(self._value, source=KEY_VARIABLE)

    def read_next(self) -> bytes | None:
        """As `KeySource`."""
        return None

    def put_next(self, key: bytes) -> None:
        """Nothing: the caller has it."""

    def take_next(self) -> None:
        """Nothing."""

    def drop_next(self) -> None:
        """Nothing."""

    def drop(self) -> None:
        """Nothing: the variable is not ours to unset."""


class _InFiles:
    """What a source has whose two places are a file and one beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = path.with_name(path.name + NEXT)

    def take_next(self) -> None:
        """As `KeySource`."""
        _rename(self._next, self._path)

    def drop_next(self) -> None:
        """As `KeySource`."""
        remove_new_file(self._next)

    def drop(self) -> None:
        """As `KeySource`."""
        remove_file(self._path)


class FileSource(_InFiles):
    """keys/master.key of a home, readable by its owner alone."""

    name = "file"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / MASTER_KEY_FILE)

    def read(self) -> bytes:
        """As `KeySource`."""
        return parse_master_key(read_key_file(self._path), source=str(self._path))

    def read_next(self) -> bytes | None:
        """As `KeySource`."""
        if not self._next.exists():
            return None
        return parse_master_key(read_key_file(self._next), source=str(self._next))

    def put_next(self, key: bytes) -> None:
        """As `KeySource`."""
        self.drop_next()
        make_key_file(self._next, key)


class KeyringSource:
    """The system's keyring, through the library `keyring` (extra `keyring`).

    Its backend is the one that `keyring` chooses, or PYTHON_KEYRING_BACKEND names. The entry
    is of service "noodle journal" and named after the log.
    """

    name = "keyring"

    def __init__(self, log_id: bytes) -> None:
        self._user = log_id.hex()

    def read(self) -> bytes:
        """As `KeySource`."""
        found = self._get(self._user)
        if found is None:
            raise KeyMissing(
                what=f"the entry {self._user} of `{KEYRING_SERVICE}` in the keyring",
                remedy="unlock or put back that keyring, or `noodle key recover` "
                "with the recovery key",
            )
        return found

    def read_next(self) -> bytes | None:
        """As `KeySource`."""
        return self._get(self._user + NEXT)

    def put_next(self, key: bytes) -> None:
        """As `KeySource`."""
        self._call("set_password", KEYRING_SERVICE, self._user + NEXT, key.hex())

    def take_next(self) -> None:
        """As `KeySource`."""
        key = self.read_next()
        if key is not None:
            self._call("set_password", KEYRING_SERVICE, self._user, key.hex())
            self.drop_next()

    def drop_next(self) -> None:
        """As `KeySource`."""
        self._drop(self._user + NEXT)

    def drop(self) -> None:
        """As `KeySource`."""
        self._drop(self._user)

    def _get(self, user: str) -> bytes | None:
        text = self._call("get_password", KEYRING_SERVICE, user)
        return None if text is None else parse_master_key(str(text), source="the keyring")

    def _drop(self, user: str) -> None:
        if self._call("get_password", KEYRING_SERVICE, user) is not None:
            self._call("delete_password", KEYRING_SERVICE, user)

    def _call(self, name: str, *arguments: str) -> Any:
        try:
            library = import_module("keyring")
        except ImportError as exc:
            raise KeySourceFailed(
                source="the keyring",
                reason="the library `keyring` is not installed",
                remedy="pip install 'noodle-upgrade[keyring]'",
            ) from exc
        try:
            return getattr(library, name)(*arguments)
        except library.errors.KeyringError as exc:
            reason = str(exc).strip().partition("\n")[0] or type(exc).__name__
            raise KeySourceFailed(source="the keyring", reason=reason) from exc


class KeyService(Protocol):
    """A key service (KMS): it wraps a master key with a key that never leaves it.

    A plug-in is a class that is made without arguments and takes its own settings from the
    environment, as its makers document them; entry point group `noodle.key_services`.
    Both calls end within seconds, and raise KeySourceFailed where the service fails.
    """

    def wrap(self, key: bytes, *, associated: bytes) -> str:
        """`key` wrapped, bound to `associated`; at most 4096 characters of ASCII."""

    def unwrap(self, wrapped: str, *, associated: bytes) -> bytes:
        """What was wrapped, with the same `associated`."""


class ServiceSource(_InFiles):
    """keys/master.wrapped: the master key, wrapped by a key service that it names."""

    name = "kms"

    def __init__(
        self, folder: Path, log_id: bytes, *, service: str, load: Callable[[str], KeyService]
    ) -> None:
        """`service` is who wraps a new key; `load` gives one by its name."""
        super().__init__(folder / WRAPPED_KEY_FILE)
        self._log_id = log_id
        self._service = service
        self._load = load

    def read(self) -> bytes:
        """As `KeySource`."""
        found = self._read(self._path)
        if found is None:
            raise KeyMissing(
                what=str(self._path),
                remedy="put the file back, or `noodle key recover` with the recovery key",
            )
        return found

    def read_next(self) -> bytes | None:
        """As `KeySource`."""
        return self._read(self._next)

    def put_next(self, key: bytes) -> None:
        """As `KeySource`."""
        wrapped = self._load(self._service).wrap(key, associated=self._log_id)
        content = {"format": _WRAPPED_FORMAT, "service": self._service, "wrapped": wrapped}
        self.drop_next()
        write_new_file(self._next, orjson.dumps(content) + b"\n", mode=0o600)

    def _read(self, path: Path) -> bytes | None:
        if not path.exists():
            return None
        text = read_key_file(path)
        try:
            content = orjson.loads(text)
            service, wrapped = content["service"], content["wrapped"]
            if content["format"] != _WRAPPED_FORMAT or not isinstance(wrapped, str):
                raise ValueError
        except (ValueError, KeyError, TypeError) as exc:
            raise KeyInvalid(source=str(path), reason="it is not what Noodle wrote") from exc
        return self._load(str(service)).unwrap(wrapped, associated=self._log_id)


def _rename(old: Path, new: Path) -> None:
    try:
        if old.exists():
            os.rename(old, new)
            sync_folder(new.parent)
    except OSError as exc:
        raise os_failure(new, exc) from exc
