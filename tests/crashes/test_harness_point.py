"""Names, classes and samples of points; pure."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.crashes.harness.point import FileClass, Place, Point, choose, classify, names, parse_log
from tests.crashes.harness.shim import DISK_FULL, EIO, KILL, SHORT, TORN, Effect, Strike


def points(*wanted: tuple[str, str]) -> tuple[Point, ...]:
    """Points of these calls and classes, numbered from one."""
    return tuple(
        Point(
            number=number,
            process=1,
            thread=1,
            call=call,
            effect=Effect.CHANGES,
            bytes_asked=0,
            places=(Place(0, file_class, "f"),),
            file_class=FileClass(file_class),
        )
        for number, (call, file_class) in enumerate(wanted, 1)
    )


MANY = points(*[("write", "journal")] * 90, *[("fsync", "journal")] * 9, ("rename", "target"))


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("journal.db", "f", "journal.db"),
        ("journal.db-wal", "-", "journal.db-wal"),
        ("state/keystore.db-journal", "f", "keystore.db-journal"),
        (".web.py.next-01JABC", "f", "staged"),
        (".noodle/web.py/lock", "f", "lock"),
        (".noodle/web.py/owner", "-", "owner"),
        (".noodle/web.py/owner.new", "-", "owner"),
        (".noodle/web/manifests/ab.tree", "f", "manifest"),
        (".noodle/web/data/uploads/one", "f", "data"),
        (".noodle-probe-17-0", "f", "probe"),
        (".noodle/web.py/releases/1.0.0-ab", "f", "release"),
        (".noodle/web.py", "d", "store directory"),
        (".", "d", "parent directory"),
        ("lock", "f", "lock"),
        ("reserve", "f", "reserve"),
        ("keys/master.key", "f", "key"),
        ("web.py", "f", "target"),
        ("web.py", "-", "target"),
        (".hidden", "f", "other"),
    ],
)
def test_a_class_never_depends_on_a_random_name(path: str, kind: str, expected: str) -> None:
    assert classify(path, kind) == expected


def test_a_log_is_read_in_the_order_of_the_counter_and_unescaped() -> None:
    text = (
        "P 2 7 8 rename_exchange 1 0 f 0 .web.next-1 f 1 web%20%0A%25\n"
        "P 1 7 7 write 2 512 f 0 journal.db\n"
        "L 9 7 7 fsync 1 0 d 0 .\n"
    )
    log = parse_log(text)
    assert names(log.recorded) == (("write", "journal.db"), ("rename_exchange", "staged+target"))
    assert log.recorded[1].places[1] == Place(1, "web \n%", "f")
    assert (log.recorded[0].bytes_asked, log.recorded[1].thread) == (512, 8)
    assert [point.number for point in log.landed] == [9]


@pytest.mark.parametrize("total", [1, 3, 10, 40, 100, 1000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sample_has_every_pair_and_the_number_asked_for(total: int, seed: int) -> None:
    chosen = choose(MANY, total, seed)
    assert {point.name for point in chosen} == {point.name for point in MANY}
    assert len(chosen) == len(set(chosen)) == min(max(total, 3), len(MANY))
    assert chosen == choose(MANY, total, seed)


def test_another_seed_is_another_sample() -> None:
    assert len({choose(MANY, 10, seed) for seed in range(20)}) > 10


def test_a_sample_is_spread_evenly() -> None:
    tenths = Counter((point.number - 1) // 10 for point in choose(MANY, 33, 5))
    assert all(2 <= tenths[tenth] <= 5 for tenth in range(10))


@pytest.mark.parametrize(
    ("strike", "expected"),
    [
        (KILL, {Effect.CHANGES, Effect.ALLOCATES, Effect.TRANSFERS}),
        (EIO, {Effect.CHANGES, Effect.ALLOCATES, Effect.TRANSFERS}),
        (DISK_FULL, {Effect.ALLOCATES, Effect.TRANSFERS}),
        (TORN, {Effect.TRANSFERS}),
        (SHORT, {Effect.TRANSFERS}),
    ],
    ids=["kill", "EIO", "disk full", "torn", "short"],
)
def test_a_strike_applies_only_to_calls_it_can_happen_to(
    strike: Strike, expected: set[Effect]
) -> None:
    assert {effect for effect in Effect if strike.applies_to(effect)} == expected
