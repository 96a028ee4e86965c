"""A journal's home for tests: seeded chance, a clock that only counts, a fold that only counts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from noodle_journal import Identity, Journal, JsonValue, Kind, NewRecord, Reader, Record
from noodle_journal.creation import Created

MEMORY = Path("/dev/shm")
MASTER_KEY = bytes(range(32))
MACHINE = "machine-a"
START_NS = 1_700_000_000_000_000_000


@dataclass
class Place:
    """One home and the world its writer is handed."""

    folder: Path
    seed: int = 1
    master_key: bytes = MASTER_KEY
    now_ns: int = START_NS
    seen: list[Record] = field(default_factory=list)
    created: Created | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def entropy(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def wall_ns(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def state(self) -> Mapping[str, JsonValue]:
        return {"seen": len(self.seen)}

    def on_commit(self, records: Sequence[Record]) -> None:
        self.seen.extend(records)

    def create(self) -> Place:
        self.created = Journal.create(self.folder, master_key=self.master_key, entropy=self.entropy)
        return self

    def open(
        self,
        *,
        adopt: bool = False,
        machine: str = MACHINE,
        epoch_seconds_max: int = 86_400,
        plain: bool = False,
    ) -> Journal:
        return Journal.open(
            self.folder,
            master_key=self.master_key,
            wall_ns=self.wall_ns,
            entropy=self.entropy,
            identity=Identity.of(self.folder / "journal.db", machine),
            state=self.state,
            on_commit=self.on_commit,
            adopt=adopt,
            epoch_seconds_max=epoch_seconds_max,
            plain=plain,
        )

    def reader(self) -> Reader:
        return Journal.read_only(self.folder, master_key=self.master_key)


def note(text: str, run: str | None = None) -> NewRecord:
    return NewRecord(Kind.NOTE, run, {"code": "test", "text": text})


def memory_place(seed: int = 1) -> Iterator[Place]:
    """A new journal on a memory file system where there is one."""
    root = MEMORY if MEMORY.is_dir() else None
    with TemporaryDirectory(dir=root, prefix="noodle-journal-") as folder:
        yield Place(Path(folder), seed).create()
