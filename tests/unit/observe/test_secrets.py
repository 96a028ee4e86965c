"""X1, X2: what is secret is in nothing that is let out."""

from __future__ import annotations

import base64
import copy
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noodle_engine.observe.secrets import SHOWN, Redactor, Secret, spellings_of
from noodle_journal.keys import encode_recovery

KEY = bytes(range(32))
PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\nByqGSM49\n-----END PRIVATE KEY-----"


def test_a_secret_prints_nowhere() -> None:
    secret = Secret("hush")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", repr([secret])]
    assert not [one for one in shown if "hush" in one]
    assert secret.reveal() == "hush"
    assert secret == Secret("hush") != Secret("other")
    assert Redactor().value({"a": [secret]}) == {"a": [SHOWN]}


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_is_not_copied_out(way: object) -> None:
    with pytest.raises(TypeError):
        way(Secret("hush"))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"read {PEM} and went on", f"read {SHOWN} and went on"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB", SHOWN),
        ("postgres://app:hunter2@db/x", f"postgres://app:{SHOWN}@db/x"),
        ("Authorization: Bearer abc.def-123456", f"Authorization: Bearer {SHOWN}"),
        ("eyJhbGciOi.eyJzdWIiOi.c2ln", SHOWN),
        ("ghp_0123456789abcdefghij", SHOWN),
        ("password=hunter2 tries=3", f"password={SHOWN} tries=3"),
        ('{"api_key": "hunter2", "a": 1}', f'{{"api_key": "{SHOWN}", "a": 1}}'),
        ("NOODLE_JOURNAL_KEY='hunter2'", f"NOODLE_JOURNAL_KEY='{SHOWN}'"),
        (encode_recovery(KEY), SHOWN),
        ('{\\"token\\":\\"hunter2\\"}', f'{{\\"token\\":\\"{SHOWN}\\"}}'),
        ('password="hun\\"ter2" next', f'password="{SHOWN}" next'),
        ("secretKey => 'hunter2'", f"secretKey => '{SHOWN}'"),
        ("curl --password hunter2 --user me", f"curl --password {SHOWN} --user me"),
        ("Authorization: Token hunter2", f"Authorization: Token {SHOWN}"),
        ('{"authorization": "hunter2"}', f'{{"authorization": "{SHOWN}"}}'),
        ("Set-Cookie: session=hunter2; Path=/\nnext", f"Set-Cookie: {SHOWN}\nnext"),
    ],
)
def test_a_secret_is_known_by_its_form(text: str, left: str) -> None:
    assert Redactor().text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "the swap begins",
        "security.authorization.required is on, give it --token",
        "idempotency key 01M8:swap:web",
        "security.authentication.token_expiration is 3600",
        "sha256:50313adddde6",
        "http://127.0.0.1:8080/health",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


@settings(max_examples=30)
@given(st.binary(min_size=32, max_size=32), st.text(max_size=20), st.text(max_size=20))
def test_no_spelling_of_a_known_key_passes(key: bytes, before: str, after: str) -> None:
    redactor = Redactor([*spellings_of(key), encode_recovery(key)])
    spellings = (
        key.hex(),
        key.hex().upper(),
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode(),
        encode_recovery(key),
    )
    for spelling in spellings:
        assert spelling.rstrip("=") not in redactor.text(f"{before}{spelling}{after}")
        assert spelling.rstrip("=") not in str(redactor.value({before: {after: [spelling]}}))


def test_a_value_under_the_name_of_a_secret_is_taken_out() -> None:
    found = Redactor().value({"token": "abc", "tokens_left": "3", "n": 1, "passwords": ["a", 1]})
    assert found == {"token": SHOWN, "tokens_left": "3", "n": 1, "passwords": [SHOWN, 1]}


def test_a_long_text_takes_no_long_time() -> None:
    """Each form is bounded: a text of a hundred thousand letters is one pass, not its square."""
    text = "token" * 20_000
    assert Redactor(["x" * 40]).text(text) == text
    for part in ("--token", "--a-", "cookie ", "authorization\\", 'password="\\'):
        long = part * 20_000
        assert Redactor().text(long)
