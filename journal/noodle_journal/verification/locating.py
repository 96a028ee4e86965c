"""Finding the exact place of damage; runs only where something is wrong already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.verification.sources import Source


def first_unsigned(
    source: Source,
    *,
    after: int,
    bad: int,
    accepts: Callable[[int, bytes, bytes], bool],
) -> int:
    """The first commit's end above `after` with a bad signature; that at `bad` is.

    Halves the range: about twenty signatures for a million records.
    """
    good = after
    while bad - good > 1:
        middle = (good + bad) // 2
        found = source.last_checkpoint(above=good, up_to=middle)
        if found is None or accepts(*found):
            good = middle  # no commit ends in that half, or its last is good
        else:
            bad = found[0]
    return bad


def explains(
    source: Source,
    *,
    changed: int,
    claimed: bytes,
    size: int,
    frontier: Sequence[bytes],
    end: int,
) -> bool:
    """Whether the stored root of a commit fits if record `changed` had leaf `claimed`.

    `size` and `frontier` are the tree before the commit.
    """
    tree = Frontier(size, frontier)
    at = size + 1
    while batch := source.rows_from(at, end):
        for row in batch:
            leaf = row.leaf or leaf_hash(
                row.header or b"", row.clear or b"", row.nonce or b"", row.sealed or b""
            )
            tree.push(claimed if row.seq == changed else leaf)
            if row.root is not None:
                return row.root == tree.root()
        at = batch[-1].seq + 1
    return False
