"""Sections `security`, `encryption` and `secure_communication`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Strict

from noodle_policies.settings.model.kinds import LogLevel, Permission
from noodle_policies.settings.model.section import (
    Section,
    choice,
    days,
    names,
    seconds,
    section,
    switch,
)

__all__ = ["Encryption", "SecureCommunication", "Security"]

_AUTHENTICATION: Final = "security.authentication.required"
_AUTHORIZATION: Final = "security.authorization.required"
_ROLES: Final = "security.authorization.role_based_access"
_LOGS: Final = "noodle_engine.observe.options"
_AUDIT: Final = "security.audit_logging.enabled"
_ENCRYPTION: Final = "encryption.enabled"
_COMMUNICATION: Final = "secure_communication.enabled"
_TLS: Final = "secure_communication.tls_required"

Permissions = Annotated[tuple[Permission, ...], Strict(strict=False)]


class Authentication(Section):
    """Who a caller is."""

    required: bool = switch(
        True,
        "Whether a caller must show who it is. Off: it is `anonymous`, which TCP refuses",
    )
    method: Literal["token"] = choice(
        "token", "How a caller shows who it is; there is one way", rests_on=_AUTHENTICATION
    )
    token_source: Literal["environment", "file", "keyring"] = choice(
        "environment",
        "Where the token of a caller is taken from; a source without one: exit 7",
        rests_on=_AUTHENTICATION,
    )
    token_refresh_interval: int = seconds(3600, "How long a token lives", rests_on=_AUTHENTICATION)


class Authorization(Section):
    """What a caller may do."""

    required: bool = switch(
        True, "Whether a caller needs permissions. Off: any known caller may do everything"
    )
    role_based_access: bool = switch(
        True,
        "Whether tokens carry roles. Off: they carry permissions",
        rests_on=_AUTHORIZATION,
    )
    upgrade_permissions: Permissions = names(
        ("runtime_upgrade:read", "runtime_upgrade:write", "runtime_upgrade:execute"),
        "What role `upgrade` may do",
        bounds="some of the five permissions runtime_upgrade:read, :write, :execute, :admin, "
        ":rollback",
        rests_on=_ROLES,
    )
    admin_permissions: Permissions = names(
        ("runtime_upgrade:admin", "runtime_upgrade:rollback"),
        "What role `admin` may do beside that",
        bounds="some of the five permissions runtime_upgrade:read, :write, :execute, :admin, "
        ":rollback",
        rests_on=_ROLES,
    )


class ComponentValidation(Section):
    """What a release must prove."""

    signature_verification: bool = switch(
        True,
        "Whether releases must be signed by a trusted publisher. Off: shown as skipped, and an "
        "error in production",
    )
    integrity_checking: bool = switch(
        True,
        "Whether the files of a release must have their digests. Off: shown as skipped, and an "
        "error in production",
    )
    source_verification: bool = switch(
        True,
        "Whether releases must come from an allowed source. Off: shown as skipped, and an error "
        "in production",
    )
    malware_scanning: bool = switch(
        True,
        "Whether releases are scanned. Off: shown as skipped, and an error in production",
    )


class AuditLogging(Section):
    """The audit log, a file for other tools beside the journal, which has no switch."""

    enabled: bool = switch(
        True,
        "Whether the audit log is written",
        live=True,
        reader=_LOGS,
    )
    log_level: LogLevel = choice(
        "INFO",
        "What the audit log holds: WARNING denials and failures, INFO every change, DEBUG reads "
        "as well",
        live=True,
        reader=_LOGS,
        rests_on=_AUDIT,
    )
    log_retention_days: int = days(
        90,
        "How old files of the audit log, and readable epochs of the journal, may become; older "
        "ones are deleted, and made unreadable",
        live=True,
        reader=_LOGS,
    )
    log_format: Literal["json", "text"] = choice(
        "json",
        "How the lines of the audit log are written",
        live=True,
        reader=_LOGS,
        rests_on=_AUDIT,
    )
    include_sensitive_data: bool = switch(
        False,
        "Whether names, paths and reasons stand in the audit log as they are. Off: as keyed "
        "digests. Secrets never stand there",
        live=True,
        reader=_LOGS,
        rests_on=_AUDIT,
    )


class Security(Section):
    """Who may do what, and what is trusted."""

    authentication: Authentication = section(Authentication)
    authorization: Authorization = section(Authorization)
    component_validation: ComponentValidation = section(ComponentValidation)
    audit_logging: AuditLogging = section(AuditLogging)


class Encryption(Section):
    """The journal's encryption."""

    enabled: bool = switch(
        True,
        "Whether anything is encrypted. Off: new epochs of the journal are plain, though signed",
        reader="noodle_engine.execute.home.opening",
    )
    algorithm: Literal["AES-256-GCM"] = choice(
        "AES-256-GCM", "The cipher; there is one", rests_on=_ENCRYPTION
    )
    key_source: Literal["environment", "file", "keyring", "kms"] = choice(
        "environment",
        "Where the master key is: in NOODLE_JOURNAL_KEY, in the home's key file, in the keyring "
        "or in a key service; a source without one: exit 6. It wraps the signing key too, so it "
        "is needed with encryption off as well",
        reader="noodle_engine.execute.keys.finding",
    )
    key_rotation_interval: int = seconds(
        86400,
        "How long one key of the journal is used before a new epoch begins",
        reader="noodle_engine.execute.home.opening",
    )
    data_at_rest_encryption: bool = switch(
        True,
        "Whether the journal is encrypted. Off: new epochs are plain, though signed",
        rests_on=_ENCRYPTION,
        reader="noodle_engine.execute.home.opening",
    )
    data_in_transit_encryption: bool = switch(
        True,
        "Whether connections are encrypted. Off: only loopback and the Unix socket are listened on",
        rests_on=_ENCRYPTION,
    )


class SecureCommunication(Section):
    """Connections."""

    enabled: bool = switch(True, "Whether there is a TCP listener at all")
    tls_required: bool = switch(
        True,
        "Whether a TCP listener needs TLS. Off: plain TCP on loopback only",
        rests_on=_COMMUNICATION,
    )
    certificate_validation: bool = switch(
        True,
        "Whether certificates of others are verified. Off: a warning, and an error in production",
        rests_on=_COMMUNICATION,
    )
    mutual_tls: bool = switch(
        False, "Whether clients must show a certificate", rests_on=(_COMMUNICATION, _TLS)
    )
