"""The edge: words on a line in, an exit code out, and never a traceback."""

from __future__ import annotations

import json

import click
import pytest

from noodle_engine import __version__
from noodle_engine.cli.failures import PlatformUnsupported
from noodle_engine.cli.lazy import COMMANDS, global_options
from noodle_engine.cli.main import main, root
from noodle_engine.cli.opening import check_kernel
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words, duration, moment


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_help_is_the_command_s_own(name: str) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    assert command.name == name
    assert COMMANDS[name].help == command.short_help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_the_global_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    assert "--json" in capsys.readouterr().out
    command = root.get_command(click.Context(root), name)
    assert command is not None
    wanted = {option.opts[-1] for option in global_options(hidden=True)}
    found = {option for parameter in command.params for option in parameter.opts}
    assert wanted <= found


def test_nothing_asked_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_version_is_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"noodle {__version__}\n"


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats"]) == 2
    assert "'status'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("noodle sta", ["plain,status"]),
        ("noodle config explain runtime_upgrade.ro", ["plain,runtime_upgrade.rollback."]),
    ],
)
def test_a_shell_that_completes_is_answered_and_nothing_else_is_said(
    line: str,
    answer: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_NOODLE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    assert main([]) == 0
    said = capsys.readouterr()
    assert (said.out.split(), said.err) == (answer, "")


@click.command("faulty")
@click.option("--how", default="bug")
def faulty(how: str) -> None:
    """Raise what no command should."""
    raise {
        "bug": RuntimeError("boom"),
        "interrupt": KeyboardInterrupt(),
        "exit": SystemExit("boom"),
    }[how]


@pytest.mark.parametrize(
    ("how", "code", "failure"),
    [("bug", 1, "unexpected"), ("interrupt", 130, "abandoned"), ("exit", 1, "unexpected")],
)
def test_what_no_command_should_raise_ends_as_any_failure(
    how: str, code: int, failure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--how", how], command=faulty) == code
    plain = capsys.readouterr()
    assert (plain.out, len(plain.err.strip().splitlines())) == ("", 3)
    assert "Traceback" not in plain.err

    assert main(["--how", how], command=faulty, json=True) == code
    asked = capsys.readouterr()
    assert (json.loads(asked.out)["error"]["code"], asked.err.strip()) == (failure, "")


def test_text_from_elsewhere_cannot_steer_a_terminal() -> None:
    assert clean("a\x1b[2Jb\x07\r") == "a\\x1b[2Jb\\x07\\x0d"
    assert clean("two\nlines\tand a tab") == "two\nlines\tand a tab"
    assert clean("grün") == "grün"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("run `noodle status`", "run `noodle --home 'a b' status`"),
        ("noodle resume 01", "noodle --home 'a b' resume 01"),
        ("run `noodle --home x init`", "run `noodle --home x init`"),
        ("nothing to run", "nothing to run"),
    ],
)
def test_commands_in_text_name_the_home(text: str, wanted: str) -> None:
    assert Invocation(home="a b").command(text) == wanted
    assert Invocation().command(text) == text


@pytest.mark.parametrize("release", ["5.5.19", "4.19.0-generic", "5.5-rc1"])
def test_an_older_kernel_is_refused(release: str) -> None:
    with pytest.raises(PlatformUnsupported):
        check_kernel(release)


@pytest.mark.parametrize("release", ["5.6", "5.6.0-1-amd64", "6.18.44-fc-v657", "10.0.1+"])
def test_a_newer_kernel_is_taken(release: str) -> None:
    check_kernel(release)


def test_numbers_are_said_as_people_say_them() -> None:
    assert [bytes_words(n) for n in (0, 1023, 1024, 3 << 20)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "3.0 MiB",
    ]
    assert [duration(n) for n in (None, 5, 1500)] == ["", "5 ms", "1.5 s"]
    assert moment(0) == "1970-01-01 00:00:00 UTC"


def test_json_of_a_usage_error_is_json_wherever_json_stands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["--json", "stats"], ["apply", "--nope", "--json"]):
        assert main(words) == 2
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"
