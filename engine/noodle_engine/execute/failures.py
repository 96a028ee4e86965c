"""What the execution layer refuses, as failures. Nothing was changed before one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from noodle_journal.errors import NoodleError

__all__ = [
    "AdoptionUnclear",
    "AnswerLost",
    "ComponentBusy",
    "ComponentUnknown",
    "DowngradeRefused",
    "HolderGone",
    "HolderSilent",
    "HomeAbsent",
    "HomeExists",
    "HomeFormatUnknown",
    "HomeHeld",
    "HomeOwnedByOther",
    "HomeUnusable",
    "Interrupted",
    "KeyNotGiven",
    "NotAuthorised",
    "NotCompatible",
    "NotRepairable",
    "NothingInstalled",
    "PlanMalformed",
    "PlanOfOtherHome",
    "PlanStale",
    "PointAbsent",
    "PointsFull",
    "RecordsShredded",
    "RequestMalformed",
    "RequestRefused",
    "RollbackDisabled",
    "SettingUnknown",
    "SettingsDiffer",
    "SettingsExist",
    "SettingsRefused",
    "SettingsVersionUnknown",
    "TargetUnreadable",
    "TargetsOverlap",
    "UpgradeUnknown",
    "UpgradesDisabled",
    "VersionAdopted",
    "VersionUnclear",
    "WaitInterrupted",
]

SETTINGS_NAMED_MAX = 8
"""How many differing settings a message names."""


class _Refused(NoodleError):
    """A refusal: the target is as before."""

    exit_code: ClassVar[int] = 3


class HomeAbsent(_Refused):
    """There is no home where one is expected."""

    code: ClassVar[str] = "home_absent"
    exit_code: ClassVar[int] = 2

    def __init__(self, home: str) -> None:
        super().__init__(
            problem=f"there is no Noodle home at {home}",
            cause="it has no file `format`, which `noodle init` makes last",
            remedy=f"run `noodle --home {home} init`, or name the right home with --home",
            data={"home": home},
        )


class HomeExists(_Refused):
    """`init` found something there already."""

    code: ClassVar[str] = "home_exists"

    def __init__(self, home: str) -> None:
        super().__init__(
            problem=f"{home} is there already and is not an empty folder",
            cause="a home is only made where nothing is, so that no journal is ever replaced",
            remedy="use it as it is (`noodle status`), or choose another folder with --home",
            data={"home": home},
        )


class HomeUnusable(_Refused):
    """The home cannot be made or used because of the file system around it."""

    code: ClassVar[str] = "home_unusable"

    def __init__(self, home: str, cause: str, remedy: str = "") -> None:
        super().__init__(
            problem=f"the home {home} cannot be used",
            cause=cause,
            remedy=remedy
            or "run `noodle doctor`, then mend what it names or choose another --home",
            data={"home": home},
        )


class HomeOwnedByOther(_Refused):
    """The home belongs to another user."""

    code: ClassVar[str] = "home_owned_by_other"
    exit_code: ClassVar[int] = 7

    def __init__(self, home: str, owner: int, user: int) -> None:
        super().__init__(
            problem=f"the home {home} belongs to user {owner}, and you are user {user}",
            cause="only a home's owner and root may use it",
            remedy=f"run the command as user {owner} (`sudo -u '#{owner}' noodle ...`)",
            data={"home": home, "owner": owner, "user": user},
        )


class HomeFormatUnknown(_Refused):
    """The home was made by a version with another format."""

    code: ClassVar[str] = "home_format_unknown"
    exit_code: ClassVar[int] = 2

    def __init__(self, home: str, found: str, known: int) -> None:
        newer = found.isdigit() and int(found) > known
        super().__init__(
            problem=f"the home {home} has format {found!r}, and this version knows {known}",
            cause="a newer version of Noodle made it" if newer else "its file `format` is damaged",
            remedy=(
                "use that version"
                if newer
                else f"if you are sure that it is a home of this version, write {known} into it"
            ),
            data={"home": home, "found": found, "known": known},
        )


class SettingsExist(_Refused):
    """Settings files would be written where some are. Nothing was written."""

    code: ClassVar[str] = "settings_exist"

    def __init__(self, folder: str, files: Iterable[str]) -> None:
        named = list(files)
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        super().__init__(
            problem=f"{folder} has {named[0]}{more} already",
            cause="starting files never take the place of others",
            remedy="name another folder, or move those away first; `noodle config diff` compares",
            data={"folder": folder, "files": named},
        )


class SettingsVersionUnknown(_Refused):
    """A settings file has a version from which no migration leads here. Nothing was changed."""

    code: ClassVar[str] = "settings_version_unknown"
    exit_code: ClassVar[int] = 2

    def __init__(self, file: str, version: str, known: int) -> None:
        super().__init__(
            problem=f"{file} is of version {version}, and this Noodle reads {known}",
            cause="no migration leads from that version to this one",
            remedy="a later version: use the Noodle that wrote it; otherwise correct `version`",
            data={"file": file, "version": version, "known": known},
        )


_CANNOT_BE_USED: Final = "settings cannot be used: "


class SettingsRefused(_Refused):
    """Settings that cannot be used, all named.

    keys: those that are wrong. places: where, and in which way, without any value.
    """

    code: ClassVar[str] = "settings_invalid"
    exit_code: ClassVar[int] = 2

    def __init__(
        self, problems: Iterable[str], keys: Iterable[str] = (), places: Iterable[str] = ()
    ) -> None:
        named = list(problems)
        self.problems = tuple(named)
        self.keys = tuple(dict.fromkeys(keys))
        self.places = tuple(places)
        super().__init__(
            problem=_CANNOT_BE_USED + _each(named),
            cause="a value, name or file among the settings is not valid",
            remedy="correct the named places (`noodle config explain KEY` tells what is legal); "
            "status, audit, resume and rollback work meanwhile",
            data={"problems": named},
        )

    @property
    def without_values(self) -> str:
        """The problem for logs and bundles: a value that is wrong may be anything."""
        return _CANNOT_BE_USED + _each(list(self.places or self.problems))


def _each(named: list[str]) -> str:
    """One beside the sentence, several each on a line of its own."""
    return named[0] if len(named) == 1 else "".join(f"\n  - {one}" for one in named)


class SettingUnknown(_Refused):
    """There is no setting, section or variable of that name."""

    code: ClassVar[str] = "setting_unknown"
    exit_code: ClassVar[int] = 2

    def __init__(self, name: str, nearest: str = "") -> None:
        super().__init__(
            problem=f"there is no setting {name}{nearest}",
            cause="the name is neither a setting nor a section or a variable",
            remedy="`noodle config show` lists them all",
            data={"name": name},
        )


class SettingsDiffer(_Refused):
    """The process that holds the home runs under other settings than this command."""

    code: ClassVar[str] = "settings_differ"

    def __init__(self, differing: Mapping[str, tuple[str, str]]) -> None:
        named = [
            f"{key} is {there} there and {here} here" for key, (there, here) in differing.items()
        ]
        more = len(named) - SETTINGS_NAMED_MAX
        if more > 0:
            named[SETTINGS_NAMED_MAX:] = [f"and {more} more"]
        super().__init__(
            problem="the process that holds the home has other settings: " + _each(named),
            cause="it would do this under its own; an option (--set), a variable or a file is "
            "not the same for it",
            remedy="give this command the same settings, or end that process (`noodle status` "
            "tells what runs) and start it with these",
            data={"keys": list(differing)},
        )


class UpgradesDisabled(_Refused):
    """Forward upgrades are switched off."""

    code: ClassVar[str] = "upgrades_disabled"

    def __init__(self) -> None:
        super().__init__(
            problem="upgrades are switched off",
            cause="the setting runtime_upgrade.enabled is false",
            remedy="set it to true, or NOODLE_RUNTIME_UPGRADE_ENABLED=1; going back works as it is",
        )


class RollbackDisabled(_Refused):
    """Undoing a committed upgrade is switched off."""

    code: ClassVar[str] = "rollback_disabled"

    def __init__(self) -> None:
        super().__init__(
            problem="going back from a committed upgrade is switched off",
            cause="the setting runtime_upgrade.rollback.enabled is false",
            remedy="set it to true, or apply the wanted version as an upgrade",
        )


class AdoptionUnclear(_Refused):
    """What is adopted was not given a version."""

    code: ClassVar[str] = "adoption_unclear"

    def __init__(self, name: str) -> None:
        super().__init__(
            problem=f"which version of {name} is adopted was not said",
            cause="the journal records it, and later releases are compared with it",
            remedy=f"name it: `noodle component adopt {name}@VERSION PATH`",
            data={"component": name},
        )


class VersionAdopted(_Refused):
    """A release was asked for of a version that was adopted: it has none."""

    code: ClassVar[str] = "version_adopted"

    def __init__(self, name: str, version: str) -> None:
        super().__init__(
            problem=f"{name} {version} was adopted as it stood, and no release of it is known",
            cause="releases are compared by what was signed of them",
            remedy=f"`noodle plan {name}@VERSION` shows what leads from what is installed to a "
            "release",
            data={"component": name, "version": version},
        )


class VersionUnclear(_Refused):
    """A component was named without the version that is wanted."""

    code: ClassVar[str] = "version_unclear"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = [f"{name}@{version}" for version in known]
        super().__init__(
            problem=f"which version of {name} is wanted was not said",
            cause=f"known: {', '.join(names)}",
            remedy=f"name it: `noodle apply {names[0]}`",
            data={"component": name, "known": names},
        )


class ComponentUnknown(_Refused):
    """No release of that name and version is known."""

    code: ClassVar[str] = "component_unknown"

    def __init__(self, wanted: str, known: Iterable[str], nearest: str = "") -> None:
        names = list(known)
        hint = f" (did you mean {nearest}?)" if nearest else ""
        super().__init__(
            problem=f"{wanted} is not known{hint}",
            cause="known: " + (", ".join(names) if names else "nothing yet"),
            remedy="make its release known with `noodle component add FOLDER`",
            data={"wanted": wanted, "known": names},
        )


class NothingInstalled(_Refused):
    """The component is not installed by this home."""

    code: ClassVar[str] = "nothing_installed"

    def __init__(self, name: str) -> None:
        super().__init__(
            problem=f"{name} is not installed by this home",
            cause="the journal holds no committed upgrade that put it in place",
            remedy="run `noodle status` to see what is installed",
            data={"component": name},
        )


class NotRepairable(_Refused):
    """What is installed cannot be put back: no release that is known has it."""

    code: ClassVar[str] = "not_repairable"

    def __init__(self, name: str, version: str | None) -> None:
        what = f"{name} {version or 'unversioned'}"
        super().__init__(
            problem=f"{what} cannot be put back: no release that is known has what is installed",
            cause="it was adopted, or accepted, as it stood: its files are known and kept nowhere",
            remedy=(
                f"put back by hand what `noodle component verify {name}` names; or keep what is "
                f"there: `noodle component forget {name}`, then adopt it again or apply a release"
            ),
            data={"component": name, "version": version},
        )


class PointAbsent(_Refused):
    """There is nothing to go back to."""

    code: ClassVar[str] = "point_absent"

    def __init__(self, name: str, wanted: str | None, kept: Iterable[str]) -> None:
        names = list(kept)
        super().__init__(
            problem=f"{name} has no kept old version{f' {wanted}' if wanted else ''} to go back to",
            cause="kept: " + (", ".join(names) if names else "none"),
            remedy=f"apply the wanted version as an upgrade: `noodle apply {name}@VERSION`",
            data={"component": name, "kept": names},
        )


class NotCompatible(_Refused):
    """Versions do not go together."""

    code: ClassVar[str] = "not_compatible"

    def __init__(self, *, problem: str, cause: str, remedy: str) -> None:
        super().__init__(problem=problem, cause=cause, remedy=remedy)


class ComponentBusy(_Refused):
    """Another upgrade of the same component or target is open."""

    code: ClassVar[str] = "component_busy"

    def __init__(self, name: str, upgrade: str) -> None:
        super().__init__(
            problem=f"{name} is part of upgrade {upgrade}, which is not finished",
            cause="two upgrades never act on one target",
            remedy=f"run `noodle status {upgrade}`, then `noodle resume` or `noodle abort` it",
            data={"component": name, "upgrade": upgrade},
        )


class PointsFull(_Refused):
    """So many old versions are kept that one more could not be remembered."""

    code: ClassVar[str] = "points_full"

    def __init__(self, kept: int) -> None:
        super().__init__(
            problem=f"{kept} old versions are kept, and there is no room to remember one more",
            cause="each upgrade keeps one, and what is remembered of them has a limit of 8 MiB",
            remedy="run `noodle gc`, which drops those that the settings no longer keep",
            data={"kept": kept},
        )


class TargetsOverlap(_Refused):
    """Two targets are one, or one lies in the other."""

    code: ClassVar[str] = "targets_overlap"

    def __init__(self, first: str, second: str, path: str) -> None:
        super().__init__(
            problem=f"{first} and {second} both want {path}",
            cause="nested or equal targets cannot be exchanged independently",
            remedy="give each component a target of its own",
            data={"first": first, "second": second, "path": path},
        )


class PlanMalformed(_Refused):
    """A plan file cannot be read."""

    code: ClassVar[str] = "plan_malformed"
    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        path: str,
        found: str,
        *,
        cause: str = "it is not a plan file of this version, or it was edited",
        remedy: str = "make it again with `noodle plan ... --out FILE`",
    ) -> None:
        super().__init__(
            problem=f"the plan {path} cannot be used: {found}",
            cause=cause,
            remedy=remedy,
            data={"path": path},
        )


class PlanOfOtherHome(_Refused):
    """A plan that another home made."""

    code: ClassVar[str] = "plan_of_other_home"

    def __init__(self, made_for: str, here: str) -> None:
        super().__init__(
            problem="the plan was made for another home",
            cause=f"it names the journal {made_for or '(none)'}, and this home's is {here}",
            remedy="make the plan again with this home, or name the other one with --home",
            data={"made_for": made_for, "here": here},
        )


class PlanStale(_Refused):
    """The world moved since the plan was made."""

    code: ClassVar[str] = "plan_stale"

    def __init__(self, moved: Iterable[str]) -> None:
        named = list(moved)
        super().__init__(
            problem="the plan no longer fits: " + "; ".join(named),
            cause="versions, targets or settings changed after it was made",
            remedy="make the plan again and look at it",
            data={"moved": named},
        )


class UpgradeUnknown(_Refused):
    """No such upgrade."""

    code: ClassVar[str] = "upgrade_unknown"

    def __init__(self, wanted: str, matches: Iterable[str] = ()) -> None:
        found = list(matches)
        super().__init__(
            problem=(
                f"{wanted} names {len(found)} upgrades"
                if found
                else f"no upgrade is called {wanted}"
            ),
            cause="an id, or a beginning of one that only one upgrade has, is needed",
            remedy="run `noodle history` to see the ids",
            data={"wanted": wanted, "matches": found},
        )


class RequestRefused(_Refused):
    """The same request key was used for another plan."""

    code: ClassVar[str] = "request_key_reused"

    def __init__(self, key: str, upgrade: str) -> None:
        super().__init__(
            problem=f"the key {key} belongs to upgrade {upgrade}, which has another plan",
            cause="an idempotency key names one request for ever",
            remedy="use a new key for a new request",
            data={"key": key, "upgrade": upgrade},
        )


class RequestMalformed(_Refused):
    """A request that came by the socket cannot be read."""

    code: ClassVar[str] = "request_malformed"
    exit_code: ClassVar[int] = 2

    def __init__(self, found: str) -> None:
        super().__init__(
            problem=f"the request cannot be read: {found}",
            cause="the asking command is of another version, or is none of Noodle's",
            remedy="ask with the version that holds the home; nothing was changed",
            data={"found": found},
        )


class HolderSilent(_Refused):
    """Another process holds the home and does not answer."""

    code: ClassVar[str] = "holder_silent"
    exit_code: ClassVar[int] = 9

    def __init__(self, home: str, holder: int | None, cause: str) -> None:
        who = f"process {holder}" if holder else "another process"
        super().__init__(
            problem=f"{who} holds {home} and does not answer",
            cause=cause,
            remedy=f"wait for it, or look at it with `ps {holder or ''}`; nothing was changed",
            data={"home": home, "holder": holder},
        )


class RecordsShredded(_Refused):
    """What is asked for was made unreadable, as the settings say."""

    code: ClassVar[str] = "records_shredded"

    def __init__(self, last: int) -> None:
        super().__init__(
            problem=f"records 1 to {last} cannot be read any more",
            cause="they were shredded: security.audit_logging.log_retention_days is over",
            remedy=f"ask for record {last + 1} or a later one",
            data={"last": last},
        )


class KeyNotGiven(_Refused):
    """A master key is to come from the environment, and Noodle cannot change that."""

    code: ClassVar[str] = "key_not_given"
    exit_code: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__(
            problem="no new master key was given",
            cause="the environment keeps the key: who starts Noodle has to have the new one",
            remedy="`noodle key init FILE` makes one; `noodle key rewrap --new-key FILE`; "
            "then set NOODLE_JOURNAL_KEY to it",
            data={},
        )


class HomeHeld(_Refused):
    """What needs the home for itself found another process that drives its upgrades."""

    code: ClassVar[str] = "home_held"
    exit_code: ClassVar[int] = 9

    def __init__(self, home: str, holder: int | None) -> None:
        who = f"process {holder}" if holder else "another process"
        end = f"`kill {holder}`" if holder else "Ctrl-C where it runs"
        super().__init__(
            problem=f"{who} holds {home} already",
            cause="one process at a time drives the upgrades of a home; others go through it",
            remedy=f"use it as it is (`noodle status`), or end it first ({end}); "
            "what it has not finished goes on with `noodle resume`",
            data={"home": home, "holder": holder},
        )


class HolderGone(HolderSilent):
    """Nobody took the request: the holder was just coming or going. Worth another try."""


class AnswerLost(NoodleError):
    """The holder had taken a request, and ended or fell silent before it answered."""

    code: ClassVar[str] = "answer_lost"
    exit_code: ClassVar[int] = 9

    def __init__(self, home: str, holder: int | None, cause: str) -> None:
        super().__init__(
            problem=f"the process that holds {home} took the request and never answered",
            cause=cause,
            remedy="run `noodle status`: what was asked for may be open or done; "
            "`noodle resume` goes on with what is open",
            data={"home": home, "holder": holder},
        )


class NotAuthorised(_Refused):
    """The caller may not do this."""

    code: ClassVar[str] = "not_authorised"
    exit_code: ClassVar[int] = 7

    def __init__(self, subject: str, permission: str) -> None:
        super().__init__(
            problem=f"{subject} may not {permission}",
            cause="only the home's owner and root may",
            remedy="run the command as the home's owner",
            data={"subject": subject, "permission": permission},
        )


class Interrupted(NoodleError):
    """The command was interrupted; the upgrade can be resumed."""

    code: ClassVar[str] = "interrupted"
    exit_code: ClassVar[int] = 130

    def __init__(self, upgrade: str) -> None:
        super().__init__(
            problem=f"upgrade {upgrade} was interrupted",
            cause="it stopped after the step that was running",
            remedy=f"run `noodle resume {upgrade}`, or `noodle abort {upgrade}`",
            data={"upgrade": upgrade},
        )


class WaitInterrupted(NoodleError):
    """The command was interrupted; the process that holds the home goes on."""

    code: ClassVar[str] = "wait_interrupted"
    exit_code: ClassVar[int] = 130

    def __init__(self, home: str, holder: int | None, upgrade: str | None = None) -> None:
        who = f"process {holder}" if holder else "the process that holds the home"
        look = f"noodle status {upgrade}" if upgrade else "noodle status"
        super().__init__(
            problem="this command stopped waiting",
            cause=f"{who} drives the upgrade, and goes on with it",
            remedy=f"run `{look}` to see how it stands, `noodle abort {upgrade or 'ID'}` to take "
            "it back",
            data={"home": home, "holder": holder, "upgrade": upgrade},
        )


class TargetUnreadable(_Refused):
    """What is at a target cannot be looked at."""

    code: ClassVar[str] = "target_unreadable"

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(
            problem=f"the target {path} cannot be looked at",
            cause=cause,
            remedy="mend what is named, then run `noodle resume`",
            data={"path": path},
        )


class DowngradeRefused(_Refused):
    """An older version was asked for as an upgrade."""

    code: ClassVar[str] = "downgrade_refused"

    def __init__(self, name: str, installed: str, wanted: str) -> None:
        super().__init__(
            problem=f"{name} {wanted} is older than the installed {installed}",
            cause="a downgrade may meet data that only the newer version understands",
            remedy=f"go back with `noodle rollback {name}`, or apply a newer version",
            data={"component": name, "installed": installed, "wanted": wanted},
        )
