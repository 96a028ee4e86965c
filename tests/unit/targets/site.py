"""A target on a real file system, a release, and the steps of one upgrade on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from noodle_engine.machine.plan import ABSENT, PlanComponent, StepName
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import ProbeFound, Source, StepContext
from noodle_engine.targets.file import FileTarget
from noodle_engine.targets.place import Place, place_of

OLD, NEW, STRANGE = b"old 1.0.0\n", b"new 1.1.0\n", b"somebody else's\n"
UPGRADE = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
LOG = "log-1"


def content(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Site:
    """One upgrade of one file, as the driver would drive it, kept in memory."""

    folder: Path
    old: bytes | None = OLD
    new: bytes | None = NEW
    upgrade: str = UPGRADE
    from_version: str | None = "1.0.0"
    target: FileTarget = field(default_factory=FileTarget)
    context: StepContext = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "srv").mkdir(exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        if self.old is not None and not self.path.exists():
            self.path.write_bytes(self.old)
            self.path.chmod(0o640)
        source = None
        if self.new is not None:
            payload = self.folder / "home" / "payload"
            payload.write_bytes(self.new)
            payload.chmod(0o644)
            source = Source(payload, content(self.new))
        root_from = self.target.observe(self.path).root
        component = PlanComponent(
            name="web",
            kind="file",
            target=str(self.path),
            root_from=root_from,
            root=ABSENT if source is None else source.content,
            from_version=self.from_version,
        )
        self.context = StepContext(
            upgrade=self.upgrade,
            key="",
            component=component,
            path=self.path,
            home_log=LOG,
            source=source,
            expected_old=root_from,
            expected_new=ABSENT if source is None else None,
            snapshot=None,
            from_version=self.from_version,
        )

    @property
    def path(self) -> Path:
        return self.folder / "srv" / "web.py"

    @property
    def place(self) -> Place:
        return place_of(self.path)

    @property
    def beside(self) -> Path:
        return self.place.next(self.upgrade)

    def do(self, step: StepName) -> Observation:
        observed = self.target.do(step, self.context)
        if step is StepName.SNAPSHOT:
            self.context = replace(self.context, snapshot=observed, expected_old=observed.root)
        if step is StepName.STAGE:
            self.context = replace(self.context, expected_new=observed.root)
        return observed

    def until(self, last: StepName) -> Observation:
        """Do the steps up to `last`, in the order of a plan."""
        observed = None
        for step in FORWARD:
            observed = self.do(step)
            if step is last:
                break
        assert observed is not None
        return observed

    def undo(self, step: StepName) -> Observation:
        return self.target.undo(step, self.context)

    def back(self) -> None:
        """Take all of it back."""
        self.undo(StepName.SWAP)
        self.undo(StepName.STAGE)
        self.do(StepName.CLEAN_ROLLED_BACK)

    def probe(self, step: StepName) -> ProbeFound:
        return self.target.probe(step, self.context)

    def allow_restore(self, source: bytes | None) -> None:
        restore_source = None
        if source is not None:
            kept = self.folder / "home" / "old-payload"
            kept.write_bytes(source)
            restore_source = Source(kept, content(source))
        self.context = replace(self.context, restore=True, restore_source=restore_source)

    def read(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    def beside_names(self) -> set[str]:
        """What is in the target's folder besides the target and `.noodle`."""
        return {p.name for p in self.path.parent.iterdir()} - {"web.py", ".noodle"}


FORWARD = (
    StepName.CHECK,
    StepName.SNAPSHOT,
    StepName.STAGE,
    StepName.SWAP,
    StepName.RECHECK,
    StepName.POINT,
    StepName.CLEAN_COMMITTED,
)
