"""Holding a home: the lock, the engine, and the socket that others use.

Owns the life of the one process that writes: it takes the lock, opens the
journal, listens, and gives all of it up in the reverse order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from noodle_engine.disk.failures import LockHeld
from noodle_engine.disk.locks import FileLock, lock_file, lock_holder
from noodle_engine.execute.engine import Engine
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.home.service import Client, Peer, Server
from noodle_engine.execute.home.settings import Options
from noodle_engine.execute.observing.observer import Observer, observer_of
from noodle_engine.execute.operations import Operations
from noodle_engine.machine.records import Access
from noodle_journal.errors import NoodleError

__all__ = ["Holder", "client_of", "take"]

LOCK_WAIT_MS_MAX = 0


class Holder:
    """A held home."""

    def __init__(
        self,
        home: Home,
        engine: Engine,
        environment: Mapping[str, str],
        options: Options,
        observer: Observer,
    ) -> None:
        self.engine = engine
        self.observer = observer
        engine.around, engine.failed = observer.around, observer.failed
        engine.listen(observer.hear)
        observer.held(engine.world.upgrades.values())
        self.operations = Operations(engine, environment, options, observer)
        self._server = Server(
            home.socket_file,
            home.path.stat().st_uid,
            self.operations.answer,
            self._access,
        )
        self._closing = threading.Lock()
        self._closed = False
        self._server.start()
        self.operations.reloading.start()

    def _access(
        self,
        peer: Peer,
        permission: str,
        arguments: Mapping[str, Any],
        allowed: bool,  # noqa: FBT001 - the server calls it by position
    ) -> None:
        self.engine.record_access(
            Access(peer.name, permission, allowed, f"socket:{peer.pid}"),
            going_back=allowed and _leads_back(permission, arguments),
        )

    def close(self, *, leave: bool = False) -> None:
        """Wait for what runs, answer who asked, give the socket, journal and lock up.

        With `leave` what runs stops after its step, and nothing new is taken.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        try:
            self.operations.reloading.close()
            if leave:
                self._server.stop()
                self.engine.leave()
            self.engine.drain()
            self._server.close()
            self.engine.drain()
        finally:
            self.engine.close()
            self.observer.released()
            self.observer.close()


def _leads_back(permission: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a request may lead back: a full disk must not refuse it at the door."""
    plan = arguments.get("plan")
    direction = plan.get("direction") if isinstance(plan, Mapping) else None
    return permission in {"abort", "resume"} or (permission == "apply" and direction == "back")


def take(
    home: Home, environment: Mapping[str, str], options: Options = (), *, adopt: bool = False
) -> Holder | None:
    """Hold the home, or None if somebody else does.

    Raises what opening the journal raises; nothing is held then.
    """
    try:
        lock = lock_file(home.lock_file, wait_ms_max=LOCK_WAIT_MS_MAX)
    except LockHeld:
        return None
    observer = _observer(home, environment, options, lock)
    try:
        engine = open_engine(home, lock, environment, options, adopt=adopt)
    except NoodleError as failure:
        observer.refused("open", "engine", failure)
        observer.close()
        raise
    try:
        return Holder(home, engine, environment, options, observer)
    except BaseException:
        engine.close()
        observer.close()
        raise


def _observer(
    home: Home, environment: Mapping[str, str], options: Options, lock: FileLock
) -> Observer:
    """Who tells of the engine to come. The lock is released if that fails."""
    try:
        return observer_of(home, environment, options)
    except BaseException:
        lock.release()
        raise


def client_of(home: Home) -> Client:
    """How to speak to the process that holds the home."""
    find: Callable[[], int | None] = lambda: lock_holder(home.lock_file)  # noqa: E731
    return Client(home.socket_file, home.path, find)
