"""Every point of one upgrade, once: the process is killed there, and the upgrade ended anyhow.

Owns the order. It draws nothing: `sweep` of one kind does the same each time. At each
point of each step two questions are asked in turn: does going on lead to the new, does
going back lead to the old; and the points of the way back are each passed as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from noodle_engine.machine.plan import StepName
from noodle_engine.testing.site import FORWARD, Site

__all__ = ["sweep", "walk"]

_UP_TO_POINT: Final = FORWARD.index(StepName.POINT)
Told = Callable[[str, int], None]


def walk(site: Site) -> None:
    """Every law once, without a kill: upgrade, back, first install, removal, strangers.

    Raises ContractBroken.
    """
    old, new, next_one = site.versions.examples()
    site.deploy(old)
    site.steady(new)
    _all(site, new, again=True)
    site.locked()
    site.observed()
    _all(site, None, again=True, from_point=True)
    site.drop()
    for at in range(FORWARD.index(StepName.SWAP), _UP_TO_POINT + 1):
        site.begin(new)
        for _ in range(at):
            site.forward()
        site.probe(site.done[-1])
        site.back()
    for at in (FORWARD.index(StepName.SWAP), FORWARD.index(StepName.RECHECK)):
        site.begin(next_one)
        for _ in range(at):
            site.forward()
        site.stranger()
    _all(site, None)
    _all(site, new)
    site.observed()


def _all(site: Site, new: object, *, again: bool = False, from_point: bool = False) -> None:
    site.begin(new, from_point=from_point)
    while site.step is not None:
        site.forward()
        if again:
            site.again()


def sweep(site: Site, *, every: int = 1, told: Told = lambda _name, _kills: None) -> int:
    """Kill at every point (with `every`, at each so-manieth) of each step, and of each undo.

    With 0 for `every` nothing is killed.

    `told` hears of each step that is through, and how many kills there were so far.
    Answers how often a process was killed. Raises ContractBroken.
    """
    old, new, _ = site.versions.examples()
    if not every:
        return 0
    for at in _points(site, every):
        site.deploy(old)
        site.forget()
        if not site.lock_killed(at):
            break
    told("lock", site.kills)
    for step in FORWARD:
        for at in _points(site, every):
            site.deploy(old)
            site.forget()
            site.begin(new)
            while site.step is not step:
                site.forward()
            if not _struck(site, at):
                break
        told(f"do {step}", site.kills)
    for step in (StepName.STAGE, StepName.SWAP):
        for at in _points(site, every):
            site.deploy(old)
            site.forget()
            site.begin(new)
            while step not in site.done:
                site.forward()
            before = site.kills
            site.back((at,))
            if site.kills == before:
                break
        told(f"undo {step}", site.kills)
    return site.kills


def _points(site: Site, every: int) -> Iterator[int]:
    """Points until a kill finds none: 0 (nothing done yet), then each so-manieth."""
    at = 0
    while True:
        yield at
        at += every
        site.story.clear()


def _struck(site: Site, at: int) -> bool:
    """Kill the next step at a point, and end the upgrade: forward or back, in turn."""
    before = site.kills
    step = site.step
    if at % 2 and step is not None and FORWARD.index(step) < _UP_TO_POINT:
        site.interrupt(at)
        if site.kills == before:
            return False
        site.back()
        return True
    site.forward((at,))
    if site.kills == before:
        return False
    while site.step is not None:
        site.forward()
    return True
