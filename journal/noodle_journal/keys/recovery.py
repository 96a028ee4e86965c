"""The master key as text: hexadecimal digits, or the recovery key that people write down.

Laws
K1. decode_recovery(encode_recovery(key)) == key; one wrong character is found.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from noodle_journal.failures import KeyInvalid
from noodle_journal.keys.master import MASTER_KEY_BYTES

_CHECK_BYTES = 3  # 32 + 3 bytes are exactly 56 base32 characters
_GROUP = 7
# Base32 has none of these digits; people read and type them for letters.
_LOOKALIKES = str.maketrans({"0": "O", "1": "I", "8": "B", "-": "", " ": "", "\n": "", "\t": ""})


def encode_recovery(key: bytes) -> str:
    """The master key to write down: eight groups of seven base32 letters."""
    check = hashlib.sha256(b"noodle recovery key" + key).digest()[:_CHECK_BYTES]
    text = base64.b32encode(key + check).decode()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def decode_recovery(text: str, *, source: str = "the recovery key") -> bytes:
    """The master key that was written down; spaces, case and 0/1/8 do not matter.

    Raises: KeyInvalid, also for a single wrong character.
    """
    try:
        data = base64.b32decode(text.upper().translate(_LOOKALIKES))
    except (binascii.Error, ValueError) as exc:
        raise KeyInvalid(source=source, reason="not 56 base32 letters") from exc
    key, check = data[:MASTER_KEY_BYTES], data[MASTER_KEY_BYTES:]
    wanted = hashlib.sha256(b"noodle recovery key" + key).digest()[:_CHECK_BYTES]
    if len(key) != MASTER_KEY_BYTES or not hmac.compare_digest(check, wanted):
        raise KeyInvalid(source=source, reason="its checksum does not match")
    return key


def parse_master_key(text: str, *, source: str) -> bytes:
    """64 hexadecimal digits, or a recovery key. Raises: KeyInvalid."""
    text = text.strip()
    if len(text) == 2 * MASTER_KEY_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError as exc:
            raise KeyInvalid(source=source, reason="not 64 hexadecimal digits") from exc
    return decode_recovery(text, source=source)
