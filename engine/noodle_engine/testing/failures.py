"""What testing a target kind can find, as failures with code, problem, cause and remedy."""

from __future__ import annotations

from typing import ClassVar

from noodle_journal.errors import NoodleError

__all__ = ["ContractBroken", "ContractUnusable", "ExtraMissing", "PayloadUnsaid"]


class ExtraMissing(NoodleError):
    """The extra `testing` is not installed. Nothing was done."""

    code: ClassVar[str] = "extra_missing"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, module: str) -> None:
        super().__init__(
            problem=f"tests of target kinds need {module}, which is not installed",
            cause="it comes with the extra `testing` only, which no upgrade needs",
            remedy="pip install 'noodle-upgrade[testing]', then do it again",
            data={"module": module},
        )


class PayloadUnsaid(NoodleError):
    """Nothing says what the versions of a plug-in's kind are. Nothing was done."""

    code: ClassVar[str] = "payload_unsaid"
    exit_code: ClassVar[int] = 2

    def __init__(self, *, kind: str, group: str) -> None:
        super().__init__(
            problem=f"nothing says what a version of kind `{kind}` is",
            cause=f"its plug-in brings no contract (entry point `{kind}` in `{group}`)",
            remedy="give --payload file or --payload tree, or bring a TargetContract of your own",
            data={"kind": kind, "group": group},
        )


class ContractUnusable(NoodleError):
    """The contract that a plug-in brings cannot be used. Nothing was done."""

    code: ClassVar[str] = "contract_unusable"
    exit_code: ClassVar[int] = 3

    def __init__(self, *, kind: str, why: str) -> None:
        super().__init__(
            problem=f"the contract of kind `{kind}` cannot be used",
            cause=why,
            remedy="let its entry point name a subclass of noodle_engine.testing.TargetContract",
            data={"kind": kind},
        )


class ContractBroken(NoodleError):
    """A target kind breaks a law of the contract.

    `law` is its stable name, `found` what was seen, `story` the acts that led there,
    the last one last. Only the folder that the test made for itself was changed.
    """

    code: ClassVar[str] = "contract_broken"
    exit_code: ClassVar[int] = 6

    def __init__(
        self, *, kind: str, law: str, promise: str, found: str, story: tuple[str, ...]
    ) -> None:
        self.law = law
        self.found = found
        self.story = story
        super().__init__(
            problem=f"kind `{kind}` breaks law `{law}`: {found}",
            cause=f"the law says: {promise}",
            remedy=f"mend the kind; what led there: {'; '.join(story) or 'nothing yet'}",
            data={"kind": kind, "law": law, "found": found, "story": list(story)},
        )
