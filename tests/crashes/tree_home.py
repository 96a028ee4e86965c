"""A home of one directory, `web`, and what leads up to a struck command.

Owns the trees: each kind of thing that a release may hold, in three versions,
with a folder of data and a settings file that outlast them. Nothing here judges.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from noodle_engine import Noodle
from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.disk.trees.scan import scan_tree
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.directory.trees.payload import staged_manifest
from noodle_engine.targets.place import Place
from tests.crashes.engine_home import crashed_in_swap
from tests.crashes.harness.run import Bench

NAME: Final = "web"
OLD, NEW, SICK = "1.0.0", "2.0.0", "3.0.0"
MUTABLE: Final = ("uploads/", "conf/site.toml")
WRITTEN: Final = {"uploads/mine.txt": b"a visitor's", "conf/site.toml": b"edited by hand\n"}
LATER: Final = {"uploads/mine.txt": b"once more", "conf/site.toml": b"edited again\n"}
"""What programs write once the new version is installed, where data lies inside."""
STOPPED: Final = "stopped"
"""A file that is there while who writes the data is stopped."""
ODD: Final = os.fsdecode(b"odd \xff\xfename")
LeadUp = Callable[[Bench, Path], None]


def write_tree(folder: Path, version: str) -> None:
    """A tree of each kind of thing; what differs between versions is small and large."""
    folder.mkdir(parents=True)
    (folder / "app.py").write_bytes(f"app {version}\n".encode() * 2_000)
    (folder / "same.css").write_bytes(b"the same in all\n" * 300)
    (folder / "empty").write_bytes(b"")
    (folder / "hollow").mkdir()
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "deep" / f"only in {version}").write_text(version)
    (folder / ODD).write_bytes(b"odd")
    (folder / "link").symlink_to("same.css")
    (folder / "dangling").symlink_to("sub/nowhere")
    (folder / "absolute").symlink_to("/etc/hostname")
    with (folder / "sparse").open("wb") as file:
        file.seek(1 << 18)
        file.write(version.encode())
    (folder / "tool").write_bytes(b"#!/bin/sh\n")
    os.setxattr(folder / "tool", "user.mark", b"kept\x00")
    if os.geteuid() == 0:
        os.chown(folder / "tool", 1234, 4321)
    (folder / "tool").chmod(0o6750)
    (folder / "uploads").mkdir()
    (folder / "uploads" / "welcome.txt").write_bytes(b"welcome\n")
    (folder / "conf").mkdir()
    (folder / "conf" / "site.toml").write_bytes(b"as delivered\n")
    (folder / "conf" / "other.toml").write_bytes(version.encode())
    (folder / "closed").mkdir()
    (folder / "closed" / "inside").write_bytes(b"read only\n")
    (folder / "closed").chmod(0o555)


def write_releases(folder: Path, layout: str, *, immutable: bool, inside: bool = False) -> None:
    """Three versions; the third is never healthy. With `inside` the data stays in the tree."""
    # Synced: a power cut does not bring a writer to a stand again.
    stopped = f"{folder / STOPPED}"
    stop, start = (f"{one} '{stopped}' && sync '{folder}'" for one in ("touch", "rm -f"))
    words = (json.dumps(["sh", "-c", one]) for one in (stop, start))
    around = "quiesce = {}\nunquiesce = {}\n".format(*words)
    for version in (OLD, NEW, SICK):
        release = folder / "releases" / version
        write_tree(release / "payload", version)
        mark = "never" if version == SICK else version
        (release / "noodle.toml").write_text(
            f"""format = 1
[component]
name = "{NAME}"
version = "{version}"
kind = "directory"
[payload]
path = "payload"
[target]
path = "{folder / "srv" / NAME}"
layout = "{layout}"
mutable = {json.dumps(list(MUTABLE))}
unmanaged = ["*.pid"]
immutable = {json.dumps(immutable)}
{around if inside else ""}[[health]]
file = "{folder / "srv" / NAME}/app.py"
contains = "{mark}"
passes = 1
interval = 0.01
timeout = 1.0
within = 0.02
"""
        )


def options(layout: str, *, inside: bool = False) -> TreeOptions:
    """What the releases say of their trees."""
    return TreeOptions.of(
        layout=layout,
        mutable=MUTABLE,
        unmanaged=["*.pid"],
        immutable=False,
        quiesce=("touch",) if inside else (),
        unquiesce=("rm",) if inside else (),
    )


def place_in(folder: Path) -> Place:
    """The target's place."""
    return Place(folder / "srv" / NAME)


def expected(folder: Path, version: str, layout: str, *, inside: bool = False) -> TreeManifest:
    """What the target's tree holds at a version."""
    found = scan_tree(folder / "releases" / version / "payload").manifest
    return staged_manifest(found, options(layout, inside=inside), place_in(folder))


def make_home(folder: Path, layout: str, *, immutable: bool = False, inside: bool = False) -> None:
    """A home that knows all releases, and a folder for the target."""
    (folder / "srv").mkdir()
    write_releases(folder, layout, immutable=immutable, inside=inside)
    Noodle.init(folder / "home")
    with Noodle.open(folder / "home") as noodle:
        for release in sorted((folder / "releases").iterdir()):
            noodle.add(release)


def apply(folder: Path, version: str) -> None:
    """The directory at `version`."""
    with Noodle.open(folder / "home") as noodle:
        view = noodle.apply([f"{NAME}@{version}"])
    assert view is not None
    assert view.state.value == "committed", view


def use(folder: Path, data: Mapping[str, bytes] = WRITTEN) -> None:
    """A program and an administrator write their data; a program leaves a file in the tree."""
    for name, content in data.items():
        (folder / "srv" / NAME / name).write_bytes(content)
    (folder / "srv" / NAME / "app.pid").write_bytes(b"42")


def nothing_installed(layout: str) -> LeadUp:
    """A home that knows the releases."""
    return lambda _bench, folder: make_home(folder, layout)


def old_installed(layout: str, *, immutable: bool = False, inside: bool = False) -> LeadUp:
    """The directory at the old version, in use."""

    def lead_up(_bench: Bench, folder: Path) -> None:
        make_home(folder, layout, immutable=immutable, inside=inside)
        apply(folder, OLD)
        use(folder)

    return lead_up


def new_installed(layout: str, *, inside: bool = False) -> LeadUp:
    """The directory at the new version, the old one kept."""

    def lead_up(bench: Bench, folder: Path) -> None:
        old_installed(layout, inside=inside)(bench, folder)
        apply(folder, NEW)
        if inside:
            use(folder, LATER)

    return lead_up


def many_kept(layout: str) -> LeadUp:
    """Several old versions kept, of which the settings keep one."""

    def lead_up(bench: Bench, folder: Path) -> None:
        new_installed(layout)(bench, folder)
        with Noodle.open(folder / "home") as noodle:
            noodle.rollback(NAME)
            noodle.apply([f"{NAME}@{NEW}"])
            assert len(noodle.points().points) == 2
        file = folder / "home" / "config" / "runtime_upgrade_config.json"
        settings = json.loads(file.read_text())
        settings["runtime_upgrade"] = {"rollback": {"max_rollback_points": 1}}
        file.write_text(json.dumps(settings))

    return lead_up


def half_swapped(layout: str, *, inside: bool = False) -> LeadUp:
    """Killed right before the exchange."""

    def lead_up(bench: Bench, folder: Path) -> None:
        old_installed(layout, inside=inside)(bench, folder)
        crashed_in_swap(bench, folder, ("apply", f"{NAME}@{NEW}", "--yes"))

    return lead_up


def deployed(had: str) -> LeadUp:
    """A plain directory, or a link to one, in use, that no home knows."""

    def lead_up(_bench: Bench, folder: Path) -> None:
        (folder / "srv").mkdir()
        write_releases(folder, had, immutable=False)
        if had == "tree":
            write_tree(folder / "srv" / NAME, OLD)
        else:
            write_tree(folder / "srv" / "releases" / "5", OLD)
            (folder / "srv" / NAME).symlink_to("releases/5")
        use(folder)
        Noodle.init(folder / "home")

    return lead_up
