"""Section `noodle`: options of Noodle's own, in `noodle.json`."""

from __future__ import annotations

from noodle_policies.settings.model.kinds import EntryName
from noodle_policies.settings.model.section import Section, number, text

__all__ = ["Own"]


class Own(Section):
    """What the other sections have no key for."""

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
