"""Where the master key of a home is.

Owns the way from the settings to a source: a set variable wins, else the source that
`encryption.key_source` names. Never keeps a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from noodle_engine.execute.home.layout import Home
from noodle_journal.errors import NoodleError
from noodle_journal.failures import KeyMissing
from noodle_journal.keys.files import KEY_VARIABLE, MASTER_KEY_FILE

if TYPE_CHECKING:
    from noodle_engine.execute.home.settings import Settled
    from noodle_journal.keys.sources import KeyService, KeySource

__all__ = ["chosen_source", "load_service", "master_key_of", "settle_keys", "sources_of"]

SERVICES: Final = "noodle.key_services"
_SERVICE_DEFAULT: Final = "vault"


def chosen_source(home: Home, environment: Mapping[str, str], settled: Settled) -> str:
    """The source of the master key: a set variable wins, else what the settings name.

    With settings that cannot be read it is where a key is, so that going back works.
    """
    if KEY_VARIABLE in environment:
        return "environment"
    if settled.values is not None:
        return settled.values.text("encryption.key_source")
    from noodle_journal.keys.sources import WRAPPED_KEY_FILE  # noqa: PLC0415

    if (home.path / MASTER_KEY_FILE).exists():
        return "file"
    return "kms" if (home.path / WRAPPED_KEY_FILE).exists() else "keyring"


def master_key_of(home: Home, environment: Mapping[str, str], settled: Settled) -> bytes:
    """The master key. Raises KeyMissing and its kin of the journal."""
    from noodle_journal.keys.rewrapping import current_key, under_way  # noqa: PLC0415

    chosen = chosen_source(home, environment, settled)
    if chosen == "file" and not under_way(home.path):
        # The common way: nothing else is looked for, or loaded.
        from noodle_journal.keys.sources import FileSource  # noqa: PLC0415

        return FileSource(home.path).read()
    try:
        return current_key(
            home.path, chosen=chosen, sources=sources_of(home.path, environment, settled)
        )
    except KeyMissing as missing:
        if chosen == "environment" and home.master_key_file.exists():
            raise KeyMissing(
                what=f"{KEY_VARIABLE} (`encryption.key_source` is {chosen})",
                remedy=f'set `encryption.key_source` to "file" in {home.path}/config: '
                f"{home.master_key_file} is there",
            ) from missing
        raise


def sources_of(
    folder: Path, environment: Mapping[str, str], settled: Settled
) -> Mapping[str, KeySource]:
    """Every source of a home whose keystore is in `folder`. Raises KeystoreAbsent and its kin."""
    from noodle_journal.keys.rewrapping import names_of  # noqa: PLC0415
    from noodle_journal.keys.sources import (  # noqa: PLC0415
        EnvironmentSource,
        FileSource,
        KeyringSource,
        ServiceSource,
    )

    log_id = names_of(folder).log_id
    service = settled.values.text("noodle.key_service") if settled.values else _SERVICE_DEFAULT
    return {
        "environment": EnvironmentSource(environment.get(KEY_VARIABLE)),
        "file": FileSource(folder),
        "keyring": KeyringSource(log_id),
        "kms": ServiceSource(folder, log_id, service=service, load=load_service),
    }


def load_service(name: str) -> KeyService:
    """The key service of that name, among those that are installed. Raises KeySourceFailed."""
    from importlib.metadata import entry_points  # noqa: PLC0415

    from noodle_journal.failures import KeySourceFailed  # noqa: PLC0415

    known = {one.name: one for one in entry_points(group=SERVICES)}
    found = known.get(name)
    if found is None:
        raise KeySourceFailed(
            source=f"the key service {name}",
            reason=f"there is no such plug-in; installed: {', '.join(sorted(known)) or 'none'}",
            remedy="install it, or name another as `noodle.key_service`",
        )
    make: Callable[[], KeyService] = found.load()
    return make()


def settle_keys(home: Home, environment: Mapping[str, str], settled: Settled) -> str | None:
    """End a rewrap that is under way; the caller holds the home's lock.

    Returns the source that the settings have to name still. What cannot be ended now is
    left: the journal opens meanwhile, and the next writer ends it.
    """
    from noodle_journal.keys.rewrapping import settle_rewrap, under_way  # noqa: PLC0415

    if not under_way(home.path):
        return None
    chosen = chosen_source(home, environment, settled)
    with suppress(NoodleError):
        sources = sources_of(home.path, environment, settled)
        return settle_rewrap(home.path, chosen=chosen, sources=sources)
    return None
