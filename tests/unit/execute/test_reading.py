"""What is answered from the journal: it is the fold of its records, at any place of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from noodle_engine import Noodle
from noodle_engine.api import Waiting
from noodle_engine.execute.answers import reading
from noodle_engine.execute.answers.views import UpgradeRow
from noodle_engine.execute.engine import kind_of
from noodle_engine.execute.failures import UpgradeUnknown
from noodle_engine.execute.ids import new_upgrade_id
from noodle_engine.execute.recording import Live
from noodle_engine.machine.plan import plan_hash
from noodle_engine.machine.records import Entry, Requested, Transition, fields_of
from noodle_engine.machine.states import Message, Reason, Release, State, Status
from noodle_engine.machine.upgrade import Fold, fold
from noodle_journal import Checkpoint, Journal, Kind, NewRecord, Record
from noodle_journal.anchors.comparing import Compared
from noodle_journal.shredding import EpochSpan
from tests.unit.execute.site import WAIT_S_MAX, Driven, Site, hook
from tests.unit.machine import drive

UPGRADES = 2_000
DAY_MS = 86_400_000


def story(site: Site) -> None:
    """Upgrades that committed, failed, were undone, held, and one that is open."""
    for version in ("1.0.0", "1.1.0"):
        site.release("web", version)
    site.release("bad", "1.0.0", hook("after-swap", ["false"]))
    site.release(
        "odd",
        "1.0.0",
        hook("before-swap", ["true"], reversible=False) + hook("after-swap", ["false"]),
    )
    site.release("late", "1.0.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        noodle.apply(["web@1.1.0"])
        noodle.apply(["bad@1.0.0"])
        noodle.rollback("web")
        held = noodle.apply(["odd@1.0.0"])
        assert held is not None
        noodle.resume(held.upgrade, release=Release.BACK)
        noodle.apply([], remove=["web"])
    driven = Driven.open(site)
    driven.engine.leave()
    driven.submit(driven.plan("late@1.0.0"))
    driven.close()


def open_rows(world: Fold) -> dict[str, tuple[State, bool]]:
    return {
        one.id: (one.state, one.undoing and one.state not in (State.COMMITTED, State.ROLLED_BACK))
        for one in world.upgrades.values()
    }


def shown(rows: tuple[UpgradeRow, ...]) -> dict[str, tuple[State, bool]]:
    return {one.upgrade: (one.state, one.undoing) for one in rows}


def test_replay_at_each_record_is_the_fold_of_the_records_up_to_it(site: Site) -> None:
    """F1, for every prefix of a journal in which much happened."""
    story(site)
    with site.open() as noodle, noodle.journal as journal:
        assert journal.size > 130
        world = Fold()
        live = Live(reading_world(noodle), journal.size)
        for record in journal.read():
            entry = reading.entry_in(record)
            world = world if entry is None else fold(world, entry)
            view = reading.replay(journal, record.seq, None, live)
            found = shown(view.upgrades)
            assert view.at == record.seq
            for upgrade, row in open_rows(world).items():
                assert found[upgrade] == row
            assert {(one.name, one.installed, one.points) for one in view.components} == {
                (one.name, one.installed, one.points) for one in reading.component_rows(world, {})
            }
            assert view.differs == ()


def reading_world(noodle: Noodle) -> Fold:
    with noodle._read() as (_, world):
        return world


def test_status_history_and_steps_say_what_the_replay_says(site: Site) -> None:
    story(site)
    with site.open() as noodle:
        replayed = noodle.audit_replay()
        history = noodle.history(everything=True)
        status = noodle.status()
        assert replayed.differs == ()
        assert {one.upgrade: one.state for one in history.upgrades} == {
            one.upgrade: one.state for one in replayed.upgrades
        }
        assert [one.upgrade for one in history.upgrades] == [
            one.upgrade for one in reversed(replayed.upgrades)
        ]
        assert {one.upgrade for one in status.open} == {
            one.upgrade for one in replayed.upgrades if one.status is Status.PENDING
        }
        installed = {one.name: one.installed for one in status.components if one.installed}
        assert installed == {
            one.name: one.installed for one in replayed.components if one.installed
        }
        for row in history.upgrades:
            view = noodle.upgrade(row.upgrade)
            assert (view.state, view.status, view.reason) == (row.state, row.status, row.reason)
            only = noodle.audit_replay(row.upgrade)
            assert [one.upgrade for one in only.upgrades] == [row.upgrade]
            shown_steps = noodle.steps(row.upgrade).steps
            assert {one.state for one in shown_steps} <= {
                "done",
                "failed",
                "undone",
                "undoing",
                "waiting",
                "not needed",
                "running",
            }
            if view.finished:
                assert not [one for one in shown_steps if one.state in ("running", "undoing")]


def test_replay_shows_a_target_that_a_stranger_changed(site: Site) -> None:
    site.release("web", "1.0.0")
    with site.open() as noodle:
        noodle.apply(["web@1.0.0"])
        site.target("web").write_text("a stranger's")
        differs = noodle.audit_replay().differs
        assert len(differs) == 1
        assert "web" in differs[0]
        assert noodle.audit_replay(at=noodle.status().journal.size - 1).differs == ()


def test_a_replay_that_differs_from_the_live_fold_says_so(site: Site) -> None:
    """Also where the journal ends with its own record of everything alive."""
    story(site)
    with site.open() as noodle, noodle.journal as journal:
        false = Live(Fold(), journal.size)
        assert reading.replay(journal, None, None, false).differs != ()
        true = Live(reading_world(noodle), journal.size)
        assert reading.replay(journal, None, None, true).differs == ()


@pytest.mark.parametrize("at", [-5, 0, 1, 10**9])
def test_a_replay_outside_of_the_journal_ends_at_its_ends(site: Site, at: int) -> None:
    story(site)
    with site.open() as noodle:
        view = noodle.audit_replay(at=at)
        assert view.at == max(0, min(at, view.size))
        if at <= 1:
            assert view.upgrades == ()
            assert view.components == ()


def test_a_follower_hears_each_record_of_its_upgrade_once_and_in_order(site: Site) -> None:
    """Those before it began to follow too, and none of another upgrade."""
    first, second = site.gate("first"), site.gate("second")
    site.release(
        "web", "1.0.0", hook("before-swap", first.command) + hook("after-swap", second.command)
    )
    site.release("api", "1.0.0")
    with site.open() as noodle:
        view = noodle.apply(["web@1.0.0"], waiting=Waiting(wait=False))
        assert view is not None
        first.wait()
        heard: list[int] = []
        following = threading.Thread(
            target=lambda: noodle.resume(
                view.upgrade, waiting=Waiting(follow=lambda one: heard.append(one.seq))
            )
        )
        following.start()
        first.open()
        second.wait()
        noodle.apply(["api@1.0.0"])
        second.open()
        following.join(WAIT_S_MAX)
        wanted = [one.seq for one in noodle.audit_show(view.upgrade)]
    assert heard == [seq for seq in wanted if seq >= heard[0]]
    assert len(heard) > 5


# -- finding an upgrade ---------------------------------------------------------


@pytest.fixture
def two(site: Site) -> Iterator[tuple[Driven, list[str]]]:
    """Two upgrades whose ids differ in their last character; the second is open."""
    driven = Driven.open(site)
    for name in ("web", "api"):
        site.release(name, "1.0.0")
    ids = [driven.apply("web@1.0.0")]
    driven.engine.leave()
    ids.append(driven.submit(driven.plan("api@1.0.0")))
    yield driven, ids
    driven.close()


def test_an_upgrade_is_found_by_a_beginning_that_only_it_has(
    two: tuple[Driven, list[str]],
) -> None:
    driven, ids = two
    journal, world = driven.engine.journal, driven.engine.world
    common = len([1 for one, other in zip(*ids, strict=True) if one == other])
    for upgrade in ids:
        for wanted in (upgrade, upgrade.lower(), f"  {upgrade} ", upgrade[: common + 1]):
            assert reading.find_upgrade(journal, world, wanted).id == upgrade


def test_a_beginning_that_two_have_names_both(two: tuple[Driven, list[str]]) -> None:
    driven, ids = two
    with pytest.raises(UpgradeUnknown) as unknown:
        reading.find_upgrade(driven.engine.journal, driven.engine.world, ids[0][:8])
    assert unknown.value.data["matches"] == sorted(ids)


@pytest.mark.parametrize("wanted", ["", "0", "000", "7ZZZZZ", "not an id", "%", "0" * 26, "0" * 40])
def test_what_names_no_upgrade_is_unknown(two: tuple[Driven, list[str]], wanted: str) -> None:
    driven, _ = two
    with pytest.raises(UpgradeUnknown) as unknown:
        reading.find_upgrade(driven.engine.journal, driven.engine.world, wanted)
    assert unknown.value.data["matches"] in ([], [wanted])


@dataclass
class Counting:
    """A journal that counts the records that it deciphers."""

    journal: Journal
    read_records: list[int] = field(default_factory=list)

    def _counted(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            self.read_records.append(record.seq)
            yield record

    @property
    def size(self) -> int:
        return self.journal.size

    def compare(self, notes: Iterable[str]) -> Sequence[Compared]:
        return self.journal.compare(notes)

    @property
    def root(self) -> bytes:
        return self.journal.root

    @property
    def checkpoint(self) -> Checkpoint | None:
        return self.journal.checkpoint

    @property
    def log_id(self) -> str:
        return self.journal.log_id

    def read(self, start: int = 1, stop: int | None = None) -> Iterator[Record]:
        return self._counted(self.journal.read(start, stop))

    def read_run(self, run: str) -> Iterator[Record]:
        return self._counted(self.journal.read_run(run))

    def read_back(self, limit: int, kind: Kind | None = None) -> Iterator[Record]:
        return self._counted(self.journal.read_back(limit, kind))

    @property
    def first_readable(self) -> int:
        return self.journal.first_readable

    def spans(self) -> Sequence[EpochSpan]:
        return self.journal.spans()

    def first_of(self, run: str) -> int | None:
        return self.journal.first_of(run)


def test_a_long_journal_is_read_only_as_far_as_an_answer_needs(site: Site) -> None:
    """2,000 upgrades, ten a day: looking one up, and listing twenty, deciphers few records."""
    site.release("web", "1.0.0")
    driven = Driven.open(site)
    try:
        plan = replace(driven.plan("web@1.0.0"), steps=())
        ids: list[str] = []
        now_ms = 1_700_000_000_000
        driven.engine.clock.now_ms = lambda: now_ms  # type: ignore[method-assign]
        while len(ids) < UPGRADES:
            now_ms += DAY_MS
            records = []
            for at_ms in range(now_ms - 10, now_ms):
                ids.append(new_upgrade_id(at_ms, bytes(16)))
                settings: dict[str, object] | None = {} if len(ids) == 1 else None
                asked = Requested(plan, plan_hash(plan), "", settings=settings)
                turned = move(State.PENDING, Message.TURN_BACK)
                undone = move(State.ROLLED_BACK, Message.UNDONE)
                for event in (asked, turned, undone):
                    entry = Entry(event, "test", at_ms, ids[-1])
                    records.append(NewRecord(kind_of(entry.label), ids[-1], fields_of(entry)))
            driven.engine._recorder.append(records, going_back=False, head=False)
        world = driven.engine.world
        assert driven.engine.journal.size > 3 * UPGRADES

        def cost(wanted: str) -> int:
            counting = Counting(driven.engine.journal)
            try:
                assert reading.find_upgrade(counting, world, wanted).id.startswith(wanted)
            except UpgradeUnknown:
                assert wanted not in ids
            return len(counting.read_records)

        assert cost(ids[-1][:10]) < 20
        assert cost(ids[-100][:10]) < 130
        assert cost(ids[0][:10]) < UPGRADES + 10  # requests only, of all that is newer
        assert cost(ids[0]) < 10  # a whole id costs its own records
        assert cost("7ZZZZZ") < 3  # nothing is as late as that

        counting = Counting(driven.engine.journal)
        assert len(reading.history(counting, 20)[0]) == 20
        assert len(counting.read_records) < 20 * 4 + 2
    finally:
        driven.close()


def move(target: State, message: Message) -> Transition:
    return Transition(State.PENDING, target, message, undoing=True, reason=Reason.CANCELLED)


@pytest.mark.parametrize(("step", "restores"), [("snapshot:web", False), ("swap:web", True)])
def test_restore_is_offered_only_where_something_was_exchanged(step: str, restores: bool) -> None:
    """Before that there is nothing of ours to put back: the stranger's would stay."""
    upgrade = drive.Driven.of()
    upgrade.until_step(step)
    upgrade.done(foreign="a stranger's")
    ways = reading._allowed(upgrade.upgrade)
    assert any("--restore" in way for way in ways) is restores
    assert any("--adopt" in way for way in ways)
