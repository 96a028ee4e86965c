"""Vault's transit engine, over TLS, against a stand-in of its documented HTTP API."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from noodle_journal.failures import KeySourceFailed
from noodle_journal.keys.vault import VaultTransit
from tests.unit.journal.tls import https_server

KEY = bytes(range(32))
LOG = bytes(16)
TOKEN = "a token"


class Transit(BaseHTTPRequestHandler):
    """/v1/transit/encrypt/noodle and /v1/transit/decrypt/noodle."""

    cipher = AESGCM(AESGCM.generate_key(256))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        associated = base64.b64decode(body.get("associated_data", ""))
        if self.headers.get("X-Vault-Token") != TOKEN:
            self.answer(403, {"errors": ["permission denied"]})
        elif self.path == "/v1/transit/encrypt/noodle":
            nonce = os.urandom(12)
            sealed = nonce + self.cipher.encrypt(
                nonce, base64.b64decode(body["plaintext"]), associated
            )
            text = "vault:v1:" + base64.b64encode(sealed).decode()
            self.answer(200, {"data": {"ciphertext": text, "key_version": 1}})
        elif self.path == "/v1/transit/decrypt/noodle":
            raw = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
            try:
                opened = self.cipher.decrypt(raw[:12], raw[12:], associated)
            except InvalidTag:
                self.answer(400, {"errors": ["cipher: message authentication failed"]})
                return
            self.answer(200, {"data": {"plaintext": base64.b64encode(opened).decode()}})
        elif self.path == "/v1/transit/encrypt/elsewhere":
            self.send_response(307)
            self.send_header("Location", "https://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(404, {"errors": ["encryption key not found"]})

    do_PUT = do_POST  # noqa: N815 - the name is http.server's

    def answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Vault:
    address: str
    authority: Path

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "VAULT_ADDR": self.address,
            "VAULT_CACERT": str(self.authority),
            "VAULT_TOKEN": TOKEN,
            **more,
        }


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with https_server(tmp_path_factory.mktemp("vault"), Transit) as (address, authority):
        yield Vault(address, authority)


def test_what_it_wraps_it_unwraps_for_the_same_log_alone(vault: Vault) -> None:
    transit = VaultTransit(vault.environment())
    wrapped = transit.wrap(KEY, associated=LOG)
    assert wrapped.startswith("vault:v1:")
    assert transit.unwrap(wrapped, associated=LOG) == KEY
    with pytest.raises(KeySourceFailed, match="authentication failed"):
        transit.unwrap(wrapped, associated=bytes(15) + b"1")


def test_the_token_may_be_in_its_file(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / ".vault-token").write_text(TOKEN + "\n")
    environment = vault.environment(HOME=str(tmp_path), VAULT_TOKEN="")
    assert VaultTransit(environment).wrap(KEY, associated=LOG)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"VAULT_TOKEN": "another"}, "permission denied"),
        ({"VAULT_TRANSIT_KEY": "absent"}, "not found"),
        ({"VAULT_TRANSIT_KEY": "elsewhere"}, ""),
        ({"VAULT_CACERT": "", "REQUESTS_CA_BUNDLE": ""}, "self-signed certificate"),
        ({"VAULT_ADDR": "https://127.0.0.1:1"}, "refused"),
        ({"VAULT_ADDR": ""}, "VAULT_ADDR is not set"),
        ({"VAULT_ADDR": "http://vault.example:8200"}, "not https"),
    ],
    ids=["token", "key", "redirect", "certificate", "down", "unset", "plain"],
)
def test_what_fails_is_said_without_the_key(
    vault: Vault, change: dict[str, str], reason: str
) -> None:
    with pytest.raises(KeySourceFailed) as caught:
        VaultTransit(vault.environment(**change)).wrap(KEY, associated=LOG)
    text = f"{caught.value.problem} {caught.value.data}"
    assert reason in text
    assert KEY.hex() not in text
    assert base64.b64encode(KEY).decode() not in text
    assert caught.value.exit_code == 6
