"""Section `compiler`: the pipeline whose stages are components."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Strict

from noodle_policies.settings.model.kinds import Impact, Range, SemVer
from noodle_policies.settings.model.section import (
    Section,
    choice,
    count,
    names,
    seconds,
    section,
    switch,
    text,
    whole,
)

__all__ = ["Compiler"]

_INTEGRATION: Final = "compiler.upgrade_integration.enabled"
_CACHE: Final = "compiler.version_awareness.cache_enabled"
_VERSION: Final = "The version of the stage that is loaded when the pipeline starts"
_SWAPPABLE: Final = (
    "Whether the stage may be swapped while the pipeline runs. Off: at its next start"
)
_CRITICAL: Final = "Whether upgrades of the stage need what critical components need"
_IMPACT: Final = (
    "How much of the corpus is compared before an upgrade of the stage is committed: low 10 %, "
    "medium 50 %, high all of it"
)


class UpgradeIntegration(Section):
    """Upgrades of stages."""

    enabled: bool = switch(
        True,
        "Whether stages of the pipeline can be upgraded. Off: such plans are refused",
        variables="NOODLE_COMPILER_UPGRADE_INTEGRATION",
    )
    hot_swap_enabled: bool = switch(
        True,
        "Whether a stage is swapped while the pipeline runs. Off: at its next start",
        variables="NOODLE_COMPILER_HOT_SWAP_ENABLED",
        rests_on=(_INTEGRATION, "runtime_upgrade.hot_swap.enabled"),
    )
    version_aware_compilation: bool = switch(
        True,
        "Whether the key of a cached unit holds the versions of the stages. Off: `doctor` warns",
        variables="NOODLE_COMPILER_VERSION_AWARE",
    )
    auto_recompile_on_upgrade: bool = switch(
        True,
        "Whether units that an upgrade touches are compiled again. Off: they are listed as stale",
        variables="NOODLE_COMPILER_AUTO_RECOMPILE",
        rests_on=_INTEGRATION,
    )
    pause_compilation_during_upgrade: bool = switch(
        True,
        "Whether the pipeline pauses between units while a stage is swapped. Off: units begin, "
        "each on the versions that it began with",
        variables="NOODLE_COMPILER_PAUSE_ON_UPGRADE",
        twin="pause_on_upgrade",
        rests_on=_INTEGRATION,
    )
    validate_compiler_compatibility: bool = switch(
        True,
        "Whether old and new output are compared on a corpus before commit",
        variables="NOODLE_COMPILER_COMPATIBILITY_VALIDATION",
        rests_on=_INTEGRATION,
    )
    max_concurrent_upgrades: int = whole(
        2,
        "How many upgrades of stages may run at once; more wait",
        low=1,
        high=64,
        live=True,
        variables="NOODLE_COMPILER_MAX_CONCURRENT_UPGRADES",
        rests_on=_INTEGRATION,
    )
    upgrade_timeout: float = seconds(
        30.0,
        "How long the swap of one stage may take, its pause included",
        variables="NOODLE_COMPILER_UPGRADE_TIMEOUT",
        rests_on=_INTEGRATION,
    )


LexerFeature = Literal["streaming", "error_recovery", "optimization"]
ParserFeature = Literal["error_recovery", "ast_optimization", "early_optimization"]
OptimizerFeature = Literal["constant_folding", "dead_code_elimination", "type_inference"]
GeneratorFeature = Literal["python_bytecode", "nbc_bytecode", "source_maps"]


class Lexer(Section):
    """The stage that makes tokens."""

    version: SemVer = text("1.0.0", _VERSION, bounds="a SemVer 2 version")
    hot_swappable: bool = switch(True, _SWAPPABLE)
    critical: bool = switch(True, _CRITICAL)
    features: Annotated[tuple[LexerFeature, ...], Strict(strict=False)] = names(
        ("streaming", "error_recovery", "optimization"),
        "What the lexer does: streaming (constant memory), error_recovery (goes on after a bad "
        "token), optimization (interns names, joins literals)",
        bounds="some of streaming, error_recovery, optimization",
    )
    upgrade_impact: Impact = choice("high", _IMPACT)


class Parser(Section):
    """The stage that makes trees."""

    version: SemVer = text("1.0.0", _VERSION, bounds="a SemVer 2 version")
    hot_swappable: bool = switch(True, _SWAPPABLE)
    critical: bool = switch(True, _CRITICAL)
    features: Annotated[tuple[ParserFeature, ...], Strict(strict=False)] = names(
        ("error_recovery", "ast_optimization", "early_optimization"),
        "What the parser does: error_recovery (all errors of a file), ast_optimization (folds "
        "signs and `not`), early_optimization (drops bodies that never run)",
        bounds="some of error_recovery, ast_optimization, early_optimization",
    )
    upgrade_impact: Impact = choice("high", _IMPACT)


class Optimizer(Section):
    """The stage that improves trees."""

    version: SemVer = text("1.0.0", _VERSION, bounds="a SemVer 2 version")
    hot_swappable: bool = switch(True, _SWAPPABLE)
    critical: bool = switch(False, _CRITICAL)
    features: Annotated[tuple[OptimizerFeature, ...], Strict(strict=False)] = names(
        ("constant_folding", "dead_code_elimination", "type_inference"),
        "Which passes the optimizer runs",
        bounds="some of constant_folding, dead_code_elimination, type_inference",
    )
    upgrade_impact: Impact = choice("medium", _IMPACT)


class BytecodeGenerator(Section):
    """The stage that writes bytecode."""

    version: SemVer = text("1.0.0", _VERSION, bounds="a SemVer 2 version")
    hot_swappable: bool = switch(True, _SWAPPABLE)
    critical: bool = switch(True, _CRITICAL)
    features: Annotated[tuple[GeneratorFeature, ...], Strict(strict=False)] = names(
        ("python_bytecode", "nbc_bytecode", "source_maps"),
        "What the generator writes: python_bytecode (.pyc), nbc_bytecode (.nbc), source_maps",
        bounds="some of python_bytecode, nbc_bytecode, source_maps",
    )
    upgrade_impact: Impact = choice("high", _IMPACT)


class Components(Section):
    """The four stages."""

    lexer: Lexer = section(Lexer)
    parser: Parser = section(Parser)
    optimizer: Optimizer = section(Optimizer)
    bytecode_generator: BytecodeGenerator = section(BytecodeGenerator)


class VersionConstraints(Section):
    """Which versions of a stage are taken."""

    lexer: Range = text(
        ">=1.0.0", "A plan to a lexer outside of this range is refused", bounds="a version range"
    )
    parser: Range = text(
        ">=1.0.0", "A plan to a parser outside of this range is refused", bounds="a version range"
    )
    optimizer: Range = text(
        ">=1.0.0",
        "A plan to an optimizer outside of this range is refused",
        bounds="a version range",
    )
    bytecode_generator: Range = text(
        ">=1.0.0",
        "A plan to a bytecode generator outside of this range is refused",
        bounds="a version range",
    )


class VersionAwareness(Section):
    """Units that are compiled already."""

    cache_enabled: bool = switch(
        True, "Whether compiled units are used again", rests_on="caching.enabled"
    )
    cache_size: int = count(
        100,
        "How many compiled units are kept",
        live=True,
        stricter="caching.compilation_cache.max_size",
        rests_on=_CACHE,
    )
    cache_ttl: int = seconds(
        3600,
        "How long a compiled unit may be used",
        live=True,
        stricter="caching.compilation_cache.ttl",
        rests_on=_CACHE,
    )
    version_constraints: VersionConstraints = section(VersionConstraints)


class ErrorHandling(Section):
    """Units that fail."""

    retry_attempts: int = whole(
        3, "How many more tries a unit gets whose worker died", low=0, high=100
    )
    retry_delay: float = seconds(5.0, "How long to wait between such tries", zero=True)
    continue_on_validation_error: bool = switch(
        False,
        "Whether differing output of a new stage is only a warning; strict validation still "
        "refuses",
    )


class Compilation(Section):
    """The pipeline around an upgrade."""

    pause_on_upgrade: bool = switch(
        True,
        "Whether the pipeline pauses between units while a stage is swapped",
        variables="NOODLE_COMPILER_PAUSE_ON_UPGRADE",
        twin="pause_on_upgrade",
    )
    resume_after_upgrade: bool = switch(
        True,
        "Whether the pipeline goes on by itself after an upgrade. Off: it waits for `resume`",
        rests_on="compiler.compilation.pause_on_upgrade",
    )
    validation_timeout: float = seconds(
        30.0, "How long the comparison on the corpus may take; then it has failed"
    )
    error_handling: ErrorHandling = section(ErrorHandling)


class Compiler(Section):
    """The pipeline whose stages are components."""

    upgrade_integration: UpgradeIntegration = section(UpgradeIntegration)
    components: Components = section(Components)
    version_awareness: VersionAwareness = section(VersionAwareness)
    compilation: Compilation = section(Compilation)
