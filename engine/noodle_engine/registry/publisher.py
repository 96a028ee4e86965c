"""The local publisher's key, and signatures on releases.

Owns the Ed25519 key with which this home signs what it registers, and the DSSE
envelope. The signature tells that a registered release is what was registered;
who made it before that is for a later issue (signed releases of others).

Source: DSSE v1.0.0 (envelope and pre-authentication encoding), RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noodle_engine.disk.files import ObjectKind, kind_of, status_of
from noodle_engine.disk.whole import read_whole, write_whole
from noodle_engine.registry.failures import KeyUnusable

__all__ = [
    "ENVELOPE_BYTES_MAX",
    "KEY_NAME",
    "PAYLOAD_TYPE",
    "Publisher",
    "load_publisher",
    "make_publisher_key",
    "open_envelope",
    "pre_authentication",
]

KEY_NAME: Final = "publisher.key"
PAYLOAD_TYPE: Final = "application/vnd.noodle.release+json"
ENVELOPE_BYTES_MAX: Final = 64 * 1024
_KEY_BYTES_MAX = 4096
_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Publisher:
    """A publisher's key. `public` is the raw public key, `key_id` its SHA-256."""

    seed: bytes
    public: bytes

    @property
    def key_id(self) -> str:
        """The identity of the key, 64 hexadecimal digits."""
        return hashlib.sha256(self.public).hexdigest()

    def __repr__(self) -> str:  # never the seed
        return f"Publisher({self.key_id})"

    def seal(self, payload: bytes) -> bytes:
        """A DSSE envelope of `payload`, as JSON. The same payload gives the same bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PrivateKey,
        )

        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        envelope = {
            "payload": _base64(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": self.key_id,
                    "sig": _base64(key.sign(pre_authentication(PAYLOAD_TYPE, payload))),
                }
            ],
        }
        return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What is signed (PAE): type and payload with their lengths."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def open_envelope(envelope: bytes, public: bytes) -> bytes | None:
    """The payload of an envelope that `public` signed, or None if it did not.

    None too for what is no envelope, or one of another payload type.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        parsed = json.loads(envelope)
        if parsed["payloadType"] != PAYLOAD_TYPE:
            return None
        payload = base64.b64decode(parsed["payload"], validate=True)
        signatures = [
            base64.b64decode(entry["sig"], validate=True) for entry in parsed["signatures"]
        ]
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
        return None
    key = Ed25519PublicKey.from_public_bytes(public)
    for signature in signatures[:1]:
        try:
            key.verify(signature, pre_authentication(PAYLOAD_TYPE, payload))
        except InvalidSignature:
            return None
        return payload
    return None


def make_publisher_key(path: Path, *, seed: bytes) -> bytes:
    """Write a new publisher's key (PKCS #8 PEM, 0600) durably; its public part, raw.

    `seed` is 32 random bytes. A key that is there stays: then KeyUnusable, and
    nothing has changed. Its folder must exist.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    if len(seed) != _SEED_BYTES:
        raise KeyUnusable(path=path, why=f"its seed is {len(seed)} bytes, not {_SEED_BYTES}")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if not write_whole(path, data, 0o600, replace=False):
        raise KeyUnusable(path=path, why="there is one already, and it is not replaced")
    return key.public_key().public_bytes_raw()


def load_publisher(path: Path) -> Publisher:
    """Read a publisher's key. Raises KeyUnusable, also if others may read it."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    kind = kind_of(path)
    if kind is not ObjectKind.FILE:
        raise KeyUnusable(path=path, why=f"there is no such file (found: {kind.value})")
    if status_of(path).st_mode & 0o077:
        raise KeyUnusable(path=path, why="others may read or write it; its mode must be 0600")
    data = read_whole(path, bytes_max=_KEY_BYTES_MAX) or b""
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(path=path, why="it is no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(path=path, why="it is no Ed25519 key")
    return Publisher(key.private_bytes_raw(), key.public_key().public_bytes_raw())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
