"""What the doctor says of machine, clock and file system, from what was read of them.

Owns the requirements. Pure but for `this_machine`; reads are handed in.
"""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from noodle_engine.disk.space import Mount
from noodle_engine.execute.timing.clock import Reading
from noodle_engine.machine.text import path_text

__all__ = [
    "Check",
    "Machine",
    "check_clock",
    "check_file_system",
    "check_machine",
    "this_machine",
]

KERNEL_MIN: Final = (5, 6)
PYTHON_MIN: Final = (3, 11)
YEARS: Final = (2025, 2100)
"""A clock that shows another year is wrong."""
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "virtiofs"})
_TRIED = frozenset({"ext4", "xfs", "btrfs"})


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `ok` None: not known, or a risk to weigh. `remedy` is there unless all is well."""

    name: str
    ok: bool | None
    found: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """What is run on."""

    system: str
    processor: str
    kernel: str
    implementation: str
    python: tuple[int, int]


def this_machine() -> Machine:
    """What is run on, as the interpreter tells it."""
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        kernel=platform.release(),
        implementation=platform.python_implementation(),
        python=sys.version_info[:2],
    )


def check_machine(machine: Machine) -> Check:
    """Linux on x86-64, a kernel and a Python that are new enough."""
    python = ".".join(map(str, machine.python))
    found = (
        f"{machine.system} {machine.kernel} on {machine.processor}, "
        f"{machine.implementation} {python}"
    )
    missing = []
    if machine.system != "Linux" or machine.processor not in ("x86_64", "AMD64"):
        missing.append("Linux on x86-64")
    if machine.system == "Linux" and _version_of(machine.kernel) < KERNEL_MIN:
        missing.append(f"a kernel of {_dotted(KERNEL_MIN)} or later")
    if machine.implementation != "CPython" or machine.python < PYTHON_MIN:
        missing.append(f"CPython {_dotted(PYTHON_MIN)} or later")
    if not missing:
        return Check("platform", ok=True, found=found)
    return Check("platform", ok=False, found=found, remedy=f"Noodle needs {', '.join(missing)}")


def check_clock(now: Reading, last_ms: int | None) -> Check:
    """A wall clock in this century's years, and not behind the journal."""
    try:
        moment = datetime.fromtimestamp(now.wall_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    found = f"{moment.isoformat(timespec='seconds')}"
    remedy = "set the clock (`timedatectl set-ntp true`)"
    if not YEARS[0] <= moment.year <= YEARS[1]:
        return Check("clock", ok=False, found=f"{found}, which cannot be", remedy=remedy)
    if last_ms is not None and now.wall_ms < last_ms:
        behind_s = (last_ms - now.wall_ms) / 1000
        return Check(
            "clock",
            ok=False,
            found=f"{found}, {behind_s:.0f} s behind the journal's last record",
            remedy=f"{remedy}; until then journal time goes on from that record",
        )
    return Check("clock", ok=True, found=found)


def check_file_system(mount: Mount | None, *, journaled: bool | None, read_only: bool) -> Check:
    """A local, durable file system. `journaled` is ext4's (None: not known)."""
    if mount is None:
        return Check(
            "file_system",
            ok=None,
            found="its mount is not shown",
            remedy="see that the home is on a local disk (`findmnt -T HOME`)",
        )
    found = f"{mount.fstype} at {path_text(str(mount.point))}"
    move = "move the home to a local disk (ext4, xfs, btrfs)"
    if mount.fstype in _IN_MEMORY:
        return Check("file_system", ok=False, found=f"{found}, gone after a reboot", remedy=move)
    if mount.fstype in _REMOTE or mount.fstype.startswith("fuse"):
        return Check(
            "file_system",
            ok=False,
            found=f"{found}, where locks and syncing cannot be relied on",
            remedy=move,
        )
    if read_only:
        return Check(
            "file_system", ok=False, found=f"{found}, read-only", remedy="mount it writable"
        )
    if mount.fstype == "ext4" and journaled is not True:
        doubt = "whether it has a journal is not shown" if journaled is None else "no journal"
        return Check(
            "file_system",
            ok=None,
            found=f"{found}, {doubt}",
            remedy="upgrades stay old or new, but a power cut may damage the rest of such a file"
            " system: `tune2fs -l DEVICE` shows, and on an unmounted one `tune2fs -O has_journal"
            " DEVICE` adds the journal",
        )
    if mount.fstype not in _TRIED:
        return Check(
            "file_system",
            ok=None,
            found=f"{found}, on which power cuts were never tried",
            remedy=move,
        )
    return Check("file_system", ok=True, found=found)


def _version_of(kernel: str) -> tuple[int, int]:
    match = re.match(r"([0-9]+)\.([0-9]+)", kernel)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
