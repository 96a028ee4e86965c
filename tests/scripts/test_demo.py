"""The demo: it tells the truth, fails when one link breaks, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from noodle_engine.cli.demo import supervise
from noodle_engine.cli.demo.stage import this_noodle
from noodle_engine.cli.demo.story import STEPS
from noodle_engine.cli.pages.answers import ANSWERS
from tests.breadth import BREADTH, Breadth
from tests.scripts.conftest import Ended
from tests.scripts.test_commands import unfit

DEMO_S_MAX: Final = 120
HUNG_S_MAX: Final = 90.0
"""It takes ten seconds; a loaded machine may take several times that."""
QUICK: Final = ("adopt it, as it runs", "apply, killed in mid-swap")
"""The links that `make test` breaks; TEST_SWEEP=full breaks every one."""
WIDE: Final = (*QUICK, "ask the visitors")

BROKEN: Final = """\
#!{python}
'''The real noodle with one broken link.'''
import json, os, subprocess, sys
words = sys.argv[1:]
real = {real!r}
{broken}
os.execv(real[0], [*real, *words])
"""

LINKS: Final = {
    "adopt it, as it runs": """
if "adopt" in words:  # it is said, and not done
    print(json.dumps({"format": 1, "upgrade": "01ABC", "state": "committed"})); sys.exit(0)
""",
    "register release 1.1.0": """
if "list" in words:  # a release gets lost
    answer = json.loads(subprocess.check_output([*real, *words]))
    del answer["components"][0]["releases"][0]
    print(json.dumps(answer)); sys.exit(0)
""",
    "plan 1.1.0": """
if "plan" in words and "--out" in words:  # the hash of another plan
    answer = json.loads(subprocess.check_output([*real, *words]))
    answer["plan_hash"] = "0" * 64
    print(json.dumps(answer)); sys.exit(0)
""",
    "apply, killed in mid-swap": """
if "apply" in words and "./plan.json" in words:  # the kill does not come
    os.unlink("apply.pid")
""",
    "resume in another process": """
if "resume" in words:  # it finds nothing to do
    print(json.dumps({"format": 1, "upgrades": []})); sys.exit(0)
""",
    "check the running shop": """
if "steps" in words:  # the shop is closed
    folder = os.path.join(os.getcwd(), "run")
    subprocess.check_call([sys.executable, {supervise!r}, "stop", folder])
""",
    "verify the journal": """
if "verify" in words:  # one bit of one record is another
    path = os.path.join(os.getcwd(), "home", "journal.db")
    data = bytearray(open(path, "rb").read())
    data[len(data) // 2] ^= 1
    open(path, "wb").write(data)
""",
    "replay the journal": """
if "replay" in words and "--at" not in words:  # disk is not what the journal says
    with open(os.path.join("srv", "shop", "app.py"), "a") as file:
        file.write("#")
""",
    "roll back": """
if "rollback" in words:  # a refusal
    sys.exit(3)
""",
    "ask the visitors": """
if "history" in words:  # a line of the guest book is lost
    book = os.path.join("srv", "shop", "data", "guestbook.txt")
    lines = open(book).readlines()
    open(book, "w").writelines(lines[1:])
""",
}


def environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder / "tmp"), "NOODLE_HOME": str(folder / "unused")}


def demo(folder: Path, *words: str) -> Ended:
    ran = subprocess.run(
        [*this_noodle(), "demo", *words],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    return Ended(ran.returncode, ran.stdout, ran.stderr)


def running_in(folder: Path) -> list[str]:
    """The processes whose command names a file in the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = place.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder / "tmp") in command:
            found.append(command.decode(errors="replace"))
    return found


def test_the_demo_tells_every_step_and_leaves_nothing(tmp_path: Path) -> None:
    ended = demo(tmp_path, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert list(unfit(ANSWERS["demo"][0], ended.json, "demo")) == []
    assert [step["name"] for step in ended.json["steps"]] == [name for name, _, _ in STEPS]
    assert all(step["told"] for step in ended.json["steps"])
    assert all(step["commands"] and step["look"] for step in ended.json["steps"][1:-1])
    assert ended.json["seconds"] < HUNG_S_MAX
    assert list((tmp_path / "tmp").iterdir()) == []
    assert running_in(tmp_path) == []


def test_the_demo_never_plays_in_a_folder_that_is_in_use(tmp_path: Path) -> None:
    """docs/guide/first-minute.md keeps a demo and looks at it."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    ended = demo(tmp_path, "--keep", "used", "--json")
    assert (ended.code, ended.json["error"]["code"]) == (2, "usage")
    assert [file.name for file in (tmp_path / "used").iterdir()] == ["file"]


def broken() -> tuple[str, ...]:
    return {Breadth.SMALL: QUICK, Breadth.WIDE: WIDE, Breadth.FULL: tuple(LINKS)}[BREADTH]


@pytest.mark.parametrize("step", broken())
def test_one_broken_link_fails_the_demo_and_names_the_step(step: str, tmp_path: Path) -> None:
    link = LINKS[step].replace("{supervise!r}", repr(supervise.__file__))
    program = tmp_path / "noodle"
    program.write_text(BROKEN.format(python=sys.executable, real=list(this_noodle()), broken=link))
    program.chmod(0o755)
    ended = demo(tmp_path, "--program", "noodle", "--json")
    assert ended.code == 1, ended
    error = ended.json["error"]
    assert (error["code"], error["data"]["step"]) == ("demo_failed", step)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert running_in(tmp_path) == []


def test_every_step_has_a_link_that_is_broken() -> None:
    """But the first, which is there before Noodle is."""
    assert list(LINKS) == [name for name, _, _ in STEPS][1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    started = subprocess.Popen(
        [*this_noodle(), "demo"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    for line in started.stdout:
        if line.startswith("3."):  # the shop runs, and is adopted
            break
    started.send_signal(number)
    out, err = started.communicate(timeout=DEMO_S_MAX)
    assert started.returncode == 130
    assert "Traceback" not in out + err
    assert list((tmp_path / "tmp").iterdir()) == []
    assert running_in(tmp_path) == []
