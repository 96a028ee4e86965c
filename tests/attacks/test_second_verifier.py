"""specs/journal-format.md says enough: the verifier written from it agrees with the product."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import Final

import pytest

from noodle_engine import Noodle
from noodle_journal import verify
from noodle_journal.format.canonical import encode, pad
from noodle_journal.format.checkpoints import note_text
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import Kind, NewRecord
from noodle_journal.format.sealing import EpochKeys, Tagger
from noodle_journal.keys import load_master_key, read_public_key
from noodle_journal.storage.schema import JOURNAL
from tests.attacks import second_verifier
from tests.attacks.tampering import COMMIT_ENDS, SIZE, Victim, flip
from tests.unit.journal.place import MASTER_KEY, Place

PAGE: Final = Path(__file__).resolve().parents[2] / "specs" / "journal-format.md"
COLUMNS: Final = ("header", "clear", "nonce", "sealed", "root", "signature")
WITH_KEY: Final = pytest.mark.parametrize("with_key", [True, False], ids=["key", "public only"])


def both(folder: Path, *, master: bytes | None) -> tuple[int, str | None]:
    """What both say: the first bad record and its kind, or the size and None."""
    public = read_public_key(folder / "keys" / "log.pub")
    report = verify(folder, master_key=master, public_key=public)
    bad = report.first_bad
    first = (report.size, None) if bad is None else (bad.seq, bad.kind.value)
    second = second_verifier.verify(folder, public, master)
    assert second == first
    return first


def test_it_shares_no_code_with_the_product() -> None:
    tree = ast.parse(Path(second_verifier.__file__).read_text())
    names = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names
    assert not [name for name in names if name.startswith(("noodle", "tests"))]


@WITH_KEY
def test_both_find_a_sound_journal_sound(victim: Victim, *, with_key: bool) -> None:
    assert both(victim.folder, master=MASTER_KEY if with_key else None) == (SIZE, None)


@WITH_KEY
def test_both_agree_on_a_journal_of_many_epochs_groups_and_sizes(
    tmp_path: Path, *, with_key: bool
) -> None:
    chance, size = random.Random(1), 0
    place = Place(tmp_path, 5).create()
    for _ in range(5):
        with place.open() as journal:
            for _ in range(chance.randrange(1, 20)):
                journal.append(
                    [
                        NewRecord(
                            Kind.NOTE,
                            chance.choice([None, "01J00000000000000000000000"]),
                            {"text": '\x00\x1f"\\é\u2028' * chance.randrange(40), "n": 1.5},
                        )
                        for _ in range(chance.randrange(1, 9))
                    ],
                    head=chance.choice([True, False]),
                )
            size = journal.size
    assert both(tmp_path, master=MASTER_KEY if with_key else None) == (size, None)


@WITH_KEY
def test_both_agree_on_the_journal_of_a_real_upgrade(tmp_path: Path, *, with_key: bool) -> None:
    release = tmp_path / "release"
    release.mkdir()
    (release / "file").write_text("new")
    (release / "noodle.toml").write_text(
        'format = 1\n[component]\nname = "web"\nversion = "1.0.0"\nkind = "file"\n'
        f'[payload]\npath = "file"\n[target]\npath = "{tmp_path / "live"}"\n'
    )
    home = tmp_path / "home"
    Noodle.init(home)
    with Noodle.open(home) as noodle:
        noodle.add(release)
        noodle.apply(["web@1.0.0"])
        size = noodle.status().journal.size
    key = load_master_key(variable=None, file=home / "keys" / "master.key")
    assert both(home, master=key if with_key else None) == (size, None)


@WITH_KEY
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("seq", range(1, SIZE + 1))
def test_both_name_the_same_record_and_kind_for_a_changed_byte(
    victim: Victim, seq: int, column: str, *, with_key: bool
) -> None:
    with victim.journal() as connection:
        query = f"SELECT {column} FROM record WHERE seq = ?"
        value = connection.execute(query, (seq,)).fetchone()[0]
        if value is None:
            return
        at = random.Random(seq).randrange(len(value))
        change = f"UPDATE record SET {column} = ? WHERE seq = ?"
        connection.execute(change, (flip(value, at, 0x01), seq))
    both(victim.folder, master=MASTER_KEY if with_key else None)


@WITH_KEY
@pytest.mark.parametrize("seq", range(1, SIZE + 1))
def test_both_name_the_same_record_and_kind_for_one_that_is_gone(
    victim: Victim, seq: int, *, with_key: bool
) -> None:
    with victim.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq = ?", (seq,))
    both(victim.folder, master=MASTER_KEY if with_key else None)


@WITH_KEY
@pytest.mark.parametrize("seq", range(2, SIZE + 1))
def test_both_name_the_same_record_and_kind_for_a_cut_tail(
    victim: Victim, seq: int, *, with_key: bool
) -> None:
    with victim.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq >= ?", (seq,))
    found = both(victim.folder, master=MASTER_KEY if with_key else None)
    # Whole commits above the last head can be cut unseen: the page says so.
    assert found[1] is not None or seq - 1 in COMMIT_ENDS


def test_the_pages_test_vector_is_what_the_code_makes() -> None:
    log_id, leaf = bytes(range(16)), leaf_hash(bytes(96), b"", bytes(12), bytes(80))
    tree = Frontier()
    tree.push(leaf)
    tree.push(leaf)
    text = note_text(log_id=log_id, size=2, root=tree.root())
    wanted = (
        EpochKeys(data_key=b"\x11" * 32, log_id=log_id).commitment.hex(),
        Tagger(b"\x22" * 32).tag("01J00000000000000000000000").hex(),
        pad(encode({"a": 1})[0]).hex(),
        leaf.hex(),
        tree.root().hex(),
        text.encode().hex(),
    )
    page = PAGE.read_text()
    assert [value for value in wanted if f"`{value}`" not in page] == []


def test_the_page_has_the_schema_of_the_records() -> None:
    page = PAGE.read_text()
    tables = [one for one in JOURNAL.schema if one.startswith("CREATE TABLE")]
    assert len(tables) == 3
    assert [one for one in tables if one not in page] == []
