"""The audit log: who was allowed what, who was not, and what was changed.

Owns its file, one a day, its levels, and what stands in it in place of names. It is for
other tools; the journal is what proves anything, and has no switch.

Laws
U1. A name, a path or a reason stands in it as a keyed digest, unless the settings want it
    plain: the same text has the same digest, and nobody without the home's key makes one.
U2. Secrets never stand in it.
U3. A file older than the settings keep goes, whatever is written.
"""

from __future__ import annotations

import datetime as dt
import hmac
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.names import rename_noreplace, unlink_quietly
from noodle_engine.observe.files import LineFile
from noodle_engine.observe.lines import Line, as_json, as_text
from noodle_engine.observe.options import AuditOptions
from noodle_engine.observe.queue import Later
from noodle_engine.observe.secrets import Redactor

__all__ = ["AUDIT_NAME", "Audit", "AuditLine", "Digests"]

AUDIT_NAME: Final = "audit.log"
FILE_BYTES_MAX: Final = 1 << 40
"""It has no size of its own: it goes by age."""
DIGEST_LETTERS: Final = 20
_LABEL: Final = b"noodle audit log names 1"
_DAY_MS: Final = 24 * 3600 * 1000
_OLDER: Final = re.compile(r"audit-(\d{4}-\d{2}-\d{2})(?:\.\d+)?\.log")
_SAME_DAY_MAX: Final = 100


class Digests:
    """Keyed digests of texts (law U1). Without a key each process has one of its own."""

    def __init__(self, master_key: bytes | None) -> None:
        root = os.urandom(32) if master_key is None else master_key
        self._key = hmac.digest(root, _LABEL, "sha256")

    def of(self, text: str) -> str:
        """The digest that stands for a text."""
        made = hmac.digest(self._key, text.encode("utf-8", "surrogateescape"), "sha256")
        return f"#{made.hex()[:DIGEST_LETTERS]}"


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One decision, denial, failure or change.

    `open` are fields that name nothing of the user's; `names` are those that do: names,
    paths, reasons.
    """

    level: int
    event: str
    at_ms: int
    actor: str
    upgrade: str | None = None
    seq: int | None = None
    open: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, Any] = field(default_factory=dict)


class Audit:
    """The audit log of one home, in this process. Safe to use from several threads."""

    def __init__(
        self,
        options: AuditOptions,
        folder: Path,
        later: Later,
        redactor: Redactor,
        digests: Digests,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._later = later
        self._redactor = redactor
        self._digests = digests
        self._now_ms = now_ms
        self._pid = os.getpid()
        self._file: LineFile | None = None
        self._day = ""
        self._kept_days: int | None = None
        self.options = options

    def obey(self, options: AuditOptions) -> None:
        """Go on with other options, from the next line on."""
        self.options = options

    def wants(self, level: int) -> bool:
        """Whether a line of that level is written."""
        return self.options.enabled and level >= self.options.level

    def tell(self, line: AuditLine) -> None:
        """Write a line, later. Raises nothing and waits for nothing."""
        if self.wants(line.level):
            self._later.do(lambda: self.write_now(line))

    def write_now(self, line: AuditLine) -> None:
        """Write a line, if it is wanted; only from the thread that tells."""
        options = self.options
        if not self.wants(line.level):
            return
        form = as_text if options.text else as_json
        names = {k: v for k, v in line.names.items() if v is not None}
        if not options.plain:
            names = {name: self._digested(value) for name, value in names.items()}
        fields = {"actor": self._actor(line.actor, options), **line.open, **names}
        made = Line("audit", line.level, line.event, "", line.at_ms, line.upgrade, line.seq, fields)
        self._file_of_today(options).write(form(made, self._redactor, self._pid))

    def _digested(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(name): self._digested(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._digested(one) for one in value]
        return self._digests.of(self._redactor.text(str(value)))

    def _actor(self, actor: str, options: AuditOptions) -> str:
        """A number of a user names nobody; a name does."""
        known = actor == "engine" or re.fullmatch(r"uid:\d+", actor) is not None
        return actor if known or options.plain else self._digests.of(actor)

    def _file_of_today(self, options: AuditOptions) -> LineFile:
        """The file; one of an earlier day is put aside first, and too old ones go (law U3).

        They go once a day, and as soon as the settings keep fewer days.
        """
        today = _day(self._now_ms())
        if self._file is None:
            self._file = LineFile(self._folder / AUDIT_NAME, bytes_max=FILE_BYTES_MAX, rotate=True)
        if today != self._day:
            self._day = today
            self._kept_days = None
            with suppress(OSError, DiskError):
                self._put_aside(today)
        if options.days != self._kept_days:
            self._kept_days = options.days
            with suppress(OSError, DiskError):
                self._forget_older(options.days)
        return self._file

    def _put_aside(self, today: str) -> None:
        path = self._folder / AUDIT_NAME
        try:
            written = _day(path.stat().st_mtime_ns // 1_000_000)
        except FileNotFoundError:
            return
        if written >= today:
            return
        for number in range(_SAME_DAY_MAX):
            more = f".{number}" if number else ""
            if rename_noreplace(path, self._folder / f"audit-{written}{more}.log"):
                return

    def _forget_older(self, days: int) -> None:
        oldest = _day(self._now_ms() - days * _DAY_MS)
        for path in self._folder.iterdir():
            found = _OLDER.fullmatch(path.name)
            if found is not None and found[1] < oldest:
                unlink_quietly(path)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _day(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d}"
