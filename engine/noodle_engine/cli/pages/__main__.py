"""`python -m noodle_engine.cli.pages [FOLDER]`: write the reference pages."""

from __future__ import annotations

import sys
from pathlib import Path

from noodle_engine.cli.pages.commands import commands_page
from noodle_engine.cli.pages.errors import errors_page
from noodle_engine.cli.pages.shapes import shapes_page
from noodle_engine.machine.diagram import machine_page

PAGES = {
    "errors.md": errors_page,
    "cli.md": commands_page,
    "json.md": shapes_page,
    "machine.md": machine_page,
}


def main(words: list[str]) -> int:
    """Write every page into the folder."""
    folder = Path(words[0] if words else "docs/reference")
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
