"""noodle.toml is read wholly or refused wholly, each problem with line and key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noodle_engine.machine.plan import HealthCheck, Hook, HookPoint
from noodle_engine.registry.failures import ManifestInvalid
from noodle_engine.registry.manifest import (
    MANIFEST_BYTES_MAX,
    ReleaseManifest,
    ServiceSection,
    parse_manifest,
)
from noodle_engine.registry.payloads.lint import lint
from noodle_engine.registry.tree_options import TreeOptions
from tests.unit.registry.releases import make_release, make_store

WHOLE = """\
format = 1
[component]
name = "web"
version = "1.1.0"
kind = "file"
critical = true
hot_swappable = false
upgrade_impact = "low"
features = ["streaming"]
provides = { api = "2.0.0" }
conflicts = { old-web = "<1.0.0" }
requires = { schema = ">=3.0.0, <4.0.0" }
compatible_from = ">=1.0.0"
[payload]
path = "web.py"
[target]
path = "/srv/web/web.py"
[[health]]
http = "http://127.0.0.1:8080/"
status = 200
contains = "1.1.0"
passes = 3
interval = 1.5
timeout = 5
within = 300.0
[[health]]
command = ["true", ""]
[[health]]
tcp = "[::1]:80"
[[health]]
file = "/run/web.ready"
[[hooks]]
at = "after-swap"
command = ["systemctl", "restart", "web"]
undo = ["systemctl", "restart", "web"]
reversible = true
timeout = 30.0
pass_env = ["LC_ALL"]
[[hooks]]
at = "before-swap"
command = ["true"]
reversible = false
"""


def parse(text: str) -> ReleaseManifest:
    return parse_manifest(text.encode(), Path("noodle.toml"))


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ManifestInvalid) as caught:
        parse(text)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert old in WHOLE
    return WHOLE.replace(old, new, 1)


def test_every_key_of_the_format_page_is_read() -> None:
    found = parse(WHOLE)
    assert found == ReleaseManifest(
        name="web",
        version="1.1.0",
        kind="file",
        payload="web.py",
        target="/srv/web/web.py",
        critical=True,
        hot_swappable=False,
        upgrade_impact="low",
        features=("streaming",),
        requires={"schema": ">=3.0.0, <4.0.0"},
        provides={"api": "2.0.0"},
        conflicts={"old-web": "<1.0.0"},
        compatible_from=">=1.0.0",
        health=(
            HealthCheck(
                http="http://127.0.0.1:8080/",
                contains="1.1.0",
                passes=3,
                interval_ms=1500,
                timeout_ms=5000,
                within_ms=300_000,
            ),
            HealthCheck(command=("true", "")),
            HealthCheck(tcp="[::1]:80"),
            HealthCheck(file="/run/web.ready"),
        ),
        hooks=(
            Hook(
                at=HookPoint.AFTER_SWAP,
                command=("systemctl", "restart", "web"),
                undo=("systemctl", "restart", "web"),
                pass_env=("LC_ALL",),
            ),
            Hook(at=HookPoint.BEFORE_SWAP, command=("true",), reversible=False),
        ),
    )


def test_what_is_left_out_has_the_defaults_of_the_plan() -> None:
    """The manifest's defaults and the machine's types say the same."""
    text = WHOLE[: WHOLE.index("critical")] + WHOLE[WHOLE.index("[payload]") :]
    found = parse(text[: text.index("[[health]]")] + '[[health]]\ntcp = "host:1"\n')
    assert found.health == (HealthCheck(tcp="host:1"),)
    assert found == ReleaseManifest(
        name="web",
        version="1.1.0",
        kind="file",
        payload="web.py",
        target="/srv/web/web.py",
        health=found.health,
    )


def test_a_directorys_and_a_services_own_keys_are_read() -> None:
    directory = changed('kind = "file"', 'kind = "directory"').replace(
        'path = "/srv/web/web.py"',
        'path = "/srv/web/current"\nlayout = "tree"\nmutable = ["uploads/"]\n'
        'unmanaged = ["*.pid"]\nimmutable = true\nquiesce = ["stop"]\nunquiesce = ["start"]',
    )
    found = parse(directory)
    assert found.directory == TreeOptions(
        layout="tree",
        mutable=(b"uploads",),
        unmanaged=("*.pid",),
        immutable=True,
        quiesce=("stop",),
        unquiesce=("start",),
        mutable_folders=frozenset({b"uploads"}),
    )
    assert TreeOptions.from_text(found.options) == found.directory
    service = changed('kind = "file"', 'kind = "service"') + (
        '[service]\ncommand = ["{release}/bin/web"]\n'
        'sockets = ["tcp:0.0.0.0:8080", "unix:/run/w"]\n'
        'ready = "notify"\ninstances = 2\ndrain = 0.5\nuser = "web"\n'
    )
    assert parse(service).service == ServiceSection(
        command=("{release}/bin/web",),
        sockets=("tcp:0.0.0.0:8080", "unix:/run/w"),
        ready="notify",
        instances=2,
        drain_ms=500,
        user="web",
    )
    for kind in ("python", "compiler", "sqlite"):
        assert parse(changed('kind = "file"', f'kind = "{kind}"')).kind == kind


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ('mutable = ["/uploads"]', "absolute"),
        ('mutable = ["../uploads"]', "`..`"),
        ('mutable = ["."]', "`.`"),
        ('mutable = ["a//b"]', "doubled"),
        ('mutable = [""]', "at least 1 character"),
        ('mutable = [".noodle/x"]', "Noodle's own"),
        ('mutable = ["a/", "a"]', "twice"),
        ('mutable = ["a/b", "a/"]', "in the other"),
        ('unmanaged = ["!kept"]', "taken back"),
        ('unmanaged = ["a/**/b"]', "`**`"),
        ('unmanaged = ["*"]', "everything"),
        ('unmanaged = ["/"]', "name something"),
        ('unmanaged = ["[z-a]"]', "brackets"),
        ("unmanaged = ['a\\b']", "brackets"),
        ('mutable = ["a"]\nquiesce = ["stop"]', "needs `unquiesce`"),
        ('mutable = ["a"]\nunquiesce = ["start"]', "needs `quiesce`"),
        ('quiesce = ["stop"]\nunquiesce = ["start"]', "`mutable` must name some"),
        ('layout = "copy"', "layout"),
    ],
)
def test_a_directorys_options_are_refused_with_what_is_wrong(keys: str, word: str) -> None:
    text = changed('kind = "file"', 'kind = "directory"').replace(
        'path = "/srv/web/web.py"', f'path = "/srv/web/current"\n{keys}'
    )
    (problem,) = problems(text)
    assert problem.startswith("line ")
    assert word in problem


def test_a_plug_ins_target_keys_are_options_and_must_be_text() -> None:
    text = changed('kind = "file"', 'kind = "nginx-site"').replace(
        'path = "/srv/web/web.py"', 'path = "/srv/web/web.py"\nreload = "soft"'
    )
    assert parse(text).options == {"reload": "soft"}
    (problem,) = problems(text.replace('"soft"', "3"))
    assert "target.reload" in problem
    assert "nginx-site" in problem, "the kind may be what is wrong"


def test_all_problems_are_told_at_once_each_with_line_and_key() -> None:
    text = (
        WHOLE.replace('version = "1.1.0"', 'verson = "1.1.0"', 1)
        .replace("passes = 3", "passes = 0")
        .replace('"after-swap"', '"afterwards"')
        .replace('path = "web.py"', 'path = "../web.py"')
    )
    found = problems(text)
    assert [problem.split(": ")[:2] for problem in found] == [
        ["line 2", "component.version"],
        ["line 4", "component.verson"],
        ["line 15", "payload.path"],
        ["line 22", "health[1].passes"],
        ["line 33", "hooks[1].at"],
    ]
    assert "`version`" in found[1]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("format = 1", "format = 2", ""),
        ("format = 1", 'format = "1"', "format"),
        ("format = 1", "formt = 1", "formt"),
        ('name = "web"', 'name = "Web"', "component.name"),
        ('name = "web"', "name = 3", "component.name"),
        ('version = "1.1.0"', 'version = "1.1"', "component.version"),
        ('kind = "file"', 'kind = "File"', "component.kind"),
        ("critical = true", "critical = 1", "component.critical"),
        ("critical = true", 'critical = "true"', "component.critical"),
        ('impact = "low"', 'impact = "tiny"', "component.upgrade_impact"),
        ('schema = ">=3.0.0', 'schema = "^3.0.0', "component.requires.schema"),
        ("{ schema =", "{ Schema =", "component.requires.Schema"),
        ('from = ">=1.0.0"', 'from = "1.0.0"', "component.compatible_from"),
        ('path = "web.py"', 'path = "/etc/passwd"', "payload.path"),
        ('path = "web.py"', 'path = ""', "payload.path"),
        ('path = "/srv/web/web.py"', 'path = "web.py"', "target.path"),
        ('path = "/srv/web/web.py"', 'path = "/srv/../web.py"', "target.path"),
        ('path = "/srv/web/web.py"', 'path = "/srv/web/"', "target.path"),
        ('path = "/srv/web/web.py"', 'path = "/a"\nlayout = "link"', "target.layout"),
        ('http = "http://', 'http = "ftp://', "health[1].http"),
        ("status = 200", "status = 99", "health[1].status"),
        ("status = 200", 'tcp = "a:1"', "health[1]"),
        ("interval = 1.5", "interval = -1", "health[1].interval"),
        ("interval = 1.5", "interval = nan", "health[1].interval"),
        ("timeout = 5", "timeout = 0", "health[1].timeout"),
        ("timeout = 5", "timeout = true", "health[1].timeout"),
        ("within = 300.0", "within = inf", "health[1].within"),
        ('command = ["true", ""]', "command = []", "health[2].command"),
        ('command = ["true", ""]', 'command = "true"', "health[2].command"),
        ('command = ["true", ""]', 'command = ["a\\u0000"]', "health[2].command[1]"),
        ('command = ["true", ""]', 'command = ["true"]\nstatus = 200', "health[2]"),
        ('tcp = "[::1]:80"', 'tcp = "host"', "health[3].tcp"),
        ('tcp = "[::1]:80"', 'tcp = "host:65536"', "health[3].tcp"),
        ('tcp = "[::1]:80"', 'tcp = "host:1"\ncontains = "x"', "health[3]"),
        ('file = "/run/web.ready"', 'file = "web.ready"', "health[4].file"),
        ('file = "/run/web.ready"', "", "health[4]"),
        ('"LC_ALL"', '"NOODLE_TO"', "hooks[1].pass_env[1]"),
        ('"LC_ALL"', '"A B"', "hooks[1].pass_env[1]"),
        ('at = "after-swap"', 'at = "after-commit"', "hooks[1]"),
        ("reversible = true", "reversible = false", "hooks[1]"),
        ("[payload]", '[service]\nunit = "web.service"\n[payload]', "service"),
    ],
)
def test_each_rule_is_held_and_names_its_key(old: str, new: str, key: str) -> None:
    found = problems(changed(old, new))
    assert any(f"{key}: " in problem or (not key and "format 2" in problem) for problem in found)


def test_what_is_no_toml_or_too_long_is_refused_by_name() -> None:
    for data in (
        b"\xff",
        b"= 1",
        b"format = 1\nformat = 1\n",
        b"",
        b"x" * (MANIFEST_BYTES_MAX + 1),
    ):
        with pytest.raises(ManifestInvalid):
            parse_manifest(data, Path("noodle.toml"))


def test_a_line_is_found_past_long_texts_and_quoted_keys() -> None:
    text = 'format = 1\nnote = """\nname = "no"\n[component]\n"""\n[component]\n"name" = "W"\n'
    found = problems(text)
    assert any(problem.startswith("line 7: component.name: ") for problem in found)
    assert any(problem.startswith("line 2: note: unknown key") for problem in found)


@given(st.text(max_size=200) | st.text("[]={}\".'\n abc.#1-", max_size=120))
def test_no_text_makes_anything_but_a_manifest_or_its_problems(text: str) -> None:
    found: tuple[str, ...] | None = None
    try:
        parse_manifest(text.encode("utf-8", "surrogatepass"), Path("noodle.toml"))
    except ManifestInvalid as error:
        found = tuple(error.problems)
    assert found is None or found


def test_pydantic_is_not_paid_for_before_a_manifest_is_read() -> None:
    code = (
        "import sys, noodle_engine.registry.store; "
        "print([m for m in ('pydantic', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lint_says_what_will_disappoint(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    quiet = store.add(make_release(tmp_path, "1.0.0", manifest=WHOLE.replace("1.1.0", "1.0.0")))
    assert lint(quiet) == ()

    bare = WHOLE[: WHOLE.index("[[health]]")].replace("1.1.0", "1.2.0")
    bare += '[[hooks]]\nat = "after-swap"\ncommand = ["true"]\n'
    release = make_release(tmp_path, "1.2.0", b"#!/bin/sh\n", manifest=bare)
    (release / "web.py").chmod(0o644)
    assert len(lint(store.add(release))) == 3

    slow = WHOLE.replace("1.1.0", "1.3.0").replace("within = 300.0", "within = 3")
    assert len(lint(store.add(make_release(tmp_path, "1.3.0", b"", manifest=slow)))) == 2
