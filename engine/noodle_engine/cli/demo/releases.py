"""The demo's service and its two releases, written as a user would write them.

Owns their text. 1.1.0 differs from 1.0.0 in what it answers, and in a hook
that kills the upgrade's own process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from noodle_engine.cli.demo import strike, supervise

__all__ = ["NEW", "OLD", "write_release"]

OLD = "1.0.0"
NEW = "1.1.0"

_SERVICE = '''\
"""A small service: it answers every request with its version."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "{version}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"web {{VERSION}}\\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
'''

_MANIFEST = """\
format = 1

[component]
name = "web"
version = {version}
kind = "file"

[payload]
path = "web.py"

[target]
path = {target}

[[health]]
http = {url}
contains = {contains}
passes = 2
interval = 0.05
timeout = 2.0
within = 15.0
"""

_STRIKE = """
# Instead of a power cut: kills the process that does this upgrade, once.
[[hooks]]
at = "after-swap"
command = {strike}
"""

_RESTART = """
[[hooks]]
at = "after-swap"
command = {restart}
undo = {restart}
timeout = 30.0
"""


def write_release(folder: Path, version: str, *, target: Path, port: int, pidfile: Path) -> bytes:
    """Write a release folder and return the bytes of its payload."""
    folder.mkdir(parents=True)
    payload = _SERVICE.format(version=version).encode()
    (folder / "web.py").write_bytes(payload)
    restart = [_python(), "-I", _path(supervise), "restart", str(target.parent), str(port)]
    text = _MANIFEST.format(
        version=json.dumps(version),
        target=json.dumps(str(target)),
        url=json.dumps(f"http://127.0.0.1:{port}/"),
        contains=json.dumps(f"web {version}"),
    )
    if version == NEW:
        kill = [_python(), "-I", _path(strike), str(pidfile)]
        text += _STRIKE.format(strike=json.dumps(kill))
    text += _RESTART.format(restart=json.dumps(restart))
    (folder / "noodle.toml").write_text(text)
    return payload


def _python() -> str:
    return sys.executable


def _path(module: object) -> str:
    return str(Path(str(getattr(module, "__file__", ""))).resolve())
