"""Settings: layers, twins, reloading, and the way back under settings that do not parse.

Laws held here
S1  a higher layer beats a lower one; layering is associative
S2  the order of the sources of one layer does not matter; twins have one value
S4  resolving what was resolved changes nothing
X1  explain agrees with what is shown and in force, for every key
C1  any file that the schema takes loads; what it refuses, the loader refuses, at the same key
W1  what is in force was made of one whole file of each, through any storm of writes
W3  and is in the journal, once
"""

from __future__ import annotations

import copy
import json
import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from noodle_engine import Noodle
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.reloading import Reloading
from noodle_engine.machine.records import ConfigChanged
from noodle_policies.settings.explaining import Explanation, explain
from noodle_policies.settings.failures import ProblemKind, SettingsInvalid
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.reading.files import FILES, FileRead, Inputs
from noodle_policies.settings.resolving import Resolution, resolve
from noodle_policies.settings.showing import settings_view
from noodle_policies.settings.values import Values
from tests.breadth import sampled
from tests.laws.legal_values import legal_values, nested, other_value
from tests.memory import room
from tests.unit.policies.settings.test_schema import (
    refused_by_loader,
    refused_by_schema,
    validator_of_settings,
)

EXAMPLES = sampled(100)
LAYERS = ("home", "folder", "environment")
Said = dict[str, Any]
SWITCHES = set(catalogue().switches)
KEYS = [
    name
    for name, key in catalogue().keys.items()
    # What a switch turns off depends on the layer it was set in: a rule of its own.
    if name not in SWITCHES and len(legal_values(name)) > 1
]
"""Keys that can have another value than their default, without those that others rest on."""
RELATED = [
    name
    for name in KEYS
    if catalogue().keys[name].facts.twin or catalogue().keys[name].facts.general
]
"""Keys whose value another key can change: half of what is drawn."""
saids: st.SearchStrategy[Said] = st.lists(
    st.one_of(st.sampled_from(KEYS), st.sampled_from(RELATED)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(legal_values(name)))
    ),
    max_size=8,
).map(dict)


def inputs_of(
    layers: Sequence[Said | Sequence[Said]],
    variables: Mapping[str, str] | None = None,
    options: Sequence[tuple[str, str]] = (),
) -> Inputs:
    """Files in as many folders; where a layer is a list, a file for each of it."""
    names = LAYERS[: len(layers)]
    files = []
    for folder, said in zip(names, layers, strict=True):
        for name, content in zip(FILES, [said] if isinstance(said, dict) else said, strict=False):
            raw = json.dumps(nested(content)).encode()
            files.append(FileRead(f"{folder}/{name}", folder, raw))
    return Inputs(names, tuple(files), variables or {}, tuple(options))


def resolved(*layers: Said | Sequence[Said], **more: Any) -> Resolution:
    """What they make; an example whose values contradict each other is left out."""
    try:
        return resolve(inputs_of(layers, **more))
    except SettingsInvalid:
        assume(False)
        raise


def folded(*layers: Said) -> Said:
    """What some layers say together, as one layer says it: all that is no default."""
    found = resolved(*layers)
    return {name: found.values[name] for name in found.chosen}


@settings(max_examples=EXAMPLES, deadline=None)
@given(saids, saids, saids)
def test_layering_is_associative(low: Said, middle: Said, high: Said) -> None:
    """S1."""
    whole = resolved(low, middle, high).values
    assert resolved(folded(low, middle), high).values == whole
    assert resolved(low, folded(middle, high)).values == whole


@settings(max_examples=EXAMPLES, deadline=None)
@given(saids, saids)
def test_resolving_what_was_resolved_changes_nothing(low: Said, high: Said) -> None:
    """S4: all values, or all that is no default, as one file."""
    found = resolved(low, high)
    assert resolved(folded(low, high)).values == found.values
    every = {name: value for name, value in found.values.items() if value is not None}
    assert resolved(every).values == found.values
    assert resolved(folded(low, high), folded(low, high)).values == found.values


ROLLBACK = "self_improvement.runtime_upgrade_integration.rollback_enabled"
AUTOMATIC = "runtime_upgrade.rollback.automatic_rollback.trigger_threshold"


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(saids, min_size=2, max_size=6), st.randoms(use_true_random=False))
# A key under two switches: one contested, the other off.
@example([{AUTOMATIC: 0.25}, {ROLLBACK: True}, {ROLLBACK: False}], random.Random(4))
def test_the_order_of_the_sources_of_a_layer_does_not_matter(
    files: list[Said], chance: random.Random
) -> None:
    """S4: neither for what they make, nor for what is wrong with them."""
    shuffled = list(files)
    chance.shuffle(shuffled)
    assert outcome(inputs_of([files])) == outcome(inputs_of([shuffled]))
    texts = [
        (name, text) for said in files for name, value in said.items() if (text := written(value))
    ]
    variables = {f"NOODLE_{name}": text for name, text in texts}
    turned = dict(sorted(variables.items(), reverse=True))
    assert outcome(inputs_of([], variables)) == outcome(inputs_of([], turned))


def outcome(inputs: Inputs) -> Said | set[frozenset[str]]:
    """The values, or the keys that are wrong and how."""
    try:
        return dict(resolve(inputs).values)
    except SettingsInvalid as error:
        return {frozenset((problem.kind, *_pair(problem.text))) for problem in error.problems}


def _pair(text: str) -> Iterator[str]:
    """The keys that a problem names: which of two is named first is no matter."""
    words = text.replace(",", " ").replace(":", " ").split()
    return (word for word in words if word in catalogue().keys)


def written(value: Any) -> str:
    """A value as a variable has it; nothing for one that none can have."""
    if isinstance(value, bool):
        return "yes" if value else "off"
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


@settings(max_examples=EXAMPLES, deadline=None)
@given(saids, saids, saids)
def test_twins_have_one_value(low: Said, high: Said, variables: Said) -> None:
    """S2, in whatever layers they were said."""
    texts = {f"NOODLE_{name}": text for name, one in variables.items() if (text := written(one))}
    found = resolved(low, high, variables=texts)
    for members in catalogue().twins.values():
        first, *others = (found.values[name] for name in members)
        assert all(other == first for other in others)


@pytest.mark.parametrize("layer", ["file", "variable", "option"])
def test_every_key_can_be_set_in_every_layer(layer: str) -> None:
    """S1, key by key: what it is set to counts, and the layer below does not."""
    known = catalogue()
    for name, key in known.keys.items():
        value = other_value(name)
        if value is None:
            continue
        text = written(value)
        if not text and layer != "file":
            continue  # a text that says nothing is refused: no list is emptied by one
        below: list[Said] = [{}, {name: value}] if layer == "file" else [{}]
        variables = {f"NOODLE_{name}": text} if layer == "variable" else {}
        options = [(name, text)] if layer == "option" else []
        found = outcome(inputs_of(below, variables, options))
        if isinstance(found, dict):
            assert _plain(found[name]) == value, name
        else:
            # Alone it contradicts a default, and the refusal names it or a twin.
            names = {name, *known.twins_of(key)}
            assert all(names & about for about in found), (name, found)
        assert key.default != value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# -- what is explained, and what the schema takes -----------------------------------------


@settings(max_examples=sampled(16), deadline=None)
@given(saids, saids, saids)
def test_explain_agrees_with_show_for_every_key(low: Said, high: Said, variables: Said) -> None:
    """X1: one value, and of all that was said exactly one counts."""
    texts = {f"NOODLE_{name}": text for name, one in variables.items() if (text := written(one))}
    found = resolved(low, high, variables=texts)
    shown = settings_view(found)
    for name, value in found.values.items():
        told = explain(name, found)
        assert isinstance(told, Explanation)
        inner: Any = {**shown.settings, **shown.own}
        for part in name.split("."):
            inner = inner[part]
        assert told.value == inner == value, name
        counting = [one for one in told.said if one.counts]
        if told.kind != KIND_OF_MAPPINGS:
            assert [one.value for one in counting] == [value], name
            assert counting[0].layer == layer_of(found, name), name
        assert (told.inert is None) == (name not in found.inert)


KIND_OF_MAPPINGS = "mapping"


def layer_of(found: Resolution, name: str) -> str:
    chosen = found.chosen.get(name)
    return "default" if chosen is None else chosen.layer.name.lower()


WRONG = [None, True, -1, 0, 0.5, 1e300, 10**30, "", "one", "7 MB", [], ["one", ""], {}, {"x": 1}]
"""What may be legal for one key and is wrong for most."""
STRANGE = ["", "enabledd", "a b", "policies", "x" * 99, "\u00e9"]
files: st.SearchStrategy[Said] = st.lists(
    st.sampled_from(sorted(catalogue().keys)).flatmap(
        lambda name: st.tuples(
            st.one_of(
                st.just(name),
                st.just(name.rpartition(".")[0]),
                st.sampled_from(STRANGE).map(lambda last: f"{name.rpartition('.')[0]}.{last}"),
            ),
            st.one_of(st.sampled_from(legal_values(name)), st.sampled_from(WRONG)),
        )
    ),
    max_size=6,
).map(dict)


@settings(max_examples=EXAMPLES, deadline=None)
@given(files)
def test_the_schema_and_the_loader_refuse_the_same_keys(drawn: Said) -> None:
    """C1. What needs more than one key (a switch, a twin) is no matter of a schema."""
    content: dict[str, Any] = {}
    for name, value in drawn.items():
        put_into(content, name.split("."), value)
    refused = refused_by_schema(VALIDATOR, content)
    assert refused_by_loader(content) == refused
    found = Inputs(("a",), (FileRead("a/noodle.json", "a", json.dumps(content).encode()),), {})
    beyond = {ProblemKind.DEPENDENCY, ProblemKind.CONSISTENCY}
    try:
        resolve(found)
        kinds: set[ProblemKind] = set()
    except SettingsInvalid as error:
        kinds = {problem.kind for problem in error.problems}
    assert bool(kinds - beyond) == bool(refused)


VALIDATOR = validator_of_settings()


def put_into(content: dict[str, Any], way: Sequence[str], value: object) -> None:
    """Set a value, unless one that is no object stands on the way to it."""
    inner = content
    for part in way[:-1]:
        below = inner.setdefault(part, {})
        if not isinstance(below, dict):
            return
        inner = below
    inner[way[-1]] = copy.deepcopy(value)


# -- a storm of writes ------------------------------------------------------------------

WRITES = 1_000
LOOKS = 0.1
"""How many of the writes somebody looks after, beside the watcher."""
FIRST = "runtime_upgrade_manager.max_upgrade_history"
LAST = "noodle.clock_bound"


@dataclass
class Seen:
    """What was put into force, and what was recorded before that."""

    in_force: list[Values] = field(default_factory=list)
    changes: list[ConfigChanged] = field(default_factory=list)
    news: threading.Event = field(default_factory=threading.Event)

    def take(self, values: Values) -> None:
        self.in_force.append(values)
        self.news.set()


def page(number: int) -> bytes:
    """A settings file longer than a page of memory: its number is at both ends."""
    begin, end = nested({FIRST: number}), nested({LAST: float(number)})
    return (json.dumps(begin)[:-1] + "," + " " * 9_000 + json.dumps(end)[1:]).encode()


def test_a_storm_of_writes_never_shows_a_mix() -> None:
    """W1, W3: a thousand writes, half of them torn, under the real watcher."""
    chance = random.Random(5)
    seen = Seen()
    with room("noodle-storm-") as folder:
        Noodle.init(folder / "home")
        home = Home(folder / "home")
        path = home.config / "noodle.json"
        reloading = Reloading(home, {}, (), record=seen.changes.append, take=seen.take)
        reloading.look()
        reloading.start()
        reloading.hurry()
        try:
            for number in range(1, WRITES + 1):
                whole = page(number)
                if number % 2:  # in place, and cut off somewhere: as if who writes it died
                    path.write_bytes(whole[: chance.randrange(len(whole))])
                else:
                    beside = path.with_suffix(".new")
                    beside.write_bytes(whole)
                    os.replace(beside, path)
                if chance.random() < LOOKS:
                    reloading.look()
            seen.news.clear()
            if seen.in_force[-1].whole(FIRST) != WRITES:
                assert seen.news.wait(30)
        finally:
            reloading.close()
    pairs = [(one.whole(FIRST), one.number(LAST)) for one in seen.in_force[1:]]
    assert len(pairs) > 10  # the storm was seen, and not only its end
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
    assert [first for first, _ in pairs] == sorted(first for first, _ in pairs)
    assert pairs[-1][0] == WRITES
    accepted = [one.new_hash for one in seen.changes if one.accepted]
    taken = [one.hash for one in seen.in_force[1:]]
    assert [one for one, _ in zip(accepted, taken, strict=False) if one not in taken] == []
    for before, after in zip(seen.changes, seen.changes[1:], strict=False):
        assert before != after
