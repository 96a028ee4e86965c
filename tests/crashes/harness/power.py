"""Cuts the power: copies the disk of a run held still, and lets the copies boot.

Owns images, their checks and the choice of what the kernel had flushed. A copy
is always a state that the kernel itself could have left: blocks of two states
are never mixed, since that crosses flush barriers and finds faults that cannot be.

Laws
W1. The copies of a point are taken in the order as it is, subset flushed, all
    flushed, from a run that never goes on: flushing is its last act.
W2. A file system keeps its device number and path from base to copy, as through a reboot.
W3. Whatever happens, nothing stays mounted and no device stays attached.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.crashes.harness.loop import claimed_number, mounted
from tests.crashes.harness.point import Classify, Point, classify
from tests.crashes.harness.run import Bench, Command, Outcome, record, stopped_at
from tests.crashes.harness.sweep import FAILURES_MAX, Sample, Scenario

DISKS_MAX: Final = 2
"""Mounted images at once, over all processes of this machine's tests."""
TOOL_S_MAX: Final = 60.0
CHECK_CLEAN_OR_REPAIRED: Final = frozenset({0, 1})
MEBIBYTE: Final = 1024 * 1024


class FileSystem(StrEnum):
    """What an image is formatted as."""

    EXT4 = "ext4"
    EXT4_WITHOUT_JOURNAL = "ext4 without journal"
    XFS = "xfs"
    BTRFS = "btrfs"


@dataclass(frozen=True, slots=True)
class Format:
    """How to make one kind of image: its size in MiB, the argv before the image's path."""

    kind: str
    package: str
    size_mebibytes: int
    make: tuple[str, ...]
    check: tuple[str, ...] = ()


_EXT4: Final = ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0")
_EXT4_CHECK: Final = ("e2fsck", "-fy")
FORMATS: Final = {
    FileSystem.EXT4: Format("ext4", "e2fsprogs", 48, _EXT4, _EXT4_CHECK),
    FileSystem.EXT4_WITHOUT_JOURNAL: Format(
        "ext4", "e2fsprogs", 48, (*_EXT4, "-O", "^has_journal"), _EXT4_CHECK
    ),
    FileSystem.XFS: Format("xfs", "xfsprogs", 320, ("mkfs.xfs", "-q", "-f")),
    FileSystem.BTRFS: Format("btrfs", "btrfs-progs", 128, ("mkfs.btrfs", "-q", "-f")),
}


class Variant(StrEnum):
    """What the kernel had flushed when the power went."""

    AS_IT_IS = "as it is"
    SUBSET_FLUSHED = "subset flushed"
    ALL_FLUSHED = "all flushed"


class PowerFailed(AssertionError):
    """At least one cut left what must not be; the text holds each, with how to run it again."""


@dataclass(frozen=True, slots=True)
class PowerCounts:
    """What a power sweep did; one cut more than points: the one after the end."""

    scenario: str
    file_system: FileSystem
    recorded: int
    cuts: int
    missed: int
    booted: int
    repaired: int

    def __str__(self) -> str:
        return (
            f"{self.scenario}, power cut on {self.file_system}: {self.cuts} cuts, "
            f"{self.recorded} points recorded; {self.booted} copies booted and resumed, "
            f"{self.repaired} repaired by the check; missed {self.missed}"
        )


class Disk:
    """One image on a device number of its own; `folder/mount` is where it appears."""

    def __init__(self, file_system: FileSystem, folder: Path, number: int) -> None:
        self._format = FORMATS[file_system]
        self._number = number
        self.image = folder / "disk.img"
        self.base = folder / "base.img"
        self.mount_point = folder / "mount"
        self.mount_point.mkdir(parents=True)

    def format(self) -> None:
        """Make an empty base image."""
        self.base.touch()
        os.truncate(self.base, self._format.size_mebibytes * MEBIBYTE)
        _tool(*self._format.make, str(self.base))

    @contextmanager
    def mounted(self, image: Path) -> Iterator[Path]:
        """Mount an image where they all appear."""
        with mounted(self._number, image, self._format.kind, self.mount_point) as where:
            yield where

    def check(self, image: Path) -> bool:
        """Check an image as a boot would; say whether it needed repair.

        Raises: PowerFailed when it cannot be repaired.
        """
        if not self._format.check:
            return False
        ended = subprocess.run(
            [*self._format.check, str(image)],
            check=False,
            capture_output=True,
            timeout=TOOL_S_MAX,
            env=_tool_environment(),
        )
        if ended.returncode not in CHECK_CLEAN_OR_REPAIRED:
            raise PowerFailed(f"the file system cannot be repaired: {ended.stdout!r}")
        return ended.returncode != 0


@contextmanager
def disk(file_system: FileSystem, folder: Path) -> Iterator[Disk]:
    """Make a disk when fewer than DISKS_MAX are in use, else wait for one; `folder` is new."""
    with ExitStack() as stack:
        stack.enter_context(_slot())
        number = stack.enter_context(claimed_number())
        made = Disk(file_system, folder, number)
        made.format()
        yield made


@contextmanager
def _slot() -> Iterator[None]:
    """Hold one of the machine's slots; each is a locked file, so a dead holder holds nothing."""
    with ExitStack() as stack:
        names = [f"noodle-crash-disk-{os.geteuid()}-{slot}.lock" for slot in range(DISKS_MAX)]
        files = [
            stack.enter_context((Path(tempfile.gettempdir()) / name).open("wb")) for name in names
        ]
        for file in files:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            break
        else:
            fcntl.flock(files[os.getpid() % DISKS_MAX], fcntl.LOCK_EX)
        yield


def _tool_environment() -> dict[str, str]:
    return {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "LANG": "C.UTF-8"}


def _tool(*argv: str) -> None:
    subprocess.run(
        argv, check=True, capture_output=True, timeout=TOOL_S_MAX, env=_tool_environment()
    )


def copy_image(source: Path, copy: Path) -> None:
    """Copy what the device holds now; holes stay holes."""
    _tool("cp", "--sparse=always", "--reflink=never", str(source), str(copy))


def flush(path: Path, *, whole_file_system: bool = False) -> None:
    """Fsync a file or folder, or everything on its file system."""
    if whole_file_system:
        _tool("sync", "-f", str(path))
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_subset(folder: Path, chance: random.Random) -> int:
    """Fsync each regular file and folder with even chance, in random order; say how many."""
    everything = sorted(
        path
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and (path.is_dir() or path.is_file())
    )
    chosen = [path for path in everything if chance.getrandbits(1)]
    chance.shuffle(chosen)
    for path in chosen:
        flush(path)
    return len(chosen)


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where the power goes: before a point, or after the end (None)."""

    at: int
    point: Point | None


class _Cutter:
    """One scenario on one disk."""

    def __init__(
        self, scenario: Scenario, made: Disk, bench: Bench, seed: int, classify_path: Classify
    ) -> None:
        self._scenario = scenario
        self._disk = made
        self._bench = bench
        self._seed = seed
        self._classify = classify_path
        self.tally = Counter[str]()

    def prepare(self) -> tuple[Command, tuple[Point, ...]]:
        """Prepare on the base image; record on a copy of it."""
        with self._disk.mounted(self._disk.base) as root:
            (root / "work").mkdir()
            command = self._scenario.prepare(root / "work")
        copy_image(self._disk.base, self._disk.image)
        with self._disk.mounted(self._disk.image) as root:
            outcome = record(command, self._bench, classify_path=self._classify)
            assert outcome.returncode == command.returncode, (
                f"the run that nothing cuts failed: {outcome}"
            )
            self._scenario.check(root / "work")
        return command, outcome.log.recorded

    def cut(self, command: Command, cut: _Cut) -> tuple[Outcome, dict[Variant, Path]]:
        """Run up to the cut, and copy the disk as each variant left it."""
        copies = {v: self._disk.image.with_name(f"{v.name.lower()}.img") for v in Variant}
        chance = random.Random(f"{self._seed}-{cut.at}")
        copy_image(self._disk.base, self._disk.image)
        with (
            self._disk.mounted(self._disk.image) as root,
            stopped_at(command, self._bench, cut.at, classify_path=self._classify) as outcome,
        ):
            copy_image(self._disk.image, copies[Variant.AS_IT_IS])
            flush_subset(root / "work", chance)
            copy_image(self._disk.image, copies[Variant.SUBSET_FLUSHED])
            flush(root, whole_file_system=True)
            copy_image(self._disk.image, copies[Variant.ALL_FLUSHED])
        reached = outcome.returncode == (-signal.SIGSTOP if cut.point else 0)
        self.tally["cuts" if reached else "missed"] += 1
        return outcome, copies

    def boot(self, image: Path, outcome: Outcome) -> None:
        """Check, mount, judge, resume, judge again."""
        self.tally["repaired"] += self._disk.check(image)
        with self._disk.mounted(image) as root:
            self._scenario.crashed(root / "work", outcome)
            self._scenario.resume(root / "work")
            self._scenario.check(root / "work")
        self.tally["booted"] += 1


def power_sweep(
    scenario: Scenario,
    file_system: FileSystem,
    sample: Sample,
    *,
    bench: Bench,
    folder: Path,
    variants: tuple[Variant, ...] = tuple(Variant),
    failures_max: int = FAILURES_MAX,
    classify_path: Classify = classify,
) -> PowerCounts:
    """Cut the power before each point of `sample` and once after the end.

    `folder` must not exist; the scenario's folder is on the disk.

    Raises: PowerFailed, naming the cuts and variants, at most `failures_max`.
    """
    failures: list[str] = []
    with disk(file_system, folder) as made:
        cutter = _Cutter(scenario, made, bench, sample.seed, classify_path)
        command, recorded = cutter.prepare()
        cuts = [_Cut(point.number, point) for point in sample.of(recorded)]
        for cut in (*cuts, _Cut(len(recorded) + 1, None)):
            outcome, copies = cutter.cut(command, cut)
            for variant in variants:
                try:
                    cutter.boot(copies[variant], outcome)
                except AssertionError as problem:
                    where = cut.point or "the end"
                    failures.append(f"before {where}, {variant}: {problem}\n{outcome}")
            if len(failures) >= failures_max:
                break
    if failures:
        head = f"{scenario.name}, power cut on {file_system}, seed {sample.seed}"
        raise PowerFailed("\n\n".join([f"{head}: {len(failures)} copies failed", *failures]))
    return PowerCounts(
        scenario=scenario.name,
        file_system=file_system,
        recorded=len(recorded),
        cuts=cutter.tally["cuts"],
        missed=cutter.tally["missed"],
        booted=cutter.tally["booted"],
        repaired=cutter.tally["repaired"],
    )
