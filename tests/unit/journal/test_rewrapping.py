"""Another master key: opens with the old one or the new one, at every moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noodle_journal import verify
from noodle_journal.failures import KeyInvalid, KeySourceFailed, WrongKey
from noodle_journal.keys import MasterKey, NotUnwrapped, WrappedKey, make_key_file
from noodle_journal.keys.rewrapping import (
    REWRAP_FILE,
    current_key,
    names_of,
    rewrap,
    settle_rewrap,
)
from noodle_journal.keys.sources import (
    EnvironmentSource,
    FileSource,
    KeySource,
    ServiceSource,
)
from noodle_journal.storage.keystore import Keystore
from tests.unit.journal.place import MASTER_KEY, Place, note

NEW_KEY = bytes(range(32, 64))


class Cut(BaseException):
    """A kill, at a call of a source."""


class Cutting:
    """A source that is killed before, or after, one of its calls."""

    def __init__(self, inner: KeySource, call: str, *, after: bool) -> None:
        self.inner, self.call, self.after = inner, call, after
        self.name = inner.name

    def __getattr__(self, name: str) -> object:
        found = getattr(self.inner, name)
        if name != self.call:
            return found

        def cut(*arguments: object) -> None:
            if self.after:
                found(*arguments)
            raise Cut

        return cut


class Xor:
    """A key service that needs no network: what it wraps, only it unwraps."""

    def wrap(self, key: bytes, *, associated: bytes) -> str:
        return (associated + bytes(byte ^ 0x5A for byte in key)).hex()

    def unwrap(self, wrapped: str, *, associated: bytes) -> bytes:
        raw = bytes.fromhex(wrapped)
        if raw[: len(associated)] != associated:
            raise KeySourceFailed(source="the service", reason="bound to another log")
        return bytes(byte ^ 0x5A for byte in raw[len(associated) :])


def sources_of(place: Place, variable: str | None = None) -> dict[str, KeySource]:
    names = names_of(place.folder)
    return {
        "environment": EnvironmentSource(variable),
        "file": FileSource(place.folder),
        "kms": ServiceSource(place.folder, names.log_id, service="xor", load=lambda _: Xor()),
    }


@pytest.fixture
def filed(place: Place) -> Place:
    """A used journal whose key is in its file."""
    make_key_file(place.folder / "keys" / "master.key", MASTER_KEY)
    with place.open() as journal:
        journal.append([note("one")])
        journal.rotate(log_key=True)
    return place


def rewrapped_and_settled(place: Place, sources: dict[str, KeySource]) -> None:
    """From the file to the key service."""
    rewrap(
        place.folder,
        old_key=MASTER_KEY,
        new_key=NEW_KEY,
        before=sources["file"],
        after=sources["kms"],
        entropy=place.entropy,
    )
    settle_rewrap(place.folder, chosen="file", sources=sources)


def opened_with(place: Place, key: bytes) -> None:
    place.master_key = key
    with place.open() as journal:
        journal.append([note("on")], head=True)
    assert verify(place.folder, master_key=key).ok


@pytest.mark.parametrize("to", ["file", "kms"])
def test_every_key_is_wrapped_with_the_new_master_key(filed: Place, to: str) -> None:
    sources = sources_of(filed)
    old_bytes = [key.sealed for key in keys_in(filed)]
    rewrap(
        filed.folder,
        old_key=MASTER_KEY,
        new_key=NEW_KEY,
        before=sources["file"],
        after=sources[to],
        entropy=filed.entropy,
    )
    # Between the transaction and the end both sources are looked into.
    assert current_key(filed.folder, chosen="file", sources=sources) == NEW_KEY
    assert settle_rewrap(filed.folder, chosen=to, sources=sources) is None
    assert not (filed.folder / REWRAP_FILE).exists()
    assert current_key(filed.folder, chosen=to, sources=sources) == NEW_KEY
    assert (filed.folder / "keys" / "master.key").exists() == (to == "file")
    with pytest.raises(WrongKey):
        filed.open()
    assert none_opens_with(filed, MASTER_KEY)
    raw = b"".join(path.read_bytes() for path in filed.folder.glob("keystore.db*"))
    assert not any(sealed in raw for sealed in old_bytes)
    opened_with(filed, NEW_KEY)


def test_until_the_settings_name_the_new_source_it_is_found_there(filed: Place) -> None:
    sources = sources_of(filed)
    rewrap(
        filed.folder,
        old_key=MASTER_KEY,
        new_key=NEW_KEY,
        before=sources["file"],
        after=sources["kms"],
        entropy=filed.entropy,
    )
    for _ in range(2):
        assert settle_rewrap(filed.folder, chosen="file", sources=sources) == "kms"
        assert current_key(filed.folder, chosen="file", sources=sources) == NEW_KEY
    assert settle_rewrap(filed.folder, chosen="kms", sources=sources) is None
    assert not (filed.folder / REWRAP_FILE).exists()


@pytest.mark.parametrize(
    ("source", "call", "after", "key"),
    [
        ("kms", "put_next", False, MASTER_KEY),
        ("kms", "put_next", True, MASTER_KEY),
        ("kms", "take_next", False, NEW_KEY),
        ("kms", "take_next", True, NEW_KEY),
        ("file", "drop", False, NEW_KEY),
        ("file", "drop", True, NEW_KEY),
    ],
)
def test_cut_off_anywhere_it_opens_with_one_of_both(
    filed: Place, source: str, call: str, after: bool, key: bytes
) -> None:
    sources = sources_of(filed)
    cutting: dict[str, KeySource] = dict(sources)
    cutting[source] = Cutting(sources[source], call, after=after)  # type: ignore[assignment]
    with pytest.raises(Cut):
        rewrapped_and_settled(filed, cutting)
    assert current_key(filed.folder, chosen="file", sources=sources) == key
    left = settle_rewrap(filed.folder, chosen="file", sources=sources)
    assert left == (None if key == MASTER_KEY else "kms")
    assert current_key(filed.folder, chosen="file", sources=sources) == key
    assert not list((filed.folder / "keys").glob("*.next"))
    opened_with(filed, key)


def test_a_wrong_old_key_changes_nothing(filed: Place) -> None:
    sources = sources_of(filed)
    with pytest.raises(WrongKey):
        rewrap(
            filed.folder,
            old_key=NEW_KEY,
            new_key=bytes(32),
            before=sources["file"],
            after=sources["file"],
            entropy=filed.entropy,
        )
    assert not (filed.folder / REWRAP_FILE).exists()
    opened_with(filed, MASTER_KEY)


def test_a_wrapped_key_file_that_is_something_else_is_named(filed: Place) -> None:
    path = filed.folder / "keys" / "master.wrapped"
    path.write_text('{"format":1,"service":3}')
    path.chmod(0o600)
    with pytest.raises(KeyInvalid):
        sources_of(filed)["kms"].read()


# -- the keyring: the library and a backend of it that is a file --------------------

KEYRING = """
import sys
from noodle_journal.keys.sources import KeyringSource
source = KeyringSource(bytes(16))
key = bytes(range(32))
assert source.read_next() is None
source.put_next(key)
source.drop_next()
source.put_next(key)
source.take_next()
source.take_next()
assert source.read_next() is None
assert source.read() == key
print(source.read().hex())
source.drop()
try:
    source.read()
except Exception as error:
    print(error.code)
"""
BACKEND = """
import json, pathlib
from keyring.backend import KeyringBackend
FILE = pathlib.Path(__file__).with_name("kept.json")
class InFile(KeyringBackend):
    priority = 9
    def _all(self):
        return json.loads(FILE.read_text()) if FILE.exists() else {}
    def get_password(self, service, user):
        return self._all().get(f"{service}/{user}")
    def set_password(self, service, user, password):
        FILE.write_text(json.dumps({**self._all(), f"{service}/{user}": password}))
    def delete_password(self, service, user):
        found = self._all()
        del found[f"{service}/{user}"]
        FILE.write_text(json.dumps(found))
"""


def run_keyring(tmp_path: Path, backend: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "in_file.py").write_text(BACKEND)
    environment = {**os.environ, "PYTHON_KEYRING_BACKEND": backend, "PYTHONPATH": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-c", KEYRING],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_keyring_keeps_a_key_and_the_next_one(tmp_path: Path) -> None:
    ended = run_keyring(tmp_path, "in_file.InFile")
    assert ended.stdout.split() == [bytes(range(32)).hex(), "key_missing"], ended.stderr


def test_a_keyring_that_fails_is_named(tmp_path: Path) -> None:
    ended = run_keyring(tmp_path, "keyring.backends.fail.Keyring")
    assert "the keyring does not give the master key" in ended.stderr


def keys_in(place: Place) -> list[WrappedKey]:
    keystore = Keystore(place.folder, read_only=True)
    try:
        return list(keystore.all_keys())
    finally:
        keystore.close()


def none_opens_with(place: Place, master: bytes) -> bool:
    keystore = Keystore(place.folder, read_only=True)
    try:
        for key in keystore.all_keys():
            with pytest.raises(NotUnwrapped):
                MasterKey(master).unwrap(key, log_id=keystore.log_id)
        return True
    finally:
        keystore.close()
