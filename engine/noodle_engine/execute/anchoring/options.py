"""Where anchors go and how strictly: from the settings to sinks.

Owns the names that `noodle.anchors` has for sinks. What is not a file or a stream is
loaded only where it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noodle_journal.anchors.failures import SinkFailed

if TYPE_CHECKING:
    from noodle_journal.anchors.sinks import Sink
    from noodle_policies.settings.values import Values

__all__ = ["AnchorOptions", "anchor_options", "sink_of"]

PLUGINS: Final = "noodle.anchors"


@dataclass(frozen=True, slots=True)
class AnchorOptions:
    """What the settings say of anchors. `unreachable` is wait, warn or refuse."""

    sinks: tuple[str, ...] = ()
    unreachable: str = "warn"
    timeout_s: float = 5.0
    wait_s: float = 60.0
    interval_s: float = 300.0
    strict: bool = False


def anchor_options(values: Values) -> AnchorOptions:
    """What the settings say."""
    return AnchorOptions(
        sinks=tuple(dict.fromkeys(values.names("noodle.anchors"))),
        unreachable=values.text("noodle.anchor_unreachable"),
        timeout_s=values.number("noodle.anchor_timeout"),
        wait_s=values.number("noodle.anchor_wait"),
        interval_s=values.number("noodle.anchor_interval"),
        strict=values.switch("noodle.anchor_strict"),
    )


def sink_of(name: str) -> Sink:
    """The sink of a name of `noodle.anchors`. Raises SinkFailed."""
    from noodle_journal.anchors.sinks import FileSink, StreamSink  # noqa: PLC0415

    scheme, _, rest = name.partition(":")
    match scheme:
        case "file":
            return FileSink(Path(rest))
        case "stdout":
            return StreamSink()
        case "http" | "https":
            from noodle_journal.anchors.http import HttpSink  # noqa: PLC0415

            return HttpSink(name)
        case "postgresql":
            from noodle_journal.anchors.postgres import PostgresSink  # noqa: PLC0415

            return PostgresSink(name)
        case "plugin":
            return _plugin(rest)
        case _:
            raise SinkFailed("this version knows no such sink")


def _plugin(name: str) -> Sink:
    from importlib.metadata import entry_points  # noqa: PLC0415

    known = {one.name: one for one in entry_points(group=PLUGINS)}
    found = known.get(name)
    if found is None:
        installed = ", ".join(sorted(known)) or "none"
        raise SinkFailed(f"there is no such plug-in; installed: {installed}")
    make: Callable[[], Sink] = found.load()
    return make()
