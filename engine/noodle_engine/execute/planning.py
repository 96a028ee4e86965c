"""From a request and the world as it is to a plan.

Owns the reading of releases, targets and versions, and the refusal of plans
that cannot hold. It changes nothing anywhere.

Laws
L1. Planning only reads; a plan that is refused leaves everything as it was.
L2. What a plan needs later (roots, sources, hooks, checks) is in it by value.
L3. Going back asks no version rule: only whether a kept old is there.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from noodle_engine.disk.paths import target_path
from noodle_engine.execute.failures import (
    AdoptionUnclear,
    ComponentBusy,
    ComponentUnknown,
    DowngradeRefused,
    NotCompatible,
    NothingInstalled,
    NotRepairable,
    PlanMalformed,
    PlanStale,
    PointAbsent,
    TargetsOverlap,
    VersionAdopted,
    VersionUnclear,
)
from noodle_engine.machine.codec import decode, encode
from noodle_engine.machine.failures import RecordUnreadable
from noodle_engine.machine.plan import (
    ABSENT,
    COMPONENTS_MAX,
    HEALTH_MS_MAX,
    PLAN_FORMAT,
    Diff,
    HealthCheck,
    Needs,
    Plan,
    PlanComponent,
    World,
    plan_hash,
    steps_for,
)
from noodle_engine.machine.states import Direction
from noodle_engine.machine.text import path_text
from noodle_engine.machine.upgrade import Fold, Installed, Point
from noodle_engine.registry.manifest import ReleaseManifest
from noodle_engine.registry.names import parse_wanted
from noodle_engine.registry.store import Release, ReleaseStore
from noodle_engine.registry.versions import VersionRange, precedes
from noodle_engine.targets.base import Source, TargetChange, TargetPlan, TargetRequest
from noodle_engine.targets.load import load_target
from noodle_engine.targets.place import local_path
from noodle_journal.errors import NoodleError

__all__ = [
    "PLAN_BYTES_MAX",
    "Planned",
    "Planner",
    "check_free",
    "check_versions",
    "check_whole",
    "check_world",
    "observed_root",
    "planned_root",
    "read_plan",
    "write_plan",
]

PLAN_BYTES_MAX = 16 << 20
NO_FILE = "an argument with a `/` in it, or that ends in .json, names a plan file"
NO_FILE_REMEDY = "correct the name; a release is written NAME@VERSION"


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, what needed no change (`name version`), and what changes in each component."""

    plan: Plan | None
    already: tuple[str, ...] = ()
    differences: tuple[tuple[str, TargetChange], ...] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    component: PlanComponent
    found: TargetPlan


@dataclass(frozen=True, slots=True)
class Planner:
    """Builds plans against one state of the world.

    `now_ms` stamps the plan; `settings_hash` is what it would run under. A health check
    whose manifest does not say how long it has gets `health_ms`.
    """

    world: Fold
    releases: ReleaseStore
    log_id: str
    settings_hash: str
    now_ms: Callable[[], int]
    take_over: bool = False
    health_ms: int = HEALTH_MS_MAX

    def forward(self, wanted: Sequence[str], remove: Sequence[str] = ()) -> Planned:
        """A plan to the wanted versions, and to none for what is removed.

        Raises a NoodleError that says why it cannot be; nothing was changed.
        """
        already: list[str] = []
        releases = [self._release(one) for one in wanted]
        self._check_free([*(release.name for release in releases), *remove])
        self._check_versions(releases, remove)
        pieces: list[_Piece] = []
        for release in releases:
            piece = self._to_release(release)
            if piece is None:
                already.append(f"{release.manifest.name} {release.manifest.version}")
            else:
                pieces.append(piece)
        pieces.extend(self._removal(name) for name in remove)
        return self._planned(Direction.FORWARD, pieces, already)

    def adopt(self, wanted: str, path: Path, kind: str, options: Mapping[str, str]) -> Planned:
        """A plan that makes what is at `path` the installed version `wanted` (NAME@VERSION).

        Nothing is copied, and no release is needed. Raises a NoodleError that says
        why it cannot be; nothing was changed.
        """
        asked = parse_wanted(wanted)
        name, version = asked.name, asked.version
        if version is None:
            raise AdoptionUnclear(name)
        self._check_free([name])
        resolved = target_path(path)
        installed = self.world.components.get(name)
        if installed is not None and installed.target != path_text(str(resolved)):
            raise NotCompatible(
                problem=f"{name} is installed at {local_path(installed.target)}",
                cause="a component has one target",
                remedy=f"name that target, or `noodle component forget {name}` first",
            )
        request = replace(self._request(name, path, None, installed, options), adopt=True)
        found = load_target(kind).plan(request)
        component = PlanComponent(
            name=name,
            kind=kind,
            target=path_text(str(resolved)),
            root_from=found.root_from,
            root=found.root_to,
            from_version=installed.version if installed else None,
            to_version=version,
            options=dict(found.options if found.options is not None else options),
        )
        return self._planned(Direction.FORWARD, [_Piece(component, found)])

    def repair(self, name: str, attributes: Mapping[str, str]) -> Planned:
        """A plan that puts the installed version back as it was installed.

        What stands there is kept beside it, as a stranger's. `attributes` are what was
        observed of the version when it was staged. Raises NothingInstalled, NotRepairable
        where the registry does not have what is installed, and what planning raises.
        """
        self._check_free([name])
        installed = self.world.components.get(name)
        if installed is None:
            raise NothingInstalled(name)
        version = installed.version
        if version is None or not self.releases.has(name, version):
            raise NotRepairable(name, version)
        release = self.releases.get(name, version)
        if (
            load_target(installed.kind)
            .observe(
                local_path(installed.target), expected=[installed.root], options=installed.options
            )
            .root
            == installed.root
        ):
            return self._planned(Direction.FORWARD, [], [f"{name} {version}"])
        piece = self._to_release(release, repair=attributes)
        if piece is None or piece.component.root != installed.content:
            raise NotRepairable(name, version)
        return self._planned(Direction.FORWARD, [piece])

    def back(self, name: str, version: str | None = None) -> Planned:
        """A plan back to a kept old: `version`, or the newest that is not what is installed."""
        self._check_free([name])
        point = self._point(name, version)
        installed = self.world.components.get(name)
        target = load_target(point.kind)
        path = local_path(point.target)
        source = Source(local_path(point.location), point.content or "", point=True)
        manifest = self._manifest_of(name, point.version)
        # A version without a manifest of its own still has to be restarted.
        hooked = manifest or self._manifest_of(name, installed.version if installed else None)
        options = hooked.options if hooked else {}
        found = target.plan(self._request(name, path, source, installed, options))
        if point.changed:
            found = replace(found, notices=(*found.notices, _changed(point)))
        component = PlanComponent(
            name=name,
            kind=point.kind,
            target=point.target,
            root_from=found.root_from,
            root=found.root_to,
            from_version=installed.version if installed else None,
            to_version=point.version,
            source=point.location,
            point=point.upgrade,
            health=self._bounded(manifest.health) if manifest else (),
            hooks=(*(hooked.hooks if hooked else ()), *found.hooks),
            critical=hooked.critical if hooked else False,
            options=dict(found.options if found.options is not None else options),
        )
        return self._planned(Direction.BACK, [_Piece(component, found)])

    def _release(self, wanted: str) -> Release:
        asked = parse_wanted(wanted)
        name, version = asked.name, asked.version
        if version is None or not self.releases.has(name, version):
            known = self.releases.versions(name)
            if version is None and known:
                raise VersionUnclear(name, known)
            installed = self.world.components.get(name)
            if installed is not None and installed.version == version is not None:
                raise VersionAdopted(name, version)
            names = [f"{name}@{one}" for one in known] or [
                f"{one}@{v}" for one in self.releases.names() for v in self.releases.versions(one)
            ]
            close = difflib.get_close_matches(wanted, names, n=1)
            raise ComponentUnknown(wanted, names, close[0] if close else "")
        return self.releases.get(name, version)

    def _check_versions(self, releases: Sequence[Release], remove: Sequence[str]) -> None:
        """Compatibility of what will be installed once the plan is done."""
        after: dict[str, str | None] = {
            name: one.version for name, one in self.world.components.items() if name not in remove
        }
        for release in releases:
            manifest = release.manifest
            installed = self.world.components.get(manifest.name)
            if installed is not None and installed.version is not None:
                _check_replaces(manifest, installed.version)
            after[manifest.name] = manifest.version
        for release in releases:
            _check_requires(release.manifest, after)

    def _to_release(
        self, release: Release, *, repair: Mapping[str, str] | None = None
    ) -> _Piece | None:
        manifest = release.manifest
        installed = self.world.components.get(manifest.name)
        target = load_target(manifest.kind)
        given = Path(manifest.target)
        path = target_path(given)  # what the links in its way lead to now is what is upgraded
        if installed is not None and installed.target != path_text(str(path)):
            raise NotCompatible(
                problem=f"{manifest.name} {manifest.version} has its target at {path}",
                cause=f"the installed one is at {local_path(installed.target)}",
                remedy="give it the same target, or remove the old one first "
                f"(`noodle apply --remove {manifest.name}`)",
            )
        source = Source(release.payload, release.content)
        request = self._request(manifest.name, given, source, installed, manifest.options)
        if repair is not None:
            request = replace(request, repair=True, installed_attributes=repair)
        found = target.plan(request)
        if (
            installed is not None
            and installed.version == manifest.version
            and installed.root == found.root_from
            and installed.content == found.root_to
        ):
            return None
        component = PlanComponent(
            name=manifest.name,
            kind=manifest.kind,
            target=path_text(str(path)),
            root_from=found.root_from,
            root=found.root_to,
            from_version=installed.version if installed else None,
            to_version=manifest.version,
            source=path_text(str(release.payload)),
            critical=manifest.critical,
            health=self._bounded(manifest.health),
            hooks=(*manifest.hooks, *found.hooks),
            options=dict(found.options if found.options is not None else manifest.options),
        )
        return _Piece(component, found)

    def _bounded(self, checks: Sequence[HealthCheck]) -> tuple[HealthCheck, ...]:
        """Health checks as a plan has them: each says how long it has."""
        return tuple(
            replace(check, within_ms=self.health_ms) if check.within_ms is None else check
            for check in checks
        )

    def _removal(self, name: str) -> _Piece:
        installed = self.world.components.get(name)
        if installed is None:
            raise NothingInstalled(name)
        target = load_target(installed.kind)
        manifest = self._manifest_of(name, installed.version)
        options = manifest.options if manifest else {}
        path = local_path(installed.target)
        found = target.plan(self._request(name, path, None, installed, options))
        component = PlanComponent(
            name=name,
            kind=installed.kind,
            target=installed.target,
            root_from=found.root_from,
            root=ABSENT,
            from_version=installed.version,
            hooks=(*(manifest.hooks if manifest else ()), *found.hooks),
            options=dict(found.options if found.options is not None else options),
        )
        return _Piece(component, found)

    def _manifest_of(self, name: str, version: str | None) -> ReleaseManifest | None:
        """The manifest of a version, if the registry still has it whole.

        A damaged release must not stand in the way of going back (L3).
        """
        if version is None or version not in self.releases.versions(name):
            return None
        try:
            return self.releases.get(name, version).manifest
        except NoodleError:
            return None

    def _point(self, name: str, version: str | None) -> Point:
        points = [point for point in self.world.points if point.component == name]
        installed = self.world.components.get(name)
        there = (installed.version, installed.root) if installed else None
        matching = [
            point
            for point in points
            if (version is None and (point.version, point.root) != there)
            or (version is not None and point.version == version)
        ]
        if not matching:
            if not points and name not in self.world.components:
                raise NothingInstalled(name)
            kept = [point.version or "unversioned" for point in points]
            raise PointAbsent(name, version, kept)
        return matching[-1]

    def _request(
        self,
        name: str,
        path: Path,
        source: Source | None,
        installed: Installed | None,
        options: Mapping[str, str] | None = None,
    ) -> TargetRequest:
        return TargetRequest(
            component=name,
            path=path,
            home_log=self.log_id,
            new=source,
            installed_root=installed.root if installed else None,
            installed_content=installed.content if installed else None,
            installed_options=dict(installed.options) if installed else {},
            repairable=self._is_repairable(installed),
            options=dict(options or {}),
            take_over=self.take_over,
        )

    def _is_repairable(self, installed: Installed | None) -> bool:
        """Whether the registry has what is installed: by its version, as adopted ones have none."""
        if installed is None or installed.version is None or installed.content is None:
            return False
        return self.releases.has(installed.name, installed.version)

    def _planned(
        self, direction: Direction, pieces: Sequence[_Piece], already: Sequence[str] = ()
    ) -> Planned:
        differences = tuple(
            (piece.component.name, change) for piece in pieces for change in piece.found.changes
        )
        return Planned(self._plan(direction, pieces), tuple(already), differences)

    def _plan(self, direction: Direction, pieces: Sequence[_Piece]) -> Plan | None:
        if not pieces:
            return None
        components = tuple(piece.component for piece in pieces)
        home = path_text(os.path.realpath(self.releases.home))
        for one in components:
            if _overlap(one.target, home):
                raise TargetsOverlap(one.name, "this home", str(local_path(one.target)))
        if len(components) > COMPONENTS_MAX:
            raise NotCompatible(
                problem=f"the plan has {len(components)} components",
                cause=f"a plan holds at most {COMPONENTS_MAX}",
                remedy="split it",
            )
        check_free(components, self.world)
        return Plan(
            home=self.log_id,
            direction=direction,
            components=components,
            steps=steps_for(components),
            world=World(
                versions={c.name: c.from_version for c in components},
                targets={c.name: c.root_from for c in components},
                settings_hash=self.settings_hash,
            ),
            created_ms=self.now_ms(),
            diff=_total_diff([piece.found.diff for piece in pieces]),
            needs=_total_needs(pieces),
            notices=tuple(
                f"{piece.component.name}: {notice}"
                for piece in pieces
                for notice in piece.found.notices
            ),
        )

    def _check_free(self, names: Sequence[str]) -> None:
        """Refuse components of an open upgrade, before their targets are looked at."""
        for name in names:
            for upgrade in self.world.upgrades.values():
                if any(one.name == name for one in upgrade.plan.components):
                    raise ComponentBusy(name, upgrade.id)


def check_free(components: Sequence[PlanComponent], world: Fold) -> None:
    """Refuse components that an open upgrade has, and targets that overlap others.

    Raises ComponentBusy or TargetsOverlap.
    """
    names = [component.name for component in components]
    for name in names:
        if names.count(name) > 1:
            raise TargetsOverlap(name, name, "the same plan twice")
    opened = [
        (one, upgrade) for upgrade in world.upgrades.values() for one in upgrade.plan.components
    ]
    for one, upgrade in opened:
        if one.name in names:
            raise ComponentBusy(one.name, upgrade.id)
    planned = [(component.name, component.target) for component in components]
    taken = [(name, one.target) for name, one in world.components.items()]
    busy = [(one.name, one.target) for one, _ in opened]
    for name, path in planned:
        for other, other_path in (*taken, *planned, *busy):
            if other != name and _overlap(path, other_path):
                raise TargetsOverlap(name, other, str(local_path(path)))


def _changed(point: Point) -> str:
    """What a person should know of a kept old that is not what it was."""
    return (
        f"what is kept as {point.version or 'unversioned'} is not what that version was: somebody "
        "changed it right before it was kept, and it comes back as they left it"
    )


def _in_range(version: str, wanted: str) -> bool:
    return VersionRange.parse(wanted).allows(version)


def _overlap(first: str, second: str) -> bool:
    one, two = local_path(first), local_path(second)
    return one == two or one in two.parents or two in one.parents


def _check_replaces(manifest: ReleaseManifest, installed: str) -> None:
    if precedes(manifest.version, installed):
        raise DowngradeRefused(manifest.name, installed, manifest.version)
    if manifest.version == installed:
        return  # put in place again, or nothing to do
    if manifest.compatible_from and not _in_range(installed, manifest.compatible_from):
        raise NotCompatible(
            problem=f"{manifest.name} {manifest.version} cannot replace {installed}",
            cause=f"its manifest says compatible_from = {manifest.compatible_from!r}",
            remedy="upgrade to a version in between first",
        )


def _check_requires(manifest: ReleaseManifest, after: Mapping[str, str | None]) -> None:
    for name, wanted in manifest.requires.items():
        found = after.get(name)
        if found is None or not _in_range(found, wanted):
            raise NotCompatible(
                problem=f"{manifest.name} {manifest.version} requires {name} {wanted}",
                cause=f"after this plan there would be {name} {found or 'none'}",
                remedy=f"add a fitting {name} to the plan, before {manifest.name}",
            )
    for name, unwanted in manifest.conflicts.items():
        found = after.get(name)
        if found is not None and _in_range(found, unwanted):
            raise NotCompatible(
                problem=f"{manifest.name} {manifest.version} conflicts with {name} {unwanted}",
                cause=f"after this plan there would be {name} {found}",
                remedy=f"take {name} to another version, or remove it in the same plan",
            )


def _total_diff(diffs: Sequence[Diff]) -> Diff:
    return Diff(
        added=sum(diff.added for diff in diffs),
        changed=sum(diff.changed for diff in diffs),
        removed=sum(diff.removed for diff in diffs),
        bytes_copied=sum(diff.bytes_copied for diff in diffs),
        bytes_shared=sum(diff.bytes_shared for diff in diffs),
    )


def _total_needs(pieces: Sequence[_Piece]) -> Needs:
    needs = [piece.found.needs for piece in pieces]
    return Needs(
        disk_bytes=sum(need.disk_bytes for need in needs),
        inodes=sum(need.inodes for need in needs),
        memory_bytes=max(need.memory_bytes for need in needs),
        seconds=sum(need.seconds for need in needs)
        + sum(_expected_seconds(piece.component) for piece in pieces),
    )


def _expected_seconds(component: PlanComponent) -> int:
    """The least time that health checks take when all is well."""
    waits = sum((check.passes - 1) * check.interval_ms for check in component.health)
    return (waits + 999) // 1000


def check_world(
    plan: Plan,
    world: Fold,
    settings_hash: str,
    observe: Callable[[PlanComponent], str],
) -> None:
    """Refuse a plan whose world has moved. `observe` gives a component's root now.

    Raises PlanStale naming all that moved. A plan that goes back is not held
    up by settings.
    """
    moved = [*_versions_moved(plan, world), *_moved(plan, settings_hash, observe)]
    if moved:
        raise PlanStale(moved)


def observed_root(component: PlanComponent) -> str:
    """The root that a component's target has now. Raises what its kind raises."""
    found = load_target(component.kind).observe(
        local_path(component.target),
        expected=(component.root_from, component.root),
        options=component.options,
    )
    return found.root


def planned_root(plan: Plan) -> Callable[[PlanComponent], str]:
    """For `check_world`: the roots that the targets had when the plan was made."""
    return lambda component: plan.world.targets.get(component.name, "")


def check_versions(plan: Plan, world: Fold) -> None:
    """Refuse a plan made for other versions than are installed. Raises PlanStale."""
    moved = list(_versions_moved(plan, world))
    if moved:
        raise PlanStale(moved)


def _versions_moved(plan: Plan, world: Fold) -> Iterator[str]:
    for component in plan.components:
        installed = world.components.get(component.name)
        version = installed.version if installed else None
        expected = plan.world.versions.get(component.name)
        if version != expected:
            yield (
                f"{component.name} is {version or 'absent'}, "
                f"the plan was made for {expected or 'absent'}"
            )


def _moved(
    plan: Plan, settings_hash: str, observe: Callable[[PlanComponent], str]
) -> Iterator[str]:
    for component in plan.components:
        root = observe(component)
        if root != plan.world.targets.get(component.name):
            yield f"the target of {component.name} changed on disk"
    if plan.direction is Direction.FORWARD and settings_hash != plan.world.settings_hash:
        yield "the settings changed"


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan file; an existing file is replaced."""
    body = encode(plan)
    body["plan_hash"] = plan_hash(plan)
    data = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    try:
        path.write_bytes(data)
    except OSError as error:
        raise PlanMalformed(str(path), f"it cannot be written: {error.strerror}") from error


def read_plan(path: Path) -> Plan:
    """Read a plan file and check its hash. Raises PlanMalformed."""
    try:
        if path.exists() and not path.is_file():
            raise PlanMalformed(str(path), "it is not a regular file")
        with path.open("rb") as file:
            raw = file.read(PLAN_BYTES_MAX + 1)
    except FileNotFoundError as error:
        why = "there is no such file"
        raise PlanMalformed(str(path), why, cause=NO_FILE, remedy=NO_FILE_REMEDY) from error
    except (OSError, ValueError) as error:
        why = f"it cannot be read: {getattr(error, 'strerror', error)}"
        raise PlanMalformed(str(path), why, cause=NO_FILE, remedy=NO_FILE_REMEDY) from error
    if len(raw) > PLAN_BYTES_MAX:
        raise PlanMalformed(str(path), f"it is larger than {PLAN_BYTES_MAX} bytes")
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        why = f"it is no JSON: {error}" if raw else "it is empty"
        raise PlanMalformed(str(path), why) from error
    if not isinstance(body, dict) or "plan_hash" not in body:
        raise PlanMalformed(str(path), "it is JSON, and no plan: it has no `plan_hash`")
    stated = body.pop("plan_hash")
    try:
        plan = decode(Plan, body)
    except RecordUnreadable as error:
        raise PlanMalformed(str(path), str(error.data["found"])) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanMalformed(str(path), f"a value in it is of another type: {error}") from error
    if stated != plan_hash(plan):
        raise PlanMalformed(str(path), "its hash does not fit its content")
    wrong = check_whole(plan)
    if wrong is not None:
        raise PlanMalformed(str(path), wrong)
    return plan


def check_whole(plan: Plan) -> str | None:
    """What is wrong with a plan that came from outside, or None.

    Without its steps it would commit and have done nothing.
    """
    names = {component.name for component in plan.components}
    if plan.format != PLAN_FORMAT:
        return f"it has format {plan.format}"
    if not 0 < len(plan.components) <= COMPONENTS_MAX:
        return f"it has {len(plan.components)} components"
    if plan.steps != steps_for(plan.components):
        return "its steps are not those of its components"
    if names != set(plan.world.versions) or names != set(plan.world.targets):
        return "the world that it was made for is not that of its components"
    return None
