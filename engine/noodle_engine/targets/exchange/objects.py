"""What a kind tells of its objects, so that they can be exchanged.

Owns the contract between the steps and a kind whose target is one object. Two
identities: a *root* is of the whole object, all that whoever opens it could
see; a *content identity* is what a release states and a plan names before the
attributes of the old are known. They may be the same.

    absent    there is nothing
    other:X   there is something that the kind does not know: X says what
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from noodle_engine.disk.files import ObjectKind
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import REPAIR_OPTION, Source, StepContext
from noodle_engine.targets.place import Place

__all__ = ["ASIDE", "OTHER_PREFIX", "Exchange", "Found", "Look", "Objects"]

OTHER_PREFIX: Final = "other:"
"""Begins the root of what a kind does not know."""
ASIDE: Final = "aside"
"""The attribute of what `write_old` made that says where it set aside what stood in its way."""


class Look(Enum):
    """How closely to look at an object. A kind may look closer than it was asked."""

    WHOLE = "whole"
    """Read all of it."""
    STAMPS = "stamps"
    """Read what does not look as it did when it was read last."""
    IDENTITY = "identity"
    """Only whether it is the very object that a step of this upgrade has read."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found under a name. `attributes` as the journal keeps them."""

    kind: ObjectKind
    root: str
    content: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def nothing(cls) -> Found:
        """There is nothing."""
        return cls(ObjectKind.ABSENT, ABSENT, ABSENT)

    @classmethod
    def other(cls, kind: ObjectKind, word: str = "") -> Found:
        """There is something that the kind does not know."""
        if kind is ObjectKind.ABSENT:
            return cls.nothing()
        root = f"{OTHER_PREFIX}{word or kind.value}"
        return cls(kind, root, root)

    @property
    def is_absent(self) -> bool:
        """Whether there is nothing."""
        return self.root == ABSENT

    @property
    def is_known(self) -> bool:
        """Whether it is an object of the kind."""
        return not self.is_absent and not self.root.startswith(OTHER_PREFIX)

    @property
    def observation(self) -> Observation:
        """It as the journal keeps it."""
        return Observation(self.root, dict(self.attributes))


class Objects(Protocol):
    """The objects of one kind, for one upgrade of one target."""

    def find(self, path: Path, look: Look = Look.WHOLE) -> Found:
        """What `path` names. Changes nothing; links are not followed."""

    def remember(self, found: Found) -> None:
        """Keep, durably, what is needed to know the old again. `found` is what `find` gave."""

    def displaced(self, path: Path, before: Found) -> Found:
        """What an exchange has brought to `path`, where `before` was seen at the other name.

        In the time of one flip: as much of it is read as tells another object.
        """

    def is_new(self, found: Found, source: Source) -> bool:
        """Whether it is what `write_new` makes of `source`, its attributes among it.

        False as well if that cannot be told any more, as when `source` is gone.
        """

    def write_new(self, source: Source) -> tuple[Path, Found]:
        """Make the new in `stage-ID`, from a release: whole, durable and read back.

        The name that the answer gives is the caller's to rename. What is
        besides belongs to this upgrade, and `discard` and `clear` find it.

        Raises PayloadUnusable, PayloadChanged, StageUnproven or a disk failure.
        """

    def write_old(self, source: Source) -> tuple[Path, Found]:
        """The same for the old, with the attributes that the snapshot recorded.

        Raises OldLost too, if it cannot be made from `source`.
        """

    @property
    def carries(self) -> bool:
        """Whether what programs wrote into the object has to come into the next one."""

    def carry(self, beside: Path, *, back: bool) -> None:
        """Before the exchange: what programs wrote comes to the object beside, or will.

        Their writers stand still. Nothing of the object at the target changes. `back`
        says that the old is put back. Twice is once. Raises StageUnproven, a disk failure.
        """

    def noted(self, found: Found, path: Path) -> Observation:
        """A kept old at `path` as step stage observes it, with what `carry` has to know of it."""

    def carried(self, beside: Path, *, back: bool) -> tuple[str, ...]:
        """After the exchange: what `carry` left to be done, durably. Twice is once.

        With `back` the old is in place again, or never left it. The answer says what
        somebody wrote into old data, and where that is kept.
        """

    def written_since(self, beside: Path) -> str | None:
        """What programs wrote in the displaced object since the exchange; None for nothing."""

    def is_known_folder(self, found: Found) -> bool:
        """Whether it is the very object of the old or the new, whatever was done in it."""

    def taken_from(self, displaced: Path) -> None:
        """What programs wrote comes from an object that was set aside, where it is missing."""

    def taken_back(self) -> None:
        """Last of all where an upgrade was taken back: the old is in place. Twice is once."""

    def bring_over(self, displaced: Path) -> str:
        """In a repair: what is no part of any version comes from what was set aside.

        The answer names what could not be moved, and stayed there.
        """

    def is_carried(self, beside: Path) -> bool:
        """Whether nothing is left for `carried` to do."""

    def prove(self, path: Path) -> Found:
        """Make the object at `path` durable, and read it from the disk."""

    def discard(self, path: Path) -> None:
        """Remove an object of this upgrade's, and what was made for it; durably."""

    def clear(self, *, committed: bool) -> None:
        """Remove whatever an interrupted step has left under this upgrade's id, durably.

        Never what the target or a kept old version needs, nor, once it is `committed`,
        what was installed, whoever has taken it from its place. Twice is once.
        """

    def kept_at(self) -> Path:
        """Where the old is kept after the commit: a name with this upgrade's id."""

    def make_room(self) -> None:
        """Make the folders that staging and keeping need, durably."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One step's work on one target."""

    context: StepContext
    place: Place
    objects: Objects

    @property
    def beside(self) -> Path:
        """The upgrade's name beside the target."""
        return self.place.next(self.context.upgrade)

    @property
    def old(self) -> str:
        """The root of the old, `absent` at a first install."""
        return self.context.expected_old

    @property
    def new(self) -> str:
        """The root of the new, `absent` for a removal; what was planned, until it is staged."""
        if self.context.source is None:
            return ABSENT
        staged = self.context.expected_new
        return staged if staged is not None else self.context.component.root

    @property
    def repairs(self) -> bool:
        """Whether the old is a stranger's, and the installed version is put back."""
        return REPAIR_OPTION in self.context.component.options
