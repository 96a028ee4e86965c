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
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson

from noodle_engine.execute.failures import HolderSilent, NotAuthorised
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
    """Listens on the home's socket until closed."""

    def __init__(
        self, path: Path, owner: int, handler: Handler, access: Callable[[Peer, str, bool], None]
    ) -> None:
        self._path = path
        self._owner = owner
        self._handler = handler
        self._access = access
        self._listener: socket.socket | None = None
        self._slots = threading.BoundedSemaphore(CLIENTS_MAX)

    def start(self) -> None:
        """Bind (0600) and listen. The caller holds the home's lock, so an old socket is dead."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        with _reachable(self._path) as address:
            listener.bind(address)
        self._path.chmod(0o600)
        listener.listen(CLIENTS_MAX)
        self._listener = listener
        threading.Thread(target=self._accept, name="socket", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()

    def _accept(self) -> None:
        while True:
            listener = self._listener
            if listener is None:
                return
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not self._slots.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer(connection)
        finally:
            self._slots.release()

    def _answer(self, connection: socket.socket) -> None:
        gone = threading.Event()
        write_lock = threading.Lock()

        def send(message: Mapping[str, Any]) -> None:
            if gone.is_set():
                return
            with write_lock:
                try:
                    connection.sendall(orjson.dumps(message) + b"\n")
                except OSError:
                    gone.set()  # law S2: what it asked for goes on

        try:
            peer = _peer(connection)
            connection.settimeout(ANSWER_WAIT_S_MAX)
            with connection.makefile("rb") as reader:
                line = reader.readline(LINE_BYTES_MAX)
            connection.settimeout(None)
            request = orjson.loads(line)
            operation = str(request["operation"])
            arguments = dict(request.get("arguments") or {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            send(_failure_line(RemoteFailure({"problem": "the request cannot be read"}, 2)))
            return
        send({"format": _FORMAT, "read": True})
        try:
            allowed = peer.uid in (0, self._owner)
            self._access(peer, operation, allowed)
            if not allowed:
                raise NotAuthorised(peer.name, operation)
            result = self._handler(
                peer, operation, arguments, lambda heard: send({"heard": dict(heard)})
            )
            send({"result": dict(result)})
        except NoodleError as failure:
            send(_failure_line(failure))
        except Exception as failure:  # noqa: BLE001 - the client must hear of a bug
            send(_failure_line(RemoteFailure({"code": "unexpected", "problem": f"{failure!r}"}, 1)))


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
    """The caller's `stop` was set while an answer was waited for."""


def _lines(connection: socket.socket, stop: threading.Event | None) -> Iterator[bytes]:
    """The lines that arrive, until the other side closes.

    Raises StoppedListening within POLL_S_MAX of `stop` being set, TimeoutError
    as the connection's own timeout says.
    """
    buffer = bytearray()
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
        while not select.select([connection], [], [], POLL_S_MAX)[0]:
            waited_s += POLL_S_MAX
            if stop is not None and stop.is_set():
                raise StoppedListening
            if limit_s is not None and waited_s >= limit_s:
                raise TimeoutError("no answer in time")
        received = connection.recv(1 << 16)
        if not received:
            return
        buffer += received


class Client:
    """Speaks to the holder of a home."""

    def __init__(self, path: Path, home: Path, holder: Callable[[], int | None]) -> None:
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

        Raises StoppedListening once `stop` is set (the holder goes on),
        HolderSilent if nobody answers, and what the holder raised.
        """
        line = orjson.dumps({"operation": operation, "arguments": dict(arguments)}) + b"\n"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_WAIT_S_MAX)
                with _reachable(self._path) as address:
                    connection.connect(address)
                connection.sendall(line)
                lines = _lines(connection, stop)
                if not next(lines, b""):
                    raise self._silent("it closed the connection without an answer")
                connection.settimeout(None)
                return self._listen(lines, hear)
        except OSError as error:
            raise self._silent(f"its socket: {error.strerror or error}") from error

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
        raise self._silent("it ended before it answered")

    def _silent(self, cause: str) -> HolderSilent:
        return HolderSilent(str(self._home), self._holder(), cause)
