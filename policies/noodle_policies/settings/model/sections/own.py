"""Section `noodle`: options of Noodle's own, in `noodle.json`."""

from __future__ import annotations

from noodle_policies.settings.model.section import Section, seconds

__all__ = ["Own"]


class Own(Section):
    """What the other sections have no key for."""

    clock_bound: float = seconds(
        60.0,
        "By how much the wall clock may stray from the machine's own clock before it counts as "
        "set anew; journal time then goes on as the machine's clock does",
    )
