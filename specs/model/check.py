"""Check the models with Spin: every property, what must be reachable, every planted fault.

`specs/run` is the command. It prints one line a search with the states it
found, and ends with 1 if a property fails, if something that must be reachable
is not, if a model never crashes, if code of the models is never reached, if
a planted fault is not found by the property that should find it, or if the
page of all that (docs/reference/model.md) says something else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from generate import plan, table
from models import (
    BLOCKS,
    EACH_STATE,
    ENDS,
    FINAL,
    MODELS,
    NEVER_REACHED,
    PROPERTIES,
    Model,
)
from page import PAGE, text, without_counts
from relation import Relation
from trail import readable

HERE = Path(__file__).parent
SEARCH_SECONDS_MAX = 600
DEPTH_STEPS_MAX = 100_000
SEARCHES_AT_ONCE = 2
REPLAYED_STEPS_MAX = 2000
INSTALL = {"spin": "apt-get install spin", "cc": "apt-get install gcc libc6-dev"}
BUILDING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found."""

    failed: bool
    states: int
    seconds: float
    unreached: frozenset[str]
    crashes: str


class ModelBroken(Exception):
    """A model does not compile, or a search does not end."""


def defines(model: Model, name: str, fault: str | None) -> list[str]:
    """How the model is compiled for a search."""
    bounds = model.bounds_for(name, fault=fault is not None)
    return [f"-D{bound}={n}" for bound, n in bounds.items()] + ([f"-D{fault}"] if fault else [])


def build(work: Path, model: Model, name: str, *, fault: str | None = None) -> Path:
    """The program that searches a model for the property `name`, generated and compiled.

    Programs differ by faults and bounds, and by whether they know the claims.
    """
    claims = name != BLOCKS
    chosen = defines(model, name, fault)
    kind = "claims" if claims else "blocks"
    folder = work / "-".join([model.name, *chosen, kind]).replace("-D", "")
    program = folder / "pan"
    with BUILDING:
        if folder.exists():
            return program
        folder.mkdir()
        (folder / "table.pml").write_text(table(model.name))
        (folder / "each_state.pml").write_text(each_state(model))
        for part in (*HERE.glob("*.pml"), HERE / "counting.h"):
            shutil.copy(part, folder)
        run(["spin", *chosen, "-a", model.file], folder)
        # with a fault the search is short, and compiling is what takes long
        options = ["-O0" if fault else "-O2"] + ([] if claims else ["-DNOCLAIM", "-DSAFETY"])
        run(["cc", *options, "-w", "-o", program.name, "pan.c"], folder)
        return program


def each_state(model: Model) -> str:
    """One claim for all that hold in each state: as one formula they are too long for Spin."""
    options = "".join(f"\t:: !{name.upper()} -> break\n" for name in model.in_each_state)
    return f"never {EACH_STATE} {{\n\tdo\n{options}\t:: else\n\tod\n}}\n"


def run(command: list[str], folder: Path, *, edges: Path | None = None) -> str:
    """The output of a command that has to succeed."""
    environment = {**os.environ, **({"NOODLE_SPECS_EDGES": str(edges)} if edges else {})}
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SEARCH_SECONDS_MAX,
        check=False,
    )
    if ended.returncode != 0 or "syntax error" in ended.stdout:
        raise ModelBroken(f"{' '.join(command)}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def search(program: Path, name: str, *, edges: Path | None = None) -> Found:
    """Search all states for a violation of the property `name`."""
    options = [] if name == BLOCKS else ["-a", "-N", name]
    if name == ENDS:
        options.append("-f")
    began = time.monotonic()
    command = [str(program), *options, f"-m{DEPTH_STEPS_MAX}", "-w22"]
    out = run(command, program.parent, edges=edges)
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
        unreached=frozenset(unreached(out)),
        crashes="".join(re.findall(r"crashes tried: (.*)", out)),
    )


def unreached(out: str) -> Iterator[str]:
    """The statements of processes, not of claims, that a search never came to."""
    for part in re.findall(r"unreached in proctype \w+\n((?:\t.*\n)*)", out):
        for statement in re.findall(r'\w+\.pml:\d+, state \d+, "(?!-end-)(.*)"', part):
            yield re.sub(r"^D_STEP\d+$", "D_STEP", statement)


class Report:
    """Prints verdicts and remembers whether one is bad, and how many states each search had."""

    def __init__(self) -> None:
        self.bad: list[str] = []
        self.states: dict[tuple[str, str], int] = {}

    def say(self, model: Model, name: str, found: Found, *, good: bool, verdict: str) -> None:
        """One line."""
        shown = f"{model.name}: {name}"
        print(
            f"{mark(good)} {shown:<40} {verdict:<33} {found.states:>10,} states "
            f"{found.seconds:6.1f} s",
            flush=True,
        )
        self.states[model.name, name.strip()] = found.states
        if not good:
            self.bad.append(shown)

    def require(self, name: str, *, good: bool, text: str) -> None:
        """One line that is no search."""
        print(f"{mark(good)} {name:<40} {text}", flush=True)
        if not good:
            self.bad.append(name)


def mark(good: bool) -> str:  # noqa: FBT001 - a verdict
    """How a verdict is printed."""
    return "ok " if good else "BAD"


def check_sound(work: Path, model: Model, name: str) -> Found:
    """Search a model without a fault."""
    edges = work / f"{model.name}.edges" if model.edges and name == BLOCKS else None
    return search(build(work, model, name), name, edges=edges)


def check_properties(
    work: Path, model: Model, searches: dict[str, Future[Found]], report: Report
) -> frozenset[str]:
    """What holds in the sound model; the statements of it that are never reached."""
    for name in (BLOCKS, EACH_STATE, FINAL, ENDS):
        found = searches[name].result()
        verdict = "violated" if found.failed else "holds"
        report.say(model, name, found, good=not found.failed, verdict=verdict)
        if name == EACH_STATE and found.failed:
            for each in model.in_each_state:
                alone = check_sound(work, model, each)
                verdict = "violated" if alone.failed else "holds"
                report.say(model, f"  {each}", alone, good=not alone.failed, verdict=verdict)
        elif name == EACH_STATE:
            for each in model.in_each_state:
                print(f"    {model.name}: {each} holds")
    whole = searches[BLOCKS].result()
    counts = [int(count) for count in re.findall(r"\d+", whole.crashes)]
    good = len(counts) == 2 and min(counts) > 0
    report.require(f"{model.name}: crashes tried", good=good, text=whole.crashes)
    return whole.unreached


def check_relation(work: Path, report: Report) -> None:
    """Every step from one journal to the next that Spin found is one of the relation's."""
    for model in MODELS:
        if not model.edges:
            continue
        relation = Relation(plan(model.name))
        found = (work / f"{model.name}.edges").read_text().splitlines()
        edges = [tuple(map(int, line.split())) for line in found]
        half = len(edges[0]) // 2
        unexplained = [edge for edge in edges if not relation.explains(edge[:half], edge[half:])]
        report.require(
            f"{model.name}: relation",
            good=not unexplained,
            text=f"{len(edges):,} steps of the journal, {len(unexplained)} that it does not have",
        )


def check_reached(unreached: list[tuple[str, frozenset[str]]], report: Report) -> None:
    """What no model of a file reaches has a reason."""
    for file, reasons in NEVER_REACHED.items():
        never = frozenset.intersection(*(found for of, found in unreached if of == file))
        differs = sorted(never ^ reasons.keys())
        report.require(
            f"{file}: code never reached",
            good=not differs,
            text=f"differs from the list: {differs}"
            if differs
            else f"{len(reasons)} statements, each for a reason",
        )


def check_reachable(model: Model, searches: dict[str, Future[Found]], report: Report) -> None:
    """What the sound model has to be able to do."""
    for name in model.reachable:
        found = searches[name].result()
        verdict = "reached" if found.failed else "NOT REACHED"
        shown = name.replace("never_", "reaches: ", 1)
        report.say(model, shown, found, good=found.failed, verdict=verdict)


def check_fault(work: Path, model: Model, fault: str) -> Found:
    """Search the model with one fault for the property that has to find it."""
    name = model.faults[fault]
    return search(build(work, model, name, fault=fault), name)


def check_page(report: Report, *, write: bool) -> None:
    """The page says what was found; the numbers only if the same Spin found them."""
    version = re.findall(r"[\d.]+", run(["spin", "-V"], HERE))[0]
    found = text(report.states, version)
    if write:
        PAGE.write_text(found)
    stands = PAGE.read_text() if PAGE.exists() else ""
    if f"Spin {version}," not in stands:
        found, stands = without_counts(found), without_counts(stands)
    report.require(
        f"docs/reference/{PAGE.name}",
        good=found == stands,
        text="says so" if found == stands else "says something else: specs/run --write",
    )


def matrix(work: Path, pool: ThreadPoolExecutor) -> None:
    """Which properties find which fault."""

    def row(of: tuple[Model, str]) -> str:
        model, fault = of
        names = [
            name
            for name in (*model.in_each_state, *model.over_time)
            if search(build(work, model, name, fault=fault), name).failed
        ]
        return f"| {model.name} | `{fault}` | {', '.join(f'`{name}`' for name in names)} |"

    print("| model | fault | found by |\n|---|---|---|")
    for line in pool.map(row, [(model, fault) for model in MODELS for fault in model.faults]):
        print(line, flush=True)


def show(work: Path, model: Model, name: str, fault: str | None) -> int:
    """Print a run that violates `name`, step by step; 1 if there is one."""
    program = build(work, model, name, fault=fault)
    if not search(program, name).failed:
        print(f"{name} holds: there is nothing to show")
        return 0
    chosen = defines(model, name, fault)
    replay = ["spin", *chosen, "-t", "-p", "-g", "-l", f"-u{REPLAYED_STEPS_MAX}", model.file]
    steps = [step.id for step in plan(model.name).steps]
    for line in readable(run(replay, program.parent), steps):
        print(line)
    return 1


def check(work: Path, pool: ThreadPoolExecutor, *, write: bool) -> Report:
    """Search for everything, the longest first."""
    report = Report()
    searches = {
        (model.name, name): pool.submit(check_sound, work, model, name)
        for names in (lambda _: (ENDS,), lambda m: (BLOCKS, EACH_STATE, FINAL, *m.reachable))
        for model in MODELS
        for name in names(model)
    }
    faults = {
        (model.name, fault): pool.submit(check_fault, work, model, fault)
        for model in MODELS
        for fault in model.faults
    }
    unreached = []
    for model in MODELS:
        own = {name: future for (of, name), future in searches.items() if of == model.name}
        unreached.append((model.file, check_properties(work, model, own, report)))
        check_reachable(model, own, report)
        for fault, name in model.faults.items():
            found = faults[model.name, fault].result()
            verdict = f"found by {name}" if found.failed else f"NOT FOUND by {name}"
            report.say(model, fault, found, good=found.failed, verdict=verdict)
    check_reached(unreached, report)
    check_relation(work, report)
    check_page(report, write=write)
    return report


def main() -> int:
    """Run what the command line asks for."""
    names = {model.name: model for model in MODELS}
    reachable = {name for model in MODELS for name in model.reachable}
    faults = {fault for model in MODELS for fault in model.faults}
    parser = argparse.ArgumentParser(prog="specs/run", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/reference/model.md")
    parser.add_argument("--matrix", action="store_true", help="every fault x every property (long)")
    parser.add_argument(
        "--model", choices=names, default="pair", help="with --show (default: pair)"
    )
    parser.add_argument(
        "--show", choices=(*PROPERTIES, *sorted(reachable)), help="a run that violates it"
    )
    parser.add_argument("--fault", choices=sorted(faults), help="with --show: in the model with it")
    chosen = parser.parse_args()
    for program, install in INSTALL.items():
        if shutil.which(program) is None:
            print(f"{program} is missing: {install}", file=sys.stderr)
            return 2
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
            return show(work, names[chosen.model], chosen.show, chosen.fault)
        report = check(work, pool, write=chosen.write)
    for shown in report.bad:
        model, _, name = shown.partition(": ")
        if name.strip() in PROPERTIES:
            print(f"a run that violates it: specs/run --show {name.strip()} --model {model}")
    print(f"{len(report.bad)} bad, {time.monotonic() - began:.0f} s")
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main())
