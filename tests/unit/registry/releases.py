"""A home with a publisher's key, and releases to put into it."""

from __future__ import annotations

from pathlib import Path

from noodle_engine.registry.publisher import KEY_NAME, make_publisher_key
from noodle_engine.registry.store import ReleaseStore

MANIFEST = """\
format = 1
[component]
name = "web"
version = "{version}"
kind = "file"
[payload]
path = "web.py"
[target]
path = "/srv/web/web.py"
"""


def make_home(folder: Path) -> Path:
    home = folder / "home"
    (home / "keys").mkdir(parents=True)
    make_publisher_key(home / "keys" / KEY_NAME, seed=bytes(range(32)))
    return home


def make_store(folder: Path) -> ReleaseStore:
    return ReleaseStore(make_home(folder))


def make_release(
    folder: Path, version: str = "1.1.0", payload: bytes = b"print(1)\n", manifest: str = MANIFEST
) -> Path:
    release = folder / f"web-{version}"
    release.mkdir(parents=True, exist_ok=True)
    (release / "noodle.toml").write_text(manifest.replace("{version}", version))
    (release / "web.py").write_bytes(payload)
    (release / "web.py").chmod(0o755)
    return release


TREE_MANIFEST = """\
format = 1
[component]
name = "site"
version = "{version}"
kind = "directory"
[payload]
path = "tree"
[target]
path = "/srv/site/current"
"""


def make_tree_release(folder: Path, version: str = "1.0.0", extra: str = "") -> Path:
    """A release whose payload is an empty folder `tree`, for the test to fill."""
    release = folder / f"site-{version}"
    (release / "tree").mkdir(parents=True)
    (release / "noodle.toml").write_text(TREE_MANIFEST.replace("{version}", version) + extra)
    return release
