"""Advice on a release that is valid and may still disappoint.

Owns hints, never refusals: each says what will happen, not what is forbidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from noodle_engine.disk.failures import explained
from noodle_engine.disk.files import status_of
from noodle_engine.disk.trees.manifest import TreeManifest
from noodle_engine.machine.plan import HealthCheck, HookPoint
from noodle_engine.registry.manifest import ReleaseManifest
from noodle_engine.registry.payloads.advice import tree_advice
from noodle_engine.registry.payloads.source import ReleaseSource
from noodle_engine.registry.release import Release, tree_of
from noodle_engine.registry.tree_options import TreeOptions

__all__ = ["lint", "lint_source"]

_INTERPRETED = b"#!"
_EXECUTE_BITS = 0o111
_AROUND_THE_SWAP = frozenset({HookPoint.BEFORE_SWAP, HookPoint.AFTER_SWAP})


def lint(release: Release) -> tuple[str, ...]:
    """What its publisher may want to change, in the order of the manifest.

    Of a plain file its first bytes are read, of a tree its manifest.
    """
    return _lint(release.manifest, release.payload, tree_of(release))


def lint_source(source: ReleaseSource) -> tuple[str, ...]:
    """`lint`, of a release that is not registered yet."""
    tree = None if source.tree is None else source.tree.manifest
    return _lint(source.manifest, source.payload, tree)


def _lint(manifest: ReleaseManifest, payload: Path, tree: TreeManifest | None) -> tuple[str, ...]:
    hints = [*(_on_file(payload) if tree is None else _on_tree(manifest, tree))]
    hints.extend(
        hint for index, one in enumerate(manifest.health, 1) for hint in _on_check(index, one)
    )
    if not manifest.health:
        hints.append("no [[health]]: an upgrade is committed without a look at the program")
    hints.extend(
        f"hooks[{index}] at {hook.at.value} has no undo: going back leaves its effect"
        for index, hook in enumerate(manifest.hooks, 1)
        if hook.at in _AROUND_THE_SWAP and hook.reversible and hook.undo is None
    )
    return tuple(hints)


def _on_file(payload: Path) -> Iterator[str]:
    status = status_of(payload)
    if status.st_size == 0:
        yield "its payload is empty"
    with explained("read", payload), payload.open("rb") as opened:
        script = opened.read(len(_INTERPRETED)) == _INTERPRETED
    if script and not status.st_mode & _EXECUTE_BITS:
        yield "its payload begins with #! and is not executable; a first install keeps that"


def _on_tree(manifest: ReleaseManifest, tree: TreeManifest) -> Iterator[str]:
    options = manifest.directory or TreeOptions()
    yield from tree_advice(tree, options, manifest.target)
    if not options.quiesce and not any(hook.at in _AROUND_THE_SWAP for hook in manifest.hooks):
        yield (
            "no hook restarts what uses it: a program that opens files by their whole paths while"
            " the tree is exchanged sees old and new mixed; let it open the folder, or resolve its"
            " path, once when it starts"
        )


def _on_check(index: int, check: HealthCheck) -> list[str]:
    least = (check.passes - 1) * check.interval_ms
    if least < check.limit_ms:
        return []
    spare = f"{check.passes} passes take at least {least} ms, and it has {check.limit_ms}"
    return [f"health[{index}] always fails: {spare}"]
