"""Laws T3, T4, P2 to P5 and V4: what is so can be proved, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_journal.failures import CheckpointAbsent, DamageKind, JournalDamaged, RecordUnknown
from noodle_journal.format.checkpoints import Checkpoint, LogSigner, new_key_message, note_text
from noodle_journal.format.notes import (
    LogKey,
    NotANote,
    Note,
    parse_note,
    signed_checkpoint,
    trusted_keys,
)
from noodle_journal.format.proof_files import check_proof, decode_proof, encode_proof
from noodle_journal.format.proofs import (
    consistency_ranges,
    inclusion_ranges,
    is_consistent,
    root_by_inclusion,
    roots_of,
)
from noodle_journal.verification.proving import prove_consistency, prove_inclusion
from tests.attacks import second_verifier
from tests.attacks.tampering import COMMIT_ENDS, RUN, SIZE, flip, make_journal
from tests.unit.journal.place import Place, note
from tests.unit.journal.test_merkle import recursive_root

LEAVES = [bytes([at, 1]) * 16 for at in range(70)]
LOG = bytes(range(16))


def root_of(size: int) -> bytes:
    return recursive_root(LEAVES[:size])


def test_every_inclusion_proof_of_every_size_gives_its_root_and_no_other() -> None:
    """T3. Sizes up to 40; another leaf, place or size does not."""
    for size in range(1, 41):
        root = root_of(size)
        for index in range(size):
            path = roots_of(inclusion_ranges(index, size), LEAVES[:size])
            assert root_by_inclusion(LEAVES[index], index, size, path) == root
            assert root_by_inclusion(LEAVES[index + 1], index, size, path) != root
            assert root_by_inclusion(LEAVES[index], index ^ 1, size, path) != root
            assert root_by_inclusion(LEAVES[index], index, size, [*path, bytes(32)]) != root
            if path:
                assert root_by_inclusion(LEAVES[index], index, size, path[:-1]) != root


def test_every_consistency_proof_of_every_two_sizes_holds() -> None:
    """T4."""
    roots = [root_of(size) for size in range(41)]
    for second in range(1, 41):
        for first in range(1, second + 1):
            path = roots_of(consistency_ranges(first, second), LEAVES[:second])

            def holds(
                one: int = first,
                one_root: bytes = roots[first],
                other: int = second,
                other_root: bytes = roots[second],
                steps: list[bytes] = path,
            ) -> bool:
                return is_consistent(
                    first=one, first_root=one_root, second=other, second_root=other_root, path=steps
                )

            assert holds()
            assert not holds(one_root=bytes(32))
            assert not holds(other_root=bytes(32))
            assert not holds(steps=[*path, bytes(32)])
            assert not holds(one=0)
            if first < second:
                assert not holds(one=second, other=first)
                assert not holds(steps=path[:-1])


@given(st.data())
def test_any_changed_byte_of_a_path_fails(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    path = roots_of(inclusion_ranges(index, size), LEAVES[:size])
    changed = data.draw(st.integers(0, 32 * len(path) - 1))
    step, at = divmod(changed, 32)
    mask = data.draw(st.integers(1, 255))
    bad = [*path[:step], flip(path[step], at, mask), *path[step + 1 :]]
    assert root_by_inclusion(LEAVES[index], index, size, bad) != root_of(size)
    both = roots_of(consistency_ranges(first, size), LEAVES[:size])
    for step in range(len(both)):
        bad = [*both[:step], flip(both[step], at, mask), *both[step + 1 :]]
        assert not is_consistent(
            first=first,
            first_root=root_of(first),
            second=size,
            second_root=root_of(size),
            path=bad,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: inclusion_ranges(3, 3),
        lambda: inclusion_ranges(-1, 3),
        lambda: consistency_ranges(0, 3),
        lambda: consistency_ranges(4, 3),
        lambda: roots_of([(0, 4)], LEAVES[:3]),
    ],
)
def test_what_cannot_be_proved_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"leaf|tree|leaves"):
        wrong()


# -- notes and keys ------------------------------------------------------------


def signed(seed: int, size: int = 3, *, plain: bool = False) -> tuple[Checkpoint, bytes]:
    signer = LogSigner(bytes([seed]) * 32)
    root = root_of(size)
    text = note_text(log_id=LOG, size=size, root=root, plain=plain)
    made = Checkpoint(LOG, size, root, signer.sign(text.encode()), plain=plain)
    return made, signer.public_key


@pytest.mark.parametrize("plain", [False, True])
def test_a_note_is_read_back_as_the_checkpoint_it_was(plain: bool) -> None:
    """P2. A witness's signature beside the log's is passed over."""
    made, key = signed(1, plain=plain)
    text = made.note(key)
    assert parse_note(text).checkpoint(key) == made
    assert parse_note(text + "\u2014 witness.example AAAA\n").checkpoint(key) == made
    assert parse_note(text).checkpoint(signed(2)[1]) is None


def test_no_changed_letter_of_a_note_is_taken() -> None:
    made, key = signed(1)
    text = made.note(key)
    for at, letter in enumerate(text):
        for other in {"A", "0", "\n", " "} - {letter}:
            try:
                found = parse_note(text[:at] + other + text[at + 1 :])
            except NotANote:
                continue
            assert found.checkpoint(key) is None, (at, letter, other)


def test_a_key_counts_only_when_the_trusted_one_handed_over_to_it() -> None:
    """P3."""
    signers = [LogSigner(bytes([seed]) * 32) for seed in (1, 2, 3)]
    keys = [LogKey(signers[0].public_key)]
    for before, after in pairwise(signers):
        message = new_key_message(log_id=LOG, public_key=after.public_key)
        keys.append(LogKey(after.public_key, before.sign(message)))
    public = [one.public_key for one in signers]
    for start in range(3):
        assert trusted_keys(keys, log_id=LOG, trusted=public[start]) == public[start:]
    assert trusted_keys(keys, log_id=bytes(16), trusted=public[0]) == []
    assert trusted_keys(keys[:2], log_id=LOG, trusted=public[2]) == []
    made, _ = signed(2)
    assert signed_checkpoint(parse_note(made.note(public[1])), public) == made
    # Somebody puts a key of theirs before the trusted one.
    stranger = LogSigner(bytes([9]) * 32)
    message = new_key_message(log_id=LOG, public_key=public[0])
    forged = [LogKey(stranger.public_key), LogKey(public[0], stranger.sign(message))]
    assert trusted_keys(forged, log_id=LOG, trusted=public[0]) == [public[0]]


# -- of a journal -----------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Place:
    return make_journal(tmp_path)


def key_of(place: Place) -> bytes:
    assert place.created is not None
    return place.created.public_key


def checkpoints(place: Place) -> dict[int, Checkpoint]:
    with place.reader() as reader:
        found = reader._log.connection.execute(
            "SELECT seq, root, signature FROM record WHERE root IS NOT NULL"
        ).fetchall()
        return {
            size: Checkpoint(bytes.fromhex(reader.log_id), size, root, signature)
            for size, root, signature in found
        }


def test_every_record_of_every_checkpoint_can_be_proved(made: Place) -> None:
    """V4, with sizes and with notes that are kept elsewhere."""
    key = key_of(made)
    for size, checkpoint in checkpoints(made).items():
        for seq in range(1, size + 1):
            data = prove_inclusion(made.folder, seq, at=size, public_key=key)
            kept = parse_note(checkpoint.note(key))
            assert prove_inclusion(made.folder, seq, at=kept, public_key=key) == data
            report = check_proof(data, public_key=key)
            assert report.ok
            assert (report.seq, report.size) == (seq, size)
            assert encode_proof(decode_proof(data)) == data
            assert second_verifier.check_proof(data, key)
    assert check_proof(prove_inclusion(made.folder, 5, public_key=key), public_key=key).kind == 3


def test_every_checkpoint_is_the_beginning_of_every_later_one(made: Place) -> None:
    key = key_of(made)
    for first in COMMIT_ENDS:
        for second in COMMIT_ENDS:
            data = prove_consistency(made.folder, first, second, public_key=key)
            report = check_proof(data, public_key=key)
            assert report.ok
            assert (report.first_size, report.size) == tuple(sorted((first, second)))
            assert second_verifier.check_proof(data, key)


def test_no_changed_byte_of_a_proof_passes(made: Place) -> None:
    """P4: each byte of both files; and cut at some lengths."""
    key = key_of(made)
    for data in (
        prove_inclusion(made.folder, 5, public_key=key),
        prove_consistency(made.folder, 3, 10, public_key=key),
    ):
        for at in range(len(data)):
            assert not check_proof(flip(data, at, 0x01), public_key=key).ok, at
        for at in range(0, len(data), 7):
            assert not check_proof(flip(data, at, 0x20), public_key=key).ok, at
            assert not check_proof(data[:at], public_key=key).ok
            assert not second_verifier.check_proof(flip(data, at, 0x01), key), at
        assert not check_proof(data + b" ", public_key=key).ok
        assert not check_proof(data, public_key=bytes(32)).ok


def test_a_proof_says_what_is_not_there(made: Place) -> None:
    key = key_of(made)
    with pytest.raises(RecordUnknown):
        prove_inclusion(made.folder, SIZE + 1, public_key=key)
    with pytest.raises(RecordUnknown):
        prove_inclusion(made.folder, 8, at=7, public_key=key)
    with pytest.raises(CheckpointAbsent) as caught:
        prove_inclusion(made.folder, 1, at=5, public_key=key)
    assert caught.value.data["before"] == 3


def test_a_note_of_another_history_is_a_fork_and_one_beyond_the_end_a_rollback(
    tmp_path: Path,
) -> None:
    one, other, longer = (tmp_path / name for name in ("one", "other", "longer"))
    for folder in (one, other, longer):
        folder.mkdir()
    first = make_journal(one, seed=7)
    key = key_of(first)
    # The same keys and log, another history: what a copy that was written to has.
    second = make_journal(other, seed=7)
    with second.open() as journal:
        journal.append([note("a", RUN)] * 2)
        beyond = journal.checkpoint
    assert beyond is not None
    kept = parse_note(beyond.note(key))
    with pytest.raises(JournalDamaged) as caught:
        prove_consistency(one, kept, public_key=key)
    assert caught.value.kind is DamageKind.ROLLBACK
    with first.open() as journal:
        journal.append([note("b", RUN)] * 2)
    tries: list[Callable[[], bytes]] = [
        lambda: prove_inclusion(one, 3, at=kept, public_key=key),
        lambda: prove_consistency(one, 3, kept, public_key=key),
    ]
    for prove in tries:
        with pytest.raises(JournalDamaged) as caught:
            prove()
        assert caught.value.kind is DamageKind.FORK
    made, stranger = signed(1)
    for foreign in (parse_note(made.note(stranger)), _resigned(kept.checkpoint(key))):
        with pytest.raises(JournalDamaged) as caught:
            prove_inclusion(one, 3, at=foreign, public_key=key)
        assert caught.value.kind is DamageKind.HEAD_INVALID


def _resigned(found: Checkpoint | None) -> Note:
    assert found is not None
    signer = LogSigner(bytes([3]) * 32)
    forged = Checkpoint(found.log_id, found.size, found.root, signer.sign(found.text.encode()))
    return parse_note(forged.note(signer.public_key))
