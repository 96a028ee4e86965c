"""Signed envelopes: a payload and who signed it.

Owns the bytes of a DSSE envelope with one Ed25519 signature. Pure.

Laws
P6. open_envelope(seal(payload)) == payload; any other byte is refused, or not signed.

Source: DSSE v1.0.0 (envelope and pre-authentication encoding).
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from noodle_journal.format.canonical import JsonValue, NotCanonical, encode, parse
from noodle_journal.format.checkpoints import LogSigner, LogVerifier
from noodle_journal.format.clear import exactly


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What is signed (PAE): type and payload with their lengths."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def key_name(public_key: bytes) -> str:
    """How an envelope names a key: the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public_key).hexdigest()


def seal_envelope(payload: bytes, *, payload_type: str, signer: LogSigner) -> bytes:
    """The envelope: one line of canonical JSON."""
    signature = signer.sign(pre_authentication(payload_type, payload))
    body: dict[str, JsonValue] = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [
            {
                "keyid": key_name(signer.public_key),
                "sig": base64.b64encode(signature).decode(),
            }
        ],
    }
    return encode(body)[0] + b"\n"


def open_envelope(data: bytes, *, payload_type: str) -> tuple[bytes, bytes, str]:
    """Payload, signature and name of the key. Nothing is proved yet.

    Raises: NotCanonical.
    """
    if data[-1:] != b"\n":
        raise NotCanonical("not one line")
    fields = exactly(parse(data[:-1]), "payload payloadType signatures")
    signatures = fields["signatures"]
    if fields["payloadType"] != payload_type:
        raise NotCanonical(f"its payload type is not {payload_type}")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise NotCanonical("it has not one signature")
    signed = exactly(signatures[0], "keyid sig")
    signature, named = _base64(signed["sig"]), signed["keyid"]
    if not isinstance(named, str):
        raise NotCanonical("keyid is not text")
    return _base64(fields["payload"]), signature, named


def is_signed(
    payload: bytes, signature: bytes, named: str, *, payload_type: str, public_key: bytes
) -> bool:
    """Whether this key signed the payload, and is the one that is named."""
    message = pre_authentication(payload_type, payload)
    return named == key_name(public_key) and LogVerifier(public_key).accepts(message, signature)


def _base64(value: JsonValue) -> bytes:
    if not isinstance(value, str):
        raise NotCanonical("not base64")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise NotCanonical("not base64") from exc
    if base64.b64encode(data).decode() != value:
        raise NotCanonical("base64 in another spelling")
    return data
