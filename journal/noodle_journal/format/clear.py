"""Clear parts: what a verifier with the public key alone must be able to read.

Owns their bytes: a 4-byte big-endian length, then canonical JSON of that
length. Never holds names, versions, paths or the machine.

Laws
L1. decode(encode(x)) == x; the length is exact, so nothing can move between a
    clear part and the nonce behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from noodle_journal.format.canonical import JsonValue, NotCanonical, encode, parse
from noodle_journal.format.merkle import Frontier

CIPHER_AES = "aes-256-gcm"
CIPHER_NONE = "none"


@dataclass(frozen=True, slots=True)
class TreeMark:
    """The tree just before a record: its size, root and frontier."""

    size: int
    root: bytes
    frontier: tuple[bytes, ...]

    @classmethod
    def of(cls, tree: Frontier) -> TreeMark:
        """The mark of a tree as it stands."""
        return cls(size=tree.size, root=tree.root(), frontier=tuple(tree.hashes))


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Heads up to this size were given up by a take-over; root of the largest."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class EpochClear:
    """Clear part of `key.epoch`."""

    key_id: bytes
    kek_id: bytes
    commitment: bytes
    public_key: bytes
    tree: TreeMark
    key_signature: bytes | None = None  # by the log key before, where this one is new
    gave_up: GivenUp | None = None
    cipher: str = CIPHER_AES


@dataclass(frozen=True, slots=True)
class StateClear:
    """Clear part of `state`."""

    tree: TreeMark


@dataclass(frozen=True, slots=True)
class RetentionClear:
    """Clear part of `retention`: the range that is shredded, and by which rule."""

    epoch: int
    first: int
    last: int
    rule: str


def encode_epoch(clear: EpochClear) -> bytes:
    """The bytes of a `key.epoch` clear part."""
    gave_up = clear.gave_up
    return _frame(
        {
            "cipher": clear.cipher,
            "commitment": clear.commitment.hex(),
            "gave_up": None
            if gave_up is None
            else {"root": gave_up.root.hex(), "size": gave_up.size},
            "kek_id": clear.kek_id.hex(),
            "key_id": clear.key_id.hex(),
            "key_signature": None if clear.key_signature is None else clear.key_signature.hex(),
            "public_key": clear.public_key.hex(),
            "tree": _mark(clear.tree),
        }
    )


def encode_state(clear: StateClear) -> bytes:
    """The bytes of a `state` clear part."""
    return _frame({"tree": _mark(clear.tree)})


def encode_retention(clear: RetentionClear) -> bytes:
    """The bytes of a `retention` clear part."""
    return _frame(
        {"epoch": clear.epoch, "first": clear.first, "last": clear.last, "rule": clear.rule}
    )


def decode_epoch(data: bytes) -> EpochClear:
    """Raises: NotCanonical."""
    fields = _fields(
        data,
        "cipher commitment gave_up kek_id key_id key_signature public_key tree",
    )
    gave_up = fields["gave_up"]
    signature = fields["key_signature"]
    cipher = fields["cipher"]
    if cipher not in (CIPHER_AES, CIPHER_NONE):
        raise NotCanonical(f"unknown cipher {cipher!r}")
    return EpochClear(
        key_id=unhex(fields["key_id"], 16),
        kek_id=unhex(fields["kek_id"], 16),
        commitment=unhex(fields["commitment"], 32),
        public_key=unhex(fields["public_key"], 32),
        tree=_read_mark(fields["tree"]),
        key_signature=None if signature is None else unhex(signature, 64),
        gave_up=None if gave_up is None else _read_given_up(gave_up),
        cipher=str(cipher),
    )


def decode_state(data: bytes) -> StateClear:
    """Raises: NotCanonical."""
    return StateClear(tree=_read_mark(_fields(data, "tree")["tree"]))


def decode_retention(data: bytes) -> RetentionClear:
    """Raises: NotCanonical."""
    fields = _fields(data, "epoch first last rule")
    rule = fields["rule"]
    if not isinstance(rule, str):
        raise NotCanonical("rule is not text")
    return RetentionClear(
        epoch=_count(fields["epoch"]),
        first=_count(fields["first"]),
        last=_count(fields["last"]),
        rule=rule,
    )


def check_frame(data: bytes) -> bytes:
    """The JSON inside a clear part of any kind. Raises: NotCanonical."""
    if len(data) < 4 or int.from_bytes(data[:4], "big") != len(data) - 4:
        raise NotCanonical("length of the clear part is wrong")
    return data[4:]


def _frame(body: Mapping[str, JsonValue]) -> bytes:
    text, _ = encode(body)
    return len(text).to_bytes(4, "big") + text


def _mark(tree: TreeMark) -> dict[str, JsonValue]:
    return {
        "frontier": [item.hex() for item in tree.frontier],
        "root": tree.root.hex(),
        "size": tree.size,
    }


def _read_mark(value: JsonValue) -> TreeMark:
    fields = exactly(value, "frontier root size")
    hashes = fields["frontier"]
    size = _count(fields["size"])
    if not isinstance(hashes, list) or len(hashes) != size.bit_count():
        raise NotCanonical("frontier does not fit its size")
    frontier = tuple(unhex(item, 32) for item in hashes)
    root = unhex(fields["root"], 32)
    if Frontier(size, frontier).root() != root:
        raise NotCanonical("frontier does not give its root")
    return TreeMark(size=size, root=root, frontier=frontier)


def _read_given_up(value: JsonValue) -> GivenUp:
    fields = exactly(value, "root size")
    return GivenUp(size=_count(fields["size"]), root=unhex(fields["root"], 32))


def _fields(data: bytes, names: str) -> Mapping[str, JsonValue]:
    return exactly(parse(check_frame(data)), names)


def exactly(value: JsonValue, names: str) -> Mapping[str, JsonValue]:
    """An object with exactly these fields. Raises: NotCanonical."""
    if not isinstance(value, dict) or set(value) != set(names.split()):
        raise NotCanonical(f"fields are not exactly: {names}")
    return value


def unhex(value: JsonValue, length: int | None = None) -> bytes:
    """Bytes in lower-case hexadecimal, of one length or of any. Raises: NotCanonical."""
    wanted = "" if length is None else f"{length} "
    if not isinstance(value, str) or value != value.lower() or any(map(str.isspace, value)):
        raise NotCanonical(f"not {wanted}bytes in lower-case hexadecimal")
    if length is not None and len(value) != 2 * length:
        raise NotCanonical(f"not {length} bytes in lower-case hexadecimal")
    try:
        return bytes.fromhex(value)
    except ValueError as exc:
        raise NotCanonical(str(exc)) from exc


def _count(value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NotCanonical("not a count")
    return value
