"""`python -m noodle_engine.cli` is the `noodle` command."""

from __future__ import annotations

import sys

from noodle_engine.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
