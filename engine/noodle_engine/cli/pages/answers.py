"""Which shape each command answers in with `--json`, and every shape below it.

Owns the one list from commands to shapes: the pages and the tests read it.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from noodle_engine.cli.show.shapes import (
    AuditEntries,
    CompletionView,
    DemoView,
    DoneView,
    OpenView,
    RescueView,
    RunView,
    SchemaView,
)
from noodle_engine.execute.anchoring.answering import AnchorsView
from noodle_engine.execute.answers.views import (
    AuditVerdict,
    CollectedView,
    CompactedView,
    ComponentsView,
    DiffView,
    HistoryView,
    HomeView,
    InitView,
    LintView,
    PlanView,
    PointsView,
    ReplayView,
    StepsView,
    UpgradeView,
    VerifiedView,
)
from noodle_engine.execute.auditing.comparing import AuditDiffView
from noodle_engine.execute.auditing.views import CheckpointView, ExportView, ProofChecked, ProofView
from noodle_engine.execute.home.checkup import DoctorView
from noodle_engine.execute.home.config_files import MadeView, MigratedView
from noodle_engine.execute.keys.operating import (
    KeyRecoveredView,
    KeyView,
    NewKeyView,
    PublicKeyView,
    RewrappedView,
)
from noodle_engine.execute.observing.bundling import BundleView
from noodle_engine.testing.views import ContractView, KindsView
from noodle_policies.settings.explaining import Explanation, Listing
from noodle_policies.settings.showing import DifferencesView, SettingsView, ValidatedView

__all__ = ["ANSWERS", "below", "hints_of"]

ANSWERS: dict[str, tuple[type, ...]] = {
    "init": (InitView,),
    "demo": (DemoView,),
    "component add": (ComponentsView,),
    "component list": (ComponentsView,),
    "component show": (ComponentsView,),
    "component adopt": (UpgradeView, PlanView),
    "component repair": (UpgradeView, PlanView),
    "component lint": (LintView,),
    "component verify": (VerifiedView,),
    "component forget": (ComponentsView,),
    "plan": (PlanView,),
    "apply": (UpgradeView, PlanView),
    "rollback": (UpgradeView,),
    "run": (RunView,),
    "diff": (DiffView,),
    "points": (PointsView,),
    "gc": (CollectedView,),
    "status": (HomeView, UpgradeView),
    "steps": (StepsView,),
    "history": (HistoryView,),
    "doctor": (DoctorView,),
    "diagnostics bundle": (BundleView,),
    "resume": (OpenView,),
    "abort": (UpgradeView,),
    "rescue": (RescueView,),
    "audit verify": (AuditVerdict,),
    "audit show": (AuditEntries,),
    "audit replay": (ReplayView,),
    "audit diff": (AuditDiffView,),
    "audit export": (ExportView,),
    "audit checkpoint": (CheckpointView,),
    "audit prove": (ProofView, ProofChecked),
    "audit anchors": (AnchorsView,),
    "key init": (NewKeyView,),
    "key show": (KeyView,),
    "key rotate": (KeyView,),
    "key rewrap": (RewrappedView,),
    "key recover": (KeyRecoveredView,),
    "key export-public": (PublicKeyView,),
    "journal backup": (DoneView,),
    "journal restore": (DoneView,),
    "journal compact": (CompactedView,),
    "journal take-over": (DoneView,),
    "config show": (SettingsView,),
    "config explain": (Explanation, Listing),
    "config validate": (ValidatedView,),
    "config schema": (SchemaView,),
    "config init": (MadeView,),
    "config migrate": (MigratedView,),
    "config diff": (DifferencesView,),
    "plugin list": (KindsView,),
    "plugin test": (ContractView,),
    "completion": (CompletionView,),
}
"""The shapes of each command's answer; more than one where the words decide."""


def hints_of(kind: type) -> dict[str, Any]:
    """The JSON names of a shape's fields, and their types."""
    hints = get_type_hints(kind)
    return {one.metadata.get("name", one.name): hints[one.name] for one in fields(kind)}


def below(kind: type) -> tuple[type, ...]:
    """A shape and every shape in it, once each, in the order of their use."""
    found: dict[type, None] = {}

    def look(hint: Any) -> None:
        if isinstance(hint, type) and is_dataclass(hint) and hint not in found:
            found[hint] = None
            for one in hints_of(hint).values():
                look(one)
        for one in get_args(hint):
            look(one)

    look(kind)
    return tuple(found)
