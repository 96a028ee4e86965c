"""Section `self_improvement`: what the engine asks for by itself."""

from __future__ import annotations

from typing import Final

from noodle_policies.settings.model.kinds import Level, Names
from noodle_policies.settings.model.section import (
    Section,
    choice,
    count,
    days,
    names,
    seconds,
    section,
    share,
    switch,
    whole,
)

__all__ = ["SelfImprovement"]

_TRIGGERS: Final = "self_improvement.triggers.runtime_upgrade_triggers_enabled"
_DECISIONS: Final = "self_improvement.ai_decision.runtime_upgrade_decisions_enabled"
_COLLECTION: Final = "self_improvement.feedback.collection_enabled"
_PROCESSING: Final = "self_improvement.feedback.processing_enabled"


class RuntimeUpgradeIntegration(Section):
    """Requests that the engine files itself."""

    enabled: bool = switch(
        True,
        "Whether the engine files requests by itself. Off: only a person does",
        variables="NOODLE_SELF_IMPROVEMENT_UPGRADE_INTEGRATION",
    )
    auto_upgrade_approval: bool = switch(
        False,
        "Whether a request of the engine's own that passes the decision is approved by actor "
        "`auto`; never for critical components. Off: it waits for `approve`",
        variables="NOODLE_AUTO_UPGRADE_APPROVAL",
        rests_on="self_improvement.runtime_upgrade_integration.enabled",
    )
    critical_components: Names = names(
        ("memory_manager", "jit_compiler", "vm_engine"),
        "Components whose upgrades need a second person's approval, strict validation and a "
        "snapshot; with what runtime.components and manifests call critical",
        bounds="names of components",
        variables="NOODLE_CRITICAL_COMPONENTS",
    )
    upgrade_timeout: int = seconds(
        300,
        "The total limit of an upgrade for which no strategy has its own",
        variables="NOODLE_UPGRADE_TIMEOUT",
        twin="default_timeout",
    )
    rollback_enabled: bool = switch(
        True,
        "Whether a committed upgrade can be taken back; old versions are kept as ever",
        variables="NOODLE_ROLLBACK_ENABLED",
        twin="rollback.enabled",
    )
    validation_level: Level = choice(
        "strict",
        "What a finding must be to refuse: a warning, an error or a critical finding",
        variables="NOODLE_UPGRADE_VALIDATION_LEVEL",
        twin="validation_level",
    )
    max_concurrent_upgrades: int = whole(
        3,
        "How many upgrades that the engine asked for may run at once; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_MAX_CONCURRENT_UPGRADES",
        rests_on="self_improvement.runtime_upgrade_integration.enabled",
    )


class Triggers(Section):
    """What makes the engine ask for an upgrade."""

    runtime_upgrade_triggers_enabled: bool = switch(
        True,
        "Whether triggers are evaluated at all",
        variables="NOODLE_RUNTIME_UPGRADE_TRIGGERS",
    )
    auto_upgrade_triggers_enabled: bool = switch(
        False,
        "Whether triggers on performance and thresholds file requests. Off: it is recorded that "
        "they would have",
        rests_on=_TRIGGERS,
    )
    trigger_evaluation_interval: int = seconds(
        60, "How long between two evaluations of the triggers", live=True, rests_on=_TRIGGERS
    )
    trigger_persistence: bool = switch(
        True,
        "Whether triggers made at run time, and their cooldowns, outlive the process",
        rests_on=_TRIGGERS,
    )
    max_triggers: int = count(
        50, "How many triggers there may be; one more is refused", rests_on=_TRIGGERS
    )


class AiDecision(Section):
    """The score that a request of the engine's own needs."""

    runtime_upgrade_decisions_enabled: bool = switch(
        True,
        "Whether requests of the engine's own get a score. Off: they always wait for a person",
    )
    decision_threshold: float = share(
        0.8,
        "The score from which such a request may go on",
        variables="NOODLE_AI_UPGRADE_DECISION_THRESHOLD",
        twin="decision_threshold",
        rests_on=_DECISIONS,
    )
    learning_enabled: bool = switch(
        True,
        "Whether the engine's own expectation of a component learns from outcomes. Off: it is "
        "fixed",
        rests_on=_DECISIONS,
    )
    feedback_weight: float = share(
        0.3,
        "What the agents' votes weigh in the score; the engine's own part weighs the rest",
        variables="NOODLE_AI_AGENT_FEEDBACK_WEIGHT",
        twin="feedback_weight",
        rests_on=_DECISIONS,
    )
    decision_cache_size: int = count(
        100,
        "How many decisions are kept: the same plan under the same metrics is answered unasked",
        live=True,
        rests_on=_DECISIONS,
    )


class Feedback(Section):
    """What is learnt from upgrades that ended."""

    collection_enabled: bool = switch(
        True, "Whether a record of feedback is written when an upgrade ends"
    )
    processing_enabled: bool = switch(
        True,
        "Whether feedback counts in the expectation of a component and in the history voter",
        rests_on=_COLLECTION,
    )
    learning_enabled: bool = switch(
        True,
        "Whether feedback may change the expectation of a component",
        rests_on=(_PROCESSING, "self_improvement.ai_decision.learning_enabled"),
    )
    feedback_retention_days: int = days(
        90, "How old feedback may be and still be read and shown", rests_on=_COLLECTION
    )


class SelfImprovement(Section):
    """What the engine asks for by itself."""

    runtime_upgrade_integration: RuntimeUpgradeIntegration = section(RuntimeUpgradeIntegration)
    triggers: Triggers = section(Triggers)
    ai_decision: AiDecision = section(AiDecision)
    feedback: Feedback = section(Feedback)
