"""Step swap, its undo and its probe.

Owns the one moment at which a target changes, and the way back.

Writing order: look at both names; exchange; look at what was displaced; sync
the folder. Reading order of the probe is the same. `old` and `new` below are
the roots in the journal; either may be `absent`.

| target | beside | swap does | undo of swap does |
|---|---|---|---|
| old | new | exchange | nothing |
| new | old | nothing | exchange |
| old | nothing | fails: the new is gone | nothing |
| nothing | old | puts the old back, then fails | puts the old back |
| new | anything else | nothing (recheck tells) | foreign; restore rebuilds the old |
| nothing | anything else | foreign | foreign; restore rebuilds the old |
| anything else | old | foreign | foreign; restore exchanges it out and keeps it |
| anything else | anything else | foreign | foreign; restore keeps it and rebuilds the old |

With an absent old (first install) or new (removal) the exchange is a rename
that refuses to replace, and `nothing` at the target is that side.
"""

from __future__ import annotations

from noodle_engine.disk.files import ObjectKind
from noodle_engine.disk.names import exchange, fsync_folder, rename_noreplace, unlink_quietly
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.targets.base import StepContext
from noodle_engine.targets.failures import ForeignFound, OldLost, StagedLost
from noodle_engine.targets.file.objects import Found, attributes_in, find
from noodle_engine.targets.file.sight import (
    Sight,
    foreign,
    foreign_beside,
    look_at,
    move,
    set_aside,
    write_beside,
)
from noodle_engine.targets.file.staging import is_ours
from noodle_engine.targets.place import Place

__all__ = ["is_flipped", "probe_swap", "put_old_back", "swap", "unswap"]


def new_root(context: StepContext) -> str:
    """The root of the new. A swap has one: it is only begun once staged."""
    if context.source is None:
        return ABSENT
    return context.expected_new if context.expected_new is not None else context.component.root


def is_flipped(context: StepContext, seen: Sight) -> bool:
    """Whether the target is new and what it displaced is where it should be."""
    old, new = context.expected_old, new_root(context)
    if seen.target.root != new:
        return False
    if old in (new, ABSENT):
        return True
    return seen.beside.root == old


def swap(context: StepContext, place: Place) -> Observation:
    """Flip the target to the new, durably (law G5), or leave it (law G3)."""
    old, new = context.expected_old, new_root(context)
    seen = look_at(context, place)
    if _happened(context, seen):
        fsync_folder(place.parent)
        return seen.target.observation
    if seen.target.root == ABSENT != old and seen.beside.root == old:
        put_old_back(context, place)
        raise StagedLost(path=place.path, where=place.next(context.upgrade))
    if seen.target.root != old:
        raise foreign(place, expected=old, found=seen.target.root)
    if new == ABSENT:
        _take_away(context, place, seen, expected=old)
    elif seen.beside.root != new:
        if seen.beside.kind is ObjectKind.ABSENT:
            raise StagedLost(path=place.path, where=place.next(context.upgrade))
        raise foreign_beside(context, place, seen, expected=new)
    elif old == ABSENT:
        _bring_in(context, place, expected=old)
    else:
        _exchange(context, place, expected=old)
    fsync_folder(place.parent)
    return Observation(ABSENT) if new == ABSENT else seen.beside.observation


def _happened(context: StepContext, seen: Sight) -> bool:
    """Whether the flip took place, whatever became of what it displaced."""
    old, new = context.expected_old, new_root(context)
    if seen.target.root != new:
        return False
    if new == ABSENT:  # nothing there: only what was moved beside tells who did it
        return old == ABSENT or seen.beside.kind is ObjectKind.FILE
    return True


def _exchange(context: StepContext, place: Place, *, expected: str) -> None:
    """Exchange the names; if what was displaced is not `expected`, exchange back."""
    beside = place.next(context.upgrade)
    exchange(beside, place.path)
    displaced = find(beside)
    if displaced.root == expected:
        return
    exchange(beside, place.path)
    fsync_folder(place.parent)
    raise foreign(place, expected=expected, found=displaced.root)


def _bring_in(context: StepContext, place: Place, *, expected: str) -> None:
    """Give what stands beside the target's name, if that is free."""
    if not rename_noreplace(place.next(context.upgrade), place.path):
        raise foreign(place, expected=expected, found=find(place.path).root)


def _take_away(context: StepContext, place: Place, seen: Sight, *, expected: str) -> None:
    """Move the target beside; if it is not `expected`, move it back."""
    beside = place.next(context.upgrade)
    if not rename_noreplace(place.path, beside):
        raise foreign_beside(context, place, seen, expected=ABSENT)
    displaced = find(beside)
    if displaced.root == expected:
        return
    back = rename_noreplace(beside, place.path)
    fsync_folder(place.parent)
    found = find(place.path).root
    raise ForeignFound(
        path=place.path,
        expected=expected,
        found=found,
        where=place.path if back else beside,
        found_there=displaced.root,
    )


def put_old_back(context: StepContext, place: Place) -> None:
    """Recreate a target that has vanished from the old one beside it, durably.

    The caller has read the old one and found it whole. A target that appeared
    meanwhile is a stranger's, and stays.
    """
    _bring_in(context, place, expected=ABSENT)
    fsync_folder(place.parent)


def unswap(context: StepContext, place: Place) -> Observation:
    """Bring the old back, durably, from wherever the swap came to.

    Raises ForeignFound, which `restore` answers; OldLost if there is nothing to
    restore from.
    """
    old, new = context.expected_old, new_root(context)
    seen = look_at(context, place)
    notes: dict[str, str] = {}
    if seen.target.root == old:
        _clear_stranger(context, place, seen, notes)
    elif seen.target.root == new and old == ABSENT:
        _uninstall(context, place, seen, notes)
    elif seen.target.root == ABSENT and seen.beside.root == old:
        put_old_back(context, place)
        if new != ABSENT:
            notes["recreated"] = "old"
    elif seen.target.root == new and seen.beside.root == old:
        _exchange(context, place, expected=new)
    else:
        _restore(context, place, seen, notes)
    fsync_folder(place.parent)
    observed = find(place.path).observation
    if observed.root != old:
        raise foreign(place, expected=old, found=observed.root)
    return Observation(observed.root, {**observed.attributes, **notes})


def _clear_stranger(context: StepContext, place: Place, seen: Sight, notes: dict[str, str]) -> None:
    """The old is in place already; a stranger beside it may be in the way of later steps."""
    if seen.beside.root in (ABSENT, context.expected_old) or is_ours(context, seen.beside):
        return
    if context.restore:
        notes["kept"] = str(set_aside(context, place, place.next(context.upgrade)))


def _uninstall(context: StepContext, place: Place, seen: Sight, notes: dict[str, str]) -> None:
    """Take a first install away again."""
    _free_beside(context, place, seen, notes)
    _take_away(context, place, seen, expected=new_root(context))


def _free_beside(context: StepContext, place: Place, seen: Sight, notes: dict[str, str]) -> None:
    """Make the name beside the target free: drop what is ours, set aside what is not.

    Ours is a second name of the new, as a power cut may leave on a file system
    without a journal, or the new itself, whose payload the registry has (a point
    goes back to its place).
    """
    beside = place.next(context.upgrade)
    if seen.beside.kind is ObjectKind.ABSENT:
        return
    point = context.source.path if context.source and context.source.point else None
    ours = is_ours(context, seen.beside)
    if ours and point is None:
        unlink_quietly(beside)
    elif ours and point is not None and move(beside, point):
        return
    elif context.restore:
        notes["kept_beside"] = str(set_aside(context, place, beside))
    else:
        raise foreign_beside(context, place, seen, expected=ABSENT)


def _restore(context: StepContext, place: Place, seen: Sight, notes: dict[str, str]) -> None:
    """With `restore`: set the stranger aside and put the old in place."""
    old = context.expected_old
    if not context.restore:
        if seen.target.root == new_root(context):
            raise foreign_beside(context, place, seen, expected=old)
        raise foreign(place, expected=old, found=seen.target.root)
    if old == ABSENT:
        notes["kept"] = str(set_aside(context, place, place.path))
        return
    if seen.beside.root != old:
        _rebuild(context, place, seen, notes)
    if seen.target.kind is ObjectKind.ABSENT:
        _bring_in(context, place, expected=ABSENT)
        return
    exchange(place.next(context.upgrade), place.path)
    fsync_folder(place.parent)
    displaced = find(place.next(context.upgrade))
    if not is_ours(context, displaced):
        notes["kept"] = str(set_aside(context, place, place.next(context.upgrade)))


def _rebuild(context: StepContext, place: Place, seen: Sight, notes: dict[str, str]) -> None:
    """Write the old anew beside the target, from its release and its recorded attributes."""
    old, source = context.expected_old, context.restore_source
    attributes = None if context.snapshot is None else attributes_in(context.snapshot)
    if source is None or attributes is None:
        why = "it is not beside the target, and the registry has no release of it"
        raise OldLost(path=place.path, expected=old, why=why)
    _free_beside(context, place, seen, notes)
    made: Found = write_beside(context, place, source, name="old", attributes=attributes)
    if made.root != old:
        unlink_quietly(place.next(context.upgrade))
        fsync_folder(place.parent)
        why = f"its release gives {made.root}"
        raise OldLost(path=place.path, expected=old, why=why)
    notes["rebuilt"] = "old"


def probe_swap(context: StepContext, place: Place) -> tuple[ProbeAnswer, Found]:
    """How far an interrupted swap came. What is done is made durable, nothing is changed."""
    old = context.expected_old
    seen = look_at(context, place)
    if _happened(context, seen):
        fsync_folder(place.parent)
        return ProbeAnswer.DONE, seen.target
    if seen.target.root == old:
        return ProbeAnswer.NOT_DONE, seen.target
    if seen.target.root == ABSENT and seen.beside.root == old:
        return ProbeAnswer.NOT_DONE, seen.target  # vanished: swap puts it back and fails
    return ProbeAnswer.FOREIGN, seen.target
