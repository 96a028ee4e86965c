"""A proof as a file: everything to check it with, but the key that the reader trusts.

Owns the two documents (`specs/journal-format.md` has their fields) and the check of one.
Pure: needs no journal, no home and no secret.

Laws
P4. decode_proof(encode_proof(proof)) == proof; any other byte is refused, or does not check.
P5. A proof checks only under the key that the reader trusts, or one that it handed over to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noodle_journal.format.canonical import JsonValue, NotCanonical, encode, parse
from noodle_journal.format.clear import exactly, unhex
from noodle_journal.format.merkle import leaf_hash
from noodle_journal.format.notes import (
    LogKey,
    NotANote,
    Note,
    parse_note,
    signed_checkpoint,
    trusted_keys,
)
from noodle_journal.format.proofs import is_consistent, root_by_inclusion
from noodle_journal.format.records import FORMAT_VERSION, HEADER_BYTES, MAGIC, unpack_header

PROOF_FORMAT = 1
PROOF_BYTES_MAX = 64 * 1024 * 1024
PATH_MAX = 64 * 2
KEYS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class ProvedRecord:
    """The stored bytes of a record, sealed as they are."""

    header: bytes
    clear: bytes | None
    nonce: bytes
    sealed: bytes

    @property
    def leaf(self) -> bytes:
        """Its leaf in the tree."""
        return leaf_hash(self.header, self.clear or b"", self.nonce, self.sealed)


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Record `seq` is in the tree of `checkpoint`. `record` is None where only a hash is left."""

    keys: tuple[LogKey, ...]
    seq: int
    leaf: bytes
    record: ProvedRecord | None
    path: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Consistency:
    """The tree of the note `first` is the beginning of that of `second`."""

    keys: tuple[LogKey, ...]
    path: tuple[bytes, ...]
    first: str
    second: str


Proof = Inclusion | Consistency


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What a proof proves, or why it does not. `kind` and `at_ns` are the record's."""

    ok: bool
    proof: str
    problem: str | None = None
    log_id: str | None = None
    seq: int | None = None
    kind: int | None = None
    at_ns: int | None = None
    first_size: int | None = None
    size: int | None = None


def encode_proof(proof: Proof) -> bytes:
    """The file: one line of canonical JSON."""
    common: dict[str, JsonValue] = {
        "format": PROOF_FORMAT,
        "keys": [encode_key(key) for key in proof.keys],
        "path": [step.hex() for step in proof.path],
    }
    own: dict[str, JsonValue]
    if isinstance(proof, Inclusion):
        record = proof.record
        own = {
            "checkpoint": proof.checkpoint,
            "leaf": proof.leaf.hex(),
            "proof": "inclusion",
            "record": None if record is None else _encode_record(record),
            "seq": proof.seq,
        }
    else:
        own = {"first": proof.first, "proof": "consistency", "second": proof.second}
    return encode({**common, **own})[0] + b"\n"


def decode_proof(data: bytes) -> Proof:
    """Read a proof. Raises: NotCanonical for what is none."""
    if len(data) > PROOF_BYTES_MAX or data[-1:] != b"\n":
        raise NotCanonical("not one line")
    fields = parse(data[:-1])
    match fields.get("proof"):
        case "inclusion":
            exactly(fields, "checkpoint format keys leaf path proof record seq")
        case "consistency":
            exactly(fields, "first format keys path proof second")
        case _:
            raise NotCanonical("neither a proof of inclusion nor one of consistency")
    if fields["format"] != PROOF_FORMAT or isinstance(fields["format"], bool):
        raise NotCanonical(f"its format is {fields['format']!r}, known is {PROOF_FORMAT}")
    keys = tuple(decode_key(one) for one in _listed(fields["keys"], KEYS_MAX))
    path = tuple(unhex(one, 32) for one in _listed(fields["path"], PATH_MAX))
    if fields["proof"] == "consistency":
        return Consistency(keys, path, _text(fields["first"]), _text(fields["second"]))
    seq, record = fields["seq"], fields["record"]
    if type(seq) is not int or seq < 1:
        raise NotCanonical("seq is not the number of a record")
    return Inclusion(
        keys=keys,
        seq=seq,
        leaf=unhex(fields["leaf"], 32),
        record=None if record is None else _decode_record(record),
        path=path,
        checkpoint=_text(fields["checkpoint"]),
    )


def check_proof(data: bytes, *, public_key: bytes) -> ProofReport:
    """Whether the bytes of a proof prove what they say, to who trusts `public_key`."""
    try:
        proof = decode_proof(data)
    except NotCanonical as exc:
        return ProofReport(False, "unknown", f"it is no proof: {exc}")
    try:
        if isinstance(proof, Inclusion):
            return _check_inclusion(proof, public_key)
        return _check_consistency(proof, public_key)
    except NotANote as exc:
        kind = "inclusion" if isinstance(proof, Inclusion) else "consistency"
        return ProofReport(False, kind, f"a checkpoint in it is none: {exc}")


def _check_inclusion(proof: Inclusion, trusted: bytes) -> ProofReport:
    note = parse_note(proof.checkpoint)
    problem = _unsigned(note, proof.keys, trusted)
    kind = at_ns = None
    if problem is None and proof.record is not None:
        header = unpack_header(proof.record.header)
        kind, at_ns = header.kind, header.at_ns
        if proof.record.leaf != proof.leaf:
            problem = "the record's bytes do not give its leaf"
        elif (header.magic, header.version) != (MAGIC, FORMAT_VERSION):
            problem = "the record's header is none"
        elif header.log_id != note.log_id or header.seq != proof.seq:
            problem = "the record was not written at this place"
    if problem is None:
        root = root_by_inclusion(proof.leaf, proof.seq - 1, note.size, proof.path)
        if root != note.root:
            problem = "the path does not lead from the record to the signed root"
    return ProofReport(
        problem is None,
        "inclusion",
        problem,
        note.log_id.hex(),
        seq=proof.seq,
        kind=kind,
        at_ns=at_ns,
        size=note.size,
    )


def _check_consistency(proof: Consistency, trusted: bytes) -> ProofReport:
    first, second = parse_note(proof.first), parse_note(proof.second)
    problem = _unsigned(first, proof.keys, trusted) or _unsigned(second, proof.keys, trusted)
    if problem is None and first.log_id != second.log_id:
        problem = "its two checkpoints are of different journals"
    if problem is None and not is_consistent(
        first=first.size,
        first_root=first.root,
        second=second.size,
        second_root=second.root,
        path=proof.path,
    ):
        problem = "the path does not lead from the first signed root to the second"
    return ProofReport(
        problem is None,
        "consistency",
        problem,
        second.log_id.hex(),
        first_size=first.size,
        size=second.size,
    )


def _unsigned(note: Note, keys: Sequence[LogKey], trusted: bytes) -> str | None:
    """Why a note is not one of the log that is trusted, or None."""
    known = trusted_keys(keys, log_id=note.log_id, trusted=trusted)
    if not known:
        return "the trusted key is not among its keys, or did not sign the ones after it"
    if len(note.signatures) != 1 or signed_checkpoint(note, known) is None:
        return f"its checkpoint of {note.size} records is not signed by the trusted key"
    return None


def encode_key(key: LogKey) -> dict[str, JsonValue]:
    """A log key as it stands in proofs and manifests."""
    signature = key.key_signature
    return {
        "key_signature": None if signature is None else signature.hex(),
        "public_key": key.public_key.hex(),
    }


def decode_key(value: JsonValue) -> LogKey:
    """Raises: NotCanonical."""
    fields = exactly(value, "key_signature public_key")
    signature = fields["key_signature"]
    return LogKey(
        unhex(fields["public_key"], 32), None if signature is None else unhex(signature, 64)
    )


def _encode_record(record: ProvedRecord) -> dict[str, JsonValue]:
    return {
        "clear": None if record.clear is None else record.clear.hex(),
        "header": record.header.hex(),
        "nonce": record.nonce.hex(),
        "sealed": record.sealed.hex(),
    }


def _decode_record(value: JsonValue) -> ProvedRecord:
    fields = exactly(value, "clear header nonce sealed")
    clear = fields["clear"]
    return ProvedRecord(
        header=unhex(fields["header"], HEADER_BYTES),
        clear=None if clear is None else unhex(clear),
        nonce=unhex(fields["nonce"], 12),
        sealed=unhex(fields["sealed"]),
    )


def _listed(value: JsonValue, most: int) -> Sequence[JsonValue]:
    if not isinstance(value, list) or len(value) > most:
        raise NotCanonical(f"not a list of at most {most}")
    return value


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise NotCanonical("a checkpoint is not text")
    return value
