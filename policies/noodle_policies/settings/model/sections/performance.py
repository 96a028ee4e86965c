"""Sections `performance` and `caching`: what the engine itself may use, and keep."""

from __future__ import annotations

from typing import Any, Final

from noodle_policies.settings.model.kinds import Eviction
from noodle_policies.settings.model.section import (
    Section,
    choice,
    count,
    percent,
    seconds,
    section,
    share,
    switch,
    whole,
)

__all__ = ["Caching", "Performance"]

_THROTTLING: Final = "performance.throttling.enabled"
_MONITORING: Final = "performance.monitoring.enabled"
_CACHING: Final = "caching.enabled"


class ResourceLimits(Section):
    """What the engine and its helpers may use."""

    max_memory_usage: int = whole(
        512, "How much memory the engine and its helpers may hold", low=64, unit="MiB", live=True
    )
    max_cpu_usage: float = percent(
        80.0, "Which part of all processors the engine and its helpers may use", live=True
    )
    max_disk_io: int = whole(
        100,
        "How much the engine may write in a second; the journal is exempt",
        low=1,
        unit="MiB/s",
        live=True,
    )
    max_network_connections: int = count(
        50, "How many sockets the engine may have open; more callers get 503", live=True
    )


class RateLimit(Section):
    """How often one caller may ask for something."""

    requests_per_minute: int = count(
        10,
        "How many forward requests one caller has in a minute; reads and rollbacks are free",
        live=True,
        rests_on=_THROTTLING,
    )
    burst_size: int = count(5, "How many of them may come at once", live=True, rests_on=_THROTTLING)


class Throttling(Section):
    """How much may be asked for."""

    enabled: bool = switch(
        True,
        "Whether what is asked for is limited",
        live=True,
        reader="noodle_engine.execute.timing.limits",
    )
    concurrent_limit: int = whole(
        3,
        "How many upgrades may run at once while requests are limited; more wait",
        low=1,
        high=64,
        live=True,
        rests_on=_THROTTLING,
        reader="noodle_engine.execute.timing.limits",
    )
    rate_limit: RateLimit = section(RateLimit)


class AlertThresholds(Section):
    """When the engine itself is the trouble."""

    memory_usage: float = percent(
        80.0,
        "Which part of its own memory limit the engine may use",
        live=True,
        rests_on=_MONITORING,
    )
    cpu_usage: float = percent(
        90.0,
        "Which part of its own processor limit the engine may use",
        live=True,
        rests_on=_MONITORING,
    )
    response_time: float = seconds(
        5.0,
        "How long the 95th percentile of calls of the API may take",
        live=True,
        rests_on=_MONITORING,
    )
    error_rate: float = share(
        0.05,
        "Which share of calls of the API may end in a server error",
        live=True,
        rests_on=_MONITORING,
    )


class Monitoring(Section):
    """The engine, looked at by itself."""

    enabled: bool = switch(True, "Whether the engine is sampled")
    metrics_collection_interval: float = seconds(
        60.0, "How long between two samples", live=True, rests_on=_MONITORING
    )
    performance_history_retention: int = seconds(
        86400, "How long samples are kept for graphs", live=True, rests_on=_MONITORING
    )
    alert_thresholds: AlertThresholds = section(AlertThresholds)


class Performance(Section):
    """What the engine itself may use."""

    resource_limits: ResourceLimits = section(ResourceLimits)
    throttling: Throttling = section(Throttling)
    monitoring: Monitoring = section(Monitoring)


_COMPONENT: Final = "caching.component_cache.enabled"
_VERSION: Final = "caching.version_cache.enabled"
_VALIDATION: Final = "caching.validation_cache.enabled"
_COMPILATION: Final = "caching.compilation_cache.enabled"


def _enabled(what: str) -> Any:
    says = f"Whether {what} are kept. Off: each is made anew"
    return switch(True, says, live=True, rests_on=_CACHING)


def _max_size(default: int, what: str, switched: str, **facts: Any) -> Any:
    return count(default, f"How many {what} are kept", live=True, rests_on=switched, **facts)


def _ttl(default: int, what: str, switched: str, **facts: Any) -> Any:
    says = f"How long one of the {what} may be used"
    return seconds(default, says, live=True, rests_on=switched, **facts)


def _eviction(default: str, what: str, switched: str) -> Any:
    says = (
        f"Which of the {what} goes first: lru the one unused longest, lfu the one used least, "
        "fifo the oldest"
    )
    return choice(default, says, live=True, rests_on=switched)


class ComponentCache(Section):
    """Parsed manifests."""

    enabled: bool = _enabled("parsed manifests")
    max_size: int = _max_size(
        100,
        "parsed manifests",
        _COMPONENT,
        stricter="runtime_upgrade.components.component_cache_size",
    )
    ttl: int = _ttl(3600, "parsed manifests", _COMPONENT)
    eviction_policy: Eviction = _eviction("lru", "parsed manifests", _COMPONENT)


class VersionCache(Section):
    """Pairs of versions."""

    enabled: bool = _enabled("pairs of versions")
    max_size: int = _max_size(
        1000,
        "pairs of versions",
        _VERSION,
        stricter="version_manager.compatibility_matrix.cache_size",
    )
    ttl: int = _ttl(86400, "pairs of versions", _VERSION)
    eviction_policy: Eviction = _eviction("lfu", "pairs of versions", _VERSION)


class ValidationCache(Section):
    """Results of validations; none outlives the signature that it rests on."""

    enabled: bool = _enabled("results of validations")
    max_size: int = _max_size(500, "results of validations", _VALIDATION)
    ttl: int = _ttl(1800, "results of validations", _VALIDATION)
    eviction_policy: Eviction = _eviction("fifo", "results of validations", _VALIDATION)


class CompilationCache(Section):
    """Compiled units."""

    enabled: bool = _enabled("compiled units")
    max_size: int = _max_size(
        50, "compiled units", _COMPILATION, stricter="compiler.version_awareness.cache_size"
    )
    ttl: int = _ttl(
        7200, "compiled units", _COMPILATION, stricter="compiler.version_awareness.cache_ttl"
    )
    eviction_policy: Eviction = _eviction("lru", "compiled units", _COMPILATION)


class Caching(Section):
    """What is kept to be fast; all of it can be thrown away."""

    enabled: bool = switch(True, "Whether anything is kept", live=True)
    component_cache: ComponentCache = section(ComponentCache)
    version_cache: VersionCache = section(VersionCache)
    validation_cache: ValidationCache = section(ValidationCache)
    compilation_cache: CompilationCache = section(CompilationCache)
