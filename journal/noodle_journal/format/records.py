"""Record kinds and the 96-byte header.

Owns the numbers and offsets that are pinned for ever. Never seals or hashes.

Laws
R1. unpack(pack(header)) == header, and a header is 96 bytes.
R2. A kind keeps its number; a reader keeps a number it does not know.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from noodle_journal.format.canonical import JsonValue

MAGIC = b"NDLR"
FORMAT_VERSION = 1
HEADER_BYTES = 96
TAG_BYTES = 12
NO_TAG = bytes(TAG_BYTES)
NO_LEAF = bytes(32)

FLAG_COMMIT_END = 0x01  # the last record of its commit: carries root and signature
FLAG_CLEAR = 0x02  # has a clear part
FLAGS_KNOWN = FLAG_COMMIT_END | FLAG_CLEAR

# magic, version, flags, kind, log id, sequence, epoch, fence, wall ns, tag, previous leaf
HEADER = struct.Struct(">4sBBH16sQIQQ12s32s")
assert HEADER.size == HEADER_BYTES


class Kind(IntEnum):
    """What a record is about. Numbers are stored: never change or reuse one."""

    UPGRADE_REQUESTED = 1
    TRANSITION = 2
    STEP_INTENT = 3
    STEP_DONE = 4
    DECISION = 5
    APPROVAL = 6
    VOTE = 7
    FEEDBACK = 8
    HEALTH = 9
    SAMPLE = 10
    ALERT = 11
    TRIGGER = 12
    EVENT = 13
    TIMER = 14
    CONFIG_CHANGED = 15
    ACCESS = 16
    KEY_EPOCH = 17
    STATE = 18
    ANCHOR = 19
    RETENTION = 20
    NOTE = 21

    @property
    def label(self) -> str:
        """The name in documents and output, such as `step.intent`."""
        return _LABELS[self]


_DOTTED = {
    Kind.UPGRADE_REQUESTED,
    Kind.STEP_INTENT,
    Kind.STEP_DONE,
    Kind.CONFIG_CHANGED,
    Kind.KEY_EPOCH,
}
_LABELS: dict[Kind, str] = {
    kind: kind.name.lower().replace("_", ".") if kind in _DOTTED else kind.name.lower()
    for kind in Kind
}
_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}
OWN_KINDS = frozenset({Kind.KEY_EPOCH, Kind.STATE})  # written by the journal alone
CLEAR_KINDS = frozenset({Kind.KEY_EPOCH, Kind.STATE, Kind.RETENTION})


def kind_of(number: int) -> Kind | int:
    """The kind with this number, or the number itself where it is not known."""
    return _KINDS.get(number, number)


def label_of(kind: Kind | int) -> str:
    """The label of a kind, known or not."""
    return kind.label if isinstance(kind, Kind) else f"unknown.{kind}"


@dataclass(frozen=True, slots=True)
class NewRecord:
    """What a caller asks to append.

    `run` is the upgrade's id, or None; the journal puts it into the body as
    `upgrade` and refuses a body that says another one.
    """

    kind: Kind
    run: str | None
    body: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read back: authenticated and decrypted. `at_ns` is Unix time."""

    seq: int
    kind: Kind | int
    epoch: int
    fence: int
    at_ns: int
    tag: bytes
    body: Mapping[str, JsonValue]

    @property
    def run(self) -> str | None:
        """The upgrade it belongs to, if it belongs to one."""
        run = self.body.get("upgrade")
        return run if isinstance(run, str) else None

    @property
    def label(self) -> str:
        """The kind's label, such as `step.intent`."""
        return label_of(self.kind)


class Header(NamedTuple):
    """The authenticated, readable part of a record."""

    magic: bytes
    version: int
    flags: int
    kind: int
    log_id: bytes
    seq: int
    epoch: int
    fence: int
    at_ns: int
    tag: bytes
    previous: bytes


def unpack_header(header: bytes) -> Header:
    """The fields of 96 bytes; checks nothing but the length."""
    return Header._make(HEADER.unpack(header))


class Row(NamedTuple):
    """One row of the table `record`. A compacted row has only seq, leaf, root, signature."""

    seq: int
    header: bytes | None
    clear: bytes | None
    nonce: bytes | None
    sealed: bytes | None
    leaf: bytes | None
    root: bytes | None
    signature: bytes | None
