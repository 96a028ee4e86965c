"""Having a file twice without writing it twice: clones and hard links.

Owns what works where, and what is no obstacle: who is told False copies.
Nothing here is durable on return.
"""

from __future__ import annotations

import errno
import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final

from noodle_engine.disk import calls
from noodle_engine.disk.failures import failure_of
from noodle_engine.disk.files import NO_CLONE
from noodle_engine.disk.names import probe_files, unlink_quietly
from noodle_engine.disk.trees.manifest import TreeEntry
from noodle_engine.disk.trees.places import (
    Place,
    explained_at,
    give_attributes,
    new_file,
    shown,
    where,
)
from noodle_engine.disk.trees.reach import FILE_FLAGS, OpenTree

__all__ = ["Sharing", "link_same", "probe_sharing", "share_file"]

_NO_LINK: Final = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class Sharing(StrEnum):
    """How a tree gets a file that is there already, under another name."""

    REFLINK = "reflink"
    HARD_LINK = "hard link"
    COPY = "copy"


def probe_sharing(folder: Path, *, hard_links: bool) -> Sharing:
    """The best way of sharing that works in `folder` (a hard link only if allowed).

    It tries on two new, empty files, and removes them. A process that is killed
    here leaves `.noodle-probe-*`, which the next probe removes. Nothing is made
    durable. Raises DiskError if the folder cannot be written.
    """
    with probe_files(folder) as (first, second):
        try:
            calls.clone_file(first[1], second[1])
        except OSError as error:
            if error.errno not in NO_CLONE:
                raise failure_of(error, "write in", folder) from error
        else:
            return Sharing.REFLINK
        linked = first[0].with_name(f"{first[0].name}-link")
        try:
            if hard_links and _link(first[0], linked):
                return Sharing.HARD_LINK
        finally:
            unlink_quietly(linked)
    return Sharing.COPY


def share_file(source: Place, target: Place, entry: TreeEntry, how: Sharing) -> bool:
    """Give a file that is there one name more, or a clone. False: copy it instead.

    A hard link is made only if the source has the mode, owner and size of
    `entry` (its extended attributes and its content are not looked at); a clone
    gets the attributes of `entry` and the source's mtime. False where the file
    has all the links it can have, is on another mount, may not be linked (it is
    immutable, or another user's), or where the file system cannot: then nothing
    is at `target`. `Sharing.COPY` is always False.

    Not durable on return. After a failure the name may be there: the caller
    removes the whole tree. Raises DiskError (FileExistsError's among them),
    AttributesNotKept.
    """
    if how is Sharing.COPY:
        return False
    if how is Sharing.REFLINK:
        return _clone(source, target, entry)
    name, folder = where(source)
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        raise failure_of(error, "look at", shown(source)) from error
    return _looks_like(status, entry) and _link(source, target)


def link_same(source: OpenTree, new: OpenTree, entry: TreeEntry) -> bool:
    """Give a file of a tree one name more, at the same path of another: `share_file` in one go.

    False where anything is in the way, for which `share_file` has the words. A tree
    may have a hundred thousand files, and this is what each of them costs.
    """
    parent, _, name = entry.path.rpartition(b"/")
    try:
        there, here = source.descend(parent), new.descend(parent)
        status = os.stat(name, dir_fd=there, follow_symlinks=False)
        if not _looks_like(status, entry):
            return False
        os.link(name, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
    except OSError:
        return False
    return True


def _looks_like(status: os.stat_result, entry: TreeEntry) -> bool:
    return (
        status.st_mode == stat.S_IFREG | entry.mode
        and status.st_size == entry.size
        and status.st_uid == entry.uid
        and status.st_gid == entry.gid
    )


def _link(source: Place, target: Place) -> bool:
    """Make a hard link; False where none can be made of this file to there."""
    from_name, from_folder = where(source)
    to_name, to_folder = where(target)
    try:
        os.link(
            from_name,
            to_name,
            src_dir_fd=from_folder,
            dst_dir_fd=to_folder,
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise failure_of(error, "link", shown(target)) from error
    return True


def _clone(source: Place, target: Place, entry: TreeEntry) -> bool:
    """Make a clone; False, and no target, where the file system cannot."""
    name, folder = where(source)
    with explained_at("read", source):
        reading = os.open(name, FILE_FLAGS, dir_fd=folder)
    try:
        with new_file(target) as (writing, path):
            status = os.fstat(reading)
            try:
                calls.clone_file(reading, writing)
            except OSError as error:
                if error.errno not in NO_CLONE:
                    raise
                to_name, to_folder = where(target)
                os.unlink(to_name, dir_fd=to_folder)
                return False
            give_attributes(writing, path, entry, status.st_mtime_ns)
    finally:
        os.close(reading)
    return True
