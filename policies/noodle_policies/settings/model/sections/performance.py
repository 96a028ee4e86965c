"""Sections `performance` and `caching`: what the engine itself may use, and keep."""

from __future__ import annotations

from typing import Final

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


_ENABLED: Final = "Whether {} are kept. Off: each is made anew"
_MAX_SIZE: Final = "How many {} are kept"
_TTL: Final = "How long one of the {} may be used"
_EVICTION: Final = (
    "Which of the {} goes first: lru the one unused longest, lfu the one used least, fifo the "
    "oldest"
)


class ComponentCache(Section):
    """Parsed manifests."""

    enabled: bool = switch(True, _ENABLED.format("parsed manifests"), live=True, rests_on=_CACHING)
    max_size: int = count(
        100,
        _MAX_SIZE.format("parsed manifests"),
        live=True,
        stricter="runtime_upgrade.components.component_cache_size",
        rests_on="caching.component_cache.enabled",
    )
    ttl: int = seconds(
        3600,
        _TTL.format("parsed manifests"),
        live=True,
        rests_on="caching.component_cache.enabled",
    )
    eviction_policy: Eviction = choice(
        "lru",
        _EVICTION.format("parsed manifests"),
        live=True,
        rests_on="caching.component_cache.enabled",
    )


class VersionCache(Section):
    """Pairs of versions."""

    enabled: bool = switch(True, _ENABLED.format("pairs of versions"), live=True, rests_on=_CACHING)
    max_size: int = count(
        1000,
        _MAX_SIZE.format("pairs of versions"),
        live=True,
        stricter="version_manager.compatibility_matrix.cache_size",
        rests_on="caching.version_cache.enabled",
    )
    ttl: int = seconds(
        86400,
        _TTL.format("pairs of versions"),
        live=True,
        rests_on="caching.version_cache.enabled",
    )
    eviction_policy: Eviction = choice(
        "lfu",
        _EVICTION.format("pairs of versions"),
        live=True,
        rests_on="caching.version_cache.enabled",
    )


class ValidationCache(Section):
    """Results of validations; none outlives the signature that it rests on."""

    enabled: bool = switch(
        True, _ENABLED.format("results of validations"), live=True, rests_on=_CACHING
    )
    max_size: int = count(
        500,
        _MAX_SIZE.format("results of validations"),
        live=True,
        rests_on="caching.validation_cache.enabled",
    )
    ttl: int = seconds(
        1800,
        _TTL.format("results of validations"),
        live=True,
        rests_on="caching.validation_cache.enabled",
    )
    eviction_policy: Eviction = choice(
        "fifo",
        _EVICTION.format("results of validations"),
        live=True,
        rests_on="caching.validation_cache.enabled",
    )


class CompilationCache(Section):
    """Compiled units."""

    enabled: bool = switch(True, _ENABLED.format("compiled units"), live=True, rests_on=_CACHING)
    max_size: int = count(
        50,
        _MAX_SIZE.format("compiled units"),
        live=True,
        stricter="compiler.version_awareness.cache_size",
        rests_on="caching.compilation_cache.enabled",
    )
    ttl: int = seconds(
        7200,
        _TTL.format("compiled units"),
        live=True,
        stricter="compiler.version_awareness.cache_ttl",
        rests_on="caching.compilation_cache.enabled",
    )
    eviction_policy: Eviction = choice(
        "lru",
        _EVICTION.format("compiled units"),
        live=True,
        rests_on="caching.compilation_cache.enabled",
    )


class Caching(Section):
    """What is kept to be fast; all of it can be thrown away."""

    enabled: bool = switch(True, "Whether anything is kept", live=True)
    component_cache: ComponentCache = section(ComponentCache)
    version_cache: VersionCache = section(VersionCache)
    validation_cache: ValidationCache = section(ValidationCache)
    compilation_cache: CompilationCache = section(CompilationCache)
