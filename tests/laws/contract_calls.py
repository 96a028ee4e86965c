"""`python -m tests.laws.contract_calls NAME FOLDER`: step stage of a kind, between two getppid.

Prints the calls that the watch has seen, as JSON; who traces this process sees the others.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from noodle_engine.machine.plan import StepName
from noodle_engine.targets.load import load_target
from noodle_engine.testing import Files, Trees
from noodle_engine.testing.site import Site


def main(kind: str, folder: str) -> None:
    """Stage one upgrade; the step itself lies between the marks."""
    site = Site(load_target(kind), Files() if kind == "file" else Trees(), Path(folder))
    old, new, _ = site.versions.examples()
    site.deploy(old)
    site.begin(new)
    site.forward()
    site.forward()
    context, target = site._in(), site.target

    def marked() -> Any:
        os.getppid()
        target.do(StepName.STAGE, context)
        os.getppid()

    sys.stdout.write(json.dumps(Counter(site._act("stage", site._locked(marked)).calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
