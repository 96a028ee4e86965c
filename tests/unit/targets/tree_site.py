"""A directory target on a real file system, a release, and the steps of one upgrade on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from noodle_engine.disk.trees.scan import Digests, scan_tree
from noodle_engine.machine.plan import ABSENT, PlanComponent, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.machine.text import path_bytes
from noodle_engine.registry.tree_options import TreeOptions
from noodle_engine.targets.base import ProbeFound, Source, StepContext, TargetPlan, TargetRequest
from noodle_engine.targets.directory import DirectoryTarget
from noodle_engine.targets.place import Place, place_of

UPGRADE = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
LOG = "log-1"
Tree = Mapping[str, "bytes | str | None"]
"""By path: content, None for a folder, a text for a link."""

OLD: Tree = {
    "app.py": b"old",
    "static/site.css": b"same",
    "static/gone.css": b"gone soon",
    "templates": None,
    "current": "app.py",
}
NEW: Tree = {
    "app.py": b"new!",
    "static/site.css": b"same",
    "static/more/new.css": b"more",
    "templates": None,
    "current": "app.py",
}


def write_tree(folder: Path, tree: Tree) -> None:
    """Write a tree; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, what in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, str):
            path.symlink_to(what)
        else:
            path.write_bytes(what)
            os.utime(path, (1_600_000_000, 1_600_000_000))  # not so new that no stamp is given


def read_tree(folder: Path) -> dict[str, bytes | str | None]:
    """A tree as `write_tree` takes it; only leaves and empty folders."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            if not any(path.iterdir()):
                found[name] = None
        else:
            found[name] = path.read_bytes()
    return found


def leaves(tree: Tree) -> dict[str, bytes | str | None]:
    """A tree without the folders that hold something."""
    return {
        name: what
        for name, what in tree.items()
        if what is not None or not any(other.startswith(f"{name}/") for other in tree)
    }


def register(payload: Path) -> str:
    """Make a folder a registered payload: its manifest beside it. Returns its root."""
    manifest = scan_tree(payload, digests=Digests.BOTH).manifest
    payload.with_name(f"{payload.name}.tree").write_bytes(manifest.encode())
    return manifest.root


@dataclass
class TreeSite:
    """One upgrade of one directory, as the driver would drive it, kept in memory."""

    folder: Path
    layout: str = "tree"
    old: Tree | None = field(default_factory=lambda: dict(OLD))
    new: Tree | None = field(default_factory=lambda: dict(NEW))
    options: TreeOptions = field(default_factory=TreeOptions)
    upgrade: str = UPGRADE
    from_version: str | None = "1.0.0"
    to_version: str | None = "1.1.0"
    installed: tuple[str, str] | None = None
    installed_options: TreeOptions = field(default_factory=TreeOptions)
    point: Source | None = None
    target: DirectoryTarget = field(default_factory=DirectoryTarget)
    context: StepContext = field(init=False)
    plan: TargetPlan = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "srv").mkdir(exist_ok=True)
        self._make_old()
        source = self.point
        if self.new is not None:
            payload = self.folder / "home" / str(self.to_version) / "payload"
            if not payload.exists():
                write_tree(payload, self.new)
                register(payload)
            source = Source(payload, scan_tree(payload).manifest.root)
        self.plan = self.target.plan(
            TargetRequest(
                component="web",
                path=self.path,
                home_log=LOG,
                new=source,
                installed_root=None if self.installed is None else self.installed[0],
                installed_content=None if self.installed is None else self.installed[1],
                installed_options=self.installed_options.to_text(),
                options=replace(self.options, layout=self.layout).to_text(),
            )
        )
        component = PlanComponent(
            name="web",
            kind="directory",
            target=str(self.path),
            root_from=self.plan.root_from,
            root=self.plan.root_to,
            from_version=self.from_version,
            to_version=None if source is None else self.to_version,
            options=dict(self.plan.options or {}),
        )
        self.context = StepContext(
            upgrade=self.upgrade,
            key="",
            component=component,
            path=self.path,
            home_log=LOG,
            source=None if source is None else replace(source, content=self.plan.root_to),
            expected_old=self.plan.root_from,
            expected_new=ABSENT if source is None else None,
            snapshot=None,
            from_version=self.from_version,
        )

    def _make_old(self) -> None:
        if self.old is None or os.path.lexists(self.path):
            return
        if self.layout == "tree":
            write_tree(self.path, self.old)
        else:
            write_tree(self.folder / "srv" / "releases" / "first", self.old)
            self.path.symlink_to("releases/first")

    @property
    def path(self) -> Path:
        return self.folder / "srv" / "web"

    @property
    def place(self) -> Place:
        return place_of(self.path)

    @property
    def beside(self) -> Path:
        return self.place.next(self.upgrade)

    def do(self, step: StepName) -> Observation:
        observed = self.target.do(step, self.context)
        if step is StepName.CHECK:
            self.context = replace(self.context, checked=observed)
        if step is StepName.SNAPSHOT:
            self.context = replace(self.context, snapshot=observed, expected_old=observed.root)
        if step is StepName.STAGE:
            self.context = replace(self.context, staged=observed, expected_new=observed.root)
        return observed

    def until(self, last: StepName) -> Observation:
        """Do the steps up to `last`, in the order of a plan."""
        observed = None
        for step in FORWARD:
            observed = self.do(step)
            if step is last:
                break
        assert observed is not None
        return observed

    def undo(self, step: StepName) -> Observation:
        return self.target.undo(step, self.context)

    def back(self) -> None:
        """Take all of it back."""
        self.undo(StepName.SWAP)
        self.undo(StepName.STAGE)
        self.do(StepName.CLEAN_ROLLED_BACK)

    def probe(self, step: StepName) -> ProbeFound:
        return self.target.probe(step, self.context)

    def allow_restore(self, source: Tree | None) -> None:
        restore_source = None
        if source is not None:
            kept = self.folder / "home" / "old" / "payload"
            shutil.rmtree(kept, ignore_errors=True)
            write_tree(kept, source)
            restore_source = Source(kept, register(kept))
        self.context = replace(self.context, restore=True, restore_source=restore_source)

    def read(self) -> dict[str, bytes | str | None] | None:
        return read_tree(self.path.resolve()) if self.path.exists() else None

    def beside_names(self) -> set[str]:
        """What is in the target's folder besides the target, `.noodle` and `releases`."""
        return {p.name for p in self.path.parent.iterdir()} - {"web", ".noodle", "releases"}


def location_of(observed: Observation) -> Path:
    """Where a point step put the old."""
    return Path(os.fsdecode(path_bytes(observed.attributes["location"])))


FORWARD = (
    StepName.CHECK,
    StepName.SNAPSHOT,
    StepName.STAGE,
    StepName.SWAP,
    StepName.RECHECK,
    StepName.POINT,
    StepName.CLEAN_COMMITTED,
)
