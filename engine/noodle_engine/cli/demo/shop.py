"""The demo's web application: a shop of some hundred files, written as anybody would.

Owns its text in two versions. A page is made of code, a template and an asset;
each says its version, so that a visitor can tell a mix. Visitors sign a guest
book, and an administrator has a settings file: both outlast every version.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASSETS", "DATA", "NEW", "OLD", "PAGES", "SETTINGS", "write_shop"]

OLD = "1.0.0"
NEW = "1.1.0"
PAGES = 40
ASSETS = 260
DATA = "data"
SETTINGS = "conf/shop.toml"
_RENAMED = 20
"""Every so many assets one differs in 1.1.0."""

_APP = '''\
"""A small shop. It serves what is in the folder that it was started from.

    python app.py SOCKET    answers on the listening socket of that number

The folder is opened once: whatever comes to stand under its name later, this
process goes on with the one that it was started from.
"""

import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "{version}"
HERE = os.open(os.path.dirname(os.path.realpath(__file__)), os.O_RDONLY | os.O_DIRECTORY)


def read(path):
    with os.fdopen(os.open(path, os.O_RDONLY, dir_fd=HERE)) as file:
        return file.read()


def sign(line):
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with os.fdopen(os.open("data/guestbook.txt", flags, 0o644, dir_fd=HERE), "a") as file:
        file.write(line + "\\n")


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        page = int(self.path.rpartition("/")[2] or 0) % {pages}
        title = read("conf/shop.toml").split('"')[1]
        template = read(f"templates/page-{{page:02}}.html")
        asset = read("static/version.txt")
        text = template.replace("CODE", VERSION).replace("ASSET", asset.strip())
        self.answer(200, text.replace("TITLE", title))

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        sign(self.rfile.read(length).decode())
        self.answer(200, "thank you\\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # who is being served is served to the end

    def server_bind(self):
        pass


listening = socket.socket(fileno=int(sys.argv[1]))
listening.setblocking(False)  # another process may take a visitor first
server = Server(listening.getsockname(), Shop, bind_and_activate=False)
server.socket.close()
server.socket = listening


def stop(*_):
    threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, stop)
print(VERSION, flush=True)  # ready
server.serve_forever(poll_interval=0.05)
server.server_close()
'''


def write_shop(folder: Path, version: str) -> int:
    """Write the shop of a version under a new name; how many files it has."""
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(_APP.format(version=version, pages=PAGES))
    for name in ("templates", "static", "conf", DATA):
        (folder / name).mkdir()
    for number in range(PAGES):
        (folder / "templates" / f"page-{number:02}.html").write_text(
            f"TITLE: code CODE, page {version}, asset ASSET\n" + f"<p>{number}</p>\n"
        )
    for number in range(ASSETS):
        changed = version if number % _RENAMED == 0 else "all versions"
        (folder / "static" / f"asset-{number:03}.css").write_text(
            f".asset-{number} {{ /* {changed} */ width: {number}px }}\n" * 8
        )
    if version == NEW:
        (folder / "static" / "new-in-1.1.0.js").write_text("'use strict'\n")
        (folder / "static" / "asset-007.css").unlink()
    (folder / "static" / "version.txt").write_text(f"{version}\n")
    (folder / SETTINGS).write_text('title = "as delivered"\n')
    (folder / DATA / "guestbook.txt").write_text("")
    return sum(1 for path in folder.rglob("*") if path.is_file())
