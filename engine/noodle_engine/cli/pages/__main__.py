"""`python -m noodle_engine.cli.pages [FOLDER]`: write the reference pages."""

from __future__ import annotations

import sys
from pathlib import Path

from noodle_engine.cli.pages.commands import commands_page
from noodle_engine.cli.pages.errors import errors_page
from noodle_engine.cli.pages.settings import settings_page
from noodle_engine.cli.pages.shapes import shapes_page
from noodle_engine.machine.diagram import machine_page
from noodle_policies.settings.schema import schema_text

PAGES = {
    "errors.md": errors_page,
    "cli.md": commands_page,
    "json.md": shapes_page,
    "machine.md": machine_page,
    "settings.md": settings_page,
    "../../specs/settings.schema.json": schema_text,
}


def main(words: list[str]) -> int:
    """Write every page into the folder."""
    folder = Path(words[0] if words else "docs/reference")
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path = folder / name
        if path.parent.is_dir():  # what stands elsewhere in the checkout is only for that
            path.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
