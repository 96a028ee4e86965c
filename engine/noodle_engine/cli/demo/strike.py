"""What the demo has instead of a power cut: SIGKILL for the process in a file, once.

    python strike.py PIDFILE

Release 1.1.0 runs it as a hook right after its file was exchanged. The file is
removed first, so that the resumed upgrade, which runs the hook again, lives.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Kill the process that the file names; nothing if there is no file."""
    record = Path(words[0])
    try:
        pid = int(record.read_text())
        record.unlink()
    except (OSError, ValueError):
        return 0
    os.kill(pid, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
