"""What Hypothesis draws: trees, release files, plans, and when processes are killed.

Owns values only; nothing here touches a disk. Each value is legal: what Noodle refuses
is not drawn, so that no example is thrown away.
"""

from __future__ import annotations

import json
from typing import Final

from hypothesis import strategies as st

from noodle_engine.machine.plan import (
    ABSENT,
    HealthCheck,
    Hook,
    HookPoint,
    Plan,
    PlanComponent,
    World,
    steps_for,
)
from noodle_engine.machine.states import Direction

__all__ = ["Tree", "crash_schedules", "manifests", "names", "plans", "trees", "versions"]

Tree = dict[str, "bytes | str | None"]
"""By path: a file's bytes, None for a folder, a text for a link."""

KILLS_MAX: Final = 3
"""How often one act is killed before it is let through."""
POINTS_MAX: Final = 400
_DIGITS: Final = "0123456789abcdef"
_RESERVED: Final = frozenset({".", "..", ".noodle"})


def names() -> st.SearchStrategy[str]:
    """Names of components, as a release may have them."""
    return st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)


def versions() -> st.SearchStrategy[str]:
    """Versions in the form of SemVer 2, few enough that two are often compared."""
    numbers = st.integers(0, 12)
    core = st.tuples(numbers, numbers, numbers).map(lambda of: "{}.{}.{}".format(*of))
    return st.one_of(core, core.map(lambda text: f"{text}-rc.1"))


def trees(*, leaves_max: int = 6) -> st.SearchStrategy[Tree]:
    """Trees of files, empty folders and links. No path is below a file or a link of the same."""
    name = st.one_of(
        st.sampled_from(["a", "b", "c", "a b", "%41", "é", "n" * 200]),
        st.text(
            st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=5
        ).filter(lambda text: text not in _RESERVED and len(text.encode()) < 200),
    )
    leaf = st.one_of(
        st.none(),
        st.binary(max_size=20),
        st.sampled_from([b"same", b"x" * 70_000]),
        st.sampled_from(["/etc/hostname", "/nowhere"]),
    )
    paths = st.lists(name, min_size=1, max_size=3).map("/".join)
    return st.dictionaries(paths, leaf, max_size=leaves_max).map(_possible)


def _possible(tree: Tree) -> Tree:
    """What of a tree can be."""
    kept: Tree = {}
    for path, what in sorted(tree.items(), key=lambda one: one[0].split("/")):
        above = [path.rsplit("/", number)[0] for number in range(1, path.count("/") + 1)]
        if all(kept.get(one) is None for one in above):
            kept[path] = what
    return kept


def crash_schedules(
    *, kills_max: int = KILLS_MAX, points_max: int = POINTS_MAX
) -> st.SearchStrategy[tuple[int, ...]]:
    """When an act is killed: at these points, one attempt after the other; then it is let through.

    A point is a number of calls that have been made (see `striking`); an act that makes fewer
    ends its schedule. Half of what is drawn is small, where the short acts are.
    """
    point = st.one_of(st.integers(0, min(30, points_max)), st.integers(0, points_max))
    return st.lists(point, max_size=kills_max).map(tuple)


@st.composite
def manifests(draw: st.DrawFn, *, kind: str = "file", target: str = "/srv/app") -> str:
    """The text of a `noodle.toml`, with health checks and hooks, as a release has one."""
    lines = [
        "format = 1",
        "[component]",
        f"name = {json.dumps(draw(names()))}",
        f"version = {json.dumps(draw(versions()))}",
        f"kind = {json.dumps(kind)}",
        "[payload]",
        'path = "payload"',
        "[target]",
        f"path = {json.dumps(target)}",
    ]
    for check in draw(st.lists(st.sampled_from(['file = "/srv/app"', 'tcp = "::1:80"']))):
        lines += ["[[health]]", check, f"passes = {draw(st.integers(1, 5))}"]
    points = [one.value for one in _HOOKS]
    for at in draw(st.lists(st.sampled_from(points), max_size=3)):
        lines += ["[[hooks]]", f"at = {json.dumps(at)}", 'command = ["true"]']
        if at in _TAKEN_BACK and draw(st.booleans()):
            lines.append('undo = ["true"]')
    return "\n".join(lines) + "\n"


_HOOKS: Final = (
    HookPoint.BEFORE_SWAP,
    HookPoint.AFTER_SWAP,
    HookPoint.AFTER_COMMIT,
    HookPoint.AFTER_ROLLBACK,
)


_TAKEN_BACK: Final = frozenset({"before-swap", "after-swap"})


@st.composite
def plans(draw: st.DrawFn, *, kind: str = "file", components_max: int = 3) -> Plan:
    """Plans of some components of one kind: upgrades, first installs and removals."""
    named = draw(st.lists(names(), min_size=1, max_size=components_max, unique=True))
    components = tuple(draw(_components(name, kind)) for name in named)
    return Plan(
        home="log-testing",
        direction=Direction.FORWARD,
        components=components,
        steps=steps_for(components),
        world=World(
            versions={one.name: one.from_version for one in components},
            targets={one.target: one.root_from for one in components},
            settings_hash=draw(_hashes()),
        ),
        created_ms=draw(st.integers(0, 2**41)),
    )


@st.composite
def _components(draw: st.DrawFn, name: str, kind: str) -> PlanComponent:
    old = draw(st.one_of(st.just(ABSENT), _hashes().map(lambda text: f"{kind}:{text}")))
    gone = old != ABSENT and draw(st.booleans())
    new = ABSENT if gone else f"sha256:{draw(_hashes())}"
    hook = st.builds(Hook, at=st.sampled_from(_HOOKS), command=st.just(("true",)))
    check = st.builds(HealthCheck, file=st.just("/srv/app"), passes=st.integers(1, 5))
    return PlanComponent(
        name=name,
        kind=kind,
        target=f"/srv/{name}",
        root_from=old,
        root=new,
        from_version=None if old == ABSENT else draw(versions()),
        to_version=None if gone else draw(versions()),
        source=None if gone else f"/srv/releases/{name}",
        critical=draw(st.booleans()),
        health=tuple(draw(st.lists(check, max_size=2))),
        hooks=tuple(draw(st.lists(hook, max_size=2))),
    )


def _hashes() -> st.SearchStrategy[str]:
    return st.text(st.sampled_from(_DIGITS), min_size=64, max_size=64)
