"""Every failure the journal reports, and every kind of damage it can name.

Owns the classes that leave this package instead of sqlite3 errors, OSError and
InvalidTag, and the closed set of damage kinds that verification answers with.
It never does I/O and never decides whether something is damaged.

Laws
F1. One class per failure, one code per class, unique in the product.
F2. Unless its class says so, a failure has changed nothing on disk.
F3. A damage kind never changes its value; reports and tests match it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from noodle_journal.errors import DataValue, NoodleError

EXIT_REFUSED = 3
EXIT_PERSON = 5
EXIT_UNTRUSTED = 6
EXIT_LOCKED = 9

_KEEP = "change nothing, copy the home, run `noodle audit verify`"


class DamageKind(StrEnum):
    """What is wrong with a journal, as found at its first bad place."""

    MALFORMED = "malformed"  # a field has the wrong size, magic, version, flag
    MISSING = "missing"  # a record between two others is gone
    MOVED = "moved"  # a record stands at a place it was not written for
    FOREIGN = "foreign"  # a record of another log
    CHAIN_BROKEN = "chain_broken"  # names another record before it
    ALTERED = "altered"  # a record's bytes are not those that were hashed
    ROOT_MISMATCH = "root_mismatch"  # a stored tree root is not the recomputed one
    CHECKPOINT_MISSING = "checkpoint_missing"  # a commit ends without a signature
    CHECKPOINT_MISPLACED = "checkpoint_misplaced"  # a signature where no commit ends
    SIGNATURE_INVALID = "signature_invalid"  # signature is not by the log's key
    CUT = "cut"  # the last commit is not whole
    FORGED = "forged"  # not sealed under the epoch's key
    NOT_CANONICAL = "not_canonical"  # padding or JSON is not in its one form
    TAG_MISMATCH = "tag_mismatch"  # tag is not that of the upgrade inside
    ORDER = "order"  # epoch or fence went the wrong way
    CLEAR_INVALID = "clear_invalid"  # a clear part contradicts the log
    PUBLIC_KEY_CHANGED = "public_key_changed"  # log key not the one trusted
    KEY_MISSING = "key_missing"  # an epoch's key is gone without a retention record
    KEY_MISMATCH = "key_mismatch"  # an epoch's key is not the one it commits to
    UNRECORDED_SHRED = "unrecorded_shred"  # compacted with no retention record
    HEAD_INVALID = "head_invalid"  # a kept head is not signed by the log's key
    ROLLBACK = "rollback"  # the journal is behind a kept head
    FORK = "fork"  # same size as a kept head, another history
    KEYSTORE_DAMAGED = "keystore_damaged"  # keystore.db contradicts itself
    STORE_DAMAGED = "store_damaged"  # SQLite cannot read the file
    MANIFEST_INVALID = "manifest_invalid"  # an export's manifest is none, or not signed by the log
    EXPORT_MALFORMED = "export_malformed"  # an export's file is not what its manifest says


FORGERIES = frozenset(
    {
        DamageKind.FORGED,
        DamageKind.SIGNATURE_INVALID,
        DamageKind.PUBLIC_KEY_CHANGED,
        DamageKind.HEAD_INVALID,
        DamageKind.KEY_MISMATCH,
    }
)

REMEDIES: dict[DamageKind, str] = {
    DamageKind.ROLLBACK: (
        "put back the newer journal.db; if it is lost for good, "
        "`noodle journal take-over` records the loss and goes on"
    ),
    DamageKind.FORK: (
        "keep both copies, find out who wrote the other one, "
        "then `noodle journal restore` the true one"
    ),
    DamageKind.KEY_MISSING: "put back the keystore.db that was saved with this journal",
    DamageKind.KEY_MISMATCH: "put back the keystore.db that was saved with this journal",
    DamageKind.KEYSTORE_DAMAGED: "put back the saved keystore.db, then run `noodle audit verify`",
    DamageKind.HEAD_INVALID: "put back the saved keystore.db, then run `noodle audit verify`",
    DamageKind.PUBLIC_KEY_CHANGED: (
        "compare the public key with the one you kept; "
        "if yours is the right one, do not trust this journal"
    ),
}
for _kind in (DamageKind.MANIFEST_INVALID, DamageKind.EXPORT_MALFORMED):
    REMEDIES[_kind] = (
        "do not trust this export; ask for it again, and for the public key by another way"
    )
REMEDY_OTHER = (
    "the journal is read-only now; keep it as evidence, then "
    "`noodle journal restore` a backup, and `noodle rescue TARGET` what cannot wait"
)


REMEDY_NOTE = "give a checkpoint that this journal signed, with the public key kept with it"


class JournalError(NoodleError):
    """Any failure of the journal; subclasses say which."""

    code: ClassVar[str] = "journal_error"


class InvariantBroken(JournalError):
    """The journal's own code contradicts itself: a bug, not an input."""

    code: ClassVar[str] = "journal_invariant_broken"

    def __init__(self, *, what: str, **values: DataValue) -> None:
        super().__init__(
            problem=f"the journal's code broke its own rule: {what}",
            cause="a bug in Noodle",
            remedy="report it with the output of `noodle doctor`; nothing more was written",
            data={"what": what, **values},
        )


class SqliteTooOld(JournalError):
    """The loaded SQLite can corrupt a WAL journal, so it is not used."""

    code: ClassVar[str] = "sqlite_too_old"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, found: str, needed: str) -> None:
        super().__init__(
            problem=f"SQLite {found} is loaded, {needed} or later is needed",
            cause="SQLite 3.7.0 to 3.51.2 can corrupt a write-ahead log while resetting it; "
            "`pysqlite3-binary` overwrites the good module with such a version",
            remedy="`pip uninstall -y pysqlite3-binary pysqlite3`, "
            "then `pip install 'pysqlite3>=0.6'`",
            data={"found": found, "needed": needed},
        )


class JournalAbsent(JournalError):
    """There is no journal.db; that is never taken for a new journal."""

    code: ClassVar[str] = "journal_absent"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, folder: str) -> None:
        super().__init__(
            problem=f"no journal.db in {folder}",
            cause="the home was never set up, its set-up was cut short, or the journal was lost",
            remedy="a new home: `noodle init`; a lost journal: `noodle journal restore BACKUP`",
            data={"folder": folder},
        )


class JournalEmpty(JournalError):
    """journal.db has no bytes; that is never taken for a new journal."""

    code: ClassVar[str] = "journal_empty"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, path: str) -> None:
        super().__init__(
            problem=f"{path} is empty",
            cause="its contents were lost, as after a power cut on a file system "
            "that does not keep its promises",
            remedy="`noodle journal restore BACKUP`; targets are untouched",
            data={"path": path},
        )


class JournalExists(JournalError):
    """A journal or its keys are already there; nothing was overwritten."""

    code: ClassVar[str] = "journal_exists"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, path: str, remedy: str | None = None) -> None:
        super().__init__(
            problem=f"{path} already exists",
            cause="a journal, a copy of one and keys are never overwritten",
            remedy=remedy or "use this home (`noodle status`), or choose another with --home",
            data={"path": path},
        )


class JournalFormatNewer(JournalError):
    """Written by a newer Noodle in a format this one does not know."""

    code: ClassVar[str] = "journal_format_newer"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, path: str, found: int, known: int) -> None:
        super().__init__(
            problem=f"{path} has format {found}, this Noodle knows {known}",
            cause="it was written by a newer Noodle",
            remedy="use that Noodle or a later one",
            data={"path": path, "found": found, "known": known},
        )


class JournalFormatOlder(JournalError):
    """Written by an older Noodle; needs a migration before it is used."""

    code: ClassVar[str] = "journal_format_older"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, path: str, found: int, known: int) -> None:
        super().__init__(
            problem=f"{path} has format {found}, this Noodle writes {known}",
            cause="it was written by an older Noodle, or its making was cut short",
            remedy="`noodle journal backup FILE`, then `noodle migrate`",
            data={"path": path, "found": found, "known": known},
        )


class NotAJournal(JournalError):
    """The file is a database, but not one of this kind."""

    code: ClassVar[str] = "not_a_journal"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, path: str) -> None:
        super().__init__(
            problem=f"{path} is not a Noodle file of this kind",
            cause="another file was put in its place, or its first bytes changed",
            remedy="`noodle journal restore BACKUP`; keep the file that is there",
            data={"path": path},
        )


class JournalDamaged(JournalError):
    """The journal is not what was written; it is read-only from here on."""

    code: ClassVar[str] = "journal_damaged"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(
        self, *, seq: int, kind: DamageKind, problem: str, remedy: str | None = None
    ) -> None:
        self.seq = seq
        self.kind = kind
        super().__init__(
            problem=f"journal record {seq}: {problem}",
            cause=f"damage before the end of the journal ({kind.value})",
            remedy=remedy or REMEDIES.get(kind, REMEDY_OTHER),
            data={"seq": seq, "kind": kind.value},
        )


class JournalForged(JournalDamaged):
    """A record or checkpoint was not made with the log's keys."""

    code: ClassVar[str] = "journal_forged"


class JournalRollback(JournalError):
    """The journal is older than a head that was kept outside it."""

    code: ClassVar[str] = "journal_rollback"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, size: int, head_size: int) -> None:
        self.size = size
        self.head_size = head_size
        super().__init__(
            problem=f"ROLLBACK: the journal ends at {size}, a kept head says {head_size}",
            cause="its end was cut off, or an older copy was put back",
            remedy=REMEDIES[DamageKind.ROLLBACK],
            data={"size": size, "head_size": head_size},
        )


class JournalFork(JournalError):
    """The journal has another history than a head that was kept outside it."""

    code: ClassVar[str] = "journal_fork"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, size: int) -> None:
        self.size = size
        super().__init__(
            problem=f"FORK: at size {size} the journal differs from the head kept for it",
            cause="two copies of this journal were written to, or it was rewritten",
            remedy=REMEDIES[DamageKind.FORK],
            data={"size": size},
        )


class JournalElsewhere(JournalError):
    """The journal was moved, restored or cloned; it can be read, not written."""

    code: ClassVar[str] = "journal_elsewhere"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, bound_to: str, found: str) -> None:
        super().__init__(
            problem="this journal was last written in another place",
            cause=f"it belongs to {bound_to} and is now on {found}; two copies that both "
            "act on the same targets would mix versions",
            remedy="make sure that no other copy is in use, then `noodle journal take-over`",
            data={"bound_to": bound_to, "found": found},
        )


class JournalFull(JournalError):
    """No space for a record; nothing was written."""

    code: ClassVar[str] = "journal_full"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, path: str) -> None:
        super().__init__(
            problem=f"no space left to write {path}",
            cause="the disk, the quota or the database limit is full",
            remedy="free some space, then `noodle resume`; "
            "going back still works out of the reserve",
            data={"path": path},
        )


class JournalIoError(JournalError):
    """Writing failed and the outcome is unknown; the writer has stopped.

    After this the records may or may not be on disk: reopen and look.
    """

    code: ClassVar[str] = "journal_io_error"
    exit_code: ClassVar[int] = EXIT_PERSON

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            problem=f"writing {path} failed: {reason}",
            cause="the disk reported an error; whether the last records survived is not known",
            remedy="look at the disk (`noodle doctor`), then `noodle resume`, "
            "which reads what survived",
            data={"path": path, "reason": reason},
        )


class JournalBusy(JournalError):
    """Another process held SQLite's write lock for too long; nothing was written."""

    code: ClassVar[str] = "journal_busy"
    exit_code: ClassVar[int] = EXIT_LOCKED

    def __init__(self, *, path: str, waited_ms: int) -> None:
        super().__init__(
            problem=f"{path} was locked for {waited_ms} ms",
            cause="another program holds the database",
            remedy="end it, then try again; `noodle doctor` names it",
            data={"path": path, "waited_ms": waited_ms},
        )


class JournalUnreadable(JournalError):
    """The file cannot be opened or read by this process."""

    code: ClassVar[str] = "journal_unreadable"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            problem=f"{path} cannot be read or written: {reason}",
            cause="a missing permission, a read-only file system, or a failing disk",
            remedy="run as the owner of the home, or see `noodle doctor`",
            data={"path": path, "reason": reason},
        )


class LeaseLost(JournalError):
    """Another writer took the journal; this one may not write any more."""

    code: ClassVar[str] = "lease_lost"
    exit_code: ClassVar[int] = EXIT_LOCKED

    def __init__(self, *, fence: int, found: int) -> None:
        super().__init__(
            problem=f"writer {fence} was replaced by writer {found}",
            cause="another process opened the journal for writing",
            remedy="stop this process; the other one goes on (`noodle status`)",
            data={"fence": fence, "found": found},
        )


class JournalClosed(JournalError):
    """The journal object was closed, or was opened for reading only."""

    code: ClassVar[str] = "journal_closed"

    def __init__(self, *, what: str) -> None:
        super().__init__(
            problem=f"the journal is {what}",
            cause="it was used after it was closed, or from inside its own callback",
            remedy="open it again",
            data={"what": what},
        )


class WrongKey(JournalError):
    """The master key is not the one that wraps this journal's keys."""

    code: ClassVar[str] = "wrong_key"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, wanted: str, found: str) -> None:
        super().__init__(
            problem=f"the master key has id {found}, the keystore wants {wanted}",
            cause="another home's key, an old key, or a mistyped recovery key",
            remedy="check NOODLE_JOURNAL_KEY (it wins over the file), "
            "put back keys/master.key, or use the recovery key",
            data={"wanted": wanted, "found": found},
        )


class KeyMissing(JournalError):
    """No master key at hand, or an epoch's key is not in the keystore."""

    code: ClassVar[str] = "key_missing"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, what: str, remedy: str) -> None:
        super().__init__(
            problem=f"{what} is missing",
            cause="it was never there, was deleted, or belongs to a newer keystore",
            remedy=remedy,
            data={"what": what},
        )


class KeyInvalid(JournalError):
    """A key was given, but it is not one."""

    code: ClassVar[str] = "key_invalid"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, source: str, reason: str) -> None:
        super().__init__(
            problem=f"the key in {source} is not a key: {reason}",
            cause="it was cut, mistyped, or is something else",
            remedy="give 64 hexadecimal digits or the recovery key that `noodle init` showed",
            data={"source": source, "reason": reason},
        )


class NothingToShred(JournalError):
    """Epochs were to be shredded, and there are none of those."""

    code: ClassVar[str] = "nothing_to_shred"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self) -> None:
        super().__init__(
            problem="there is no epoch to shred",
            cause="they are shredded already, or the last one, which is in use",
            remedy="`noodle key show` names the last epoch; earlier ones can be shredded",
            data={},
        )


class KeySourceFailed(JournalError):
    """The keyring or key service that keeps the master key does not give it."""

    code: ClassVar[str] = "key_source_failed"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, source: str, reason: str, remedy: str | None = None) -> None:
        super().__init__(
            problem=f"{source} does not give the master key: {reason}",
            cause="it is locked, not reachable, refuses, or is not set up",
            remedy=remedy
            or "mend that and try again; if the key there is lost for good, "
            "`noodle key recover --to file` puts it back from the recovery key",
            data={"source": source, "reason": reason},
        )


class KeyExposed(JournalError):
    """A key file can be read by others."""

    code: ClassVar[str] = "key_exposed"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, path: str, mode: str) -> None:
        super().__init__(
            problem=f"{path} has mode {mode}",
            cause="other users of this machine can read the key",
            remedy=f"`chmod 600 {path}`; if others may have read it, `noodle key rewrap` then "
            "lets another key wrap everything",
            data={"path": path, "mode": mode},
        )


class KeystoreAbsent(JournalError):
    """There is a journal but no keystore."""

    code: ClassVar[str] = "keystore_absent"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, path: str) -> None:
        super().__init__(
            problem=f"{path} is missing or empty",
            cause="it was deleted or lost; without it the journal cannot be opened",
            remedy="put back the saved keystore.db; it is never in the journal's backup",
            data={"path": path},
        )


class KeystoreDamaged(JournalError):
    """The keystore contradicts itself or the journal."""

    code: ClassVar[str] = "keystore_damaged"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(
            problem=f"{path}: {problem}",
            cause="its bytes changed, or it belongs to another journal",
            remedy=REMEDIES[DamageKind.KEYSTORE_DAMAGED],
            data={"path": path, "what": problem},
        )


class BadRecord(JournalError):
    """What was to be appended cannot be stored; nothing was written."""

    code: ClassVar[str] = "bad_record"

    def __init__(self, *, reason: str) -> None:
        super().__init__(
            problem=f"a record cannot be stored: {reason}",
            cause="a bug in the part that made it, or an input beyond the limits",
            remedy="report it with the output of `noodle doctor`",
            data={"reason": reason},
        )


class RecordUnknown(JournalError):
    """No record has this number in the checkpoint that was named."""

    code: ClassVar[str] = "record_unknown"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, seq: int, size: int) -> None:
        super().__init__(
            problem=f"there is no record {seq} among {size}",
            cause="records are numbered from 1, and the last one has the checkpoint's size",
            remedy="`noodle audit show --tail 20` lists the last ones",
            data={"seq": seq, "size": size},
        )


class ExportUnreadable(JournalError):
    """An export cannot be looked at."""

    code: ClassVar[str] = "export_unreadable"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, path: str, reason: str) -> None:
        super().__init__(
            problem=f"{path} cannot be read as an export: {reason}",
            cause="it is not there, is no export, or was changed",
            remedy="name the folder or .tar file that `noodle audit export` wrote",
            data={"path": path, "reason": reason},
        )


class CheckpointAbsent(JournalError):
    """The journal signed no tree of this size; nothing can be proved of it."""

    code: ClassVar[str] = "checkpoint_absent"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, size: int, before: int) -> None:
        super().__init__(
            problem=f"the journal has no signed checkpoint of {size} records",
            cause="a checkpoint is signed at the end of each commit, and none ends there",
            remedy=f"name the one before, of {before} records, or a later one"
            if before
            else "append something first: an empty journal has none",
            data={"size": size, "before": before},
        )


def damaged(
    *, seq: int, kind: DamageKind, problem: str, remedy: str | None = None
) -> JournalDamaged:
    """The right class for a kind of damage; raise what this returns."""
    chosen = JournalForged if kind in FORGERIES else JournalDamaged
    return chosen(seq=seq, kind=kind, problem=problem, remedy=remedy)
