"""What a release says of itself: `noodle.toml`, read into frozen types.

Owns the types that a manifest becomes and the one function that reads one.
Reading is strict: an unknown key, a value of another type or out of its bounds
is a problem, and all problems are told at once, each with its line and key.
Validation itself is in `manifest_rules`, imported only when one is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from noodle_engine.machine.plan import HealthCheck, Hook
from noodle_engine.registry.tree_options import TreeOptions

__all__ = [
    "MANIFEST_BYTES_MAX",
    "MANIFEST_FORMAT",
    "MANIFEST_NAME",
    "ReleaseManifest",
    "ServiceSection",
    "parse_manifest",
]

MANIFEST_FORMAT: Final = 1
MANIFEST_NAME: Final = "noodle.toml"
MANIFEST_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class ServiceSection:
    """`[service]`, for kind `service`. Exactly one of command and unit is set."""

    command: tuple[str, ...] | None = None
    unit: str | None = None
    sockets: tuple[str, ...] = ()
    ready: str = "health"
    instances: int = 1
    drain_ms: int = 30_000
    user: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseManifest:
    """One release. `payload` is relative to its folder, `target` absolute.

    `options` go into a plan by value: the text of `directory`, or the `[target]`
    keys of a kind that a plug-in brings.
    """

    name: str
    version: str
    kind: str
    payload: str
    target: str
    critical: bool = False
    hot_swappable: bool | None = None
    upgrade_impact: str | None = None
    features: tuple[str, ...] = ()
    requires: dict[str, str] = field(default_factory=dict)
    provides: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, str] = field(default_factory=dict)
    compatible_from: str | None = None
    health: tuple[HealthCheck, ...] = ()
    hooks: tuple[Hook, ...] = ()
    directory: TreeOptions | None = None
    service: ServiceSection | None = None
    options: dict[str, str] = field(default_factory=dict)


def parse_manifest(data: bytes, path: Path) -> ReleaseManifest:
    """Read the bytes of a `noodle.toml`; `path` is only named in the failure.

    Limit: MANIFEST_BYTES_MAX. Raises ManifestInvalid with every problem.
    """
    # pydantic costs 60 ms that commands without a manifest do not pay.
    from noodle_engine.registry.manifest_rules import read_manifest  # noqa: PLC0415

    return read_manifest(data, path)
