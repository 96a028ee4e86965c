"""A disk that is really full: refused beforehand, or taken back by what was set aside for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import require_system
from tests.crashes.harness.loop import usable
from tests.crashes.harness.power import FileSystem, disk
from tests.crashes.test_harness_power import need

DISK_KIBIBYTES: Final = 24 * 1024
PAYLOAD_BYTES: Final = 2_000_000
FILL: Final = "for n in 1 2 3; do cat /dev/zero >> {0}; sync -f {0}; done || true"
"""Again after each sync: what was kept back for metadata is free then, and pages are clean."""
CHUNK: Final = b"\0" * 4096
MEMORY: Final = "tmpfs"


@dataclass(frozen=True, slots=True)
class Site:
    """A home and a target on one small disk; releases elsewhere."""

    disk: Path
    elsewhere: Path

    @property
    def target(self) -> Path:
        return self.disk / "srv" / "web"

    def noodle(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run a command; its exit code and answer."""
        ended = subprocess.run(
            [sys.executable, "-m", "noodle_engine.cli", "--json", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NOODLE_HOME": str(self.disk / "home")},
        )
        assert "Traceback" not in ended.stderr
        answer: dict[str, Any] = json.loads(ended.stdout)
        return ended.returncode, answer

    def release(self, version: str, *, hook: str = "") -> None:
        """Make a release known; `hook` is run by a shell before the swap."""
        folder = self.elsewhere / version
        folder.mkdir()
        (folder / "payload").write_bytes(version.encode() * (PAYLOAD_BYTES // len(version)))
        hooks = f'[[hooks]]\nat = "before-swap"\ncommand = ["sh", "-c", {json.dumps(hook)}]\n'
        (folder / "noodle.toml").write_text(
            f"""format = 1
[component]
name = "web"
version = "{version}"
kind = "file"
[payload]
path = "payload"
[target]
path = "{self.target}"
{hooks if hook else ""}"""
        )
        code, answer = self.noodle("component", "add", str(folder))
        assert code == 0, answer

    def version(self) -> str:
        """The version that the target holds, wholly."""
        found = self.target.read_bytes()
        version = found[:5].decode()
        assert found == version.encode() * (PAYLOAD_BYTES // 5)
        return version

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Fill the disk to its last block, or leave some free."""
        left = os.statvfs(self.disk)
        wanted = left.f_bfree * left.f_frsize - leave_bytes
        with (self.disk / "filler").open("wb", buffering=0) as file:
            try:
                while wanted > 0 or not leave_bytes:
                    wanted -= file.write(CHUNK)
            except OSError:
                return


@contextmanager
def small_disk(kind: str, folder: Path) -> Iterator[Path]:
    """A small disk in memory, or of a real file system in an image."""
    if kind != MEMORY:
        file_system = FileSystem(kind)
        need(file_system)
        with disk(file_system, folder) as made, made.mounted(made.base) as root:
            yield root
        return
    require_system("mount", usable, install="run as root, to mount a small disk")
    folder.mkdir()
    options = f"size={DISK_KIBIBYTES}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def site(tmp_path: Path, work: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A home and version 1.0.0 on the disk that the test asks for, or one in memory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with small_disk(getattr(request, "param", MEMORY), work) as root:
        (root / "srv").mkdir()
        made = Site(root, elsewhere)
        assert made.noodle("init")[0] == 0
        made.release("1.0.0")
        assert made.noodle("apply", "web@1.0.0", "--yes")[0] == 0
        yield made


def test_an_upgrade_that_will_not_fit_is_refused_before_anything(site: Site) -> None:
    site.release("2.0.0")
    size = site.noodle("status")[1]["journal"]["size"]
    site.fill(leave_bytes=1_000_000)
    code, answer = site.noodle("apply", "web@2.0.0", "--yes")
    assert (code, answer["error"]["code"]) == (3, "space_short")
    assert site.version() == "1.0.0"
    assert site.noodle("status")[1]["journal"]["size"] == size


def test_a_disk_that_fills_in_the_middle_takes_the_upgrade_back(site: Site) -> None:
    filler = site.disk / "filler"
    site.release("2.0.0", hook=f"cat /dev/zero > {filler} || true")
    code, answer = site.noodle("apply", "web@2.0.0", "--yes")
    assert (code, answer["state"]) == (4, "rolled_back"), answer
    assert site.version() == "1.0.0"
    filler.unlink()
    assert site.noodle("audit", "verify")[1]["ok"]
    assert site.noodle("status")[1]["open"] == []
    site.release("3.0.0")
    assert site.noodle("apply", "web@3.0.0", "--yes")[0] == 0
    assert site.version() == "3.0.0"


def test_going_back_needs_no_space(site: Site) -> None:
    site.release("2.0.0")
    assert site.noodle("apply", "web@2.0.0", "--yes")[0] == 0
    site.fill()
    code, answer = site.noodle("rollback", "web", "--yes")
    assert (code, answer["state"]) == (0, "committed"), answer
    assert site.version() == "1.0.0"
    assert site.noodle("audit", "verify")[1]["ok"]


def test_a_question_needs_no_space(site: Site) -> None:
    site.fill()
    for words in (["status"], ["history"], ["audit", "verify"], ["audit", "replay"]):
        assert site.noodle(*words)[0] == 0


@pytest.mark.parametrize("site", FileSystem, indirect=True)
def test_on_a_real_disk_that_fills_old_or_new_is_whole_and_going_back_needs_no_space(
    site: Site,
) -> None:
    """Its metadata may still find space: then it commits. What it says is so, either way."""
    filler = site.disk / "filler"
    site.release("2.0.0", hook=FILL.format(filler))
    code, answer = site.noodle("apply", "web@2.0.0", "--yes")
    assert (code, answer["state"]) in {(0, "committed"), (5, "committed"), (4, "rolled_back")}
    assert site.version() == ("2.0.0" if answer["state"] == "committed" else "1.0.0")
    filler.unlink()
    assert site.noodle("resume")[0] == 0
    assert site.noodle("status")[1]["open"] == []
    site.release("3.0.0")
    assert site.noodle("apply", "web@3.0.0", "--yes")[0] == 0
    before = "2.0.0" if answer["state"] == "committed" else "1.0.0"
    site.fill()
    code, answer = site.noodle("rollback", "web", "--yes")
    assert (code, answer.get("state")) == (0, "committed"), answer
    assert site.version() == before
    assert site.noodle("audit", "verify")[1]["ok"]
