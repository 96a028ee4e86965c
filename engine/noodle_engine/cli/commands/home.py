"""`noodle init`, `noodle run` and `noodle doctor`: the home and what drives it."""

# ruff: noqa: PLC0415
# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import KEY_SOURCES, check_platform, opened
from noodle_engine.cli.show.terminal import Invocation, clean

__all__ = ["doctor", "init", "run"]

_VERDICTS: dict[bool | None, tuple[str, str]] = {
    True: ("good", "good"),
    False: ("BAD", "bad"),
    None: ("look", "warn"),
}


@click.command(cls=NoodleCommand, short_help="Make a home: journal and keys.")
@click.option(
    "--key-source",
    type=KEY_SOURCES,
    help="Who keeps the master key; by default a file in the home.",
)
@click.pass_obj
def init(invocation: Invocation, key_source: str | None) -> int:
    """Make a home: an empty journal and every key it needs.

    The home is the folder that --home or NOODLE_HOME names. It must be absent
    or empty; it appears whole or not at all. The recovery key is shown once:
    with it the journal can be read if the master key is lost.

    Where NOODLE_JOURNAL_KEY is set, that is the master key, and stays where it is.
    """
    check_platform()
    from noodle_engine.api import Noodle

    view = Noodle.init(invocation.home, key_source=key_source)
    invocation.answer(
        (
            f"made the home {clean(view.home)}",
            f"  log id:       {view.log_id}",
            f"  public key:   {clean(view.public_key_file)}",
            f"  master key:   from: {view.key_source}",
            f"  recovery key: {view.recovery_key}",
        )
    )
    invocation.say(
        (
            "",
            "Write the recovery key down now: it is shown once and kept nowhere. Keep the public",
            "key file elsewhere too: whoever has it can verify the journal without any secret.",
            *(
                ["Start Noodle with NOODLE_JOURNAL_KEY from now on: the home does not hold it."]
                if view.key_source == "environment"
                else []
            ),
            "",
            "next: " + invocation.command("`noodle component add FOLDER` makes a release known"),
        )
    )
    invocation.document(view)
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="Stay and drive upgrades for other commands.")
@click.pass_obj
def run(invocation: Invocation) -> int:
    """Stay and drive upgrades for other commands, until SIGTERM or Ctrl-C.

    Takes up what is open, then listens on the home's socket. Commands that
    change something go through it, with the same answers. Run it under a
    service manager; it stays in the foreground.

    Settings files that change are taken over by themselves, or at SIGHUP: all
    of them, or with anything wrong none. Each change is told on standard error.
    """
    from noodle_engine.cli.show.shapes import RunView
    from noodle_engine.cli.stopping import reload_on_signal, stop_on_signals

    first = "stopping after the step that runs; once more ends at once"
    with (
        stop_on_signals(invocation, first=first) as stop,
        reload_on_signal() as reload,
        opened(invocation) as noodle,
    ):
        home = str(noodle.home)

        def ready() -> None:
            invocation.say(f"driving upgrades of {clean(home)}; Ctrl-C or SIGTERM ends it")
            invocation.document(RunView(home=home, ready=True))

        def changed(text: str) -> None:
            invocation.warn(clean(text))

        noodle.run(stop=stop, ready=ready, reload=reload, changed=changed)
    invocation.say("ended; what was not finished goes on with `noodle run` or `noodle resume`")
    return exits.DONE


@click.command(cls=NoodleCommand, short_help="Check what Noodle stands on, and say what to do.")
@click.pass_obj
def doctor(invocation: Invocation) -> int:
    """Check what Noodle stands on, and say what to do.

    Looks at the platform, SQLite, the clock, the home, its keys, disk and
    journal, and every known target. Changes nothing. Exit 5 if a check failed.
    """
    from noodle_engine.api import Noodle

    view = Noodle.doctor(invocation.home, options=invocation.options)
    for check in view.checks:
        word, style = _VERDICTS[check.ok]
        invocation.answer(
            f"{invocation.style(f'{word:<5}', style)} {check.name:<12} {clean(check.found)}"
        )
        if check.remedy:
            invocation.answer(f"      do: {clean(invocation.command(check.remedy))}")
    invocation.document(view)
    return exits.NEEDS_PERSON if any(check.ok is False for check in view.checks) else exits.DONE
