"""What targets refuse or stop at, as failures with code, problem, cause and remedy.

Owns the failures of every kind of target. `hold` says that a step which ends
with one leaves the upgrade standing until a person speaks, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from noodle_engine.machine.states import HoldReason
from noodle_engine.machine.text import NAMED_MAX, path_text, some
from noodle_journal.errors import DataValue, NoodleError

__all__ = [
    "AdoptionRefused",
    "CandidateUnknown",
    "DataElsewhere",
    "DataRefused",
    "DisplacedWritten",
    "FlipLost",
    "ForeignFound",
    "KindNotBuilt",
    "KindUnknown",
    "KindUnusable",
    "MutableInside",
    "MutableOutside",
    "OldLost",
    "ParentUnusable",
    "PayloadChanged",
    "PayloadUnusable",
    "PointLost",
    "SpaceShort",
    "StageUnproven",
    "StagedLost",
    "TargetBusy",
    "TargetChanged",
    "TargetError",
    "TargetFrozen",
    "TargetHardLinked",
    "TargetHasMount",
    "TargetIsLink",
    "TargetIsMountPoint",
    "TargetMoved",
    "TargetOfOther",
    "TargetOwned",
    "TargetWrongType",
    "TreeHasSpecials",
    "TreeNotAdopted",
]


class TargetError(NoodleError):
    """A target cannot be upgraded, or a step on it failed. `path` is the target."""

    code: ClassVar[str] = "target_failed"
    exit_code: ClassVar[int] = 3
    hold: ClassVar[HoldReason | None] = None

    def __init__(
        self,
        *,
        path: Path,
        problem: str,
        cause: str,
        remedy: str,
        data: dict[str, DataValue] | None = None,
    ) -> None:
        self.path = path
        super().__init__(
            problem=problem,
            cause=cause,
            remedy=remedy,
            data={"target": path_text(str(path)), **(data or {})},
        )


class ForeignFound(TargetError):
    """Something stands at the target, or beside it, that the journal does not know.

    `found` is the root at the target itself now; `where` names the place of the
    foreign object and `found_there` its root. Nothing was overwritten.
    """

    code: ClassVar[str] = "foreign_found"
    exit_code: ClassVar[int] = 5
    hold: ClassVar[HoldReason | None] = HoldReason.FOREIGN

    def __init__(
        self, *, path: Path, expected: str, found: str, where: Path, found_there: str
    ) -> None:
        self.expected = expected
        self.found = found
        self.where = where
        self.found_there = found_there
        place = path_text(str(where))
        super().__init__(
            path=path,
            problem=f"{place} is not what the journal expects",
            cause=f"expected {expected}, found {found_there}; somebody else changed it",
            remedy=(
                f"look at {place}; then `noodle resume --restore` keeps it beside the target and "
                "puts the old version back, or `noodle resume --adopt` records it as it is"
            ),
            data={
                "expected": expected,
                "found": found,
                "where": place,
                "found_there": found_there,
            },
        )


class DisplacedWritten(TargetError):
    """The old version was written, through an open file, after it was exchanged out."""

    code: ClassVar[str] = "displaced_written"
    exit_code: ClassVar[int] = 5

    def __init__(self, *, path: Path, where: Path, expected: str, found: str) -> None:
        self.where = where
        self.expected = expected
        self.found = found
        place = path_text(str(where))
        super().__init__(
            path=path,
            problem=f"the old version of {path_text(str(path))} changed after it was replaced",
            cause=(
                "a program still has it open and wrote to it, or it is gone: "
                f"expected {expected}, found {found}"
            ),
            remedy=f"stop that program, then compare {place}, which was kept, with the target",
            data={"where": place, "expected": expected, "found": found},
        )


class StagedLost(TargetError):
    """The new version is no longer beside the target."""

    code: ClassVar[str] = "staged_lost"
    exit_code: ClassVar[int] = 4

    def __init__(self, *, path: Path, where: Path) -> None:
        self.where = where
        super().__init__(
            path=path,
            problem=f"the new version is gone from {path_text(str(where))}",
            cause="somebody removed it before it could be put in place",
            remedy="nothing was changed; find out who removes such files, then apply again",
            data={"where": path_text(str(where))},
        )


class FlipLost(TargetError):
    """The new version was put in place and proved, and is not there any more."""

    code: ClassVar[str] = "flip_lost"
    exit_code: ClassVar[int] = 4

    def __init__(self, *, path: Path, found: str) -> None:
        self.found = found
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} does not hold the new version any more",
            cause=f"it was in place when it was swapped; now found {found}",
            remedy="the old version is put back; find out what changes that file, then apply again",
            data={"found": found},
        )


class OldLost(TargetError):
    """The old version is nowhere, so that nothing can be put back."""

    code: ClassVar[str] = "old_lost"
    exit_code: ClassVar[int] = 5
    hold: ClassVar[HoldReason | None] = HoldReason.OLD_BROKEN

    def __init__(self, *, path: Path, expected: str, why: str) -> None:
        self.expected = expected
        name = path_text(str(path))
        super().__init__(
            path=path,
            problem=f"the old version of {name} cannot be put back",
            cause=f"{why}; expected {expected}",
            remedy=(
                f"`noodle rescue {name}` lists what there is beside it; or add the old release "
                "again (`noodle component add`) and resume with --restore"
            ),
            data={"expected": expected},
        )


class PointLost(TargetError):
    """A rollback point is missing, or is not what it was when it was kept."""

    code: ClassVar[str] = "point_lost"

    def __init__(
        self, *, path: Path, point: Path, expected: str, found: str, component: str
    ) -> None:
        self.point = point
        self.expected = expected
        self.found = found
        place = path_text(str(point))
        super().__init__(
            path=path,
            problem=f"the rollback point {place} cannot be used",
            cause=f"expected {expected}, found {found}",
            remedy=(
                f"put it back as it was; or go back to another one: `noodle points {component}` "
                f"lists them, `noodle rollback {component} --to VERSION` takes one; or release "
                "the older content under a newer version"
            ),
            data={"point": place, "expected": expected, "found": found, "component": component},
        )


class PayloadUnusable(TargetError):
    """The payload is not a plain file that can be read."""

    code: ClassVar[str] = "payload_unusable"

    def __init__(self, *, path: Path, payload: Path, found: str) -> None:
        self.payload = payload
        place = path_text(str(payload))
        super().__init__(
            path=path,
            problem=f"the payload {place} is {found}",
            cause="a file target takes one plain file",
            remedy="correct the release and add it again: `noodle component add RELEASE`",
            data={"payload": place, "found": found},
        )


class PayloadChanged(TargetError):
    """The payload is not the one that was signed."""

    code: ClassVar[str] = "payload_changed"
    exit_code: ClassVar[int] = 6

    def __init__(self, *, path: Path, payload: Path, expected: str, found: str) -> None:
        self.payload = payload
        self.expected = expected
        self.found = found
        place = path_text(str(payload))
        super().__init__(
            path=path,
            problem=f"the payload {place} is not the one that was registered",
            cause=f"expected {expected}, found {found}: it was changed, or the disk damaged it",
            remedy="register the release under a new version, from its source",
            data={"payload": place, "expected": expected, "found": found},
        )


class StageUnproven(TargetError):
    """What was read back from the disk is not what was written."""

    code: ClassVar[str] = "stage_unproven"

    def __init__(self, *, path: Path, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__(
            path=path,
            problem=f"the new version of {path_text(str(path))} did not read back as written",
            cause=f"expected {expected}, found {found}, while the payload itself is whole",
            remedy="nothing was changed; check that disk and its file system",
            data={"expected": expected, "found": found},
        )


class TargetBusy(TargetError):
    """Somebody holds the target's lock."""

    code: ClassVar[str] = "target_busy"
    exit_code: ClassVar[int] = 9

    def __init__(self, *, path: Path, holder: int | None, command: str | None = None) -> None:
        self.holder = holder
        who = "another process" if holder is None else f"process {holder}"
        cause = "it holds the target's lock"
        remedy = "wait until it has ended, then run the command again"
        if command is not None:
            who += f" ({command})"
            cause = "it was started by a hook or check whose engine was killed, and lives on"
            remedy = "wait until it has ended, or end it, then run the command again"
        super().__init__(
            path=path,
            problem=f"{who} works on {path_text(str(path))}",
            cause=cause,
            remedy=remedy,
            data={"holder": holder, "command": command},
        )


class TargetOwned(TargetError):
    """Another home upgrades this target."""

    code: ClassVar[str] = "target_owned"

    def __init__(self, *, path: Path, owner: str, home_log: str) -> None:
        self.owner = owner
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} belongs to another Noodle home",
            cause=f"its owner mark names the log {owner}, this home's is {home_log}",
            remedy="use that home; or, if it is gone for good, say --take-over",
            data={"owner": owner, "home_log": home_log},
        )


class TargetChanged(TargetError):
    """The target is not what was installed, or not what the plan was made for."""

    code: ClassVar[str] = "target_changed"

    def __init__(
        self, *, path: Path, expected: str, found: str, component: str, repairable: bool = False
    ) -> None:
        self.expected = expected
        self.found = found
        back = (
            f"`noodle component repair {component}` puts it back, and keeps what is there"
            if repairable
            else f"put back what `noodle component verify {component}` names"
        )
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} is not what {component} has there by the journal",
            cause=f"expected {expected}, found {found}: somebody else changed it",
            remedy=(
                f"{back}; or run `noodle component forget {component}` and plan again: "
                "then what is there now counts as the old version and is kept"
            ),
            data={"component": component, "expected": expected, "found": found},
        )


class TargetIsLink(TargetError):
    """The target is a symbolic link."""

    code: ClassVar[str] = "target_is_link"

    def __init__(self, *, path: Path, leads_to: str) -> None:
        self.leads_to = leads_to
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} is a symbolic link to {path_text(leads_to)}",
            cause="exchanging it would replace the link and leave the file as it is",
            remedy="name the file itself as the target",
            data={"leads_to": path_text(leads_to)},
        )


_UPGRADED = {
    "file": ("plain file", "kind `file` upgrades one plain file"),
    "directory": ("directory", "kind `directory` upgrades a directory, or a link to one"),
}


class TargetWrongType(TargetError):
    """The target is neither absent nor what its kind upgrades."""

    code: ClassVar[str] = "target_wrong_type"

    def __init__(self, *, path: Path, found: str, kind: str = "file") -> None:
        wanted, cause = _UPGRADED[kind]
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} is a {found}, no {wanted}",
            cause=cause,
            remedy=f"move it away; or name a {wanted.rpartition(' ')[2]}, or use another kind",
            data={"found": found},
        )


class TargetHasMount(TargetError):
    """Something is mounted in the tree, which an exchange would leave with the old one."""

    code: ClassVar[str] = "target_has_mount"

    def __init__(self, *, path: Path, mount: Path) -> None:
        self.mount = mount
        name = path_text(str(mount))
        super().__init__(
            path=path,
            problem=f"{name} is mounted in {path_text(str(path))}",
            cause="the exchange would leave the mount in the old tree, and the new one without it",
            remedy=f"mount it elsewhere and let a link in the release lead there, or umount {name}",
            data={"mount": name},
        )


class MutableInside(TargetError):
    """A mutable path of the release is the old tree's own, with data in it."""

    code: ClassVar[str] = "mutable_inside"

    def __init__(self, *, path: Path, component: str, mutable: tuple[str, ...]) -> None:
        self.mutable = mutable
        names = ", ".join(mutable)
        options = " ".join(f"--mutable {name}" for name in mutable)
        super().__init__(
            path=path,
            problem=f"{names} in {path_text(str(path))} would stay behind with the old version",
            cause="the release says it outlasts releases (`mutable`), and it lives in the tree",
            remedy=(
                "move it to where it lives once, without a copy: `noodle component adopt "
                f"{component}@VERSION {path_text(str(path))} {options}`, with the version that is "
                "there now; then plan again"
            ),
            data={"component": component, "mutable": list(mutable)},
        )


class MutableOutside(TargetError):
    """A release wants data inside of its tree that the tree it replaces keeps outside."""

    code: ClassVar[str] = "mutable_outside"

    def __init__(self, *, path: Path, component: str, mutable: tuple[str, ...]) -> None:
        super().__init__(
            path=path,
            problem=f"the data of {component} lies outside of its tree: {', '.join(mutable)}",
            cause="with `quiesce` the release wants it inside, and the way back would not find it",
            remedy="leave `quiesce` and `unquiesce` out, or remove the component, move its data "
            "and install it anew",
            data={"component": component, "mutable": list(mutable)},
        )


class DataElsewhere(TargetError):
    """Data inside of a tree that lies on another file system than the target."""

    code: ClassVar[str] = "data_elsewhere"

    def __init__(self, *, path: Path, component: str, tree: Path) -> None:
        super().__init__(
            path=path,
            problem=f"the tree of {component} is on another file system: {tree}",
            cause="on the way back its data could not come to it without being copied",
            remedy="move the tree beside the target first, or leave `quiesce` and `unquiesce` out",
            data={"component": component, "tree": path_text(str(tree))},
        )


class DataRefused(TargetError):
    """Data inside of a tree that could not be carried to another and back."""

    code: ClassVar[str] = "data_refused"

    def __init__(self, *, path: Path, component: str, data: str, why: str) -> None:
        super().__init__(
            path=path,
            problem=f"the data of {component} at {data} cannot be carried",
            cause=why,
            remedy="name a path in `mutable` that is data alone, in folders of the tree's own; "
            "what was adopted has its data declared unmanaged",
            data={"component": component, "data": data},
        )


class TreeHasSpecials(TargetError):
    """A tree holds what is neither file, folder nor link."""

    code: ClassVar[str] = "tree_has_specials"

    def __init__(self, *, path: Path, specials: tuple[str, ...]) -> None:
        self.specials = specials
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} holds {some(specials)}",
            cause="a release is of files, folders and links; a program makes such things itself",
            remedy="remove them, or declare them: `--unmanaged PATTERN`",
            data={"specials": list(specials[:NAMED_MAX])},
        )


class TreeNotAdopted(TargetError):
    """What is at the target cannot be adopted as it was asked."""

    code: ClassVar[str] = "tree_not_adopted"

    def __init__(self, *, path: Path, problem: str, cause: str, remedy: str) -> None:
        super().__init__(path=path, problem=problem, cause=cause, remedy=remedy)


class TargetHardLinked(TargetError):
    """The target has other names, which an exchange would leave with the old version."""

    code: ClassVar[str] = "target_hard_linked"

    def __init__(self, *, path: Path, links: int) -> None:
        self.links = links
        name = path_text(str(path))
        super().__init__(
            path=path,
            problem=f"{name} has {links} names (hard links)",
            cause="the exchange changes one; the others would keep the old version",
            remedy="give it a file of its own (copy it beside, rename the copy over it)",
            data={"links": links},
        )


class TargetIsMountPoint(TargetError):
    """The target is itself a mount, which no rename can move."""

    code: ClassVar[str] = "target_is_mount_point"

    def __init__(self, *, path: Path) -> None:
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} is a mount point",
            cause="a mounted file cannot be renamed, as in a container with a bind mount",
            remedy="upgrade the file that is mounted there, outside",
        )


class TargetMoved(TargetError):
    """The target's path leads to another folder than when the plan was made."""

    code: ClassVar[str] = "target_moved"
    exit_code: ClassVar[int] = 5

    def __init__(self, *, path: Path, leads_to: Path) -> None:
        self.leads_to = leads_to
        name = path_text(str(path))
        there = path_text(str(leads_to))
        super().__init__(
            path=path,
            problem=f"{name} leads to {there} now",
            cause="a folder in its path has become a link since the plan was made",
            remedy="put that folder back as it was, then `noodle resume`; nothing is done at "
            f"{there}",
            data={"leads_to": there},
        )


class TargetFrozen(TargetError):
    """A chattr flag forbids renaming."""

    code: ClassVar[str] = "target_frozen"

    def __init__(self, *, path: Path, frozen: Path, flags: tuple[str, ...]) -> None:
        self.flags = flags
        name = path_text(str(frozen))
        super().__init__(
            path=path,
            problem=f"{name} is {' and '.join(flags)}",
            cause="that attribute (chattr) forbids renaming, for root too",
            remedy=f"chattr -i -a {name}, then run the command again",
            data={"frozen": name, "flags": list(flags)},
        )


class TargetOfOther(TargetError):
    """The target belongs to another user or group than the running one can give."""

    code: ClassVar[str] = "target_of_other"

    def __init__(self, *, path: Path, uid: int, gid: int, running: int) -> None:
        self.uid = uid
        self.gid = gid
        super().__init__(
            path=path,
            problem=f"{path_text(str(path))} belongs to user {uid}, group {gid}",
            cause=f"user {running} cannot give the new version that owner",
            remedy=f"run Noodle as that user (`sudo -u '#{uid}' noodle ...`) or as root",
            data={"uid": uid, "gid": gid, "running": running},
        )


class ParentUnusable(TargetError):
    """The folder that the target is in is missing or may not be written."""

    code: ClassVar[str] = "parent_unusable"

    def __init__(self, *, path: Path, found: str, remedy: str) -> None:
        super().__init__(
            path=path,
            problem=f"{path_text(str(path.parent))} {found}",
            cause="the new version is put there, beside the target",
            remedy=remedy,
            data={"parent": path_text(str(path.parent)), "found": found},
        )


class SpaceShort(TargetError):
    """The file system has too little space or too few inodes."""

    code: ClassVar[str] = "space_short"

    def __init__(self, *, path: Path, needed: int, free: int, unit: str) -> None:
        self.needed = needed
        self.free = free
        super().__init__(
            path=path,
            problem=f"{path_text(str(path.parent))} has {free} {unit} left, {needed} are needed",
            cause="old and new stand side by side until the upgrade has ended",
            remedy="free some, then run the command again",
            data={"needed": needed, "free": free, "unit": unit},
        )


class AdoptionRefused(NoodleError):
    """What was asked of an adoption cannot be."""

    code: ClassVar[str] = "adoption_refused"
    exit_code: ClassVar[int] = 3

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            problem=f"the directory cannot be adopted so: {'; '.join(problems)}",
            cause="paths are of the tree, patterns as in .gitignore, without their exceptions",
            remedy="correct what is named, and adopt again",
            data={"problems": list(problems)},
        )


class CandidateUnknown(TargetError):
    """A path given to rescue is not one of its candidates."""

    code: ClassVar[str] = "candidate_unknown"

    def __init__(self, *, path: Path, location: Path) -> None:
        super().__init__(
            path=path,
            problem=f"{path_text(str(location))} is no candidate for {path_text(str(path))}",
            cause="only what Noodle put beside the target can be exchanged with it",
            remedy=f"`noodle rescue {path_text(str(path))}` lists the candidates",
            data={"location": path_text(str(location))},
        )


class KindUnknown(NoodleError):
    """No target kind has this name."""

    code: ClassVar[str] = "kind_unknown"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, kind: str, known: tuple[str, ...]) -> None:
        self.kind = kind
        self.known = known
        super().__init__(
            problem=f"there is no target kind `{kind}`",
            cause=f"known are {', '.join(known)}",
            remedy="correct `kind` in noodle.toml, or install the plug-in that brings it",
            data={"kind": kind, "known": list(known)},
        )


class KindNotBuilt(NoodleError):
    """The format knows the kind; this version does not upgrade it yet."""

    code: ClassVar[str] = "kind_not_built"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, kind: str, known: tuple[str, ...]) -> None:
        self.kind = kind
        super().__init__(
            problem=f"this version of Noodle does not upgrade targets of kind `{kind}` yet",
            cause=f"it upgrades {', '.join(known)}",
            remedy="use one of those, or a later version of Noodle",
            data={"kind": kind, "known": list(known)},
        )


class KindUnusable(NoodleError):
    """A plug-in's target kind cannot be loaded, or does not keep the contract."""

    code: ClassVar[str] = "kind_unusable"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, kind: str, provider: str, why: str) -> None:
        self.kind = kind
        super().__init__(
            problem=f"the plug-in for target kind `{kind}` ({provider}) cannot be used",
            cause=why,
            remedy="update or remove that plug-in",
            data={"kind": kind, "provider": provider},
        )
