"""The Merkle tree of RFC 6962, grown one leaf at a time.

Owns the frontier: the roots of the full subtrees, largest first. Never stores
leaves. A tree of size n holds the records 1..n, so the size of the tree just
after a record is that record's sequence number.

Laws
T1. Frontier.root() equals the recursive definition of RFC 6962, section 2.1.
T2. The frontier of size n has as many hashes as n has one bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

EMPTY_ROOT = hashlib.sha256(b"").digest()
_sha256 = hashlib.sha256


def leaf_hash(header: bytes, clear: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """SHA-256(0x00 || header || clear part || nonce || sealed)."""
    return _sha256(b"\0" + header + clear + nonce + sealed).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\1" + left + right).digest()


class Frontier:
    """A growing tree: push leaves, ask for the root."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count():
            raise ValueError(f"a frontier of size {size} has {size.bit_count()} hashes")

    def push(self, leaf: bytes) -> None:
        """Add the next leaf; two hashes a record on average at most."""
        hashes, size = self.hashes, self.size
        while size & 1:
            leaf = _sha256(b"\1" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree as it stands; EMPTY_ROOT when empty."""
        hashes = self.hashes
        if not hashes:
            return EMPTY_ROOT
        root = hashes[-1]
        for index in range(len(hashes) - 2, -1, -1):
            root = _sha256(b"\1" + hashes[index] + root).digest()
        return root

    def copy(self) -> Frontier:
        """An independent tree of the same size."""
        return Frontier(self.size, self.hashes)
