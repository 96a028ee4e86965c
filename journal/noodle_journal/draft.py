"""One commit in the making: records in, rows out.

Owns sealing in order, and the tree as it will be. Pure but for the random bytes
it is handed; nothing of it counts before the transaction is durable.

Laws
A1. Rows follow one another: numbers, previous leaves, one epoch, one fence.
A2. Only the last row of a commit carries root and signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from noodle_journal.failures import BadRecord
from noodle_journal.format.canonical import JsonValue, encode, pad
from noodle_journal.format.checkpoints import Checkpoint, LogSigner, note_text
from noodle_journal.format.clear import StateClear, TreeMark, encode_state
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import (
    CLEAR_KINDS,
    FLAG_CLEAR,
    FLAG_COMMIT_END,
    FORMAT_VERSION,
    HEADER,
    MAGIC,
    NO_TAG,
    Kind,
    NewRecord,
    Record,
)
from noodle_journal.format.sealing import HEDGE_BYTES, Sealing, Tagger

Entropy = Callable[[int], bytes]
RowValues = tuple[int, bytes, bytes | None, bytes, bytes, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Ready:
    """A record that is checked, encoded and padded."""

    kind: Kind
    tag: bytes
    padded: bytes
    body: Mapping[str, JsonValue]
    clear: bytes | None = None


@dataclass(slots=True, eq=False)
class Waiting:
    """One append call: its records, ready to seal, and what became of it.

    `durable` says that its commit is on disk; `done` that its caller may go on,
    which is after on_commit saw the records.
    """

    items: Sequence[Ready]
    going_back: bool
    head: bool
    committed: list[Record] = field(default_factory=list)
    error: BaseException | None = None
    durable: bool = False
    done: bool = False


def ready(record: NewRecord, *, tagger: Tagger) -> Ready:
    """A caller's record, ready to seal. Raises: BadRecord."""
    kind = Kind(record.kind)
    if kind in CLEAR_KINDS:
        raise BadRecord(reason=f"{kind.label} is written by the journal alone")
    body = record.body
    if body.get("upgrade", record.run) != record.run:
        raise BadRecord(reason="its body names another upgrade than its run")
    if record.run is not None and "upgrade" not in body:
        body = {**body, "upgrade": record.run}
    text, parsed = encode(body)
    return Ready(kind, tagger.tag(record.run), pad(text), parsed)


def own(kind: Kind, body: Mapping[str, JsonValue], clear: bytes | None = None) -> Ready:
    """A record that the journal writes itself. Raises: BadRecord."""
    text, parsed = encode(body)
    if "upgrade" in parsed:
        raise BadRecord(reason=f"a {kind.label} record belongs to no upgrade")
    return Ready(kind, NO_TAG, pad(text), parsed, clear)


@dataclass(slots=True)
class Draft:
    """The end of the journal as it will be after this commit."""

    log_id: bytes
    fence: int
    tree: Frontier
    last_leaf: bytes
    epoch: int
    keys: Sealing
    at_ns: int
    state_seq: int
    records: list[Record] = field(default_factory=list)
    checkpoint: Checkpoint | None = None

    def row(self, item: Ready, *, is_last: bool, signer: LogSigner, entropy: Entropy) -> RowValues:
        """Seal `item` as the next record; the values of its row."""
        tree = self.tree
        seq = tree.size + 1
        kind, clear = item.kind, item.clear
        if kind is Kind.STATE:
            # Here and not before: key.epoch may have come in between.
            clear = encode_state(StateClear(tree=TreeMark.of(tree)))
            self.state_seq = seq
        flags = (FLAG_COMMIT_END if is_last else 0) | (0 if clear is None else FLAG_CLEAR)
        header = HEADER.pack(
            MAGIC,
            FORMAT_VERSION,
            flags,
            kind,
            self.log_id,
            seq,
            self.epoch,
            self.fence,
            self.at_ns,
            item.tag,
            self.last_leaf,
        )
        nonce, sealed = self.keys.seal(
            associated=header if clear is None else header + clear,
            padded=item.padded,
            random16=entropy(HEDGE_BYTES),
        )
        self.last_leaf = leaf_hash(header, clear or b"", nonce, sealed)
        tree.push(self.last_leaf)
        root = signature = None
        if is_last:
            root = tree.root()
            plain = self.keys.plain
            text = note_text(log_id=self.log_id, size=seq, root=root, plain=plain)
            signature = signer.sign(text.encode())
            self.checkpoint = Checkpoint(self.log_id, seq, root, signature, plain)
        self.records.append(
            Record(seq, kind, self.epoch, self.fence, self.at_ns, item.tag, item.body)
        )
        return (seq, header, clear, nonce, sealed, root, signature)
