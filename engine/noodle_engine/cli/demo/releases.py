"""The release that the demo upgrades to, written as a user would write it.

Owns its manifest: what is mutable, how the service is told of a new version, how
health is proved; and the hook that kills the upgrade's own process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from noodle_engine.cli.demo import strike, supervise
from noodle_engine.cli.demo.shop import DATA, NEW, SETTINGS, write_shop

__all__ = ["MUTABLE", "NAME", "UNMANAGED", "write_release"]

NAME = "shop"
MUTABLE = (f"{DATA}/", SETTINGS)
UNMANAGED = ("*.pyc", "__pycache__/")

_MANIFEST = """\
format = 1

[component]
name = "{name}"
version = {version}
kind = "directory"

[payload]
path = "shop"

[target]
path = {target}
layout = "tree"
mutable = {mutable}
unmanaged = {unmanaged}

[[health]]
http = {url}
contains = {contains}
passes = 2
interval = 0.05
timeout = 2.0
within = 15.0

# Instead of a power cut: kills the process that does this upgrade, once.
[[hooks]]
at = "after-swap"
command = {strike}

[[hooks]]
at = "after-swap"
command = {reload}
undo = {reload}
timeout = 30.0
"""


def write_release(folder: Path, *, target: Path, port: int, run: Path, pidfile: Path) -> int:
    """Write the folder of release 1.1.0; how many files its payload has."""
    files = write_shop(folder / "shop", NEW)
    text = _MANIFEST.format(
        name=NAME,
        version=json.dumps(NEW),
        target=json.dumps(str(target)),
        mutable=json.dumps(list(MUTABLE)),
        unmanaged=json.dumps(list(UNMANAGED)),
        url=json.dumps(f"http://127.0.0.1:{port}/0"),
        contains=json.dumps(f"code {NEW}, page {NEW}, asset {NEW}"),
        strike=json.dumps([sys.executable, "-I", _path(strike), str(pidfile)]),
        reload=json.dumps([sys.executable, "-I", _path(supervise), "reload", str(run)]),
    )
    (folder / "noodle.toml").write_text(text)
    return files


def _path(module: object) -> str:
    return str(Path(str(getattr(module, "__file__", ""))).resolve())
