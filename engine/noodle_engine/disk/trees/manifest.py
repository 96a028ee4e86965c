"""What a tree holds: its entries, its root, and how two trees differ. Pure.

Owns the identity of a tree. A *root* is of everything: names, content, links,
modes, owners, extended attributes. Times are no part of it: a build gives
other times to the same files.

    root    tree: + BLAKE3 of the canonical form of all entries
    key     BLAKE3 of one file's content digest and attributes: what may be shared

Laws
M1. Two trees have one root exactly if they are the same to whoever reads them,
    times and hard links aside.
M2. `parse` takes what `encode` gave, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import blake3
import orjson

from noodle_engine.machine.text import path_text, some

__all__ = [
    "ENTRIES_MAX",
    "TREE_FORMAT",
    "Change",
    "ChangeKind",
    "EntryKind",
    "ManifestUnreadable",
    "TreeEntry",
    "TreeManifest",
    "change_between",
    "compare",
    "is_same",
    "name_text",
    "named",
    "object_key",
]

TREE_FORMAT: Final = 1
ENTRIES_MAX: Final = 2_000_000
_PATH = itemgetter(0)
_NO_NAMES: Final = frozenset((b"", b".", b".."))
_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if code != 0x25)
_Bytes = bytes
"""By another name: a manifest has a property that is called `bytes`."""
_PLAIN = re.compile(rb"[ -$&-~]*")
"""Printable ASCII without `%`: bytes that stand for themselves as text."""


class EntryKind(StrEnum):
    """What an entry of a tree is. Stored for ever."""

    FILE = "f"
    FOLDER = "d"
    LINK = "l"


_KINDS: Final = {kind.value: kind for kind in EntryKind}
_LETTERS: Final = {kind: kind.value for kind in EntryKind}


class ManifestUnreadable(ValueError):
    """Bytes that are no manifest, or not a canonical one (law M2)."""


class TreeEntry(NamedTuple):
    """One entry. `path` is relative to the tree, without a slash at its ends.

    The tree's own folder is the entry with the empty path. `mode` has the
    set-id and sticky bits and is 0 for a link. `blake3` and `sha256` are a
    file's content digests in hexadecimal; `sha256` is empty where nobody
    computed it. `xattrs` are pairs of name and value, sorted by name.
    """

    path: bytes
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    size: int = 0
    blake3: str = ""
    sha256: str = ""
    link: bytes = b""
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @property
    def identity(self) -> tuple[object, ...]:
        """All that its tree's root depends on, but its path."""
        return (self.kind, self.mode, self.uid, self.gid, self.blake3, self.link, self.xattrs)


class TreeManifest:
    """The entries of a tree, sorted by path. Made once, never changed."""

    def __init__(self, entries: Iterable[TreeEntry]) -> None:
        """Sort `entries`.

        Raises ManifestUnreadable if two have one path, one lies in no folder of the
        tree, or has unsorted extended attributes.
        """
        self.entries: Final = tuple(sorted(entries, key=_PATH))
        _refuse_torn(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeManifest) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.root)

    def __repr__(self) -> str:
        return f"TreeManifest({len(self.entries)} entries, {self.root})"

    @cached_property
    def by_path(self) -> Mapping[bytes, TreeEntry]:
        """Its entries by their path."""
        return {entry.path: entry for entry in self.entries}

    @cached_property
    def root(self) -> str:
        """The root of the tree (law M1)."""
        return _root_of(_Columns.of(self.entries))

    @cached_property
    def files(self) -> int:
        """How many plain files it has."""
        kinds = [entry.kind for entry in self.entries]
        return kinds.count(EntryKind.FILE)

    @cached_property
    def bytes(self) -> int:
        """The bytes of its files, each counted once under each of its names."""
        return sum([entry.size for entry in self.entries])

    def encode(self) -> _Bytes:
        """It as JSON: the same tree with the same digests gives the same bytes."""
        return _encoded(list(zip(*_Columns.of(self.entries), strict=True)))

    @classmethod
    def parse(cls, data: _Bytes) -> TreeManifest:
        """Read what `encode` gave (law M2). Raises ManifestUnreadable."""
        try:
            body = orjson.loads(data)
            if body["format"] != TREE_FORMAT:
                raise ManifestUnreadable(f"format {body['format']} is unknown")
            rows = body["entries"]
            if len(rows) > ENTRIES_MAX:
                raise ManifestUnreadable(f"{len(rows)} entries; at most {ENTRIES_MAX} are read")
            columns = _Columns(*zip(*rows, strict=True)) if rows else _Columns()
            if len(columns.paths) != len(rows):
                raise TypeError("a row is empty")
            entries = columns.entries()
            found = cls(entries)
            is_canonical = _encoded(rows) == data and list(found.entries) == entries
        except ManifestUnreadable:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestUnreadable(f"it is no manifest of a tree: {error}") from error
        if not is_canonical:
            raise ManifestUnreadable("it is not in canonical form")
        found.__dict__["root"] = _root_of(columns)  # what the property would answer
        return found


def _encoded(rows: Sequence[object]) -> bytes:
    return orjson.dumps({"format": TREE_FORMAT, "entries": rows}) + b"\n"


class _Columns(NamedTuple):
    """The fields of all entries, each as it is stored, column by column.

    A tree may have a hundred thousand entries: a column is checked, written and read by
    few calls, where a row for itself would take some each.
    """

    paths: Sequence[str] = ()
    kinds: Sequence[str] = ()
    modes: Sequence[int] = ()
    uids: Sequence[int] = ()
    gids: Sequence[int] = ()
    sizes: Sequence[int] = ()
    digests: Sequence[str] = ()
    sha256s: Sequence[str] = ()
    links: Sequence[str] = ()
    xattrs: Sequence[Sequence[Sequence[str]]] = ()

    @classmethod
    def of(cls, entries: Sequence[TreeEntry]) -> _Columns:
        """The columns of these entries."""
        if not entries:
            return cls()
        paths, kinds, modes, uids, gids, sizes, digests, sha256s, links, xattrs = zip(
            *entries, strict=True
        )
        return cls(
            _texts_of(paths),
            [_LETTERS[kind] for kind in kinds],
            modes,
            uids,
            gids,
            sizes,
            digests,
            sha256s,
            [_stored(link) for link in links] if any(links) else ("",) * len(links),
            [_xattrs_out(pairs) for pairs in xattrs] if any(xattrs) else xattrs,
        )

    def entries(self) -> list[TreeEntry]:
        """The entries of columns that were read. Raises what says that they are none.

        Where a column holds what `of` would not give, it raises too.
        """
        for numbers in (self.modes, self.uids, self.gids, self.sizes):
            if set(map(type, numbers)) - {int}:
                raise TypeError("a number is none")
        for texts in (self.paths, self.digests, self.sha256s, self.links):
            if set(map(type, texts)) - {str}:
                raise TypeError("a text is none")
        kinds = [_KINDS[kind] for kind in self.kinds]
        paths = _raws_of(self.paths)
        links = _raws_of(self.links) if any(self.links) else [b""] * len(self.links)
        pairs: Sequence[tuple[tuple[str, bytes], ...]] = [()] * len(self.xattrs)
        if list(self.xattrs).count([]) != len(self.xattrs):
            pairs = [_xattrs_in(stored) for stored in self.xattrs]
        make, row = tuple.__new__, TreeEntry
        return [
            make(row, fields)
            for fields in zip(
                paths,
                kinds,
                self.modes,
                self.uids,
                self.gids,
                self.sizes,
                self.digests,
                self.sha256s,
                links,
                pairs,
                strict=True,
            )
        ]


def _root_of(columns: _Columns) -> str:
    rows = zip(
        columns.paths,
        columns.kinds,
        columns.modes,
        columns.uids,
        columns.gids,
        columns.digests,
        columns.links,
        columns.xattrs,
        strict=True,
    )
    canonical = orjson.dumps([TREE_FORMAT, list(rows)])
    return f"tree:{blake3.blake3(canonical).hexdigest()}"


class ChangeKind(StrEnum):
    """How an entry differs between two trees."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    ATTRIBUTES = "attributes"


class Change(NamedTuple):
    """One difference. `what` names the attributes that differ, or the content's kind."""

    kind: ChangeKind
    path: bytes
    old: TreeEntry | None
    new: TreeEntry | None
    what: tuple[str, ...] = ()


def compare(old: TreeManifest | None, new: TreeManifest | None) -> tuple[Change, ...]:
    """The differences from `old` to `new` (None: nothing is there), by path."""
    before = old.by_path if old is not None else {}
    after = new.by_path if new is not None else {}
    changes = []
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        if one != other:  # nearly all are the same, and that is one call
            change = change_between(one, other)
            if change is not None:
                changes.append(change)
    return tuple(changes)


def is_same(one: TreeEntry, other: TreeEntry) -> bool:
    """Whether two entries have one identity, without the price of making both."""
    return (
        one[1:5] == other[1:5]  # kind, mode, user, group
        and one.blake3 == other.blake3
        and one[8:] == other[8:]  # link, extended attributes
    )


def object_key(entry: TreeEntry) -> str:
    """What a file's content and attributes are shared under, 64 hexadecimal digits."""
    row = (entry.blake3, entry.mode, entry.uid, entry.gid, _xattrs_out(entry.xattrs))
    return blake3.blake3(orjson.dumps(row)).hexdigest()


def name_text(raw: bytes) -> str:
    """`path_text`, without its price where the bytes stand for themselves."""
    return raw.decode("ascii") if _PLAIN.fullmatch(raw) else path_text(raw)


def named(paths: Iterable[bytes]) -> str:
    """Paths of a tree as a person reads them, the first few by name."""
    return some([name_text(path) or "." for path in paths])


def change_between(old: TreeEntry | None, new: TreeEntry | None) -> Change | None:
    """How one path differs between two trees; None if it does not. One of both is there."""
    if old is None or new is None:
        there = old or new
        assert there is not None
        kind = ChangeKind.ADDED if old is None else ChangeKind.REMOVED
        return Change(kind, there.path, old, new)
    if is_same(old, new):
        return None
    what = tuple(_differing(old, new))
    content = old.kind is not new.kind or (old.blake3, old.link) != (new.blake3, new.link)
    return Change(
        ChangeKind.CHANGED if content else ChangeKind.ATTRIBUTES, new.path, old, new, what
    )


def _differing(old: TreeEntry, new: TreeEntry) -> Iterator[str]:
    if old.kind is not new.kind:
        yield "kind"
        return
    if old.blake3 != new.blake3 or old.link != new.link:
        yield "content"
    if old.mode != new.mode:
        yield f"mode {old.mode:04o} to {new.mode:04o}"
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield f"owner {old.uid}:{old.gid} to {new.uid}:{new.gid}"
    before, after = dict(old.xattrs), dict(new.xattrs)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"attribute {name}"


def _refuse_torn(entries: tuple[TreeEntry, ...]) -> None:
    """Raise ManifestUnreadable unless each path is there once, below a folder of the tree."""
    paths = [entry.path for entry in entries]
    if len(set(paths)) != len(paths):
        twice = next(one for one, other in pairwise(paths) if one == other)
        raise ManifestUnreadable(f"{name_text(twice)} is there twice")
    if entries and (paths[0] or entries[0].kind is not EntryKind.FOLDER):
        raise ManifestUnreadable("the tree's own folder is missing")
    folder = EntryKind.FOLDER  # by a local name: a member of an enumeration is looked up
    folders = {entry.path for entry in entries if entry.kind is folder}
    for path in paths[1:]:
        if path.rpartition(b"/")[0] not in folders:
            raise ManifestUnreadable(f"{name_text(path)} is in no folder of the tree")
    if not _names_all(b"/".join(paths[1:]) or b"-"):
        wrong = next(path for path in paths[1:] if not _names_all(path))
        raise ManifestUnreadable(f"{name_text(wrong)} names nothing in the tree")
    for entry in entries:
        if entry.xattrs:
            _refuse_unsorted(entry)


def _names_all(path: bytes) -> bool:
    """Whether each name of a path, or of many joined ones, names something."""
    return b"\0" not in path and _NO_NAMES.isdisjoint(path.split(b"/"))


def _refuse_unsorted(entry: TreeEntry) -> None:
    names = [name for name, _ in entry.xattrs]
    if any(first >= second for first, second in pairwise(names)):
        raise ManifestUnreadable(f"the attributes of {name_text(entry.path)} are not sorted")


def _xattrs_out(xattrs: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, str], ...]:
    if not xattrs:
        return ()
    return tuple(
        [(_stored(name.encode("utf-8", "surrogateescape")), value.hex()) for name, value in xattrs]
    )


def _stored(raw: bytes) -> str:
    """Bytes as the text that a manifest stores: what is no plain ASCII is percent-encoded.

    Unlike `path_text`, which asks the interpreter what is printable: the next one
    knows more characters, and a root must not depend on that.
    """
    if not raw:
        return ""
    return raw.decode("ascii") if _PLAIN.fullmatch(raw) else quote_from_bytes(raw, safe=_SAFE)


def _xattrs_in(stored: Any) -> tuple[tuple[str, bytes], ...]:
    """Read what `_xattrs_out` gave; anything else raises."""
    if type(stored) is not list:
        raise TypeError("extended attributes are no list")
    pairs = tuple([_xattr_of(name, value) for name, value in stored])
    if [list(pair) for pair in _xattrs_out(pairs)] != stored:
        raise ValueError("an extended attribute is not in canonical form")
    return pairs


def _xattr_of(name: Any, value: Any) -> tuple[str, bytes]:
    if type(name) is not str:
        raise TypeError("the name of an extended attribute is no text")
    return _raw(name).decode("utf-8", "surrogateescape"), bytes.fromhex(value)


def _texts_of(paths: Sequence[bytes]) -> Sequence[str]:
    """Paths as they are stored."""
    try:
        joined = b"\0".join(paths).decode("ascii")
    except UnicodeDecodeError:
        joined = "%"
    if _is_plain(joined):  # all at once: nearly every tree is so
        return joined.split("\0")
    return [_stored(path) for path in paths]


def _is_plain(joined: str) -> bool:
    """Whether texts joined by NUL are printable ASCII without `%`: they stand for themselves."""
    return "%" not in joined and joined.isascii() and joined.replace("\0", "").isprintable()


def _raws_of(texts: Sequence[str]) -> list[bytes]:
    """The bytes of stored texts; one that `_stored` would not give raises."""
    joined = "\0".join(texts)
    if _is_plain(joined) and joined.count("\0") == len(texts) - 1:
        return joined.encode("ascii").split(b"\0")
    raws = [_raw(text) if text else b"" for text in texts]
    if [_stored(raw) for raw in raws] != list(texts):
        raise ValueError("a text is not in canonical form")
    return raws


def _raw(text: str) -> bytes:
    return unquote_to_bytes(text) if "%" in text else text.encode()
