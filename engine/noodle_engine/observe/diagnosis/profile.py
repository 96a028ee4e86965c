"""Where an upgrade's time went: its thread, looked at many times a second.

Owns the sampling and the file. It samples and does not trace: an upgrade mostly waits, for
disks and for commands, which a trace would not show any better; tracing slows what it looks
at; and from Python 3.12 on one process can have one tracer, but several upgrades.

Laws
F1. A profile never fails an upgrade, and is bounded: STACKS_MAX stacks, PROFILES_MAX files.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from noodle_engine.disk.failures import DiskError
from noodle_engine.disk.names import unlink_quietly
from noodle_engine.disk.whole import write_disposable

__all__ = ["EVERY_S", "PROFILES_MAX", "Samples", "keep_newest", "profiled"]

EVERY_S: Final = 0.005
PROFILES_MAX: Final = 20
"""How many upgrades' profiles are kept."""
STACKS_MAX: Final = 10_000
FRAMES_MAX: Final = 64
_SHOWN_MAX: Final = 25

Stack = tuple[str, ...]


class Samples:
    """The stacks that were seen, outermost function first, and how often."""

    def __init__(self) -> None:
        self.stacks: Counter[Stack] = Counter()
        self.count = 0

    def add(self, frame: FrameType | None) -> None:
        """Count a thread's innermost frame with all that called it."""
        names: list[str] = []
        while frame is not None and len(names) < FRAMES_MAX:
            code = frame.f_code
            place = code.co_filename.rpartition("/")[2]
            names.append(f"{code.co_qualname} ({place}:{frame.f_lineno})")
            frame = frame.f_back
        stack = tuple(reversed(names))
        self.count += 1
        if stack in self.stacks or len(self.stacks) < STACKS_MAX:
            self.stacks[stack] += 1

    def text(self, upgrade: str, took_s: float) -> str:
        """The profile for a person: where it was, what it was in, and all stacks."""
        lines = [
            f"upgrade {upgrade}: {took_s:.3f} s, looked at {self.count} times",
            "",
            "Where it was (the function itself, waiting included):",
            *self._table(lambda stack: stack[-1:], took_s),
            "",
            "What it was in (the function and all that it called):",
            *self._table(lambda stack: tuple(dict.fromkeys(stack)), took_s),
            "",
            "All stacks, outermost first, with how often each was seen (what flame graphs take):",
            *(f"{';'.join(stack)} {seen}" for stack, seen in self.stacks.most_common()),
        ]
        return "\n".join(lines) + "\n"

    def _table(self, of: Callable[[Stack], Sequence[str]], took_s: float) -> Iterator[str]:
        seen: Counter[str] = Counter()
        for stack, count in self.stacks.items():
            for name in of(stack):
                seen[name.rpartition(":")[0] + ")"] += count
        for name, count in seen.most_common(_SHOWN_MAX):
            part = min(1.0, count / max(1, self.count))
            yield f"  {part * took_s:8.3f} s {part:6.1%}  {name}"


@contextmanager
def profiled(upgrade: str, folder: Path) -> Iterator[Samples]:
    """Sample the calling thread while inside; at the end its profile is in `folder` (law F1)."""
    samples, ended, thread = Samples(), threading.Event(), threading.get_ident()

    def look() -> None:
        while not ended.wait(EVERY_S):
            samples.add(sys._current_frames().get(thread))  # noqa: SLF001 - there is no other way

    sampler = threading.Thread(target=look, name=f"profile-{upgrade}", daemon=True)
    began = time.monotonic()
    with suppress(RuntimeError):  # no thread is left: no profile
        sampler.start()
    try:
        yield samples
    finally:
        ended.set()
        if sampler.ident is not None:
            sampler.join()
        text = samples.text(upgrade, time.monotonic() - began)
        with suppress(DiskError, OSError):
            raw = text.encode("utf-8", "backslashreplace")
            write_disposable(folder / f"profile-{upgrade}.txt", raw, 0o600)
            keep_newest(folder, "profile-*.txt", PROFILES_MAX)


def keep_newest(folder: Path, pattern: str, count: int) -> None:
    """Remove the oldest files of a pattern, by their names, but for `count`.

    Raises OSError, DiskError.
    """
    for path in sorted(folder.glob(pattern))[:-count]:
        unlink_quietly(path)
