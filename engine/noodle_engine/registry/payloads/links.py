"""Where the links of a tree lead to. Pure.

Owns the one rule about them: a release works wherever its tree lies, so no
relative link may lead out of it. An absolute link names the machine, whatever
is there; one that leads to nothing may do so for a reason.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from noodle_engine.disk.trees.manifest import EntryKind, TreeManifest

__all__ = ["LINKS_MAX", "Leads", "leads_to", "links_by_lead"]

LINKS_MAX: Final = 40
"""How many links a path may lead through, as the kernel counts them. Source: path_resolution(7)."""


class Leads(StrEnum):
    """Where a link leads to."""

    INSIDE = "inside"
    OUT = "out"
    ABSOLUTE = "absolute"
    NOWHERE = "nowhere"


def links_by_lead(manifest: TreeManifest) -> dict[Leads, list[bytes]]:
    """The paths of a tree's links, in order, by where each leads to."""
    found: dict[Leads, list[bytes]] = {lead: [] for lead in Leads}
    for entry in manifest.entries:
        if entry.kind is EntryKind.LINK:
            found[leads_to(manifest, entry.path)].append(entry.path)
    return found


def leads_to(manifest: TreeManifest, path: bytes) -> Leads:
    """Where the link at `path` leads to, followed name by name as the kernel would.

    What lies on the way out counts: a link that leaves the tree and comes back
    leads out. One that turns in a circle leads nowhere.
    """
    entry = manifest.by_path[path]
    if entry.link.startswith(b"/"):
        return Leads.ABSOLUTE
    at = path.split(b"/")[:-1]
    names = _names(entry.link)
    followed, there = 1, True
    while names:
        name = names.pop(0)
        if name == b"..":
            if not at:
                return Leads.OUT
            at.pop()
            continue
        if name == b".":
            continue  # what is before it was to be a folder, as before any other name
        found = manifest.by_path.get(b"/".join((*at, name)))
        if found is None or found.kind is not EntryKind.LINK:
            at.append(name)
            # What is missing may be there one day: what follows it must not lead out either.
            there &= found is not None and (found.kind is EntryKind.FOLDER or not names)
            continue
        if found.link.startswith(b"/"):
            return Leads.ABSOLUTE
        followed += 1
        if followed > LINKS_MAX:
            return Leads.NOWHERE
        names[:0] = _names(found.link)
    return Leads.INSIDE if there else Leads.NOWHERE


def _names(text: bytes) -> list[bytes]:
    """The names of a path; a slash at its end is as good as `/.`: both need a folder."""
    return [name or b"." for name in text.split(b"/")]
