"""Opening a home: to read beside a writer, or as the one writer.

Owns the order in which a home is opened: format, owner, settings, key, lock,
journal, fold. A settings error stops forward work only: going back and
reading run on what the journal holds (promise 7).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from noodle_engine.execute.home.layout import Home, machine_id
from noodle_engine.execute.home.settings import Options, Settled, settle
from noodle_engine.execute.keys.finding import master_key_of, settle_keys
from noodle_engine.execute.recording import Live, live_of
from noodle_engine.machine.codec import encode
from noodle_journal import Reader

if TYPE_CHECKING:
    from noodle_engine.disk.locks import FileLock
    from noodle_engine.execute.engine import Engine
    from noodle_engine.execute.timing.live_clock import LiveClock
    from noodle_engine.registry.store import ReleaseStore
    from noodle_journal import Journal

__all__ = ["Settled", "encrypts", "open_engine", "open_reader", "settle"]

EPOCH_SECONDS_DEFAULT = 86_400


def open_reader(
    home: Home,
    environment: Mapping[str, str],
    options: Options = (),
    *,
    found: Callable[[Settled], None] = lambda _settled: None,
) -> tuple[Reader, Callable[[], Live]]:
    """A reader of the journal, and the fold as of one moment (made when asked for).

    `found` is told the settings that it is read under.
    """
    home.check()
    settled = settle(home, environment, options)
    key = master_key_of(home, environment, settled)
    found(settled)
    reader = Reader(home.path, master_key=key)

    return reader, lambda: live_of(reader.load())


def _clock(settled: Settled) -> LiveClock:
    """The kernel's clocks, with the bound that the settings have."""
    from noodle_engine.execute.timing.live_clock import LiveClock  # noqa: PLC0415

    if settled.values is None:
        return LiveClock()
    return LiveClock(jump_ms=round(settled.values.number("noodle.clock_bound") * 1000))


def encrypts(settled: Settled) -> bool:
    """Whether new epochs are sealed, and not legible: either switch turns that off."""
    values = settled.values
    if values is None:
        return True
    return values.switch("encryption.enabled") and values.acts("encryption.data_at_rest_encryption")


def open_engine(
    home: Home,
    lock: FileLock,
    environment: Mapping[str, str],
    options: Options = (),
    *,
    adopt: bool = False,
    entropy: Callable[[int], bytes] = os.urandom,
    clock: LiveClock | None = None,
) -> Engine:
    """Become the home's engine. The lock is held already, and is the engine's from now on.

    Without `clock` journal time is read from the kernel's clocks.

    Raises what the journal says of a key, damage, place or head; the lock is
    released then.
    """
    # Most commands only read: they do not pay for the writer and the driver.
    from noodle_engine.execute.engine import Engine  # noqa: PLC0415
    from noodle_engine.registry.store import ReleaseStore  # noqa: PLC0415
    from noodle_journal import Identity, Journal  # noqa: PLC0415

    opened: Journal | None = None
    try:
        settled = settle(home, environment, options)
        settle_keys(home, environment, settled)
        key = master_key_of(home, environment, settled)
        epoch_s = (
            settled.values.whole("encryption.key_rotation_interval")
            if settled.values
            else EPOCH_SECONDS_DEFAULT
        )
        engine = Engine(home, lock, clock or _clock(settled), ReleaseStore(home.path))
        if adopt and settled.values is not None:
            from noodle_engine.execute.anchoring.loss import remember_loss  # noqa: PLC0415

            remember_loss(home.path, settled.values, master_key=key)
        opened = Journal.open(
            home.path,
            master_key=key,
            wall_ns=engine.clock.now_ns,
            entropy=entropy,
            identity=Identity.of(home.path / "journal.db", machine_id()),
            state=lambda: encode(engine.world),
            on_commit=engine.committed,
            loaded=lambda found: engine.begin(live_of(found)),
            adopt=adopt,
            epoch_seconds_max=epoch_s,
            plain=not encrypts(settled),
        )
        engine.attach(opened)
        if settled.values is not None:
            engine.anchor(settled.values)
    except BaseException:
        if opened is not None:
            opened.close()
        lock.release()
        raise
    return engine


def releases_of(home: Home) -> ReleaseStore:
    """The releases that the home knows."""
    from noodle_engine.registry.store import ReleaseStore  # noqa: PLC0415 - as above

    return ReleaseStore(home.path)
