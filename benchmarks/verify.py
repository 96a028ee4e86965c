"""Measurement 3: verification of a journal, beside a bare loop over the same bytes.

The bare loop reads every row, hashes it, decrypts it (not so for the public
key alone) and checks as many signatures as the verification did, in one process.
It builds no tree, compares no root, and looks into no record. The verification
runs as it does for a user, in as many processes as there are cores, and once more
in one. `memory.verify` has the memory of its processes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.harness import Answer, Goal, Of, Question, Sense, alternate
from benchmarks.journals import MASTER_KEY, new_journal, open_journal, the_record
from benchmarks.sizes import Sizes
from noodle_journal import Report, verify
from noodle_journal.format.checkpoints import LogVerifier, note_text
from noodle_journal.keys import PUBLIC_KEY_FILE, read_public_key
from noodle_journal.keys.ring import KeyRing
from noodle_journal.opening import Log, open_store
from noodle_journal.storage.keystore import Keystore
from noodle_journal.verification.run import Slices

GROUP = 8
ROWS_AT_ONCE = 256
BARE = "bare loop: read, hash, decrypt"
WHY = (
    "Reading, hashing and opening, which the bare loop does too, are about a third of what a "
    "record costs; the rest is Python: the header's fields, the tree, the one form of its JSON, "
    "the tag. SQLite's look at its own pages and indexes (`integrity_check`) is a tenth. Two "
    "processes halve it only where two cores are free."
)

QUESTIONS = (
    Question(
        "verify.key",
        "verify with the key, a record (for 1,000,000: 4 s)",
        "us",
        BARE,
        Goal(Sense.AT_MOST, 4.0, Of.VALUE),
        WHY,
    ),
    Question(
        "verify.public",
        "verify with the public key alone, a record (for 1,000,000: 2.5 s)",
        "us",
        "bare loop: read, hash",
        Goal(Sense.AT_MOST, 2.5, Of.VALUE),
        WHY,
    ),
    Question("verify.key.one", "verify with the key, in one process, a record", "us", BARE),
    Question(
        "verify.public.one",
        "verify with the public key alone, in one process, a record",
        "us",
        "bare loop: read, hash",
    ),
)


@dataclass(frozen=True, slots=True)
class Site:
    """A journal that is there to be verified."""

    folder: Path
    records: int

    @classmethod
    def make(cls, folder: Path, records: int) -> Site:
        """Write that many records, eight a commit."""
        new_journal(folder)
        with open_journal(folder) as journal:
            # The journal's own records (key.epoch, state) come on top.
            for _ in range(records // GROUP):
                journal.append([the_record()] * GROUP)
            return cls(folder, journal.size)

    def verified(self, *, public: bool, alone: bool = False) -> Report:
        """Verify it, or `alone` in one process. Raises RuntimeError if it is not whole."""
        slices = Slices(1) if alone else None
        if public:
            key = read_public_key(self.folder / PUBLIC_KEY_FILE)
            report = verify(self.folder, public_key=key, slices=slices)
        else:
            report = verify(self.folder, master_key=MASTER_KEY, slices=slices)
        if not report.ok or report.records != self.records:
            raise RuntimeError(f"the journal to verify is not whole: {report}")
        return report

    def looped(self, signatures: int, *, public: bool) -> None:
        """The bare loop over the same bytes."""
        connection = open_store(self.folder, read_only=True)
        keystore = Keystore(self.folder, read_only=True)
        ring = KeyRing(keystore=keystore, master_key=MASTER_KEY)
        log = Log(folder=self.folder, connection=connection, ring=ring)
        try:
            keys = ring.epoch_keys(epoch=1, find=lambda: log.find_epoch(1, self.records))
            cursor = connection.execute(
                "SELECT header, clear, nonce, sealed, root, signature FROM record ORDER BY seq"
            )
            signed: tuple[bytes, bytes] | None = None
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                for header, clear, nonce, sealed, root, signature in found:
                    beside = header if clear is None else header + clear
                    hashlib.sha256(b"\0" + beside + nonce + sealed).digest()
                    if not public:
                        keys.open(associated=beside, nonce=nonce, sealed=sealed)
                    if root is not None:
                        signed = (root, signature)
            if signed is None:
                raise RuntimeError("no commit was signed")
            text = note_text(log_id=log.log_id, size=self.records, root=signed[0]).encode()
            verifier = LogVerifier(ring.signer.public_key)
            for _ in range(signatures):
                if not verifier.accepts(text, signed[1]):
                    raise RuntimeError("the bare loop reads other bytes than it should")
        finally:
            log.close()
            keystore.close()


def measure(folder: Path, sizes: Sizes) -> list[Answer]:
    """Every row of this measurement."""
    site = Site.make(folder / "verified", sizes.verify_records)
    answers = []
    for key, public in (("verify.key", False), ("verify.public", True)):
        report = site.verified(public=public)

        def ours(*, public: bool = public, alone: bool = False) -> object:
            return site.verified(public=public, alone=alone)

        def bare(*, public: bool = public, checked: int = report.signatures_checked) -> object:
            return site.looped(checked, public=public)  # type: ignore[func-returns-value]

        rounds = alternate(
            {
                "noodle": _timed(ours, site.records),
                "one": _timed(partial(ours, alone=True), site.records),
                "bare": _timed(bare, site.records),
            },
            rounds=sizes.verify_rounds,
        )
        a_second = 1_000_000 / rounds.spread("noodle").median
        remark = (
            f"{site.records:,} records, {a_second:,.0f} records/s in {Slices.by_cores().most} "
            f"processes; signatures checked: {report.signatures_checked}"
        )
        answers.append(rounds.answer(key, "noodle", "bare", remark))
        answers.append(rounds.answer(f"{key}.one", "one", "bare"))
    return answers


def _timed(act: Callable[[], object], records: int) -> Callable[[], float]:
    """Microseconds a record."""

    def once() -> float:
        began = time.perf_counter()
        act()
        return (time.perf_counter() - began) * 1_000_000 / records

    return once
