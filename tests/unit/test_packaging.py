"""The distribution: its locks, its metadata, its editable and its wheel install.

The wheel is tested without a network. It is built with the hatchling of the
development environment and unpacked into a new environment by pip; the third
parties it needs come from the development environment's site-packages through a
path file in the new one. So the test proves that the wheel holds every module,
its command and its entry points, and that nothing comes from the checkout; that
the locked third parties install by hash is proved by `make`, which made the
development environment.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import noodle_engine

ROOT: Final = Path(__file__).resolve().parents[2]
LOCKS: Final = ("core", "dev", "bench", "fuzz", "build", "uv")
COMMAND_SECONDS_MAX: Final = 120
PINNED: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\]+?))?"
    r"(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def requirements_of(kind: str) -> list[Requirement]:
    """Return what pyproject.toml asks for in one set, the core included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if kind == "build":
        return [Requirement(line) for line in project["build-system"]["requires"]]
    if kind == "uv":
        return [Requirement("uv")]
    lines = list(project["project"]["dependencies"])
    if kind != "core":
        lines += project["dependency-groups"][kind]
    return [Requirement(line) for line in lines]


def lock_text(kind: str) -> str:
    return (ROOT / "requirements" / f"{kind}.txt").read_text()


def pins(kind: str) -> dict[str, str]:
    return {
        canonicalize_name(pin["name"]): pin["version"] for pin in PINNED.finditer(lock_text(kind))
    }


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_holds_pins_with_hashes_and_nothing_else(kind: str) -> None:
    assert PINNED.sub("", lock_text(kind)) == ""
    assert pins(kind) != {}


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_holds_no_address(kind: str) -> None:
    assert "://" not in lock_text(kind)


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_satisfies_what_is_declared(kind: str) -> None:
    locked = pins(kind)
    for requirement in requirements_of(kind):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), kind


@pytest.mark.parametrize("kind", ["dev", "bench", "fuzz"])
def test_the_core_has_the_same_versions_in_every_lock(kind: str) -> None:
    assert pins("core").items() <= pins(kind).items()


def test_this_environment_has_the_locked_versions_of_the_core() -> None:
    for requirement in requirements_of("core"):
        name = canonicalize_name(requirement.name)
        assert distribution(name).version == pins("core")[name]


def test_the_build_backend_is_pinned_exactly() -> None:
    assert [str(requirement.specifier)[:2] for requirement in requirements_of("build")] == ["=="]
    assert pins("dev")["hatchling"] == pins("build")["hatchling"]


def test_the_editable_install_runs_the_code_of_the_checkout() -> None:
    installed = distribution("noodle-upgrade")
    assert installed.version == noodle_engine.__version__
    assert Path(noodle_engine.__file__) == ROOT / "engine/noodle_engine/__init__.py"
    assert (Path(sysconfig.get_path("scripts")) / "noodle").is_file()


def test_the_version_has_a_heading_in_the_changelog() -> None:
    headings = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert noodle_engine.__version__ in headings or headings[0] == "Unreleased"


def test_asking_for_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = noodle_engine.Poodle  # type: ignore[attr-defined]


# One worker builds the wheel, once.
wheel_group = pytest.mark.xdist_group("wheel")


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment that holds the wheel and no checkout."""

    wheel: Path
    environment: Path

    def run(self, *argv: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, with nothing of ours in its variables."""
        clean = {"PATH": os.defpath, "LANG": "C.UTF-8", "NO_COLOR": "1"}
        if home is not None:
            clean |= {"HOME": str(home), "NOODLE_HOME": str(home / "noodle")}
        return subprocess.run(
            [str(self.environment / "bin" / argv[0]), *argv[1:]],
            cwd=self.environment,
            env=clean,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    (wheel,) = place.glob("*.whl")
    environment = place / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    third_parties = Path(sysconfig.get_path("purelib"))
    # sys.path only: the path files in that folder, and so the editable install,
    # are not read.
    (packages / "third_parties.pth").write_text(f"{third_parties}\n")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"),
            "install", "--quiet", "--no-deps", "--no-index", "--no-compile",
            "--ignore-installed", str(wheel),
        ],
        capture_output=True,
        check=True,
        timeout=COMMAND_SECONDS_MAX,
    )  # fmt: skip
    return Installed(wheel=wheel, environment=environment)


@wheel_group
def test_the_wheel_holds_every_file_of_the_packages_and_no_other(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {
        file.relative_to(root).as_posix()
        for root in (ROOT / "engine", ROOT / "journal", ROOT / "policies")
        for file in root.glob("noodle_*/**/*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == wanted


@wheel_group
def test_the_source_archive_holds_the_packages_and_what_describes_them(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        tops = {Path(name).parts[1] for name in held.getnames()}
    # hatchling adds PKG-INFO, and .gitignore because it obeys it.
    assert tops - {"PKG-INFO", ".gitignore"} == {
        "engine", "journal", "policies",
        "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml",
    }  # fmt: skip


@wheel_group
def test_the_wheel_runs_without_the_checkout(installed: Installed) -> None:
    shown = installed.run(
        "python",
        "-c",
        "import pathlib, sys, noodle_engine, noodle_journal, noodle_policies;"
        f"root = {str(ROOT)!r}; found = [pathlib.Path(p) for p in sys.path if '.venv' not in p];"
        "assert not [p for p in found if p.is_relative_to(root)];"
        "print(noodle_engine.__file__, noodle_journal.__file__, noodle_policies.__file__)",
    )
    assert shown.returncode == 0, shown.stderr
    for path in shown.stdout.split():
        assert Path(path).is_relative_to(installed.environment)


@wheel_group
def test_the_wheel_s_command_says_its_version(installed: Installed) -> None:
    shown = installed.run("noodle", "--version")
    assert shown.returncode == 0, shown.stderr
    assert noodle_engine.__version__ in shown.stdout


RELEASE: Final = """
format = 1
[component]
name = "greeting"
version = "{version}"
kind = "file"
[payload]
path = "greeting.txt"
[target]
path = "{target}"
"""


@wheel_group
def test_the_wheel_upgrades_one_file_and_takes_it_back(
    installed: Installed, tmp_path: Path
) -> None:
    target = tmp_path / "site" / "greeting.txt"
    target.parent.mkdir()
    for version in ("1.0.0", "1.1.0"):
        release = tmp_path / version
        release.mkdir()
        (release / "greeting.txt").write_text(f"hello from {version}\n")
        (release / "noodle.toml").write_text(RELEASE.format(version=version, target=target))

    def noodle(*argv: str) -> str:
        shown = installed.run("noodle", *argv, home=tmp_path)
        assert shown.returncode == 0, f"{argv}: {shown.stdout}{shown.stderr}"
        return shown.stdout

    noodle("init")
    for version in ("1.0.0", "1.1.0"):
        noodle("component", "add", str(tmp_path / version))
        noodle("apply", f"greeting@{version}", "--yes")
        assert target.read_text() == f"hello from {version}\n"

    status = json.loads(noodle("status", "--json"))
    assert status["open"] == []
    assert [component["name"] for component in status["components"]] == ["greeting"]
    noodle("audit", "verify")

    noodle("rollback", "greeting", "--yes")
    assert target.read_text() == "hello from 1.0.0\n"
