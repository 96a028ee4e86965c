"""Builds the preload shim and names what it can do.

Owns the compiled file and the words of the shim's environment. It never runs
a program.
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

SOURCES: Final = ("shim.c", "calls.c")
HEADERS: Final = ("shim.h",)
BUILD_S_MAX: Final = 60.0
COMPILER_FLAGS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
LIBRARIES: Final = ("-ldl", "-lpthread")


class Mode(StrEnum):
    """What happens at the struck call; the values are the shim's own words."""

    RECORD = "record"
    KILL = "kill"
    KILL_AFTER = "kill_after"
    ERROR = "error"
    TORN = "torn"
    SHORT = "short"
    STOP = "stop"


class Effect(StrEnum):
    """What kind of call it is: decides which strikes apply."""

    CHANGES = "changes"
    ALLOCATES = "allocates"
    TRANSFERS = "transfers"


@dataclass(frozen=True, slots=True)
class Strike:
    """What to do at a point.

    `error_number` is for `Mode.ERROR`; `repeat` says how many numbers in a row
    fail, 0 meaning all from the point on. `whole_group` kills the process group
    instead of the calling process.
    """

    mode: Mode
    error_number: int = 0
    repeat: int = 1
    whole_group: bool = False

    def applies_to(self, effect: Effect) -> bool:
        """Say whether a call of this kind can be struck so (the shim decides alike)."""
        if self.mode in {Mode.TORN, Mode.SHORT}:
            return effect is Effect.TRANSFERS
        if self.mode is Mode.ERROR and self.error_number == errno.ENOSPC:
            return effect is not Effect.CHANGES
        return True

    def __str__(self) -> str:
        if self.mode is not Mode.ERROR:
            return self.mode.value
        name = errno.errorcode.get(self.error_number, str(self.error_number))
        return f"{name} {'from there on' if self.repeat == 0 else f'x{self.repeat}'}"


KILL: Final = Strike(Mode.KILL)
KILL_AFTER: Final = Strike(Mode.KILL_AFTER)
TORN: Final = Strike(Mode.TORN)
SHORT: Final = Strike(Mode.SHORT)
STOP: Final = Strike(Mode.STOP)
EIO: Final = Strike(Mode.ERROR, errno.EIO)
ENOSPC: Final = Strike(Mode.ERROR, errno.ENOSPC)
DISK_FULL: Final = Strike(Mode.ERROR, errno.ENOSPC, repeat=0)


def build(folder: Path) -> Path:
    """Compile the shim into `folder` and return its path; compiled once for each content.

    Raises: CalledProcessError with the compiler's words when it does not compile.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for name in (*SOURCES, *HEADERS):
        digest.update((here / name).read_bytes())
    built = folder / f"crash-shim-{digest.hexdigest()[:16]}.so"
    if built.exists():
        return built
    unfinished = folder / f"{built.name}.{os.getpid()}"
    sources = [str(here / name) for name in SOURCES]
    subprocess.run(
        ["cc", *COMPILER_FLAGS, "-o", str(unfinished), *sources, *LIBRARIES],
        check=True,
        timeout=BUILD_S_MAX,
    )
    unfinished.rename(built)
    return built
