"""`noodle audit export`: the journal for somebody who has neither its home nor its key."""

# A command pays for what it uses: most imports stand where they are needed.

from __future__ import annotations

from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.follow import showing
from noodle_engine.cli.lazy import NoodleCommand
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import bytes_words

__all__ = ["export"]

_FORMS = ("full", "redacted", "hashes")


@click.command(cls=NoodleCommand, short_help="Write the journal for an auditor.")
@click.argument("out", metavar="DIR|FILE.tar", type=click.Path(path_type=Path))
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    default="full",
    help="full: all can be read. redacted: names, paths and reasons as keyed digests. "
    "hashes: nothing but hashes and signatures.",
)
@click.pass_obj
def export(invocation: Invocation, out: Path, form: str) -> int:
    """Write the journal as it is now to a new folder, or to a new file ending in .tar.

    Segments of JSON lines and a manifest that the log signs. Whoever has the
    log's public key checks it without the home: noodle audit verify --export.
    Every record is verified on the way; a journal that does not verify is not
    exported. In full form everything in it can be read by everybody.
    """
    with (
        opened(invocation) as noodle,
        showing(invocation, "exporting the journal", "{:,} records".format) as progress,
    ):
        view = noodle.audit_export(out, form=form, progress=progress)
    size = bytes_words(view.size_bytes)
    invocation.say(f"written: {clean(view.path)}, {view.size} records ({view.form}), {size}")
    checking = f"`noodle audit verify --export {clean(view.path)} --public-key FILE`"
    invocation.say(f"next: {checking} checks it, anywhere")
    invocation.document(view)
    return exits.DONE
