"""What the commands of `noodle audit` take alike."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import datetime as dt
import os
import re
import time
from pathlib import Path
from typing import Any

import click

from noodle_engine.cli.show.terminal import Invocation

__all__ = ["MOMENT", "public_key_of"]

_AGO = re.compile(r"(\d{1,9})\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class _Moment(click.ParamType[int]):
    """A time as people write it, in milliseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A date, a date and time (UTC unless it says so), or how long ago: 90s, 15m, 2h, 3d."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        ago = _AGO.fullmatch(text)
        if ago is not None:
            return int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
        try:
            found = dt.datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            self.fail(
                f"{text!r} is no time: write 2026-01-31, 2026-01-31 15:04:05 (UTC), or 2h",
                param,
                ctx,
            )
        if found.tzinfo is None:
            found = found.replace(tzinfo=dt.UTC)
        return int(found.timestamp() * 1000)


MOMENT = _Moment()


def public_key_of(invocation: Invocation, given: Path | None) -> bytes:
    """The public key that is trusted: of a file, or the one of the home, which need not be whole.

    Raises KeyMissing, KeyInvalid, JournalUnreadable.
    """
    from noodle_journal import read_public_key

    if given is None:
        from noodle_engine.execute.home.layout import find_home

        given = find_home(invocation.home, os.environ, os.geteuid()).public_key_file
    return read_public_key(given)
