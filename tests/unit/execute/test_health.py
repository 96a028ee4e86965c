"""Health checks: laws H1 to H3. Real servers on the loopback; a virtual clock for watching."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from noodle_engine.execute.commands.children import CommandUnusable, Ended
from noodle_engine.execute.commands.health import (
    BODY_BYTES_MAX,
    INTERVAL_MS_MIN,
    Attempt,
    Verdict,
    attempt_once,
    met_itself,
    named,
    watch,
)
from noodle_engine.machine.plan import HealthCheck


def no_command(command: Sequence[str], timeout_ms: int) -> Ended:
    raise AssertionError(f"{command} is not to be run")


def attempt(check: HealthCheck) -> Attempt:
    return attempt_once(check, run=no_command)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path.split("?")[0]:
            case "/":
                self.answer(200, b"web 1.1.0\n")
            case "/query":
                self.answer(200, self.path.encode())
            case "/host":
                self.answer(200, self.headers["Host"].encode())
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/")
                self.end_headers()
            case "/bad":
                self.answer(502, b"1.1.0")
            case "/large":
                self.answer(200, b" " * BODY_BYTES_MAX + b"beyond")
            case "/edge":
                self.answer(200, b" " * (BODY_BYTES_MAX - 6) + b"within")
            case "/stream":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"first 1.1")
                self.wfile.flush()
                self.wfile.write(b".0 and no end")
                self.wfile.flush()
                self.connection.recv(1)
            case _:
                self.answer(404, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the client may have seen enough
            self.wfile.write(body)

    @override
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def raw_server(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that says to its one visitor what `speak` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            visitor, _ = listener.accept()
            with visitor, suppress(OSError):
                speak(visitor)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# HTTP


def test_the_wanted_status_passes(web: str) -> None:
    found = attempt(HealthCheck(http=f"{web}/"))

    assert found == Attempt(passed=True, detail=f"{web}/ answered 200")


def test_an_address_without_a_path_means_its_root(web: str) -> None:
    assert attempt(HealthCheck(http=web)).passed


def test_another_status_fails_and_is_named(web: str) -> None:
    found = attempt(HealthCheck(http=f"{web}/bad", contains="1.1.0"))

    assert found == Attempt(passed=False, detail=f"{web}/bad answered 502, expected 200")
    assert attempt(HealthCheck(http=f"{web}/bad", status=502)).passed


def test_the_content_must_be_there_when_stated(web: str) -> None:
    assert attempt(HealthCheck(http=f"{web}/", contains="1.1.0")).passed
    assert not attempt(HealthCheck(http=f"{web}/", contains="1.2.0")).passed


def test_the_query_and_the_host_are_sent(web: str) -> None:
    assert attempt(HealthCheck(http=f"{web}/query?a=b&c#fragment", contains="?a=b&c")).passed
    assert attempt(HealthCheck(http=f"{web}/host", contains=web.removeprefix("http://"))).passed


def test_a_redirect_is_an_answer_and_not_followed(web: str) -> None:
    assert not attempt(HealthCheck(http=f"{web}/moved")).passed
    assert attempt(HealthCheck(http=f"{web}/moved", status=302)).passed


def test_a_proxy_of_the_environment_is_not_used(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)

    assert attempt(HealthCheck(http=f"{web}/")).passed


def test_content_is_looked_for_up_to_its_limit(web: str) -> None:
    assert attempt(HealthCheck(http=f"{web}/edge", contains="within")).passed
    assert not attempt(HealthCheck(http=f"{web}/large", contains="beyond")).passed


def test_content_is_found_in_an_answer_that_never_ends(web: str) -> None:
    assert attempt(HealthCheck(http=f"{web}/stream", contains="1.1.0")).passed


def test_nobody_listening_fails() -> None:
    found = attempt(HealthCheck(http=f"http://127.0.0.1:{free_port()}/"))

    assert not found.passed
    assert "refused" in found.detail


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\n\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
    ],
)
def test_an_answer_that_is_none_fails(answer: bytes) -> None:
    """H1."""

    def speak(visitor: socket.socket) -> None:
        visitor.recv(65_536)
        visitor.sendall(answer)

    with raw_server(speak) as address:
        assert not attempt(HealthCheck(http=f"http://{address}/", contains="1.1.0")).passed


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_drips_is_given_up_at_the_time_out(head: bytes) -> None:
    """A socket's own time-out starts anew at each byte."""
    finished = threading.Event()

    def speak(visitor: socket.socket) -> None:
        visitor.sendall(head)
        while not finished.wait(0.02):
            visitor.sendall(b"x")

    with raw_server(speak) as address:
        began = time.monotonic()
        found = attempt(HealthCheck(http=f"http://{address}/", contains="1.1.0", timeout_ms=200))
        took = time.monotonic() - began
        finished.set()

    assert not found.passed
    assert "within 0.2 s" in found.detail
    assert took < 5


def test_a_server_without_tls_does_not_pass_for_one_with_it(web: str) -> None:
    assert not attempt(HealthCheck(http=f"{web}/".replace("http:", "https:"))).passed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "web",
        "ftp://127.0.0.1/",
        "http://",
        "http://127.0.0.1:x/",
        "http://127.0.0.1:99999/",
        "http://a:b@127.0.0.1/",
        "http://[::1/",
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/\r\nX: y",
        f"http://{'a' * 70}.invalid/",
        "http://no-such-host.invalid/",
    ],
)
def test_what_is_no_address_fails_and_says_so(url: str) -> None:
    found = attempt(HealthCheck(http=url, timeout_ms=500))

    assert not found.passed
    assert found.detail


# TCP


def test_a_port_that_accepts_passes_and_one_that_does_not_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert attempt(HealthCheck(tcp=address)).passed
    assert not attempt(HealthCheck(tcp=address)).passed


def test_an_address_of_version_6_is_taken_in_brackets() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with listener:
        assert attempt(HealthCheck(tcp=f"[::1]:{listener.getsockname()[1]}")).passed


def test_a_connection_that_met_itself_is_told_from_one_to_a_server() -> None:
    """H1: a connection to a free port of this host may join its own two ends.

    The kernel does it by chance, one time in some ten thousand; here on purpose.
    """
    with socket.socket() as alone:
        alone.bind(("127.0.0.1", 0))
        alone.connect(alone.getsockname())
        assert met_itself(alone)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as met,
    ):
        assert not met_itself(met)


@pytest.mark.parametrize("address", ["", ":", "host", "host:", ":80", "h:0", "h:65536", "h:²"])
def test_what_is_no_host_and_port_fails(address: str) -> None:
    assert not attempt(HealthCheck(tcp=address)).passed


# File


def test_a_file_passes_when_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    check = HealthCheck(file=str(path))

    assert not attempt(check).passed
    path.touch()
    assert attempt(check).passed


def test_a_file_must_contain_what_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    check = HealthCheck(file=str(path), contains="ütf")

    path.write_bytes(b"")
    assert not attempt(check).passed
    path.write_text("an ütf-8 text")
    assert attempt(check).passed
    path.write_bytes(b"\xff" * BODY_BYTES_MAX + "ütf".encode())
    assert not attempt(check).passed


def test_a_pipe_or_a_folder_is_no_file_to_search(tmp_path: Path) -> None:
    """And neither holds up the check."""
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path, Path("\0")):
        assert not attempt(HealthCheck(file=str(path), contains="x")).passed


# Command


def ending(exit_code: int | None, *, output: str = "", timed_out: bool = False) -> Ended:
    return Ended(
        exit_code=exit_code,
        signal=None if exit_code is not None else 15,
        timed_out=timed_out,
        stopped=False,
        output=output,
        duration_ms=1,
    )


@pytest.mark.parametrize(
    ("ended", "passes"),
    [
        (ending(0), True),
        (ending(1, output="no\nbecause"), False),
        (ending(None), False),
        (ending(0, timed_out=True), False),
    ],
)
def test_a_command_passes_by_its_exit_code_alone(ended: Ended, passes: bool) -> None:
    asked: list[tuple[tuple[str, ...], int]] = []

    def run(command: Sequence[str], timeout_ms: int) -> Ended:
        asked.append((tuple(command), timeout_ms))
        return ended

    found = attempt_once(HealthCheck(command=("check", "it"), timeout_ms=700), run=run)

    assert found.passed is passes
    assert asked == [(("check", "it"), 700)]
    assert ("because" in found.detail) is bool(ended.output)


def test_a_command_that_cannot_be_started_fails() -> None:
    def run(command: Sequence[str], timeout_ms: int) -> Ended:
        raise CommandUnusable(program="check", cause="gone", remedy="none")

    assert not attempt_once(HealthCheck(command=("check",)), run=run).passed


def test_a_commands_output_must_contain_what_is_stated() -> None:
    check = HealthCheck(command=("check",), contains="1.1.0")

    assert attempt_once(check, run=lambda _c, _t: ending(0, output="1.1.0\n")).passed
    assert not attempt_once(check, run=lambda _c, _t: ending(0, output="1.0.0\n")).passed


def test_a_check_of_nothing_fails() -> None:
    assert not attempt(HealthCheck()).passed
    assert named(HealthCheck(command=("a", "b"))) == "a b"
    assert named(HealthCheck(tcp="h:1")) == "h:1"


# Watching


class World:
    """A clock that only waiting and attempting move, and answers made beforehand."""

    def __init__(
        self, answers: Sequence[bool], *, attempt_ms: int = 0, stop_at_wait: int | None = None
    ) -> None:
        self.now = 1_000
        self.answers = list(answers)
        self.attempt_ms = attempt_ms
        self.stop_at_wait = stop_at_wait
        self.waits: list[float] = []
        self.made = 0

    def attempt(self) -> Attempt:
        self.now += self.attempt_ms
        passed = self.answers[min(self.made, len(self.answers) - 1)]
        self.made += 1
        return Attempt(passed=passed, detail="yes" if passed else "no")

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += round(seconds * 1000)
        return len(self.waits) == self.stop_at_wait

    def watch(self, check: HealthCheck, *, deadline_ms: int = 1 << 50) -> Verdict:
        return watch(
            check,
            self.attempt,
            now_ms=lambda: self.now,
            wait=self.wait,
            deadline_ms=deadline_ms,
        )


CHECK = HealthCheck(file="/f", passes=3, interval_ms=1_000, timeout_ms=500, within_ms=10_000)


def test_passes_must_be_in_a_row() -> None:
    world = World([True, True, False, True, True, True])

    verdict = world.watch(CHECK)

    assert verdict == Verdict(passed=True, stopped=False, attempts=6, passes=3, detail="yes")
    assert world.waits == [1.0] * 5


def test_a_check_that_fails_throughout_ends_within_its_time() -> None:
    world = World([False])

    verdict = world.watch(CHECK)

    assert verdict == Verdict(passed=False, stopped=False, attempts=11, passes=0, detail="no")
    assert world.now <= 1_000 + CHECK.limit_ms


def test_a_pass_that_comes_too_late_counts_for_nothing() -> None:
    world = World([True], attempt_ms=4_000)

    verdict = world.watch(CHECK)  # attempts end at 4, 9 and 14 s

    assert not verdict.passed
    assert verdict.passes < 3


def test_the_deadline_ends_a_watch_before_the_checks_own_time() -> None:
    world = World([False])

    verdict = world.watch(CHECK, deadline_ms=3_500)

    assert not verdict.passed
    assert world.now <= 3_500


def test_after_the_deadline_one_attempt_is_made_and_does_not_pass() -> None:
    verdict = World([True]).watch(replace(CHECK, passes=1), deadline_ms=0)

    assert (verdict.passed, verdict.attempts) == (False, 1)


def test_a_stop_ends_a_watch_and_is_told_apart() -> None:
    verdict = World([True], stop_at_wait=2).watch(CHECK)

    assert (verdict.passed, verdict.stopped, verdict.attempts) == (False, True, 2)


def test_a_watch_ends_when_the_clock_stands_still() -> None:
    """H2: a clock step does not advance journal time; the watch still ends."""
    made = 0

    def never() -> Attempt:
        nonlocal made
        made += 1
        return Attempt(passed=False, detail="no")

    verdict = watch(
        CHECK, never, now_ms=lambda: 5, wait=lambda _seconds: False, deadline_ms=1 << 50
    )

    assert not verdict.passed
    assert made == verdict.attempts <= CHECK.limit_ms // CHECK.interval_ms + CHECK.passes


@given(
    answers=st.lists(st.booleans(), min_size=1, max_size=12),
    passes=st.integers(min_value=0, max_value=4),
    interval_ms=st.integers(min_value=0, max_value=3_000),
    within_ms=st.integers(min_value=0, max_value=20_000),
    attempt_ms=st.integers(min_value=0, max_value=2_000),
)
def test_a_watch_passes_exactly_when_enough_in_a_row_ended_in_time(
    answers: list[bool], passes: int, interval_ms: int, within_ms: int, attempt_ms: int
) -> None:
    """H2, against a model that writes all the attempts down first."""
    check = replace(CHECK, passes=passes, interval_ms=interval_ms, within_ms=within_ms)
    step_ms = attempt_ms + max(interval_ms, INTERVAL_MS_MIN)
    ends = range(attempt_ms, within_ms + 1, step_ms)
    seen = "".join(
        "y" if answers[min(index, len(answers) - 1)] else "n" for index, _ in enumerate(ends)
    )

    verdict = World(answers, attempt_ms=attempt_ms).watch(check)

    assert verdict.passed is ("y" * max(passes, 1) in seen)
