"""What goes into a bundle: states, checks, settings, logs, the journal's word, the analysis.

Owns the gathering. Each part is gathered by itself: what cannot be read is a part that says
so, for a bundle is wanted most where something is broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from noodle_engine.execute.answers import reading
from noodle_engine.execute.home.checkup import examine_home
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_reader
from noodle_engine.execute.home.settings import (
    Options,
    inputs_of,
    settings_from_journal,
    settle,
)
from noodle_engine.execute.keys.finding import master_key_of
from noodle_engine.execute.observing.observer import redactor_of
from noodle_engine.execute.recording import Live
from noodle_engine.machine.codec import encode
from noodle_engine.machine.records import Entry, entry_of
from noodle_engine.observe.audit import AUDIT_NAME
from noodle_engine.observe.diagnosis import system
from noodle_engine.observe.diagnosis.analysis import Analysis, Run, analysed
from noodle_engine.observe.diagnosis.bundle import TAKEN, tail_of, write_bundle
from noodle_engine.observe.diagnosis.profile import keep_newest
from noodle_engine.observe.failures import BundleUnwritable, DiagnosticsDisabled
from noodle_engine.observe.options import FALLBACK_NAME, log_options
from noodle_engine.registry.listing import known_releases
from noodle_journal import Kind, Reader, verify
from noodle_journal.errors import NoodleError
from noodle_policies.settings.reading.files import PREFIX
from noodle_policies.settings.values import Values

__all__ = ["AUTOMATIC_MAX", "BundleView", "make_bundle", "make_failure_bundle"]

UPGRADES_MAX: Final = 200
"""How many of the latest upgrades are looked at for like failures."""
ANALYSED_MAX: Final = 5
"""How many of the latest failures a bundle analyses."""
HISTORY_MAX: Final = 50
AUTOMATIC_MAX: Final = 5
"""How many bundles of failed upgrades are kept."""
_ABOUT: Final = """\
A bundle of a Noodle home, made for whoever helps. No key and no token is in it; names and
paths of what is upgraded are.

status.json    what is installed, what is open
history.json   the latest upgrades and how each ended
checks.json    what `noodle doctor` says
settings.json  every setting in force, and where it comes from
journal.json   whether the journal verifies
analysis.txt   why the latest failed upgrades failed, and what may help
analysis.json  the same for programs
system.json    the machine; variables (values of unknown ones are left out), libraries, load
log.txt        the end of the log
audit.txt      the end of the audit log

A part that begins with `could not be gathered` says why. Parts may be switched off by the
settings `diagnostics.system_info.*` and `diagnostics.troubleshooting.*`.
"""


@dataclass(frozen=True, slots=True)
class BundleView:
    """The answer of diagnostics bundle: the file, its size, and the parts that it has."""

    path: str
    size_bytes: int
    parts: tuple[str, ...]
    format: int = 1


def make_bundle(
    home: Home,
    environment: Mapping[str, str],
    options: Options = (),
    *,
    out: Path | None = None,
    now_s: Callable[[], float] = time.time,
) -> BundleView:
    """Write a bundle, to `out` or into the home's diagnostics folder.

    Raises DiagnosticsDisabled, BundleUnwritable.
    """
    values = settle(home, environment, options).values or settings_from_journal({})
    if not values.switch("diagnostics.enabled"):
        raise DiagnosticsDisabled
    at_s = int(now_s())
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at_s))
    path = out or home.path / "diagnostics" / f"bundle-{moment}.tar.gz"
    if path.exists():  # said before anything is gathered; writing looks again
        raise BundleUnwritable(path=str(path), cause=TAKEN)
    if not path.parent.is_dir():
        raise BundleUnwritable(path=str(path), cause="its folder is not there")
    gathering = _Gathering(home, environment, options, values)
    return gathering.written(path, at_s, replace=False)


def make_failure_bundle(
    home: Home,
    environment: Mapping[str, str],
    options: Options,
    values: Values,
    upgrade: str,
) -> BundleView:
    """Write the bundle of a failed upgrade into the home; older ones beyond AUTOMATIC_MAX go.

    Raises BundleUnwritable, OSError, DiskError.
    """
    folder = home.path / "diagnostics"
    path = folder / f"failed-{upgrade}.tar.gz"
    gathering = _Gathering(home, environment, options, values)
    view = gathering.written(path, int(time.time()), replace=True)
    keep_newest(folder, "failed-*.tar.gz", AUTOMATIC_MAX)
    return view


class _Gathering:
    """One gathering of all parts."""

    def __init__(
        self, home: Home, environment: Mapping[str, str], options: Options, values: Values
    ) -> None:
        self._home = home
        self._environment = environment
        self._options = options
        self._values = values
        self.key: bytes | None = None
        with suppress(NoodleError):  # parts that need it say so
            self.key = master_key_of(home, environment, settle(home, environment, options))
        self._redactor = redactor_of(environment, self.key)

    def written(self, path: Path, at_s: int, *, replace: bool) -> BundleView:
        """Gather, and write the bundle. Raises BundleUnwritable."""
        parts = dict(self.parts())
        size = write_bundle(path, parts, self._redactor, at_s=at_s, replace=replace)
        return BundleView(str(path), size, tuple(parts))

    def parts(self) -> Iterator[tuple[str, str]]:
        """Each part: its name in the archive, and its text."""
        yield "about.txt", _ABOUT
        yield from self._part("status.json", self._status)
        yield from self._part("history.json", self._history)
        yield from self._part("checks.json", self._checks)
        yield from self._part("settings.json", self._settings)
        yield from self._part("journal.json", self._journal)
        if self._analyses_wanted():
            yield from self._analyses()
        if self._values.acts("diagnostics.system_info.enabled"):
            yield from self._part("system.json", self._system)
        yield "log.txt", self._log()
        yield "audit.txt", tail_of(self._home.path / "logs" / AUDIT_NAME)

    def _analyses_wanted(self) -> bool:
        master = self._values.acts("diagnostics.troubleshooting.enabled")
        return master and self._values.acts("diagnostics.troubleshooting.error_analysis")

    def _part(self, name: str, gather: Callable[[], Any]) -> Iterator[tuple[str, str]]:
        try:
            found = self._redactor.value(gather())
            raw = orjson.dumps(found, default=str, option=orjson.OPT_INDENT_2)
            yield name, raw.decode() + "\n"
        except Exception as failure:  # noqa: BLE001 - one part that is broken spoils no other
            yield name, f"could not be gathered: {failure}\n"

    def _read(self) -> tuple[Reader, Callable[[], Live]]:
        return open_reader(self._home, self._environment, self._options)

    def _status(self) -> Any:
        reader, live = self._read()
        with closing(reader):
            known = known_releases(self._home.path)
            return encode(reading.home_view(reader, live().world, known))

    def _history(self) -> Any:
        reader, _ = self._read()
        with closing(reader):
            rows, _cut = reading.history(reader, HISTORY_MAX)
            return [encode(row) for row in rows]

    def _checks(self) -> Any:
        checks = examine_home(self._home, self._environment, self._options)
        return [encode(check) for check in checks]

    def _settings(self) -> Any:
        from noodle_policies.settings.explaining import line_of  # noqa: PLC0415 - the model
        from noodle_policies.settings.resolving import examine  # noqa: PLC0415

        found, problems = examine(inputs_of(self._home, self._environment, self._options))
        lines = [line_of(name, found) for name in found.values]
        return {
            "environment": found.environment,
            "problems": [problem.without_value for problem in problems],
            "settings": {
                one.key: {
                    "value": one.value,
                    "from": one.place or "default",
                    **({"inert": one.inert} if one.inert else {}),
                }
                for one in lines
            },
        }

    def _journal(self) -> Any:
        report = verify(self._home.path, master_key=self.key)
        bad = report.first_bad
        return {
            "ok": report.ok,
            "size": report.size,
            "root": report.root.hex(),
            "epochs": report.epochs,
            "signatures": report.signatures_checked,
            "heads": report.heads_checked,
            "first_bad": None if bad is None else {"seq": bad.seq, "problem": bad.problem},
        }

    def _system(self) -> Any:
        found: dict[str, Any] = {"system": system.system_of()}
        if self._values.acts("diagnostics.system_info.include_environment"):
            found["environment"] = system.environment_of(
                self._environment, self._redactor, _variables_of(self._environment)
            )
        if self._values.acts("diagnostics.system_info.include_dependencies"):
            found["dependencies"] = system.dependencies_of()
        if self._values.acts("diagnostics.system_info.include_performance"):
            found["performance"] = system.performance_of(self._home.path)
        return found

    def _log(self) -> str:
        """The end of the log: where the settings say, and what is in the home of it."""
        path = log_options(self._values, self._environment).path
        fallback = self._home.path / "logs" / FALLBACK_NAME
        chosen = tail_of(path) if path.is_file() and path != fallback else ""
        return chosen + tail_of(fallback)

    def _analyses(self) -> Iterator[tuple[str, str]]:
        try:
            found = self._analysed()
        except Exception as failure:  # noqa: BLE001 - as for each part
            yield "analysis.txt", f"could not be gathered: {failure}\n"
            return
        yield "analysis.txt", "\n".join(_words(found))
        yield from self._part("analysis.json", lambda: [asdict(one) for one in found])

    def _analysed(self) -> list[Analysis]:
        """The analyses of the latest failures, newest first."""
        ranked = self._values.acts("diagnostics.troubleshooting.recommendation_engine")
        reader, _ = self._read()
        with closing(reader):
            runs = _runs(reader)
        found: list[Analysis] = []
        for run in reversed(runs):
            one = analysed(run, runs, ranked=ranked)
            if one is not None:
                found.append(one)
            if len(found) == ANALYSED_MAX:
                break
        return found


def _variables_of(environment: Mapping[str, str]) -> set[str]:
    """Those of some variables that are for settings. One with a wrong name or value is none."""
    from noodle_policies.settings.reading.texts import read_variables  # noqa: PLC0415 - the model

    return {
        name
        for name, value in environment.items()
        if name.startswith(PREFIX) and not read_variables({name: value})[1]
    }


def _runs(reader: Reader) -> list[Run]:
    """The latest upgrades, oldest first."""
    asked = reader.read_back(UPGRADES_MAX, Kind.UPGRADE_REQUESTED)
    names = [str(record.body["upgrade"]) for record in asked]
    return [Run(name, tuple(_entries(reader, name))) for name in reversed(names)]


def _entries(reader: Reader, upgrade: str) -> Iterator[tuple[int, Entry]]:
    for record in reader.read_run(upgrade):
        if isinstance(record.kind, Kind):
            entry = entry_of(record.kind.label, record.body)
            if entry is not None:
                yield record.seq, entry


def _words(found: Sequence[Analysis]) -> Iterator[str]:
    """The analyses for a person."""
    if not found:
        yield "No upgrade has failed, as far back as was looked.\n"
    for one in found:
        yield f"upgrade {one.upgrade}"
        yield "  why, from the first that failed on:"
        for cause in one.chain:
            yield f"    #{cause.seq} {cause.what}: {cause.text}"
        if one.like:
            yield f"  the same failure before: {len(one.like)}"
            for like in one.like:
                yield f"    {like.upgrade} (record {like.seq}): {like.ended}"
        else:
            yield "  the same failure was not seen before"
        yield "  what to do, best first:"
        for number, remedy in enumerate(one.remedies, 1):
            how = f" (worked {remedy.worked} of {remedy.tried} times)" if remedy.tried else ""
            yield f"    {number}. {remedy.do}{how}"
        yield ""
