"""`python -m tests.fuzz [SECONDS] [FOLDER]`: let coverage choose the bytes (`make fuzz`).

FOLDER keeps what was found worth keeping from run to run; without it all begins with the
seeds. An input that finds something is written to the folder `fuzz-found`, shown, and the exit
code is not 0: it becomes a case of `test_readers.py`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["noodle_journal"]):
    from tests.fuzz.readers import READERS, read, seeds

FOUND = Path("fuzz-found")
INPUT_BYTES_MAX = 4096


def main(words: list[str]) -> None:
    """Fuzz for so many seconds (60), and end."""
    seconds = int(words[0]) if words else 60
    with tempfile.TemporaryDirectory(prefix="noodle-fuzz-") as made:
        corpus = Path(words[1] if len(words) > 1 else made)
        corpus.mkdir(exist_ok=True)
        for number, (name, data) in enumerate(seeds()):
            chosen = list(READERS).index(name)
            (corpus / f"seed-{number:02}").write_bytes(bytes([chosen]) + data)
        FOUND.mkdir(exist_ok=True)
        limits = [
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-artifact_prefix={FOUND}/",
            "-print_final_stats=1",
            "-use_value_profile=1",
        ]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
