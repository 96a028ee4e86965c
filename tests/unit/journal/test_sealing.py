"""Laws S1, S2, K1 to K3, L1: keys, nonces, wrapping, clear parts."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from noodle_journal import (
    decode_recovery,
    encode_recovery,
    kek_id,
    load_master_key,
    make_key_file,
    read_public_key,
)
from noodle_journal.failures import JournalExists, KeyExposed, KeyInvalid, KeyMissing
from noodle_journal.format.canonical import NotCanonical
from noodle_journal.format.clear import (
    EpochClear,
    GivenUp,
    RetentionClear,
    StateClear,
    TreeMark,
    decode_epoch,
    decode_retention,
    decode_state,
    encode_epoch,
    encode_retention,
    encode_state,
)
from noodle_journal.format.merkle import Frontier
from noodle_journal.format.records import NO_TAG
from noodle_journal.format.sealing import EpochKeys, NotAuthentic, Tagger, hkdf
from noodle_journal.keys import KeyPurpose, MasterKey, NotUnwrapped, WrappedKey

KEY, LOG = bytes(range(32)), b"l" * 16


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=32), st.binary(max_size=40))
def test_key_derivation_is_rfc_5869(key: bytes, salt: bytes, info: bytes) -> None:
    expected = HKDF(hashes.SHA256(), 32, salt or None, info).derive(key)
    assert hkdf(key=key, salt=salt, info=info) == expected


def test_a_record_opens_only_as_it_was_sealed() -> None:
    """S1: key, header, nonce and every bit count."""
    keys = EpochKeys(data_key=KEY, log_id=LOG)
    nonce, sealed = keys.seal(associated=b"header", padded=b"p" * 64, random16=bytes(16))
    assert keys.open(associated=b"header", nonce=nonce, sealed=sealed) == b"p" * 64
    other = EpochKeys(data_key=KEY, log_id=b"m" * 16)
    for opener, header, its_nonce, text in [
        (other, b"header", nonce, sealed),
        (keys, b"headex", nonce, sealed),
        (keys, b"header", bytes(12), sealed),
        (keys, b"header", nonce, sealed[:-1]),
        (keys, b"header", nonce, b""),
        (keys, b"header", b"", sealed),
    ]:
        with pytest.raises(NotAuthentic):
            opener.open(associated=header, nonce=its_nonce, sealed=text)


def test_a_repeated_random_source_does_not_repeat_a_nonce() -> None:
    """S2: a cloned machine seals something else under the same random bytes."""
    keys = EpochKeys(data_key=KEY, log_id=LOG)
    nonces = {
        keys.seal(associated=header, padded=text, random16=bytes(16))[0]
        for header in (b"a", b"b")
        for text in (b"x", b"y")
    }
    assert len(nonces) == 4


def test_tags_are_per_upgrade_and_per_log() -> None:
    first, second = Tagger(KEY), Tagger(bytes(32))
    assert first.tag(None) == NO_TAG
    assert first.tag("a") == first.tag("a") != first.tag("b")
    assert first.tag("a") != second.tag("a")
    for at in range(Tagger.KNOWN_MAX + 10):  # the memory of tags is bounded
        first.tag(str(at))
    assert first.tag("a") == Tagger(KEY).tag("a")


@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_key_gives_the_master_key_back(key: bytes) -> None:
    """K1, however it is typed."""
    text = encode_recovery(key)
    assert decode_recovery(text) == key
    assert decode_recovery(text.lower().replace("-", " ").replace("o", "0")) == key
    assert len(text.split("-")) == 8


@given(st.integers(0, 55), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_one_wrong_letter_of_a_recovery_key_is_found(at: int, letter: str) -> None:
    """K1."""
    text = encode_recovery(KEY).replace("-", "")
    if text[at] == letter:
        return
    with pytest.raises(KeyInvalid):
        decode_recovery(text[:at] + letter + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "A", "A" * 55, "A" * 57, "é" * 56, "=" * 56])
def test_what_is_no_recovery_key_is_refused(text: str) -> None:
    with pytest.raises(KeyInvalid):
        decode_recovery(text)


def test_a_wrapped_key_opens_only_in_its_place() -> None:
    """K2."""
    master = MasterKey(KEY)
    wrapped = master.wrap(
        b"k" * 32,
        log_id=LOG,
        purpose=KeyPurpose.DATA,
        key_id=b"i" * 16,
        epoch=3,
        entropy=bytes,
    )
    assert master.unwrap(wrapped, log_id=LOG) == b"k" * 32
    assert wrapped.kek_id == kek_id(KEY)
    changed: list[WrappedKey] = [
        replace(wrapped, key_id=b"j" * 16),
        replace(wrapped, purpose="tag"),
        replace(wrapped, epoch=4),
        replace(wrapped, kek_id=bytes(16)),
        replace(wrapped, nonce=bytes(12)),
        replace(wrapped, sealed=bytes(48)),
    ]
    for other in changed:
        with pytest.raises(NotUnwrapped):
            master.unwrap(other, log_id=LOG)
    with pytest.raises(NotUnwrapped):
        master.unwrap(wrapped, log_id=bytes(16))
    with pytest.raises(NotUnwrapped):
        MasterKey(bytes(32)).unwrap(wrapped, log_id=LOG)


def test_a_key_file_is_private_and_never_written_over(tmp_path: Path) -> None:
    """K3."""
    path = tmp_path / "master.key"
    make_key_file(path, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_master_key(variable=None, file=path) == KEY
    with pytest.raises(JournalExists):
        make_key_file(path, bytes(32))
    assert load_master_key(variable=None, file=path) == KEY
    assert os.listdir(tmp_path) == ["master.key"]


def test_a_set_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_key_file(path, KEY)
    other = bytes(32)
    assert load_master_key(variable=other.hex(), file=path) == other
    assert load_master_key(variable=encode_recovery(other), file=path) == other
    with pytest.raises(KeyInvalid):
        load_master_key(variable="", file=path)  # set, but no key: never the file instead


def test_bad_key_files_have_their_own_codes(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(KeyMissing):
        load_master_key(variable=None, file=path)
    with pytest.raises(KeyMissing):
        load_master_key(variable=None, file=None)
    make_key_file(path, KEY)
    path.chmod(0o640)
    with pytest.raises(KeyExposed):
        load_master_key(variable=None, file=path)
    path.chmod(0o600)
    for text in (b"", b"zz" * 32, b"\xff" * 64, KEY.hex().encode()[:-1]):
        path.write_bytes(text)
        with pytest.raises(KeyInvalid):
            load_master_key(variable=None, file=path)
    with pytest.raises(KeyInvalid):
        read_public_key(path)
    with pytest.raises(KeyInvalid):
        MasterKey(b"short")


MARK = TreeMark.of(Frontier(5, [b"a" * 32, b"b" * 32]))


@pytest.mark.parametrize("gave_up", [None, GivenUp(9, b"r" * 32)])
@pytest.mark.parametrize("signature", [None, b"s" * 64])
def test_clear_parts_read_back_as_written(gave_up: GivenUp | None, signature: bytes | None) -> None:
    """L1."""
    epoch = EpochClear(b"k" * 16, b"e" * 16, b"c" * 32, b"p" * 32, MARK, signature, gave_up)
    assert decode_epoch(encode_epoch(epoch)) == epoch
    state = StateClear(MARK)
    assert decode_state(encode_state(state)) == state
    retention = RetentionClear(1, 2, 3, "log_retention_days = 90")
    assert decode_retention(encode_retention(retention)) == retention


@given(st.binary(max_size=200))
def test_what_a_clear_part_accepts_has_its_exact_length(data: bytes) -> None:
    """L1: nothing can move between a clear part and what follows it."""
    text = encode_state(StateClear(MARK))
    for other in (text + data, text[: -1 - len(data) % len(text)]):
        if other == text:
            continue
        with pytest.raises(NotCanonical):
            decode_state(other)
