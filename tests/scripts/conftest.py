"""A home, releases of a small script, and the `noodle` command run from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND_S_MAX = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Site:
    """A folder with a home and a target."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def target(self) -> Path:
        return self.folder / "live" / "hello.sh"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "noodle_engine.cli", *words]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "NOODLE" not in name}
        return {**kept, "HOME": str(self.folder), "NOODLE_HOME": str(self.home), **more}

    def run(self, *words: str, stdin: str = "", **more: str) -> Ended:
        """Run `noodle WORDS` in the folder, in a pipe."""
        ran = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(**more),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
        return Ended(ran.returncode, ran.stdout, ran.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `noodle WORDS`; the caller waits for it."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: str, code: int = 0) -> Any:
        """Run with --json; the answer, once the exit code is right."""
        ended = self.run(*words, "--json")
        assert ended.code == code, (words, ended)
        assert ended.err == ""
        return ended.json

    def release(self, version: str, more: str = "", contains: str = "") -> Path:
        """Write a release folder and make it known."""
        folder = self.folder / f"release-{version}"
        folder.mkdir()
        (folder / "hello.sh").write_text(f"#!/bin/sh\necho hello from {version}\n")
        (folder / "noodle.toml").write_text(
            f"""\
format = 1
[component]
name = "hello"
version = "{version}"
kind = "file"
[payload]
path = "hello.sh"
[target]
path = "{self.target}"
[[health]]
command = ["sh", "{self.target}"]
contains = "{contains or version}"
passes = 1
interval = 0.05
within = 0.5
{more}
"""
        )
        assert self.run("component", "add", folder.name).code == 0
        return folder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder with a fresh home; nothing is known or installed."""
    made = Site(tmp_path)
    made.target.parent.mkdir()
    assert made.run("init").code == 0
    return made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A home that several tests share, for commands that change nothing."""
    made = Site(tmp_path_factory.mktemp("untouched"))
    assert made.run("init").code == 0
    return made


@pytest.fixture
def waiting(site: Site) -> Iterator[subprocess.Popen[str]]:
    """An apply of 1.0.0 that stands in its after-swap hook until `go-on` exists."""
    hook = site.folder / "hook.sh"
    hook.write_text(
        f"touch {site.folder}/started\nwhile test ! -e {site.folder}/go-on; do sleep 0.02; done\n"
        f"test ! -e {site.folder}/linger || sleep 1\n"
    )
    site.release("1.0.0", f'[[hooks]]\nat = "after-swap"\ncommand = ["sh", "{hook}"]\n')
    started = site.start("apply", "hello@1.0.0", "--yes")
    wait_for(site.folder / "started", started)
    yield started
    (site.folder / "go-on").touch()
    if started.poll() is None:
        started.send_signal(signal.SIGKILL)
    started.communicate(timeout=COMMAND_S_MAX)


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Return once the path exists; fail if the process ends first."""
    while not path.exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        assert path.exists(), process.communicate()
