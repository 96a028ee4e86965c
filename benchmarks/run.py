"""Run the measurements; `make bench` calls it without arguments and keeps RESULTS.md."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # The folder above is what holds the package; this one would shadow other modules.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.command import main

    sys.exit(main())
