"""What a file object is: its root, its content identity, its attributes as text.

Owns the identity of kind `file`. A *root* is of the whole object, content and
attributes: two files with the same root are the same to whoever opens them. A
*content identity* is of the bytes alone: it is what a release's signature
states, and what a plan names before the attributes of the old are known.

    root      file: + BLAKE3 of the canonical JSON of gid, mode, sha256, uid, xattrs
    content   sha256: + SHA-256 of the bytes
"""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import blake3

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.files import FileFacts, ObjectKind, Owner, Progress, facts_of, kind_of
from noodle_engine.targets.exchange.objects import Found

__all__ = [
    "Attributes",
    "attributes_in",
    "attributes_of",
    "content_of",
    "find",
    "found_of",
    "root_of",
]

_VANISHED = (errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.ENXIO)
_LOOKS_MAX = 8


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a file has besides its content. `xattrs` None: what its folder gives."""

    mode: int
    owner: Owner
    xattrs: dict[str, bytes] | None

    def fit(self, other: Attributes) -> bool:
        """Whether a file that has `other` has these."""
        same = (self.mode, self.owner) == (other.mode, other.owner)
        return same and (self.xattrs is None or self.xattrs == other.xattrs)


def found_of(facts: FileFacts) -> Found:
    """A plain file as it was found."""
    return Found(ObjectKind.FILE, root_of(facts), content_of(facts), _as_text(facts))


def root_of(facts: FileFacts) -> str:
    """The root of a file object."""
    canonical = json.dumps(
        {
            "gid": facts.owner.gid,
            "mode": facts.mode,
            "sha256": facts.sha256,
            "uid": facts.owner.uid,
            "xattrs": _hex(facts),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return f"file:{blake3.blake3(canonical.encode()).hexdigest()}"


def content_of(facts: FileFacts) -> str:
    """The content identity of a file."""
    return f"sha256:{facts.sha256}"


def find(
    path: Path,
    *,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> Found:
    """What `path` names, wholly read. Reads only; links are not followed."""
    for _ in range(_LOOKS_MAX):
        kind = kind_of(path)
        if kind is not ObjectKind.FILE:
            return Found.other(kind)
        try:
            return found_of(facts_of(path, stop=stop, progress=progress))
        except DiskError as error:
            if error.number not in _VANISHED:
                raise  # it was a file and is something else now: look again
    return Found.other(kind_of(path))


def attributes_of(facts: FileFacts) -> Attributes:
    """The attributes of a file."""
    return Attributes(facts.mode, facts.owner, dict(facts.xattrs))


def attributes_in(text: Mapping[str, str]) -> Attributes | None:
    """The attributes that were recorded of a file, or None if it was absent.

    The inverse of what `found_of` writes.
    """
    if "mode" not in text:
        return None
    xattrs = json.loads(text["xattrs"])
    return Attributes(
        mode=int(text["mode"], 8),
        owner=Owner(int(text["uid"]), int(text["gid"])),
        xattrs={name: bytes.fromhex(value) for name, value in xattrs.items()},
    )


def _as_text(facts: FileFacts) -> dict[str, str]:
    return {
        "sha256": facts.sha256,
        "size": str(facts.size),
        "mode": f"{facts.mode:04o}",
        "uid": str(facts.owner.uid),
        "gid": str(facts.owner.gid),
        "xattrs": json.dumps(_hex(facts), sort_keys=True, separators=(",", ":")),
        "device": str(facts.device),
        "inode": str(facts.inode),
    }


def _hex(facts: FileFacts) -> dict[str, str]:
    return {name: value.hex() for name, value in facts.xattrs.items()}
