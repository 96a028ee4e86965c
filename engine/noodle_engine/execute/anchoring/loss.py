"""What a take-over gives up: also what only an anchor knows of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from noodle_engine.execute.anchoring.options import anchor_options, sink_of
from noodle_journal.anchors.bounded import Bounded, together
from noodle_journal.anchors.comparing import remember
from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.keys.rewrapping import names_of
from noodle_policies.settings.values import Values

__all__ = ["fetched", "remember_loss"]

Fetched = dict[str, Sequence[str] | SinkFailed | None]


def fetched(sinks: Sequence[str], log_id: str, seconds: float, *, everything: bool) -> Fetched:
    """What each sink has of a log, or why it does not say; None for one that cannot tell.

    Takes at most `seconds`, whatever a sink does.
    """

    def fetching(name: str) -> Callable[[], Sequence[str] | None]:
        return lambda: sink_of(name).fetch(log_id, seconds=seconds, everything=everything)

    left: dict[str, Bounded[Sequence[str] | None]] = {}
    return together({name: fetching(name) for name in sinks}, seconds, left)


def remember_loss(folder: Path, settings: Values, *, master_key: bytes) -> None:
    """Let a take-over that comes next record what anchors say is lost, as far as they answer.

    The caller holds the home's lock.
    """
    options = anchor_options(settings)
    if not options.sinks:
        return
    found = fetched(
        options.sinks, names_of(folder).log_id.hex(), options.timeout_s, everything=False
    )
    notes = [note for one in found.values() if isinstance(one, Sequence) for note in one]
    if notes:
        remember(folder, notes, master_key=master_key)
