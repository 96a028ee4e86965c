"""A process that reads a tree again and again while it is upgraded, and counts what it sees.

`python reader.py TARGET pinned|by-path FILE...` reads until its standard input is
closed, then prints what it counted as JSON. `pinned` opens the folder once for a
pass and every file through it; `by-path` opens every file by its whole path.
"""

from __future__ import annotations

import json
import os
import select
import sys


def one_pass(target: str, how: str, names: list[str]) -> set[str]:
    """The versions that one pass over all files has seen."""
    if how == "by-path":
        return {text(os.open(f"{target}/{name}", os.O_RDONLY)) for name in names}
    folder = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return {text(os.open(name, os.O_RDONLY, dir_fd=folder)) for name in names}
    finally:
        os.close(folder)


def text(descriptor: int) -> str:
    """What a file holds, which is its version."""
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


def main(target: str, how: str, *names: str) -> None:
    """Read until the standard input is closed."""
    passes = mixed = 0
    seen: set[str] = set()
    errors: list[str] = []
    os.nice(10)  # the upgrades are what takes time
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        passes += 1
        try:
            found = one_pass(target, how, list(names))
        except OSError as error:
            errors.append(str(error))
            continue
        mixed += len(found) > 1
        seen |= found
    counted = {"passes": passes, "mixed": mixed, "versions": len(seen), "errors": errors}
    sys.stdout.write(json.dumps(counted))


if __name__ == "__main__":
    main(*sys.argv[1:])
