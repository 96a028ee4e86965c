"""Hearing that settings files may have changed.

Owns the waiting. What it tells is a hint and no more: whoever hears it reads the files
and holds their digest against the last one, so a hint too many costs a look, and a
hint that is lost costs LOOK_S_MAX.

inotify (through watchfiles) tells at once. Where there is none, or no watch is left,
looking every POLL_S takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

__all__ = ["LOOK_S_MAX", "POLL_S", "Changes", "Stop", "polled", "watched"]

LOOK_S_MAX: Final = 1.0
"""A look without any hint: a folder may have been exchanged, or changed before it was watched."""
POLL_S: Final = 1.0
POLLS: Final = 60
"""How often is looked before inotify is tried again."""
QUIET_MS: Final = 50
"""A hint comes when nothing has changed for so long: who writes a file writes it in pieces."""
QUIET_WAIT_MS_MAX: Final = 1_000
"""How long is waited for that at most."""


class Stop(Protocol):
    """Ends the waiting; a threading.Event is one."""

    def is_set(self) -> bool:
        """Whether to end."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or the time (seconds) is over; whether it is set."""


Folders = Callable[[], Sequence[Path]]
Changes = Callable[[Folders, Stop], Iterator[None]]
"""Yields each time that something may have changed in the folders; ends with the stop."""


def watched(folders: Folders, stop: Stop) -> Iterator[None]:
    """By inotify. Folders that come, go or are exchanged are taken up within LOOK_S_MAX."""
    yield from _told(folders, stop, _inotify)


def _told(
    folders: Folders, stop: Stop, notify: Callable[[Sequence[str], Stop], Iterable[object]]
) -> Iterator[None]:
    while not stop.is_set():
        there = _identities(folders())
        if not there:
            yield from polled(folders, stop, times=1)
            continue
        try:
            for _ in notify([path for path, _ in there], stop):
                yield
                if _identities(folders()) != there:
                    break
        except (OSError, RuntimeError):  # no inotify, no watch left, or a folder just went
            yield from polled(folders, stop, times=POLLS)


def polled(_folders: Folders, stop: Stop, *, times: int | None = None) -> Iterator[None]:
    """By looking every POLL_S; `times` often, or until the stop."""
    while times is None or times > 0:
        if stop.wait(POLL_S):
            return
        yield
        times = None if times is None else times - 1


def _inotify(paths: Sequence[str], stop: Stop) -> Iterable[object]:
    # Only a process that stays loads it.
    from watchfiles import watch  # noqa: PLC0415

    return watch(
        *paths,
        watch_filter=None,
        debounce=QUIET_WAIT_MS_MAX,
        step=QUIET_MS,
        stop_event=stop,
        rust_timeout=int(LOOK_S_MAX * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
        recursive=False,
    )


def _identities(folders: Sequence[Path]) -> list[tuple[str, tuple[int, int]]]:
    """The folders that exist, and which they are: one of the same name may be another."""
    found = []
    for folder in folders:
        try:
            stat = folder.stat()
        except OSError:
            continue
        found.append((str(folder), (stat.st_dev, stat.st_ino)))
    return found
