"""The power cut proved on the stand-in: it bites the known mistake, and never the right order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_system
from tests.crashes.harness.loop import usable
from tests.crashes.harness.power import (
    FORMATS,
    FileSystem,
    PowerFailed,
    Variant,
    copy_image,
    disk,
    flush,
    flush_subset,
    power_sweep,
)
from tests.crashes.harness.run import Bench
from tests.crashes.harness.sweep import Sample
from tests.crashes.standin_scenario import Upgrading

MOUNTS = Path("/proc/self/mounts")


def need(file_system: FileSystem) -> None:
    """Go on only where such an image can be made and mounted."""
    require_system("loop devices", usable, install="run as root, to mount loop devices")
    chosen = FORMATS[file_system]
    require_system(chosen.package, chosen.make[0])
    kind = chosen.kind
    require_system(
        f"kernel {kind}",
        lambda: f"\t{kind}\n" in Path("/proc/filesystems").read_text(),
        install=f"modprobe {kind}",
    )


@pytest.mark.parametrize("file_system", FileSystem)
def test_the_right_order_survives_a_power_cut(
    file_system: FileSystem, bench: Bench, work: Path, report_counts: Callable[[object], None]
) -> None:
    need(file_system)
    counts = power_sweep(Upgrading(bench), file_system, Sample(points=1), bench=bench, folder=work)
    report_counts(counts)
    assert counts.cuts >= 14
    assert counts.missed == 0
    assert counts.booted == 3 * counts.cuts


@pytest.mark.parametrize("variant", [Variant.AS_IT_IS, Variant.SUBSET_FLUSHED])
def test_a_rename_of_an_unsynced_file_loses_the_target_without_a_journal(
    variant: Variant, bench: Bench, work: Path
) -> None:
    need(FileSystem.EXT4_WITHOUT_JOURNAL)
    with pytest.raises(PowerFailed, match=f"{variant}: missing"):
        power_sweep(
            Upgrading(bench, order="unsynced"),
            FileSystem.EXT4_WITHOUT_JOURNAL,
            Sample(points=1),
            bench=bench,
            folder=work,
            variants=(variant,),
            failures_max=1,
        )


def test_the_same_mistake_goes_unseen_when_the_kernel_happened_to_flush_all(
    bench: Bench, work: Path
) -> None:
    need(FileSystem.EXT4_WITHOUT_JOURNAL)
    counts = power_sweep(
        Upgrading(bench, order="unsynced"),
        FileSystem.EXT4_WITHOUT_JOURNAL,
        Sample(points=1),
        bench=bench,
        folder=work,
        variants=(Variant.ALL_FLUSHED,),
    )
    assert counts.booted == counts.cuts > 1


def test_a_copy_holds_what_was_flushed_and_not_what_was_not(bench: Bench, work: Path) -> None:
    need(FileSystem.EXT4)
    with disk(FileSystem.EXT4, work) as made:
        copy = work / "copy.img"
        with made.mounted(made.base) as root:
            (root / "flushed").write_bytes(b"x" * 5000)
            flush(root / "flushed")
            (root / "unflushed").write_bytes(b"y" * 5000)
            copy_image(made.base, copy)
        made.check(copy)
        with made.mounted(copy) as root:
            assert (root / "flushed").read_bytes() == b"x" * 5000
            lost = root / "unflushed"
            assert not lost.exists() or lost.read_bytes() != b"y" * 5000


def test_a_subset_is_the_same_for_the_same_seed_and_never_all_or_nothing_for_every_seed(
    tmp_path: Path,
) -> None:
    for name in "abcdefgh":
        (tmp_path / name).touch()
    sizes = [flush_subset(tmp_path, random.Random(seed)) for seed in range(20)]
    assert sizes == [flush_subset(tmp_path, random.Random(seed)) for seed in range(20)]
    assert len(set(sizes)) > 2


def test_a_file_system_keeps_its_device_number_and_inodes_through_a_cut(work: Path) -> None:
    need(FileSystem.EXT4)
    with disk(FileSystem.EXT4, work) as made:
        with made.mounted(made.base) as root:
            (root / "a").touch()
            before = os.stat(root / "a")
        copy_image(made.base, made.image)
        with made.mounted(made.image) as root:
            after = os.stat(root / "a")
        assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)


def test_nothing_stays_mounted_or_attached_after_a_failure(work: Path) -> None:
    need(FileSystem.EXT4)

    class Wanted(Exception):
        pass

    devices: list[Path] = []

    def fail_while_mounted() -> None:
        with disk(FileSystem.EXT4, work) as made, made.mounted(made.base) as root:
            devices.append(Path(f"/dev/loop{os.minor(os.stat(root).st_dev)}"))
            assert devices[0].exists()
            assert str(root) in MOUNTS.read_text()
            raise Wanted

    with pytest.raises(Wanted):
        fail_while_mounted()
    assert str(work) not in MOUNTS.read_text()
    assert not devices[0].exists()
