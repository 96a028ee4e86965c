"""A loop device of our own and mounts on it: the system calls of `power`, and nothing else.

Owns device numbers it created itself, so that a file system keeps its device
number from one image to the next, as it would through a reboot. It takes no
device that it did not create. Needs root and a kernel with loop devices.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CONTROL: Final = Path("/dev/loop-control")
FIRST_NUMBER: Final = 64
"""Above what distributions create at boot and `losetup --find` hands out first."""
NUMBERS_MAX: Final = 64
WAIT_MS_MAX: Final = 5000
WAIT_STEP_MS: Final = 2
_LOOP_SET_FD: Final = 0x4C00
_LOOP_CLR_FD: Final = 0x4C01
_LOOP_CTL_ADD: Final = 0x4C80
_LOOP_CTL_REMOVE: Final = 0x4C81


class LoopUnavailable(AssertionError):
    """No device could be had, or one could not be let go of."""


def usable() -> bool:
    """Say whether this process may make loop devices and mount them."""
    return os.geteuid() == 0 and os.access(CONTROL, os.R_OK | os.W_OK)


def _until_free(act: Callable[[], None]) -> None:
    """Repeat while the kernel is still letting go of a device or a mount.

    Raises: OSError, the last one, after WAIT_MS_MAX.
    """
    for _ in range(WAIT_MS_MAX // WAIT_STEP_MS):
        try:
            return act()
        except OSError as problem:
            if problem.errno != errno.EBUSY:
                raise
        time.sleep(WAIT_STEP_MS / 1000)
    return act()


def _call(function: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


@contextmanager
def claimed_number() -> Iterator[int]:
    """Create a loop device that did not exist, and remove it again.

    Raises: LoopUnavailable when NUMBERS_MAX numbers are taken.
    """
    control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        number = _create(control)
        try:
            yield number
        finally:
            _until_free(lambda: _control(control, _LOOP_CTL_REMOVE, number))
    finally:
        os.close(control)


def _control(control: int, request: int, number: int) -> None:
    fcntl.ioctl(control, request, number)


def _create(control: int) -> int:
    for number in range(FIRST_NUMBER, FIRST_NUMBER + NUMBERS_MAX):
        try:
            _control(control, _LOOP_CTL_ADD, number)
        except OSError as problem:
            if problem.errno != errno.EEXIST:
                raise
        else:
            return number
    raise LoopUnavailable(f"loop{FIRST_NUMBER} and {NUMBERS_MAX - 1} more are taken")


@contextmanager
def attached(number: int, image: Path) -> Iterator[Path]:
    """Attach an image through the page cache (no direct I/O) and detach it again.

    Through the page cache, the image file always reads as what the device holds:
    a write is in the file once the device has completed it.
    """
    device = Path(f"/dev/loop{number}")
    node = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        try:
            _until_free(lambda: _control(node, _LOOP_SET_FD, backing))
        finally:
            os.close(backing)
        try:
            yield device
        finally:
            _until_free(lambda: _control(node, _LOOP_CLR_FD, 0))
    finally:
        os.close(node)


@contextmanager
def mounted(number: int, image: Path, kind: str, where: Path) -> Iterator[Path]:
    """Mount an image at `where` and unmount it again, whatever happens in between."""
    with attached(number, image) as device:
        _call("mount", bytes(device), bytes(where), kind.encode(), ctypes.c_ulong(0), None)
        try:
            yield where
        finally:
            _until_free(lambda: _call("umount2", bytes(where), 0))
