"""Section `ai_agents`: voters on upgrades, and what their word weighs."""

from __future__ import annotations

from typing import Final, Literal

from noodle_policies.settings.model.section import (
    Section,
    choice,
    days,
    seconds,
    section,
    share,
    switch,
    whole,
)

__all__ = ["AiAgents"]

_INTEGRATION: Final = "ai_agents.upgrade_integration.enabled"
_PROCESSING: Final = "ai_agents.learning.feedback_processing_enabled"
_ADAPTATION: Final = "ai_agents.learning.agent_adaptation_enabled"
_INTELLIGENT: Final = "ai_agents.rollback.intelligent_rollback_enabled"
_MONITORING: Final = "ai_agents.monitoring.enabled"


class UpgradeIntegration(Section):
    """Whether agents are asked, and what follows."""

    enabled: bool = switch(
        True,
        "Whether agents are asked. Off: the engine's own score stands alone",
        variables="NOODLE_AI_UPGRADE_INTEGRATION_ENABLED",
    )
    decision_threshold: float = share(
        0.8,
        "The score from which a request of the engine's own may go on",
        variables="NOODLE_AI_UPGRADE_DECISION_THRESHOLD",
        twin="decision_threshold",
    )
    rollback_trigger_threshold: float = share(
        0.7,
        "Which weighted share of negative feedback turns an upgrade in flight back",
        variables="NOODLE_AI_ROLLBACK_TRIGGER_THRESHOLD",
        rests_on=(_INTEGRATION, _INTELLIGENT),
    )
    coordination_timeout: int = seconds(
        300,
        "How long a whole round of votes may take; who is silent counts as undecided",
        variables="NOODLE_AI_UPGRADE_COORDINATION_TIMEOUT",
        rests_on=_INTEGRATION,
    )
    agent_feedback_weight: float = share(
        0.3,
        "What the agents' votes weigh in the score; the engine's own part weighs the rest",
        variables="NOODLE_AI_AGENT_FEEDBACK_WEIGHT",
        twin="feedback_weight",
    )
    performance_impact_threshold: float = share(
        0.2,
        "The predicted slow-down above which a person must approve",
        variables="NOODLE_AI_PERFORMANCE_IMPACT_THRESHOLD",
        rests_on=_INTEGRATION,
    )
    max_concurrent_upgrades: int = whole(
        3,
        "How many upgrades may be under vote at once; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_AI_MAX_CONCURRENT_UPGRADES",
        twin="ai_max_concurrent_upgrades",
        rests_on=_INTEGRATION,
    )


class Coordination(Section):
    """How agents are chosen and called."""

    max_concurrent_upgrades: int = whole(
        3,
        "How many upgrades may be under vote at once; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_AI_MAX_CONCURRENT_UPGRADES",
        twin="ai_max_concurrent_upgrades",
        rests_on=_INTEGRATION,
    )
    agent_selection_strategy: Literal["round_robin", "load_based", "capability_based", "random"] = (
        choice(
            "capability_based", "Which of the registered agents are asked", rests_on=_INTEGRATION
        )
    )
    role_assignment_strategy: Literal["automatic", "manual"] = choice(
        "automatic",
        "Whether agents get their roles by what they can do, or only as registered",
        rests_on=_INTEGRATION,
    )
    communication_timeout: int = seconds(
        60, "How long one call to an agent may take", rests_on=_INTEGRATION
    )
    task_timeout: int = seconds(
        300, "How long one agent may take with all its calls and tries", rests_on=_INTEGRATION
    )
    retry_attempts: int = whole(
        3, "How many more calls follow one that failed", low=0, high=100, rests_on=_INTEGRATION
    )
    retry_delay: float = seconds(
        10.0, "How long to wait between such calls", zero=True, rests_on=_INTEGRATION
    )


class Learning(Section):
    """How the weight of an agent follows its record."""

    feedback_processing_enabled: bool = switch(
        True,
        "Whether outcomes change what is expected of an agent. Off: they leave it alone",
        rests_on=_INTEGRATION,
    )
    performance_analysis_enabled: bool = switch(
        True, "Whether the list of agents shows how well each foretold", rests_on=_INTEGRATION
    )
    agent_adaptation_enabled: bool = switch(
        True,
        "Whether the weights in use follow what was learnt. Off: they stay as at the beginning",
        rests_on=(_INTEGRATION, _PROCESSING),
    )
    learning_rate: float = share(
        0.1,
        "Which part of the way the weights go at each update; 0 freezes them",
        rests_on=_ADAPTATION,
    )
    feedback_retention_days: int = days(
        90, "How old feedback of agents may be and still count", rests_on=_INTEGRATION
    )
    model_update_interval: int = seconds(
        86400, "How long between two updates of the weights", live=True, rests_on=_ADAPTATION
    )


class Rollback(Section):
    """What agents may do to an upgrade."""

    intelligent_rollback_enabled: bool = switch(
        True,
        "Whether agents advise and cause rollbacks. Off: neither",
        rests_on=_INTEGRATION,
    )
    feedback_based_rollback: bool = switch(
        True,
        "Whether people's feedback counts for a rollback. Off: only agents of metrics count",
        rests_on=_INTELLIGENT,
    )
    automatic_rollback_threshold: float = share(
        0.5,
        "Which weighted share of negative feedback advises a rollback; on a committed upgrade it "
        "files one where automatic rollback is on",
        rests_on=_INTELLIGENT,
    )
    rollback_confirmation_required: bool = switch(
        False, "Whether rollbacks of agents wait for a person", rests_on=_INTELLIGENT
    )
    rollback_timeout: int = seconds(
        300, "How long a whole rollback that agents caused may take", rests_on=_INTELLIGENT
    )


class AlertThresholds(Section):
    """When agents themselves are the trouble."""

    agent_error_rate: float = share(
        0.1, "Which share of an agent's calls may fail", live=True, rests_on=_MONITORING
    )
    coordination_failure_rate: float = share(
        0.05, "Which share of rounds may end without a quorum", live=True, rests_on=_MONITORING
    )
    upgrade_failure_rate: float = share(
        0.02,
        "Which share of upgrades that agents approved may be rolled back",
        live=True,
        rests_on=_MONITORING,
    )
    performance_degradation: float = share(
        0.15,
        "How much slower an agent may answer than in the week before, at its 95th percentile",
        live=True,
        rests_on=_MONITORING,
    )


class Monitoring(Section):
    """What is kept of agents."""

    enabled: bool = switch(True, "Whether there are alerts on agents", rests_on=_INTEGRATION)
    performance_tracking: bool = switch(
        True,
        "Whether the latency of agents is kept. Off: load_based chooses as round_robin, and says "
        "so",
        rests_on=_MONITORING,
    )
    feedback_collection: bool = switch(
        True, "Whether votes are stored beside outcomes", rests_on=_MONITORING
    )
    alert_thresholds: AlertThresholds = section(AlertThresholds)


class AiAgents(Section):
    """Voters on upgrades, and what their word weighs."""

    upgrade_integration: UpgradeIntegration = section(UpgradeIntegration)
    coordination: Coordination = section(Coordination)
    learning: Learning = section(Learning)
    rollback: Rollback = section(Rollback)
    monitoring: Monitoring = section(Monitoring)
