"""Laws X1 to X3: an export says what the journal says, to who has the public key only.

Each verdict is asked of the product and of the verifier that was written from the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from noodle_journal import DamageKind, NoodleError, parse_note, read_public_key, verify
from noodle_journal.exports.checking import check_export
from noodle_journal.exports.manifest import (
    MANIFEST_NAME,
    PAYLOAD_TYPE,
    Form,
    Manifest,
    Segment,
    encode_manifest,
    full_line,
    segment_name,
)
from noodle_journal.exports.writing import export
from noodle_journal.failures import CheckpointAbsent, ExportUnreadable, JournalDamaged
from noodle_journal.format.checkpoints import Checkpoint, LogSigner
from noodle_journal.format.envelopes import open_envelope, seal_envelope
from noodle_journal.format.merkle import Frontier, leaf_hash
from noodle_journal.format.notes import LogKey
from noodle_journal.keys.ring import KeyRing
from noodle_journal.storage.keystore import Keystore
from noodle_journal.verification.run import Slices
from tests.attacks import second_verifier
from tests.attacks.tampering import RUN, SIZE, Copies, Victim, flip, make_journal
from tests.breadth import sampled
from tests.unit.journal.place import MASTER_KEY, Place, note

FORMS = pytest.mark.parametrize("form", list(Form), ids=lambda form: form.value)


def hidden(_kind: int, body: Any) -> dict[str, Any]:
    return dict.fromkeys(body, "#")


def exported(folder: Path, into: Path, form: Form = Form.FULL) -> Path:
    into.mkdir(exist_ok=True)
    export(folder, into, master_key=MASTER_KEY, form=form, redact=hidden)
    return into


def key_of(folder: Path) -> bytes:
    return read_public_key(folder / "keys" / "log.pub")


def verdict(out: Path, key: bytes) -> tuple[int, str | None]:
    """What both say: the first bad record and its kind, or the size and None."""
    report = check_export(out, public_key=key).report
    bad = report.first_bad
    first = (report.size, None) if bad is None else (bad.seq, bad.kind.value)
    assert second_verifier.check_export(out, key) == first
    return first


def signer_of(folder: Path) -> LogSigner:
    with closing(Keystore(folder, read_only=True)) as keystore:
        return KeyRing(keystore=keystore, master_key=MASTER_KEY).signer


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal, and an export of each form beside it."""
    folder = tmp_path_factory.mktemp("sound")
    make_journal(folder)
    for form in Form:
        exported(folder, folder / form.value, form)
    return folder


@FORMS
def test_an_export_of_a_sound_journal_is_sound_and_has_its_root(sound: Path, form: Form) -> None:
    out = sound / form.value
    assert verdict(out, key_of(sound)) == (SIZE, None)
    found = check_export(out, public_key=key_of(sound), every_signature=True)
    assert found.form is form
    assert found.report.root == verify(sound).root
    assert found.report.known_up_to == SIZE


@FORMS
def test_the_same_checkpoint_gives_the_same_bytes(sound: Path, tmp_path: Path, form: Form) -> None:
    again = exported(sound, tmp_path / "again", form)
    for path in (sound / form.value).iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_a_full_export_has_what_was_sealed_and_the_others_have_no_ciphertext(sound: Path) -> None:
    text = (sound / "full" / segment_name(1)).read_text()
    lines = [json.loads(one) for one in text.splitlines()]
    with Place(sound).reader() as reader:
        assert [one["body"] for one in lines] == [dict(one.body) for one in reader.read()]
    for form in (Form.REDACTED, Form.HASHES):
        text = (sound / form.value / segment_name(1)).read_text()
        assert not [one for one in lines if one["record"]["sealed"] in text]
        assert RUN not in text
        assert "swap" not in text


@FORMS
def test_no_changed_byte_of_an_export_passes_and_both_name_the_same(
    sound: Path, tmp_path: Path, form: Form
) -> None:
    out, key = tmp_path / "out", key_of(sound)
    shutil.copytree(sound / form.value, out)
    for path in sorted(out.iterdir()):
        data = path.read_bytes()
        for at in range(3, len(data), max(1, len(data) // 60)):
            path.write_bytes(flip(data, at, 0x01))
            assert verdict(out, key)[1] is not None, (path.name, at)
        path.write_bytes(data)
    assert verdict(out, key) == (SIZE, None)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every object and list in a value with each of its keys."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            inner += [(value, key), *places(value[key])]
    return inner


def other(value: Any, chance: random.Random) -> Any:
    """A value that is not this one, and still JSON."""
    match value:
        case None:
            return chance.choice(["00" * 32, 0, {}])
        case bool():
            return not value
        case int():
            return chance.choice([value + 1, -value - 1, str(value), None, 2**64])
        case str():
            at = chance.randrange(len(value) + 1)
            letter = chance.choice("0123456789abcdefgA ")
            changed = value[:at] + letter + value[at + 1 :]
            return chance.choice([None, value + "00", value[:-2], changed])
        case list():
            return chance.choice([value[:-1], value + value[-1:], [], None])
        case _:
            return chance.choice([{}, None, [], {**value, "more": 1}])


@FORMS
def test_no_other_value_in_an_export_passes_and_both_name_the_same(
    sound: Path, tmp_path: Path, form: Form
) -> None:
    """As who knows the format would change it: canonical JSON with another value in it."""
    out, key, chance = tmp_path / "out", key_of(sound), random.Random(form.value)
    shutil.copytree(sound / form.value, out)
    for _ in range(sampled(100)):
        path = out / chance.choice([MANIFEST_NAME, segment_name(1)])
        data = path.read_bytes()
        lines = data.splitlines(keepends=True)
        at = chance.randrange(len(lines))
        value = json.loads(lines[at])
        where, name = chance.choice(places(value))
        where[name] = other(where[name], chance)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        lines[at] = text.encode() + b"\n"
        path.write_bytes(b"".join(lines))
        same = path.read_bytes() == data
        assert (verdict(out, key)[1] is None) is same, (path.name, at, name)
        path.write_bytes(data)


LineChange = Callable[[list[bytes]], list[bytes]]
CHANGES: dict[str, tuple[LineChange, tuple[int, str]]] = {
    "a line gone": (lambda lines: lines[:4] + lines[5:], (5, "missing")),
    "the last line gone": (lambda lines: lines[:-1], (SIZE, "export_malformed")),
    "two exchanged": (
        lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
        (5, "missing"),
    ),
    "one twice": (lambda lines: [*lines[:5], *lines[4:]], (6, "missing")),
    "one more": (lambda lines: [*lines, lines[-1]], (SIZE + 1, "export_malformed")),
    "cut in a line": (lambda lines: [*lines[:-1], lines[-1][:-9]], (SIZE, "export_malformed")),
    "spaces": (lambda lines: [*lines[:3], b" " + lines[3], *lines[4:]], (4, "export_malformed")),
}


@FORMS
@pytest.mark.parametrize("name", CHANGES)
def test_lines_that_are_gone_or_moved_are_named(
    sound: Path, tmp_path: Path, form: Form, name: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(sound / form.value, out)
    path = out / segment_name(1)
    change, wanted = CHANGES[name]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert verdict(out, key_of(sound)) == wanted


def test_files_that_are_gone_or_too_many_are_named(sound: Path, tmp_path: Path) -> None:
    key = key_of(sound)
    changes: list[Callable[[Path], object]] = [
        lambda out: (out / segment_name(1)).unlink(),
        lambda out: (out / "more").write_text(""),
        lambda out: (out / segment_name(2)).write_text(""),
    ]
    for number, change in enumerate(changes):
        out = tmp_path / str(number)
        shutil.copytree(sound / "full", out)
        change(out)
        assert verdict(out, key) == (0, "export_malformed")
    (tmp_path / "0" / MANIFEST_NAME).unlink()
    assert check_export(tmp_path / "0", public_key=key).report.first_bad is not None
    with pytest.raises(ExportUnreadable):
        check_export(tmp_path / "absent", public_key=key)
    with pytest.raises(ExportUnreadable):
        check_export(sound / "journal.db", public_key=key)


def test_an_export_of_another_log_or_signed_by_another_key_is_not_taken(
    sound: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_journal(other, seed=8)
    out = exported(other, tmp_path / "out")
    assert verdict(out, key_of(sound)) == (0, "public_key_changed")
    # Somebody without the key signs the payload anew, and names the log's key.
    data = (sound / "full" / MANIFEST_NAME).read_bytes()
    payload, _, named = open_envelope(data, payload_type=PAYLOAD_TYPE)
    stranger = signer_of(other)
    forged = seal_envelope(payload, payload_type=PAYLOAD_TYPE, signer=stranger)
    for text in (
        forged,
        forged.replace(hashlib.sha256(stranger.public_key).hexdigest().encode(), named.encode()),
    ):
        shutil.rmtree(out)
        shutil.copytree(sound / "full", out)
        (out / MANIFEST_NAME).write_bytes(text)
        assert verdict(out, key_of(sound)) == (0, "manifest_invalid")


# -- the same verdict as over the journal -------------------------------------------


def export_unverified(victim: Victim, out: Path) -> Path:
    """An export of whatever the rows are, signed with the log's own key."""
    out.mkdir()
    tree, lines, last = Frontier(), [], (0, b"", b"")
    with victim.journal() as connection:
        log_id = connection.execute("SELECT log_id FROM log").fetchone()[0]
        rows = connection.execute(
            "SELECT seq, header, clear, nonce, sealed, leaf, root, signature FROM record"
        ).fetchall()
    for row in rows:
        leaf = leaf_hash(row[1], row[2] or b"", row[3], row[4])
        tree.push(leaf)
        lines.append(full_line(row, leaf, None))
        last = (row[0], row[6], row[7]) if row[6] else last
    data = b"".join(lines)
    (out / segment_name(1)).write_bytes(data)
    signer = signer_of(victim.folder)
    text = Checkpoint(log_id, last[0], tree.root(), b"").text
    checkpoint = Checkpoint(log_id, last[0], tree.root(), signer.sign(text.encode()))
    manifest = Manifest(
        log_id=log_id,
        form=Form.FULL,
        keys=(LogKey(signer.public_key),),
        checkpoint=checkpoint.note(signer.public_key),
        segments=(Segment(segment_name(1), 1, last[0], len(data), hashlib.sha256(data).digest()),),
    )
    envelope = seal_envelope(encode_manifest(manifest), payload_type=PAYLOAD_TYPE, signer=signer)
    (out / MANIFEST_NAME).write_bytes(envelope)
    return out


@pytest.mark.parametrize("column", ["header", "clear", "nonce", "sealed", "root", "signature"])
def test_the_verdict_over_an_export_is_that_over_the_journal(
    copies: Copies, tmp_path: Path, column: str
) -> None:
    """X2, where whoever exports hides nothing: for a changed byte of each field."""
    for seq in range(1, SIZE + 1):
        victim = copies.take()
        with victim.journal() as connection:
            query = f"SELECT {column} FROM record WHERE seq = ?"
            value = connection.execute(query, (seq,)).fetchone()[0]
            if value is None:
                continue
            at = random.Random(seq).randrange(len(value))
            change = f"UPDATE record SET {column} = ? WHERE seq = ?"
            connection.execute(change, (flip(value, at, 0x01), seq))
        whole = verify(victim.folder, slices=Slices(1)).first_bad
        wanted = (SIZE, None) if whole is None else (whole.seq, whole.kind.value)
        found = verdict(export_unverified(victim, tmp_path / str(seq)), key_of(victim.folder))
        assert found == wanted, (seq, at)


@pytest.mark.parametrize("seq", [2, 5, SIZE])
def test_a_journal_that_does_not_verify_is_not_exported(
    victim: Victim, tmp_path: Path, seq: int
) -> None:
    """X1."""
    with victim.journal() as connection:
        sealed = connection.execute("SELECT sealed FROM record WHERE seq = ?", (seq,)).fetchone()
        changed = (flip(sealed[0], 3, 1), seq)
        connection.execute("UPDATE record SET sealed = ? WHERE seq = ?", changed)
    for form in Form:
        with pytest.raises(JournalDamaged) as caught:
            exported(victim.folder, tmp_path / form.value, form)
        assert (caught.value.seq, caught.value.kind) == (seq, DamageKind.FORGED)
        assert not (tmp_path / form.value / MANIFEST_NAME).exists()


@FORMS
def test_an_export_needs_no_index(victim: Victim, tmp_path: Path, form: Form) -> None:
    with victim.journal() as connection:
        for name in ("record_tag", "record_epoch", "record_state"):
            connection.execute(f"DROP INDEX {name}")
    assert not victim.verify(with_key=True).ok
    out = exported(victim.folder, tmp_path / "out", form)
    assert verdict(out, key_of(victim.folder)) == (SIZE, None)


def test_an_export_beside_a_writer_is_of_one_checkpoint(victim: Victim, tmp_path: Path) -> None:
    with victim.place().open(adopt=True) as journal:
        journal.append([note("before")])
        size = journal.size
        into = tmp_path / "out"
        into.mkdir()

        def meanwhile(_done: int, _total: int) -> None:
            journal.append([note("meanwhile")])

        made = export(
            victim.folder, into, master_key=MASTER_KEY, form=Form.FULL, progress=meanwhile
        )
        assert journal.size > size == made.size
        kept = parse_note(made.checkpoint)
    assert verdict(into, key_of(victim.folder)) == (size, None)
    later = exported(victim.folder, tmp_path / "later")
    assert check_export(later, public_key=key_of(victim.folder), since=[kept]).report.ok
    report = check_export(into, public_key=key_of(victim.folder), since=[_last(later)]).report
    assert report.first_bad is not None
    assert report.first_bad.kind is DamageKind.ROLLBACK


def _last(out: Path) -> Any:
    envelope = json.loads((out / MANIFEST_NAME).read_bytes())
    return parse_note(json.loads(base64.b64decode(envelope["payload"]))["predicate"]["checkpoint"])


def test_a_log_key_that_was_handed_over_to_signs_the_export(tmp_path: Path) -> None:
    """With the key that was kept at the start, before and after."""
    place = Place(tmp_path, 5).create()
    with place.open() as journal:
        journal.append([note("old key")])
        journal.rotate(log_key=True)
        journal.append([note("new key")])
        size = journal.size
    for form in Form:
        out = exported(tmp_path, tmp_path / form.value, form)
        assert verdict(out, key_of(tmp_path)) == (size, None)
        envelope = json.loads((out / MANIFEST_NAME).read_bytes())
        keys = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["keys"]
        assert len(keys) == 2


def test_an_empty_journal_has_nothing_to_export(tmp_path: Path) -> None:
    place = Place(tmp_path, 5).create()
    with pytest.raises((CheckpointAbsent, NoodleError)):
        exported(place.folder, tmp_path / "out")
