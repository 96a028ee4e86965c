"""What is signed of a release. Pure.

Owns the statement: which manifest and which payload a name and a version stand
for. It is canonical JSON, so that the same release gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["STATEMENT_FORMAT", "FilePayload", "Payload", "Statement", "TreePayload"]

STATEMENT_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class FilePayload:
    """What is signed of a plain file."""

    mode: int
    sha256: str
    size: int

    @property
    def content(self) -> str:
        """The identity of its content."""
        return f"sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class TreePayload:
    """What is signed of a tree: `tree` is the SHA-256 of its manifest, `size` that of its files."""

    files: int
    root: str
    size: int
    tree: str

    @property
    def content(self) -> str:
        """The identity of all that is in it, attributes included."""
        return self.root


Payload = FilePayload | TreePayload


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed. `manifest` is the SHA-256 of noodle.toml."""

    kind: str
    manifest: str
    name: str
    payload: Payload
    version: str

    def encode(self) -> bytes:
        """It as bytes."""
        stated = {**asdict(self), "format": STATEMENT_FORMAT}
        return json.dumps(stated, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Statement | None:
        """Read what `encode` gave; None for anything else."""
        try:
            stated = json.loads(data)
            found = cls(
                kind=stated["kind"],
                manifest=stated["manifest"],
                name=stated["name"],
                payload=_payload_of(stated["payload"]),
                version=stated["version"],
            )
        except (ValueError, KeyError, TypeError):
            return None
        return found if found.encode() == data else None


def _payload_of(stated: Mapping[str, Any]) -> Payload:
    return TreePayload(**stated) if "tree" in stated else FilePayload(**stated)
