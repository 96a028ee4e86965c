"""Homes of two files, `web` and `api`, and what leads up to a struck command.

Owns the releases: three versions of each, the third never healthy; payloads
several writes long, so that they can be torn. Nothing here judges.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine import Noodle
from tests.crashes import engine_run
from tests.crashes.harness.point import Point
from tests.crashes.harness.run import Bench, Command, record, run
from tests.crashes.harness.shim import KILL
from tests.crashes.harness.snapshot import Snapshot

NAMES: Final = ("web", "api")
OLD, NEW, SICK = "1.0.0", "2.0.0", "3.0.0"
MODE: Final = 0o640
OWNER: Final = (1234, 4321)
MARK: Final = b"kept\x00"
LINES: Final = 4_000
RAN: Final = "hooks-that-ran"
PROGRAM: Final = (sys.executable, "-m", "noodle_engine.cli")


def content(name: str, version: str | None) -> bytes | None:
    """The payload of a version; None for no version."""
    return None if version is None else f"{name} {version}\n".encode() * LINES


def write_releases(folder: Path, *, hooked: bool = False) -> None:
    """Three versions of both files; the hooks of `hooked` ones write down when they ran."""
    for name in NAMES:
        for version in (OLD, NEW, SICK):
            release = folder / "releases" / f"{name}-{version}"
            release.mkdir(parents=True)
            (release / "payload").write_bytes(content(name, version) or b"")
            mark = "never" if version == SICK else version
            (release / "noodle.toml").write_text(
                f"""format = 1
[component]
name = "{name}"
version = "{version}"
kind = "file"
[payload]
path = "payload"
[target]
path = "{folder / "srv" / name}"
[[health]]
file = "{folder / "srv" / name}"
contains = "{mark}"
passes = 1
interval = 0.01
timeout = 1.0
within = 0.02
{_hooks(folder, name) if hooked else ""}"""
            )


def _hooks(folder: Path, name: str) -> str:
    """A hook that is taken back by another, and a check by command."""
    done, undone = (
        json.dumps(["sh", "-c", f'echo "{word} {name} $NOODLE_STEP_KEY" >> {folder / RAN}'])
        for word in ("do", "undo")
    )
    return f"""[[health]]
command = ["true"]
passes = 1
[[hooks]]
at = "after-swap"
command = {done}
undo = {undone}
"""


def make_home(folder: Path, *, hooked: bool = False) -> None:
    """A home that knows all releases, and a folder for the targets."""
    (folder / "srv").mkdir()
    write_releases(folder, hooked=hooked)
    Noodle.init(folder / "home")
    with Noodle.open(folder / "home") as noodle:
        for release in sorted((folder / "releases").iterdir()):
            noodle.add(release)


def apply(folder: Path, version: str, names: tuple[str, ...] = NAMES) -> None:
    """Files at `version`, with attributes of their own."""
    with Noodle.open(folder / "home") as noodle:
        views = noodle.apply([f"{name}@{version}" for name in names])
    assert views is not None
    assert views.state.value == "committed"
    for name in names:
        target = folder / "srv" / name
        if stat.S_IMODE(target.stat().st_mode) != MODE:
            os.chown(target, *OWNER)
            target.chmod(MODE)
            os.setxattr(target, "user.mark", MARK)


@dataclass(frozen=True, slots=True)
class Words:
    """One command: the words after `noodle --home HOME`."""

    bench: Bench
    folder: Path
    words: tuple[str, ...]

    @property
    def command(self) -> Command:
        """It as the harness runs it: JSON, no questions."""
        return Command(
            program=PROGRAM,
            arguments=("--home", str(self.folder / "home"), "--json", *self.words),
            roots=(self.folder / "home", self.folder / "srv"),
            folder=self.folder,
            entry="tests.crashes.engine_run:command",
            preload=engine_run.PRELOAD,
        )


def crashed_in_swap(bench: Bench, folder: Path, words: tuple[str, ...]) -> None:
    """Leave a command that exchanges files killed right before its last exchange."""
    command = Words(bench, folder, words).command
    taken = Snapshot.take(folder)
    recorded = record(command, bench).log.recorded
    taken.restore()
    exchanges = [point for point in recorded if _is_exchange(point)]
    assert exchanges, "no exchange was recorded"
    outcome = run(command, bench, KILL, exchanges[-1].number)
    assert outcome.killed, str(outcome)


def _is_exchange(point: Point) -> bool:
    return point.call == "rename_exchange" and any(".next-" in one.path for one in point.places)


def nothing_installed(_bench: Bench, folder: Path) -> None:
    """A home that knows the releases."""
    make_home(folder)


def old_installed(_bench: Bench, folder: Path) -> None:
    """Both files at the old version."""
    make_home(folder)
    apply(folder, OLD)


def old_installed_with_hooks(_bench: Bench, folder: Path) -> None:
    """Both files at the old version, their releases with hooks."""
    make_home(folder, hooked=True)
    apply(folder, OLD)
    (folder / RAN).write_text("")


def new_installed(_bench: Bench, folder: Path) -> None:
    """Both files at the new version, the old ones kept."""
    make_home(folder)
    apply(folder, OLD)
    apply(folder, NEW)


def many_kept(_bench: Bench, folder: Path) -> None:
    """Several old versions of one file kept, of which the settings keep one."""
    make_home(folder)
    apply(folder, OLD)
    apply(folder, NEW)
    with Noodle.open(folder / "home") as noodle:
        noodle.rollback("web")
        noodle.apply([f"web@{NEW}"])
        assert len(noodle.points("web").points) == 2
    file = folder / "home" / "config" / "runtime_upgrade_config.json"
    settings = json.loads(file.read_text())
    settings["runtime_upgrade"] = {"rollback": {"max_rollback_points": 1}}
    file.write_text(json.dumps(settings))


def half_swapped(bench: Bench, folder: Path) -> None:
    """Both files half way from old to new, the engine killed."""
    old_installed(bench, folder)
    crashed_in_swap(bench, folder, wanted(NEW)(folder))


def half_undone(bench: Bench, folder: Path) -> None:
    """Both files half way from old to new, and half of that taken back; the engine killed twice."""
    half_swapped(bench, folder)
    crashed_in_swap(bench, folder, abort_the_open(folder))


def wanted(version: str) -> Callable[[Path], tuple[str, ...]]:
    """The words that apply a version of both."""
    words = ("apply", *(f"{name}@{version}" for name in NAMES), "--yes")
    return lambda _folder: words


def always(*words: str) -> Callable[[Path], tuple[str, ...]]:
    """The same words for each folder."""
    return lambda _folder: words


def abort_the_open(folder: Path) -> tuple[str, ...]:
    """The words that abort what is open."""
    with Noodle.open(folder / "home") as noodle:
        (only,) = noodle.status().open
    return ("abort", only.upgrade)
