"""Measurement 9: a whole directory, beside OSTree, rsync and cp.

Each round changes a twentieth of the files of one source tree; then each side
brings that version into place, from a source on the same file system. Noodle
plans, stages, reads back, makes durable, journals and commits; OSTree and rsync
write a new folder beside the old one and exchange nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import blake3

from benchmarks.harness import Answer, Goal, Of, Question, Rounds, Sense, Spread
from benchmarks.sizes import Sizes
from noodle_engine import Noodle
from noodle_engine.disk.names import exchange, fsync_folder

CHANGED_OF = 20
SEED = 1
SMALL = """
import os, resource, sys, time
began = time.perf_counter()
ended = os.spawnv(os.P_WAIT, sys.argv[1], sys.argv[1:])
took = time.perf_counter() - began
print(took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended)
"""
"""Runs a command, and tells its seconds and its greatest memory (kB).

The kernel's figure for a process begins with that of the process which made it: this one
is smaller than whatever it measures.
"""
WALKS = (
    "A tree is looked at before each promise made of it (docs/decisions/0018), and one look "
    "is a status of every file; the whole new tree is read back before the exchange. The others "
    "trust what they wrote. Importing Noodle is a tenth of it."
)
QUESTIONS = (
    Question(
        "tree.ostree",
        "a directory to its next version, files shared (`immutable`): plan, apply, committed",
        "s",
        "`ostree pull-local` from an archive and `checkout -H`",
        Goal(Sense.AT_MOST, 0.8),
        WALKS,
    ),
    Question("tree.ostree.bare", "the same", "s", "the same from a bare repository: links only"),
    Question(
        "tree.rsync",
        "the same",
        "s",
        "`rsync -a --checksum --link-dest`",
        Goal(Sense.AT_MOST, 0.6),
        WALKS,
    ),
    Question("tree.copy", "the same, every file copied", "s", "`cp -a` and a sync"),
    Question(
        "tree.rollback",
        "going back to the version before, its tree wholly read",
        "s",
        "every file read once, and its BLAKE3",
    ),
    Question(
        "tree.check",
        "`apply` of what is installed: nothing to do",
        "ms",
        "every file looked at (`stat`)",
        Goal(Sense.AT_MOST, 100.0, Of.VALUE),
        WALKS,
    ),
    Question(
        "tree.verify",
        "`component verify --full`",
        "ms",
        "every file read once, and its BLAKE3",
        Goal(Sense.AT_MOST, 1.5),
        "Beside the content it reads owner, mode and extended attributes of every entry, and looks "
        "at each file again after reading it.",
    ),
    Question(
        "tree.flip",
        "the exchange of two folders, durable",
        "ms",
        "a rename and a sync of the folder",
        Goal(Sense.AT_MOST, 0.5, Of.VALUE),
        "It is the disk's sync: the exchange itself is a small part of it.",
    ),
    Question(
        "tree.memory",
        "the most memory that such an upgrade takes",
        "MB",
        "an interpreter that imports Noodle",
        Goal(Sense.AT_MOST, 150.0, Of.VALUE),
        "It holds the manifests of both trees, an object for each of their entries.",
    ),
)


@dataclass
class Source:
    """One tree of many small files and a few large ones, changed from version to version."""

    folder: Path
    files: int
    total_bytes: int
    version: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    @property
    def tree(self) -> Path:
        """The tree."""
        return self.folder / "tree"

    def next_version(self) -> str:
        """Write it, or change a twentieth of it; the version."""
        self.version += 1
        changed = (
            range(self.files)
            if self.version == 1
            else range(self.version % CHANGED_OF, self.files, CHANGED_OF)
        )
        for number in changed:
            path = self.tree / str(number % 40) / str(number // 40 % 25) / f"file-{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # a file of its own: the others may share the old
            path.write_bytes(self.chance.randbytes(self._size(number)))
        return f"{self.version}.0.0"

    def _size(self, number: int) -> int:
        """Of a hundred files one is large: it holds a third of all bytes together with its like."""
        mean = self.total_bytes / self.files
        return max(1, int(mean * (33 if number % 100 == 0 else 2 / 3)))


@dataclass
class Targets:
    """Everything that takes the source's versions."""

    folder: Path
    source: Source
    peaks_mb: list[float] = field(default_factory=list)

    def noodle(self, name: str) -> Callable[[], float]:
        """`noodle apply` of the newest version, in a process of its own."""

        def run() -> float:
            wanted = f"web@{self.source.version}.0.0"
            words = [
                "--home",
                str(self.folder / name / "home"),
                "--quiet",
                "apply",
                wanted,
                "--yes",
            ]
            took, peak_mb = watched([sys.executable, "-m", "noodle_engine.cli", *words])
            self.peaks_mb.append(peak_mb)
            return took

        return run

    def add(self, name: str, version: str, *, immutable: bool) -> None:
        """Make the source known as a release."""
        home = self.folder / name / "home"
        if not home.exists():
            (self.folder / name / "srv").mkdir(parents=True)
            Noodle.init(home)
        manifest = self.source.folder / "noodle.toml"
        manifest.write_text(
            f'format = 1\n[component]\nname = "web"\nversion = "{version}"\nkind = "directory"\n'
            f'[payload]\npath = "tree"\n[target]\npath = "{self.folder / name / "srv" / "web"}"\n'
            f'layout = "tree"\nimmutable = {str(immutable).lower()}\n'
        )
        with Noodle.open(home) as noodle:
            noodle.add(self.source.folder)

    def commit(self, mode: str) -> None:
        """Make the source known to OSTree."""
        repository = self.folder / f"ostree-{mode}"
        if not repository.exists():
            quietly("ostree", f"--repo={repository}", "init", f"--mode={mode}")
            quietly("ostree", f"--repo={repository}-there", "init", "--mode=bare")
        quietly(
            "ostree",
            f"--repo={repository}",
            "commit",
            "-b",
            "main",
            f"--tree=dir={self.source.tree}",
        )

    def ostree(self, mode: str) -> Callable[[], float]:
        """Pull the newest version and check it out."""
        repository = self.folder / f"ostree-{mode}"
        there = f"--repo={repository}-there"

        def run() -> float:
            new = self.folder / f"ostree-{mode}-{self.source.version}"
            took = timed(["ostree", there, "pull-local", str(repository), "main"])
            return took + timed(["ostree", there, "checkout", "-H", "main", str(new)])

        return run

    def rsync(self) -> float:
        """A new folder, what is unchanged linked to the one before."""
        number = self.source.version
        new, old = (self.folder / f"rsync-{one}" for one in (number, number - 1))
        links = [f"--link-dest={old}"] if old.exists() else []
        return timed(["rsync", "-a", "--checksum", *links, f"{self.source.tree}/", f"{new}/"])

    def copy(self) -> float:
        """A whole copy, durable."""
        new = self.folder / f"copy-{self.source.version}"
        took = timed(["cp", "-a", str(self.source.tree), str(new)])
        return took + timed(["sync", "-f", str(new)])


def timed(command: list[str]) -> float:
    """Run a command; the seconds it took. Raises CalledProcessError."""
    began = time.perf_counter()
    quietly(*command)
    return time.perf_counter() - began


def watched(command: list[str]) -> tuple[float, float]:
    """Run a command; its seconds and its greatest memory. Raises CalledProcessError."""
    small = [sys.executable, "-I", "-S", "-c", SMALL, *command]
    took, peak_kb = subprocess.check_output(small, text=True).split()[-2:]
    return float(took), int(peak_kb) / 1024


def quietly(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row; those beside a program that is not installed are left out."""
    folder.mkdir(parents=True)
    (folder / "source").mkdir()
    source = Source(folder / "source", sizes.tree_files, sizes.tree_bytes)
    targets = Targets(folder, source)
    sides: dict[str, Callable[[], float]] = {
        "noodle": targets.noodle("shared"),
        "noodle-copy": targets.noodle("copied"),
        "copy": targets.copy,
    }
    if shutil.which("ostree"):
        sides |= {mode: targets.ostree(mode) for mode in ("archive", "bare")}
    if shutil.which("rsync"):
        sides["rsync"] = targets.rsync
    values: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(1 + sizes.tree_rounds):
        version = source.next_version()
        targets.add("shared", version, immutable=True)
        targets.add("copied", version, immutable=False)
        for mode in ("archive", "bare"):
            if mode in sides:
                targets.commit(mode)
        os.sync()
        names = list(sides)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            took = sides[name]()
            if number:  # the first brings everything in
                values[name].append(took)
    rounds = Rounds(values)
    answers = [rounds.answer("tree.copy", "noodle-copy", "copy")]
    for key, side in (
        ("tree.ostree", "archive"),
        ("tree.ostree.bare", "bare"),
        ("tree.rsync", "rsync"),
    ):
        if side in sides:
            answers.append(rounds.answer(key, "noodle", side))
    return [*answers, *_inside(targets, sizes), _flip(folder, sizes), _memory(targets)]


def _inside(targets: Targets, sizes: Sizes) -> list[Answer]:
    """What is measured in this process, on what was installed last."""
    srv = targets.folder / "shared" / "srv" / "web"
    home = targets.folder / "shared" / "home"
    wanted = f"web@{targets.source.version}.0.0"
    values: dict[str, list[float]] = {
        name: [] for name in ("check", "stat", "verify", "read", "back", "read-s")
    }
    with Noodle.open(home) as noodle:
        for _ in range(sizes.tree_rounds):
            values["check"].append(_ms(lambda: noodle.apply([wanted])))
            values["stat"].append(_ms(lambda: _stat_all(srv)))
            values["verify"].append(_ms(lambda: noodle.verify(full=True)))
            values["read"].append(_ms(lambda: _read_all(srv)))
        for _ in range(sizes.tree_rounds):
            values["back"].append(_ms(lambda: noodle.rollback("web")) / 1000)
            values["read-s"].append(_ms(lambda: _read_all(srv)) / 1000)
    rounds = Rounds(values)
    return [
        rounds.answer("tree.check", "check", "stat"),
        rounds.answer("tree.verify", "verify", "read"),
        rounds.answer("tree.rollback", "back", "read-s"),
    ]


def _flip(folder: Path, sizes: Sizes) -> Answer:
    """Two folders exchanged, and one renamed there and back."""
    place = folder / "flip"
    for name in ("a", "b"):
        (place / name).mkdir(parents=True)
    ours, theirs = [], []
    for _ in range(20 * sizes.tree_rounds):

        def flip() -> None:
            exchange(place / "a", place / "b")
            fsync_folder(place)

        def rename() -> None:
            (place / "a").rename(place / "c")
            fsync_folder(place)

        ours.append(_ms(flip))
        theirs.append(_ms(rename))
        (place / "c").rename(place / "a")
        fsync_folder(place)
    return Rounds({"ours": ours, "theirs": theirs}).answer("tree.flip", "ours", "theirs")


def _memory(targets: Targets) -> Answer:
    """The most of all upgrades, shared and copied, beside the imports alone."""
    _, imports = watched([sys.executable, "-c", "from noodle_engine import Noodle"])
    peak = max(targets.peaks_mb)
    return Answer(
        "tree.memory", Spread(peak, 0, 1), Spread(imports, 0, 1), Spread(peak / imports, 0, 1)
    )


def _ms(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _stat_all(tree: Path) -> None:
    for where, _, files in os.walk(tree):
        for name in files:
            os.lstat(f"{where}/{name}")


def _read_all(tree: Path) -> None:
    for where, _, files in os.walk(tree):
        for name in files:
            with open(f"{where}/{name}", "rb") as file:
                blake3.blake3(file.read()).digest()
