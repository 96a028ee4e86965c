"""What a home's logs hold, and settings as a user writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.execute.site import Site

LOG = "runtime_upgrade.log"
AUDIT = "audit.log"


def settings(site: Site, values: Mapping[str, Any]) -> None:
    """Set keys by their dotted names."""
    content: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = content
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    site.settings(json.dumps(content))


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none if there is none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def taken(site: Site, name: str = LOG) -> list[dict[str, Any]]:
    """The lines of one of the home's logs, which is then gone."""
    path = site.path / "logs" / name
    found = lines(path)
    path.unlink(missing_ok=True)
    return found


def upgrade(site: Site, wanted: str) -> str:
    """Apply a version, in an engine of its own. Returns the upgrade's id."""
    with site.open() as noodle:
        view = noodle.apply([wanted])
    assert view is not None
    return view.upgrade
