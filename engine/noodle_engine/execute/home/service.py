"""The socket of the home's lock holder, and how another process speaks to it.

Owns the protocol: one JSON object a line each way, bounded; requests carry an
operation and its arguments, answers are heard records while something runs
and then one result or one failure. Every holder listens, a foreground apply
too, so that no command has to wait for another to end.

Laws
S1. Only the home's owner and root are answered, by the socket's peer
    credentials; each decision is an `access` record.
S2. A client that goes away loses nothing: its upgrade goes on.
S3. A request that cannot be read is refused and changes nothing.
S4. A request is carried out only if its client could be told that it was read:
    whoever gave up before that is right to say that nothing was changed.
S5. What was read is answered before the holder ends, or lost with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson

from noodle_engine.execute.failures import (
    AnswerLost,
    HolderGone,
    HolderSilent,
    HomeUnusable,
    NotAuthorised,
    RequestMalformed,
)
from noodle_journal.errors import NoodleError

__all__ = [
    "ANSWER_WAIT_S_MAX",
    "Client",
    "Handler",
    "Peer",
    "RemoteFailure",
    "Server",
    "StoppedListening",
]

LINE_BYTES_MAX = 32 << 20
CLIENTS_MAX = 64
ANSWER_WAIT_S_MAX = 10.0
"""How long a holder may take to say that it has read a request."""
SOCKET_PATH_BYTES_MAX = 107
POLL_S_MAX = 0.2
_CHUNK_BYTES = 1 << 16
_FORMAT = 1

Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who speaks, by the kernel's word."""

    pid: int
    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The actor that records name."""
        return f"uid:{self.uid}"


Handler = Callable[[Peer, str, Mapping[str, Any], Tell], Mapping[str, Any]]
"""Answers one request: peer, operation, arguments, and how to tell what is heard."""


AccessRecorder = Callable[[Peer, str, Mapping[str, Any], bool], None]


class RemoteFailure(NoodleError):
    """A failure that the holder reported, as it reported it."""

    code: ClassVar[str] = "remote_failure"

    def __init__(self, error: Mapping[str, Any], exit_code: int) -> None:
        super().__init__(
            problem=str(error.get("problem", "the holder failed")),
            cause=str(error.get("cause", "it gave no cause")),
            remedy=str(error.get("remedy", "run `noodle status`")),
            data=dict(error.get("data") or {}),
        )
        self.code = str(error.get("code", "remote_failure"))  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """An address short enough for a socket, for as long as the context lasts.

    `sun_path` holds 107 bytes; a longer path is reached through /proc/self/fd.
    """
    text = os.fsencode(path)
    if len(text) <= SOCKET_PATH_BYTES_MAX:
        yield os.fsdecode(text)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Server:
    """Listens on the home's socket until closed.

    `access` records each decision; it gets the peer, the operation, its
    arguments, and whether it is allowed. A client may take `wait_s_max` to send
    its request, and as long to take each answer.
    """

    def __init__(
        self,
        path: Path,
        owner: int,
        handler: Handler,
        access: AccessRecorder,
        *,
        wait_s_max: float = ANSWER_WAIT_S_MAX,
    ) -> None:
        self._wait_s_max = wait_s_max
        self._path = path
        self._owner = owner
        self._handler = handler
        self._access = access
        self._listener: socket.socket | None = None
        self._clients = threading.Condition()
        self._reading: set[socket.socket] = set()
        self._answering = 0
        self._closing = threading.Event()

    def start(self) -> None:
        """Bind (0600) and listen. The caller holds the home's lock, so an old socket is dead.

        Raises HomeUnusable; then nothing listens.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            with _reachable(self._path) as address:
                listener.bind(address)
            self._path.chmod(0o600)
            if os.geteuid() == 0 and self._owner != 0:
                os.chown(self._path, self._owner, -1)  # the owner may ask root's process
            listener.listen(CLIENTS_MAX)
        except OSError as error:
            listener.close()
            why = f"its socket: {error.strerror or error}"
            raise HomeUnusable(str(self._path.parent), why) from error
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="socket", daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and remove the socket. What was read is answered still.

        Whoever has not sent a whole request yet finds the connection closed.
        """
        self._closing.set()
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        with self._clients:
            for connection in self._reading:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop, and wait until all that was read is answered (law S5)."""
        self.stop()
        with self._clients:
            while self._answering or self._reading:
                self._clients.wait()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                # No descriptor is left, or a client has gone: the next may come.
                self._closing.wait(POLL_S_MAX)
                continue
            with self._clients:
                full = len(self._reading) + self._answering >= CLIENTS_MAX
                if full or self._closing.is_set():
                    connection.close()
                    continue
                self._reading.add(connection)
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:  # no thread is left: the client finds nobody there
                with self._clients:
                    self._reading.discard(connection)
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            line = _Line(connection, self._wait_s_max)
            request = None
            try:
                request = _Request.read(connection, self._wait_s_max)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                line.send(_failure_line(RequestMalformed(str(error) or type(error).__name__)))
            finally:
                with self._clients:
                    self._reading.discard(connection)
                    taken = request is not None and not self._closing.is_set()
                    self._answering += taken
                    self._clients.notify_all()
            if request is None or not taken:
                return
            try:
                # A client that has given up was told that nothing was changed (law S4).
                if line.send({"format": _FORMAT, "read": True}):
                    self._answer(request, line)
            finally:
                with self._clients:
                    self._answering -= 1
                    self._clients.notify_all()

    def _answer(self, request: _Request, line: _Line) -> None:
        peer, operation, arguments = request.peer, request.operation, request.arguments

        def tell(heard: Mapping[str, Any]) -> None:
            line.send({"heard": dict(heard)})

        try:
            allowed = peer.uid in (0, self._owner)
            self._access(peer, operation, arguments, allowed)
            if not allowed:
                raise NotAuthorised(peer.name, operation)
            result = self._handler(peer, operation, arguments, tell)
            line.send({"result": dict(result)})
        except NoodleError as failure:
            line.send(_failure_line(failure))
        except Exception as failure:  # noqa: BLE001 - the client must hear of a bug
            bug = RemoteFailure({"code": "unexpected", "problem": f"{failure!r}"}, 1)
            line.send(_failure_line(bug))


class _Line:
    """The way back to a client, until it is gone."""

    def __init__(self, connection: socket.socket, wait_s_max: float) -> None:
        self._connection = connection
        self._wait_s_max = wait_s_max
        self._gone = False
        self._turn = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send a message; False if the client is gone, or reads too slowly to wait for."""
        with self._turn:
            if not self._gone:
                try:
                    self._connection.settimeout(self._wait_s_max)
                    self._connection.sendall(orjson.dumps(message, default=str) + b"\n")
                except OSError:
                    self._gone = True  # law S2: what it asked for goes on
            return not self._gone


@dataclass(frozen=True, slots=True)
class _Request:
    """What a client asks for, and who it is."""

    peer: Peer
    operation: str
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, connection: socket.socket, wait_s_max: float) -> _Request:
        """Read one request. Raises OSError, ValueError and their kin for what is none."""
        peer = _peer(connection)
        found = orjson.loads(_request_line(connection, wait_s_max))
        return cls(peer, str(found["operation"]), dict(found.get("arguments") or {}))


def _request_line(connection: socket.socket, wait_s_max: float) -> bytes:
    """One whole line, within `wait_s_max` of now."""
    until = time.monotonic() + wait_s_max
    buffer = bytearray()
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it did not end in time")
        connection.settimeout(left)
        received = connection.recv(_CHUNK_BYTES)
        if not received:
            raise ValueError("it has no end")
        buffer += received
        if received.endswith(b"\n"):
            return bytes(buffer)
        if len(buffer) > LINE_BYTES_MAX:
            raise ValueError(f"it is longer than {LINE_BYTES_MAX} bytes")


def _failure_line(failure: NoodleError) -> dict[str, Any]:
    return {
        "error": {
            "code": failure.code,
            "problem": failure.problem,
            "cause": failure.cause,
            "remedy": failure.remedy,
            "data": failure.data,
        },
        "exit_code": failure.exit_code,
    }


def _peer(connection: socket.socket) -> Peer:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return Peer(*struct.unpack("3i", raw))


class StoppedListening(Exception):
    """The caller's `stop` was set while an answer was waited for. `taken`: the request was read."""

    def __init__(self, *, taken: bool = True) -> None:
        super().__init__()
        self.taken = taken


def _lines(connection: socket.socket, stop: threading.Event | None) -> Iterator[bytes]:
    """The lines that arrive, until the other side closes.

    Raises StoppedListening within POLL_S_MAX of `stop` being set, TimeoutError
    as the connection's own timeout says.
    """
    buffer = bytearray()
    readable = select.poll()
    readable.register(connection, select.POLLIN)
    while True:
        end = buffer.find(b"\n")
        if end >= 0:
            yield bytes(buffer[:end])
            del buffer[: end + 1]
            continue
        if len(buffer) > LINE_BYTES_MAX:
            return
        waited_s = 0.0
        limit_s = connection.gettimeout()
        while not readable.poll(POLL_S_MAX * 1000):
            waited_s += POLL_S_MAX
            if stop is not None and stop.is_set():
                raise StoppedListening
            if limit_s is not None and waited_s >= limit_s:
                raise TimeoutError("no answer in time")
        received = connection.recv(_CHUNK_BYTES)
        if not received:
            return
        buffer += received


class Client:
    """Speaks to the holder of a home, which may take `wait_s_max` to take a request."""

    def __init__(
        self,
        path: Path,
        home: Path,
        holder: Callable[[], int | None],
        *,
        wait_s_max: float = ANSWER_WAIT_S_MAX,
    ) -> None:
        self._wait_s_max = wait_s_max
        self._path = path
        self._home = home
        self._holder = holder

    def ask(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        hear: Callable[[Mapping[str, Any]], None] | None = None,
        stop: threading.Event | None = None,
    ) -> Mapping[str, Any]:
        """Send one request and return its result.

        Raises HolderGone if nobody took the request and trying again may help,
        HolderSilent if the holder does not take it (it never will then),
        AnswerLost if it took it and never answered, StoppedListening once
        `stop` is set (the holder goes on, unless it had not taken the request:
        then it never will), and what the holder raised.
        """
        line = orjson.dumps({"operation": operation, "arguments": dict(arguments)}) + b"\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            self._send(connection, line)
            lines = _lines(connection, stop)
            if not self._taken(connection, lines):
                raise HolderGone(
                    str(self._home), self._holder(), "it closed the connection before it read"
                )
            try:
                connection.settimeout(None)
                return self._listen(lines, hear)
            except (OSError, orjson.JSONDecodeError) as error:
                raise self._lost(f"its socket: {error}") from error

    def _send(self, connection: socket.socket, line: bytes) -> None:
        try:
            connection.settimeout(self._wait_s_max)
            with _reachable(self._path) as address:
                connection.connect(address)
            connection.sendall(line)
        except (FileNotFoundError, ConnectionError, BlockingIOError) as error:
            why = f"its socket: {error.strerror or error}"
            raise HolderGone(str(self._home), self._holder(), why) from error
        except OSError as error:
            raise self._silent(f"its socket: {error.strerror or error}") from error

    def _taken(self, connection: socket.socket, lines: Iterator[bytes]) -> bool:
        """Whether the holder says that it has read the request (law S4)."""
        try:
            first = next(lines, b"")
        except ConnectionError:
            return False
        except StoppedListening:
            raise StoppedListening(taken=self._withdrawn_too_late(connection)) from None
        except OSError as error:
            if self._withdrawn_too_late(connection):
                raise self._lost("it took the request too late") from error
            raise self._silent(f"its socket: {error.strerror or error}") from error
        if not first:
            return False
        try:
            message = orjson.loads(first)
            if "error" in message:
                raise RemoteFailure(message["error"], int(message.get("exit_code", 1)))
        except (ValueError, TypeError) as error:
            raise self._silent("its first word is none of Noodle's") from error
        return True

    def _withdrawn_too_late(self, connection: socket.socket) -> bool:
        """Withdraw a request; whether the holder had said before that it read it (law S4)."""
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)  # from here on its word cannot come
            connection.settimeout(0)
            return bool(connection.recv(1))
        return False

    def _listen(
        self, lines: Iterator[bytes], hear: Callable[[Mapping[str, Any]], None] | None
    ) -> Mapping[str, Any]:
        for line in lines:
            message = orjson.loads(line)
            if "heard" in message:
                if hear is not None:
                    hear(message["heard"])
            elif "error" in message:
                raise RemoteFailure(message["error"], int(message.get("exit_code", 1)))
            elif "result" in message:
                found: Mapping[str, Any] = message["result"]
                return found
        raise self._lost("it ended before it answered")

    def _silent(self, cause: str) -> HolderSilent:
        return HolderSilent(str(self._home), self._holder(), cause)

    def _lost(self, cause: str) -> AnswerLost:
        return AnswerLost(str(self._home), self._holder(), cause)
