"""Ctrl-C: the first stops after the step, the second leaves at once. SIGHUP: look again.

Owns the handlers of SIGINT, SIGTERM and SIGHUP while a change is under way, and puts
the earlier ones back. It decides nothing about an upgrade: the engine looks at
the event after each step.

Laws
K1. The first signal sets the event and nothing else: the step that runs ends.
K2. The second ends the process at once, as a crash would: `noodle resume`
    goes on from the journal.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from noodle_engine.cli.show.terminal import Invocation

__all__ = ["reload_on_signal", "stop_on_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130


@contextmanager
def stop_on_signals(
    out: Invocation, *, first: str, second: str = "left at once; `noodle resume` goes on"
) -> Iterator[threading.Event]:
    """The event that the first signal sets (laws K1 and K2).

    `first` and `second` are what a person is told then.
    """
    stop = threading.Event()

    def heard(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _tell(out, second)
            os._exit(_INTERRUPTED)
        stop.set()
        _tell(out, first)

    earlier = [(number, signal.signal(number, heard)) for number in _SIGNALS]
    try:
        yield stop
    finally:
        for number, handler in earlier:
            signal.signal(number, handler)


@contextmanager
def reload_on_signal() -> Iterator[threading.Event]:
    """The event that each SIGHUP sets; whoever acts on it clears it."""
    reload = threading.Event()

    def heard(_number: int, _frame: FrameType | None) -> None:
        reload.set()

    earlier = signal.signal(signal.SIGHUP, heard)
    try:
        yield reload
    finally:
        signal.signal(signal.SIGHUP, earlier)


def _tell(out: Invocation, text: str) -> None:
    # Straight to the descriptor: a handler may run while a stream is being written.
    # On a terminal in the place of the bar, which is drawn again below.
    begin = "\r\x1b[2K" if out.live and os.isatty(2) else "\n"
    with suppress(OSError):
        os.write(2, f"{begin}{out.command(text)}\n".encode())
