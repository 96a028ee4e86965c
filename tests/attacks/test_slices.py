"""Law V5: whatever the slices, the report is that of one pass. See also `Victim.verify`.

Every attack of this folder is verified both ways; here is what only slices have.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noodle_journal import DamageKind, verify
from noodle_journal.verification.helpers import ProcessHelper
from noodle_journal.verification.run import Slices
from noodle_journal.verification.slicing import (
    Found,
    Order,
    check_slice,
    found_from_json,
    found_to_json,
    order_from_json,
    order_to_json,
)
from tests.attacks.tampering import SIZE, Copies, InThisProcess, Victim, flip
from tests.unit.journal.place import MASTER_KEY, Place, note

BOTH = pytest.mark.parametrize("key", [MASTER_KEY, None], ids=["key", "public only"])


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen sessions: as many places where a slice may begin."""
    folder = tmp_path_factory.mktemp("long")
    chance, place = random.Random(3), Place(folder, 3).create()
    for _ in range(12):
        with place.open() as journal:
            for _ in range(chance.randrange(1, 4)):
                head = chance.choice([True, False, False])
                journal.append([note("x")] * chance.randrange(1, 4), head=head)
    return folder


class Counting:
    """A way to start helpers that remembers what they were asked and what they found."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.answers: list[Found | None] = []

    def __call__(self, order: Order) -> InThisProcess:
        self.orders.append(order)
        helper = InThisProcess(order)
        self.answers.append(helper.found(0))
        return helper


@BOTH
@pytest.mark.parametrize("most", [2, 5, 20])
def test_every_number_of_slices_gives_the_report_of_one(
    long: Path, most: int, key: bytes | None
) -> None:
    whole = verify(long, master_key=key, slices=Slices(1))
    count = Counting()
    sliced = verify(long, master_key=key, slices=Slices(most, 1, count))
    assert whole.ok
    assert sliced == whole
    assert min(most - 1, 9) <= len(count.orders) < most
    assert None not in count.answers
    ways = (Slices(1), Slices(most, 1, InThisProcess))
    every = [verify(long, every_signature=True, slices=one) for one in ways]
    assert every[0] == every[1]


@BOTH
def test_a_range_in_slices_gives_the_report_of_one(long: Path, key: bytes | None) -> None:
    size = verify(long).size
    for first, last in [(1, size // 2), (size // 3, None), (size // 3, size // 2), (1, size * 2)]:
        reports = [
            verify(long, master_key=key, first=first, last=last, slices=slices)
            for slices in (Slices(1), Slices(5, 1, InThisProcess))
        ]
        assert reports[0].ok
        assert reports[0] == reports[1]
        assert min(last or size, size) <= reports[0].last <= size
        opened = reports[0].last - first + 1
        assert reports[0].opened == (0 if key is None else opened)


def test_orders_and_answers_are_the_same_on_the_other_side_of_a_pipe(long: Path) -> None:
    count = Counting()
    verify(long, master_key=MASTER_KEY, slices=Slices(4, 1, count))
    for order, found in zip(count.orders, count.answers, strict=True):
        assert order_from_json(order_to_json(order)) == order
        assert found is not None
        assert found_from_json(found_to_json(found)) == found


@pytest.mark.parametrize(
    "field", ["frontier", "last_leaf", "epoch", "epoch_seq", "fence", "public_key", "root", "plain"]
)
def test_an_answer_that_began_elsewhere_is_not_taken(long: Path, field: str) -> None:
    """A slice is checked from a claim; where the claim is wrong, the pass does it itself."""

    class Elsewhere(InThisProcess):
        def __init__(self, order: Order) -> None:
            super().__init__(order)
            seam = order.seam
            wrong: dict[str, Any] = {
                "frontier": (bytes(32), *seam.frontier[1:]),
                "last_leaf": bytes(32),
                "epoch": seam.epoch + 1,
                "epoch_seq": seam.epoch_seq + 1,
                "fence": seam.fence + 1,
                "public_key": bytes(32),
                "root": bytes(32),
                "plain": not seam.plain,
            }
            # What it would have found from there, had it been so.
            self._found = check_slice(replace(order, seam=replace(seam, **{field: wrong[field]})))
            if field in ("frontier", "root"):
                assert self._found is None or field == "root"

    assert verify(long, slices=Slices(3, 1, Elsewhere)) == verify(long, slices=Slices(1))


def test_processes_give_the_report_of_one_pass_and_tell_how_far_they_are(long: Path) -> None:
    """With real processes: sound, damaged in the second slice, and with one that dies."""
    seen: list[tuple[int, int]] = []
    sound = verify(
        long,
        master_key=MASTER_KEY,
        slices=Slices(2, 1),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert sound == verify(long, master_key=MASTER_KEY, slices=Slices(1))
    assert seen[-1] == (sound.size, sound.size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)

    class Dying(ProcessHelper):
        def __init__(self, order: Order) -> None:
            super().__init__(order)
            assert self._process is not None
            self._process.kill()

    assert verify(long, master_key=MASTER_KEY, slices=Slices(2, 1, Dying)) == sound


def test_damage_in_the_last_slice_is_named_by_processes_as_by_one_pass(copies: Copies) -> None:
    victim = copies.take()
    with victim.journal() as connection:
        sealed = connection.execute("SELECT sealed FROM record WHERE seq = ?", (SIZE,)).fetchone()
        connection.execute(
            "UPDATE record SET sealed = ? WHERE seq = ?", (flip(sealed[0], 3, 1), SIZE)
        )
    report = verify(victim.folder, master_key=MASTER_KEY, slices=Slices(3, 1))
    assert report == verify(victim.folder, master_key=MASTER_KEY, slices=Slices(1))
    assert report.first_bad is not None
    assert (report.first_bad.seq, report.first_bad.kind) == (SIZE, DamageKind.FORGED)


def test_a_page_that_cannot_be_read_is_named_alike(copies: Copies) -> None:
    """Where SQLite fails in the middle of a batch, the rows before it are still checked."""
    victim = copies.take()
    path = victim.folder / "journal.db"
    data = path.read_bytes()
    kinds = set()
    for at in range(4096, len(data), 4096):
        path.write_bytes(data[:at] + b"\xff" * 16 + data[at + 16 :])
        report = victim.verify(with_key=True)
        kinds.add(None if report.first_bad is None else report.first_bad.kind)
        for left in (*victim.folder.glob("*-wal"), *victim.folder.glob("*-shm")):
            left.unlink()
    assert DamageKind.STORE_DAMAGED in kinds


def test_a_state_that_claims_another_tree_begins_no_slice(victim: Victim) -> None:
    with victim.journal() as connection:
        clear = connection.execute("SELECT clear FROM record WHERE seq = 9").fetchone()[0]
        connection.execute("UPDATE record SET clear = ? WHERE seq = 9", (flip(clear, 30, 1),))
    assert not victim.verify(with_key=False).ok


@BOTH
def test_a_writer_that_goes_on_meanwhile_changes_no_verdict(
    victim: Victim, key: bytes | None
) -> None:
    with victim.place().open(adopt=True) as journal:
        size = journal.size

        def meanwhile(_done: int, _total: int) -> None:
            journal.append([note("meanwhile")], head=True)

        for slices in (Slices(1), Slices(4, 1, InThisProcess)):
            before = journal.size
            report = verify(victim.folder, master_key=key, slices=slices, progress=meanwhile)
            assert report.ok
            assert report.size == before
        assert journal.size > size
