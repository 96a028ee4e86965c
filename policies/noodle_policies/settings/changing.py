"""What else changes with a key, and how it is changed: the words of `noodle config explain`.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from noodle_policies.settings.checks import below_switch
from noodle_policies.settings.model.catalogue import Key, catalogue
from noodle_policies.settings.reading.files import PREFIX
from noodle_policies.settings.resolving import Resolution
from noodle_policies.settings.starting import file_of
from noodle_policies.settings.values import nested, value_text

__all__ = ["changes_of", "resting_on", "ways_of"]

NAMED_MAX: Final = 8
"""How many keys a sentence names."""


class Counting(Protocol):
    """What counts of all that is said of a key."""

    @property
    def layer(self) -> str:
        """option, variable, file or default."""

    @property
    def place(self) -> str:
        """Where it stands."""


def resting_on(key: Key, found: Resolution) -> Iterator[str]:
    """The keys that have no effect while a switch is off: its twins are off with it."""
    same = (key.name, *catalogue().twins_of(key))
    told = dict.fromkeys(name for one in same for name in below_switch(one, found.values))
    yield from (name for name in told if name not in same)


def changes_of(key: Key, found: Resolution) -> Iterator[str]:
    """What else would be different under another value, beside what the key says."""
    known = catalogue()
    facts = key.facts
    twins = known.twins_of(key)
    if twins:
        yield f"{_listed(twins)} would change with it: in one layer unequal twins are an error"
    specific = [one.name for one, general in known.specific if general == key.name]
    if specific:
        yield f"{_listed(specific)} would follow, where not set in the same layer or a higher one"
    resting = tuple(resting_on(key, found))
    if resting and found.values.get(key.name):
        yield (
            f"off, it takes all effect from {_listed(resting)}; those that are set to another "
            "value than their default are errors then"
        )
    elif resting:
        yield f"on, it gives effect to {_listed(resting)}"
    for other in facts.stricter:
        value = value_text(found.values.get(other))
        yield f"{other} ({value}) bounds the same thing; the stricter of the two counts"
    if key.name in found.inert:
        yield f"no change has an effect while {found.inert[key.name]} is off"
    if facts.live:
        yield "a change counts at once, for upgrades that are running too"
    else:
        yield "a change counts for upgrades requested after it; running ones keep what they have"


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    if len(found) > NAMED_MAX:
        return f"{', '.join(found[:NAMED_MAX])} and {len(found) - NAMED_MAX} more"
    if len(found) > 1:
        return f"{', '.join(found[:-1])} and {found[-1]}"
    return found[0]


def ways_of(key: Key, found: Resolution, first: Counting) -> Iterator[str]:
    """How to change it, what counts most first, and what stands in the way."""
    other = value_text(_another(key, found.values.get(key.name, key.default)))
    text = other.strip('"') if key.kind == "string" else other
    text = ",".join(json.loads(other)) if key.kind == "list" and not key.structured else text
    yield f"for one command: noodle --set '{key.name}={text}' ..."
    over = " (the option --set counts more, and is given now)" if first.layer == "option" else ""
    # A shell exports no name with dots in it.
    by_name = f"env '{PREFIX}{key.name}={text}' noodle ..."
    ways = [*(f"{variable}='{text}'" for variable in key.facts.variables), by_name]
    yield f"by a variable: {', or '.join(ways)}{over}"
    if first.layer in {"option", "variable"}:
        over = f" ({first.place} counts more, and is given now)"
    content = json.dumps(nested({key.name: json.loads(other)}))
    layers = found.inputs.layers
    where = f", such as {layers[0]}/{file_of(key.name)}" if layers else ""
    where = f", as in {first.place}" if first.layer == "file" else where
    yield f"in a file{where}: {content}{over}"


def _another(key: Key, value: Any) -> Any:
    """Another legal value, to show how one is written; the same where none is sure."""
    if isinstance(value, bool):
        return not value
    if key.choices and key.kind == "string":
        return next((one for one in key.choices if one != value), value)
    return key.default
