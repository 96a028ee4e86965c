"""Kind `directory`: the door.

Owns how a step's objects come about, and what is told of a target outside of any
upgrade. The rooms:

    planning   looking, before anything is changed: refusals, differences, what it takes
    trees      what a tree holds, how it is known again, and how it is built
    layouts    what is exchanged: plain trees, or links to trees
    data       the paths of a program's own, which outlast every release
    adopting   what is deployed already becomes the first version

What the new version gets: everything from the release, owners, modes and
extended attributes too; the mutable paths are links to data that outlasts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from noodle_engine.disk.files import ObjectKind, kind_of
from noodle_engine.disk.holders import users_of
from noodle_engine.disk.names import fsync_folder, unlink_quietly
from noodle_engine.disk.trees.build import remove_tree
from noodle_engine.disk.trees.cost import tree_cost
from noodle_engine.machine.plan import StepName
from noodle_engine.machine.records import Observation
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import (
    Cost,
    ProbeFound,
    StepContext,
    TargetPlan,
    TargetRequest,
    Verified,
)
from noodle_engine.targets.directory import verifying
from noodle_engine.targets.directory.adopting.adoption import Adoption
from noodle_engine.targets.directory.adopting.plan import is_adoption, plan_adoption
from noodle_engine.targets.directory.layouts.link import LinkObjects
from noodle_engine.targets.directory.layouts.objects import DirectoryObjects
from noodle_engine.targets.directory.layouts.tree import TreeObjects
from noodle_engine.targets.directory.planning.plan import check, plan_directory
from noodle_engine.targets.directory.trees.kept import forget_manifests, kept_tree_at, place_above
from noodle_engine.targets.directory.trees.manifests import Manifests
from noodle_engine.targets.directory.trees.reading import Reader
from noodle_engine.targets.exchange import ExchangeTarget, Found, Look
from noodle_engine.targets.exchange.target import as_planned
from noodle_engine.targets.place import Place, place_of

__all__ = ["DirectoryTarget"]


def objects_for(
    context: StepContext, place: Place, options: TreeOptions, reader: Reader
) -> DirectoryObjects:
    """The objects of a step, by the layout that was settled when the plan was made."""
    sort = LinkObjects if options.layout == "link" else TreeObjects
    return sort(context, place, options, reader)


class DirectoryTarget(ExchangeTarget):
    """A tree. See `noodle_engine.targets.base.Target` for the promises."""

    kind: ClassVar[str] = "directory"

    def plan_at(self, request: TargetRequest, place: Place) -> TargetPlan:
        """What an upgrade, or an adoption, would do."""
        known = (request.installed_root, request.installed_content)
        reader = _reader(place, [root for root in known if root is not None], request.options)
        if request.adopt:
            return plan_adoption(request, place, reader)
        return plan_directory(request, place, reader)

    def do(self, step: StepName, context: StepContext) -> Observation:
        """Do a step."""
        if is_adoption(context.component.options):
            return self._adoption(context).do(step)
        return super().do(step, context)

    def undo(self, step: StepName, context: StepContext) -> Observation:
        """Take back swap or stage."""
        if is_adoption(context.component.options):
            return self._adoption(context).undo(step)
        return super().undo(step, context)

    def probe(self, step: StepName, context: StepContext) -> ProbeFound:
        """Say how far a step came."""
        if is_adoption(context.component.options):
            return self._adoption(context).probe(step)
        return super().probe(step, context)

    def _adoption(self, context: StepContext) -> Adoption:
        place = as_planned(context)
        options = TreeOptions.from_text(context.component.options)
        # The new before the old, whatever was observed: a tree with some of its mutable
        # paths moved has the old root still.
        likely = (context.component.root, context.expected_old, context.component.root_from)
        reader = _reader(place, likely, context.component.options)
        return Adoption(context, place, options, reader)

    def objects(self, context: StepContext, place: Place) -> DirectoryObjects:
        """Trees, or links to trees."""
        component = context.component
        options = TreeOptions.from_text(component.options)
        likely = (context.expected_new, component.root, context.expected_old, component.root_from)
        reader = Reader(
            parent=place.parent,
            manifests=Manifests(place.manifests),
            options=options,
            expected=[root for root in likely if root is not None],
            observed=[
                one
                for one in (context.staged, context.snapshot, context.checked)
                if one is not None
            ],
            stop=context.stop,
            progress=context.progress,
        )
        return objects_for(context, place, options, reader)

    def look(self, place: Place, expected: Sequence[str], options: Mapping[str, str]) -> Found:
        """What is at the target, by its stamps."""
        return _reader(place, expected, options).find(place.path, Look.STAMPS)

    def check(self, context: StepContext, place: Place) -> Observation:
        """Step check."""
        return check(context, place, self.objects(context, place))

    def verify(
        self,
        path: Path,
        root: str,
        *,
        options: Mapping[str, str],
        full: bool,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verified:
        """Hold the tree against its manifest, file by file."""
        place = place_of(path)
        return verifying.verify(
            place,
            _reader(place, [root], options),
            root,
            full=full,
            stop=stop,
            progress=progress,
        )

    def find_by_hand(self, place: Place, path: Path) -> Found:
        """What `path` is, wholly read; it is held against every tree that is known here."""
        reader = _reader(place, Manifests(place.manifests).roots(), {})
        return reader.find(path, Look.WHOLE)

    def cost(self, location: Path) -> Cost | None:
        """The bytes of the tree, its own and those that other trees have too."""
        tree = kept_tree_at(location)
        if tree is None:
            return None if kind_of(location) is ObjectKind.ABSENT else Cost(0, 0)
        found = tree_cost(tree)
        return Cost(found.own, found.shared)

    def users(self, location: Path) -> tuple[str, ...]:
        """The processes that work in the tree: a reader, or a server that was not reloaded."""
        tree = kept_tree_at(location)
        if tree is None:
            return ()
        return tuple(f"process {one.pid} ({one.command})" for one in users_of(tree))

    def drop(self, location: Path) -> int:
        """Remove a kept old version, durably; its bytes, 0 if it is gone already.

        Of a link the release goes first, if it is one of Noodle's: the link tells
        whoever goes on after a crash where it was.
        """
        size = 0
        kind = kind_of(location)
        if kind is ObjectKind.FOLDER:
            size = remove_tree(location)
        elif kind is ObjectKind.LINK:
            release = kept_tree_at(location)
            if release is not None:
                size = remove_tree(release)
                fsync_folder(location.parent)
            unlink_quietly(location)
        if kind_of(location.parent) is ObjectKind.FOLDER:
            fsync_folder(location.parent)
        if location.parent.name == "releases":
            place = place_above(location)
            forget_manifests(place, _reader(place, (), {}))
        return size


def _reader(place: Place, expected: Sequence[str], options: Mapping[str, str]) -> Reader:
    return Reader(
        parent=place.parent,
        manifests=Manifests(place.manifests),
        options=TreeOptions.from_text(options),
        expected=expected,
    )
