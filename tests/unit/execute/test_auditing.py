"""U4, U5 and the exports of a home: what is in them, and that they are whole or not there."""

from __future__ import annotations

import fcntl
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noodle_engine.disk.failures import DiskError
from noodle_engine.execute.auditing.exporting import checked_export
from noodle_engine.execute.auditing.failures import ExportRunning, OutputTaken
from noodle_engine.execute.auditing.filtering import Filter
from noodle_engine.execute.auditing.redacting import Redaction
from noodle_engine.execute.operations import Operations
from noodle_engine.observe.audit import Digests
from noodle_engine.observe.secrets import Redactor, spellings_of
from noodle_journal import read_public_key
from noodle_journal.exports.manifest import segment_name
from noodle_journal.failures import JournalDamaged, RecordUnknown
from tests.attacks import second_verifier
from tests.unit.execute.site import Site, hook
from tests.unit.execute.test_shredding import SETTINGS as SHREDDING
from tests.unit.execute.test_shredding import three_sessions

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


# -- looking ---------------------------------------------------------------------


@pytest.fixture
def two(site: Site) -> Site:
    """Two components, the first upgraded twice; and a word about a component that is not theirs."""
    for name, version in (("web", "1.0.0"), ("web", "1.1.0"), ("api", "1.0.0")):
        site.release(name, version)
    with site.open() as noodle:
        for wanted in ("web@1.0.0", "api@1.0.0", "web@1.1.0"):
            noodle.apply([wanted])
    return site


def test_each_filter_shows_what_fits_and_nothing_else(two: Site) -> None:
    with two.open() as noodle:
        everything = list(noodle.audit_show())
        ids = [row.upgrade for row in noodle.history().upgrades]

        def seqs(**wanted: Any) -> list[int]:
            one = wanted.pop("one", None)
            return [entry.seq for entry in noodle.audit_show(one, wanted=Filter(**wanted))]

        def fitting(fits: Callable[[Any], bool]) -> list[int]:
            return [entry.seq for entry in everything if fits(entry)]

        kinds = frozenset({"step.done", "transition"})
        middle = everything[len(everything) // 2].at_ms
        web = {ids[0], ids[2]}
        assert seqs(kinds=kinds) == fitting(lambda one: one.kind in kinds)
        assert seqs(since_ms=middle) == fitting(lambda one: one.at_ms >= middle)
        assert seqs(until_ms=middle) == fitting(lambda one: one.at_ms < middle)
        assert seqs(first=5, last=9) == [5, 6, 7, 8, 9]
        about = seqs(component="web")
        assert set(fitting(lambda one: one.upgrade in web)) <= set(about)
        assert not set(about) & set(fitting(lambda one: one.upgrade == ids[1]))
        assert seqs(component="nobody") == []
        every = seqs(kinds=kinds, component="web", since_ms=0)
        assert every == [seq for seq in about if everything[seq - 1].kind in kinds]
        for count in (1, 3, len(every) + 5):
            assert seqs(kinds=kinds, component="web", limit=count) == every[:count]
            assert seqs(kinds=kinds, component="web", tail=count) == every[-count:]
            assert (
                seqs(tail=count, kinds=frozenset({"step.done"}))
                == fitting(lambda one: one.kind == "step.done")[-count:]
            )
            assert (
                seqs(tail=count, one=ids[1]) == fitting(lambda one: one.upgrade == ids[1])[-count:]
            )
        assert seqs(tail=4, last=20) == [17, 18, 19, 20]


def test_what_changed_between_two_records_is_what_the_two_states_differ_in(two: Site) -> None:
    """Between any two: the changes, put on the first state, give the second."""
    with two.open() as noodle:
        size = noodle.status().journal.size
        replays = {at: noodle.audit_replay(at=at) for at in (0, 3, 20, size // 2, size)}
        for first, old in replays.items():
            for last, new in replays.items():
                if not 0 < last >= first:
                    continue
                view = noodle.audit_diff(first, last)
                versions = {row.name: row.installed for row in old.components}
                for one in view.components:
                    assert versions.get(one.component) == one.before
                    assert one.before is not None or one.after is not None
                    versions[one.component] = one.after
                assert versions == {row.name: row.installed for row in new.components}
                states = {row.upgrade: row.state.value for row in old.upgrades}
                for change in view.upgrades:
                    assert (states.get(change.upgrade) is None) is (change.before is None)
                    states[change.upgrade] = change.after
                assert states == {row.upgrade: row.state.value for row in new.upgrades}
                assert sum(view.records.values()) == last - first
        whole = noodle.audit_diff(0, size)
        assert [one.component for one in whole.components] == ["api", "web"]
        assert len(whole.kept) == 1
        with pytest.raises(RecordUnknown):
            noodle.audit_diff(0, size + 1)


def test_replaying_an_earlier_record_says_what_is_at_the_targets_now(two: Site) -> None:
    with two.open() as noodle:
        first = noodle.history().upgrades[-1].upgrade
        ended = max(entry.seq for entry in noodle.audit_show(first))
        then, now = noodle.audit_replay(at=ended), noodle.audit_replay()
        assert then.differs == now.differs == now.since == ()
        assert len(then.since) == 1
        assert "web" in then.since[0]
        assert set(now.observed) == {"api", "web"}
        assert then.observed["web"] == now.observed["web"]


def test_shredded_and_compacted_epochs_are_exported_as_what_is_left_of_them(site: Site) -> None:
    driven = three_sessions(site)
    site.settings(SHREDDING)
    try:
        assert Operations(driven.engine, {}).collect(actor="test").shredded_records > 0
    finally:
        driven.close()
    with site.open() as noodle:
        for step in ("shredded", "compacted"):
            size = noodle.status().journal.size
            for form in ("full", "redacted", "hashes"):
                out = site.folder / f"{step}-{form}"
                noodle.audit_export(out, form=form)
                verdict = checked_export(out, public(site))
                assert (verdict.ok, verdict.size) == (True, size)
                assert second_verifier.check_export(out, public(site)) == (size, None)
            if step == "shredded":
                assert noodle.compact().rows > 0
        assert noodle.audit_verify().ok
        proof = noodle.audit_prove(1).document
    assert second_verifier.check_proof(proof.encode(), public(site))
