"""Measurement 3: verification of a journal, beside a bare loop over the same bytes.

The bare loop reads every row, hashes it, decrypts it (not so for the public
key alone) and checks as many signatures as the verification did. It builds no
tree, compares no root, and looks into no record.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
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

GROUP = 8
ROWS_AT_ONCE = 256
BARE = "bare loop: read, hash, decrypt"
WHY = (
    "Verification runs on one core; the goal is for two. The work is one pass that could be cut "
    "in two at a subtree's edge, as the design has it; that is not built yet."
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

    def verified(self, *, public: bool) -> Report:
        """Verify it. Raises RuntimeError if it is not whole."""
        if public:
            key = read_public_key(self.folder / PUBLIC_KEY_FILE)
            report = verify(self.folder, public_key=key)
        else:
            report = verify(self.folder, master_key=MASTER_KEY)
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
        ours = _timed(lambda public=public: site.verified(public=public), site.records)  # type: ignore[misc]
        bare = _timed(
            lambda public=public, checked=report.signatures_checked: site.looped(  # type: ignore[misc]
                checked, public=public
            ),
            site.records,
        )
        rounds = alternate({"noodle": ours, "bare": bare}, rounds=sizes.verify_rounds)
        a_second = 1_000_000 / rounds.spread("noodle").median
        remark = (
            f"{site.records:,} records, {a_second:,.0f} records/s; signatures checked: "
            f"{report.signatures_checked}"
        )
        answers.append(rounds.answer(key, "noodle", "bare", remark))
    return answers


def _timed(act: Callable[[], object], records: int) -> Callable[[], float]:
    """Microseconds a record."""

    def once() -> float:
        began = time.perf_counter()
        act()
        return (time.perf_counter() - began) * 1_000_000 / records

    return once
