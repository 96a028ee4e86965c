"""The doctor, told what it needs to know of a home.

Owns the collecting of facts that need the journal or the settings; the doctor
itself examines and never opens a journal.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from noodle_engine.execute.answers.releases import release_rows
from noodle_engine.execute.failures import HomeUnusable
from noodle_engine.execute.home.doctor import Check, Facts, examine, this_machine
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import encrypts, open_reader, releases_of, settle
from noodle_engine.execute.home.settings import Options, Settled, folders_of
from noodle_engine.execute.keys.finding import master_key_of
from noodle_engine.execute.keys.operating import key_view
from noodle_engine.machine.text import path_text
from noodle_engine.machine.upgrade import Fold
from noodle_engine.observe.failures import LogUnwritable
from noodle_engine.observe.logs import log_place
from noodle_engine.observe.options import LogOptions, log_options
from noodle_engine.targets.place import local_path
from noodle_journal import verify
from noodle_journal.anchors.comparing import sizes_of
from noodle_journal.errors import NoodleError
from noodle_journal.storage.database import check_sqlite
from noodle_journal.storage.reserve import RESERVE_BYTES
from noodle_policies.settings.values import Values

__all__ = ["DoctorView", "examine_home"]

FORMAT = 1
_RELEASES_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class DoctorView:
    """The answer of doctor."""

    checks: tuple[Check, ...]
    format: int = FORMAT


def examine_home(
    home: Home, environment: Mapping[str, str], options: Options = (), *, thorough: bool = True
) -> tuple[Check, ...]:
    """Every check of the doctor for one home, and one for its settings.

    Without `thorough` the journal is not verified, and no durable write is tried.
    """
    world, log_id = _world(home, environment, options)
    settled = settle(home, environment, options)
    facts = Facts(
        sqlite=_sqlite,
        journal=lambda: _journal(home, environment, options),
        reserve_bytes=RESERVE_BYTES,
        log_id=log_id,
        last_ms=world.at_ms if world else None,
        targets=[local_path(one.target) for one in world.components.values()] if world else (),
        open_upgrades=list(world.upgrades) if world else None,
        key_is_elsewhere="NOODLE_JOURNAL_KEY" in environment
        or (settled.values is not None and settled.values.text("encryption.key_source") != "file"),
        user=os.geteuid(),
    )
    checks = (
        *examine(home.path, facts, machine=this_machine(), thorough=thorough),
        *_releases(home),
    )
    if world is not None:
        checks = (*checks, *_keys(home, environment, options, settled))
    if settled.values is not None:
        checks = (*checks, _log(home, log_options(settled.values, environment)))
        if world is not None:
            checks = (*checks, *_anchors(home, world, settled.values))
    checks = (*checks, *_folders(home, environment))
    if settled.failure is None:
        return (*checks, Check("settings", ok=True, found="all settings can be used"))
    failure = settled.failure
    # What is found goes into the log, to health.json and into bundles.
    remedy = f"`noodle config validate` says what is wrong; {failure.remedy}"
    return (*checks, Check("settings", ok=False, found=failure.without_values, remedy=remedy))


def _world(
    home: Home, environment: Mapping[str, str], options: Options
) -> tuple[Fold | None, str | None]:
    """What the journal holds, or nothing where it cannot be read: a check says why."""
    try:
        reader, live = open_reader(home, environment, options)
    except NoodleError:
        return None, None
    try:
        return live().world, reader.log_id
    except NoodleError:
        return None, None
    finally:
        reader.close()


def _keys(
    home: Home, environment: Mapping[str, str], options: Options, settled: Settled
) -> Iterator[Check]:
    """Whether what is recorded is sealed, and whether a rewrap of the keys is under way."""
    view = key_view(home, environment, options)
    wanted = encrypts(settled)
    if not wanted:
        yield Check(
            "encryption",
            ok=None,
            found="it is switched off: anybody who can read journal.db reads what is recorded",
            remedy="set `encryption.enabled` and `encryption.data_at_rest_encryption` to true",
        )
    elif not view.encrypted:
        found = f"it is on again, but epoch {view.epoch} is legible still"
        yield Check(
            "encryption", ok=None, found=found, remedy="`noodle key rotate` ends that epoch"
        )
    else:
        yield Check("encryption", ok=True, found="what is recorded is sealed")
    if view.rewrap_left:
        yield Check(
            "rewrap",
            ok=None,
            found="another master key was made, and the settings do not name its place yet",
            remedy="set `encryption.key_source` to where it is (`noodle key show`)",
        )


def _anchors(home: Home, world: Fold, values: Values) -> Sequence[Check]:
    """Whether signed heads are kept where whoever writes here cannot change them."""
    from noodle_engine.execute.anchoring.answering import anchor_checks  # noqa: PLC0415
    from noodle_engine.execute.anchoring.options import anchor_options  # noqa: PLC0415

    try:
        size, kept_size = sizes_of(home.path)
    except NoodleError:
        return ()  # the journal's own check says why
    return tuple(
        anchor_checks(
            world,
            anchor_options(values),
            size=size,
            kept_size=kept_size,
            now_ms=time.time_ns() // 1_000_000,
            home=home.path,
        )
    )


def _releases(home: Home) -> Iterator[Check]:
    """Whether what is registered is what was signed; no payload is read."""
    try:
        store = releases_of(home)
        rows = [row for name in store.names() for row in release_rows(store, name)]
    except NoodleError as failure:
        yield Check("releases", ok=False, found=failure.problem, remedy=failure.remedy)
        return
    bad = [row for row in rows if row.problem is not None]
    if bad:
        named = ", ".join(f"{row.component}@{row.version}" for row in bad[:_RELEASES_NAMED_MAX])
        more = len(bad) - _RELEASES_NAMED_MAX
        yield Check(
            "releases",
            ok=False,
            found=f"not as they were registered: {named}{f' and {more} more' if more > 0 else ''}",
            remedy="`noodle component show NAME` says what is wrong with each",
        )
    elif rows:
        yield Check("releases", ok=True, found=f"{len(rows)} are as they were signed")


def _log(home: Home, options: LogOptions) -> Check:
    """Where the log is, and whether it takes lines still."""
    path, wrong = log_place(options, home.path / "logs")
    found = f"it is {path_text(str(path))}"
    if wrong is not None and options.by_hand:
        failure = LogUnwritable(path=path_text(str(options.path)), cause=wrong)
        found = f"{failure.problem}: {wrong}"
        return Check("log", ok=False, found=found, remedy=failure.remedy)
    if path.is_file() and not options.rotate and path.stat().st_size >= options.bytes_max * 0.9:
        remedy = "put it aside, or set debug.log_rotation to true"
        return Check("log", ok=False, found=f"{found}, and full", remedy=remedy)
    if wrong is not None:
        found += f" ({path_text(str(options.path))}: {wrong})"
    return Check("log", ok=True, found=found)


def _folders(home: Home, environment: Mapping[str, str]) -> Iterator[Check]:
    """Settings folders in which others can delete or replace files: the defaults would count."""
    for folder in folders_of(home, environment):
        try:
            mode = folder.stat().st_mode
        except OSError:
            continue
        if mode & 0o022 and not mode & stat.S_ISVTX:
            name = path_text(str(folder))
            yield Check(
                "settings",
                ok=None,
                found=f"others may delete or replace files in {name} (mode {mode & 0o7777:04o})",
                remedy=f"`chmod go-w {name}`, unless whoever may write there may decide",
            )


def _sqlite() -> str:
    check_sqlite()
    return "SQLite has the fix for its write-ahead log"


def _journal(home: Home, environment: Mapping[str, str], options: Options) -> str:
    home.check()
    key = master_key_of(home, environment, settle(home, environment, options))
    report = verify(home.path, master_key=key)
    if report.first_bad is not None:
        bad = report.first_bad
        raise HomeUnusable(str(home.path), bad.problem, bad.remedy)
    return f"{report.size} records verify"
