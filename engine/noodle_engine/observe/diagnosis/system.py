"""What a bundle tells of the machine: the system, its variables, libraries, and load.

Owns what of the environment may be shown: the names of all variables, and the values of
those few that are known to hold no secret. What is not known is not shown.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Container, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from noodle_engine.observe.secrets import SHOWN, Redactor

__all__ = ["dependencies_of", "environment_of", "performance_of", "system_of"]

HIDDEN: Final = "[not shown]"
_SECRET: Final = frozenset({"NOODLE_ANCHOR_TOKEN", "NOODLE_JOURNAL_KEY", "NOODLE_TOKEN"})
_PLAIN: Final = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LC_CTYPE",
        "LOGNAME",
        "NO_COLOR",
        "PATH",
        "PWD",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_STATE_HOME",
    }
)
_DISTRIBUTION: Final = "noodle-upgrade"


def system_of() -> dict[str, Any]:
    """The system that this runs on."""
    machine = os.uname()
    return {
        "system": machine.sysname,
        "kernel": machine.release,
        "machine": machine.machine,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "user": os.geteuid(),
    }


def environment_of(
    environment: Mapping[str, str], redactor: Redactor, settings: Container[str]
) -> dict[str, str]:
    """Every variable's name, and the value where it may be shown.

    `settings` are the names of those that are for settings: theirs may be.
    """
    return {
        redactor.text(name): _shown(name, value, redactor, settings)
        for name, value in sorted(environment.items())
    }


def _shown(name: str, value: str, redactor: Redactor, settings: Container[str]) -> str:
    if name in _SECRET:
        return SHOWN
    if name in _PLAIN or name in settings:
        return redactor.text(value)
    return HIDDEN


def dependencies_of() -> dict[str, str]:
    """The versions of Noodle and of all that is installed beside it."""
    found = {one.name: one.version for one in metadata.distributions() if one.name}
    own = found.pop(_DISTRIBUTION, None)
    return {_DISTRIBUTION: own or "not installed", **dict(sorted(found.items()))}


def performance_of(home: Path) -> dict[str, Any]:
    """Load, memory and space, as they are now. What cannot be read is left out."""
    found: dict[str, Any] = {"processors": os.cpu_count()}
    with suppress(OSError):
        found["load"] = list(os.getloadavg())
    with suppress(OSError):
        space = shutil.disk_usage(home)
        found["home_bytes"] = {"total": space.total, "free": space.free}
    with suppress(OSError, ValueError):
        found["memory_bytes"] = _memory()
    with suppress(OSError, ValueError, IndexError):
        resident = Path("/proc/self/statm").read_text("ascii").split()[1]
        found["resident_bytes"] = int(resident) * os.sysconf("SC_PAGE_SIZE")
    return found


def _memory() -> dict[str, int]:
    wanted = {"MemTotal": "total", "MemAvailable": "available", "SwapFree": "swap_free"}
    found = {}
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in wanted:
            found[wanted[name]] = int(rest.split()[0]) * 1024
    return found
