"""Keys: the master key, what it wraps, where it is kept, how it is written down."""

from noodle_journal.keys.files import (
    KEY_VARIABLE,
    MASTER_KEY_FILE,
    PUBLIC_KEY_FILE,
    load_master_key,
    make_key_file,
    os_failure,
    read_key_file,
    read_public_key,
    sync_folder,
    write_new_file,
)
from noodle_journal.keys.master import (
    KEY_ID_BYTES,
    MASTER_KEY_BYTES,
    KeyPurpose,
    MasterKey,
    NotUnwrapped,
    WrappedKey,
    kek_id,
)
from noodle_journal.keys.recovery import decode_recovery, encode_recovery, parse_master_key

__all__ = [
    "KEY_ID_BYTES",
    "KEY_VARIABLE",
    "MASTER_KEY_BYTES",
    "MASTER_KEY_FILE",
    "PUBLIC_KEY_FILE",
    "KeyPurpose",
    "MasterKey",
    "NotUnwrapped",
    "WrappedKey",
    "decode_recovery",
    "encode_recovery",
    "kek_id",
    "load_master_key",
    "make_key_file",
    "os_failure",
    "parse_master_key",
    "read_key_file",
    "read_public_key",
    "sync_folder",
    "write_new_file",
]
