"""Who looks at an engine and tells: the log, the audit log, profiles.

Owns the life of both logs beside the holder of a home, and what is told that no record
says: the lock, what a crash left, refusals, settings. It changes nothing and decides
nothing.

Laws
B1. Nothing in here raises into the engine, and nobody waits for a file.
B2. What has to be told is made into text in another thread than the engine's.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from noodle_engine.execute.failures import SettingsRefused
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import settle
from noodle_engine.execute.home.settings import Options, Settled, settings_from_journal, with_inert
from noodle_engine.execute.keys.finding import master_key_of
from noodle_engine.execute.observing.records import MEANT, audit_line, log_line
from noodle_engine.execute.recording import Heard
from noodle_engine.machine.records import Entry, Transition
from noodle_engine.machine.states import TERMINAL, Message, State
from noodle_engine.machine.upgrade import Upgrade
from noodle_engine.observe.audit import Audit, AuditLine, Digests
from noodle_engine.observe.levels import Level
from noodle_engine.observe.logs import Logs
from noodle_engine.observe.options import audit_options, log_options
from noodle_engine.observe.queue import Later
from noodle_engine.observe.secrets import Redactor, spellings_of
from noodle_journal.errors import NoodleError
from noodle_journal.keys import KEY_VARIABLE, encode_recovery
from noodle_policies.settings.values import Values

__all__ = ["Observer", "observer_of", "passing", "redactor_of"]

DIAGNOSIS_S_MAX = 30.0
"""How long an end waits for a bundle that is being made."""
_SECRET_VARIABLES = (KEY_VARIABLE, "NOODLE_TOKEN", "NOODLE_ANCHOR_TOKEN")


def redactor_of(environment: Mapping[str, str], master_key: bytes | None) -> Redactor:
    """The filter that knows the home's key and the tokens of the environment."""
    known = [environment.get(name, "") for name in _SECRET_VARIABLES]
    if master_key is not None:
        known += [*spellings_of(master_key), encode_recovery(master_key)]
    return Redactor(known)


def observer_of(
    home: Home,
    environment: Mapping[str, str],
    options: Options = (),
    *,
    warn: Callable[[str], None] = lambda _text: None,
) -> Observer:
    """The observer of a home as it stands; one without a key has digests of its own."""
    settled = settle(home, environment, options)
    try:
        key: bytes | None = master_key_of(home, environment, settled)
    except NoodleError:
        key = None
    return Observer(home, settled, environment, options, master_key=key, now_ms=_wall_ms, warn=warn)


@contextmanager
def passing(
    home: Home, environment: Mapping[str, str], options: Options = ()
) -> Iterator[Observer]:
    """An observer for a line or two, beside whoever holds the home."""
    observer = observer_of(home, environment, options)
    try:
        yield observer
    finally:
        observer.close()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Observer:
    """What is told of one home by this process. Safe to use from several threads."""

    def __init__(
        self,
        home: Home,
        settled: Settled,
        environment: Mapping[str, str],
        options: Options = (),
        *,
        master_key: bytes | None,
        now_ms: Callable[[], int],
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """With settings that cannot be used the defaults hold: going back is logged too."""
        self._home = home
        self._environment = environment
        self._options = options
        self._now_ms = now_ms
        self._under: dict[str, Values] = {}
        self._failing: set[str] = set()
        self._diagnoses: list[threading.Thread] = []
        self._later = Later()
        self.redactor = redactor_of(environment, master_key)
        self.values: Values = settled.values or settings_from_journal({})
        folder = home.path / "logs"
        self.logs = Logs(
            log_options(self.values, environment),
            folder,
            self._later,
            self.redactor,
            warn=warn,
            now_ms=now_ms,
        )
        self.audit = Audit(
            audit_options(self.values),
            folder,
            self._later,
            self.redactor,
            Digests(master_key),
            now_ms=now_ms,
        )

    def must(self) -> None:
        """Refuse to go forward without the log that somebody chose. Raises LogUnwritable."""
        failure = self.logs.judged()
        if failure is not None:
            raise failure

    def obey(self, values: Values) -> None:
        """Go on with other settings: those of the logs hold at once (rule V)."""
        self.values = values
        self.logs.obey(log_options(values, self._environment))
        self.audit.obey(audit_options(values))

    # -- what the engine tells --------------------------------------------

    def hear(self, heard: Heard) -> None:
        """A record is durable. Called by the thread that commits (law B1)."""
        self._later.do(lambda: self._tell(heard))

    def _tell(self, heard: Heard) -> None:
        line = log_line(heard)
        if self.logs.wants(line.logger, line.level):
            self.logs.write_now(line)
        audited = audit_line(heard)
        if audited is not None:
            self.audit.write_now(audited)
        self._look_for_failures(heard.entry)

    def _look_for_failures(self, entry: Entry) -> None:
        """See whether an upgrade waits for a person, or came to its end after a failure."""
        event, upgrade = entry.event, entry.upgrade
        if upgrade is None or not isinstance(event, Transition):
            return
        if event.message is Message.TURN_BACK and event.reason not in MEANT:
            self._failing.add(upgrade)
        ended = event.target is State.ROLLED_BACK and event.source is not event.target
        if event.message is Message.HOLD or (ended and upgrade in self._failing):
            self._diagnose(upgrade)
        if event.target in TERMINAL:  # a resident engine drives thousands
            self._under.pop(upgrade, None)
            self._failing.discard(upgrade)

    def _diagnose(self, upgrade: str) -> None:
        """Make a bundle of a failed upgrade, beside everything, where the settings want it."""
        settings = self._under.get(upgrade, self.values)
        if not settings.switch("diagnostics.troubleshooting.auto_diagnosis"):
            return
        settings = with_inert(settings)
        if not settings.acts("diagnostics.troubleshooting.auto_diagnosis"):
            return
        thread = threading.Thread(
            target=lambda: self._bundle(upgrade, settings), name="diagnosing", daemon=True
        )
        self._diagnoses = [*(one for one in self._diagnoses if one.is_alive()), thread]
        thread.start()

    def _bundle(self, upgrade: str, settings: Values) -> None:
        from noodle_engine.execute.observing.bundling import (  # noqa: PLC0415 - rarely wanted
            make_failure_bundle,
        )

        try:
            view = make_failure_bundle(
                self._home, self._environment, self._options, settings, upgrade
            )
        except Exception as failure:  # noqa: BLE001 - law B1
            text = f"no bundle could be made: {failure}"
            self.logs.say("diagnostics", Level.WARNING, "bundle.failed", text, upgrade=upgrade)
            return
        text = f"what may help is in {view.path}"
        self.logs.say("diagnostics", Level.INFO, "bundle.made", text, upgrade=upgrade)

    def held(self, open_upgrades: Iterable[Upgrade]) -> None:
        """Tell that the home is held, and what another process left open."""
        self.logs.say(
            "home", Level.DEBUG, "lock.taken", f"process {os.getpid()} holds the home's lock"
        )
        for one in open_upgrades:
            stands = f"{one.state.value}{', going back' if one.undoing else ''}"
            if one.hold is not None:
                event, text = "upgrade.waits", f"an upgrade is on hold ({one.hold.reason.value})"
            else:
                event = "upgrade.interrupted"
                text = f"an upgrade was left unfinished by another process ({stands})"
            level = Level.INFO if one.hold is not None else Level.WARNING
            self.logs.say(
                "upgrade", level, event, text, upgrade=one.id, fields={"state": one.state.value}
            )

    def released(self) -> None:
        """Tell that the home is given up."""
        self.logs.say(
            "home", Level.DEBUG, "lock.released", f"process {os.getpid()} gives the lock up"
        )

    def refused(self, operation: str, actor: str, failure: NoodleError) -> None:
        """Something was asked for and refused; nothing was changed."""
        problem = failure.problem
        if isinstance(failure, SettingsRefused):
            problem = failure.without_values
        with suppress(Exception):
            self.logs.say(
                "request",
                Level.WARNING,
                "request.refused",
                f"{operation} is refused: {problem}",
                fields={
                    "operation": operation,
                    "code": failure.code,
                    "cause": failure.cause,
                    "remedy": failure.remedy,
                    "actor": actor,
                },
                failure=failure if problem == failure.problem else None,
            )
            self.audit.tell(
                AuditLine(
                    Level.WARNING,
                    "request.refused",
                    self._now_ms(),
                    actor,
                    open={"operation": operation, "code": failure.code},
                    names={"problem": problem},
                )
            )

    def unsettled(self, failure: SettingsRefused) -> None:
        """The resident engine begins under settings that cannot be used."""
        self.logs.say(
            "settings",
            Level.WARNING,
            "settings.refused",
            f"{failure.without_values}; no upgrade begins until they are corrected",
            fields={"keys": list(failure.keys), "remedy": failure.remedy},
        )

    def read(self, question: str, actor: str) -> None:
        """Somebody asked, and nothing is changed."""
        self.audit.tell(
            AuditLine(Level.DEBUG, "read", self._now_ms(), actor, open={"question": question})
        )

    def failed(self, upgrade: str, step: str | None, failure: BaseException) -> None:
        """A step failed, or the engine's own work on an upgrade did."""
        with suppress(Exception):
            where = "the engine" if step is None else step
            self.logs.say(
                "upgrade" if step is None else "upgrade.step",
                self._level_of_failure(step),
                "engine.failed" if step is None else "step.raised",
                f"{where} failed: {type(failure).__name__}: {failure}",
                upgrade=upgrade,
                fields={"step": step, "exception": type(failure).__name__},
                failure=failure,
            )

    def _level_of_failure(self, step: str | None) -> int:
        if step is None:
            return Level.ERROR
        # The record of the step says the same, but for the traceback.
        return Level.WARNING if self.logs.options.traces else Level.DEBUG

    def around(self, upgrade: Upgrade, settings: Values) -> AbstractContextManager[object]:
        """What surrounds the driving of an upgrade in its thread: its profile, if wanted."""
        self._under[upgrade.id] = settings
        if upgrade.undoing and upgrade.reason not in MEANT:
            self._failing.add(upgrade.id)  # another process turned it back
        if not settings.switch("debug.performance_profiling"):
            return nullcontext()
        from noodle_engine.observe.diagnosis.profile import profiled  # noqa: PLC0415 - rarely wanted

        return profiled(upgrade.id, self._home.path / "diagnostics")

    def flush(self) -> None:
        """Wait, within a bound, until what was told is written."""
        self._later.flush()

    def close(self) -> None:
        """Write what was told, within a bound, and close the logs."""
        self._later.flush()
        for thread in self._diagnoses:
            thread.join(DIAGNOSIS_S_MAX)
        if self._later.close():
            self.logs.close()
            self.audit.close()
