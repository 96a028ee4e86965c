"""Every journal that a test has made, checked by the verifier that was written from the page.

Owns how journals are found at a test's end, and the process that checks them: one for each
worker, because this process may have them open, and SQLite's locks are lost where a process
opens a file twice. Where the second verifier finds damage the product must name the same;
what neither the page nor it knows of (bytes that SQLite cannot read) is left to the product.

A small run looks after one test of EVERY_TEST, chosen by its name; a wide one after each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.breadth import BREADTH, Breadth

__all__ = ["Opinions", "differing", "homes_in", "is_looked_after"]

EVERY_TEST: Final = 8
DEPTH_MAX: Final = 3
ENTRIES_MAX: Final = 100
"""A folder with more in it is a target, not a home."""
HOMES_MAX: Final = 8
ROOM_BYTES: Final = 1 << 20
_ROOT: Final = Path(__file__).resolve().parents[1]
_BEYOND: Final = {"store_damaged", "keystore_damaged"}


def is_looked_after(test: str) -> bool:
    """Whether the journals of this test are checked in this run."""
    return BREADTH is not Breadth.SMALL or zlib.crc32(test.encode()) % EVERY_TEST == 0


def homes_in(values: Mapping[str, object]) -> list[tuple[Path, bytes | None]]:
    """The homes in the folders that a test's fixtures gave it, and their keys if they say them."""
    found: dict[Path, bytes | None] = {}
    for value in values.values():
        key = getattr(value, "master_key", None)
        for place in (value, getattr(value, "folder", None), getattr(value, "path", None)):
            if isinstance(place, Path):
                for home in _homes_below(place, DEPTH_MAX):
                    found.setdefault(home, key if isinstance(key, bytes) else None)
    return list(found.items())[:HOMES_MAX]


def _homes_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listed:
            entries = [one for _, one in zip(range(ENTRIES_MAX), listed, strict=False)]
    except OSError:
        return
    names = {one.name for one in entries}
    if {"journal.db", "keystore.db"} <= names:
        yield folder
    elif depth and len(entries) < ENTRIES_MAX:
        for one in entries:
            if one.is_dir(follow_symlinks=False):
                yield from _homes_below(Path(one.path), depth - 1)


@dataclass
class Opinions:
    """The process that is asked."""

    checked: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def differing(self, home: Path, key: bytes | None) -> str | None:
        """What the two verifiers say differently of a home, or None.

        Nothing is asked on a full disk: to read, SQLite writes an index of its log.
        """
        if os.statvfs(home).f_bavail * os.statvfs(home).f_frsize < ROOM_BYTES:
            return None
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tests.second_opinion import serve; serve()"],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None  # both are pipes
        assert self._process.stdout is not None
        asked = {"home": str(home), "key": None if key is None else key.hex()}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self.checked += 1
        return None if answer is None else str(answer)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            with self._process:
                assert self._process.stdin is not None
                self._process.stdin.close()
            self._process = None


def differing(home: Path, key: bytes | None = None) -> str | None:
    """What the two verifiers say differently of a home that nobody here has open, or None."""
    public = _hex(home / "keys" / "log.pub")
    if public is None:
        return None  # its making was cut short
    second, used, why = _second(home, public, key or _hex(home / "keys" / "master.key"))
    if second is not None and second[1] is None:
        return None
    from noodle_journal import NoodleError, verify  # noqa: PLC0415 - hardly ever

    try:
        report = verify(home, master_key=used, public_key=public)
    except NoodleError:
        return None  # the product does not even look
    bad = report.first_bad
    if second is None:
        return None if bad is not None else f"the second verifier fails: {why}"
    first = None if bad is None else (bad.seq, bad.kind.value)
    if first == second or (bad is not None and bad.kind.value in _BEYOND):
        return None
    return f"the product says {first}, the second verifier {second}"


def _second(
    home: Path, public: bytes, key: bytes | None
) -> tuple[tuple[int, str | None] | None, bytes | None, str]:
    """What the second verifier says, with which key; else what it fails with.

    With a key that is not (or no longer) the home's it can still look as others do.
    """
    from tests.attacks import second_verifier  # noqa: PLC0415 - only a few processes ask

    why = ""
    for one in dict.fromkeys((key, None)):
        try:
            return second_verifier.verify(home, public, one), one, ""
        except Exception as error:  # noqa: BLE001 - what is no journal at all is not its business
            why = f"{type(error).__name__}: {error}"
    return None, None, why


def _hex(path: Path) -> bytes | None:
    try:
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError):
        return None


def serve() -> None:
    """Answer for one home a line, until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        key = None if asked["key"] is None else bytes.fromhex(asked["key"])
        said = differing(Path(asked["home"]), key)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
