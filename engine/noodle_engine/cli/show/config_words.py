"""The answers of `noodle config`, as lines for a person."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_policies.settings.explaining import Explanation, KeyLine, Listing, Said
from noodle_policies.settings.showing import DifferencesView, SettingsView, ValidatedView
from noodle_policies.settings.values import value_text

__all__ = [
    "difference_lines",
    "explanation_lines",
    "listing_lines",
    "settings_lines",
    "validated_lines",
]

WIDTH_MAX: Final = 100
LABEL_WIDTH: Final = 10
VALUE_LETTERS_MAX: Final = 60
SAID_WIDTH_MAX: Final = 20
LAYERS: Final = ("option", "variable", "file", "default")


def settings_lines(out: Invocation, view: SettingsView) -> Iterator[str]:
    """Every setting, one a line, own options apart; then what is worth saying."""
    yield from _flat_lines(out, view.settings, view)
    if view.own:
        yield ""
        yield out.style("Noodle's own options:", "strong")
        yield from _flat_lines(out, view.own, view)
    if not (view.settings or view.own):
        yield "every setting is at its default"
    if not out.quiet:
        yield ""
        yield f"{len(view.changed)} not at their default; from {_sources(view)}"
        yield from (f"note: {clean(one)}" for one in view.warnings)


def _flat_lines(out: Invocation, values: Mapping[str, Any], view: SettingsView) -> Iterator[str]:
    for key, value in _flat(values, ""):
        place = view.origins.get(key)
        switch = view.inert.get(key)
        words = [] if place is None else [clean(place)]
        if switch is not None:
            words.append(f"no effect: {switch} is off")
        said = f"  {out.style('# ' + ', '.join(words), 'faint')}" if words else ""
        yield f"{clean(key)} = {clean(value_text(value))}{said}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    from noodle_policies.settings.model.catalogue import catalogue  # noqa: PLC0415

    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and catalogue().find(key) is None:
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _sources(view: SettingsView) -> str:
    count = len(view.files)
    files = f"{count} file{'' if count == 1 else 's'}"
    where = f" in {', '.join(clean(one) for one in view.folders)}" if view.folders else ""
    named = f", environment {view.environment}" if view.environment else ""
    return f"{files}{where}{named}"


# -- explain ------------------------------------------------------------------------------


def explanation_lines(out: Invocation, view: Explanation) -> Iterator[str]:
    """One key: what it is, why, and what would change."""
    days = "day" if view.value == 1 else "days"
    unit = f" {view.unit.replace('day', days)}" if view.unit else ""
    yield f"{out.style(clean(view.key), 'strong')} = {_short(view.value)}{unit}"
    yield from _wrapped(f"{view.says}.", "  ")
    yield ""
    if view.problems_in_all:
        yield from _row(
            "unusable",
            f"{view.problems_in_all} problem{'s' if view.problems_in_all > 1 else ''} in the "
            "settings: none of them is in force, and nothing goes forward. What follows is as if "
            "the wrong ones were not there; `noodle config validate` names all",
        )
        for problem in view.problems:
            yield from _row("wrong", problem)
    yield from _row("why", view.why)
    yield from _said_lines(view)
    yield from _row("legal", f"{view.legal}{f' ({view.unit})' if view.unit else ''}")
    if view.inert is not None:
        yield from _row("effect", f"none: {view.inert_why}")
    elif view.reader is None:
        yield from _row("effect", "none yet: nothing in this version obeys it")
    if view.reader is not None:
        yield from _row("obeyed by", view.reader)
    if view.rests_on:
        yield from _row("rests on", ", ".join(view.rests_on))
    if view.twins:
        yield from _row("same as", ", ".join(view.twins))
    if view.general is not None:
        yield from _row("general", f"{view.general} counts where it is set in a higher layer")
    for label, texts in (("changing", view.changes), ("to set", view.ways)):
        for index, text in enumerate(texts):
            yield from _row(label if index == 0 else "", text)


def _said_lines(view: Explanation) -> Iterator[str]:
    rows = sorted([*_silent(view.said), *view.said], key=lambda one: LAYERS.index(one.layer))
    values = [_short(one.value) if one.why else "-" for one in rows]
    width = min(max(len(value) for value in values), SAID_WIDTH_MAX)
    for index, (one, value) in enumerate(zip(rows, values, strict=True)):
        label = "said by" if index == 0 else ""
        under = f", as {one.key}" if one.key != view.key else ""
        first = f"  {label:<{LABEL_WIDTH}} {one.layer:<9} {value:<{width}}"
        yield f"{first}  {clean(one.place)}{under}" if one.place else first.rstrip()
        if one.why and one.place:
            verdict = "counts" if one.counts else "does not count"
            yield from _wrapped(f"{verdict}: {one.why}", " " * (LABEL_WIDTH + 13))


def _silent(said: tuple[Said, ...]) -> Iterator[Said]:
    """A line for each layer that says nothing."""
    spoken = {one.layer for one in said}
    for layer in LAYERS[:-1]:
        if layer not in spoken:
            yield Said(layer, "", "", None, counts=False, why="")


def _row(label: str, text: str) -> Iterator[str]:
    first = f"  {label:<{LABEL_WIDTH}} "
    yield from _wrapped(text, first, " " * len(first))


def _wrapped(text: str, first: str, later: str | None = None) -> Iterator[str]:
    width = min(shutil.get_terminal_size((WIDTH_MAX, 1)).columns, WIDTH_MAX)
    yield from textwrap.wrap(
        clean(text),
        width,
        initial_indent=first,
        subsequent_indent=first if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _short(value: object) -> str:
    text = clean(value_text(value))
    return text if len(text) <= VALUE_LETTERS_MAX else f"{text[:VALUE_LETTERS_MAX]}..."


def listing_lines(out: Invocation, view: Listing) -> Iterator[str]:
    """A section or a variable: its keys, each with its sentence."""
    yield out.style(clean(view.name), "strong")
    if view.says:
        yield from _wrapped(view.says, "  ")
    for one in view.keys:
        yield ""
        yield f"{clean(one.key)} = {_short(one.value)}{_marks(one)}"
        yield from _wrapped(f"{one.says}.", "  ")
    if view.problems_in_all:
        yield ""
        count = view.problems_in_all
        problems = f"{count} problem{'' if count == 1 else 's'}"
        yield f"{problems} in the settings: `noodle config validate` names all"


def _marks(one: KeyLine) -> str:
    words = [clean(one.place)] if one.place else []
    if one.inert is not None:
        words.append(f"no effect: {one.inert} is off")
    return f"  # {', '.join(words)}" if words else ""


# -- validate and diff -----------------------------------------------------------------------


def validated_lines(out: Invocation, view: ValidatedView) -> Iterator[str]:
    """What is wrong, each on its own line; or what was looked at."""
    for one in view.problems:
        place = f"{clean(one.place)}: " if one.place else ""
        yield f"{out.style('wrong:', 'bad')} {place}{clean(one.text)} [{one.kind}]"
    for warning in view.warnings:
        yield f"{out.style('note:', 'warn')} {clean(warning)}"
    for path in view.unread:
        note = out.style("note:", "warn")
        yield f"{note} {clean(path)} is not read: no settings file has that name"
    count = len(view.files)
    where = ", ".join(clean(one) for one in view.folders) or "no folder"
    files = f"{count} file{'' if count == 1 else 's'} in {where}"
    named = [one for one in view.environments if one != "none"]
    beside = f", environment {', '.join(named)}" if named else ""
    if view.valid:
        yield f"{out.style('all settings can be used', 'good')}: {files}{beside}"
    else:
        wrong = len(view.problems)
        yield f"{wrong} problem{'' if wrong == 1 else 's'} in {files}{beside}"


def difference_lines(out: Invocation, view: DifferencesView) -> Iterator[str]:
    """The keys that differ, and where each value comes from."""
    for row in view.differing:
        yield out.style(clean(row.key), "strong")
        yield f"  - {_short(row.one)}{_from(row.one_place)}"
        yield f"  + {_short(row.other)}{_from(row.other_place)}"
    count = len(view.differing)
    if count == 0:
        yield f"{clean(view.one)} and {clean(view.other)} make the same settings"
    elif not out.quiet:
        word = "setting differs" if count == 1 else "settings differ"
        yield f"{count} {word}: - {clean(view.one)}, + {clean(view.other)}"


def _from(place: str) -> str:
    return f"  # {clean(place)}" if place else "  # default"
