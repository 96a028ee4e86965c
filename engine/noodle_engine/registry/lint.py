"""Advice on a release that is valid and may still disappoint.

Owns hints, never refusals: each says what will happen, not what is forbidden.
"""

from __future__ import annotations

from noodle_engine.disk.failures import explained
from noodle_engine.machine.plan import HealthCheck, HookPoint
from noodle_engine.registry.store import Release

__all__ = ["lint"]

_INTERPRETED = b"#!"
_EXECUTE_BITS = 0o111


def lint(release: Release) -> tuple[str, ...]:
    """What its publisher may want to change, in the order of the manifest. Reads the payload."""
    manifest = release.manifest
    hints = [
        *_on_payload(release),
        *(hint for index, one in enumerate(manifest.health, 1) for hint in _on_check(index, one)),
    ]
    if not manifest.health:
        hints.append("no [[health]]: an upgrade is committed without a look at the program")
    restarts = {HookPoint.BEFORE_SWAP, HookPoint.AFTER_SWAP}
    hints.extend(
        f"hooks[{index}] at {hook.at.value} has no undo: going back leaves its effect"
        for index, hook in enumerate(manifest.hooks, 1)
        if hook.at in restarts and hook.reversible and hook.undo is None
    )
    return tuple(hints)


def _on_payload(release: Release) -> list[str]:
    hints = []
    if release.size_bytes == 0:
        hints.append("its payload is empty")
    with explained("read", release.payload), release.payload.open("rb") as opened:
        script = opened.read(len(_INTERPRETED)) == _INTERPRETED
    if script and not release.mode & _EXECUTE_BITS:
        hints.append("its payload begins with #! and is not executable; a first install keeps that")
    return hints


def _on_check(index: int, check: HealthCheck) -> list[str]:
    least = (check.passes - 1) * check.interval_ms
    if least < check.within_ms:
        return []
    spare = f"{check.passes} passes take at least {least} ms, and it has {check.within_ms}"
    return [f"health[{index}] always fails: {spare}"]
