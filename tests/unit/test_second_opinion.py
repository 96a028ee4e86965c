"""The journals that tests make are found, and the second verifier is really asked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.attacks import second_verifier
from tests.attacks.tampering import Victim, flip, make_journal
from tests.second_opinion import ENTRIES_MAX, Opinions, homes_in
from tests.unit.journal.place import MASTER_KEY


def test_homes_are_found_below_what_a_test_was_given(tmp_path: Path) -> None:
    home = tmp_path / "some" / "home"
    home.mkdir(parents=True)
    place = make_journal(home)
    crowd = tmp_path / "crowd"
    crowd.mkdir()
    for number in range(ENTRIES_MAX + 1):
        (crowd / str(number)).touch()
    assert homes_in({"tmp_path": tmp_path, "number": 3}) == [(home, None)]
    assert homes_in({"place": place, "tmp_path": tmp_path}) == [(home, MASTER_KEY)]
    assert homes_in({"tmp_path": crowd}) == []


def test_a_journal_of_which_both_say_the_same_is_no_difference(tmp_path: Path) -> None:
    make_journal(tmp_path)
    with closing(Opinions()) as opinions:
        assert opinions.differing(tmp_path, MASTER_KEY) is None
        with Victim(tmp_path).journal() as connection:
            sealed = connection.execute("SELECT sealed FROM record WHERE seq = 5").fetchone()[0]
            changed = (flip(sealed, 3, 1),)
            connection.execute("UPDATE record SET sealed = ? WHERE seq = 5", changed)
        public = bytes.fromhex((tmp_path / "keys/log.pub").read_text())
        assert second_verifier.verify(tmp_path, public, MASTER_KEY) == (5, "forged")
        assert opinions.differing(tmp_path, MASTER_KEY) is None
        assert opinions.checked == 2
