"""The registry on the real disk (laws S1 to S3)."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from noodle_engine.disk.locks import lock_file
from noodle_engine.registry.failures import (
    KeyUnusable,
    ManifestInvalid,
    NameRefused,
    ReleaseConflict,
    ReleaseDamaged,
    ReleaseUnknown,
    ReleaseUnusable,
)
from noodle_engine.registry.publisher import (
    KEY_NAME,
    PAYLOAD_TYPE,
    load_publisher,
    make_publisher_key,
    open_envelope,
    pre_authentication,
)
from noodle_engine.registry.release import Release
from tests.unit.registry.releases import MANIFEST, make_home, make_release, make_store


def test_a_release_is_read_back_as_it_was_added(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    added = store.add(make_release(tmp_path))
    read = store.get("web", "1.1.0")

    assert (added.added, read.added) == (True, False)
    assert read.manifest == added.manifest
    assert read.payload.read_bytes() == b"print(1)\n"
    assert stat.S_IMODE(read.payload.stat().st_mode) == read.mode == 0o755
    (tmp_path / "home" / "runtime_components" / "web" / "1.2.0").write_text("no folder")
    assert (store.names(), store.versions("web")) == (("web",), ("1.1.0",))
    asked = ("1.1.0", "1.2.0", "2.0.0", "latest", "..", "../web/1.1.0")
    assert [version for version in asked if store.has("web", version)] == ["1.1.0"]
    assert not store.has("api", "1.1.0")
    assert read.content.startswith("sha256:")


def test_a_release_may_be_named_by_its_manifest(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert store.add(make_release(tmp_path) / "noodle.toml").version == "1.1.0"


def test_adding_the_same_release_again_changes_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    release = make_release(tmp_path)
    first = store.add(release)
    before = first.payload.stat()
    assert store.add(release).added is False
    assert first.payload.stat() == before


@pytest.mark.parametrize("change", ["payload", "mode", "manifest"])
def test_a_version_names_one_content_for_ever(tmp_path: Path, change: str) -> None:
    """S2."""
    store = make_store(tmp_path)
    release = make_release(tmp_path)
    store.add(release)
    match change:
        case "payload":
            (release / "web.py").write_bytes(b"print(2)\n")
        case "mode":
            (release / "web.py").chmod(0o644)
        case _:
            (release / "noodle.toml").write_text(MANIFEST.replace("{version}", "1.1.0") + "\n")
    with pytest.raises(ReleaseConflict):
        store.add(release)
    assert store.get("web", "1.1.0").payload.read_bytes() == b"print(1)\n"


def test_versions_are_listed_newest_first_by_precedence(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    for version in ("1.9.0", "1.10.0", "1.10.0-rc.1"):
        store.add(make_release(tmp_path, version))
    assert store.versions("web") == ("1.10.0", "1.10.0-rc.1", "1.9.0")
    assert [release.version for release in store.of_component("web")] == list(store.versions("web"))


@pytest.mark.parametrize("part", ["payload", "noodle.toml", "signature"])
def test_each_part_that_was_changed_is_named(tmp_path: Path, part: str) -> None:
    """S3: flip a byte, take it away, put another release's there."""
    store = make_store(tmp_path)
    place = store.add(make_release(tmp_path)).payload.parent
    other = store.add(make_release(tmp_path, "1.2.0", b"print(2)\n")).payload.parent
    original = (place / part).read_bytes()

    changed = [
        bytes([original[0] ^ 1]) + original[1:],
        original[:-1] + bytes([original[-1] ^ 1]) if part != "signature" else original[1:],
        (other / part).read_bytes(),
        b"",
    ]
    for data in changed:
        (place / part).write_bytes(data)
        with pytest.raises(ReleaseDamaged) as caught:
            store.get("web", "1.1.0")
        assert (caught.value.part, caught.value.exit_code) == (part, 6)
    (place / part).unlink()
    with pytest.raises(ReleaseDamaged) as caught:
        store.get("web", "1.1.0")
    assert caught.value.part == part


def test_a_payload_whose_mode_changed_is_damaged(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    payload = store.add(make_release(tmp_path)).payload
    payload.chmod(0o4755)
    with pytest.raises(ReleaseDamaged):
        store.get("web", "1.1.0")


def test_a_signature_by_another_key_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.add(make_release(tmp_path))
    key = tmp_path / "home" / "keys" / KEY_NAME
    key.unlink()
    make_publisher_key(key, seed=bytes(32))
    with pytest.raises(ReleaseDamaged) as caught:
        store.get("web", "1.1.0")
    assert caught.value.part == "signature"


def test_a_release_moved_to_another_name_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    place = store.add(make_release(tmp_path)).payload.parent
    place.rename(place.with_name("9.9.9"))
    with pytest.raises(ReleaseDamaged):
        store.get("web", "9.9.9")


def test_what_a_killed_add_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """S1. What another one is making stays."""
    store = make_store(tmp_path)
    adding = tmp_path / "home" / "runtime_components" / ".adding"
    for number in ("1", "2", "3"):
        (adding / number / "release").mkdir(parents=True)
        (adding / number / "release" / "payload").write_bytes(b"half")
    (adding / "4" / "gone" / "deep").mkdir(parents=True)
    (adding / "4" / "gone" / "deep" / "payload").write_bytes(b"half")
    held = lock_file(adding / "2" / "lock")
    assert store.names() == ()
    assert store.add(make_release(tmp_path)).payload.read_bytes() == b"print(1)\n"
    assert [path.name for path in adding.iterdir()] == ["2"]
    held.release()
    store.clear()
    assert [path.name for path in adding.iterdir()] == []


def test_a_prepared_release_is_unknown_until_it_is_published(tmp_path: Path) -> None:
    """S1. What is recorded right before its name is recorded once it is sure to be free."""
    store = make_store(tmp_path)
    recorded: list[tuple[str, bool]] = []
    with store.prepare(make_release(tmp_path)) as prepared:
        assert prepared.known is None
        assert store.names() == ()
        found = store.publish(
            prepared.token,
            record=lambda one: recorded.append((one.version, store.has("web", "1.1.0"))),
        )
    assert recorded == [("1.1.0", False)]
    assert (found.added, found.payload.read_bytes()) == (True, b"print(1)\n")
    assert list((tmp_path / "home" / "runtime_components" / ".adding").iterdir()) == []
    with store.prepare(make_release(tmp_path)) as again:
        assert (again.token, again.known) == ("", store.get("web", "1.1.0"))


def test_a_release_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with store.prepare(make_release(tmp_path)) as prepared:
        token = prepared.token
    assert list((tmp_path / "home" / "runtime_components" / ".adding").iterdir()) == []
    for unknown in (token, "", "7", "../web/1.1.0", "\u0661"):
        with pytest.raises(ReleaseUnusable):
            store.publish(unknown)


def test_of_two_that_prepare_one_version_the_first_to_publish_names_it(tmp_path: Path) -> None:
    """S2. Nothing is recorded for the other."""
    store = make_store(tmp_path)
    other = make_release(tmp_path / "other", payload=b"print(2)\n")
    recorded: list[str] = []
    with (
        store.prepare(make_release(tmp_path)) as first,
        store.prepare(make_release(tmp_path)) as same,
        store.prepare(other) as second,
    ):
        assert store.publish(first.token).added
        assert not store.publish(same.token, record=lambda one: recorded.append(one.name)).added
        with pytest.raises(ReleaseConflict):
            store.publish(second.token, record=lambda one: recorded.append(one.name))
    assert recorded == []
    assert store.get("web", "1.1.0").payload.read_bytes() == b"print(1)\n"


def test_what_cannot_be_recorded_is_not_known(tmp_path: Path) -> None:
    store = make_store(tmp_path)

    def refuse(_release: Release) -> None:
        raise ReleaseUnusable(path=tmp_path, why="the journal is full")

    with store.prepare(make_release(tmp_path)) as prepared, pytest.raises(ReleaseUnusable):
        store.publish(prepared.token, record=refuse)
    assert store.names() == ()
    assert list((tmp_path / "home" / "runtime_components" / ".adding").iterdir()) == []


@pytest.mark.parametrize("payload", ["link", "folder", "missing", "link-in-parent"])
def test_a_payload_that_is_no_plain_file_inside_is_refused(tmp_path: Path, payload: str) -> None:
    store = make_store(tmp_path)
    release = make_release(tmp_path)
    (release / "web.py").unlink()
    match payload:
        case "link":
            (release / "web.py").symlink_to("/etc/hostname")
        case "folder":
            (release / "web.py").mkdir()
        case "link-in-parent":
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "web.py").write_bytes(b"")
            (release / "in").symlink_to(tmp_path / "out")
            text = MANIFEST.replace("{version}", "1.1.0").replace('"web.py"', '"in/web.py"')
            (release / "noodle.toml").write_text(text)
        case _:
            pass
    with pytest.raises(ReleaseUnusable):
        store.add(release)
    assert store.names() == ()


def test_a_folder_without_a_manifest_is_no_release(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(ReleaseUnusable):
        store.add(tmp_path)
    with pytest.raises(ReleaseUnusable):
        store.add(tmp_path / "nowhere")


def test_a_bad_manifest_adds_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(ManifestInvalid):
        store.add(make_release(tmp_path, manifest="format = 1\n"))
    assert store.names() == ()


def test_an_unknown_release_is_told_with_the_known_ones(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.add(make_release(tmp_path))
    with pytest.raises(ReleaseUnknown) as caught:
        store.get("web", "2.0.0")
    assert caught.value.known == ("web@1.1.0",)
    with pytest.raises(ReleaseUnknown) as caught:
        store.get("api", "2.0.0")
    assert caught.value.known == ("web",)
    with pytest.raises(NameRefused):
        store.get("../keys", "1.0.0")


def test_folders_that_are_no_releases_are_not_listed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.add(make_release(tmp_path))
    (tmp_path / "home" / "runtime_components" / "web" / "latest").mkdir()
    (tmp_path / "home" / "runtime_components" / "Lost+Found").mkdir()
    assert (store.names(), store.versions("web")) == (("web",), ("1.1.0",))


def test_a_publishers_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / KEY_NAME
    public = make_publisher_key(path, seed=bytes(range(32)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_publisher(path).public == public
    assert repr(bytes(range(32))) not in repr(load_publisher(path))
    before = path.read_bytes()
    with pytest.raises(KeyUnusable):
        make_publisher_key(path, seed=bytes(32))
    assert path.read_bytes() == before


@pytest.mark.parametrize("fault", ["missing", "open", "text", "link", "short"])
def test_a_publishers_key_that_cannot_be_trusted_is_refused(tmp_path: Path, fault: str) -> None:
    path = make_home(tmp_path) / "keys" / KEY_NAME
    match fault:
        case "missing":
            path.unlink()
        case "open":
            path.chmod(0o640)
        case "text":
            path.write_text("not a key")
        case "link":
            path.rename(path.with_name("other"))
            os.symlink("other", path)
        case _:
            with pytest.raises(KeyUnusable):
                make_publisher_key(tmp_path / "new", seed=b"short")
            return
    with pytest.raises(KeyUnusable):
        load_publisher(path)


def test_an_envelope_is_as_the_specification_has_it(tmp_path: Path) -> None:
    """The example of the DSSE specification for PAE, and the envelope's fields."""
    assert (
        pre_authentication("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    publisher = load_publisher(make_home(tmp_path) / "keys" / KEY_NAME)
    envelope = publisher.seal(b"{}")
    parsed = json.loads(envelope)
    assert set(parsed) == {"payload", "payloadType", "signatures"}
    assert parsed["payloadType"] == PAYLOAD_TYPE
    assert base64.b64decode(parsed["payload"]) == b"{}"
    assert open_envelope(envelope, publisher.public) == b"{}"
    parsed["payloadType"] = "application/json"
    assert open_envelope(json.dumps(parsed).encode(), publisher.public) is None
    for broken in (b"", b"[]", b"{}", b"\xff", b'{"payload": 1}'):
        assert open_envelope(broken, publisher.public) is None
