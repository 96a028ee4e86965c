"""All sections together."""

from __future__ import annotations

from noodle_policies.settings.model.section import Section, section
from noodle_policies.settings.model.sections.ai_agents import AiAgents
from noodle_policies.settings.model.sections.compiler import Compiler
from noodle_policies.settings.model.sections.deployment import DeploymentSettings
from noodle_policies.settings.model.sections.diagnostics import Debug, Diagnostics
from noodle_policies.settings.model.sections.managers import (
    HotSwapEngine,
    RollbackManager,
    RuntimeUpgradeManager,
    UpgradeValidator,
    VersionManager,
)
from noodle_policies.settings.model.sections.own import Own
from noodle_policies.settings.model.sections.performance import Caching, Performance
from noodle_policies.settings.model.sections.runtime import Runtime
from noodle_policies.settings.model.sections.runtime_upgrade import RuntimeUpgrade
from noodle_policies.settings.model.sections.security import (
    Encryption,
    SecureCommunication,
    Security,
)
from noodle_policies.settings.model.sections.self_improvement import SelfImprovement

__all__ = ["OWN_SECTION", "Settings"]

OWN_SECTION = "noodle"
"""The section of Noodle's own options, listed apart from the others."""


class Settings(Section):
    """Every setting. Without arguments: the defaults."""

    runtime_upgrade: RuntimeUpgrade = section(RuntimeUpgrade)
    self_improvement: SelfImprovement = section(SelfImprovement)
    runtime: Runtime = section(Runtime)
    compiler: Compiler = section(Compiler)
    ai_agents: AiAgents = section(AiAgents)
    deployment: DeploymentSettings = section(DeploymentSettings)
    runtime_upgrade_manager: RuntimeUpgradeManager = section(RuntimeUpgradeManager)
    hot_swap_engine: HotSwapEngine = section(HotSwapEngine)
    version_manager: VersionManager = section(VersionManager)
    rollback_manager: RollbackManager = section(RollbackManager)
    upgrade_validator: UpgradeValidator = section(UpgradeValidator)
    security: Security = section(Security)
    encryption: Encryption = section(Encryption)
    secure_communication: SecureCommunication = section(SecureCommunication)
    performance: Performance = section(Performance)
    caching: Caching = section(Caching)
    debug: Debug = section(Debug)
    diagnostics: Diagnostics = section(Diagnostics)
    noodle: Own = section(Own)
