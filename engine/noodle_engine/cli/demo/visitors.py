"""Visitors of the demo's shop: they look at pages and sign the guest book, all the time.

    python visitors.py PORT REPORT    until SIGTERM, then write what they saw

Owns the report: how many requests, how many failed, how many pages were of two
versions at once, which version was seen when, and which lines of the guest book
were promised. It is the judge of what an upgrade looks like from outside.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

VISITORS = 2
SIGN_EVERY = 5
_PAUSE_S = 0.02
_SEEN = re.compile(r"code (\S+), page (\S+), asset (\S+)")


class Visitors:
    """What was seen so far."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.requests = 0
        self.failed: list[str] = []
        self.mixed: list[str] = []
        self.spans: list[list[Any]] = []
        self.signed: list[str] = []

    def visit(self, number: int) -> None:
        """One visitor, until all go."""
        count = 0
        while not self.stop.is_set():
            count += 1
            try:
                if count % SIGN_EVERY == 0:
                    line = f"visitor {number}, visit {count}"
                    self._ask("POST", "/", line)
                    with self.lock:
                        self.signed.append(line)
                else:
                    self._look(self._ask("GET", f"/{count}", None))
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    self.failed.append(f"{self._now()} s: {error!r}")
            self.stop.wait(_PAUSE_S)

    def _ask(self, method: str, path: str, body: str | None) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise http.client.HTTPException(f"status {answer.status}")
        finally:
            connection.close()
        with self.lock:
            self.requests += 1
        return text

    def _look(self, text: str) -> None:
        found = _SEEN.search(text)
        versions = set(found.groups()) if found else {text}
        seen = versions.pop() if len(versions) == 1 else None
        with self.lock:
            if seen is None:
                self.mixed.append(text)
            elif not self.spans or self.spans[-1][0] != seen:
                self.spans.append([seen, self._now(), self._now(), 1])
            else:
                self.spans[-1][2] = self._now()
                self.spans[-1][3] += 1

    def _now(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def report(self) -> dict[str, Any]:
        """All of it."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "mixed": self.mixed,
            "seen": [
                {"version": version, "from_s": start, "to_s": end, "pages": count}
                for version, start, end, count in self.spans
            ],
            "signed": self.signed,
        }


def main(words: list[str]) -> int:
    """Visit until SIGTERM."""
    port, report = int(words[0]), Path(words[1])
    visitors = Visitors(port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: visitors.stop.set())
    threads = [threading.Thread(target=visitors.visit, args=(one,)) for one in range(VISITORS)]
    for thread in threads:
        thread.start()
    while not visitors.stop.wait(0.1):
        pass
    for thread in threads:
        thread.join()
    begun = report.with_name(f"{report.name}.next")
    begun.write_text(json.dumps(visitors.report()))
    begun.replace(report)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
