"""The commands of the README and the guide, run as they are written.

The `sh` blocks of a page are one session in an empty folder. A block under a
comment `<!-- not run: why -->` is not run, and says why.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md")))
BLOCK: Final = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
PAGE_S_MAX: Final = 120


def blocks(page: Path, kind: str) -> list[str]:
    found = [match for match in BLOCK.finditer(page.read_text()) if match["kind"] == kind]
    return [match["text"] for match in found if match["why"] is None]


def environment(folder: Path) -> dict[str, str]:
    """Nothing of ours but a path to the command, and no home outside the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOODLE_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(folder), "NOODLE_HOME": str(folder / "unused")}


def run_page(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    script = "\n".join(["set -eux", *blocks(page, "sh")])
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PAGE_S_MAX,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_run_as_written(page: Path, tmp_path: Path) -> None:
    ran = run_page(page, tmp_path)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not (tmp_path / "unused").exists()


def test_a_command_that_fails_fails_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nnoodle status\n```\n")
    assert run_page(page, tmp_path).returncode == 2


def test_python_of_the_readme_answers(tmp_path: Path) -> None:
    [snippet] = blocks(ROOT / "README.md", "python")
    assert run_page(ROOT / "README.md", tmp_path).returncode == 0
    ran = subprocess.run(
        [sys.executable, "-P", "-c", snippet],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PAGE_S_MAX,
        check=True,
    )
    assert "hello" in ran.stdout


def test_every_block_has_a_kind_and_every_page_runs_something() -> None:
    for page in PAGES:
        kinds = [match["kind"] for match in BLOCK.finditer(page.read_text())]
        assert all(kind in {"sh", "python", "toml", "text", "json"} for kind in kinds), page.name
        assert blocks(page, "sh"), page.name


def test_links_of_the_pages_lead_somewhere() -> None:
    broken = [
        f"{page.name}: {link}"
        for page in (*PAGES, *(ROOT / "docs" / "reference").glob("*.md"))
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []
