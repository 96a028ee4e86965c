"""Laws T1 and T2: the growing tree is the tree of RFC 6962."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_journal.format.merkle import EMPTY_ROOT, Frontier


def recursive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = recursive_root(leaves[:split]), recursive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@given(st.integers(0, 130), st.randoms(use_true_random=False))
def test_incremental_root_equals_recursive_root(size: int, chance: Random) -> None:
    """T1 and T2."""
    leaves = [chance.randbytes(32) for _ in range(size)]
    tree = Frontier()
    for count, leaf in enumerate(leaves, start=1):
        tree.push(leaf)
        assert len(tree.hashes) == count.bit_count()
    assert tree.root() == recursive_root(leaves)


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_tree_goes_on_from_its_frontier(first: int, second: int) -> None:
    leaves = [bytes([at]) * 32 for at in range(first + second)]
    tree = Frontier()
    for leaf in leaves[:first]:
        tree.push(leaf)
    resumed = Frontier(tree.size, tuple(tree.hashes))
    for leaf in leaves[first:]:
        resumed.push(leaf)
    assert resumed.root() == recursive_root(leaves)


def test_each_size_has_its_own_root() -> None:
    tree, roots = Frontier(), [EMPTY_ROOT]
    for _ in range(40):
        tree.push(bytes(32))
        roots.append(tree.root())
    assert all(before != after for before, after in pairwise(roots))
    assert len(set(roots)) == len(roots)


def test_a_frontier_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier(3, [bytes(32)])
