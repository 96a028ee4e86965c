"""Merkle proofs: a record is in a tree, and a tree is the beginning of another.

Owns which subtrees a proof is made of, and the arithmetic that checks one. Pure: leaves
come in as an iterable, in order, and are read once; memory is that of one path.

Laws
T3. An inclusion path of any record in any size gives the root of that size, and no other
    leaf does with that path; with any byte changed it gives another root.
T4. A consistency path of any two sizes gives both roots; with any byte changed it does not.

Source: RFC 6962, sections 2.1.1 and 2.1.2; the checks are those of RFC 9162, sections
2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from noodle_journal.format.merkle import Frontier, node_hash

Range = tuple[int, int]
"""Leaves from the first (counted from 0) up to and without the second."""


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose roots are the path of leaf `index` (from 0), from the leaf up.

    Raises: ValueError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    found: list[Range] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The subtrees whose roots prove that the tree of `first` begins that of `second`.

    Raises: ValueError unless 1 <= first <= second.
    """
    if not 1 <= first <= second:
        raise ValueError(f"a tree of {first} does not begin one of {second}")
    found: list[Range] = []
    start, stop = 0, second
    is_whole = True  # the tree of `first` begins where this subtree does, and is known
    while first != stop:
        middle = start + _split(stop - start)
        if first <= middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start = middle
            is_whole = False
    if not is_whole:
        found.append((start, stop))
    return found[::-1]


def roots_of(ranges: Sequence[Range], leaves: Iterable[bytes]) -> list[bytes]:
    """The roots of disjoint ranges over `leaves`, in the order of `ranges`; one pass.

    Raises: ValueError where the leaves end too early.
    """
    waiting = sorted(ranges)
    found: dict[Range, bytes] = {}
    source = _numbered(leaves)
    for start, stop in waiting:
        tree = Frontier()
        for index, leaf in source:
            if index >= start:
                tree.push(leaf)
            if index + 1 == stop:
                break
        if tree.size != stop - start:
            raise ValueError(f"the leaves end before {stop}")
        found[start, stop] = tree.root()
    return [found[one] for one in ranges]


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to, or None where its length does not fit."""
    if not 0 <= index < size:
        return None
    at, last, root = index, size - 1, leaf
    for step in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            root = node_hash(step, root)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            root = node_hash(root, step)
        at >>= 1
        last >>= 1
    return root if last == 0 else None


def is_consistent(
    *, first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the tree of `first` leaves and root begins that of `second`."""
    if not 1 <= first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    steps = list(path)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)  # a full subtree: its root is not repeated in the path
    if not steps:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at >>= 1
        last >>= 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            new = node_hash(new, step)
        at >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root


def _split(count: int) -> int:
    """The largest power of two below `count`, which is above 1."""
    return 1 << ((count - 1).bit_length() - 1)


def _numbered(leaves: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    return iter(enumerate(leaves))
