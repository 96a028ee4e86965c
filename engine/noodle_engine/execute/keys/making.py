"""The keys and the journal of a home that is being made.

Owns where the first master key goes. Whatever fails, nothing of it is left but, where the
keyring kept it already, an entry that no journal uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from noodle_engine.execute.answers.views import InitView
from noodle_engine.execute.home.layout import Home, create_home
from noodle_engine.execute.home.settings import settle
from noodle_engine.execute.keys.finding import sources_of
from noodle_engine.registry.publisher import make_publisher_key
from noodle_journal import Created, Journal
from noodle_journal.keys import KEY_VARIABLE, encode_recovery, make_key_file, parse_master_key

__all__ = ["make_home"]

MASTER_KEY_BYTES: Final = 32
SEED_BYTES: Final = 32


def make_home(
    home: Home,
    environment: Mapping[str, str],
    *,
    master_key: bytes | None,
    key_source: str | None,
    entropy: Callable[[int], bytes],
) -> InitView:
    """Make a home; its settings name where its master key is.

    Without `master_key` it is that of NOODLE_JOURNAL_KEY where that is set, else a new one.
    Without `key_source` a key that is given stays the caller's (`environment`), and a new one
    goes into the home's key file. Raises HomeExists, HomeUnusable, KeyInvalid, KeySourceFailed.
    """
    given = master_key
    if given is None and KEY_VARIABLE in environment:
        given = parse_master_key(environment[KEY_VARIABLE], source=KEY_VARIABLE)
    source = key_source or ("file" if given is None else "environment")
    key = entropy(MASTER_KEY_BYTES) if given is None else given

    def fill(folder: Path) -> Created:
        if source == "file":
            make_key_file(folder / "keys" / "master.key", key)
        make_publisher_key(folder / "keys" / "publisher.key", seed=entropy(SEED_BYTES))
        created = Journal.create(folder, master_key=key, entropy=entropy)
        if source not in ("file", "environment"):
            kept = sources_of(folder, environment, settle(home, environment, ()))[source]
            kept.put_next(key)
            kept.take_next()
        return created

    created = create_home(home.path, fill, key_source=source)
    return InitView(
        home=str(home.path),
        log_id=created.log_id,
        public_key_file=str(home.public_key_file),
        recovery_key=encode_recovery(key),
        key_source=source,
    )
