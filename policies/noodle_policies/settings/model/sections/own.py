"""Section `noodle`: options of Noodle's own, in `noodle.json`."""

from __future__ import annotations

from typing import Final, Literal

from noodle_policies.settings.model.kinds import Anchors, EntryName
from noodle_policies.settings.model.section import Section, choice, names, number, switch, text

__all__ = ["Own"]

_ANCHORS: Final = "noodle_engine.execute.anchoring.options"


class Own(Section):
    """What the other sections have no key for."""

    anchors: Anchors = names(
        (),
        "Where the journal's signed heads are kept outside of this machine, so that an older copy "
        "put back is found. None: it is known only as far as the heads in the home go",
        bounds="stdout, file:/PATH, https://..., postgresql://... without a password, plugin:NAME",
        live=True,
        reader=_ANCHORS,
    )
    anchor_unreachable: Literal["wait", "warn", "refuse"] = choice(
        "warn",
        "What an anchor that cannot be reached does: `warn` goes on and records it, `wait` tries "
        "for `noodle.anchor_wait` and then refuses, `refuse` lets no upgrade begin and no step "
        "that cannot be undone. Going back never waits for an anchor",
        live=True,
        reader=_ANCHORS,
    )
    anchor_timeout: float = number(
        5.0,
        "How long one anchor may take",
        low=0.1,
        high=60.0,
        unit="s",
        live=True,
        reader=_ANCHORS,
    )
    anchor_wait: float = number(
        60.0,
        "How long `noodle.anchor_unreachable` waits where it is `wait`",
        low=1.0,
        high=86400.0,
        unit="s",
        live=True,
        reader=_ANCHORS,
    )
    anchor_interval: float = number(
        300.0,
        "How long something may be in the journal and in no anchor, while a process holds the home",
        low=1.0,
        high=86400.0,
        unit="s",
        live=True,
        reader=_ANCHORS,
    )
    anchor_strict: bool = switch(
        False,
        "Whether each commit is anchored: no step goes forward before its past is. Off: at ends, "
        "before steps that cannot be undone, and after `noodle.anchor_interval`",
        live=True,
        reader=_ANCHORS,
    )
    clock_bound: float = number(
        60.0,
        "By how much the wall clock may stray from the machine's own clock before it counts as "
        "set anew; journal time then goes on as the machine's clock does",
        low=1.0,
        high=3600.0,
        unit="s",
        reader="noodle_engine.execute.home.opening",
    )
    key_service: EntryName = text(
        "vault",
        "Which plug-in wraps the master key where `encryption.key_source` is `kms`",
        bounds="the name of a plug-in",
        reader="noodle_engine.execute.keys.finding",
    )
