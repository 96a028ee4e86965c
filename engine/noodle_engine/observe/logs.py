"""The log of the engine: for who wants to know what it does, and why it failed.

Owns which lines are written, where, and in which form: JSON in a file, text on a terminal.
It tells what is in the journal already, or what passes away; nobody waits for it, and that
it cannot be written stops no upgrade.

Laws
O1. Telling a line takes no lock of a file, no disk, and raises nothing.
O2. A log that somebody chose and that cannot be written is a failure before anything is
    changed; the default one gives way to the home's.
O3. A traceback is in the file only, and only where debug.stack_traces is on.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from noodle_engine.observe.failures import LogUnwritable
from noodle_engine.observe.files import DEVICES, FULL, LineFile, no_log
from noodle_engine.observe.levels import Level
from noodle_engine.observe.lines import Line, as_json, as_text
from noodle_engine.observe.options import FALLBACK_NAME, LogOptions
from noodle_engine.observe.queue import FLUSH_S_MAX, Later
from noodle_engine.observe.secrets import Redactor

__all__ = ["UPGRADE_LOGGERS", "Logs", "log_place", "opened_log"]

UPGRADE_LOGGERS: Final = "upgrade"
"""The loggers of upgrades: this one, and those whose names begin with it and a dot."""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def opened_log(options: LogOptions, folder: Path) -> tuple[LineFile | None, LogUnwritable | None]:
    """The log, opened: where the options say, else in `folder`; and why it is not where wanted.

    None for the log if neither can be written.
    """
    failure: LogUnwritable | None = None
    for path in (options.path, folder / FALLBACK_NAME):
        made = LineFile(
            path, bytes_max=options.bytes_max, rotate=options.rotate, full=_full_line(options)
        )
        try:
            refused = _in_the_home(path, folder)
            if refused is not None:
                raise OSError(errno.EINVAL, refused)
            made.open()
        except OSError as error:
            linked = error.errno == errno.ELOOP
            cause = "it is a link" if linked else error.strerror or str(error)
            failure = failure or LogUnwritable(path=str(path), cause=cause.lower())
        else:
            return made, failure
    return None, failure


_AUDIT: Final = "audit"
"""What the files of the audit log begin with, in the same folder."""


def _in_the_home(path: Path, folder: Path) -> str | None:
    """Why the log must not be there, if it is among a home's own files, by whatever way.

    A line behind a key, or a journal that is put aside as a full log, would be the end of the
    home. Its logs are in `folder`, and nowhere else in it.
    """
    logs = os.path.realpath(folder)
    parent = os.path.realpath(path.parent)
    if f"{parent}/".startswith(f"{logs}/"):
        ours = parent == logs and path.name.startswith(_AUDIT)
        return "it is the audit log" if ours else None
    home = os.path.dirname(logs)  # noqa: PTH120 - a text
    return "it is among the home's own files" if f"{parent}/".startswith(f"{home}/") else None


def log_place(options: LogOptions, folder: Path) -> tuple[Path, str | None]:
    """Where the log is or will be, and why it is not where the options say. Opens nothing."""
    path = options.path
    refused = _in_the_home(path, folder)
    if refused is not None:
        return folder / FALLBACK_NAME, refused
    found: os.stat_result | None = None
    with suppress(OSError):
        found = path.lstat()
    if found is not None:
        refused = no_log(path, found)
        wrong = refused or "this user may not write it"
        usable = refused is None and os.access(path, os.W_OK)
    elif path.parent in DEVICES:
        wrong, usable = "there is no such device", False
    else:
        there = os.path.isdir(path.parent)  # noqa: PTH112 - raises nothing
        wrong = "this user may not write its folder" if there else "its folder is not there"
        usable = there and os.access(path.parent, os.W_OK | os.X_OK)
    return (path, None) if usable else (folder / FALLBACK_NAME, wrong)


def _full_line(options: LogOptions) -> bytes:
    text = (
        f"the log has its size of {options.bytes_max} bytes and debug.log_rotation is off: "
        "nothing more is logged"
    )
    return as_json(Line("log", Level.WARNING, FULL, text, _wall_ms()), Redactor(), os.getpid())


class Logs:
    """The log of one home, in this process. Safe to use from several threads."""

    def __init__(
        self,
        options: LogOptions,
        folder: Path,
        later: Later,
        redactor: Redactor,
        *,
        warn: Callable[[str], None] = lambda _text: None,
        now_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        """`folder` is that of the home's logs. `warn` tells a person at the command, once."""
        self._folder = folder
        self._later = later
        self._redactor = redactor
        self._warn = warn
        self._now_ms = now_ms
        self._pid = os.getpid()
        self._file: LineFile | None = None
        self._warned = False
        self._lost = 0
        self.failure: LogUnwritable | None = None
        self.options = options
        self._taken = threading.Event()
        self._taken.set()
        self._take(options)

    @property
    def path(self) -> Path | None:
        """Where the log is; None if nowhere."""
        return None if self._file is None else self._file.path

    def obey(self, options: LogOptions) -> None:
        """Go on with other options. Lines that were told before are written as they were."""
        if options != self.options:
            self.options = options
            taken = self._taken = threading.Event()

            def take() -> None:
                try:
                    self._take(options)
                finally:
                    taken.set()

            self._later.do(take)

    def judged(self, wait_s_max: float = FLUSH_S_MAX) -> LogUnwritable | None:
        """Why the log that somebody chose cannot be written, by the options that hold now.

        Those are taken in the thread that tells. Where its disk hangs, what was known before
        is the answer after `wait_s_max`.
        """
        self._taken.wait(wait_s_max)
        return self.failure

    def _take(self, options: LogOptions) -> None:
        earlier, self._file = self._file, None
        if earlier is not None:
            earlier.close()
        self._warned = False
        self._file, failure = opened_log(options, self._folder)
        self.failure = failure if options.by_hand else None
        told = self.wants("log", Level.INFO)
        if told and failure is not None and self._file is not None and self._file.is_new:
            text = f"{failure.problem} ({failure.cause}): it is here instead"
            self.write_now(Line("log", Level.INFO, "log.moved", text, self._now_ms()))

    def wants(self, logger: str, level: int) -> bool:
        """Whether a line of that logger and level is written."""
        ours = logger.partition(".")[0] == UPGRADE_LOGGERS
        return level >= (self.options.upgrade_level if ours else self.options.level)

    def tell(self, line: Line) -> None:
        """Write a line, later (law O1)."""
        if self.wants(line.logger, line.level):
            self._later.do(lambda: self.write_now(line))

    def say(
        self,
        logger: str,
        level: int,
        event: str,
        text: str,
        *,
        upgrade: str | None = None,
        fields: Mapping[str, Any] | None = None,
        failure: BaseException | None = None,
    ) -> None:
        """Write a line that no record stands for, with the traceback of a failure (law O3)."""
        if self.wants(logger, level):
            trace = None
            if failure is not None and self.options.traces:
                import traceback  # noqa: PLC0415 - rarely wanted

                trace = "".join(traceback.format_exception(failure))
            self.tell(
                Line(logger, level, event, text, self._now_ms(), upgrade, None, fields or {}, trace)
            )

    def write_now(self, line: Line) -> None:
        """Write a line; only from the thread that tells."""
        file = self._file
        if file is None:
            return
        form = as_text if file.is_terminal else as_json
        self._lost += self._later.take_lost()
        if self._lost:
            text = f"{self._lost} lines before this one could not be written"
            lost = Line("log", Level.WARNING, "log.lost", text, self._now_ms())
            if file.write(form(lost, self._redactor, self._pid)):
                self._lost = 0
        line = line if self.options.traces else replace(line, trace=None)
        if file.write(form(line, self._redactor, self._pid)):
            return
        if file.is_full:
            if not self._warned:
                self._warned = True
                self._warn(f"the log {file.path} is full, and debug.log_rotation is off")
            return
        self._lost += 1

    def close(self) -> None:
        """Close the log. What was told and not written is lost: the caller flushes first."""
        if self._file is not None:
            self._file.close()
