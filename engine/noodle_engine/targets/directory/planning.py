"""Looking at a directory before anything is changed: planning, and step check.

Owns every reason why a tree cannot be upgraded, and the diff that a person sees.
Planning reads the old tree as far as its stamps do not vouch for it, and of the
release its manifest only: the release's files are read while they are copied.

What is at the target decides the layout: a plain directory stays one, a link
stays one. Only where nothing is does the release's own word count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from noodle_engine.disk.files import ObjectKind, kind_of, link_text, status_of
from noodle_engine.disk.names import prove_exchange
from noodle_engine.disk.space import free_space, mounts, with_margin
from noodle_engine.disk.trees.build import Sharing, probe_sharing
from noodle_engine.disk.trees.manifest import (
    Change,
    ChangeKind,
    EntryKind,
    TreeManifest,
    compare,
    name_text,
)
from noodle_engine.machine.plan import ABSENT, Diff, Hook, HookPoint, Needs
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_text
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import (
    Source,
    StepContext,
    TargetChange,
    TargetPlan,
    TargetRequest,
)
from noodle_engine.targets.directory.data import size_inside, unusable_inside
from noodle_engine.targets.directory.manifests import manifest_beside
from noodle_engine.targets.directory.objects import (
    PAYLOAD_OPTION,
    DirectoryObjects,
    kept_trees,
    newest_kept,
)
from noodle_engine.targets.directory.payload import inside, staged_manifest
from noodle_engine.targets.directory.reading import Reader, led_to, tree_at, tree_root_in
from noodle_engine.targets.directory.writing import named
from noodle_engine.targets.exchange.objects import Found, Look
from noodle_engine.targets.exchange.surroundings import (
    BYTES_PER_SECOND_ASSUMED,
    notices_on_folder,
    notices_since_install,
    refuse_frozen,
    refuse_mount,
    refuse_of_other,
    refuse_parent,
    refuse_short,
    room_inodes,
)
from noodle_engine.targets.failures import (
    DataElsewhere,
    DataRefused,
    MutableInside,
    MutableOutside,
    PayloadUnusable,
    PointLost,
    TargetChanged,
    TargetHasMount,
    TargetWrongType,
)
from noodle_engine.targets.place import Place, check_owner

__all__ = ["check", "leads_to_data", "plan_directory", "refuse_unusable", "settled_options"]

QUIESCE_MS_MAX = 300_000
"""How long the stopping or starting of who writes data may take."""
MEMORY_BYTES = 160 * 1024 * 1024
FILES_PER_SECOND_ASSUMED = 10_000
_ROOM = ("holder", "room", "lock", "commands", "owner", "releases", "manifests", "data")
_FOLDER_BYTES = 4096


def plan_directory(request: TargetRequest, place: Place, reader: Reader) -> TargetPlan:
    """Say what an upgrade would do. Raises a failure that names why it cannot be done."""
    options = settled_options(TreeOptions.from_text(request.options), place)
    if request.new is None or request.new.point:
        options = _with_installed_data(options, TreeOptions.from_text(request.installed_options))
    reader.options = options
    found = refuse_unusable(place, reader, going_back=request.new is None or request.new.point)
    check_owner(place, request.home_log, take_over=request.take_over)
    notices = [
        *notices_on_folder(request.path, place, ""),
        *notices_since_install(request, place, found),
        *_left_behind(reader, found),
    ]
    old = _manifest_of(reader, found)
    text = options.to_text()
    source = request.new
    if source is None or source.point:
        root_to = ABSENT if source is None else source.content
        new = None if source is None else _point_manifest(place, reader, source)
        if source is None:
            notices += _data_that_goes(options, tree_at(place.parent, place.path))
        else:
            _refuse_data(request.component, place, reader, found, new)
        changes = compare(old, new)
        return TargetPlan(
            root_from=found.root,
            root_to=root_to,
            diff=replace(
                _counted(changes), bytes_copied=0, bytes_shared=0 if new is None else new.bytes
            ),
            needs=Needs(memory_bytes=MEMORY_BYTES, seconds=_seconds(new)),
            notices=tuple(notices),
            options=text,
            changes=tuple(_told(changes)),
            hooks=_around_exchange(options, found, goes=source is None),
        )
    raw = manifest_beside(source.path, source.content)
    if raw is None:
        raise PayloadUnusable(
            path=place.path,
            payload=source.path,
            found="without the manifest that it was registered with",
        )
    _refuse_mutable_elsewhere(request.component, place, found, options)
    new = staged_manifest(raw, options, place)
    _refuse_data(request.component, place, reader, found, new)
    changes = compare(old, new)
    copied, shared, inodes = _to_write(place, reader, source, old=old, new=new)
    needs = _needs(place, new, *_with_data(place, found, options, copied, inodes))
    refuse_short(place, needs)
    return TargetPlan(
        root_from=found.root,
        root_to=new.root,
        diff=replace(_counted(changes), bytes_copied=copied, bytes_shared=shared),
        needs=needs,
        notices=(*notices, *_owners(place, found, new)),
        options={**text, PAYLOAD_OPTION: source.content},
        changes=tuple(_told(changes)),
        hooks=_around_exchange(options, found),
    )


def check(context: StepContext, place: Place, objects: DirectoryObjects) -> Observation:
    """Step check: the same once more, now that the target is locked.

    Raises TargetChanged if it is not what the plan was made for.
    """
    source = context.source
    going_back = source is None or source.point
    found = refuse_unusable(place, objects.reader, going_back=going_back)
    if found.root != context.component.root_from:
        differs = found.attributes.get("differs")
        raise TargetChanged(
            path=place.path,
            expected=context.component.root_from,
            found=found.root if differs is None else f"{found.root} (differs in {differs})",
            component=context.component.name,
        )
    if source is not None and source.point:
        _point_manifest(place, objects.reader, source)
    elif source is not None:
        new = objects.manifest_of(source)
        _refuse_mutable_elsewhere(context.component.name, place, found, objects.options)
        old = _manifest_of(objects.reader, found)
        copied, _, inodes = _to_write(place, objects.reader, source, old=old, new=new)
        with_data = _with_data(place, found, objects.options, copied, inodes)
        refuse_short(place, _needs(place, new, *with_data))
    return found.observation


def settled_options(options: TreeOptions, place: Place) -> TreeOptions:
    """The options with the layout that what is at the target has."""
    kind = kind_of(place.path)
    if kind is ObjectKind.FOLDER:
        return replace(options, layout="tree")
    if kind is ObjectKind.LINK:
        return replace(options, layout="link")
    return options


def refuse_unusable(place: Place, reader: Reader, *, going_back: bool = False) -> Found:
    """What is at the target, or the failure that says why it cannot be upgraded."""
    refuse_parent(place)
    kind = kind_of(place.path)
    tree = place.path
    match kind:
        case ObjectKind.FILE | ObjectKind.OTHER:
            raise TargetWrongType(path=place.path, found=kind.value, kind="directory")
        case ObjectKind.LINK:
            tree = led_to(place.parent, link_text(place.path))
            if kind_of(tree) is not ObjectKind.FOLDER:
                found = f"link to {path_text(str(tree))}, which is no directory"
                raise TargetWrongType(path=place.path, found=found, kind="directory")
        case ObjectKind.FOLDER | ObjectKind.ABSENT:
            pass
    if kind is not ObjectKind.ABSENT:
        refuse_of_other(place)
        refuse_mount(place)
        if kind is ObjectKind.FOLDER:
            refuse_frozen(place, place.path)
        _refuse_mounts_in(place, tree)
    if not going_back:
        prove_exchange(place.parent)
    return reader.find(place.path, Look.STAMPS)


def _refuse_mounts_in(place: Place, tree: Path) -> None:
    real = Path(os.path.realpath(tree))
    for mount in mounts():
        if mount.point == real or real in mount.point.parents:
            raise TargetHasMount(path=place.path, mount=mount.point)


def _refuse_mutable_elsewhere(
    component: str, place: Place, found: Found, options: TreeOptions
) -> None:
    """Refuse a release whose mutable paths are where it will not look for them.

    Inside of the old tree the data would stay there; outside it would not come in.
    """
    if found.is_absent:
        return
    tree = tree_at(place.parent, place.path)
    within: list[str] = []
    outside: list[str] = []
    for path in options.mutable:
        there = tree / os.fsdecode(path)
        kind = kind_of(there)
        if kind is ObjectKind.ABSENT:
            continue
        if options.quiesce and kind is ObjectKind.LINK and not leads_to_data(place, there, path):
            outside.append(name_text(path))  # a copy of it would lead elsewhere
            continue
        (outside if leads_to_data(place, there, path) else within).append(name_text(path))
    if options.quiesce and outside:
        raise MutableOutside(path=place.path, component=component, mutable=tuple(outside))
    if within and not options.quiesce:
        raise MutableInside(path=place.path, component=component, mutable=tuple(within))


def _with_installed_data(options: TreeOptions, installed: TreeOptions) -> TreeOptions:
    """Where the installed version keeps data inside, it is carried, whatever the old one knew."""
    if not installed.quiesce:
        return options
    paths = dict.fromkeys((*options.mutable, *installed.mutable))
    outer = tuple(
        one for one in paths if not any(inside(one, [other]) for other in paths if other != one)
    )
    return replace(
        options,
        mutable=outer,
        mutable_folders=(options.mutable_folders | installed.mutable_folders) & set(outer),
        quiesce=installed.quiesce,
        unquiesce=installed.unquiesce,
    )


def _refuse_data(
    component: str, place: Place, reader: Reader, found: Found, new: TreeManifest | None
) -> None:
    """Refuse data inside that could not be carried, both ways. `new` is what comes."""
    options = reader.options
    if not options.quiesce or found.is_absent:
        return
    tree = tree_at(place.parent, place.path)
    if not _same_device(tree, place.parent):
        raise DataElsewhere(path=place.path, component=component, tree=tree)
    old = _manifest_of(reader, found)
    for path in options.mutable:
        why = unusable_inside(tree, path)
        if old is not None and why is None:
            own = [one.path for one in old.entries if inside(one.path, [path])]
            if own:
                why = f"the installed version has it as its own: {named(own)}"
        if new is not None and why is None:
            why = _in_the_way(new, path)
        if why is not None:
            raise DataRefused(path=place.path, component=component, data=name_text(path), why=why)


def _in_the_way(new: TreeManifest, path: bytes) -> str | None:
    """What of a tree a path of data cannot lie in."""
    parent = path
    while parent := parent.rpartition(b"/")[0]:
        entry = new.by_path.get(parent)
        if entry is not None and entry.kind is not EntryKind.FOLDER:
            return f"in the other version {name_text(parent)} is no folder"
    return None


def _around_exchange(options: TreeOptions, found: Found, *, goes: bool = False) -> tuple[Hook, ...]:
    """The commands that stop and start who writes a tree that is there.

    Of a tree that `goes` nobody is started: there is nothing left to write.
    """
    if not options.quiesce or found.is_absent:
        return ()
    stop, start = options.quiesce, options.unquiesce
    around = (
        Hook(HookPoint.QUIESCE, stop, undo=start, timeout_ms=QUIESCE_MS_MAX),
        Hook(HookPoint.UNQUIESCE, start, undo=stop, timeout_ms=QUIESCE_MS_MAX),
    )
    return around[:1] if goes else around


def leads_to_data(place: Place, there: Path, path: bytes) -> bool:
    """Whether what stands at a mutable path is a link to its data."""
    data = place.data / os.fsdecode(path)
    return kind_of(there) is ObjectKind.LINK and (
        os.path.normpath(os.path.realpath(there.parent) + "/" + link_text(there)) == str(data)
    )


def _manifest_of(reader: Reader, found: Found) -> TreeManifest | None:
    root = tree_root_in(found.root)
    if root is None:
        return None
    scanned = reader.scanned.get(root)
    return scanned.manifest if scanned is not None else reader.manifests.get(root)


def _point_manifest(place: Place, reader: Reader, source: Source) -> TreeManifest:
    """The manifest of a kept old, if it looks as it did. It is read wholly when it is staged."""
    reader.expected = (source.content, *reader.expected)
    kept = reader.find(source.path, Look.STAMPS)
    manifest = _manifest_of(reader, kept)
    if kept.content != source.content or manifest is None:
        differs = kept.attributes.get("differs")
        raise PointLost(
            path=place.path,
            point=source.path,
            expected=source.content,
            found=kept.content if differs is None else f"{kept.content} (differs in {differs})",
        )
    return manifest


def _left_behind(reader: Reader, found: Found) -> Iterator[str]:
    """What is in the old tree and no release has: it stays with the old tree."""
    root = tree_root_in(found.root)
    extras = () if root is None else reader.extras.get(root, ())
    if extras:
        yield (
            f"{len(extras)} file{'s' if len(extras) > 1 else ''} that no release has will stay "
            f"with the old version: {named(extras)}"
        )


def _data_that_goes(options: TreeOptions, tree: Path) -> Iterator[str]:
    """The data inside of a tree that is removed: it goes with it, and comes back with it."""
    size, count = size_inside(options, tree)
    if count:
        yield (
            f"its data inside ({', '.join(map(name_text, options.mutable))}: {size} bytes) goes "
            "with it into the kept version; a rollback, or an install, brings it back"
        )


def _owners(place: Place, found: Found, new: TreeManifest) -> Iterator[str]:
    """Whose the new tree is, where that changes."""
    if found.is_absent or os.geteuid() != 0:
        return
    status = place.path.stat()
    top = new.by_path[b""]
    if (status.st_uid, status.st_gid) != (top.uid, top.gid):
        yield (
            f"the tree belongs to {status.st_uid}:{status.st_gid} now, "
            f"and to {top.uid}:{top.gid} as the release has it"
        )


def _to_write(
    place: Place,
    reader: Reader,
    source: Source,
    *,
    old: TreeManifest | None,
    new: TreeManifest,
) -> tuple[int, int, int]:
    """Bytes to copy, bytes to share, and inodes to make for a new tree."""
    sharing = probe_sharing(place.parent, hard_links=reader.options.immutable)
    if sharing is Sharing.HARD_LINK and _same_device(source.path, place.parent):
        return 0, new.bytes, len(new.entries) - new.files  # a name more for each of its files
    have = set()
    if sharing is not Sharing.COPY:
        trees = [] if old is None else [old]
        trees += [tree.manifest for tree in kept_trees(place, reader)]
        have = {
            entry.identity
            for tree in trees
            for entry in tree.entries
            if entry.kind is EntryKind.FILE
        }
    copied = shared = linked = 0
    for entry in new.entries:
        if entry.kind is EntryKind.FILE:
            if entry.identity in have:
                shared += entry.size
                linked += 1
            else:
                copied += entry.size
    saved = linked if sharing is Sharing.HARD_LINK else 0
    return copied, shared, len(new.entries) - saved


def _with_data(
    place: Place, found: Found, options: TreeOptions, copied: int, inodes: int
) -> tuple[int, int]:
    """What is to be written with the data that is carried into the new tree."""
    tree = newest_kept(place) if found.is_absent else tree_at(place.parent, place.path)
    if tree is None:
        return copied, inodes
    size, count = size_inside(options, tree)
    return copied + size, inodes + count


def _same_device(one: Path, other: Path) -> bool:
    return status_of(one).st_dev == status_of(other).st_dev


def _needs(place: Place, new: TreeManifest, copied: int, inodes: int) -> Needs:
    """What staging takes: bytes with a margin, inodes, memory, time."""
    block = free_space(place.parent).block_bytes
    own = room_inodes(place, _ROOM)
    # A file takes whole blocks, a folder one at least, and the manifest is kept.
    files = inodes * block // 2
    kept = len(new.entries) * 400
    return Needs(
        disk_bytes=with_margin(copied + files + kept, block) + own * block,
        inodes=inodes + own + 4,
        memory_bytes=MEMORY_BYTES,
        seconds=_seconds(new),
    )


def _seconds(new: TreeManifest | None) -> int:
    if new is None:
        return 1
    return (
        1
        + 2 * new.bytes // BYTES_PER_SECOND_ASSUMED // 4
        + len(new.entries) // FILES_PER_SECOND_ASSUMED
    )


def _counted(changes: Sequence[Change]) -> Diff:
    """Files and links by what becomes of them; a folder counts if it stays and changes."""
    kinds = [change.kind for change in changes if not _is_folder_only(change)]
    return Diff(
        added=kinds.count(ChangeKind.ADDED),
        changed=kinds.count(ChangeKind.CHANGED) + kinds.count(ChangeKind.ATTRIBUTES),
        removed=kinds.count(ChangeKind.REMOVED),
    )


def _is_folder_only(change: Change) -> bool:
    """Whether it is a folder that comes or goes: what is in it is counted."""
    there = change.new or change.old
    return (
        change.kind in (ChangeKind.ADDED, ChangeKind.REMOVED)
        and there is not None
        and there.kind is EntryKind.FOLDER
    )


def _told(changes: Sequence[Change]) -> Iterator[TargetChange]:
    for change in changes:
        size = change.new.size if change.new is not None else None
        yield TargetChange(change.kind.value, name_text(change.path), size, change.what)
