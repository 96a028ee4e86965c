"""A verifier written from specs/journal-format.md, sharing no code with the product.

Its numbers in comments are the steps of that page. It uses hash functions, a
cipher, a signature and SQLite, and nothing of the product: a test looks.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER = struct.Struct(">4sBBH16sQIQQ12s32s")
COMMIT_END, HAS_CLEAR = 1, 2
KEY_EPOCH, STATE, RETENTION = 17, 18, 20
APPLICATIONS = {"journal.db": 0x4E444C4A, "keystore.db": 0x4E444C4B}
EPOCH_FIELDS = {
    *("cipher", "commitment", "gave_up", "kek_id", "key_id", "key_signature", "public_key", "tree")
}


EPOCH_BYTES = {"commitment": 32, "kek_id": 16, "key_id": 16, "public_key": 32}
CIPHERS = ("aes-256-gcm", "none")
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, struct.error)
COLUMNS = "seq, header, clear, nonce, sealed, leaf, root, signature"


class Row(NamedTuple):
    """A row of the records."""

    seq: int
    header: bytes | None
    clear: bytes | None
    nonce: bytes | None
    sealed: bytes | None
    leaf: bytes | None
    root: bytes | None
    signature: bytes | None


class Bad(Exception):
    """The first bad record and its kind."""

    def __init__(self, seq: int, kind: str) -> None:
        super().__init__(f"{kind} at {seq}")
        self.seq, self.kind = seq, kind


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf(key: bytes, salt: bytes, info: str) -> bytes:
    return mac(mac(salt, key), info.encode() + b"\x01")


def node(left: bytes, right: bytes) -> bytes:
    return sha(b"\x01" + left + right)


class Tree:
    """RFC 6962: the roots of the full subtrees, from the largest to the smallest."""

    def __init__(self) -> None:
        self.full: list[tuple[int, bytes]] = []

    @property
    def size(self) -> int:
        return sum(leaves for leaves, _ in self.full)

    @property
    def frontier(self) -> list[str]:
        return [root.hex() for _, root in self.full]

    def push(self, leaf: bytes) -> None:
        leaves = 1
        while self.full and self.full[-1][0] == leaves:
            leaf = node(self.full.pop()[1], leaf)
            leaves *= 2
        self.full.append((leaves, leaf))

    def root(self) -> bytes:
        if not self.full:
            return sha(b"")
        root = self.full[-1][1]
        for _, left in reversed(self.full[:-1]):
            root = node(left, root)
        return root


class Spelled(str):
    """A float as it is written."""

    __slots__ = ()


def canonical(data: bytes) -> Any:
    """The value of a canonical JSON object. Raises ValueError."""
    found = json.loads(
        data.decode(), parse_float=Spelled, parse_int=bounded, object_pairs_hook=no_duplicates
    )
    if not isinstance(found, dict) or spell(found).encode() != data:
        raise ValueError("not canonical")
    return found


def bounded(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise ValueError("beyond 64 bits")
    return number


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def spell(value: Any) -> str:
    if isinstance(value, Spelled):
        return str(value)
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode())
        return "{" + ",".join(f"{spell(key)}:{spell(item)}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spell, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def unpad(data: bytes) -> bytes:
    text = data.rstrip(b"\0")
    if len(data) % 64 or not text.endswith(b"\x80") or len(data) - len(text) >= 64:
        raise ValueError("padding")
    return text[:-1]


@dataclass
class Verifier:
    """One verification; `run` raises Bad, or returns the last number and root."""

    folder: Path
    public_key: bytes
    master: bytes | None = None
    tree: Tree = field(default_factory=Tree)
    last_leaf: bytes = bytes(32)
    epoch: int = 0
    fence: int = 0
    record_key: bytes | None = None
    cipher: str | None = None
    signers: list[Ed25519PublicKey] = field(default_factory=list)
    signed: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)
    signatures: dict[int, bytes] = field(default_factory=dict)
    ciphers: dict[int, str | None] = field(default_factory=dict)
    gave_up: list[tuple[int, int]] = field(default_factory=list)
    without_key: dict[int, int] = field(default_factory=dict)
    compacted: list[int] = field(default_factory=list)
    shredded: list[dict[str, Any]] = field(default_factory=list)

    def open(self, name: str) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{self.folder / name}?mode=ro", uri=True)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        assert (application, version) == (APPLICATIONS[name], 1)
        return connection

    def run(self) -> tuple[int, bytes]:
        self.signer = Ed25519PublicKey.from_public_bytes(self.public_key)
        self.signers = [self.signer]
        self.signing_now = self.public_key
        journal, keystore = self.open("journal.db"), self.open("keystore.db")
        try:
            self.read_keystore(keystore)
            (self.log_id,) = journal.execute("SELECT log_id FROM log").fetchone()
            if self.log_id != self.store_log_id:  # 1
                raise Bad(0, "foreign")
            (last,) = journal.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()
            self.records(journal, last)
            self.finish(journal, last)
        finally:
            journal.close()
            keystore.close()
        return last, self.tree.root()

    def read_keystore(self, keystore: sqlite3.Connection) -> None:
        (self.store_log_id,) = keystore.execute("SELECT log_id FROM store").fetchone()
        self.heads = keystore.execute("SELECT size, root, signature FROM head").fetchall()
        self.wrapped = {
            row[0]: row
            for row in keystore.execute(
                "SELECT key_id, purpose, epoch, kek_id, nonce, sealed FROM wrapped_key"
            )
        }
        self.tag_key = None
        if self.master is not None:
            (tag,) = (row for row in self.wrapped.values() if row[1] == "tag")
            self.tag_key = self.unwrap(tag)

    def unwrap(self, row: tuple[Any, ...]) -> bytes:
        assert self.master is not None
        key_id, purpose, epoch, kek_id, nonce, sealed = row
        associated = b"noodle journal 1 wrapped key" + self.store_log_id
        associated += bytes([len(purpose)]) + purpose.encode() + key_id
        associated += epoch.to_bytes(4, "big") + kek_id
        wrap_key = hkdf(self.master, b"", "noodle journal 1 wrap key")
        return AESGCM(wrap_key).decrypt(nonce, sealed, associated)

    def records(self, journal: sqlite3.Connection, last: int) -> None:
        query = f"SELECT {COLUMNS} FROM record ORDER BY seq"
        self.rows = {row[0]: Row(*row) for row in journal.execute(query)}
        for seq in range(1, last + 1):
            if seq not in self.rows:  # 2
                raise Bad(seq, "missing")
            self.record(self.rows[seq])

    def record(self, row: Row) -> None:
        seq, header, clear, nonce, sealed, leaf, root, signature = row
        if leaf is not None:
            self.compacted.append(seq)
            self.last_leaf = leaf
            self.tree.push(leaf)
            if root is not None:
                self.commit_end(seq, root, signature)
            return
        assert header is not None
        assert nonce is not None
        assert sealed is not None
        flags, kind, epoch, fence, tag, previous = self.header(seq, header, clear)  # 3
        if kind == KEY_EPOCH:
            self.epoch_opens(seq, epoch, fence, clear or b"")  # 4
        if (epoch, fence) != (self.epoch, self.fence):  # 5
            if previous != self.last_leaf:
                raise self.broken(seq, previous)
            raise Bad(seq, "order")
        if self.record_key is not None:
            self.open_record(seq, header + (clear or b""), nonce, sealed, tag)  # 6
        elif self.cipher == "none":
            self.body(seq, sealed[:-16])
        if previous != self.last_leaf:  # 7
            raise self.broken(seq, previous)
        if clear is not None:
            self.clear_part(seq, kind, clear)  # 8
        self.last_leaf = sha(b"\x00" + header + (clear or b"") + nonce + sealed)
        self.tree.push(self.last_leaf)
        if flags & COMMIT_END:  # 9
            self.commit_end(seq, root, signature)
        elif root is not None:
            raise Bad(seq, "checkpoint_misplaced")

    def header(
        self, seq: int, header: bytes, clear: bytes | None
    ) -> tuple[int, int, int, int, bytes, bytes]:
        if len(header) != HEADER.size:
            raise Bad(seq, "malformed")
        magic, version, flags, kind, log, number, epoch, fence, _, tag, previous = HEADER.unpack(
            header
        )
        if magic != b"NDLR" or version != 1 or flags > (COMMIT_END | HAS_CLEAR):
            raise Bad(seq, "malformed")
        if log != self.log_id:
            raise Bad(seq, "foreign")
        if number != seq:
            raise Bad(seq, "moved")
        if bool(flags & HAS_CLEAR) != (clear is not None):
            raise Bad(seq, "malformed")
        if kind in (KEY_EPOCH, STATE, RETENTION) and clear is None:
            raise Bad(seq, "malformed")
        return flags, kind, epoch, fence, tag, previous

    def framed(self, seq: int, clear: bytes, fields: set[str]) -> dict[str, Any]:
        try:
            if int.from_bytes(clear[:4], "big") != len(clear) - 4:
                raise ValueError("length")
            found: dict[str, Any] = canonical(clear[4:])
        except ValueError as error:
            raise Bad(seq, "clear_invalid") from error
        if set(found) != fields:
            raise Bad(seq, "clear_invalid")
        return found

    def epoch_opens(self, seq: int, epoch: int, fence: int, clear: bytes) -> None:
        found = self.framed(seq, clear, EPOCH_FIELDS)
        try:
            for name, length in EPOCH_BYTES.items():
                raw(found[name], length)
            fits = found["cipher"] in CIPHERS and found["tree"]["size"] == seq - 1
            fits = fits and (found["key_signature"] is None or raw(found["key_signature"], 64))
        except MALFORMED as error:
            raise Bad(seq, "clear_invalid") from error
        if not fits:
            raise Bad(seq, "clear_invalid")
        if self.epoch:
            if seq - 1 not in self.signatures:
                raise Bad(seq, "order")
            self.check_signature(seq - 1)
        if epoch <= self.epoch or fence < (self.fence or 1):
            raise Bad(seq, "order")
        public = bytes.fromhex(found["public_key"])
        if public != self.signing_now:
            handed = b"noodle journal 1 new log key\n" + self.log_id + public
            if not self.accepts(bytes.fromhex(found["key_signature"] or "00"), handed):
                raise Bad(seq, "public_key_changed")
            self.signer = Ed25519PublicKey.from_public_bytes(public)
            self.signers.append(self.signer)
            self.signing_now = public
        if found["cipher"] not in ("aes-256-gcm", "none"):
            raise Bad(seq, "clear_invalid")
        self.cipher = found["cipher"]
        if found["gave_up"] is not None:
            self.gave_up.append((seq - 1, found["gave_up"]["size"]))
        self.epoch, self.fence, self.record_key = epoch, fence, None
        if self.master is not None:
            self.take_key(seq, epoch, found)

    def take_key(self, seq: int, epoch: int, found: dict[str, Any]) -> None:
        row = self.wrapped.get(bytes.fromhex(found["key_id"]))
        if row is None:
            self.without_key[epoch] = seq
            return
        data_key = self.unwrap(row)
        commitment = hkdf(data_key, self.log_id, "noodle journal 1 key commitment")
        if commitment.hex() != found["commitment"] or (row[1], row[2]) != ("data", epoch):
            raise Bad(seq, "key_mismatch")
        label = "plain" if self.cipher == "none" else "record"
        self.record_key = hkdf(data_key, self.log_id, f"noodle journal 1 {label} key")

    def open_record(
        self, seq: int, associated: bytes, nonce: bytes, sealed: bytes, tag: bytes
    ) -> None:
        assert self.record_key is not None
        assert self.tag_key is not None
        cipher = AESGCM(self.record_key)
        try:
            if self.cipher == "none":
                padded = sealed[:-16]
                cipher.decrypt(nonce, sealed[-16:], associated + padded)
            else:
                padded = cipher.decrypt(nonce, sealed, associated)
        except InvalidTag as error:
            raise Bad(seq, "forged") from error
        body = self.body(seq, padded)
        upgrade = body.get("upgrade")
        wanted = mac(self.tag_key, upgrade.encode())[:12] if isinstance(upgrade, str) else bytes(12)
        if tag != wanted:
            raise Bad(seq, "tag_mismatch")

    def body(self, seq: int, padded: bytes) -> dict[str, Any]:
        try:
            found: dict[str, Any] = canonical(unpad(padded))
        except ValueError as error:
            raise Bad(seq, "not_canonical") from error
        return found

    def clear_part(self, seq: int, kind: int, clear: bytes) -> None:
        if kind == RETENTION:
            self.shredded.append(self.framed(seq, clear, {"epoch", "first", "last", "rule"}))
        if kind not in (KEY_EPOCH, STATE):
            return
        fields = EPOCH_FIELDS if kind == KEY_EPOCH else {"tree"}
        mark = self.framed(seq, clear, fields)["tree"]
        here = {
            "size": self.tree.size,
            "root": self.tree.root().hex(),
            "frontier": self.tree.frontier,
        }
        if mark != here:
            raise Bad(seq, "clear_invalid")

    def broken(self, seq: int, claimed: bytes) -> Bad:
        """Which of two records was changed, where one names another leaf before it (7)."""
        if self.record_key is not None or seq - 1 in self.signatures:
            return Bad(seq, "chain_broken")
        tree, at = Tree(), 1
        while at in self.rows:
            _, header, clear, nonce, sealed, leaf, root, _ = self.rows[at]
            parts = (header or b"", clear or b"", nonce or b"", sealed or b"")
            whole = leaf or sha(b"\x00" + b"".join(parts))
            tree.push(claimed if at == seq - 1 else whole)
            if at >= seq and root is not None:
                return Bad(seq - 1, "altered") if root == tree.root() else Bad(seq, "chain_broken")
            at += 1
        return Bad(seq, "chain_broken")

    def commit_end(self, seq: int, root: bytes | None, signature: bytes | None) -> None:
        if root is None or signature is None:
            raise Bad(seq, "checkpoint_missing")
        if root != self.tree.root():
            good = self.accepts_either(signature, seq, root)
            raise Bad(seq, "altered" if good else "root_mismatch")
        self.roots[seq], self.signatures[seq] = root, signature
        self.ciphers[seq] = self.cipher

    def note(self, size: int, root: bytes, cipher: str) -> bytes:
        text = f"noodle.journal/{self.log_id.hex()}\n{size}\n{base64.b64encode(root).decode()}\n"
        return (text + "cipher none\n" if cipher == "none" else text).encode()

    def accepts(
        self, signature: bytes, message: bytes, signer: Ed25519PublicKey | None = None
    ) -> bool:
        try:
            (signer or self.signer).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def good_at(self, size: int) -> bool:
        signature, root, cipher = self.signatures[size], self.roots[size], self.ciphers[size]
        if cipher is None:  # the epoch's own record is compacted
            return self.accepts_either(signature, size, root)
        return self.accepts(signature, self.note(size, root, cipher))

    def accepts_either(self, signature: bytes, size: int, root: bytes) -> bool:
        """Signed by any key of the log, under either cipher."""
        return any(
            self.accepts(signature, self.note(size, root, cipher), signer)
            for signer in self.signers
            for cipher in ("none", "aes-256-gcm")
        )

    def check_signature(self, size: int) -> None:
        """The signature at `size`; of several bad ones the first is named."""
        if self.good_at(size):
            self.signed = size
            return
        for earlier in sorted(self.signatures):
            good = self.good_at(earlier)
            if earlier > self.signed and not good:
                raise Bad(earlier, "signature_invalid")

    def finish(self, journal: sqlite3.Connection, last: int) -> None:
        if last:
            if last not in self.signatures:  # 10
                raise Bad(last, "cut")
            self.check_signature(last)
        (fence,) = journal.execute("SELECT fence FROM writer").fetchone()
        if fence < self.fence:  # 11
            raise Bad(0, "order")
        for size, root, signature in self.heads:
            self.check_head(last, size, root, signature)
        for epoch, seq in self.without_key.items():  # 12
            if all(one["epoch"] != epoch for one in self.shredded):
                raise Bad(seq, "key_missing")
        for seq in self.compacted:
            if not any(one["first"] <= seq <= one["last"] for one in self.shredded):
                raise Bad(seq, "unrecorded_shred")

    def check_head(self, last: int, size: int, root: bytes, signature: bytes) -> None:
        given_up = any(after < size <= to for after, to in self.gave_up)
        if not given_up and not self.accepts_either(signature, size, root):
            raise Bad(size, "head_invalid")
        if given_up:
            return
        if size > last:
            raise Bad(last + 1, "rollback")
        if self.roots.get(size) != root:
            raise Bad(size, "fork")


def verify(folder: Path, public_key: bytes, master: bytes | None = None) -> tuple[int, str | None]:
    """The first bad number and its kind, or the last number and None."""
    try:
        return Verifier(folder, public_key, master).run()[0], None
    except Bad as bad:
        return bad.seq, bad.kind


# -- proofs ----------------------------------------------------------------------


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 6962, 2.1.1, read backwards: the root that a path leads to. Raises ValueError."""
    if size == 1:
        if path:
            raise ValueError("a path too long")
        return leaf
    left, *_ = (1 << bits for bits in range(size.bit_length(), -1, -1) if 1 << bits < size)
    *rest, last = path or [b""]
    if not last:
        raise ValueError("a path too short")
    if index < left:
        return node(root_from(leaf, index, left, rest), last)
    return node(last, root_from(leaf, index - left, size - left, rest))


def roots_from(
    first: int, second: int, path: list[bytes], known: bytes | None
) -> tuple[bytes, bytes]:
    """RFC 6962, 2.1.2, read backwards: the roots of both sizes. Raises ValueError."""
    if first == second:
        if len(path) != (known is None):
            raise ValueError("a path of another length")
        return (path[0], path[0]) if known is None else (known, known)
    left, *_ = (1 << bits for bits in range(second.bit_length(), -1, -1) if 1 << bits < second)
    *rest, last = path or [b""]
    if not last:
        raise ValueError("a path too short")
    if first <= left:
        old, new = roots_from(first, left, rest, known)
        return old, node(new, last)
    old, new = roots_from(first - left, second - left, rest, None)
    return node(last, old), node(last, new)


def handed_over(keys: list[dict[str, Any]], log: str, trusted: bytes) -> list[bytes]:
    """The keys from the trusted one on. Raises ValueError."""
    found: list[bytes] = []
    before: bytes | None = None
    for key in keys:
        public = raw(key["public_key"], 32)
        if before is None:
            good = key["key_signature"] is None
        else:
            told = b"noodle journal 1 new log key\n" + bytes.fromhex(log) + public
            good = signed(before, raw(key["key_signature"], 64), told)
        if not good or set(key) != {"public_key", "key_signature"}:
            raise ValueError("a key that was not handed over to")
        before = public
        if found or public == trusted:
            found.append(public)
    return found


def signed(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def raw(text: str, length: int | None = None) -> bytes:
    """Bytes in their one hexadecimal spelling. Raises ValueError."""
    data = bytes.fromhex(text)
    if data.hex() != text or length not in (None, len(data)):
        raise ValueError("not hexadecimal digits as they are written")
    return data


def opened_note(note: str, keys: list[dict[str, Any]], trusted: bytes) -> tuple[str, int, bytes]:
    """Log, size and root of a signed note. Raises ValueError."""
    text, line = note.split("\n\n")
    origin, number, root, *more = text.split("\n")
    log = origin.removeprefix("noodle.journal/")
    if origin != f"noodle.journal/{raw(log, 16).hex()}" or more not in ([], ["cipher none"]):
        raise ValueError("not a note of a journal")
    digest = base64.b64decode(root, validate=True)
    if base64.b64encode(digest).decode() != root or str(int(number)) != number:
        raise ValueError("another spelling")
    for public in handed_over(keys, log, trusted):
        named = sha(origin.encode() + b"\n\x01" + public)[:4]
        found = line.removeprefix(f"\u2014 {origin} ")
        data = base64.b64decode(found[:-1], validate=True)
        whole = f"\u2014 {origin} {base64.b64encode(named + data[4:]).decode()}\n"
        if line == whole and signed(public, data[4:], text.encode() + b"\n"):
            return log, int(number), digest
    raise ValueError("not signed by the trusted key")


def check_proof(data: bytes, trusted: bytes) -> bool:
    """Whether a proof's file proves what it says."""
    try:
        return proved(data, trusted)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        return False


def proved(data: bytes, trusted: bytes) -> bool:
    found = canonical(data[:-1])
    if data[-1:] != b"\n" or type(found["format"]) is not int or found["format"] != 1:
        return False
    fields = {"format", "keys", "path", "proof"}
    path = [raw(step, 32) for step in found["path"]]
    if found["proof"] == "consistency" and set(found) == fields | {"first", "second"}:
        log, first, old = opened_note(found["first"], found["keys"], trusted)
        other, second, new = opened_note(found["second"], found["keys"], trusted)
        fits = log == other and 1 <= first <= second
        return fits and roots_from(first, second, path, old) == (old, new)
    of_record = {"checkpoint", "leaf", "record", "seq"}
    if found["proof"] != "inclusion" or set(found) != fields | of_record:
        return False
    log, size, root = opened_note(found["checkpoint"], found["keys"], trusted)
    leaf, seq, record = raw(found["leaf"], 32), found["seq"], found["record"]
    if type(seq) is not int or not 1 <= seq <= size:
        return False
    if record is not None and not stands_at(record, log, seq, leaf):
        return False
    return root_from(leaf, seq - 1, size, path) == root


def stands_at(record: dict[str, Any], log: str, seq: int, leaf: bytes) -> bool:
    header = raw(record["header"], 96)
    clear = b"" if record["clear"] is None else raw(record["clear"])
    whole = header + clear + raw(record["nonce"], 12) + raw(record["sealed"])
    magic, version, _, _, its_log, its_seq, *_ = HEADER.unpack(header)
    here = (magic, version, its_log.hex(), its_seq) == (b"NDLR", 1, log, seq)
    return (
        here
        and set(record) == {*("clear", "header", "nonce", "sealed")}
        and (sha(b"\x00" + whole) == leaf)
    )


# -- exports -----------------------------------------------------------------------

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:noodle:journal-export:1"
PAYLOAD = "application/vnd.in-toto+json"
LONG = {"leaf": 32, "root": 32, "signature": 64, "header": 96, "nonce": 12}
LINES = {
    "full": {"body", "leaf", "record", "root", "seq", "signature"},
    "redacted": {"body", "clear", "header", "leaf", "root", "seq", "signature"},
    "hashes": {"leaf", "root", "seq", "signature"},
}


def check_export(folder: Path, trusted: bytes) -> tuple[int, str | None]:
    """The first bad number and its kind, or the last number and None."""
    try:
        return Export(folder, trusted).run(), None
    except Bad as bad:
        return bad.seq, bad.kind


class Export:
    """One check of an export; the numbers are the steps of the page."""

    def __init__(self, folder: Path, trusted: bytes) -> None:
        self.folder, self.trusted = folder, trusted

    def run(self) -> int:
        try:
            self.manifest()  # 1 to 3
        except MALFORMED as error:
            raise Bad(0, "manifest_invalid") from error
        if sorted(one.name for one in self.folder.iterdir()) != sorted(
            ["manifest.json", *(one["name"] for one in self.segments)]
        ):
            raise Bad(0, "export_malformed")  # 4
        whole = Verifier(self.folder, self.trusted)
        whole.log_id, whole.rows = bytes.fromhex(self.log), {}
        known = self.keys[:1] if self.form == "full" else self.keys
        whole.signers = [Ed25519PublicKey.from_public_bytes(key) for key in known]
        whole.signer, whole.signing_now = whole.signers[-1], self.trusted
        before = bytes(32)
        for segment in self.segments:  # 5
            digest, size, seq = hashlib.sha256(), 0, segment["first"]
            with (self.folder / segment["name"]).open("rb") as file:
                lines = file.readlines()
            # What a record's neighbours are is asked for only where something is wrong.
            rows = [self.line(line) for line in lines]
            whole.rows |= {seq + at: row for at, (row, _) in enumerate(rows) if row is not None}
            for line, (row, header) in zip(lines, rows, strict=True):
                digest.update(line)
                size += len(line)
                if seq > segment["last"] or row is None:
                    raise Bad(seq, "export_malformed")
                if row.seq != seq:
                    raise Bad(seq, "missing")
                if header is not None:
                    self.header(seq, header, before, row)
                before = row.leaf or b""
                whole.record(row)
                seq += 1
            if seq <= segment["last"]:
                raise Bad(seq, "export_malformed")
            if (digest.hexdigest(), size) != (segment["sha256"], segment["bytes"]):
                raise Bad(segment["first"], "export_malformed")
        self.finish(whole)
        return self.last

    def manifest(self) -> None:
        envelope = canonical((self.folder / "manifest.json").read_bytes()[:-1])
        if set(envelope) != {"payload", "payloadType", "signatures"}:
            raise ValueError("fields")
        payload = strict64(envelope["payload"])
        (signature,) = envelope["signatures"]
        found = canonical(payload)
        told = found["predicate"]
        if (found["_type"], found["predicateType"], envelope["payloadType"], told["format"]) != (
            *(STATEMENT, PREDICATE, PAYLOAD, 1),
        ):
            raise ValueError("another format")
        self.log, self.form = told["log_id"], told["form"]
        keys = handed_over(told["keys"], self.log, self.trusted)
        if not keys or told["keys"][0]["public_key"] != self.trusted.hex():
            raise Bad(0, "public_key_changed")
        self.keys, self.last_key = keys, keys[-1]
        message = b"DSSEv1 %d %b %d %b" % (
            *(len(PAYLOAD), PAYLOAD.encode(), len(payload), payload),
        )
        named = sha(self.last_key).hex()
        good = signed(self.last_key, strict64(signature["sig"]), message)
        if set(signature) != {"keyid", "sig"} or signature["keyid"] != named or not good:
            raise ValueError("not signed")
        only = told["keys"][-1] | {"key_signature": None}
        log, self.last, self.root = opened_note(told["checkpoint"], [only], self.last_key)
        digests = {one["name"]: one["digest"]["sha256"] for one in found["subject"]}
        self.segments = [one | {"sha256": digests[one["name"]]} for one in told["segments"]]
        if log != self.log or self.segments[-1]["last"] != self.last:
            raise ValueError("another checkpoint")

    def line(self, data: bytes) -> tuple[Row | None, bytes | None]:
        """The row, and the header of a redacted one; none for a line that is not one."""
        try:
            found = canonical(data[:-1])
            if data[-1:] != b"\n" or set(found) != LINES[self.form]:
                return None, None
            if type(found["seq"]) is not int or not isinstance(found.get("body"), dict | None):
                return None, None
            parts = {name: maybe(found[name], LONG[name]) for name in ("leaf", "root", "signature")}
            record = found.get("record")
            stored = dict.fromkeys(("header", "clear", "nonce", "sealed"))
            if record is not None:
                if set(record) != set(stored):
                    return None, None
                stored = {name: maybe(record[name], LONG.get(name)) for name in stored}
                if None in (stored["header"], stored["nonce"], stored["sealed"]):
                    return None, None
            if (record is None) is (parts["leaf"] is None):
                return None, None
            row = Row(seq=found["seq"], **stored, **parts)
            self.clear = maybe(found["clear"]) if self.form == "redacted" else None
            header = maybe(found["header"], 96) if self.form == "redacted" else None
            return row, None if header is None else header + (self.clear or b"")
        except MALFORMED:
            return None, None

    def header(self, seq: int, data: bytes, before: bytes, row: Row) -> None:
        header, clear = data[:96], data[96:] or None
        view = Verifier(self.folder, self.trusted)
        view.log_id = bytes.fromhex(self.log)
        flags, *_, previous = view.header(seq, header, clear)
        if previous != before:
            raise Bad(seq, "chain_broken")
        if bool(flags & COMMIT_END) != (row.root is not None):
            raise Bad(seq, "checkpoint_missing" if flags & COMMIT_END else "checkpoint_misplaced")
        if clear is not None and int.from_bytes(clear[:4], "big") != len(clear) - 4:
            raise Bad(seq, "clear_invalid")

    def finish(self, whole: Verifier) -> None:
        if self.last not in whole.signatures:  # 6
            raise Bad(self.last, "cut")
        whole.check_signature(self.last)
        if whole.roots[self.last] != self.root:
            raise Bad(self.last, "fork")
        for seq in whole.compacted if self.form == "full" else ():
            if not any(one["first"] <= seq <= one["last"] for one in whole.shredded):
                raise Bad(seq, "unrecorded_shred")


def strict64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("another spelling")
    return data


def maybe(text: str | None, length: int | None = None) -> bytes | None:
    return None if text is None else raw(text, length)
