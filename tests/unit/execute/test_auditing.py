"""U4, U5 and the exports of a home: what is in them, and that they are whole or not there."""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from noodle_engine.disk.failures import DiskError
from noodle_engine.execute.auditing.exporting import checked_export
from noodle_engine.execute.auditing.failures import ExportRunning, OutputTaken
from noodle_engine.execute.auditing.redacting import Redaction
from noodle_engine.observe.audit import Digests
from noodle_engine.observe.secrets import Redactor, spellings_of
from noodle_journal import read_public_key
from noodle_journal.exports.manifest import segment_name
from noodle_journal.failures import JournalDamaged
from tests.unit.execute.site import Site, hook

KEY = bytes(range(32))
SECRET = "hunter2-and-more"
NAMES = ("webshop", "1.7.3", "/srv/", "/dev/shm", "/tmp", "sh -c", "exit 3", SECRET)


@pytest.fixture
def used(site: Site) -> Site:
    """An upgrade, and one that a hook fails with a secret in its output."""
    site.release("webshop", "1.7.3")
    say = f"echo password={SECRET}; exit 3"
    site.release("webshop", "1.8.0", hook("after-swap", ["sh", "-c", say]))
    with site.open() as noodle:
        noodle.apply(["webshop@1.7.3"])
        noodle.apply(["webshop@1.8.0"])
    return site


def public(site: Site) -> bytes:
    return read_public_key(site.path / "keys" / "log.pub")


def lines(out: Path) -> list[dict[str, Any]]:
    text = (out / segment_name(1)).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_full_export_can_be_read_and_a_redacted_one_names_nothing(used: Site) -> None:
    with used.open() as noodle:
        views = {
            form: noodle.audit_export(used.folder / form, form=form)
            for form in ("full", "redacted", "hashes")
        }
        size = noodle.status().journal.size
    texts = {form: (used.folder / form / segment_name(1)).read_text() for form in views}
    assert all(name in texts["full"] for name in ("webshop", "1.7.3"))
    for form in ("redacted", "hashes"):
        assert not [name for name in NAMES if name in texts[form]], form
        verdict = checked_export(used.folder / form, public(used))
        assert (verdict.ok, verdict.size, verdict.form) == (True, size, form)
    full, redacted = lines(used.folder / "full"), lines(used.folder / "redacted")
    assert [view.size for view in views.values()] == [size] * 3
    # Who did what to which upgrade, and what became of it, can still be followed.
    moves = [
        (one["body"]["from"], one["body"]["to"], one["body"]["upgrade"])
        for one in full
        if one["body"].get("message") and "from" in one["body"]
    ]
    assert moves == [
        (one["body"]["from"], one["body"]["to"], one["body"]["upgrade"])
        for one in redacted
        if one["body"].get("message") and "from" in one["body"]
    ]
    components = {
        component["name"]
        for one in redacted
        for component in one["body"].get("plan", {}).get("components", [])
    }
    assert len(components) == 1  # one name, one digest
    assert all(name.startswith("#") for name in components)


def test_a_digest_is_the_audit_logs_and_a_secret_is_not_even_in_one() -> None:
    digests, redactor = Digests(KEY), Redactor(spellings_of(KEY))
    body = Redaction(digests, redactor).body
    assert body(1, {"component": "web"}) == {"component": digests.of("web")}
    one = body(4, {"output": f"token={SECRET}", "detail": KEY.hex()})
    other = body(4, {"output": "token=another-secret-text", "detail": "[secret]"})
    assert one == other


def test_only_words_of_ours_at_their_place_stay() -> None:
    """U4: by default a text is a digest, whatever it looks like."""
    body = Redaction(Digests(KEY), Redactor()).body
    upgrade = "01J00000000000000000000000"
    kept = {
        "from": "pending",
        "to": "validated",
        "undoing": False,
        "at_ms": 7,
        "actor": "uid:1000",
        "upgrade": upgrade,
        "reason": "cancelled",
        "code": "child.started",
    }
    assert body(2, kept) == kept
    for field, text in [
        ("from", "our shop"),
        ("actor", "alice"),
        ("name", "swap"),
        ("text", "pending"),
        ("code", "a path: /srv"),
        ("reason", "because"),
        ("root", "sha256:12"),
        ("component", upgrade.lower()),
    ]:
        assert str(body(2, {field: text})[field]).startswith("#"), field
    found = body(2, {"step": "swap:shop:2", "steps": {"swap:shop": 1, upgrade: 2}, "shop": [1]})
    assert found["step"].startswith("swap:#")
    assert found["step"].endswith(":2")
    assert "shop" not in json.dumps(found)
    assert upgrade in found["steps"]


def test_an_export_never_goes_over_what_is_there(used: Site) -> None:
    taken = used.folder / "taken"
    taken.mkdir()
    (used.folder / "link").symlink_to("nowhere")
    with used.open() as noodle:
        for name in ("taken", "link"):
            with pytest.raises(OutputTaken):
                noodle.audit_export(used.folder / name)
        with pytest.raises(DiskError):
            noodle.audit_export(used.folder / "absent" / "out")
    assert list(taken.iterdir()) == []
    assert not [one for one in used.folder.iterdir() if "exporting" in one.name]


def test_a_killed_exports_draft_is_cleared_and_a_running_one_is_left_alone(used: Site) -> None:
    out = used.folder / "out"
    draft = used.folder / ".out.exporting"
    draft.mkdir()
    (draft / segment_name(1)).write_text("half")
    lock = os.open(draft, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with used.open() as noodle:
        with pytest.raises(ExportRunning):
            noodle.audit_export(out)
        assert (draft / segment_name(1)).read_text() == "half"
        os.close(lock)
        noodle.audit_export(out)
    assert not draft.exists()
    assert checked_export(out, public(used)).ok


def test_an_archive_holds_what_a_folder_would(used: Site) -> None:
    with used.open() as noodle:
        noodle.audit_export(used.folder / "out", form="redacted")
        noodle.audit_export(used.folder / "out.tar", form="redacted")
    archive = used.folder / "out.tar"
    with tarfile.open(archive) as opened:
        for path in (used.folder / "out").iterdir():
            member = opened.extractfile(path.name)
            assert member is not None
            assert member.read() == path.read_bytes()
    assert archive.stat().st_mode & 0o777 == 0o600
    assert checked_export(archive, public(used)).ok
    data = archive.read_bytes()
    at = data.index(b'"leaf"') + 9
    archive.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert not checked_export(archive, public(used)).ok


def test_what_does_not_verify_leaves_nothing(used: Site) -> None:
    path = used.path / "journal.db"
    data = path.read_bytes()
    at = data.index(b"NDLR", len(data) // 2) + 150
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with used.open() as noodle, pytest.raises(JournalDamaged):
        noodle.audit_export(used.folder / "out")
    assert not [one for one in used.folder.iterdir() if "out" in one.name]
