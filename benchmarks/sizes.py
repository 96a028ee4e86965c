"""How much is measured: enough to trust a median, or just enough to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Every size of a run."""

    append_rounds: int
    append_commits: int
    append_threads_commits: int
    upgrade_rounds: int
    upgrades_a_round: int
    verify_records: int
    verify_rounds: int
    open_upgrades: int
    open_rounds: int
    resume_upgrades: int
    resume_rounds: int
    command_rounds: int
    syncs_upgrades: int
    memory_appends: int
    memory_upgrades: int
    tree_files: int
    tree_bytes: int
    tree_rounds: int
    settings_rounds: int


FULL = Sizes(
    append_rounds=40,
    append_commits=25,
    append_threads_commits=160,
    upgrade_rounds=9,
    upgrades_a_round=5,
    verify_records=200_000,
    verify_rounds=5,
    open_upgrades=10_000,
    open_rounds=9,
    resume_upgrades=100,
    resume_rounds=3,
    command_rounds=15,
    syncs_upgrades=10,
    memory_appends=20_000,
    memory_upgrades=100,
    tree_files=20_000,
    tree_bytes=1_000_000_000,
    tree_rounds=5,
    settings_rounds=200,
)
QUICK = Sizes(
    append_rounds=2,
    append_commits=10,
    append_threads_commits=16,
    upgrade_rounds=2,
    upgrades_a_round=1,
    verify_records=300,
    verify_rounds=2,
    open_upgrades=12,
    open_rounds=2,
    resume_upgrades=3,
    resume_rounds=1,
    command_rounds=2,
    syncs_upgrades=2,
    memory_appends=50,
    memory_upgrades=2,
    tree_files=120,
    tree_bytes=600_000,
    tree_rounds=2,
    settings_rounds=3,
)
OPEN_UPGRADES_FEW = 10
