"""A command on a real terminal: a pseudo-terminal of some size, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from tests.scripts.conftest import COMMAND_S_MAX, Site

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b.|\r|\n|[^\x1b\r\n]+", re.DOTALL)
BAR = "━"


@dataclass
class Screen:
    """What a terminal shows that knows lines, cursor up and erasing; anything else fails."""

    columns: int
    rows: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    bars_max: int = 0
    """On how many rows a bar was at once, at the most."""

    def feed(self, text: str) -> None:
        for token in _TOKEN.finditer(text):
            self._one(token)
            self.bars_max = max(self.bars_max, sum(BAR in one for one in self.rows))

    def _one(self, token: re.Match[str]) -> None:
        text, argument, letter = token[0], token[1], token[2]
        if text == "\r":
            self.column = 0
        elif text == "\n":
            self._to(self.row + 1)
        elif letter == "A":
            self.row -= int(argument or 1)
        elif letter == "K":
            assert argument == "2"
            self.rows[self.row] = ""
        elif letter in ("h", "l", "m"):
            pass
        else:
            assert not text.startswith("\x1b"), f"an unknown sequence {text!r}"
            self._print(text)

    def _to(self, row: int) -> None:
        self.row = row
        self.rows += [""] * (row + 1 - len(self.rows))

    def _print(self, text: str) -> None:
        for one in text:
            if self.column == self.columns:
                self._to(self.row + 1)
                self.column = 0
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + one + line[self.column + 1 :]
            self.column += 1

    @property
    def shown(self) -> str:
        return "\n".join(line.rstrip() for line in self.rows).strip()


@dataclass
class OnTerminal:
    """How a command on a terminal ended: its code, every byte it wrote, and its screen."""

    code: int
    written: str
    screen: Screen


def on_terminal(
    site: Site,
    *words: str,
    columns: int = 100,
    seen: Callable[[str, subprocess.Popen[bytes]], bool] = lambda _written, _process: True,
    **environment: str,
) -> OnTerminal:
    """Run `noodle WORDS` on a terminal.

    `seen` is called with what was written so far and the process, until it
    answers True: there a test lets the command go on, or stops it.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    inherited = site.environment(TERM="xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):  # a runner of tests may have its own
        inherited.pop(name, None)
    process = subprocess.Popen(
        site.command(*words),
        cwd=site.folder,
        env={**inherited, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen, data, done = Screen(columns), b"", False
    until = monotonic() + COMMAND_S_MAX
    try:
        while select.select([ours], [], [], max(0.0, until - monotonic()))[0]:
            try:
                read = os.read(ours, 65_536)
            except OSError:  # EIO: nobody has the other end open any more
                break
            data += read
            done = done or seen(data.decode(errors="replace"), process)
        process.wait(max(0.1, until - monotonic()))
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    written = data.decode()
    screen.feed(written)
    return OnTerminal(process.returncode, written, screen)
