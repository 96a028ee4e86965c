"""What anchors refuse, and the one word with which a sink says that it failed."""

from __future__ import annotations

from typing import ClassVar

from noodle_journal.failures import (
    EXIT_REFUSED,
    EXIT_UNTRUSTED,
    REMEDIES,
    DamageKind,
    JournalError,
)

__all__ = ["AnchorFork", "AnchorRollback", "AnchorUnreachable", "AnchorUnsigned", "SinkFailed"]


class SinkFailed(Exception):
    """A sink cannot be reached, or refuses; its text says why, without any secret."""


class AnchorUnreachable(JournalError):
    """An anchor cannot be reached, and the settings do not go on without it.

    Nothing was changed.
    """

    code: ClassVar[str] = "anchor_unreachable"
    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, *, sink: str, reason: str) -> None:
        super().__init__(
            problem=f"the anchor {sink} cannot be reached: {reason}",
            cause="`noodle.anchor_unreachable` lets nothing go forward without it",
            remedy="mend that and try again; going back needs no anchor; "
            "`noodle audit anchors` says how each stands",
            data={"sink": sink, "reason": reason},
        )


class AnchorRollback(JournalError):
    """The journal is older than an anchor. It is read-only from here on."""

    code: ClassVar[str] = "anchor_rollback"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, sink: str, size: int, anchored: int) -> None:
        super().__init__(
            problem=f"ROLLBACK: the journal ends at {size}, the anchor {sink} says {anchored}",
            cause="its end was cut off, or an older copy was put back, with its keystore",
            remedy=REMEDIES[DamageKind.ROLLBACK],
            data={"sink": sink, "size": size, "anchored": anchored},
        )


class AnchorFork(JournalError):
    """The journal has another history than an anchor. It is read-only from here on."""

    code: ClassVar[str] = "anchor_fork"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, sink: str, size: int) -> None:
        super().__init__(
            problem=f"FORK: at size {size} the journal differs from the anchor {sink}",
            cause="an older copy was put back and written to, or the journal was rewritten",
            remedy=REMEDIES[DamageKind.FORK],
            data={"sink": sink, "size": size},
        )


class AnchorUnsigned(JournalError):
    """An anchor is signed by no key that the journal has. It is read-only from here on."""

    code: ClassVar[str] = "anchor_unsigned"
    exit_code: ClassVar[int] = EXIT_UNTRUSTED

    def __init__(self, *, sink: str, size: int) -> None:
        super().__init__(
            problem=f"no key of the journal signed what the anchor {sink} has of size {size}",
            cause="somebody else wrote it; or journal and keystore are older than the key",
            remedy="compare with another anchor or backup; put the newer files back, "
            "or take the note out of the sink if it is not yours",
            data={"sink": sink, "size": size},
        )
