"""The encrypted, signed journal.

Names are loaded when they are first used, so that a command that needs only an
error class pays for nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noodle_journal.backup import (
        backup,
        backup_keystore,
        keep_broken,
        restore,
        restore_keystore,
    )
    from noodle_journal.creation import Created
    from noodle_journal.errors import NoodleError
    from noodle_journal.failures import DamageKind, JournalError
    from noodle_journal.format.canonical import JsonValue
    from noodle_journal.format.checkpoints import Checkpoint
    from noodle_journal.format.notes import NotANote, Note, parse_note
    from noodle_journal.format.proof_files import ProofReport, check_proof
    from noodle_journal.format.records import Kind, NewRecord, Record, kind_of, label_of
    from noodle_journal.journal import Journal
    from noodle_journal.keys import (
        KEY_VARIABLE,
        MASTER_KEY_FILE,
        PUBLIC_KEY_FILE,
        decode_recovery,
        encode_recovery,
        kek_id,
        load_master_key,
        make_key_file,
        read_public_key,
    )
    from noodle_journal.opening import Loaded
    from noodle_journal.reader import Reader
    from noodle_journal.storage.identity import Identity
    from noodle_journal.verification.proving import prove_consistency, prove_inclusion
    from noodle_journal.verification.report import Damage, Report
    from noodle_journal.verification.run import verify

_HOMES = {
    "backup": "backup",
    "backup_keystore": "backup",
    "keep_broken": "backup",
    "restore": "backup",
    "restore_keystore": "backup",
    "Created": "creation",
    "NoodleError": "errors",
    "DamageKind": "failures",
    "JournalError": "failures",
    "JsonValue": "format.canonical",
    "Checkpoint": "format.checkpoints",
    "NotANote": "format.notes",
    "Note": "format.notes",
    "parse_note": "format.notes",
    "ProofReport": "format.proof_files",
    "check_proof": "format.proof_files",
    "Kind": "format.records",
    "NewRecord": "format.records",
    "Record": "format.records",
    "kind_of": "format.records",
    "label_of": "format.records",
    "Journal": "journal",
    "KEY_VARIABLE": "keys",
    "MASTER_KEY_FILE": "keys",
    "PUBLIC_KEY_FILE": "keys",
    "decode_recovery": "keys",
    "encode_recovery": "keys",
    "kek_id": "keys",
    "load_master_key": "keys",
    "make_key_file": "keys",
    "read_public_key": "keys",
    "Loaded": "opening",
    "Reader": "reader",
    "Identity": "storage.identity",
    "prove_consistency": "verification.proving",
    "prove_inclusion": "verification.proving",
    "Damage": "verification.report",
    "Report": "verification.run",
    "verify": "verification.run",
}

__all__ = [
    "KEY_VARIABLE",
    "MASTER_KEY_FILE",
    "PUBLIC_KEY_FILE",
    "Checkpoint",
    "Created",
    "Damage",
    "DamageKind",
    "Identity",
    "Journal",
    "JournalError",
    "JsonValue",
    "Kind",
    "Loaded",
    "NewRecord",
    "NoodleError",
    "NotANote",
    "Note",
    "ProofReport",
    "Reader",
    "Record",
    "Report",
    "backup",
    "backup_keystore",
    "check_proof",
    "decode_recovery",
    "encode_recovery",
    "keep_broken",
    "kek_id",
    "kind_of",
    "label_of",
    "load_master_key",
    "make_key_file",
    "parse_note",
    "prove_consistency",
    "prove_inclusion",
    "read_public_key",
    "restore",
    "restore_keystore",
    "verify",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
