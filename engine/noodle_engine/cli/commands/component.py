"""`noodle component`: releases that can be applied, and what is installed of them."""

from __future__ import annotations

from pathlib import Path

import click

from noodle_engine.cli import exits
from noodle_engine.cli.lazy import CommandGroup
from noodle_engine.cli.opening import opened
from noodle_engine.cli.show.terminal import Invocation, clean
from noodle_engine.cli.show.wording import component_lines

__all__ = ["component"]


@click.group(cls=CommandGroup, short_help="Releases that can be applied.")
def component() -> None:
    """Releases that can be applied, and what is installed of them.

    A release is a folder with noodle.toml and the payload that it names.
    """


@component.command(short_help="Make a release known.")
@click.argument("release", type=click.Path(path_type=Path))
@click.pass_obj
def add(invocation: Invocation, release: Path) -> int:
    """Make a release known: check it, copy it into the home, sign it.

    RELEASE is a folder with noodle.toml. Adding the same release again changes
    nothing; another content under the same version is refused.
    """
    with opened(invocation) as noodle:
        view = noodle.add(release)
    for row in view.components:
        invocation.say(f"{clean(row.name)}: known are {', '.join(row.releases)}")
        invocation.say(
            invocation.command(f"next: `noodle plan {row.name}@VERSION` shows what would change")
        )
    invocation.document(view)
    return exits.DONE


@component.command("list", short_help="All components.")
@click.pass_obj
def list_(invocation: Invocation) -> int:
    """All components: installed or known."""
    with opened(invocation) as noodle:
        view = noodle.components()
    invocation.answer(component_lines(invocation, view.components) if view.components else "none")
    invocation.document(view)
    return exits.DONE


@component.command(short_help="One component.")
@click.argument("name")
@click.pass_obj
def show(invocation: Invocation, name: str) -> int:
    """One component: what is installed where, its releases, the kept old versions."""
    with opened(invocation) as noodle:
        view = noodle.components(name)
    invocation.answer(component_lines(invocation, view.components))
    invocation.document(view)
    return exits.DONE


@component.command(short_help="Stop knowing what is installed under a name.")
@click.argument("name")
@click.pass_obj
def forget(invocation: Invocation, name: str) -> int:
    """Stop knowing what is installed under a name.

    The target and its kept old versions stay on disk as they are. To remove
    the target itself: noodle apply --remove NAME.
    """
    with opened(invocation) as noodle:
        view = noodle.forget(name)
    invocation.say(f"{clean(name)} is forgotten; its target stays as it is")
    invocation.document(view)
    return exits.DONE
