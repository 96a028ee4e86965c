"""Check the model with Spin: every property, what must be reachable, every seeded fault.

`specs/run` is the command. It prints one line a search with the states it
found, and ends with 1 if a property fails, if something that must be reachable
is not, if the model never crashes, if code of the model is never reached, or
if a seeded fault is not found by the property that should find it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from generate import table
from trail import readable

HERE = Path(__file__).parent
SEARCH_SECONDS_MAX = 300
DEPTH_STEPS_MAX = 100_000
SEARCHES_AT_ONCE = 2
CRASHES_MAX = 2
REPLAYED_STEPS_MAX = 2000
INSTALL = {"spin": "apt-get install spin", "cc": "apt-get install gcc libc6-dev"}

BLOCKS = "never_blocks"
ENDS = "ends"
FINAL = "final"
EACH_STATE = "each_state"
IN_EACH_STATE = (
    "whole",
    "right_side",
    "same_side",
    "old_kept",
    "foreign_kept",
    "in_order",
    "runs_what_is_there",
    "nothing_left",
    "recorded_before_done",
    "durable_before_recorded",
    "acknowledged",
    "holds_for_a_reason",
    "abort_is_kept",
)
"""What holds in each state. One search is enough while all hold; if it fails, each is
searched for by its own name. The model defines each in capitals."""

PROPERTIES = (BLOCKS, *IN_EACH_STATE, FINAL, ENDS)
"""Each has to hold. `never_blocks` is Spin's own search for invalid end states:
the search for `ends`, which assumes fairness, does not see a process that blocks.
Spin looks for them in a program without claims only, which is compiled apart."""

REACHABLE = (
    "never_crashes_twice",
    "never_commits_after_a_crash",
    "never_goes_back_after_both_flips",
    "never_goes_back_on_crash",
    "never_holds",
    "never_half",
)
"""Each has to fail: a model that cannot do these proves nothing."""

FAULTS = {
    "FLIP_BEFORE_INTENT": "recorded_before_done",
    "NO_FLUSH_BEFORE_DONE": "durable_before_recorded",
    "PROBE_WITHOUT_FLUSH": "durable_before_recorded",
    "STAGE_NOT_FLUSHED": "whole",
    "ACKNOWLEDGE_BEFORE_COMMIT": "acknowledged",
    "INTENT_TAKEN_FOR_DONE": "right_side",
    "UNDO_TRUSTS_DONE": "holds_for_a_reason",
    "ONE_NOT_UNDONE": "same_side",
    "COMPONENTS_FORWARD": "in_order",
    "HOOKS_FIRST": "runs_what_is_there",
    "STAGE_UNDONE_OR_LEFT": "nothing_left",
    "FOREIGN_OVERWRITTEN": "foreign_kept",
    "FORWARD_WHILE_UNDOING": "abort_is_kept",
    "PROBE_NEVER_COMES": BLOCKS,
    "FAILED_STEP_DONE_AGAIN": ENDS,
}
"""What is broken on purpose, and the property that has to say so."""

NEVER_REACHED = {
    "kept_target[0] = 3": "a power cut tears a only if its stage was not flushed",
    "kept_target[1] = 3": "a power cut tears b only if its stage was not flushed",
    "(0)": "the engine waits for nothing only if a probe is forgotten",
    "(!(up))": "the crash of an engine that waits for nothing",
}
"""The statements that only a seeded fault reaches, and why the sound model does not.
Spin names a statement as it compiled it; those inside a d_step it does not count."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found."""

    failed: bool
    states: int
    seconds: float
    unreached: frozenset[str]
    crashes: str


class ModelBroken(Exception):
    """The model does not compile, or a search does not end."""


def build(work: Path, name: str, *, crashes: int, fault: str | None = None) -> Path:
    """The program that searches for the property `name`, generated and compiled.

    Programs differ by faults and bounds, and by whether they know the claims.
    """
    claims = name != BLOCKS
    folder = work / f"{fault or 'sound'}-{crashes}-{'claims' if claims else 'blocks'}"
    program = folder / "pan"
    if folder.exists():
        return program
    folder.mkdir()
    (folder / "table.pml").write_text(table())
    (folder / "each_state.pml").write_text(each_state())
    shutil.copy(HERE / "engine.pml", folder)
    defines = [f"-DCRASHES={crashes}"] + ([f"-D{fault}"] if fault else [])
    run(["spin", *defines, "-a", "engine.pml"], folder)
    # with a fault the search is short, and compiling is what takes long
    options = ["-O0" if fault else "-O2"] + ([] if claims else ["-DNOCLAIM", "-DSAFETY"])
    run(["cc", *options, "-w", "-o", program.name, "pan.c"], folder)
    return program


def each_state() -> str:
    """One claim for all of `IN_EACH_STATE`: as one formula they are too long for Spin."""
    options = "".join(f"\t:: !{name.upper()} -> break\n" for name in IN_EACH_STATE)
    return f"never {EACH_STATE} {{\n\tdo\n{options}\t:: else\n\tod\n}}\n"


def run(command: list[str], folder: Path) -> str:
    """The output of a command that has to succeed."""
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SEARCH_SECONDS_MAX, check=False
    )
    if ended.returncode != 0 or "syntax error" in ended.stdout:
        raise ModelBroken(f"{' '.join(command)}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def search(program: Path, name: str) -> Found:
    """Search all states for a violation of the property `name`."""
    options = [] if name == BLOCKS else ["-a", "-N", name]
    if name == ENDS:
        options.append("-f")
    began = time.monotonic()
    out = run([str(program), *options, f"-m{DEPTH_STEPS_MAX}", "-w22"], program.parent)
    errors = re.search(r"errors: (\d+)", out)
    states = re.search(r"(\d+) states, stored", out)
    if errors is None or states is None or "search depth too small" in out:
        raise ModelBroken(f"{name}: the search is not complete\n{out}")
    failed = errors.group(1) != "0"
    if not failed and "Search not completed" in out:
        raise ModelBroken(f"{name}: the search is not complete\n{out}")
    # Spin ignores an option it does not know, and then searches for something else.
    asked = r"invalid end states\s+\+" if name == BLOCKS else rf"never claim\s+\+ \({name}\)"
    if not re.search(asked, out):
        raise ModelBroken(f"{name}: Spin searched for something else\n{out}")
    return Found(
        failed=failed,
        states=int(states.group(1)),
        seconds=time.monotonic() - began,
        unreached=frozenset(re.findall(r'engine\.pml:\d+, state \d+, "(?!-end-)(.*)"', out)),
        crashes="".join(re.findall(r"crashes tried: (.*)", out)),
    )


class Report:
    """Prints verdicts and remembers whether one is bad."""

    def __init__(self) -> None:
        self.bad: list[str] = []

    def say(self, name: str, found: Found, *, good: bool, verdict: str) -> None:
        """One line."""
        mark = "ok " if good else "BAD"
        print(
            f"{mark} {name:<34} {verdict:<38} {found.states:>9,} states {found.seconds:6.1f} s",
            flush=True,
        )
        if not good:
            self.bad.append(name)

    def require(self, name: str, *, good: bool, text: str) -> None:
        """One line that is no search."""
        print(f"{'ok ' if good else 'BAD'} {name:<34} {text}", flush=True)
        if not good:
            self.bad.append(name)


def check_sound(work: Path, name: str) -> Found:
    """Search the model without a fault."""
    return search(build(work, name, crashes=CRASHES_MAX), name)


def check_properties(work: Path, searches: dict[str, Future[Found]], report: Report) -> None:
    """What holds in the sound model, and what of it is never reached."""
    for name in (BLOCKS, EACH_STATE, FINAL, ENDS):
        found = searches[name].result()
        verdict = "violated" if found.failed else "holds"
        report.say(name, found, good=not found.failed, verdict=verdict)
        if name == EACH_STATE:
            for each in IN_EACH_STATE:
                alone = check_sound(work, each) if found.failed else found
                verdict = "violated" if alone.failed else "holds"
                report.say(f"  {each}", alone, good=not alone.failed, verdict=verdict)
    whole = searches[BLOCKS].result()
    counts = [int(count) for count in re.findall(r"\d+", whole.crashes)]
    report.require("crashes tried", good=len(counts) == 2 and min(counts) > 0, text=whole.crashes)
    report.require(
        "code never reached",
        good=whole.unreached == NEVER_REACHED.keys(),
        text=f"{len(NEVER_REACHED)} statements, each for a reason"
        if whole.unreached == NEVER_REACHED.keys()
        else f"differs from the list: {sorted(whole.unreached ^ NEVER_REACHED.keys())}",
    )


def check_reachable(searches: dict[str, Future[Found]], report: Report) -> None:
    """What the sound model has to be able to do."""
    for name in REACHABLE:
        found = searches[name].result()
        verdict = "reached" if found.failed else "NOT REACHED"
        report.say(
            name.replace("never_", "reaches: ", 1), found, good=found.failed, verdict=verdict
        )


def check_fault(work: Path, fault: str) -> Found:
    """Search the model with one fault for the property that has to find it."""
    name = FAULTS[fault]
    return search(build(work, name, crashes=1, fault=fault), name)


def matrix(work: Path, pool: ThreadPoolExecutor) -> None:
    """Which property finds which fault, as the table of the README."""

    def row(fault: str) -> str:
        names = [
            name
            for name in PROPERTIES
            if search(build(work, name, crashes=1, fault=fault), name).failed
        ]
        return f"| `{fault}` | {', '.join(f'`{name}`' for name in names)} |"

    print("| fault | found by |\n|---|---|")
    for line in pool.map(row, FAULTS):
        print(line, flush=True)


def show(work: Path, name: str, fault: str | None) -> int:
    """Print a run that violates `name`, step by step; 1 if there is one."""
    crashes = 1 if fault else CRASHES_MAX
    program = build(work, name, crashes=crashes, fault=fault)
    if not search(program, name).failed:
        print(f"{name} holds: there is nothing to show")
        return 0
    defines = [f"-DCRASHES={crashes}"] + ([f"-D{fault}"] if fault else [])
    replay = ["spin", *defines, "-t", "-p", "-g", f"-u{REPLAYED_STEPS_MAX}", "engine.pml"]
    for line in readable(run(replay, program.parent)):
        print(line)
    return 1


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="specs/run", description=__doc__)
    parser.add_argument("--matrix", action="store_true", help="every fault x every property")
    parser.add_argument("--show", choices=(*PROPERTIES, *REACHABLE), help="a run that violates it")
    parser.add_argument("--fault", choices=FAULTS, help="with --show: in the model with this fault")
    chosen = parser.parse_args()
    for program, install in INSTALL.items():
        if shutil.which(program) is None:
            print(f"{program} is missing: {install}", file=sys.stderr)
            return 2
    report = Report()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="noodle-specs-") as folder,
        ThreadPoolExecutor(SEARCHES_AT_ONCE) as pool,
    ):
        work = Path(folder)
        if chosen.matrix:
            matrix(work, pool)
            return 0
        if chosen.show:
            return show(work, chosen.show, chosen.fault)
        build(work, ENDS, crashes=CRASHES_MAX)  # once, for all claims of the sound model
        names = (ENDS, BLOCKS, EACH_STATE, FINAL, *REACHABLE)  # the longest first
        searches = {name: pool.submit(check_sound, work, name) for name in names}
        faults = {fault: pool.submit(check_fault, work, fault) for fault in FAULTS}
        check_properties(work, searches, report)
        check_reachable(searches, report)
        for fault, future in faults.items():
            found = future.result()
            verdict = (
                f"found by {FAULTS[fault]}" if found.failed else f"NOT FOUND by {FAULTS[fault]}"
            )
            report.say(f"fault: {fault.lower()}", found, good=found.failed, verdict=verdict)
    for name in map(str.strip, report.bad):
        if name in PROPERTIES:
            print(f"a run that violates it: specs/run --show {name}")
    print(f"{len(report.bad)} bad, {time.monotonic() - began:.0f} s")
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main())
