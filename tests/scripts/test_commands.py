"""`noodle` from outside: each command's JSON shape, exit codes, errors, signals, pipes."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from noodle_engine.cli.main import main
from noodle_engine.cli.pages.answers import ANSWERS, hints_of
from noodle_engine.cli.show.shapes import DoneView
from tests.scripts.conftest import COMMAND_S_MAX, Site

AGAIN_S = 5.0
UNTESTED = {
    "demo",
    "run",
    "plugin test",
}  # test_demo.py; test_a_resident_engine_...; laws/test_contract.py


def fits(words: str, answer: Any) -> None:
    """The answer is, field for field, one of the command's documented shapes."""
    assert next(iter(answer)) == "format"
    problems = {shape.__name__: list(unfit(shape, answer, words)) for shape in ANSWERS[words]}
    assert [] in problems.values(), problems


def unfit(hint: Any, value: Any, where: str) -> Iterator[str]:
    """What about a JSON value is not as a type says."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if all(list(unfit(one, value, where)) for one in inside):
            yield f"{where}: {value!r} is none of {hint}"
    elif origin in (tuple, dict, Mapping) and isinstance(value, list if origin is tuple else dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in items:
            yield from unfit(inside[0] if origin is tuple else inside[1], one, f"{where}.{name}")
    elif is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        hints = hints_of(hint)
        if set(hints) != set(value):
            yield f"{where}: fields {set(hints) ^ set(value)}"
        for name in set(hints) & set(value):
            yield from unfit(hints[name], value[name], f"{where}.{name}")
    elif isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in list(hint):
            yield f"{where}: {value!r} is not one of {hint}"
    elif hint not in (object, Any) and type(value) is not getattr(hint, "__supertype__", hint):
        yield f"{where}: {value!r} is not {hint}"


def test_an_answer_that_lacks_or_bends_a_field_does_not_fit() -> None:
    good = {"done": "x", "path": "y", "format": 1}
    assert not list(unfit(DoneView, good, ""))
    for bad in ({"done": "x", "format": 1}, {**good, "more": 1}, {**good, "path": None}):
        assert list(unfit(DoneView, bad, ""))


def walk(site: Site, capsys: pytest.CaptureFixture[str]) -> dict[str, list[Any]]:
    """Use every command, as far as one home can; the answers by command.

    All in this process: what a command is as a process of its own, others test.
    """
    got: dict[str, list[Any]] = {}

    def use(words: str, *more: str) -> Any:
        code = main([*words.split(), *more, "--json"])
        out, err = capsys.readouterr()
        assert (code, err) == (0, ""), (words, more, out, err)
        answer = json.loads(out)
        got.setdefault(words, []).append(answer)
        return answer

    site.home.rename(site.folder / "first")
    use("init")
    site.release("1.0.0")
    use("component add", "release-1.0.0")
    use("component lint", "release-1.0.0")
    use("component lint", "hello@1.0.0")
    use("component list")
    use("component show", "hello")
    use("plan", "hello@1.0.0")
    first = use("apply", "hello@1.0.0")["upgrade"]
    use("apply", "hello@1.0.0")  # nothing to do: a plan without changes
    use("plan", "hello@1.0.0")
    use("status")
    use("status", first)
    use("steps", first, "--output")
    use("history")
    use("doctor")
    use("audit verify")
    use("audit verify", "--public-key", "home/keys/log.pub", "--every-signature")
    use("audit show")
    use("audit show", first)
    use("audit show", "--kind", "step.done", "--component", "hello", "--since", "1h", "--tail", "2")
    use("audit diff", "3", "9")
    use("audit checkpoint", "--out", "kept")
    use("audit verify", "--since", "kept", "--from", "3", "--to", "9")
    use("audit export", "exported", "--form", "redacted")
    use("audit verify", "--export", "exported", "--since", "kept")
    use("audit anchors")
    use("audit prove", "3")
    use("audit prove", "--from", "3", "--out", "proof")
    use("audit prove", "--check", "proof")
    use("audit replay")
    use("audit replay", first, "--at", "9")
    site.release("1.1.0")
    use("diff", "hello@1.0.0", "hello@1.1.0")
    use("apply", "hello@1.1.0")
    use("rollback", "hello")
    use("component verify")
    use("component repair", "hello")  # nothing to do
    site.target.unlink()
    use("component repair", "hello", "--yes")
    (site.folder / "deployed").mkdir()
    use("component adopt", "site@1.0.0", "deployed", "--yes")
    use("component verify", "site", "--full")
    use("points")
    use("points", "hello")
    use("gc", "--dry-run")
    use("gc")
    use("apply", "--remove", "hello")
    use("rescue", str(site.target))
    use("resume")
    use("key init", "new.key")
    use("key show")
    use("key rotate", "--log-key")
    recovery = use("key rewrap", "--new-key", "new.key")["recovery_key"]
    use("key export-public")
    use("key export-public", "public.key")
    use("audit verify", "--public-key", "public.key")
    (site.home / "keys" / "master.key").unlink()
    recovered = site.run("key", "recover", "--json", stdin=f"{recovery}\n")
    got["key recover"] = [recovered.json]
    use("journal compact")
    use("journal backup", "copy")
    for file in site.home.glob("journal.db*"):
        file.unlink()
    use("journal restore", "copy")
    use("journal take-over")
    site.run("apply", "hello@1.0.0")
    use("component forget", "hello")
    use("completion", "bash")
    use("plugin list")
    use("config init", "made")
    use("config migrate", "made")
    use("config validate", "made")
    use("config diff", "made")
    use("config show", "--changed")
    use("config explain", "debug.enabled")
    use("config explain", "debug")
    use("config schema")
    use("diagnostics bundle", "--out", "bundle.tar.gz")
    return got


def test_every_command_answers_in_its_documented_shape(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if "NOODLE" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NOODLE_HOME", str(site.home))
    monkeypatch.setenv("HOME", str(site.folder))
    monkeypatch.chdir(site.folder)
    got = walk(site, capsys)
    for words, answers in got.items():
        for answer in answers:
            fits(words, answer)
    assert set(got) | UNTESTED | {"abort"} == set(ANSWERS)


def test_an_aborted_upgrade_ends_with_0_for_abort_and_4_for_apply(
    site: Site, waiting: subprocess.Popen[str]
) -> None:
    upgrade = site.ask("status")["open"][0]["upgrade"]
    answer = site.ask("abort", upgrade)
    fits("abort", answer)
    assert (answer["state"], answer["reason"]) == ("rolled_back", "cancelled")
    assert waiting.wait(COMMAND_S_MAX) == 4
    assert not site.target.exists()


@pytest.mark.parametrize(
    ("words", "code", "failure"),
    [
        (("apply",), 2, "usage"),
        (("frobnicate",), 2, "usage"),
        (("apply", "--frobnicate"), 2, "usage"),
        (("audit", "frobnicate"), 2, "usage"),
        (("resume", "--retry"), 2, "usage"),
        (("apply", "x@1.0.0", "--wait", "1", "--no-wait"), 3, "component_unknown"),
        (("apply", "hello@9.9.9"), 3, "component_unknown"),
        (("apply", "./absent.json"), 2, "plan_malformed"),
        (("rollback", "hello"), 3, "nothing_installed"),
        (("apply", "--remove", "hello"), 3, "nothing_installed"),
        (("status", "01ABC"), 3, "upgrade_unknown"),
        (("abort", "01ABC"), 3, "upgrade_unknown"),
        (("component", "show", "x"), 3, "component_unknown"),
        (("component", "add", "absent"), None, None),
        (("init",), 3, "home_exists"),
        (("--home", "nowhere", "status"), 2, "home_absent"),
        (("audit", "verify", "--public-key", "absent"), 6, None),
        (("journal", "restore", "absent"), None, None),
    ],
)
def test_a_refusal_has_three_sentences_a_code_and_no_traceback(
    untouched: Site, words: tuple[str, ...], code: int | None, failure: str | None
) -> None:
    plain, asked = untouched.run(*words), untouched.run(*words, "--json")
    assert plain.code == asked.code != 0
    assert code in (None, plain.code)
    assert plain.out == ""
    assert [line.partition(":")[0].strip() for line in plain.err.splitlines()] == [
        "error",
        "why",
        "do",
    ]
    assert "Traceback" not in plain.err + asked.err
    assert asked.err == ""
    error = asked.json["error"]
    assert set(error) == {"code", "problem", "cause", "remedy", "data"}
    assert failure in (None, error["code"])
    assert error["code"] != "unexpected"


def test_with_debug_a_failure_shows_where_it_came_from(untouched: Site) -> None:
    ended = untouched.run("status", "01ABC", "--debug")
    assert "Traceback" in ended.err
    assert ended.code == 3


def test_json_is_taken_before_and_after_the_command(untouched: Site) -> None:
    assert untouched.run("--json", "status").json == untouched.run("status", "--json").json


def test_home_is_taken_before_and_after_the_command_and_wins(untouched: Site) -> None:
    for words in (("--home", "nowhere", "status"), ("status", "--home", "nowhere")):
        assert untouched.run(*words).code == 2
    ended = untouched.run("--home", "home", "status", NOODLE_HOME=str(untouched.folder / "nowhere"))
    assert ended.code == 0


def test_commands_that_are_named_name_the_home_that_was_named(untouched: Site) -> None:
    ended = untouched.run("--home", "home", "status", "01ABC")
    assert "`noodle --home home history`" in ended.err


def test_in_a_pipe_there_is_no_question_and_no_escape_sequence(site: Site) -> None:
    site.release("1.0.0")
    ended = site.run("apply", "hello@1.0.0", stdin="n\n")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert "?" not in ended.out
    assert site.target.exists()


def test_quiet_prints_nothing_of_an_upgrade(site: Site) -> None:
    site.release("1.0.0")
    ended = site.run("apply", "hello@1.0.0", "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_a_plan_file_is_done_exactly_or_not_at_all(site: Site) -> None:
    site.release("1.0.0")
    assert site.run("plan", "hello@1.0.0", "--out", "plan.json", "--detailed-exitcode").code == 10
    planned = site.ask("plan", "hello@1.0.0")["plan_hash"]
    site.target.write_text("somebody else's\n")
    assert site.ask("apply", "plan.json", code=3)["error"]["code"] == "plan_stale"
    site.target.unlink()
    assert site.ask("apply", "plan.json")["plan_hash"] == planned
    assert site.run("plan", "hello@1.0.0", "--detailed-exitcode").code == 0


def test_dry_run_changes_nothing(site: Site) -> None:
    site.release("1.0.0")
    before = site.ask("status")
    assert site.ask("apply", "hello@1.0.0", "--dry-run")["changes"] is True
    assert site.ask("status") == before
    assert not site.target.exists()


def test_a_version_that_is_not_healthy_is_taken_back_with_4(site: Site) -> None:
    site.release("1.0.0")
    site.release("1.1.0", contains="something else")
    assert site.run("apply", "hello@1.0.0").code == 0
    answer = site.ask("apply", "hello@1.1.0", code=4)
    assert (answer["state"], answer["reason"]) == ("rolled_back", "health_failed")
    assert "1.0.0" in site.target.read_text()


def test_a_foreign_target_holds_with_5_and_names_the_ways_on(site: Site) -> None:
    stranger = site.folder / "stranger.sh"
    stranger.write_text(f"echo stranger > {site.target}\n")
    site.release("1.0.0")
    hook = f'[[hooks]]\nat = "before-swap"\ncommand = ["sh", "{stranger}"]\n'
    site.release("1.1.0", hook)
    site.run("apply", "hello@1.0.0")
    answer = site.ask("apply", "hello@1.1.0", code=5)
    assert answer["hold"]["reason"] == "foreign"
    assert site.target.read_text() == "stranger\n"
    shown = site.run("status", answer["upgrade"]).out
    for command in answer["allowed"]:
        assert command in shown
    back = site.ask("resume", answer["upgrade"], "--restore")["upgrades"][0]
    assert back["state"] == "rolled_back"
    assert "1.0.0" in site.target.read_text()
    [kept] = site.target.parent.glob("hello.sh.foreign-*")
    assert kept.read_text() == "stranger\n"


def test_the_first_interrupt_ends_the_step_and_stops_resumable(
    site: Site, waiting: subprocess.Popen[str]
) -> None:
    (site.folder / "linger").touch()  # the step takes longer than the engine's look at the event
    waiting.send_signal(signal.SIGINT)
    (site.folder / "go-on").touch()
    out, err = waiting.communicate(timeout=COMMAND_S_MAX)
    assert waiting.returncode == 130
    upgrade = site.ask("status")["open"][0]["upgrade"]
    assert f"noodle resume {upgrade}" in err
    assert "Traceback" not in out + err
    assert site.ask("resume")["upgrades"][0]["state"] == "committed"


def test_the_second_interrupt_leaves_at_once_to_resume(
    site: Site, waiting: subprocess.Popen[str]
) -> None:
    assert waiting.stderr is not None
    waiting.send_signal(signal.SIGINT)
    heard = ""
    while "stopping" not in heard:
        heard = waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(COMMAND_S_MAX) == 130
    assert site.ask("status")["open"][0]["state"] == "swapping"
    (site.folder / "go-on").touch()
    assert site.ask("resume")["upgrades"][0]["state"] == "committed"
    assert site.ask("resume")["upgrades"] == []


def test_waiting_ends_with_8_and_the_upgrade_goes_on(
    site: Site, waiting: subprocess.Popen[str]
) -> None:
    answer = site.ask("resume", "--wait", "0.3", code=8)
    assert answer["upgrades"][0]["state"] == "swapping"
    (site.folder / "go-on").touch()
    assert waiting.wait(COMMAND_S_MAX) == 0
    assert site.ask("status", answer["upgrades"][0]["upgrade"])["state"] == "committed"


def test_a_plan_sent_again_under_its_key_is_the_same_upgrade(site: Site) -> None:
    hook = site.folder / "hook.sh"
    hook.write_text(f"while test ! -e {site.folder}/go-on; do sleep 0.02; done\n")
    site.release("1.0.0", f'[[hooks]]\nat = "after-swap"\ncommand = ["sh", "{hook}"]\n')
    site.run("plan", "hello@1.0.0", "--out", "plan.json")
    resident = site.start("run")
    try:
        assert resident.stdout is not None
        resident.stdout.readline()
        asked = ("apply", "plan.json", "--idempotency-key", "one", "--no-wait")
        first, second = site.ask(*asked), site.ask(*asked)
        assert first["upgrade"] == second["upgrade"]
        (site.folder / "go-on").touch()
        assert site.ask("resume", first["upgrade"])["upgrades"][0]["state"] == "committed"
        assert len(site.ask("history")["upgrades"]) == 1
    finally:
        (site.folder / "go-on").touch()
        resident.send_signal(signal.SIGTERM)
        resident.communicate(timeout=COMMAND_S_MAX)


def test_a_resident_engine_carries_out_what_other_commands_ask(site: Site) -> None:
    site.release("1.0.0")
    resident = site.start("run", "--json")
    try:
        assert resident.stdout is not None
        ready = resident.stdout.readline()
        fits("run", json.loads(ready))
        plain = site.run("apply", "hello@1.0.0")
        assert plain.code == 0
        assert "committed" in plain.out
        going_back = site.ask("apply", "--remove", "hello", "--no-wait")
        assert site.ask("resume", going_back["upgrade"])["upgrades"][0]["state"] == "committed"
        assert resident.stderr is not None
        settings = site.home / "config" / "noodle.json"
        settings.write_text('{"debug": {"stack_traces": 7}}')
        resident.send_signal(signal.SIGHUP)  # it looks by itself too; this does not end it
        told = resident.stderr.readline()
        assert "those of before stay" in told
        assert "type of debug.stack_traces" in told
        (problem,) = site.ask("status")["settings_problems"]
        assert "debug.stack_traces" in problem
        assert "debug.stack_traces" in site.run("status").out
        assert site.run("apply", "hello@1.0.0").code == 2
        settings.unlink()
        assert "as they were before" in resident.stderr.readline()
        assert resident.poll() is None
    finally:
        resident.send_signal(signal.SIGTERM)
        resident.communicate(timeout=COMMAND_S_MAX)
    assert resident.returncode == 0


def test_a_reader_that_goes_away_stops_no_upgrade_and_is_no_error(site: Site) -> None:
    site.release("1.0.0")
    reading, writing = os.pipe()
    os.close(reading)
    applied = subprocess.Popen(
        site.command("apply", "hello@1.0.0"),
        cwd=site.folder,
        env=site.environment(),
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    _, err = applied.communicate(timeout=COMMAND_S_MAX)
    assert (applied.returncode, err) == (0, "")
    assert site.target.exists()


def test_an_answer_that_cannot_be_written_is_said_on_the_other_stream(untouched: Site) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            untouched.command("status", "--json"),
            env=untouched.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 3


def test_closed_streams_are_no_bug(untouched: Site) -> None:
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *untouched.command("status")],
        env=untouched.environment(),
        timeout=COMMAND_S_MAX,
        check=False,
    )
    assert ran.returncode == 0


def on_a_terminal(site: Site, *words: str, answer: bytes, **more: str) -> tuple[int, str]:
    """Run on a terminal of its own, and type `answer` at the first question."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        os.chdir(site.folder)
        command = site.command(*words)
        os.execve(command[0], command, site.environment(TERM="xterm", **more))
    seen, typed = b"", False
    # A Ctrl-C just before Python waits for a line is heard with the next one only.
    while select.select([terminal], [], [], AGAIN_S if typed else COMMAND_S_MAX)[0] or typed:
        if typed and not select.select([terminal], [], [], 0)[0]:
            os.write(terminal, answer)
            continue
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            break
        if not part:
            break
        seen += part
        if b"[y/N]" in seen and not typed:
            typed = True
            os.write(terminal, answer)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


@pytest.mark.parametrize(
    ("answer", "code", "installed"), [(b"n\n", 3, False), (b"y\n", 0, True), (b"\x03", 130, False)]
)
def test_on_a_terminal_apply_asks_and_obeys(
    site: Site, answer: bytes, code: int, installed: bool
) -> None:
    site.release("1.0.0")
    found, seen = on_a_terminal(site, "apply", "hello@1.0.0", answer=answer)
    assert (found, site.target.exists()) == (code, installed)
    assert "Traceback" not in seen
    assert "[y/N]" in seen


def test_yes_asks_nothing_on_a_terminal_and_no_color_is_obeyed(site: Site) -> None:
    site.release("1.0.0")
    code, seen = on_a_terminal(site, "apply", "hello@1.0.0", "--yes", answer=b"", NO_COLOR="1")
    assert code == 0
    assert "[y/N]" not in seen
    assert "\x1b[3" not in seen


def test_rescue_exchanges_by_hand_without_a_home(site: Site) -> None:
    site.release("1.0.0")
    site.release("1.1.0")
    site.run("apply", "hello@1.0.0")
    site.run("apply", "hello@1.1.0")
    site.home.rename(site.folder / "lost")
    listed = site.ask("rescue", str(site.target))["candidates"]
    [kept] = [one["location"] for one in listed if one["role"] == "point"]
    done = site.ask("rescue", str(site.target), "--with", kept)
    assert done["exchanged"] == kept
    assert "1.0.0" in site.target.read_text()
    assert "1.1.0" in Path(done["kept"]).read_text()
    other = site.ask("rescue", str(site.target), "--with", "stranger", code=3)
    assert other["error"]["code"] == "candidate_unknown"
