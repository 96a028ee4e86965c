"""Each upgrade runs on the settings that it was requested under."""

from __future__ import annotations

from pathlib import Path

from noodle_engine import Noodle
from noodle_engine.disk.locks import lock_file
from noodle_engine.execute.home.layout import Home
from noodle_engine.execute.home.opening import open_engine
from noodle_engine.execute.home.settings import settings_from_journal
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.machine.plan import Plan
from noodle_engine.machine.states import OnCrash
from noodle_policies.settings.model.catalogue import catalogue
from noodle_policies.settings.values import Values, nested, values_hash

AT_ONCE = "runtime_upgrade_manager.max_concurrent_upgrades"


def planned(noodle: Noodle, folder: Path, name: str) -> Plan:
    """A plan to install a component of that name."""
    release = folder / name
    release.mkdir()
    (release / "payload").write_text(name)
    (release / "noodle.toml").write_text(
        f'format = 1\n[component]\nname = "{name}"\nversion = "1.0.0"\nkind = "file"\n'
        f'[payload]\npath = "payload"\n[target]\npath = "{folder}/live-{name}"\n'
    )
    noodle.add(release)
    plan = noodle.plan([f"{name}@1.0.0"]).plan
    assert plan is not None
    return plan


def test_upgrades_under_two_settings_keep_each_its_own(tmp_path: Path) -> None:
    Noodle.init(tmp_path / "home")
    with Noodle.open(tmp_path / "home") as noodle:
        plans = {limit: planned(noodle, tmp_path, f"app{limit}") for limit in (1, 2, 3)}
    home = Home(tmp_path / "home")
    engine = open_engine(home, lock_file(home.lock_file), {})
    try:
        upgrades = {}
        for limit, plan in plans.items():
            # The third is requested under what the first was.
            stored = {AT_ONCE: min(limit, 4 - limit)}
            upgrades[limit] = new_upgrade_id(limit, bytes(16))
            engine.request(
                plan,
                upgrade=upgrades[limit],
                actor="test",
                settings=stored,
                settings_hash=values_hash(stored),
                on_crash=OnCrash.FORWARD,
            )

        def limits() -> list[int]:
            return [
                engine.settings_of(engine.open_upgrade(one)).whole(AT_ONCE)
                for one in upgrades.values()
            ]

        assert limits() == limits() == [1, 2, 1]
        assert catalogue().defaults[AT_ONCE] not in limits()
    finally:
        engine.close()


def test_settings_of_the_journal_are_read_in_sections_and_as_the_first_journals_had_them() -> None:
    given = {AT_ONCE: 7, "debug.log_level": "DEBUG"}
    for stored in (nested(given), given):
        found = settings_from_journal(stored)
        assert (found.whole(AT_ONCE), found.text("debug.log_level")) == (7, "DEBUG")
        assert found.whole("runtime_upgrade_manager.default_timeout") == 300
    assert values_hash(nested(given)) == Values(given).hash
