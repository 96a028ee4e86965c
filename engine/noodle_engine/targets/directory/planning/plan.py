"""Looking at a directory before anything is changed: planning, and step check.

Owns every reason why a tree cannot be upgraded, and the diff that a person sees.
Planning reads the old tree as far as its stamps do not vouch for it, and of the
release its manifest only: the release's files are read while they are copied.

What is at the target decides the layout: a plain directory stays one, a link
stays one. Only where nothing is does the release's own word count.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from noodle_engine.disk.trees.manifest import TreeManifest, compare, named
from noodle_engine.machine.plan import ABSENT, Needs
from noodle_engine.machine.records import Observation
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import REPAIR_OPTION, Source, StepContext, TargetPlan, TargetRequest
from noodle_engine.targets.directory.data import repairing
from noodle_engine.targets.directory.data.back import way_back, with_installed_data
from noodle_engine.targets.directory.data.rules import (
    around_exchange,
    data_of_removed,
    data_that_goes,
    refuse_data,
    refuse_elsewhere,
    refuse_unmovable,
    sized_with_data,
)
from noodle_engine.targets.directory.layouts.objects import PAYLOAD_OPTION, DirectoryObjects
from noodle_engine.targets.directory.planning.estimate import (
    MEMORY_BYTES,
    counted,
    needs_of,
    seconds_for,
    to_write,
    told,
)
from noodle_engine.targets.directory.planning.looking import (
    refuse_unusable,
    settled_options,
)
from noodle_engine.targets.directory.trees.manifests import manifest_beside
from noodle_engine.targets.directory.trees.payload import staged_manifest
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.directory.trees.roots import tree_at, tree_root_in
from noodle_engine.targets.exchange import Found, Look
from noodle_engine.targets.exchange.surroundings import (
    notices_on_folder,
    notices_since_install,
    refuse_short,
)
from noodle_engine.targets.failures import PayloadUnusable, PointLost, TargetChanged
from noodle_engine.targets.place import Place, check_owner

__all__ = ["check", "plan_directory"]


def plan_directory(request: TargetRequest, place: Place, reader: Reader) -> TargetPlan:
    """Say what an upgrade would do. Raises a failure that names why it cannot be done."""
    options = TreeOptions.from_text(request.options)
    installed = TreeOptions.from_text(request.installed_options)
    if request.repair:  # whatever stands there, it comes back in the layout that it had
        options = replace(options, layout=installed.layout)
    else:
        options = settled_options(options, place)
    going_back = request.new is None or request.new.point
    reader.options = with_installed_data(options, installed) if going_back else options
    found = refuse_unusable(
        place, reader, going_back=going_back, any_kind=_may_be_anything(options, request.repair)
    )
    check_owner(place, request.home_log, take_over=request.take_over)
    notices = [
        *notices_on_folder(request.path, place, ""),
        *notices_since_install(request, place, found),
        *_left_behind(reader, found),
    ]
    old = reader.manifest_of(found)
    text = options.to_text()
    source = request.new
    if source is None or source.point:
        root_to = ABSENT if source is None else source.content
        new = None if source is None else _point_manifest(place, reader, source, request.component)
        if source is None or new is None:
            options = reader.options
            text = options.to_text()
            notices += data_that_goes(options, tree_at(place.parent, place.path))
        elif not found.is_absent:
            live, point = (tree_at(place.parent, path) for path in (place.path, source.path))
            back = way_back(options, installed, live=(live, old), point=(point, new))
            if back.carried:
                refuse_unmovable(request.component, place, live, back.carried, point)
            notices += back.notices
            options, text = back.options, back.text
        else:
            coming = tree_at(place.parent, source.path)
            notices += data_of_removed(options, place, coming=coming)
        changes = compare(old, new)
        return TargetPlan(
            root_from=found.root,
            root_to=root_to,
            diff=replace(
                counted(changes), bytes_copied=0, bytes_shared=0 if new is None else new.bytes
            ),
            needs=Needs(memory_bytes=MEMORY_BYTES, seconds=seconds_for(new)),
            notices=tuple(notices),
            options=text,
            changes=tuple(told(changes)),
            hooks=around_exchange(options, installed, found, goes=source is None),
        )
    raw = manifest_beside(source.path, source.content)
    if raw is None:
        raise PayloadUnusable(
            path=place.path,
            payload=source.path,
            found="without the manifest that it was registered with",
        )
    if request.repair:
        notices += repairing.notices(place, options)
    else:
        refuse_elsewhere(request.component, place, found, options)
    new = staged_manifest(raw, options, place)
    refuse_data(request.component, place, reader, found, new)
    changes = compare(old, new)
    if request.repair:
        changes = repairing.without_data_links(place, options, changes)
    if found.is_absent:
        notices += data_of_removed(options, place, coming=None)
    copied, shared, inodes = to_write(place, reader, source, old=old, new=new)
    needs = needs_of(place, new, *sized_with_data(place, found, options, copied, inodes))
    refuse_short(place, needs)
    return TargetPlan(
        root_from=found.root,
        root_to=new.root,
        diff=replace(counted(changes), bytes_copied=copied, bytes_shared=shared),
        needs=needs,
        notices=(*notices, *_owners(place, found, new)),
        options={
            **text,
            PAYLOAD_OPTION: source.content,
            **({REPAIR_OPTION: "{}"} if request.repair else {}),
        },
        changes=tuple(told(changes)),
        hooks=around_exchange(options, installed, found),
    )


def check(context: StepContext, place: Place, objects: DirectoryObjects) -> Observation:
    """Step check: the same once more, now that the target is locked.

    Raises TargetChanged if it is not what the plan was made for.
    """
    source = context.source
    going_back = source is None or source.point
    any_kind = _may_be_anything(objects.options, REPAIR_OPTION in context.component.options)
    found = refuse_unusable(place, objects.reader, going_back=going_back, any_kind=any_kind)
    if found.root != context.component.root_from:
        differs = found.attributes.get("differs")
        raise TargetChanged(
            path=place.path,
            expected=context.component.root_from,
            found=found.root if differs is None else f"{found.root} (differs in {differs})",
            component=context.component.name,
        )
    # A kept old is read wholly when it is staged, which is next.
    if source is not None and not source.point:
        new = objects.manifest_of(source)
        if REPAIR_OPTION not in context.component.options:
            refuse_elsewhere(context.component.name, place, found, objects.options)
        old = objects.reader.manifest_of(found)
        copied, _, inodes = to_write(place, objects.reader, source, old=old, new=new)
        with_data = sized_with_data(place, found, objects.options, copied, inodes)
        refuse_short(place, needs_of(place, new, *with_data))
    return found.observation


def _may_be_anything(options: TreeOptions, repair: bool) -> bool:  # noqa: FBT001
    """Whether what is no tree may be set aside: from no tree data inside could be carried."""
    return repair and not options.quiesce


def _point_manifest(place: Place, reader: Reader, source: Source, component: str) -> TreeManifest:
    """The manifest of a kept old, if it looks as it did. It is read wholly when it is staged."""
    reader.expected = (source.content, *reader.expected)
    kept = reader.find(source.path, Look.STAMPS)
    manifest = reader.manifest_of(kept)
    if kept.content != source.content or manifest is None:
        differs = kept.attributes.get("differs")
        raise PointLost(
            path=place.path,
            point=source.path,
            expected=source.content,
            found=kept.content if differs is None else f"{kept.content} (differs in {differs})",
            component=component,
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


def _owners(place: Place, found: Found, new: TreeManifest) -> Iterator[str]:
    """Whose the new tree is, where that changes."""
    if not found.is_known or os.geteuid() != 0:
        return
    status = place.path.stat()
    top = new.by_path[b""]
    if (status.st_uid, status.st_gid) != (top.uid, top.gid):
        yield (
            f"the tree belongs to {status.st_uid}:{status.st_gid} now, "
            f"and to {top.uid}:{top.gid} as the release has it"
        )
