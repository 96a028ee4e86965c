"""The home's socket: laws S1 to S5. Real sockets; the other side is a script where it must be."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from noodle_engine import Noodle
from noodle_engine.execute.failures import AnswerLost, HolderGone, HolderSilent
from noodle_engine.execute.home.holder import Holder, client_of, take
from noodle_engine.execute.home.service import (
    CLIENTS_MAX,
    LINE_BYTES_MAX,
    Client,
    Peer,
    RemoteFailure,
    Server,
    StoppedListening,
)
from noodle_engine.machine.codec import encode
from noodle_engine.machine.records import Access
from noodle_engine.machine.states import State
from tests.unit.execute.site import NOBODY, WAIT_S_MAX, Driven, Site, as_user, hook

SHORT_S = 0.2
"""What a side waits for the other where the test lets it wait in vain."""


# -- the two sides --------------------------------------------------------------


@dataclass
class Listening:
    """A server whose handler a test gives."""

    path: Path
    asked: list[tuple[Peer, str, Mapping[str, Any]]] = field(default_factory=list)
    accesses: list[tuple[str, bool]] = field(default_factory=list)
    handler: Callable[..., Mapping[str, Any]] = field(default=lambda *_: {})
    owner: int = field(default_factory=os.geteuid)

    def start(self) -> Server:
        def handle(peer: Peer, operation: str, arguments: Any, tell: Any) -> Mapping[str, Any]:
            self.asked.append((peer, operation, arguments))
            return self.handler(peer, operation, arguments, tell)

        def access(_peer: Peer, operation: str, _arguments: Any, allowed: bool) -> None:
            self.accesses.append((operation, allowed))

        server = Server(self.path, self.owner, handle, access, wait_s_max=SHORT_S)
        server.start()
        return server

    def client(self) -> Client:
        return Client(self.path, self.path.parent, os.getpid, wait_s_max=SHORT_S)


@pytest.fixture
def listening(tmp_path: Path) -> Listening:
    return Listening(tmp_path / "socket")


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WAIT_S_MAX)
        connection.connect(str(path))
        yield connection


def answers(connection: socket.socket) -> list[dict[str, Any]]:
    """Everything that is answered until the other side closes."""
    raw = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            raw += chunk
    return [json.loads(line) for line in raw.splitlines()]


def request(operation: str, **arguments: object) -> bytes:
    return json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n"


@contextlib.contextmanager
def scripted(path: Path, act: Callable[[socket.socket], object]) -> Iterator[threading.Event]:
    """A holder that does with its one client what a test says. The event: it has done it."""
    done = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                act(connection)
            done.set()

        threading.Thread(target=serve, daemon=True).start()
        yield done


def line_of(connection: socket.socket) -> bytes:
    raw = b""
    while not raw.endswith(b"\n"):
        raw += connection.recv(1 << 16)
    return raw


@pytest.fixture
def holder(site: Site) -> Iterator[Holder]:
    held = take(site.home, {})
    assert held is not None
    yield held
    held.close(leave=True)


# -- whom a client can believe ---------------------------------------------------


def test_an_answer_comes_back_with_what_was_heard_before_it(listening: Listening) -> None:
    def handler(_peer: Peer, _operation: str, _arguments: Any, tell: Any) -> Mapping[str, Any]:
        for number in range(3):
            tell({"seq": number})
        return {"done": "ünï"}

    listening.handler = handler
    server = listening.start()
    heard: list[Mapping[str, Any]] = []
    try:
        answer = listening.client().ask("apply", {"big": "x" * 300_000}, heard.append)
    finally:
        server.close()

    assert answer == {"done": "ünï"}
    assert [one["seq"] for one in heard] == [0, 1, 2]
    (peer, operation, arguments) = listening.asked[0]
    assert (peer.pid, peer.uid, operation) == (os.getpid(), os.geteuid(), "apply")
    assert len(arguments["big"]) == 300_000
    assert listening.accesses == [("apply", True)]


def test_a_holder_that_ends_after_it_took_the_request_leaves_its_answer_lost(
    tmp_path: Path,
) -> None:
    """Never "nothing was changed": it may have been."""

    def take_and_die(connection: socket.socket) -> None:
        line_of(connection)
        connection.sendall(b'{"format": 1, "read": true}\n{"heard": {}}\n')

    path = tmp_path / "socket"
    with scripted(path, take_and_die), pytest.raises(AnswerLost) as lost:
        Client(path, tmp_path, lambda: 1).ask("apply", {})
    assert lost.value.exit_code == 9
    assert "nothing was changed" not in str(lost.value)


def test_a_holder_that_talks_junk_after_it_took_the_request_leaves_its_answer_lost(
    tmp_path: Path,
) -> None:
    def take_and_rave(connection: socket.socket) -> None:
        line_of(connection)
        connection.sendall(b'{"read": true}\nnot JSON\n')

    path = tmp_path / "socket"
    with scripted(path, take_and_rave), pytest.raises(AnswerLost):
        Client(path, tmp_path, lambda: 1).ask("apply", {})


@pytest.mark.parametrize("reads", [True, False])
def test_a_holder_that_ends_before_it_took_the_request_can_be_asked_again(
    tmp_path: Path, reads: bool
) -> None:
    path = tmp_path / "socket"
    act = line_of if reads else (lambda _connection: None)
    with scripted(path, act), pytest.raises(HolderGone):
        Client(path, tmp_path, lambda: 1).ask("apply", {})


@pytest.mark.parametrize("there", [True, False])
def test_where_nobody_listens_the_holder_is_gone(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "socket"
    if there:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    with pytest.raises(HolderGone):
        Client(path, tmp_path, lambda: None).ask("apply", {})


def test_a_holder_that_stands_still_is_silent_and_cannot_take_the_request_later(
    tmp_path: Path,
) -> None:
    """S4: once the client has said that nothing was changed, nothing can be."""
    path = tmp_path / "socket"
    given_up = threading.Event()
    sent: list[bool] = []

    def wake_up_late(connection: socket.socket) -> None:
        assert given_up.wait(WAIT_S_MAX)
        line_of(connection)
        try:
            connection.sendall(b'{"read": true}\n')
            sent.append(True)
        except OSError:
            sent.append(False)

    with scripted(path, wake_up_late) as done:
        with pytest.raises(HolderSilent) as silent:
            Client(path, tmp_path, lambda: 1, wait_s_max=SHORT_S).ask("apply", {})
        assert not isinstance(silent.value, HolderGone)
        given_up.set()
        assert done.wait(WAIT_S_MAX)
    assert sent == [False], "the holder could tell, so it would have carried the request out"


def test_the_server_does_not_carry_out_what_its_client_no_longer_waits_for(
    listening: Listening,
) -> None:
    """S4, from the other side: the client withdrew before it could be told."""
    server = listening.start()
    try:
        with connected(listening.path) as connection:
            connection.shutdown(socket.SHUT_RD)
            connection.sendall(request("apply"))
            assert answers(connection) == []
    finally:
        server.close()
    assert listening.asked == []
    assert listening.accesses == []


def test_an_interrupt_before_the_request_was_taken_withdraws_it(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    stop, given_up = threading.Event(), threading.Event()
    stop.set()
    told: list[bytes] = []

    def wake_up_late(connection: socket.socket) -> None:
        assert given_up.wait(WAIT_S_MAX)
        line_of(connection)
        with contextlib.suppress(OSError):
            connection.sendall(b'{"read": true}\n')
            told.append(b"read")

    with scripted(path, wake_up_late) as done:
        with pytest.raises(StoppedListening) as stopped:
            Client(path, tmp_path, lambda: 1).ask("apply", {}, None, stop)
        given_up.set()
        assert done.wait(WAIT_S_MAX)
    assert not stopped.value.taken
    assert told == []


def test_an_interrupt_after_the_request_was_taken_only_ends_the_waiting(
    listening: Listening,
) -> None:
    """S2: the holder goes on, and answers nobody."""
    stop, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def handler(*_: Any) -> Mapping[str, Any]:
        stop.set()
        assert go_on.wait(WAIT_S_MAX)
        done.set()
        return {}

    listening.handler = handler
    server = listening.start()
    try:
        with pytest.raises(StoppedListening) as stopped:
            listening.client().ask("apply", {}, None, stop)
        go_on.set()
    finally:
        server.close()
    assert stopped.value.taken
    assert done.is_set()


# -- what a server bears ----------------------------------------------------------


def test_a_client_that_says_nothing_holds_up_neither_others_nor_the_end(
    listening: Listening,
) -> None:
    server = Server(
        listening.path, os.geteuid(), lambda *_: {"here": True}, lambda *_: None
    )  # with its full patience
    server.start()
    with connected(listening.path), connected(listening.path) as half:
        half.sendall(b'{"operation": "pi')
        assert Client(listening.path, listening.path, os.getpid).ask("ping", {}) == {"here": True}
        server.close()  # law S5: it waits for what was read, and nothing was


def test_a_client_that_says_nothing_is_told_off_when_its_time_is_over(
    listening: Listening,
) -> None:
    server = listening.start()
    try:
        with connected(listening.path) as connection:
            (only,) = answers(connection)
        assert only["error"]["code"] == "request_malformed"
    finally:
        server.close()


def test_a_client_that_trickles_is_told_off_when_its_time_is_over(listening: Listening) -> None:
    """Its bytes give it no more time."""
    server = listening.start()
    try:
        with connected(listening.path) as connection, contextlib.suppress(OSError):
            for _ in range(1_000_000):
                connection.sendall(b" ")
        assert listening.asked == []
    finally:
        server.close()


def test_a_client_that_does_not_read_loses_its_answers_and_nothing_else(
    listening: Listening,
) -> None:
    """S2: what it asked for goes on to its end."""
    ended = threading.Event()

    def handler(_peer: Peer, _operation: str, _arguments: Any, tell: Any) -> Mapping[str, Any]:
        for _ in range(50):
            tell({"text": "x" * 100_000})
        ended.set()
        return {}

    listening.handler = handler
    server = listening.start()
    try:
        with connected(listening.path) as connection:
            connection.sendall(request("apply"))
            assert ended.wait(WAIT_S_MAX)
    finally:
        server.close()


def test_more_clients_than_the_limit_are_turned_away_and_room_comes_back(
    listening: Listening,
) -> None:
    server = Server(listening.path, os.geteuid(), lambda *_: {}, lambda *_: None)
    server.start()
    client = Client(listening.path, listening.path, os.getpid)
    with contextlib.ExitStack() as idle:
        for _ in range(CLIENTS_MAX):
            idle.enter_context(connected(listening.path))
        with pytest.raises(HolderGone):
            client.ask("ping", {})
    until = threading.Event()
    for _ in range(1000):  # the server takes notice of the ends one by one
        try:
            assert client.ask("ping", {}) == {}
            break
        except HolderGone:
            until.wait(0.01)
    else:
        pytest.fail("no room came back")
    server.close()


def test_what_was_read_is_answered_before_the_server_ends(listening: Listening) -> None:
    """S5."""
    taken, go_on = threading.Event(), threading.Event()

    def handler(*_: Any) -> Mapping[str, Any]:
        taken.set()
        assert go_on.wait(WAIT_S_MAX)
        return {"answered": True}

    listening.handler = handler
    server = listening.start()
    found: list[Mapping[str, Any]] = []
    asking = threading.Thread(target=lambda: found.append(listening.client().ask("apply", {})))
    asking.start()
    assert taken.wait(WAIT_S_MAX)
    server.stop()
    assert not listening.path.exists()
    closing = threading.Thread(target=server.close)
    closing.start()
    assert closing.is_alive()
    go_on.set()
    closing.join(WAIT_S_MAX)
    asking.join(WAIT_S_MAX)
    assert found == [{"answered": True}]


def test_a_failure_of_the_handler_reaches_the_client_as_it_is(listening: Listening) -> None:
    def handler(*_: Any) -> Mapping[str, Any]:
        raise HolderSilent("home", 7, "a cause")

    listening.handler = handler
    server = listening.start()
    try:
        with pytest.raises(RemoteFailure) as failed:
            listening.client().ask("apply", {})
        assert failed.value.code == "holder_silent"
        assert failed.value.exit_code == 9
        assert failed.value.data == {"home": "home", "holder": 7}
    finally:
        server.close()


def test_a_bug_in_the_handler_is_told_and_the_server_lives(listening: Listening) -> None:
    def handler(*_: Any) -> Mapping[str, Any]:
        raise ZeroDivisionError

    listening.handler = handler
    server = listening.start()
    try:
        for _ in range(2):
            with pytest.raises(RemoteFailure) as failed:
                listening.client().ask("apply", {})
            assert (failed.value.code, failed.value.exit_code) == ("unexpected", 1)
    finally:
        server.close()


def test_a_socket_that_a_dead_holder_left_is_replaced(listening: Listening) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(listening.path))
    server = listening.start()
    try:
        assert listening.client().ask("ping", {}) == {}
        assert listening.path.stat().st_mode & 0o777 == 0o600
    finally:
        server.close()
    assert not listening.path.exists()


# -- the real holder: junk, strangers, long paths ---------------------------------


def operations_junk(holder: Holder) -> dict[str, bytes]:
    """Requests whose words can be read, and mean nothing."""
    plan = {"home": holder.engine.journal.log_id}
    return {
        "unknown operation": request("format-disk"),
        "operation of a wrong type": b'{"operation": [1]}\n',
        "apply without a plan": request("apply"),
        "apply of a wrong type": request("apply", plan=[1, 2]),
        "apply of half a plan": request("apply", plan=plan),
        "an unknown on_crash": request("apply", plan=plan, on_crash="sideways"),
        "abort without an upgrade": request("abort"),
        "an unknown release": request("resume", release="freely"),
        "a limit of a wrong type": request("resume", wait_ms_max="soon"),
        "a limit that is a list": request("resume", wait_ms_max=[1]),
        "an unknown note": request("note", code="upgrade.forged", text=""),
        "a note of a wrong type": request("note", code="component.forgotten", text="", data=[1]),
        "a note without words": request("note", code="component.forgotten"),
        "a note that only the engine writes": request("note", code="component.added", text=""),
        "a release without a token": request("register"),
    }


SYNTAX_JUNK = {
    "not JSON": b"hello\n",
    "empty line": b"\n",
    "a list": b"[1]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "no operation": b"{}\n",
    "arguments that are a list": b'{"operation": "ping", "arguments": [1]}\n',
    "arguments that are a text": b'{"operation": "ping", "arguments": "x"}\n',
    "no UTF-8": b'{"operation": "\xff\xfe"}\n',
    "zero bytes": b"\0" * 64 + b"\n",
    "deep": b'{"operation": ' + b"[" * 100_000 + b"\n",
    "two lines": request("ping") + request("ping"),
    "a lone surrogate": b'{"operation": "\\ud800"}\n',
    "half a line": b'{"operation": "ping"',
}


def test_junk_is_answered_as_junk_and_the_holder_lives(site: Site, holder: Holder) -> None:
    """S3: refused, and no upgrade or note of it is in the journal."""
    site.release("web", "1.0.0")
    socket_file = site.home.socket_file
    for name, data in {**SYNTAX_JUNK, **operations_junk(holder)}.items():
        with connected(socket_file) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            *_, last = answers(connection)
        assert last["error"]["code"] == "request_malformed", name
        assert last["exit_code"] == 2, name
    kinds = {record.kind.name for record in holder.engine.journal.read()}  # type: ignore[union-attr]
    assert kinds <= {"KEY_EPOCH", "STATE", "ACCESS"}
    assert client_of(site.home).ask("ping", {})["pid"] == os.getpid()


def test_a_line_that_is_too_long_is_not_read_to_its_end(site: Site, holder: Holder) -> None:
    with connected(site.home.socket_file) as connection:
        chunk = b"x" * (1 << 20)
        with contextlib.suppress(ConnectionError):
            for _ in range((LINE_BYTES_MAX >> 20) + 8):
                connection.sendall(chunk)
        found = answers(connection)
    assert [one["error"]["code"] for one in found] in ([], ["request_malformed"])
    assert client_of(site.home).ask("ping", {})["running"] == []


def test_an_id_that_no_upgrade_has_is_told_so_by_the_holder(site: Site, holder: Holder) -> None:
    for operation in ("abort", "resume"):
        with pytest.raises(RemoteFailure) as failed:
            client_of(site.home).ask(operation, {"upgrade": "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
        assert failed.value.code == "upgrade_unknown"


def test_another_user_cannot_reach_the_socket(site: Site, holder: Holder) -> None:
    site.folder.chmod(0o711)
    found = as_user(NOBODY, lambda: client_of(site.home).ask("ping", {}))
    assert isinstance(found, HolderSilent)


def test_another_user_who_reaches_the_socket_is_refused_and_recorded(
    site: Site, holder: Holder
) -> None:
    """S1: by the kernel's word on who it is, whatever the request says."""
    site.release("web", "1.0.0")
    with site.open() as noodle:
        plan = noodle.plan(["web@1.0.0"]).plan
    assert plan is not None
    site.folder.chmod(0o711)
    site.path.chmod(0o711)
    site.home.socket_file.chmod(0o666)

    found = as_user(
        NOBODY,
        lambda: client_of(site.home).ask("apply", {"plan": encode(plan), "actor": "uid:0"}),
    )

    assert isinstance(found, RemoteFailure)
    assert found.code == "not_authorised"
    assert found.exit_code == 7
    accesses = [
        entry.event
        for entry in Driven(site, holder.engine).entries()
        if isinstance(entry.event, Access)
    ]
    assert [(one.subject, one.permission, one.allowed) for one in accesses] == [
        (f"uid:{NOBODY}", "apply", False)
    ]
    assert holder.engine.world.upgrades == {}
    assert site.has("web", None)


def test_the_owner_may_ask_and_it_is_recorded(site: Site, holder: Holder) -> None:
    site.release("web", "1.0.0")
    with site.open() as other:  # finds the lock held, so it asks
        view = other.apply(["web@1.0.0"])
    assert view is not None
    assert view.state is State.COMMITTED
    entries = Driven(site, holder.engine).entries()
    (access,) = [one.event for one in entries if isinstance(one.event, Access)]
    assert access.subject == f"uid:{os.geteuid()}"
    assert access.allowed
    assert access.via == f"socket:{os.getpid()}"


def test_a_home_with_a_path_longer_than_a_socket_address_is_held_and_asked(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    site = Site(folder)
    assert len(os.fsencode(site.home.socket_file)) > 107
    site.release("web", "1.0.0")
    held = take(site.home, {})
    assert held is not None
    try:
        with site.open() as other:
            view = other.apply(["web@1.0.0"])
        assert view is not None
        assert view.state is State.COMMITTED
        assert held.engine.journal.size > 20
    finally:
        held.close()
    assert not site.home.socket_file.exists()


def test_a_holder_that_leaves_stops_what_runs_and_tells_who_asked(
    site: Site, holder: Holder
) -> None:
    """S5: the client hears how its upgrade stands, and can resume it."""
    gate = site.gate("gate")
    site.release("web", "1.0.0", hook("before-swap", gate.command))
    found: list[object] = []

    def ask() -> None:
        with site.open() as other:
            found.append(other.apply(["web@1.0.0"]))

    asking = threading.Thread(target=ask)
    asking.start()
    gate.wait()
    closing = threading.Thread(target=lambda: holder.close(leave=True))
    closing.start()
    while not holder.engine._leaving:
        os.sched_yield()
    gate.open()
    closing.join(WAIT_S_MAX)
    asking.join(WAIT_S_MAX)
    (view,) = found
    assert view.state is State.SWAPPING  # type: ignore[attr-defined]
    with Noodle.open(site.path) as noodle:
        (resumed,) = noodle.resume()
    assert resumed.state is State.COMMITTED
