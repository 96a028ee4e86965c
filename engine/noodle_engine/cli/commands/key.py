"""`noodle key`: the keys of the journal, and where the master key is."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.opening import KEY_SOURCES, check_platform, opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import moment

if TYPE_CHECKING:
    from noodle_engine.execute.keys.operating import KeyView

__all__ = ["key"]


@click.group(cls=CommandGroup, short_help="The journal's keys: look, rotate, rewrap, recover.")
def key() -> None:
    """The journal's keys: look, rotate, rewrap, recover."""


@key.command(short_help="Make a new master key, in a file of its own.")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def init(invocation: Invocation, file: Path) -> int:
    """Make a new master key in a new FILE that only its owner can read.

    No home uses it yet: start Noodle with it as NOODLE_JOURNAL_KEY before
    `noodle init`, or give it to a home with `noodle key rewrap --new-key FILE`.
    """
    import os

    from noodle_engine.execute.keys.operating import make_key

    view = make_key(file, os.urandom)
    invocation.answer(
        (
            f"made a master key in {clean(view.file)}",
            f"  id:           {view.kek_id}",
            f"  recovery key: {view.recovery_key}",
        )
    )
    invocation.say("Write the recovery key down now: it is the same key, as people write it.")
    invocation.document(view)
    return exits.DONE


@key.command(short_help="Which keys there are, and where the master key is.")
@click.pass_obj
def show(invocation: Invocation) -> int:
    """Which keys there are, and where the master key is. No secret is shown."""
    with opened(invocation) as noodle:
        view = noodle.key()
    invocation.answer(_key_lines(invocation, view))
    invocation.document(view)
    return exits.DONE


def _key_lines(out: Invocation, view: KeyView) -> Iterator[str]:
    yield f"master key:  id {view.kek_id}, from: {view.key_source}"
    yield f"log:         {view.log_id}"
    if view.epoch:
        since = moment(view.epoch_since_ms or 0)
        yield f"epoch:       {view.epoch}, since {since}, {view.epoch_records} records"
    else:
        yield "epoch:       none yet: nothing was recorded"
    sealed = "on" if view.encrypted else out.style("OFF: records are legible to anybody", "warn")
    yield f"encryption:  {sealed}"
    yield f"signed by:   {view.public_key}"
    if view.public_key != view.first_public_key:
        yield f"first by:    {view.first_public_key}, which proves the one above"
    yield f"public key:  {clean(view.public_key_file)}"
    if view.rewrap_left:
        yield out.style(
            "a rewrap is not ended: the next change ends it, once `encryption.key_source` "
            "names where the key is now",
            "warn",
        )


@key.command(short_help="Begin a new epoch, sealed with a new key.")
@click.option("--log-key", is_flag=True, help="A new signing key as well, signed by the old one.")
@click.pass_obj
def rotate(invocation: Invocation, log_key: bool) -> int:  # noqa: FBT001
    """Begin a new epoch now: what is recorded from here on is sealed with a new key.

    That happens by itself at each start and after
    `encryption.key_rotation_interval`. What was recorded before stays readable.
    With --log-key a new key signs from here on; the public key that you kept
    goes on proving the journal, for it has signed the new one.
    """
    with opened(invocation) as noodle:
        view = noodle.rotate_key(log_key=log_key)
    invocation.answer(f"epoch {view.epoch} has begun, with a new key")
    if log_key:
        invocation.answer(f"signed by {view.public_key} from here on")
    invocation.document(view)
    return exits.DONE


@key.command(short_help="Let another master key wrap every key of this home.")
@click.option("--to", type=KEY_SOURCES, help="Who keeps it; by default who has it now.")
@click.option(
    "--new-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="This key, from a file of `noodle key init`, and not a new one.",
)
@click.pass_obj
def rewrap(invocation: Invocation, to: str | None, new_key: Path | None) -> int:
    """Let another master key wrap every key of this home; the old one opens nothing then.

    For when a master key may have been seen, or should be kept elsewhere: in
    a file, the system's keyring, a key service (kms), or by whoever starts
    Noodle (environment). Records are not written anew. Stop `noodle run` first.

    A kill at any moment leaves a journal that opens with the old key or the
    new one. Copies of keystore.db made before still open with the old key:
    delete them.
    """
    from noodle_engine.execute.keys.operating import key_in

    given = None if new_key is None else key_in(new_key)
    with opened(invocation) as noodle:
        view = noodle.rewrap_key(to=to, new_key=given)
    invocation.answer(
        (
            f"the journal's keys are wrapped with another master key, from: {view.key_source}",
            f"  id:           {view.kek_id} (was {view.old_kek_id})",
            f"  recovery key: {view.recovery_key}",
        )
    )
    invocation.say(
        (
            "",
            "Write the new recovery key down now; the old one opens nothing any more, but in",
            "copies of keystore.db that were made before: delete those.",
        )
    )
    if view.key_source == "environment":
        invocation.say("Set NOODLE_JOURNAL_KEY to the new key from now on.")
    if view.variable_wins:
        invocation.answer(
            "do: unset NOODLE_JOURNAL_KEY: it has the old key, and wins over "
            f"{view.key_source} where it is set"
        )
    if view.settings_wanted is not None:
        invocation.answer(
            f'do: set `encryption.key_source` to "{view.settings_wanted}" in your settings; '
            "until then the key is looked for there as well"
        )
    invocation.document(view)
    return exits.DONE


@key.command(short_help="Put a lost master key back from the recovery key.")
@click.option("--to", type=KEY_SOURCES, help="Where to; by default where the settings look for it.")
@click.pass_obj
def recover(invocation: Invocation, to: str | None) -> int:
    """Put a lost master key back from the recovery key that was written down.

    It is asked for, or read from standard input. Spaces, hyphens and small
    letters do not matter. Another journal's key is refused.
    """
    check_platform()
    text = _asked()
    with opened(invocation) as noodle:
        view = noodle.recover_key(text, to=to)
    if view.kept:
        invocation.answer(f"the master key {view.kek_id} is back, in: {view.key_source}")
    else:
        invocation.answer(
            f"it is the master key of this home ({view.kek_id}): set NOODLE_JOURNAL_KEY to it"
        )
    if view.settings_wanted is not None:
        invocation.answer(f'do: set `encryption.key_source` to "{view.settings_wanted}"')
    invocation.document(view)
    return exits.DONE


def _asked() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("recovery key", hide_input=True, err=True))
    return sys.stdin.readline(1024)


@key.command("export-public", short_help="Print the key that proves the journal, for others.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def export_public(invocation: Invocation, file: Path | None) -> int:
    """Print the public key that proves the journal, or write it to a new FILE.

    It is no secret, and needs none. Whoever has it verifies the journal, or an
    export of it, without Noodle's keys: `noodle audit verify --public-key FILE`.
    The second line is the same key in the form of C2SP's signed notes.
    """
    with opened(invocation) as noodle:
        view = noodle.export_public_key(file)
    if view.file is not None:
        invocation.answer(f"the public key is in {clean(view.file)}")
    else:
        invocation.answer((view.public_key, view.verifier_key))
    invocation.document(view)
    return exits.DONE
