"""From the words of a command to an open home.

Owns the check of the platform and the one place where commands open a home.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from noodle_engine.cli.failures import PlatformUnsupported

if TYPE_CHECKING:
    from noodle_engine.api import Noodle
    from noodle_engine.cli.show.terminal import Invocation

__all__ = ["KEY_SOURCES", "check_kernel", "check_platform", "opened"]

_KERNEL_MIN = (5, 6)


@contextmanager
def opened(invocation: Invocation) -> Iterator[Noodle]:
    """The home that the command names, closed at the end.

    Raises PlatformUnsupported, HomeAbsent and what opening a home raises.
    """
    check_platform()
    from noodle_engine.api import Noodle

    with Noodle.open(invocation.home, options=invocation.options) as noodle:
        yield noodle


KEY_SOURCES = click.Choice(["environment", "file", "keyring", "kms"])
"""What `encryption.key_source` may be, as an option's value."""


def check_platform() -> None:
    """Refuse a machine that cannot keep the promises. Raises PlatformUnsupported."""
    if sys.platform != "linux":
        raise PlatformUnsupported(found=sys.platform, missing="Linux")
    if sys.implementation.name != "cpython":
        raise PlatformUnsupported(found=sys.implementation.name, missing="CPython")
    machine = os.uname()
    if machine.machine != "x86_64":
        raise PlatformUnsupported(found=machine.machine, missing="an x86-64 processor")
    check_kernel(machine.release)


def check_kernel(release: str) -> None:
    """Refuse a kernel without what pidfds and exchanges need. Raises PlatformUnsupported."""
    if _kernel(release) < _KERNEL_MIN:
        raise PlatformUnsupported(found=f"Linux {release}", missing="kernel 5.6 or later")


def _kernel(release: str) -> tuple[int, ...]:
    parts = release.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
