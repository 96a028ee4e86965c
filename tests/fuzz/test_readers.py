"""Every reader of stored or exported bytes: it takes what was written, and refuses as it says."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noodle_journal.exports.checking import check_export
from noodle_journal.exports.manifest import LINES, Form
from noodle_journal.format.canonical import pad
from tests.breadth import sampled
from tests.fuzz.readers import FORMS, READERS, REFUSALS, SIGNER, first_record, seeds, signed_export

SEEDS = tuple(seeds())
ODD = (b"", b"\0", b'"', b"\\", b"\xff", b"{}", b"1e9", b"-0", b"\n", b"9" * 30, b"\xed\xa0\x80")


@pytest.mark.parametrize(("name", "data"), SEEDS, ids=[name for name, _ in SEEDS])
def test_a_reader_takes_what_was_written(name: str, data: bytes) -> None:
    with contextlib.ExitStack() as allowed:
        if name == "row":  # its tag and place are right, and its clear part may be cut
            allowed.enter_context(contextlib.suppress(*REFUSALS))
        READERS[name](data)


@pytest.mark.parametrize("form", FORMS)
def test_the_seed_of_an_export_is_sound(form: Form, tmp_path: Path) -> None:
    """Otherwise the fuzzer would see no more of the reader than its first look."""
    first, leaf = first_record()
    for name, content in signed_export(form, LINES[form](first, leaf, None)):
        (tmp_path / name).write_bytes(content)
    checked = check_export(tmp_path, public_key=SIGNER.public_key)
    assert checked.form is form
    assert checked.report.ok, checked.report


def test_every_reader_has_a_seed() -> None:
    assert {name for name, _ in SEEDS} == set(READERS)


FOUND = {
    "an integer of more than 64 bits": ("canonical", b'{"a":18446744073709551616}'),
    "one below the least of 64 bits": ("canonical", b'{"a":-9223372036854775809}'),
    "an integer of more than 64 bits, padded": ("padded", pad(b'{"a":18446744073709551616}')),
    "an integer of more than 64 bits in an export": (
        "manifest",
        dict(SEEDS)["manifest"].replace(b'"format":1', b'"format":18446744073709551616'),
    ),
}
"""What `make fuzz` has found, for ever."""


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found_is_refused_as_the_reader_says(case: str) -> None:
    name, data = FOUND[case]
    with pytest.raises(REFUSALS):
        READERS[name](data)


@settings(max_examples=sampled(400))
@given(data=st.data())
def test_a_reader_refuses_as_it_says_whatever_is_changed(data: st.DataObject) -> None:
    name, sound = data.draw(st.sampled_from(SEEDS))
    at = data.draw(st.integers(0, len(sound)))
    until = data.draw(st.integers(at, min(len(sound), at + 40)))
    other = data.draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=20)))
    with contextlib.suppress(*REFUSALS):
        READERS[name](sound[:at] + other + sound[until:])
