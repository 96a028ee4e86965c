"""The doctor: whether this machine and this home can keep what Noodle promises.

Owns the checks, each with what was found and what to do. It mends nothing and
leaves nothing behind: its two probes write in the home and remove what they
wrote. What needs the journal is handed in as functions, so that a damaged
journal is one failed check among others.

Laws
D1. Each check answers, whatever is wrong: a failure to look is its finding.
D2. What cannot be known, and a risk that is the user's to weigh, is neither
    good nor bad: `ok` is None.
D3. A check that is not good says what to do.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import sync_file
from noodle_engine.disk.holders import Holder, holders_of
from noodle_engine.disk.locks import lock_holder, read_mark
from noodle_engine.disk.names import prove_exchange, unlink_quietly
from noodle_engine.disk.space import free_space, mount_of
from noodle_engine.execute.commands.children import PATH_DEFAULT, run_child
from noodle_engine.execute.home.doctor_machine import (
    Check,
    Machine,
    check_clock,
    check_file_system,
    check_machine,
    this_machine,
)
from noodle_engine.execute.timing.clock import Reading, system_clock
from noodle_engine.machine.text import path_text
from noodle_engine.targets.place import Place
from noodle_journal.errors import NoodleError

__all__ = [
    "FREE_BYTES_MIN",
    "Check",
    "Facts",
    "Machine",
    "check_clock",
    "check_file_system",
    "check_machine",
    "examine",
    "this_machine",
]

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""Below this much free space in the home the doctor warns."""
SYNC_MS_MAX: Final = 1_000
"""A disk that takes longer to make a page durable is called slow."""
SOCKET_BYTES_MAX: Final = 107
LEFTOVERS_MAX: Final = 16
_THOROUGH: Final = ("sync", "journal")
"""What takes long, or writes: left out of looks that are not thorough."""
_CHILD_MS_MAX = 10_000
_PROBE_BYTES = 4096
_NO_HOME = "there is no home yet"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the doctor cannot find by itself, handed in.

    `sqlite` and `journal` say in a few words what is good, or raise the
    NoodleError that says what is not. `last_ms` is the time of the journal's
    last record, `reserve_bytes` the size that the reserve should have.
    `targets` are the known targets; `open_upgrades` those whose staged files
    belong beside them (None: not known). `key_is_elsewhere` tells that the key
    does not come from the home's file, `user` who runs.
    """

    sqlite: Callable[[], str]
    journal: Callable[[], str]
    reserve_bytes: int
    log_id: str | None = None
    last_ms: int | None = None
    targets: Collection[Path] = ()
    open_upgrades: Collection[str] | None = None
    key_is_elsewhere: bool = False
    user: int = 0


def examine(
    home: Path,
    facts: Facts,
    *,
    machine: Machine,
    clock: Callable[[], Reading] = system_clock,
    block_devices: Path = Path("/sys/dev/block"),
    thorough: bool = True,
) -> tuple[Check, ...]:
    """Examine machine, home and targets; one answer for each check, in a fixed order.

    Without `thorough` the journal is not verified, and no durable write is tried.
    Writes and removes small files named `.noodle-probe-*` in the home. Bounded
    by the limits of what it calls; `journal` takes as long as it takes.
    """
    there = home.is_dir()
    with_home: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("keys", lambda: _check_keys(home, elsewhere=facts.key_is_elsewhere)),
        ("file_system", lambda: _file_system_of(home, block_devices)),
        ("exchange", lambda: _check_exchange(home)),
        ("sync", lambda: _check_sync(home)),
        ("space", lambda: _check_space(home, facts.reserve_bytes)),
        ("socket", lambda: _check_socket(home)),
        ("lock", lambda: _check_lock(home / "lock")),
        ("journal", lambda: Check("journal", ok=True, found=facts.journal())),
    )
    if not thorough:
        with_home = tuple(one for one in with_home if one[0] not in _THOROUGH)
    found = [
        _answered("platform", lambda: check_machine(machine)),
        _answered("sqlite", lambda: Check("sqlite", ok=True, found=facts.sqlite())),
        _answered("commands", _check_commands),
        _answered("clock", lambda: check_clock(clock(), facts.last_ms)),
        _answered("home", lambda: _check_home(home, facts.user)),
    ]
    for name, look in with_home:
        if there:
            found.append(_answered(name, look))
        else:
            found.append(Check(name, ok=None, found=_NO_HOME, remedy="run `noodle init`"))
    found += (_answered("target", partial(_check_target, at, facts)) for at in facts.targets)
    found += (
        _answered("file_system", partial(_file_system_of, folder, block_devices))
        for folder in _other_file_systems(home, facts.targets)
    )
    return tuple(found)


def _other_file_systems(home: Path, targets: Collection[Path]) -> list[Path]:
    """One folder of targets for each file system that is not the home's."""
    found: dict[int, Path] = {}
    for folder in sorted({target.parent for target in targets}):
        with contextlib.suppress(OSError):  # the target's own check says so
            found.setdefault(folder.stat().st_dev, folder)
    with contextlib.suppress(OSError):
        found.pop(home.stat().st_dev, None)
    return list(found.values())


def _answered(name: str, look: Callable[[], Check]) -> Check:
    """The check's answer; a failure to look is one (law D1)."""
    try:
        return look()
    except NoodleError as exc:
        return Check(name, ok=False, found=f"{exc.problem}: {exc.cause}", remedy=exc.remedy)
    except OSError as exc:
        where = f" ({path_text(str(exc.filename))})" if exc.filename else ""
        return Check(
            name,
            ok=None,
            found=f"it could not be looked at: {exc.strerror or exc}{where}",
            remedy="run `noodle doctor` as the home's owner or root",
        )


def _check_commands() -> Check:
    """A command can be started, through the very way hooks are."""
    ended = run_child(
        ["true"],
        environment={"PATH": os.environ.get("PATH") or PATH_DEFAULT},
        folder=Path("/"),
        timeout_ms=_CHILD_MS_MAX,
        stop=threading.Event(),
        inherit=(),
        started=lambda _identity: None,
    )
    if ended.succeeded:
        return Check("commands", ok=True, found=f"started in {ended.duration_ms} ms")
    return Check(
        "commands",
        ok=False,
        found=f"`true` {ended.how}",
        remedy=f"see that {sys.executable} and `true` run by hand",
    )


def _check_home(home: Path, user: int) -> Check:
    name = path_text(str(home))
    try:
        status = home.stat()
    except FileNotFoundError:
        return Check("home", ok=None, found=f"{name}: {_NO_HOME}", remedy="run `noodle init`")
    if not stat.S_ISDIR(status.st_mode):
        return Check("home", ok=False, found=f"{name} is no folder", remedy="choose another --home")
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != user:
        return Check(
            "home",
            ok=user == 0,
            found=f"{name} belongs to user {status.st_uid}, this is user {user}",
            remedy=None if user == 0 else f"run as its owner (`sudo -u '#{status.st_uid}' ...`)",
        )
    if mode != 0o700:
        return Check(
            "home", ok=False, found=f"{name} has mode {mode:04o}", remedy=f"chmod 0700 {name}"
        )
    return Check("home", ok=True, found=f"{name}, mode 0700, user {status.st_uid}")


def _check_keys(home: Path, *, elsewhere: bool) -> Check:
    folder = home / "keys"
    owner = home.stat().st_uid
    wrong, remedies = [], []
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        public = path.suffix == ".pub"
        name = path_text(str(path))
        if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
            wrong.append(f"{path.name} is no file of the home's owner")
            remedies.append(f"look at {name}; put the key back from its recovery key")
        elif mode & (0o022 if public else 0o077):
            wrong.append(f"{path.name} has mode {mode:04o}")
            remedies.append(f"chmod {'0644' if public else '0600'} {name}")
    if not (folder / "master.key").exists() and not elsewhere:
        wrong.append("master.key is not there, and no other source of the key is set")
        remedies.append("set NOODLE_JOURNAL_KEY, or restore the file from the recovery key")
    if not (folder / "publisher.key").exists():
        wrong.append("publisher.key is not there: no release can be added, nor any be trusted")
        remedies.append(f"put it back into {path_text(str(folder))} from your backup")
    if wrong:
        return Check("keys", ok=False, found="; ".join(wrong), remedy="; ".join(remedies))
    return Check("keys", ok=True, found="readable by their owner only")


def _file_system_of(home: Path, block_devices: Path) -> Check:
    resolved = home.resolve()
    return check_file_system(
        mount_of(resolved),
        journaled=_has_journal(resolved, block_devices),
        read_only=free_space(resolved).read_only,
    )


def _has_journal(path: Path, block_devices: Path) -> bool | None:
    """Whether the ext4 that `path` is on has a journal, as the kernel shows it."""
    device = path.stat().st_dev
    try:
        name = (block_devices / f"{os.major(device)}:{os.minor(device)}").resolve().name
        task = (Path("/sys/fs/ext4") / name / "journal_task").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return task.strip() != "<none>"


def _check_exchange(home: Path) -> Check:
    prove_exchange(home)
    return Check("exchange", ok=True, found="two names are exchanged in one step")


def _check_sync(home: Path) -> Check:
    probe = home / f".noodle-probe-sync-{os.getpid()}"
    began = time.monotonic_ns()
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
        sync_file(probe)
    finally:
        unlink_quietly(probe)
    took_ms = (time.monotonic_ns() - began) / 1_000_000
    found = f"{_PROBE_BYTES} bytes were durable after {took_ms:.1f} ms"
    if took_ms <= SYNC_MS_MAX:
        return Check("sync", ok=True, found=found)
    return Check("sync", ok=False, found=found, remedy="see what else writes to that disk")


def _check_space(home: Path, reserve_bytes: int) -> Check:
    space = free_space(home)
    try:
        held_bytes = (home / "reserve").stat().st_blocks * 512
    except FileNotFoundError:
        held_bytes = 0
    found = f"{space.free_bytes // (1 << 20)} MiB free, reserve of {held_bytes // 1024} KiB"
    if space.free_bytes < FREE_BYTES_MIN or space.free_inodes == 0:
        return Check("space", ok=False, found=found, remedy="free space or inodes on it")
    if held_bytes < reserve_bytes:
        return Check(
            "space",
            ok=False,
            found=f"{found}, of {reserve_bytes // 1024} KiB",
            remedy="the next command that writes allocates the reserve again: run `noodle run`"
            " or `noodle apply`, then look again",
        )
    return Check("space", ok=True, found=found)


def _check_socket(home: Path) -> Check:
    size = len(os.fsencode(home.absolute() / "socket"))
    if size <= SOCKET_BYTES_MAX:
        return Check("socket", ok=True, found=f"its path has {size} bytes")
    return Check(
        "socket",
        ok=False,
        found=f"its path has {size} bytes, more than the {SOCKET_BYTES_MAX} that sockets can have",
        remedy="choose a --home with a shorter path",
    )


def _check_lock(path: Path) -> Check:
    holders = holders_of(path)
    if not holders:
        pid = lock_holder(path)
        holders = () if pid is None else (Holder(pid, "of another user, or ended"),)
    if not holders:
        return Check("lock", ok=True, found="nobody holds it")
    named = ", ".join(f"process {found.pid} ({found.command})" for found in holders)
    return Check("lock", ok=True, found=f"held by {named}")


def _check_target(path: Path, facts: Facts) -> Check:
    place = Place(path)
    name = path_text(str(path))
    if not path.parent.is_dir():
        return Check(
            "target",
            ok=False,
            found=f"{name}: its folder is not there",
            remedy="mount or make the folder, or `noodle component forget` the component",
        )
    owner = read_mark(place.owner)
    if owner is not None and facts.log_id is not None and owner != facts.log_id:
        return Check(
            "target",
            ok=False,
            found=f"{name}: marked as another home's",
            remedy="upgrade it from that home, or take it over with `--take-over`",
        )
    staged, foreign = _leftovers(path, facts.open_upgrades or ())
    if staged or foreign:
        return Check(
            "target",
            ok=False if staged and facts.open_upgrades is not None else None,
            found=f"{name}: beside it lies {', '.join((*staged, *foreign))}",
            remedy=f"`noodle rescue {name}` shows what each is; delete what you do not need",
        )
    space = free_space(path.parent)
    if space.free_bytes < FREE_BYTES_MIN or space.free_inodes == 0:
        return Check(
            "target",
            ok=None,
            found=f"{name}: its file system has {space.free_bytes // (1 << 20)} MiB free",
            remedy="free space or inodes there: old and new stand side by side in an upgrade",
        )
    return Check("target", ok=True, found=f"{name}: nothing left over")


def _leftovers(path: Path, open_upgrades: Collection[str]) -> tuple[list[str], list[str]]:
    """Staged files of no open upgrade, and foreign objects that were set aside."""
    staged_prefix, foreign_prefix = f".{path.name}.next-", f"{path.name}.foreign-"
    staged, foreign = [], []
    for item in path.parent.iterdir():
        if item.name.startswith(foreign_prefix):
            foreign.append(path_text(item.name))
            continue
        upgrade = item.name.removeprefix(staged_prefix)
        if upgrade != item.name and upgrade not in open_upgrades:
            staged.append(path_text(item.name))
    return sorted(staged)[:LEFTOVERS_MAX], sorted(foreign)[:LEFTOVERS_MAX]
