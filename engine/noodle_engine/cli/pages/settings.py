"""The page of settings: every key and every variable, made from the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.model.root import OWN_SECTION
from noodle_policies.settings.reading.files import FILES, KNOWN_VARIABLES
from noodle_policies.settings.starting import file_of
from noodle_policies.settings.values import value_text

__all__ = ["settings_page"]

_HEAD = """\
# Settings

What each setting does, and what may be written. `noodle config explain KEY` tells the same of one,
and what it is here, where that comes from, and what it rests on. How files, variables and options
add up stands in [the guide](../guide/settings.md); the form of a file in
[settings.schema.json](../../specs/settings.schema.json).

*Live*: a change counts for running upgrades too; the others are fixed when an upgrade is requested.
*Not yet*: nothing in this version obeys it, which `noodle config show` says where it is set.
A key may stand in any of the files; the one named is the custom. Every key can also be set by the
variable `NOODLE_` and its name, and by `--set KEY=VALUE`.

Made from the model by `python -m noodle_engine.cli.pages`; do not edit.
"""


def settings_page() -> str:
    """The page, in Markdown."""
    known = catalogue()
    keys = list(known.keys.values())
    own = [key for key in keys if key.own]
    given = [key for key in keys if not key.own]
    sections = list(dict.fromkeys(_top(key) for key in given))
    lines = [_HEAD, "Files: " + ", ".join(f"`{name}`" for name in FILES) + ".", ""]
    lines.append("Sections: " + ", ".join(f"[{one}](#{one})" for one in sections) + ".")
    for section, group in groupby(given, key=_top):
        lines += ["", *_section(section, group)]
    lines += ["", "## Noodle's own options", "", f"Section `{OWN_SECTION}`. {_says(OWN_SECTION)}"]
    lines += ["", *_table(own)]
    lines += ["", "## Variables", "", *_variables()]
    return "\n".join(lines) + "\n"


def _top(key: Key) -> str:
    return key.name.partition(".")[0]


def _says(section: str) -> str:
    return catalogue().section_says(section)


def _section(section: str, keys: Iterable[Key]) -> Iterator[str]:
    found = list(keys)
    yield f"## {section}"
    yield ""
    yield f"{_says(section)} By custom in `{file_of(section)}`."
    yield ""
    yield from _table(found)


def _table(keys: Iterable[Key]) -> Iterator[str]:
    yield "| key | default | legal | |"
    yield "|---|---|---|---|"
    for key in keys:
        yield f"| `{key.name}` | {_code(value_text(key.default))} | {_legal(key)} | {_words(key)} |"


def _legal(key: Key) -> str:
    words = key.bounds if key.kind == "boolean" else f"{key.kind}: {key.bounds}"
    return _cell(f"{words} ({key.facts.unit})" if key.facts.unit else words)


def _words(key: Key) -> str:
    known = catalogue()
    facts = key.facts
    words = [f"{facts.says}."]
    if facts.variables:
        words.append(f"Variable: {', '.join(f'`{one}`' for one in facts.variables)}.")
    twins = known.twins_of(key)
    if twins:
        words.append(f"The same as {', '.join(f'`{one}`' for one in twins)}.")
    if facts.general is not None:
        words.append(f"`{facts.general}` counts where it is set in a higher layer.")
    if facts.stricter:
        other = ", ".join(f"`{one}`" for one in facts.stricter)
        words.append(f"{other} bounds the same thing: the stricter counts.")
    if facts.rests_on:
        words.append(f"Rests on {', '.join(f'`{one}`' for one in facts.rests_on)}.")
    if facts.live:
        words.append("*Live.*")
    if known.reader_of(key) is None:
        words.append("*Not yet.*")
    return _cell(" ".join(words))


def _variables() -> Iterator[str]:
    yield "A variable is read by the kind of the key that it sets: `1`, `0`, `true`, `false`,"
    yield "`yes`, `no`, `on`, `off` for a switch, numbers, lists with commas. One that is set to"
    yield "nothing, or that begins with `NOODLE_` and is none of these, is an error."
    yield ""
    yield "| variable | sets |"
    yield "|---|---|"
    for variable, keys in catalogue().variables.items():
        yield f"| `{variable}` | {', '.join(f'`{one}`' for one in keys)} |"
    for variable, says in KNOWN_VARIABLES.items():
        yield f"| `{variable}` | no key. {_cell(says)}. |"


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
