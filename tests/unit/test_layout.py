"""The layout of the checkout: what type checkers, packagers and readers rely on."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = tuple(
    ROOT / place
    for place in ("engine/noodle_engine", "journal/noodle_journal", "policies/noodle_policies")
)
ROOM_FILES_MAX: Final = 12
"""How many modules one folder may hold, `__init__.py` not counted."""

REGISTRY_HOSTS: Final = tuple(
    # Put together, so that this file does not name what it looks for.
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("pypi", "python", "org"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)
MACHINE_PATH: Final = re.compile(rb"(?<![\w.$}])/(?:home|root|Users|work)/[\w.-]")
"""A path that exists on one machine only."""


def tracked_files() -> list[Path]:
    """List what git tracks or would, less what it ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [file for file in files if file.is_file() and not file.is_symlink()]


def code_folders() -> list[Path]:
    return sorted({file.parent for package in PACKAGES for file in package.rglob("*.py")})


def test_every_folder_with_code_is_a_package() -> None:
    assert [
        str(folder) for folder in code_folders() if not (folder / "__init__.py").is_file()
    ] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_package_says_that_it_is_typed(package: Path) -> None:
    assert (package / "py.typed").read_bytes() == b""


def test_a_room_has_at_most_a_dozen_files() -> None:
    rooms = Counter(
        file.parent.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in package.rglob("*.py")
        if file.name != "__init__.py"
    )
    assert {room: files for room, files in rooms.items() if files > ROOM_FILES_MAX} == {}


def test_no_tracked_file_names_a_registry_host() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {host}"
        for file in tracked_files()
        for host in REGISTRY_HOSTS
        if host.encode() in file.read_bytes()
    ]
    assert found == []


def test_no_tracked_file_holds_a_path_of_one_machine() -> None:
    found = []
    for file in tracked_files():
        content = file.read_bytes()
        if str(ROOT).encode() + b"/" in content or MACHINE_PATH.search(content):
            found.append(str(file.relative_to(ROOT)))
    assert found == []


def test_no_tracked_file_is_a_lock_with_addresses() -> None:
    assert [file.name for file in tracked_files() if file.name in {"uv.lock", "poetry.lock"}] == []


def test_each_decision_has_a_number_of_its_own_and_says_it() -> None:
    numbers = [
        (file.name[:4], file.read_text().partition(":")[0])
        for file in sorted((ROOT / "docs" / "decisions").glob("*.md"))
        if file.name[:4].isdecimal()
    ]
    assert numbers == [(f"{at:04}", f"# {at:04}") for at in range(1, len(numbers) + 1)]
