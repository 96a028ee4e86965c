"""The contract of target kinds, whole: Noodle's own keep it, and each planted fault breaks it.

A small run drives each kind through one short history; a wide one draws histories of a file
as well, and a full one of whole trees, which takes a while.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from noodle_engine.cli.main import main
from noodle_engine.targets.file import FileTarget
from noodle_engine.targets.load import load_target
from noodle_engine.testing import ContractBroken, Files, Trees, Versions
from noodle_engine.testing.contract import TargetContract
from noodle_engine.testing.running import run_contract
from noodle_engine.testing.site import FORWARD, Site
from noodle_engine.testing.sweep import sweep
from tests.breadth import BREADTH, Breadth
from tests.conftest import require_system
from tests.memory import room
from tests.scripts.test_commands import fits
from tests.unit.testing.faulty import FAULTS, Fault

pytestmark = pytest.mark.timeout(7_200 if BREADTH is Breadth.FULL else 900)
WIDE_ONLY = pytest.mark.skipif(BREADTH is Breadth.SMALL, reason="TEST_SWEEP=wide: seconds each")
OWN: dict[str, tuple[str, Versions]] = {
    "file": ("file", Files()),
    "tree": ("directory", Trees("tree")),
    "link": ("directory", Trees("link")),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with room("noodle-contract-") as made:
        yield made / "site"


@pytest.mark.parametrize("name", ["file", "tree"] if BREADTH is Breadth.SMALL else OWN)
def test_a_kind_of_noodles_own_keeps_the_contract_in_a_short_history(
    name: str, folder: Path
) -> None:
    kind, versions = OWN[name]
    site = Site(load_target(kind), versions, folder)
    old, new, _ = versions.examples()
    site.deploy(old)
    site.begin(new)
    for _ in range(2):
        site.forward()
    site.forward((9,))
    site.interrupt(2)
    site.back((3,))
    site.begin(new)
    for _ in FORWARD:
        site.forward()
    assert site.kills >= 3


@WIDE_ONLY
@pytest.mark.parametrize("name", OWN if BREADTH is Breadth.FULL else ["file"])
def test_a_kind_of_noodles_own_keeps_the_contract(name: str) -> None:
    class Contract(TargetContract):
        kind, versions = OWN[name]

    full = BREADTH is Breadth.FULL
    view = run_contract(Contract, examples=200 if full else 2, every=1 if full else 30)
    assert view.kills > (100 if full else 5)


@WIDE_ONLY
def test_a_sweep_kills_at_every_point_until_none_is_left(folder: Path) -> None:
    site = Site(load_target("file"), Files(), folder)
    told: list[str] = []
    kills = sweep(site, every=1000, told=lambda name, _kills: told.append(name))
    assert (told[:2], told[-1]) == (["lock", "do check"], "undo swap")
    assert kills >= len(told)  # point 0 of each, and those of an undo that is in two


@WIDE_ONLY
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.target.__name__)
def test_the_way_to_a_fault_is_sound_without_it(fault: Fault, folder: Path) -> None:
    fault.drive(Site(FileTarget(), Files(), folder))


@WIDE_ONLY
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.target.__name__)
def test_a_planted_fault_is_found_by_whoever_runs_the_contract(fault: Fault) -> None:
    class Contract(TargetContract):
        target = fault.target()
        versions = Files()

    with pytest.raises(ContractBroken):
        run_contract(Contract, examples=20)


@WIDE_ONLY
def test_plugin_test_answers_in_its_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plugin", "test", "file", "--every", "1000", "--examples", "1", "--seed", "7"]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    fits("plugin test", answer)
    assert (answer["kind"], answer["examples"], answer["seed"]) == ("file", 1, 7)
    assert answer["kills"] >= 10


CHANGING = {
    "chmod": "chmod", "copy_file_range": "copy_file_range", "fallocate": "posix_fallocate",
    "fchmod": "fchmod", "fdatasync": "fdatasync", "fsync": "fsync", "ftruncate": "ftruncate",
    "linkat": "link", "link": "link", "mkdir": "mkdir", "mkdirat": "mkdir", "pwrite64": "pwrite",
    "rename": "rename", "renameat2": "rename", "rmdir": "rmdir", "sendfile": "sendfile",
    "symlink": "symlink", "symlinkat": "symlink", "syncfs": "syncfs", "truncate": "truncate",
    "unlink": "unlink", "unlinkat": "unlink", "utimensat": "utime", "write": "write",
}  # fmt: skip
"""System calls that change a disk, and how Python calls them."""


@WIDE_ONLY
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_every_changing_call_of_a_step_is_a_point(kind: str, folder: Path) -> None:
    """The watch is held against strace: the same calls, as often."""
    require_system("strace", "strace")
    words = [sys.executable, "-m", "tests.laws.contract_calls", kind, str(folder)]
    trace = folder.parent / "trace"
    kinds = f"trace=getppid,{','.join(CHANGING)}"
    ran = subprocess.run(
        ["strace", "-f", "-o", trace, "-e", kinds, *words],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    called = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)
    first = called.index("getppid")
    inside = called[first + 1 : called.index("getppid", first + 1)]
    seen = Counter({k: v for k, v in json.loads(ran.stdout).items() if k in CHANGING.values()})
    assert seen == Counter(CHANGING[name] for name in inside)
    assert seen["fsync"] > 0
