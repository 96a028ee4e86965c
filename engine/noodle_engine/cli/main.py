"""The edge of the `noodle` command: from words on a line to an exit code.

Owns the way in and the way out. Every failure ends here as three lines on
standard error, or as one JSON document, and as an exit code; a traceback is
printed with --debug only.
"""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from noodle_engine.cli.lazy import Root
from noodle_engine.cli.show.terminal import Invocation, prepare_streams
from noodle_journal.errors import NoodleError

__all__ = ["main", "root"]

_COMPLETING = "_NOODLE_COMPLETE"
_OBJECTS_BETWEEN_COLLECTIONS: Final = 200_000
"""A manifest is a hundred thousand objects that live until the command ends. To look through
all of them for cycles, each time that some hundred more were made, took a tenth of an upgrade."""


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 a bug, 2 usage or settings, 3 refused, 4 failed and old "
    "restored, 5 needs a person, 6 verification failed, 7 not authorised, 8 timed out waiting, "
    "9 lock held, 10 changes pending, 130 interrupted.",
)
def root() -> None:
    """Upgrade running software; never leave it half-upgraded.

    Every step is in an encrypted, signed journal before it happens. After a
    crash, `noodle resume` ends the upgrade: each target wholly old or new.
    """


def main(
    arguments: Sequence[str] | None = None, *, command: click.Command = root, json: bool = False
) -> int:
    """Run the command and return its exit code. Never raises.

    `command` is what the words are for; `json` says --json before they do.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    invocation = Invocation(json=json)
    prepare_streams()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        return _run(command, words, invocation)
    except NoodleError as failure:
        return _end(invocation, failure, failure)
    except (click.Abort, KeyboardInterrupt) as stop:
        from noodle_engine.cli.failures import Abandoned

        return _end(invocation, Abandoned(), stop)
    except click.ClickException as error:
        from noodle_engine.cli.failures import UsageWrong

        context = error.ctx if isinstance(error, click.UsageError) else None
        # What was wrong may stand before --json on the line.
        invocation.json = invocation.json or "--json" in words
        wrong = UsageWrong(
            problem=_lowered(error.format_message()).rstrip("."),
            command=context.command_path if context else "noodle",
        )
        return _end(invocation, wrong, error)
    except BaseException as error:  # noqa: BLE001 - the last line of defence: no traceback
        from noodle_engine.cli.failures import Unexpected

        return _end(invocation, Unexpected(exception=f"{type(error).__name__}: {error}"), error)


def _run(command: click.Command, words: list[str], invocation: Invocation) -> int:
    if not words:
        words = ["--help"]
    try:
        answer = command.main(args=words, prog_name="noodle", obj=invocation, standalone_mode=False)
    except SystemExit as ended:
        if _COMPLETING in os.environ and isinstance(ended.code, int):
            return ended.code  # click ends so once it has answered the shell
        raise
    return answer if isinstance(answer, int) else 0


def _end(invocation: Invocation, failure: NoodleError, error: BaseException) -> int:
    if invocation.debug:
        import traceback

        invocation.warn("".join(traceback.format_exception(error)).rstrip())
    try:
        invocation.fail(failure)
    except NoodleError as worse:  # the answer cannot be written: say so on the other stream
        invocation.json = False
        invocation.fail(worse)
    return failure.exit_code


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
