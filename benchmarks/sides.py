"""The sides of a comparison that need a process of their own, as that process.

`python -m benchmarks.sides SIDE FOLDER` reads a line at a time: `prepare N`
gets ready to do N, `run N` does N. It answers each with a line of JSON: the
milliseconds of each one, the CPU time, and the process's peak memory while it
did them. Its first line says how durable it is.

Owns what is compared with a whole upgrade: the bare floor, and DBOS.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from noodle_journal import NewRecord

PAYLOAD_BYTES = 65_536
DBOS_STEPS = 7
# One for the request, one for each of seven steps' intents (each with the result
# before it), one for the end: what the design writes for one file.
FLOOR_COMMITS = 9


class Side(Protocol):
    """Something that can be done again and again."""

    def facts(self) -> dict[str, object]:
        """How durable it is, read back from what is live."""
        ...

    def prepare(self, count: int) -> None:
        """Get ready to do that many; not timed."""
        ...

    def once(self) -> None:
        """Do it once."""
        ...


class NoodleSide:
    """A whole upgrade of one file by the Python API: plan, apply, committed."""

    def __init__(self, folder: Path) -> None:
        from noodle_engine import Noodle  # noqa: PLC0415 - each side pays for its own imports

        self._folder = folder
        self._target = folder / "live" / "app"
        self._target.parent.mkdir(parents=True)
        Noodle.init(folder / "home")
        self._noodle = Noodle.open(folder / "home")
        self._known = self._done = 0
        self.prepare(1)
        self.once()  # the first install; each one after it replaces a file

    def facts(self) -> dict[str, object]:
        return durability_of(self._folder / "home" / "journal.db")

    def prepare(self, count: int) -> None:
        while self._known < self._done + count:
            version = f"1.{self._known}.0"
            release = self._folder / "releases" / version
            release.mkdir(parents=True)
            (release / "app").write_bytes(os.urandom(PAYLOAD_BYTES))
            (release / "noodle.toml").write_text(
                "format = 1\n[component]\n"
                f'name = "app"\nversion = "{version}"\nkind = "file"\n'
                f'[payload]\npath = "app"\n[target]\npath = "{self._target}"\n'
            )
            self._noodle.add(release)
            self._known += 1

    def once(self) -> None:
        view = self._noodle.apply([f"app@1.{self._done}.0"])
        if view is None or view.state != "committed":
            raise RuntimeError(f"the upgrade ended otherwise: {view}")
        self._done += 1


class PlanSide(NoodleSide):
    """Planning the next upgrade, as `apply` does before it changes anything."""

    def once(self) -> None:
        if self._done == 0:
            super().once()
            return
        found = self._noodle.plan([f"app@1.{self._done}.0"])
        if not found.changes:
            raise RuntimeError(f"there was nothing to plan: {found}")


class RecordsSide:
    """The records of a whole upgrade, in the commits it made, and no file touched.

    Sealed, signed, durable and folded by the engine, as they are in an upgrade.
    """

    def __init__(self, folder: Path) -> None:
        from benchmarks.opening import commits_of, one_real_upgrade  # noqa: PLC0415
        from noodle_engine.disk.locks import lock_file  # noqa: PLC0415
        from noodle_engine.execute.home.opening import open_engine  # noqa: PLC0415

        self._home, self._upgrade, records = one_real_upgrade(folder)
        self._commits = commits_of(records)
        self._engine = open_engine(self._home, lock_file(self._home.lock_file), os.environ)
        self._number = 0
        self._ready: list[list[list[NewRecord]]] = []

    def facts(self) -> dict[str, object]:
        return {
            "records": sum(len(one) for one in self._commits),
            "commits": len(self._commits),
            **durability_of(self._home.path / "journal.db"),
        }

    def prepare(self, count: int) -> None:
        from benchmarks.opening import again  # noqa: PLC0415

        while len(self._ready) < count:
            self._number += 1
            self._ready.append(
                [again(self._upgrade, commit, self._number) for commit in self._commits]
            )

    def once(self) -> None:
        *before, last = self._ready.pop()
        for commit in before:
            self._engine.journal.append(commit)
        # An upgrade keeps the head in the keystore once, where it ends.
        self._engine.journal.append(last, head=True)


def durability_of(journal: Path) -> dict[str, object]:
    """What a connection opened as the journal opens its own says of itself."""
    from noodle_journal.storage.database import connect  # noqa: PLC0415

    connection = connect(journal)
    try:
        return {
            "journal_mode": connection.execute("PRAGMA journal_mode").fetchone()[0],
            "synchronous": connection.execute("PRAGMA synchronous").fetchone()[0],
            "sqlite": connection.execute("SELECT sqlite_version()").fetchone()[0],
        }
    finally:
        connection.close()


class FloorSide:
    """The bare floor: a staged copy, made durable, exchanged, and the durable commits."""

    def __init__(self, folder: Path) -> None:
        from benchmarks.journals import BareLog  # noqa: PLC0415

        folder.mkdir(parents=True)
        self._log = BareLog(folder, crypto=False)
        self._folder = folder / "live"
        self._folder.mkdir()
        self._source = folder / "source"
        self._source.write_bytes(os.urandom(PAYLOAD_BYTES))
        shutil.copyfile(self._source, self._folder / "app")

    def facts(self) -> dict[str, object]:
        found = self._log.durability()
        return {
            "journal_mode": found.journal_mode,
            "synchronous": found.synchronous,
            "sqlite": found.sqlite,
        }

    def prepare(self, count: int) -> None:
        """Nothing to get ready."""

    def once(self) -> None:
        staged = self._folder / ".app.next"
        for _ in range(FLOOR_COMMITS - 2):
            self._log.append()
        with staged.open("wb") as out:
            out.write(self._source.read_bytes())
            out.flush()
            os.fsync(out.fileno())
        self._log.append()
        os.rename(staged, self._folder / "app")
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._log.append()


class DbosSide:
    """A DBOS workflow of seven empty steps on SQLite; `wal` sets its file to WAL."""

    def __init__(self, folder: Path, *, wal: bool) -> None:
        from dbos import DBOS  # noqa: PLC0415

        folder.mkdir(parents=True)
        path = folder / "dbos.sqlite"
        if wal:
            # Kept in the file; once DBOS runs, its other connections hold the lock.
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{path}",
                "log_level": "ERROR",
            }
        )

        def nothing() -> None:
            """What is measured is what it costs that it was done."""

        step = DBOS.step()(nothing)

        def steps() -> None:
            for _ in range(DBOS_STEPS):
                step()

        workflow = DBOS.workflow()(steps)
        DBOS.launch()
        self._workflow: Callable[[], None] = workflow

    def _ask(self, statement: str) -> object:
        from dbos._dbos import _get_dbos_instance  # noqa: PLC0415 - its live connection pool

        with _get_dbos_instance()._sys_db.engine.connect() as connection:  # noqa: SLF001
            return connection.exec_driver_sql(statement).scalar()

    def facts(self) -> dict[str, object]:
        return {
            "journal_mode": self._ask("PRAGMA journal_mode"),
            "synchronous": self._ask("PRAGMA synchronous"),
            "sqlite": self._ask("SELECT sqlite_version()"),
        }

    def prepare(self, count: int) -> None:
        """Nothing to get ready."""

    def once(self) -> None:
        self._workflow()


class AppendSide:
    """Noodle's durable append."""

    def __init__(self, folder: Path) -> None:
        from benchmarks.journals import new_journal, open_journal, the_record  # noqa: PLC0415

        self._journal = open_journal(new_journal(folder))
        self._records = [the_record()]

    def facts(self) -> dict[str, object]:
        return {}

    def prepare(self, count: int) -> None:
        """Nothing to get ready."""

    def once(self) -> None:
        self._journal.append(self._records)


class AppendFloorSide:
    """The floor of the append: the same cryptography in a bare loop."""

    def __init__(self, folder: Path) -> None:
        from benchmarks.journals import BareLog  # noqa: PLC0415

        self._log = BareLog(folder, crypto=True)

    def facts(self) -> dict[str, object]:
        return {}

    def prepare(self, count: int) -> None:
        """Nothing to get ready."""

    def once(self) -> None:
        self._log.append()


class VerifySide:
    """Verification of the journal that is in the folder."""

    def __init__(self, folder: Path) -> None:
        from benchmarks.journals import MASTER_KEY  # noqa: PLC0415
        from noodle_journal import Report, verify  # noqa: PLC0415

        def verified() -> Report:
            return verify(folder, master_key=MASTER_KEY)

        self._verify = verified

    def facts(self) -> dict[str, object]:
        return {}

    def prepare(self, count: int) -> None:
        """Nothing to get ready."""

    def once(self) -> None:
        report = self._verify()
        if not report.ok:
            raise RuntimeError(f"the journal to verify is not whole: {report}")


SIDES: dict[str, Callable[[Path], Side]] = {
    "append": AppendSide,
    "append-floor": AppendFloorSide,
    "verify": VerifySide,
    "noodle": NoodleSide,
    "plan": PlanSide,
    "records": RecordsSide,
    "floor": FloorSide,
    "dbos": lambda folder: DbosSide(folder, wal=False),
    "dbos-wal": lambda folder: DbosSide(folder, wal=True),
}


def peak_memory_mb() -> float:
    """The process's peak resident memory since `forget_peak`, and that of its largest child."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024 + children
    raise RuntimeError("the kernel tells no VmHWM")


def forget_peak() -> None:
    """Let the peak begin anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def serve(side: Side, asked: Iterator[str], answer: Callable[[dict[str, Any]], None]) -> None:
    """Do what is asked until there are no more lines."""
    answer(side.facts())
    for line in asked:
        word, _, number = line.partition(" ")
        count = int(number)
        side.prepare(count)
        if word == "prepare":
            count = 0
        forget_peak()
        times, cpu = [], time.process_time()
        for _ in range(count):
            began = time.perf_counter()
            side.once()
            times.append((time.perf_counter() - began) * 1000)
        cpu_ms = (time.process_time() - cpu) * 1000 / max(count, 1)
        answer({"ms": times, "cpu_ms": cpu_ms, "peak_mb": peak_memory_mb()})


@contextmanager
def only_answers() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Keep standard output for answers: what else is printed goes to standard error."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(what: dict[str, Any]) -> None:
        lines.write(json.dumps(what) + "\n")
        lines.flush()

    with lines:
        yield answer


def main(name: str, folder: str) -> None:
    """Be one side until standard input ends."""
    with only_answers() as answer:
        serve(SIDES[name](Path(folder)), iter(sys.stdin), answer)
    # Other threads (DBOS has some that poll) must not keep the process.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
