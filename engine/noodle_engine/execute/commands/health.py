"""Health checks: one attempt of each kind, and watching until it is enough.

Owns what passing means. It decides nothing beyond that: what a failure leads to
is the machine's. Time is handed in; an attempt ends within its own time-out.

Laws
H1. Only an answer that was seen and is right passes. No answer, another answer,
    a late one or no data never does.
H2. A watch passes when `passes` attempts in a row did, the last one ended in
    time; it ends by itself, within the check's `limit_ms` and the deadline,
    also when the clock stands still.
H3. An attempt changes nothing of the target but what the checked program itself
    does when asked. Redirects and proxies are not followed: what is checked is
    what the address names.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from noodle_engine.execute.commands.children import CommandUnusable, Ended
from noodle_engine.machine.plan import HealthCheck

__all__ = [
    "BODY_BYTES_MAX",
    "INTERVAL_MS_MIN",
    "Attempt",
    "Runner",
    "Verdict",
    "attempt_once",
    "met_itself",
    "named",
    "watch",
]

BODY_BYTES_MAX = 1 << 20
"""How much of an answer or a file is searched for `contains`."""
INTERVAL_MS_MIN = 10
"""The shortest wait between two attempts, whatever the check asks for."""

_CHUNK_BYTES = 65_536
_PORTS = {"http": 80, "https": 443}

Runner = Callable[[Sequence[str], int], Ended]
"""Runs a command under a time-out in ms, as children.run_child does."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a check, and what was seen, in a sentence without its full stop."""

    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a watch. `detail` is the last attempt's; `stopped` was asked from outside."""

    passed: bool
    stopped: bool
    attempts: int
    passes: int
    detail: str


class _Unanswered(Exception):
    """An attempt found no answer; the message says why."""


def named(check: HealthCheck) -> str:
    """What a check looks at, as it is named in records and answers."""
    if check.command is not None:
        return " ".join(check.command)
    return check.http or check.tcp or check.file or "nothing"


def watch(
    check: HealthCheck,
    attempt: Callable[[], Attempt],
    *,
    now_ms: Callable[[], int],
    wait: Callable[[float], bool],
    deadline_ms: int,
) -> Verdict:
    """Attempt until `check.passes` in a row passed, or time is over (law H2).

    `wait` sleeps for seconds and answers True if the watch should stop.
    `deadline_ms` is in the time of `now_ms`. At least one attempt is made. The
    last may outlast the end by its own time-out; it then counts for nothing.
    """
    end_ms = min(now_ms() + check.limit_ms, deadline_ms)
    interval_ms = max(check.interval_ms, INTERVAL_MS_MIN)
    needed = max(check.passes, 1)
    in_a_row = 0
    attempts = 0
    last = Attempt(passed=False, detail="there was no attempt")
    for attempts in range(1, max(check.limit_ms, 0) // interval_ms + needed + 1):
        last = attempt()
        if now_ms() > end_ms:
            break
        in_a_row = in_a_row + 1 if last.passed is True else 0
        if in_a_row >= needed:
            return Verdict(
                passed=True, stopped=False, attempts=attempts, passes=in_a_row, detail=last.detail
            )
        if now_ms() + interval_ms > end_ms:
            break
        if wait(interval_ms / 1000):
            return Verdict(
                passed=False, stopped=True, attempts=attempts, passes=in_a_row, detail=last.detail
            )
    detail = last.detail
    if last.passed:
        detail = f"{detail}, but only {in_a_row} of {needed} times in a row before time was over"
    return Verdict(passed=False, stopped=False, attempts=attempts, passes=in_a_row, detail=detail)


def attempt_once(check: HealthCheck, *, run: Runner) -> Attempt:
    """Make one attempt of a check, within its timeout_ms (laws H1 and H3).

    Only looking up a host's name may take longer: the resolver has limits of its own.
    """
    try:
        if check.http is not None:
            return _attempt_http(check, check.http)
        if check.tcp is not None:
            return _attempt_tcp(check, check.tcp)
        if check.file is not None:
            return _attempt_file(check, check.file)
        if check.command is not None:
            return _attempt_command(check, check.command, run)
    except _Unanswered as exc:
        return Attempt(passed=False, detail=str(exc))
    return Attempt(passed=False, detail="the check names nothing to look at")


def _attempt_command(check: HealthCheck, command: Sequence[str], run: Runner) -> Attempt:
    try:
        ended = run(command, check.timeout_ms)
    except CommandUnusable as exc:
        raise _Unanswered(f"{exc.problem}: {exc.cause}") from exc
    detail = f"`{' '.join(command)}` {ended.how}"
    if ended.succeeded and check.contains is not None and check.contains not in ended.output:
        return Attempt(passed=False, detail=f"{detail}, but its output lacks {check.contains!r}")
    if not ended.succeeded and ended.output.strip():
        detail = f"{detail}: {ended.output.strip().splitlines()[-1][:200]}"
    return Attempt(passed=ended.succeeded, detail=detail)


def _attempt_file(check: HealthCheck, path: str) -> Attempt:
    try:
        if check.contains is None:
            os.stat(path)  # noqa: PTH116 - any kind of file will do
            return Attempt(passed=True, detail=f"{path} is there")
        # Without O_NONBLOCK a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unanswered(f"{path} is not a regular file")
            content = file.read(BODY_BYTES_MAX)
    except (OSError, ValueError) as exc:
        raise _Unanswered(f"{path} cannot be read: {_why(exc)}") from exc
    if check.contains.encode() in content:
        return Attempt(passed=True, detail=f"{path} contains {check.contains!r}")
    return Attempt(passed=False, detail=f"{path} does not contain {check.contains!r}")


def _attempt_tcp(check: HealthCheck, address: str) -> Attempt:
    host, port = _host_and_port(address)
    with _connection(address, host, port, _now_ms() + check.timeout_ms):
        return Attempt(passed=True, detail=f"{address} accepts connections")


def _attempt_http(check: HealthCheck, url: str) -> Attempt:
    parts, host, port = _parts_of(url)
    deadline_ms = _now_ms() + check.timeout_ms
    with _connection(url, host, port, deadline_ms) as plain, _shut_at(plain, deadline_ms):
        try:
            connection = http.client.HTTPConnection(host, port, timeout=check.timeout_ms / 1000)
            connection.sock = _secured(plain, host) if parts.scheme == "https" else plain
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = {"Connection": "close", "User-Agent": "noodle", "Accept": "*/*"}
                connection.request("GET", target, headers=headers)
                with connection.getresponse() as response:
                    found = _judge(check, url, response)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            if _now_ms() >= deadline_ms:
                raise _late(url, check.timeout_ms) from exc
            raise _Unanswered(f"{url} gave no answer: {_why(exc)}") from exc
    if not found.passed and _now_ms() >= deadline_ms:
        raise _late(url, check.timeout_ms)  # what was missing might still have come
    return found


def _judge(check: HealthCheck, url: str, response: http.client.HTTPResponse) -> Attempt:
    if response.status != check.status:
        elsewhere = response.getheader("Location")
        hint = f" (a redirect to {elsewhere}, not followed)" if elsewhere else ""
        return Attempt(
            passed=False, detail=f"{url} answered {response.status}{hint}, expected {check.status}"
        )
    if check.contains is None:
        return Attempt(passed=True, detail=f"{url} answered {response.status}")
    wanted, seen = check.contains.encode(), bytearray()
    # As it comes: an answer that never ends may have what is looked for at its begin.
    while wanted not in seen[-_CHUNK_BYTES - len(wanted) :]:
        chunk = response.read1(min(_CHUNK_BYTES, BODY_BYTES_MAX - len(seen)))
        if not chunk:
            return Attempt(
                passed=False,
                detail=f"{url} answered {response.status} without {check.contains!r}",
            )
        seen += chunk
    return Attempt(passed=True, detail=f"{url} answered {response.status} with {check.contains!r}")


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


@contextmanager
def _connection(name: str, host: str, port: int, deadline_ms: int) -> Iterator[socket.socket]:
    """A connection to the first address of `host` that takes one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise _Unanswered(f"{name}: the host {host!r} is not known: {_why(exc)}") from exc
    failure = _Unanswered(f"{name}: the host {host!r} has no address")
    for family, kind, protocol, _, address in found:
        left_ms = deadline_ms - _now_ms()
        if left_ms <= 0:
            break
        with socket.socket(family, kind, protocol) as made:
            made.settimeout(left_ms / 1000)
            try:
                made.connect(address)
                if met_itself(made):
                    raise ConnectionRefusedError("nobody listens")
            except OSError as exc:
                failure = _Unanswered(f"{name} takes no connection: {_why(exc)}")
                continue
            yield made
            return
    raise failure


def met_itself(connection: socket.socket) -> bool:
    """Whether both ends are one: nobody listens, but the kernel chose the very port asked for.

    Source: RFC 9293, 3.5, simultaneous open.
    """
    return bool(connection.getsockname() == connection.getpeername())


@contextmanager
def _shut_at(connection: socket.socket, deadline_ms: int) -> Iterator[None]:
    """Shut a connection down at a time: a socket's own time-out starts anew at each byte."""
    # Its own descriptor: TLS takes the first one over.
    with socket.socket(fileno=os.dup(connection.fileno())) as same:

        def shut() -> None:
            with suppress(OSError):
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0, deadline_ms - _now_ms()) / 1000, shut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _parts_of(url: str) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as exc:
        raise _Unanswered(f"{url} is not an address: {exc}") from exc
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise _Unanswered(f"{url} is not an http:// or https:// address without a user's name")
    return parts, parts.hostname, port


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65_536:
        raise _Unanswered(f"{address} is not host:port")
    return host, int(port)


def _late(name: str, timeout_ms: int) -> _Unanswered:
    return _Unanswered(f"{name} gave no whole answer within {timeout_ms / 1000} s")


def _why(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return str(exc) or type(exc).__name__


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
