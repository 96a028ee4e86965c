"""HashiCorp Vault's transit engine as a key service (extra `vault`).

Takes its settings from the environment, under the names that Vault's own command has:
VAULT_ADDR (needed), VAULT_TOKEN or ~/.vault-token, VAULT_CACERT, VAULT_NAMESPACE; and two
more that its command has no name for: VAULT_TRANSIT_MOUNT (`transit`) and VAULT_TRANSIT_KEY
(`noodle`). The key has to be there, of type aes256-gcm96 or chacha20-poly1305; the token
needs `update` on MOUNT/encrypt/KEY and MOUNT/decrypt/KEY.

Source: Vault's HTTP API, /transit/encrypt/:name and /transit/decrypt/:name.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from noodle_journal.failures import KeySourceFailed

__all__ = ["VaultTransit"]

SECONDS_MAX: Final = 10
WRAPPED_MAX: Final = 4096


class VaultTransit:
    """Wraps with a key of Vault that never leaves it. No plain HTTP, but to this machine."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._mount = environment.get("VAULT_TRANSIT_MOUNT", "transit")
        self._key = environment.get("VAULT_TRANSIT_KEY", "noodle")

    def wrap(self, key: bytes, *, associated: bytes) -> str:
        """As `KeyService`."""
        data = self._call("encrypt_data", plaintext=_text(key), associated_data=_text(associated))
        wrapped = data.get("ciphertext")
        if not isinstance(wrapped, str) or not wrapped.isascii() or len(wrapped) > WRAPPED_MAX:
            raise self._failed("its answer holds no ciphertext")
        return wrapped

    def unwrap(self, wrapped: str, *, associated: bytes) -> bytes:
        """As `KeyService`."""
        data = self._call("decrypt_data", ciphertext=wrapped, associated_data=_text(associated))
        try:
            return base64.b64decode(str(data["plaintext"]), validate=True)
        except (KeyError, binascii.Error) as exc:
            raise self._failed("its answer holds no plaintext") from exc

    def _call(self, name: str, **arguments: str) -> Mapping[str, Any]:
        address = self._environment.get("VAULT_ADDR", "")
        if not address:
            raise self._failed("VAULT_ADDR is not set")
        local = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")
        if not address.startswith(("https://", *local)):
            raise self._failed(f"VAULT_ADDR is {address}, and not https")
        try:
            library = import_module("hvac")
        except ImportError as exc:
            raise KeySourceFailed(
                source="Vault",
                reason="the library `hvac` is not installed",
                remedy="pip install 'noodle-upgrade[vault]'",
            ) from exc
        client = library.Client(
            url=address,
            token=self._token(),
            namespace=self._environment.get("VAULT_NAMESPACE"),
            verify=self._environment.get("VAULT_CACERT") or True,
            timeout=SECONDS_MAX,
            allow_redirects=False,
        )
        try:
            call = getattr(client.secrets.transit, name)
            answer = call(self._key, mount_point=self._mount, **arguments)
            return dict(answer["data"])
        except Exception as exc:  # what requests, urllib3 and hvac raise has no class in common
            raise self._failed(_short(exc)) from exc
        finally:
            client.adapter.close()

    def _token(self) -> str | None:
        found = self._environment.get("VAULT_TOKEN")
        if found:
            return found
        home = self._environment.get("HOME")
        if home:
            try:
                return (Path(home) / ".vault-token").read_text(encoding="ascii").strip() or None
            except (OSError, UnicodeDecodeError):
                return None
        return None

    def _failed(self, reason: str) -> KeySourceFailed:
        where = self._environment.get("VAULT_ADDR", "")
        return KeySourceFailed(source=f"Vault ({where or 'no address'})", reason=reason)


def _short(exc: BaseException) -> str:
    """What went wrong at the bottom, in a line without what was sent."""
    while True:
        inside = getattr(exc, "reason", None) or next(iter(exc.args), None)
        if not isinstance(inside, BaseException):
            break
        exc = inside
    text = str(exc).strip().partition("\n")[0]
    return f"{type(exc).__name__}: {text[:200]}" if text else type(exc).__name__


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
