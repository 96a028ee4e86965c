"""An anchor over HTTP: the note is posted, and got back.

POST sends the signed note as text/plain; any answer of 2xx says that it is kept for good.
GET of the same address, with `?log=LOG_ID` (32 hexadecimal digits), gives the newest note of
that log, or notes one a line as `sinks.line_of` writes them; 404, 405 and 501 say that this
cannot be asked there. NOODLE_ANCHOR_TOKEN, where it is set, is sent as a bearer token.

Laws
S4. TLS is verified against the system's authorities (SSL_CERT_FILE names others), a redirect
    is never followed, and no proxy is asked.
S5. An answer is bounded in size, and the whole exchange in time.
"""

from __future__ import annotations

import http.client
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from noodle_journal.anchors.failures import SinkFailed
from noodle_journal.anchors.sinks import newest, notes_in
from noodle_journal.format.notes import NotANote, parse_note

__all__ = ["TOKEN_VARIABLE", "HttpSink"]

TOKEN_VARIABLE: Final = "NOODLE_ANCHOR_TOKEN"  # noqa: S105 - its name
ANSWER_BYTES_MAX: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 16
_CANNOT_TELL: Final = frozenset({404, 405, 501})


class HttpSink:
    """One address that keeps notes."""

    def __init__(self, url: str, environment: Mapping[str, str] = os.environ) -> None:
        self._parts = urlsplit(url)
        self._token = environment.get(TOKEN_VARIABLE)

    def keep(self, note: str, *, seconds: float) -> None:
        """As `Sink`."""
        status, _ = self._ask("POST", self._target, note.encode(), seconds)
        if not 200 <= status < 300:
            raise SinkFailed(f"it answered {status}")

    def fetch(self, log_id: str, *, seconds: float, everything: bool) -> Sequence[str] | None:
        """As `Sink`."""
        joined = "&" if self._parts.query else "?"
        status, body = self._ask("GET", f"{self._target}{joined}log={log_id}", None, seconds)
        if status in _CANNOT_TELL:
            return None
        if status == 204:
            return ()
        if status != 200:
            raise SinkFailed(f"it answered {status}")
        found = _notes(body, log_id)
        return found if everything else newest(found)

    @property
    def _target(self) -> str:
        query = f"?{self._parts.query}" if self._parts.query else ""
        return f"{self._parts.path or '/'}{query}"

    def _ask(
        self, method: str, target: str, body: bytes | None, seconds: float
    ) -> tuple[int, bytes]:
        until = time.monotonic() + seconds
        connection = self._connection(seconds)
        headers = {"User-Agent": "noodle", "Content-Type": "text/plain; charset=utf-8"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, _read(answer, connection, until)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise SinkFailed(_why(exc)) from exc
        finally:
            connection.close()

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            trusted = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=trusted)
        return http.client.HTTPConnection(host, port, timeout=seconds)


def _read(
    answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, until: float
) -> bytes:
    """The answer's body, within bounds of size and time (law S5)."""
    body = b""
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)
        chunk = answer.read1(_CHUNK_BYTES)
        if not chunk:
            return body
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise ValueError("its answer is too long")


def _notes(body: bytes, log_id: str) -> list[str]:
    """The notes of an answer: one as it is, or lines."""
    try:
        text = body.decode()
        if parse_note(text).log_id.hex() == log_id:
            return [text]
    except (NotANote, UnicodeDecodeError):
        pass
    return list(notes_in(body.split(b"\n"), log_id))


def _why(exc: Exception) -> str:
    """Why it failed, without what was sent."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({exc.verify_message})"
    if isinstance(exc, TimeoutError):
        return "it has not answered in time"
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    return f"it does not speak HTTP as it should ({type(exc).__name__})"
