"""What is shown while something lasts: on a terminal, in a pipe, and where nobody looks.

An upgrade never waits for who looks at it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from noodle_engine import Noodle
from tests.scripts.conftest import COMMAND_S_MAX, Site, wait_for
from tests.scripts.terminal import BAR, OnTerminal, on_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-9]|4[0-9]|9[0-7])m")
EVENT_LINES_MAX = 60
"""How many lines an upgrade of one component may print in a pipe."""


@pytest.fixture
def held(site: Site) -> Site:
    """A site whose upgrade to 1.0.0 stands still after the exchange, until `go-on` is there."""
    hook = site.folder / "hook.sh"
    hook.write_text(
        f"touch {site.folder}/started\nwhile test ! -e {site.folder}/go-on; do sleep 0.02; done\n"
    )
    site.release("1.0.0", f'[[hooks]]\nat = "after-swap"\ncommand = ["sh", "{hook}"]\n')
    return site


def go_on_at(site: Site, what: str) -> Callable[[str, subprocess.Popen[bytes]], bool]:
    """Let the upgrade go on once `what` was written; a bar is looked at until the hook runs."""

    def seen(written: str, _process: subprocess.Popen[bytes]) -> bool:
        if what not in written or (what == BAR and not (site.folder / "started").exists()):
            return False
        (site.folder / "go-on").touch()
        return True

    return seen


def applied(site: Site, **how: object) -> OnTerminal:
    seen = go_on_at(site, str(how.pop("shows", BAR)))
    ended = on_terminal(site, "apply", "hello@1.0.0", "--yes", seen=seen, **how)  # type: ignore[arg-type]
    assert ended.code == 0, ended.written
    return ended


@pytest.mark.parametrize("columns", [40, 200])
def test_a_bar_is_redrawn_on_one_line_and_gone_at_the_end(held: Site, columns: int) -> None:
    ended = applied(held, columns=columns)
    assert ended.screen.bars_max == 1
    assert BAR not in ended.screen.shown
    assert "committed" in ended.screen.shown
    assert ended.written.rstrip().endswith("\x1b[?25h") or "\x1b[?25l" not in ended.written[-200:]


def test_a_dumb_terminal_gets_plain_lines(held: Site) -> None:
    ended = applied(held, TERM="dumb", shows="\n")
    assert "\x1b" not in ended.written
    assert "committed" in ended.written


def test_no_color_means_no_colour(held: Site) -> None:
    ended = applied(held, NO_COLOR="1")
    assert not COLOUR.search(ended.written)
    assert ended.screen.bars_max == 1


def test_a_pipe_gets_plain_lines_and_not_many(held: Site) -> None:
    (held.folder / "go-on").touch()
    ended = held.run("apply", "hello@1.0.0")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert BAR not in ended.out
    assert ended.out.count("\n") <= EVENT_LINES_MAX
    assert ended.err == ""


def test_a_closed_standard_error_is_nothing_to_an_upgrade(held: Site) -> None:
    (held.folder / "go-on").touch()
    words = " ".join(held.command("apply", "hello@1.0.0"))
    ran = subprocess.run(
        ["sh", "-c", f"exec {words} 2>&-"],
        cwd=held.folder,
        env=held.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert ran.returncode == 0
    assert "committed" in ran.stdout


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_an_upgrade_goes_on_though_nobody_reads_what_it_says(held: Site, terminal: bool) -> None:
    """Its command stands still in a write; the upgrade itself comes to its end."""
    ours, theirs = os.openpty() if terminal else os.pipe()
    process: subprocess.Popen[bytes] | subprocess.Popen[str] = subprocess.Popen(
        held.command("apply", "hello@1.0.0", "--yes"),
        cwd=held.folder,
        env=held.environment(TERM="xterm-256color"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(held.folder / "started", process)
        fill(theirs)
        (held.folder / "go-on").touch()
        until_committed(held, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def fill(descriptor: int) -> None:
    """Write until nothing more fits; whoever else has it open is not made to fail by that."""
    own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    size = 4096
    while size:
        try:
            os.write(own, b" " * size)
        except BlockingIOError:
            size //= 2
    os.close(own)


def until_committed(site: Site, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Return once the journal says so; fail if that takes too long, or the process ends first."""
    for _ in range(COMMAND_S_MAX * 20):
        with Noodle.open(site.home) as noodle:
            rows = noodle.history().upgrades
        if rows and rows[0].state.value == "committed":
            return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the command ended with {process.returncode}")
    raise AssertionError("the upgrade waits for who looks at it")


def test_a_client_that_is_killed_stops_nothing(held: Site) -> None:
    resident = held.start("run")
    try:
        assert resident.stdout is not None
        resident.stdout.readline()
        client = held.start("apply", "hello@1.0.0", "--yes")
        wait_for(held.folder / "started", client)
        client.kill()
        client.communicate()
        (held.folder / "go-on").touch()
        until_committed(held, resident)
    finally:
        (held.folder / "go-on").touch()
        resident.send_signal(signal.SIGTERM)
        resident.communicate(timeout=COMMAND_S_MAX)
    assert resident.returncode == 0


def test_ctrl_c_ends_an_add_and_says_that_nothing_was_added(site: Site) -> None:
    release = large_release(site.folder)

    def stop(written: str, process: subprocess.Popen[bytes]) -> bool:
        if "copying the release" not in written:
            return False
        process.send_signal(signal.SIGINT)
        return True

    ended = on_terminal(site, "component", "add", str(release), seen=stop)
    assert ended.code == 130, ended.written
    assert "nothing was added" in ended.written
    assert BAR not in ended.screen.shown
    assert site.ask("component", "list")["known"] == []
    assert list((site.home / "runtime_components").glob(".adding/*")) == []


def large_release(folder: Path) -> Path:
    """A tree that takes some seconds to read: all of it is one hole."""
    release = folder / "large"
    (release / "tree").mkdir(parents=True)
    with (release / "tree" / "hole").open("wb") as file:
        file.truncate(3 << 30)
    (release / "noodle.toml").write_text(
        'format = 1\n[component]\nname = "large"\nversion = "1.0.0"\nkind = "directory"\n'
        f'[payload]\npath = "tree"\n[target]\npath = "{folder / "live" / "large"}"\n'
    )
    return release
