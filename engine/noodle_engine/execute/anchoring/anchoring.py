"""Sending signed heads to the sinks of a held home.

Owns one thread that sends, in rounds: all sinks at once, each bounded. It starts with the
first thing to send, so that a home without anchors has none.

Laws
A1. A head is in the keystore before any sink is told of it, and what was kept where is an
    `anchor` record. So is what could not be kept: once in this process for each reason.
A2. No round takes longer than `timeout_s`, whatever a sink does.
A3. What goes back waits for no round, and is refused by none.
A4. A sink is read before it is first written to: a journal that it contradicts is not
    anchored over what it says, and goes forward no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from noodle_engine.execute.anchoring.options import AnchorOptions, sink_of
from noodle_engine.machine.records import Anchored, Event
from noodle_engine.machine.upgrade import AnchorMark
from noodle_journal import Journal, parse_note
from noodle_journal.anchors.bounded import Bounded, together
from noodle_journal.anchors.comparing import Compared, Verdict, worst
from noodle_journal.anchors.failures import (
    AnchorFork,
    AnchorRollback,
    AnchorUnreachable,
    AnchorUnsigned,
    SinkFailed,
)
from noodle_journal.anchors.sinks import Sink
from noodle_journal.errors import NoodleError
from noodle_journal.failures import JournalError

__all__ = ["Anchoring", "accused"]

RETRY_S: Final = 1.0
"""How soon a sink is tried again while something waits for it."""
SLACK_S: Final = 1.0
"""What a round may take beside its sinks: the keystore, and its record."""
BACK_WAIT_S_MAX: Final = 1.0
"""How long an end waits for the round of what went back."""


def accused(sink: str, found: Sequence[Compared], size: int) -> JournalError | None:
    """What notes of a sink say against a journal of that size, or None."""
    one = worst(found)
    match one and one.verdict:
        case Verdict.ROLLBACK:
            assert one is not None
            return AnchorRollback(sink=sink, size=size, anchored=one.size)
        case Verdict.FORK:
            assert one is not None
            return AnchorFork(sink=sink, size=one.size)
        case Verdict.UNSIGNED:
            assert one is not None
            return AnchorUnsigned(sink=sink, size=one.size)
        case _:
            return None


class Anchoring:
    """The anchors of one held home. Safe to use from several threads.

    `append` makes records durable, `marks` are what the fold knows of each sink.
    """

    def __init__(
        self,
        *,
        journal: Callable[[], Journal],
        append: Callable[[Sequence[Event]], None],
        marks: Callable[[], Mapping[str, AnchorMark]],
        now_ms: Callable[[], int],
        load: Callable[[str], Sink] = sink_of,
    ) -> None:
        self._journal = journal
        self._append = append
        self._marks = marks
        self._now_ms = now_ms
        self._load = load
        self._options = AnchorOptions()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sinks: dict[str, Sink] = {}
        self._left: dict[str, Bounded[JournalError | None]] = {}
        self._left_reading: dict[str, Bounded[JournalError | None]] = {}
        self._read: set[str] = set()
        self._told: dict[str, str] = {}
        self._failing: dict[str, str] = {}
        self._last_s: float | None = None  # when a round began last
        self._due_s: float | None = None  # when a round is due; None: nothing to send
        self._asked = 0
        self._served = 0
        self._back = False
        self._closing = False
        self.found: JournalError | None = None

    @property
    def options(self) -> AnchorOptions:
        """What the settings in force say."""
        return self._options

    def obey(self, options: AnchorOptions) -> None:
        """Go on under other settings; what is owed to a sink by then is due as they say."""
        with self._news:
            self._options = options
            if options.sinks and self._owed(options):
                self._set_due(options)

    def _owed(self, options: AnchorOptions) -> bool:
        """Whether a sink lacks more than the records of its own round."""
        marks, size = self._marks(), self._journal().size
        known = [marks.get(name) for name in options.sinks]
        return size > 0 and any(
            mark is None or mark.failing is not None or size - mark.size > len(known)
            for mark in known
        )

    def _set_due(self, options: AnchorOptions) -> None:
        """Let a round be due an interval after the last one; the caller has `_news`."""
        if self._due_s is not None:
            return
        if self._last_s is not None:
            self._due_s = self._last_s + options.interval_s
        else:
            marks = self._marks()
            kept = [marks[name].at_ms if name in marks else 0 for name in options.sinks]
            passed_s = max(0.0, (self._now_ms() - min(kept)) / 1000)
            self._due_s = time.monotonic() + max(0.0, options.interval_s - passed_s)
        self._start()

    def changed(self, *, ends: bool, back: bool) -> None:
        """Something is durable; with `ends` an upgrade came to its end. Never waits."""
        with self._news:
            options = self._options
            if not options.sinks or self._closing:
                return
            self._back = back if ends else self._back
            if ends or options.strict:
                self._due_s = time.monotonic()
                self._start()
            else:
                self._set_due(options)
            self._news.notify_all()

    def wake(self) -> None:
        """Let whoever waits look whether it still has to."""
        with self._news:
            self._news.notify_all()

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="anchors", daemon=True)
            with suppress(RuntimeError):  # no thread is left: the next thing to send tries again
                thread.start()
                self._thread = thread

    # -- before a step -----------------------------------------------------

    def require(self, cancelled: Callable[[], bool]) -> str | None:
        """Have all that is durable anchored, or say why nothing may go forward.

        Ends at once when `cancelled` says so (law A3), which `wake` makes it ask again; and
        within `wait_s` where the policy is to wait, else within one round.
        """
        options = self._options
        if not options.sinks:
            return None
        waits = options.unreachable == "wait"
        until = time.monotonic() + max(options.timeout_s + SLACK_S, options.wait_s if waits else 0)
        while True:
            failing = self._one_round(cancelled, until)
            if not failing or options.unreachable == "warn" or cancelled():
                return None
            left = until - time.monotonic()
            if not waits or left <= 0 or self.found is not None:
                sink, why = next(iter(failing.items()))
                return f"the anchor {sink} cannot be reached ({why})"
            with self._news:
                self._news.wait_for(cancelled, timeout=min(RETRY_S, left))

    def _one_round(self, cancelled: Callable[[], bool], until: float) -> Mapping[str, str]:
        """The sinks that failed in a round that began after now."""
        with self._news:
            self._asked += 1
            mine = self._asked
            self._due_s = time.monotonic()
            self._start()
            self._news.notify_all()
            done = self._news.wait_for(
                lambda: self._served >= mine or cancelled() or self._closing,
                timeout=max(0.0, until - time.monotonic()),
            )
            if done:
                return dict(self._failing)
            return dict.fromkeys(self._options.sinks, "it has not answered in time")

    # -- rounds ------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._is_due():
                    if self._closing:
                        return
                    wait = None if self._due_s is None else self._due_s - time.monotonic()
                    self._news.wait(wait)
                asked, self._due_s, options = self._asked, None, self._options
                self._last_s = time.monotonic()
            try:
                failing = self._round(options)
            except Exception as failure:  # noqa: BLE001 - whoever waits must hear of it
                failing = {name: type(failure).__name__ for name in options.sinks}
            with self._news:
                self._failing, self._served = failing, asked
                if failing and not self._closing and self.found is None:
                    self._try_again(options)
                self._news.notify_all()
                if self._closing:
                    return

    def _try_again(self, options: AnchorOptions) -> None:
        later = time.monotonic() + options.interval_s
        self._due_s = later if self._due_s is None else min(self._due_s, later)

    def _is_due(self) -> bool:
        return self._due_s is not None and self._due_s <= time.monotonic()

    def _round(self, options: AnchorOptions) -> dict[str, str]:
        """Send the head of now to each sink that has not got it; those that failed, and why."""
        if self.found is not None:
            return dict.fromkeys(options.sinks, self.found.problem)
        try:
            note = self._journal().keep_head()  # law A1
        except JournalError as failure:
            return dict.fromkeys(options.sinks, failure.problem)
        if note is None:
            return {}
        size, marks = parse_note(note).size, self._marks()
        wanting = [
            name
            for name in options.sinks
            if name not in marks or marks[name].failing is not None or marks[name].size != size
        ]
        calls = {name: self._sending(name, note, options.timeout_s) for name in wanting}
        results = together(calls, options.timeout_s, self._left)
        failing: dict[str, str] = {}
        for name, result in results.items():
            if isinstance(result, SinkFailed):
                failing[name] = str(result)
            elif result is not None:
                self.found, failing[name] = result, result.problem
        events = [
            Anchored(name, size, "unreachable" if name in failing else "kept", failing.get(name))
            for name in wanting
            if name not in failing or self._told.get(name) != failing[name]
        ]
        self._told = failing
        if events:
            with suppress(NoodleError):  # a full disk: the next round's record says it
                self._append(events)
        return failing

    def _sending(self, name: str, note: str, seconds: float) -> Callable[[], JournalError | None]:
        def send() -> JournalError | None:
            sink = self._sink(name)
            found = self._read_back(name, sink, seconds)
            if found is None:
                sink.keep(note, seconds=seconds)
            return found

        return send

    def _sink(self, name: str) -> Sink:
        if name not in self._sinks:
            self._sinks[name] = self._load(name)
        return self._sinks[name]

    def _read_back(self, name: str, sink: Sink, seconds: float) -> JournalError | None:
        """What a sink that was not read yet says against the journal (law A4)."""
        if name in self._read:
            return None
        journal = self._journal()
        notes = sink.fetch(journal.log_id, seconds=seconds, everything=False)
        found = accused(name, journal.compare(notes or (), remember=True), journal.size)
        if found is None:
            self._read.add(name)
        return found

    # -- reading back ------------------------------------------------------

    def must_agree(self, *, unreachable: bool = True) -> None:
        """Refuse to go forward on a journal that an anchor contradicts.

        Each sink is asked once; with `unreachable`, what cannot be asked is refused as the
        policy says. Raises AnchorRollback, AnchorFork, AnchorUnsigned, AnchorUnreachable.
        """
        options = self._options
        waits = options.unreachable == "wait"
        until = time.monotonic() + (options.wait_s if waits else 0.0)
        while True:
            self._refuse_found()
            calls = {
                name: self._reading(name, options.timeout_s)
                for name in options.sinks
                if name not in self._read
            }
            results = together(calls, options.timeout_s, self._left_reading)
            failing = {n: str(why) for n, why in results.items() if isinstance(why, SinkFailed)}
            for result in results.values():
                if isinstance(result, JournalError):
                    self.found = result
            self._refuse_found()
            if not failing or not unreachable or options.unreachable == "warn":
                return
            if not waits or time.monotonic() >= until:
                sink, why = next(iter(failing.items()))
                raise AnchorUnreachable(sink=sink, reason=why)
            with self._news:
                self._news.wait_for(lambda: self._closing, timeout=RETRY_S)

    def _refuse_found(self) -> None:
        if self.found is not None:
            raise self.found

    def _reading(self, name: str, seconds: float) -> Callable[[], JournalError | None]:
        return lambda: self._read_back(name, self._sink(name), seconds)

    def close(self) -> None:
        """Send what is due, within a round's bound; what went back waits BACK_WAIT_S_MAX."""
        with self._news:
            self._closing = True
            thread, bound = self._thread, self._options.timeout_s + SLACK_S
            if self._back:
                bound = min(bound, BACK_WAIT_S_MAX)
            self._news.notify_all()
        if thread is not None:
            thread.join(bound)
