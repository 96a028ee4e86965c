"""The cross-check: the same calls counted by strace, which shares no code with the shim.

Owns the reading of strace's output. Only for comparing counts: strikes are the
shim's. The program runs bare under strace.

Law
T1. A count here follows the shim's rules: below a root, not `-shm`, opens only when
    they create or empty; one name for all spellings of an act.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crashes.harness.run import Bench, Command, base_environment, record
from tests.crashes.harness.snapshot import Snapshot

_DESCRIPTOR_FIRST: Final = {
    "write": "write",
    "pwrite64": "pwrite",
    "writev": "writev",
    "pwritev": "pwritev",
    "pwritev2": "pwritev",
    "sendfile": "sendfile",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "syncfs": "syncfs",
    "sync_file_range": "sync_file_range",
    "ftruncate": "ftruncate",
    "fallocate": "fallocate",
    "fchmod": "fchmod",
    "fchown": "fchown",
    "fsetxattr": "fsetxattr",
    "fremovexattr": "fremovexattr",
    "ioctl": "clone",
}
_ONE_PATH: Final = {
    "open": "open",
    "openat": "open",
    "creat": "open",
    "truncate": "truncate",
    "unlink": "unlink",
    "unlinkat": "unlink",
    "rmdir": "rmdir",
    "mkdir": "mkdir",
    "mkdirat": "mkdir",
    "chmod": "chmod",
    "fchmodat": "chmod",
    "chown": "chown",
    "lchown": "chown",
    "fchownat": "chown",
    "utimensat": "utimens",
    "setxattr": "setxattr",
    "lsetxattr": "setxattr",
    "removexattr": "removexattr",
    "lremovexattr": "removexattr",
}
_TWO_PATHS: Final = {
    "rename": "rename",
    "renameat": "rename",
    "renameat2": "rename",
    "link": "link",
    "linkat": "link",
    "symlink": "symlink",
    "symlinkat": "symlink",
}
_UNSEEN: Final = ("openat2", "splice", "msync", "io_uring_enter", "utimes", "mknodat", "mknod")
"""Counted under their own names: the shim has no wrapper, so any use makes the counts differ."""
_THIRD_DESCRIPTOR: Final = "copy_file_range"
_TRACED: Final = (*_DESCRIPTOR_FIRST, *_ONE_PATH, *_TWO_PATHS, *_UNSEEN, _THIRD_DESCRIPTOR)

_LINE: Final = re.compile(r"^(\d+) +(\w+)\((.*)$")
_RESUMED: Final = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_UNFINISHED: Final = "<unfinished ...>"
_DESCRIPTOR: Final = re.compile(r"(?:AT_FDCWD|-?\d+)<((?:[^>\\]|\\.)*)>")
_PLACE: Final = re.compile(r'(?:(?:AT_FDCWD|-?\d+)<((?:[^>\\]|\\.)*)>, )?"((?:[^"\\]|\\.)*)"')
TRACE_S_MAX: Final = 120.0


@dataclass(frozen=True, slots=True)
class BothCounts:
    """The calls of one command by name, as each side counted them."""

    by_shim: Counter[str]
    by_strace: Counter[str]


@dataclass(slots=True)
class _Names:
    """Which paths exist below the roots, kept up to date from the trace itself."""

    roots: tuple[Path, ...]
    folder: Path
    existing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for root in self.roots:
            for where, folders, files in os.walk(root):
                self.existing.update(str(Path(where) / name) for name in folders + files)

    def counts(self, path: str) -> bool:
        """Say whether a path is watched."""
        below = [root for root in self.roots if Path(path).is_relative_to(root)]
        # A log is written by a thread of its own, and no number is given out for it.
        logged = any(path.startswith(f"{root}/logs/") for root in below) or "home/logs/" in path
        return bool(below) and not logged and not path.endswith("-shm")


def _text(escaped: str) -> str:
    return escaped.encode("latin-1").decode("unicode_escape").encode("latin-1").decode()


def _places(arguments: str, folder: Path) -> list[str]:
    """Every quoted path, made absolute by the descriptor before it."""
    found = []
    for base, path in _PLACE.findall(arguments):
        found.append(os.path.normpath(Path(_text(base) or folder) / _text(path)))
    return found


def _calls(text: str) -> Iterator[tuple[str, str]]:
    """Name and arguments with the answer, in the order the calls began."""
    open_calls: dict[str, int] = {}
    calls: list[tuple[str, str]] = []
    for line in text.splitlines():
        resumed = _RESUMED.match(line)
        if resumed:
            index = open_calls.pop(resumed[1])
            calls[index] = (calls[index][0], calls[index][1] + resumed[2])
            continue
        begun = _LINE.match(line)
        if begun is None:
            continue
        process, name, rest = begun.groups()
        if rest.endswith(_UNFINISHED):
            open_calls[process] = len(calls)
            rest = rest.removesuffix(_UNFINISHED)
        calls.append((name, rest))
    return iter(calls)


def _descriptor_call(name: str, rest: str, names: _Names) -> str | None:
    if name == "ioctl" and "FICLONE" not in rest:
        return None
    descriptors = _DESCRIPTOR.findall(rest)
    index = 1 if name == _THIRD_DESCRIPTOR else 0
    path = _text(descriptors[index]) if len(descriptors) > index else ""
    act = _DESCRIPTOR_FIRST.get(name, name)
    return act if names.counts(path.removesuffix(" (deleted)")) else None


def _path_call(name: str, rest: str, names: _Names) -> str | None:
    place = next(iter(_places(rest, names.folder)), "")
    if not place and name == "utimensat":
        return "utimens" if any(names.counts(_text(d)) for d in _DESCRIPTOR.findall(rest)) else None
    if not names.counts(place):
        return None
    act = _ONE_PATH[name]
    if act == "open":
        creates = name == "creat" or ("O_CREAT" in rest and place not in names.existing)
        if not creates and not re.search(r"O_TRUNC|O_TMPFILE", rest):
            return None
    if act in {"open", "mkdir"}:
        names.existing.add(place)
    if act in {"unlink", "rmdir"}:
        names.existing.discard(place)
    return "rmdir" if "AT_REMOVEDIR" in rest else act


def _two_path_call(name: str, rest: str, names: _Names) -> str | None:
    places = _places(rest, names.folder)
    act = _TWO_PATHS[name]
    if act == "symlink":
        places = places[-1:]
    if not any(names.counts(place) for place in places):
        return None
    if "RENAME_EXCHANGE" in rest:
        return "rename_exchange"
    if act == "rename":
        names.existing.discard(places[0])
    names.existing.add(places[-1])
    return "rename_noreplace" if "RENAME_NOREPLACE" in rest else act


def count_calls(text: str, command: Command) -> Counter[str]:
    """Count the watched calls of a trace; the roots must be as they were before the run."""
    names = _Names(roots=command.roots, folder=command.folder)
    counted = Counter[str]()
    for name, rest in _calls(text):
        if " ? ERESTART" in rest:
            continue
        if name in _UNSEEN:
            act = name if any(str(root) in rest for root in names.roots) else None
        elif name in _ONE_PATH:
            act = _path_call(name, rest, names)
        elif name in _TWO_PATHS:
            act = _two_path_call(name, rest, names)
        else:
            act = _descriptor_call(name, rest, names)
        if act is not None:
            counted[act] += 1
    return counted


def trace(command: Command, bench: Bench) -> str:
    """Run a command bare under strace and return what strace wrote.

    Raises: CalledProcessError when the command fails.
    """
    files = bench.files()
    calls = ",".join(f"?{name}" for name in sorted(set(_TRACED)))
    options = ["-f", "-y", "-qq", "-s", "0", "-e", f"trace={calls}", "-e", "signal=none"]
    try:
        subprocess.run(
            ["strace", *options, "-o", str(files.log), "--", *command.argv],
            check=True,
            capture_output=True,
            cwd=command.folder,
            env=base_environment(command),
            timeout=TRACE_S_MAX,
        )
        return files.log.read_text(encoding="latin-1")
    finally:
        files.close()


def both_counts(command: Command, before: Snapshot, bench: Bench) -> BothCounts:
    """Run a command from one state under the shim, then under strace; the state is put back."""
    recorded = record(command, bench).log.recorded
    before.restore()
    written = trace(command, bench)
    before.restore()
    return BothCounts(
        by_shim=Counter(point.call for point in recorded),
        by_strace=count_calls(written, command),
    )
