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
from noodle_engine.disk.names import exchange as exchange_names
from noodle_engine.disk.names import fsync_folder, rename_noreplace
from noodle_engine.machine.decide import ProbeAnswer
from noodle_engine.machine.plan import ABSENT
from noodle_engine.machine.records import Observation
from noodle_engine.targets.exchange.objects import ASIDE, Exchange, Found, Look
from noodle_engine.targets.exchange.sight import (
    Sight,
    foreign,
    foreign_beside,
    is_ours,
    look_at,
    move,
    put_beside,
    set_aside,
)
from noodle_engine.targets.failures import ForeignFound, OldLost, StagedLost

__all__ = ["is_flipped", "probe_swap", "put_old_back", "swap", "unswap"]


def is_flipped(exchange: Exchange, seen: Sight) -> bool:
    """Whether the target is new and what it displaced is where it should be."""
    old, new = exchange.old, exchange.new
    if seen.target.root != new:
        return False
    if old in (new, ABSENT):
        return True
    return seen.beside.root == old


def swap(exchange: Exchange) -> Observation:
    """Flip the target to the new, durably (law G5), or leave it (law G3)."""
    old, new = exchange.old, exchange.new
    seen = look_at(exchange)
    if _happened(exchange, seen):
        fsync_folder(exchange.place.parent)
        return _told(seen.target.observation, _carried(exchange, back=False))
    if seen.target.root == ABSENT != old and seen.beside.root == old:
        put_old_back(exchange)
        raise StagedLost(path=exchange.place.path, where=exchange.beside)
    if seen.target.root != old:
        raise foreign(exchange, expected=old, found=seen.target.root)
    notes: dict[str, str] = {}
    if new == ABSENT:
        _take_away(exchange, seen)
    elif seen.beside.root != new:
        if seen.beside.is_absent:
            raise StagedLost(path=exchange.place.path, where=exchange.beside)
        raise foreign_beside(exchange, seen, expected=new)
    elif old == ABSENT:
        _bring_in(exchange, expected=old)
    else:
        notes = _carry_over(exchange, seen, back=False)
    fsync_folder(exchange.place.parent)
    return Observation(ABSENT) if new == ABSENT else _told(seen.beside.observation, notes)


def _told(observed: Observation, notes: dict[str, str]) -> Observation:
    return Observation(observed.root, {**observed.attributes, **notes})


def _happened(exchange: Exchange, seen: Sight) -> bool:
    """Whether the flip took place, whatever became of what it displaced."""
    old, new = exchange.old, exchange.new
    if seen.target.root != new:
        return False
    if new == ABSENT:  # nothing there: only what was moved beside tells who did it
        return old == ABSENT or seen.beside.is_known
    return True


def _carry_over(exchange: Exchange, seen: Sight, *, back: bool) -> dict[str, str]:
    """Exchange the names, and what programs wrote with them."""
    exchange.objects.carry(exchange.beside, back=back)
    _exchange(exchange, seen)
    fsync_folder(exchange.place.parent)
    return _carried(exchange, back=back)


def _carried(exchange: Exchange, *, back: bool) -> dict[str, str]:
    """End what is left to be carried; a note on what was kept aside."""
    aside = exchange.objects.carried(exchange.beside, back=back)
    return {"kept_data": ", ".join(aside)} if aside else {}


def _exchange(exchange: Exchange, seen: Sight) -> None:
    """Exchange the names; if what was displaced is not what was seen, exchange back."""
    exchange_names(exchange.beside, exchange.place.path)
    displaced = exchange.objects.displaced(exchange.beside, seen.target)
    if displaced.root == seen.target.root:
        return
    exchange_names(exchange.beside, exchange.place.path)
    fsync_folder(exchange.place.parent)
    raise foreign(exchange, expected=seen.target.root, found=displaced.root)


def _bring_in(exchange: Exchange, *, expected: str) -> None:
    """Give what stands beside the target's name, if that is free."""
    if not rename_noreplace(exchange.beside, exchange.place.path):
        found = exchange.objects.find(exchange.place.path).root
        raise foreign(exchange, expected=expected, found=found)


def _take_away(exchange: Exchange, seen: Sight) -> None:
    """Move the target beside; if it is not what was seen, move it back."""
    path, beside = exchange.place.path, exchange.beside
    if not rename_noreplace(path, beside):
        raise foreign_beside(exchange, seen, expected=ABSENT)
    displaced = exchange.objects.displaced(beside, seen.target)
    if displaced.root == seen.target.root:
        return
    back = rename_noreplace(beside, path)
    fsync_folder(exchange.place.parent)
    raise ForeignFound(
        path=path,
        expected=seen.target.root,
        found=exchange.objects.find(path).root,
        where=path if back else beside,
        found_there=displaced.root,
    )


def put_old_back(exchange: Exchange) -> None:
    """Recreate a target that has vanished from the old one beside it, durably.

    The caller has looked at the old one and found it whole. A target that
    appeared meanwhile is a stranger's, and stays.
    """
    _bring_in(exchange, expected=ABSENT)
    fsync_folder(exchange.place.parent)


def unswap(exchange: Exchange) -> Observation:
    """Bring the old back, durably, from wherever the swap came to.

    The old is read wholly before it is put in place. Raises ForeignFound, which
    `restore` answers; OldLost if there is nothing to restore from.
    """
    old, new = exchange.old, exchange.new
    seen = _seen_whole(exchange)
    notes: dict[str, str] = {}
    if seen.target.root == old:
        if is_ours(exchange, seen.beside):
            notes |= _carried(exchange, back=True)
        _clear_stranger(exchange, seen, notes)
    elif seen.target.root == new and old == ABSENT:
        _free_beside(exchange, seen, notes)
        _take_away(exchange, seen)
    elif seen.target.is_absent and seen.beside.root == old:
        put_old_back(exchange)
        if new != ABSENT:
            notes["recreated"] = "old"
    elif seen.target.root == new and seen.beside.root == old:
        notes |= _carry_over(exchange, seen, back=True)
    else:
        _restore(exchange, seen, notes)
    fsync_folder(exchange.place.parent)
    observed = exchange.objects.find(exchange.place.path, Look.IDENTITY).observation
    if observed.root != old:
        raise foreign(exchange, expected=old, found=observed.root)
    return _told(observed, notes)


def _seen_whole(exchange: Exchange) -> Sight:
    """Both names; what stands beside is read wholly if it is the old."""
    seen = look_at(exchange)
    if seen.target.root == exchange.old or seen.beside.root != exchange.old:
        return seen
    return Sight(seen.target, exchange.objects.find(exchange.beside, Look.WHOLE))


def _clear_stranger(exchange: Exchange, seen: Sight, notes: dict[str, str]) -> None:
    """The old is in place already; a stranger beside it is somebody's, and stays.

    He may have stood at the target in the moment of the exchange: an engine that
    was killed then had no time to put him back. So a person is asked.
    """
    if seen.beside.root in (ABSENT, exchange.old) or is_ours(exchange, seen.beside):
        return
    if not exchange.context.restore:
        raise foreign_beside(exchange, seen, expected=exchange.new)
    notes["kept"] = str(set_aside(exchange, exchange.beside))


def _free_beside(exchange: Exchange, seen: Sight, notes: dict[str, str]) -> None:
    """Make the name beside the target free: drop what is ours, set aside what is not.

    Ours is a second name of the new, as a power cut may leave on a file system
    without a journal, or the new itself, whose payload the registry has (a point
    goes back to its place).
    """
    if seen.beside.is_absent:
        return
    source = exchange.context.source
    point = source.path if source is not None and source.point else None
    ours = is_ours(exchange, seen.beside)
    if ours and point is None:
        exchange.objects.discard(exchange.beside)
    elif ours and point is not None and move(exchange.beside, point):
        return
    elif exchange.context.restore:
        notes["kept_beside"] = str(set_aside(exchange, exchange.beside))
    else:
        raise foreign_beside(exchange, seen, expected=ABSENT)


def _restore(exchange: Exchange, seen: Sight, notes: dict[str, str]) -> None:
    """With `restore`: set the stranger aside and put the old in place."""
    old = exchange.old
    if not exchange.context.restore:
        if seen.target.root == exchange.new:
            raise foreign_beside(exchange, seen, expected=old)
        raise foreign(exchange, expected=old, found=seen.target.root)
    if old == ABSENT:
        notes["kept"] = str(set_aside(exchange, exchange.place.path))
        return
    if seen.beside.root != old:
        _rebuild(exchange, seen, notes)
    if seen.target.is_absent:
        _bring_in(exchange, expected=ABSENT)
        return
    # An edited old or new still has the data of programs, which is nobody else's.
    new = seen.target.root == exchange.new
    known = new or exchange.objects.is_known_folder(seen.target)
    if known:
        exchange.objects.carry(exchange.beside, back=True)
    exchange_names(exchange.beside, exchange.place.path)
    fsync_folder(exchange.place.parent)
    displaced = exchange.objects.find(exchange.beside, Look.STAMPS)
    if known and (is_ours(exchange, displaced) or exchange.objects.is_known_folder(displaced)):
        notes |= _carried(exchange, back=True)
        exchange.objects.taken_from(exchange.beside)
    if displaced.root == old and displaced.kind is ObjectKind.LINK:
        exchange.objects.discard(exchange.beside)  # what it led to has been made again
    elif not is_ours(exchange, displaced):
        notes["kept"] = str(set_aside(exchange, exchange.beside))


def _rebuild(exchange: Exchange, seen: Sight, notes: dict[str, str]) -> None:
    """Write the old anew beside the target, from its release and its recorded attributes."""
    source = exchange.context.restore_source
    if source is None or exchange.context.snapshot is None:
        why = "it is not beside the target, and the registry has no release of it"
        raise OldLost(path=exchange.place.path, expected=exchange.old, why=why)
    _free_beside(exchange, seen, notes)
    made: Found = put_beside(exchange, source, old=True)
    if made.root != exchange.old:
        exchange.objects.discard(exchange.beside)
        why = f"its release gives {made.root}"
        raise OldLost(path=exchange.place.path, expected=exchange.old, why=why)
    notes["rebuilt"] = "old"
    if ASIDE in made.attributes:
        notes["kept_release"] = made.attributes[ASIDE]


def probe_swap(exchange: Exchange) -> tuple[ProbeAnswer, Found]:
    """How far an interrupted swap came. What is done is made durable, nothing is changed."""
    old = exchange.old
    seen = look_at(exchange)
    if _happened(exchange, seen):
        fsync_folder(exchange.place.parent)
        if not exchange.objects.is_carried(exchange.beside):
            return ProbeAnswer.NOT_DONE, seen.target  # swap ends what is left of it
        return ProbeAnswer.DONE, seen.target
    if seen.target.root == old:
        return ProbeAnswer.NOT_DONE, seen.target
    if seen.target.is_absent and seen.beside.root == old:
        return ProbeAnswer.NOT_DONE, seen.target  # vanished: swap puts it back and fails
    return ProbeAnswer.FOREIGN, seen.target
