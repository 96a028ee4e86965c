"""What the commands of `noodle audit` take alike."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import os
from pathlib import Path

from noodle_engine.cli.show.terminal import Invocation

__all__ = ["public_key_of"]


def public_key_of(invocation: Invocation, given: Path | None) -> bytes:
    """The public key that is trusted: of a file, or the one of the home, which need not be whole.

    Raises KeyMissing, KeyInvalid, JournalUnreadable.
    """
    from noodle_journal import read_public_key

    if given is None:
        from noodle_engine.execute.home.layout import find_home

        given = find_home(invocation.home, os.environ, os.geteuid()).public_key_file
    return read_public_key(given)
