"""Each attack, as the person who audits is told of it: in the words of the command.

A real home, made by upgrades. docs/explanation/attacks.md has a row for each attack, and says what
is found with the home's key, with the public key alone, and with a checkpoint kept
elsewhere; this test holds the page to it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from noodle_engine import Noodle
from noodle_engine.cli.main import main
from noodle_journal.format.checkpoints import Checkpoint, LogSigner
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.records import HEADER
from noodle_journal.keys import KeyPurpose, MasterKey, parse_master_key
from noodle_journal.keys.ring import keys_of
from noodle_journal.storage.database import Connection
from noodle_journal.storage.keystore import Keystore
from tests.attacks.tampering import Victim, flip
from tests.unit.execute.site import Site
from tests.unit.journal.place import MEMORY

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "attacks.md"
ROW: Final = re.compile(
    r"^\| (?P<name>[^|]+?) \| (?P<key>[^|]+?) \| (?P<public>[^|]+?) \| ", re.MULTILINE
)
NOTHING: Final = "-"


@dataclass(frozen=True)
class Scene:
    """A home with two sessions, an older copy of it, another home, and a kept checkpoint."""

    home: Path
    older: Path
    other: Path
    live: Path
    note: Path
    public: Path


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    root = MEMORY if MEMORY.is_dir() else None
    with TemporaryDirectory(dir=root, prefix="noodle-told-") as folder:
        here = Path(folder)
        for name in ("one", "two"):
            (here / name).mkdir()
        site, other = Site(here / "one"), Site(here / "two")
        for one in (site, other):
            one.release("web", "1.0.0")
            one.release("web", "1.1.0")
            with one.open() as noodle:
                noodle.apply(["web@1.0.0"])
        shutil.copytree(site.path, here / "older")
        with site.open() as noodle:
            noodle.apply(["web@1.1.0"])
            (here / "note").write_text(noodle.audit_checkpoint().note or "")
            shutil.copytree(site.path, here / "live", ignore=shutil.ignore_patterns("socket"))
        yield Scene(
            site.path,
            here / "older",
            other.path,
            here / "live",
            here / "note",
            site.path / "keys" / "log.pub",
        )
        site.close()
        other.close()


@dataclass
class Struck:
    """A copy of the home that an attack may change."""

    scene: Scene
    folder: Path

    @property
    def hands(self) -> Victim:
        return Victim(self.folder)

    def change(self, column: str, at: int = 0, seq: int | None = None) -> None:
        """One bit of one value of a record."""
        with self.hands.journal() as connection:
            number = middle(connection) if seq is None else seq
            (value,) = connection.execute(
                f"SELECT {column} FROM record WHERE seq = ?", (number,)
            ).fetchone()
            changed = flip(bytes(value), at % len(value), 1)
            connection.execute(f"UPDATE record SET {column} = ? WHERE seq = ?", (changed, number))

    def signer(self) -> LogSigner:
        """The log's signing key, stolen with the master key."""
        key = parse_master_key((self.folder / "keys/master.key").read_text(), source="stolen")
        keystore = Keystore(self.folder, read_only=True)
        try:
            (log,) = keystore.log_keys()
            return LogSigner(MasterKey(key).unwrap(log, log_id=keystore.log_id))
        finally:
            keystore.close()


def middle(connection: Connection) -> int:
    """A record of an upgrade, within a commit's reach of both ends."""
    rows = connection.execute("SELECT seq FROM record WHERE tag <> zeroblob(12)").fetchall()
    return int(rows[len(rows) // 2][0])


def size(connection: Connection) -> int:
    return int(connection.execute("SELECT max(seq) FROM record").fetchone()[0])


def rewritten(connection: Connection, signer: LogSigner | None, log_id: bytes) -> None:
    """Chain and roots made consistent again; with the key, the signatures as well."""
    tree, previous = Frontier(), bytes(32)
    for seq in range(1, size(connection) + 1):
        header, clear, nonce, sealed, root = connection.execute(
            "SELECT header, clear, nonce, sealed, root FROM record WHERE seq = ?", (seq,)
        ).fetchone()
        header = header[:64] + previous
        previous = leaf_hash(header, clear or b"", nonce, sealed)
        tree.push(previous)
        connection.execute("UPDATE record SET header = ? WHERE seq = ?", (header, seq))
        if root is not None:
            made = tree.root()
            connection.execute("UPDATE record SET root = ? WHERE seq = ?", (made, seq))
            if signer is not None:
                text = Checkpoint(log_id, seq, made, b"").text.encode()
                connection.execute(
                    "UPDATE record SET signature = ? WHERE seq = ?", (signer.sign(text), seq)
                )


def log_id_of(connection: Connection) -> bytes:
    return bytes(connection.execute("SELECT log_id FROM log").fetchone()[0])


# -- the attacks ----------------------------------------------------------------------

Attack = Callable[[Struck], None]
ATTACKS: Final[dict[str, Attack]] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    def keep(made: Attack) -> Attack:
        ATTACKS[name] = made
        return made

    return keep


@attack("a changed bit in a header")
def _(struck: Struck) -> None:
    struck.change("header", 45)


@attack("a changed bit in a clear part")
def _(struck: Struck) -> None:
    struck.change("clear", 40, seq=1)


@attack("a changed bit in a nonce")
def _(struck: Struck) -> None:
    struck.change("nonce", 3)


@attack("a changed bit in what is sealed")
def _(struck: Struck) -> None:
    struck.change("sealed", 10)


@attack("a changed bit in the seal's tag")
def _(struck: Struck) -> None:
    struck.change("sealed", -1)


@attack("a deleted record")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        connection.execute("DELETE FROM record WHERE seq = ?", (middle(connection),))


@attack("a deleted record, the rest numbered anew")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        gone = middle(connection)
        connection.execute("DELETE FROM record WHERE seq = ?", (gone,))
        for seq in range(gone + 1, size(connection) + 1):
            connection.execute("UPDATE record SET seq = ? WHERE seq = ?", (seq - 1, seq))


@attack("two records in each other's place")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        one = middle(connection)
        connection.execute("UPDATE record SET seq = -1 WHERE seq = ?", (one,))
        connection.execute("UPDATE record SET seq = ? WHERE seq = ?", (one, one + 1))
        connection.execute("UPDATE record SET seq = ? WHERE seq = -1", (one + 1,))


@attack("an old record once more at the end")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        connection.execute(
            "INSERT INTO record (seq, header, clear, nonce, sealed, root, signature) "
            "SELECT ?, header, clear, nonce, sealed, root, signature FROM record WHERE seq = ?",
            (size(connection) + 1, middle(connection)),
        )


@attack("the last commits cut off")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        (end,) = connection.execute(
            "SELECT max(seq) FROM record WHERE root IS NOT NULL AND seq < ?", (middle(connection),)
        ).fetchone()
        connection.execute("DELETE FROM record WHERE seq > ?", (end,))


@attack("the write-ahead log removed")
def _(struck: Struck) -> None:
    living(struck)
    for path in struck.folder.glob("journal.db-*"):
        path.unlink()


@attack("a changed bit in the write-ahead log")
def _(struck: Struck) -> None:
    living(struck)
    path = struck.folder / "journal.db-wal"
    path.write_bytes(flip(path.read_bytes(), 60, 1))
    (struck.folder / "journal.db-shm").unlink(missing_ok=True)


def living(struck: Struck) -> None:
    """The files as they are while an engine has them open."""
    shutil.rmtree(struck.folder)
    shutil.copytree(struck.scene.live, struck.folder)
    assert (struck.folder / "journal.db-wal").stat().st_size > 0


@attack("an older journal.db put back")
def _(struck: Struck) -> None:
    shutil.copy(struck.scene.older / "journal.db", struck.folder / "journal.db")


@attack("the older journal and its keystore put back")
def _(struck: Struck) -> None:
    for name in ("journal.db", "keystore.db"):
        shutil.copy(struck.scene.older / name, struck.folder / name)


@attack("a record of another journal")
def _(struck: Struck) -> None:
    other = Victim(struck.scene.other)
    with other.journal() as source, struck.hands.journal() as connection:
        seq = middle(connection)
        row = source.execute(
            "SELECT header, nonce, sealed FROM record WHERE seq = ?", (middle(source),)
        ).fetchone()
        connection.execute(
            "UPDATE record SET header = ?, nonce = ?, sealed = ? WHERE seq = ?", (*row, seq)
        )


@attack("a forgery, all hashes made anew, without a key")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        seq = middle(connection)
        connection.execute(
            "UPDATE record SET sealed = zeroblob(length(sealed)) WHERE seq = ?", (seq,)
        )
        rewritten(connection, None, log_id_of(connection))


@attack("a forgery by who stole the signing key")
def _(struck: Struck) -> None:
    """Contents stay what they were under the same keys; a time in a header is another."""
    signer = struck.signer()
    with struck.hands.journal() as connection:
        seq = middle(connection)
        (header,) = connection.execute("SELECT header FROM record WHERE seq = ?", (seq,)).fetchone()
        fields = list(HEADER.unpack(header))
        fields[8] += 1_000_000_000
        connection.execute(
            "UPDATE record SET header = ? WHERE seq = ?", (HEADER.pack(*fields), seq)
        )
        rewritten(connection, signer, log_id_of(connection))


@attack("all signatures taken away")
def _(struck: Struck) -> None:
    with struck.hands.journal() as connection:
        connection.execute("UPDATE record SET root = NULL, signature = NULL")


@attack("an old record sealed anew with a newer key")
def _(struck: Struck) -> None:
    key = parse_master_key((struck.folder / "keys/master.key").read_text(), source="stolen")
    keystore = Keystore(struck.folder, read_only=True)
    newest = keystore.data_keys()[-1]
    stolen = keys_of(
        MasterKey(key).unwrap(newest, log_id=keystore.log_id),
        log_id=keystore.log_id,
        cipher="aes-256-gcm",
    )
    keystore.close()
    assert newest.purpose == KeyPurpose.DATA
    with struck.hands.journal() as connection:
        (seq,) = connection.execute(
            "SELECT min(seq) FROM record WHERE tag <> zeroblob(12)"
        ).fetchone()
        header, length = connection.execute(
            "SELECT header, length(sealed) FROM record WHERE seq = ?", (seq,)
        ).fetchone()
        nonce, sealed = stolen.seal(
            associated=header, padded=b"{}\x80".ljust(length - 16, b"\0"), random16=bytes(16)
        )
        connection.execute(
            "UPDATE record SET nonce = ?, sealed = ? WHERE seq = ?", (nonce, sealed, seq)
        )
        rewritten(connection, None, log_id_of(connection))


@attack("cut off, and continued with the real keys")
def _(struck: Struck) -> None:
    """Two copies of one home that both went on."""
    for name in ("journal.db", "keystore.db"):
        shutil.copy(struck.scene.older / name, struck.folder / name)
    kept = Victim(struck.scene.home)
    with Noodle.open(struck.folder) as noodle:
        noodle.take_over()
        for _ in range(8):
            noodle.rotate_key()
    with kept.keystore() as source, struck.hands.keystore() as connection:
        rows = source.execute("SELECT size, root, signature FROM head").fetchall()
        connection.executemany("INSERT OR IGNORE INTO head VALUES (?, ?, ?)", rows)


# -- what is told ------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    code: int
    damage: str | None
    text: str


def told(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Told:
    """What `noodle audit verify` answers, for a program and for a person."""
    command = ["--home", str(folder), "audit", "verify", *words]
    code = main([*command, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert main(command) == code
    text = capsys.readouterr().out
    assert answer.get("ok") is (code == 0), answer
    return Told(code, answer.get("damage"), text)


def rows() -> dict[str, dict[str, str]]:
    found = {match["name"]: match.groupdict() for match in ROW.finditer(PAGE.read_text())}
    return {name: row for name, row in found.items() if name not in ("attack", "---")}


def test_the_page_has_a_row_for_each_attack() -> None:
    assert list(rows()) == list(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_is_told_in_the_words_of_the_page(
    name: str, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "home"
    shutil.copytree(scene.home, folder, ignore=shutil.ignore_patterns("socket"))
    ATTACKS[name](Struck(scene, folder))
    with_key = told(folder, capsys)
    public = told(folder, capsys, "--public-key", str(scene.public))
    since = told(folder, capsys, "--since", str(scene.note), "--public-key", str(scene.public))
    row = rows()[name]
    assert (with_key.damage or NOTHING, public.damage or NOTHING) == (row["key"], row["public"])
    # Whoever kept a checkpoint elsewhere finds every one of them.
    assert since.code == 6
    assert since.damage is not None
    for one in (with_key, public, since):
        if one.damage is not None:
            assert one.code == 6
            assert "the journal is NOT what was written" in one.text
            assert re.search(r"first bad: .*\d", one.text), one.text
            assert re.search(r"  do:  +\S+ \S+", one.text), one.text
