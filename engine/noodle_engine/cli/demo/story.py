"""The story: adopt a running shop, upgrade it, be killed, resume, verify, replay, go back.

Each step runs real commands, and each line it tells is made of what another
`noodle --json` command, the running shop or the files on disk answer when asked
again. A step that does not find what it promises fails the demo. Visitors come
the whole time; the last step is what they saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from noodle_engine.cli.demo.releases import MUTABLE, NAME, UNMANAGED, write_release
from noodle_engine.cli.demo.shop import DATA, NEW, OLD, SETTINGS, write_shop
from noodle_engine.cli.demo.stage import Stage
from noodle_engine.cli.show.shapes import DemoStep

__all__ = ["STEPS", "play"]

Lines = list[str]
_PUBLIC_KEY = "home/keys/log.pub"
_TITLE = "My shop"


def play(stage: Stage) -> Iterator[DemoStep]:
    """Play the steps one after the other. Raises DemoFailed at the first that fails."""
    story = _Story(stage)
    for name, step, look in STEPS:
        stage.step = name
        stage.commands.clear()
        try:
            told = step(story)
        except (LookupError, TypeError) as error:
            # The answers are taken apart by name: one that lacks a field is a broken link.
            raise stage.fails(f"an answer lacks what is looked for: {error!r}") from error
        except OSError as error:
            raise stage.fails(f"{error.filename}: {error.strerror}") from error
        where = look.format(id=story.upgrade, seq=story.swapped_at)
        yield DemoStep(name, tuple(stage.commands), tuple(told), where)


class _Story:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.trees: dict[str, dict[str, str]] = {}
        self.upgrade = ""
        self.swapped_at = 0

    def deploy(self) -> Lines:
        stage = self.stage
        files = write_shop(stage.target, OLD)
        self.trees[OLD] = _tree(stage.target)
        stage.open_shop()
        stage.let_visitors_in()
        (stage.target / SETTINGS).write_text(f'title = "{_TITLE}"\n')
        self._serves(OLD)
        return [
            f"{files} files in {stage.target}, copied there by hand years ago",
            f"visitors look at pages and sign the guest book; one page: `{stage.shop_says()}`",
        ]

    def adopt(self) -> Lines:
        stage = self.stage
        before = (stage.target / "app.py").stat().st_ino
        stage.run("init")
        words = ["component", "adopt", f"{NAME}@{OLD}", "srv/shop"]
        words += [word for path in MUTABLE for word in ("--mutable", path)]
        words += [word for one in UNMANAGED for word in ("--unmanaged", one)]
        answer = stage.run(*words, "--yes")
        again = self._ended(answer, old="unversioned", new=OLD)
        stage.expect("the file", (stage.target / "app.py").stat().st_ino, before)
        for path in MUTABLE:
            there = stage.target / path.rstrip("/")
            stage.expect(f"that {path} is a link", there.is_symlink(), True)
        self._serves(OLD)
        return [
            f"upgrade {again['upgrade']}: shop {_versions(again)}, {again['state']}",
            f"nothing was copied; {' and '.join(MUTABLE)} live where no release touches them",
        ]

    def register(self) -> Lines:
        stage = self.stage
        name = f"releases/shop-{NEW}"
        write_release(
            stage.folder / name,
            target=stage.target,
            port=stage.port,
            run=stage.running_in,
            pidfile=stage.pidfile,
        )
        self.trees[NEW] = _tree(stage.folder / name / "shop")
        stage.run("component", "add", name)
        row = _row(stage.read_back("component", "list"))
        stage.expect("the releases", list(row.get("releases", ())), [NEW])
        stage.expect("the installed version", row.get("installed"), OLD)
        return [f"known, copied into the home and signed: {row['name']} {NEW}"]

    def plan(self) -> Lines:
        stage = self.stage
        answer = stage.run("plan", f"{NAME}@{NEW}", "--out", "plan.json")
        again = stage.read_back("plan", f"{NAME}@{NEW}")
        stage.expect("the hash of the plan", again["plan_hash"], answer["plan_hash"])
        line, diff = again["plan"]["components"][0], again["plan"]["diff"]
        stage.expect("the change", (line["from"], line["to"]), (OLD, NEW))
        for kind in ("added", "changed", "removed"):
            stage.expect(f"the files {kind}", diff[kind], self._differing(kind))
        self._serves(OLD)
        return [
            (
                f"{diff['added']} file added, {diff['changed']} changed, {diff['removed']} removed;"
                f" {len(again['plan']['steps'])} steps, hash {again['plan_hash'][:12]}"
            ),
            "planning changed nothing, and the settings and the guest book are no part of it",
        ]

    def be_killed(self) -> Lines:
        stage = self.stage
        stage.run_killed("apply", "./plan.json", "--yes")
        opened = stage.run("status")["open"]
        stage.expect("the number of open upgrades", len(opened), 1)
        self.upgrade = opened[0]["upgrade"]
        now = stage.read_back("status", self.upgrade)
        line, step = now["components"][0], now["step"]
        stage.expect("the state", now["state"], "swapping")
        stage.expect(
            "the open step", (step["id"], step["state"]), (f"after-swap:{NAME}:0", "running")
        )
        stage.expect("what is on disk", line["observed"], "new")
        self._tree_is(NEW)
        self._says(OLD)
        return [
            f"SIGKILL hit `noodle apply` right after the exchange: state {now['state']},",
            (
                f"on disk is the whole {line['observed']} tree, {line['to']}; the shop still "
                f"answers from the whole old one: `{stage.shop_says()}`;"
            ),
            f"the journal says where it stood: {step['id']} is {step['state']}",
        ]

    def resume(self) -> Lines:
        stage = self.stage
        answer = stage.run("resume", self.upgrade)
        again = self._ended(answer["upgrades"][0], old=OLD, new=NEW)
        self._serves(NEW)
        second = stage.run("resume", shown=False)
        stage.expect("what is left to resume", second["upgrades"], [])
        return [
            f"another process finished it: {again['state']}, shop {_versions(again)}",
            "a second resume finds nothing left to do",
        ]

    def check(self) -> Lines:
        stage = self.stage
        steps = {one["id"]: one for one in stage.run("steps", self.upgrade)["steps"]}
        health = steps.get(f"health:{NAME}:0", {})
        stage.expect("the step of the health check", health.get("state"), "done")
        strike = steps.get(f"after-swap:{NAME}:0", {})
        stage.expect("the attempts of the killed step", strike.get("attempts"), 2)
        verified = stage.run("component", "verify", NAME, "--full")
        stage.expect("that all files are as installed", verified["whole"], True)
        self._serves(NEW)
        return [
            (
                f"the health check passed before the commit, in {health['duration_ms']} ms; "
                f"the killed step took {strike['attempts']} attempts"
            ),
            f"all {verified['components'][0]['files_read']} files are as the release has them",
            f"asked now, the shop answers `{stage.shop_says()}`",
        ]

    def verify(self) -> Lines:
        stage = self.stage
        secret = stage.run("audit", "verify")
        public = stage.run("audit", "verify", "--public-key", _PUBLIC_KEY)
        for verdict, with_key in ((secret, True), (public, False)):
            stage.expect("the verdict", verdict["ok"], True)
            stage.expect("with the home's key", verdict["with_key"], with_key)
        head = stage.read_back("status")["journal"]
        for name in ("size", "root"):
            stage.expect(f"the verified {name}", secret[name], head[name])
            stage.expect(f"the {name} by the public key", public[name], head[name])
        return [
            f"with the key: {secret['size']} records are whole, unchanged, and open",
            (
                f"with the public key only: the same {public['size']} records and root "
                f"{public['root'][:12]}, contents sealed"
            ),
        ]

    def replay(self) -> Lines:
        stage = self.stage
        entries = stage.run("audit", "show", self.upgrade)["entries"]
        swaps = [
            one["seq"]
            for one in entries
            if one["kind"] == "step.done" and one["fields"].get("step") == f"swap:{NAME}"
        ]
        stage.expect("the number of recorded exchanges", len(swaps), 1)
        self.swapped_at = swaps[0]
        then = stage.run("audit", "replay", self.upgrade, "--at", str(self.swapped_at))
        states = [one["state"] for one in then["upgrades"]]
        stage.expect("the replayed state", states, ["swapping"])
        stage.expect("what was installed then", _row(then)["installed"], OLD)
        now = stage.run("audit", "replay")
        stage.expect("what differs from live", now["differs"], [])
        stage.expect("what is installed now", _row(now)["installed"], NEW)
        return [
            (
                f"as of record {then['at']} the upgrade was {states[0]}, and "
                f"{_row(then)['installed']} was what was installed"
            ),
            (
                f"as of record {now['at']}, the last, {_row(now)['installed']} is installed; "
                "live and disk agree"
            ),
        ]

    def go_back(self) -> Lines:
        stage = self.stage
        answer = stage.run("rollback", NAME, "--yes")
        stage.expect("the direction", answer["direction"], "back")
        again = self._ended(answer, old=NEW, new=OLD)
        self._serves(OLD)
        rows = stage.run("history")["upgrades"]
        ends = [(one["direction"], one["state"]) for one in rows]
        wanted = [("back", "committed"), ("forward", "committed"), ("forward", "committed")]
        stage.expect("the history", ends, wanted)
        stage.expect("the newest upgrade", rows[0]["upgrade"], again["upgrade"])
        return [
            (
                f"an upgrade of its own, in the direction {again['direction']}: shop "
                f"{_versions(again)}, {again['state']}"
            ),
            f"the shop answers `{stage.shop_says()}`; the history has {len(rows)} upgrades",
        ]

    def ask_visitors(self) -> Lines:
        stage = self.stage
        seen = stage.see_visitors_off()
        stage.expect("the pages of two versions", seen["mixed"], [])
        stage.expect("the requests that failed", seen["failed"], [])
        versions = list(dict.fromkeys(one["version"] for one in seen["seen"]))
        stage.expect("the versions that were seen", sorted(versions), [OLD, NEW])
        stage.expect("the version seen last", seen["seen"][-1]["version"], OLD)
        book = (stage.target / DATA / "guestbook.txt").read_text().splitlines()
        lost = sorted(set(seen["signed"]) - set(book))
        stage.expect("the lines that the guest book lost", lost, [])
        title = (stage.target / SETTINGS).read_text()
        stage.expect("the settings", title, f'title = "{_TITLE}"\n')
        return [
            f"{seen['requests']} requests: 0 failed, 0 pages of two versions at once",
            f"{len(book)} lines in the guest book, none lost; the settings are as edited",
        ]

    def _differing(self, kind: str) -> int:
        """How many files differ, by comparing the two trees here."""
        old, new = self.trees[OLD], self.trees[NEW]
        sets = {
            "added": set(new) - set(old),
            "removed": set(old) - set(new),
            "changed": {name for name in set(old) & set(new) if old[name] != new[name]},
        }
        return len(sets[kind])

    def _ended(self, answer: Any, *, old: str, new: str) -> Any:
        """Read an ended upgrade back, and hold it to what its command answered."""
        again = self.stage.read_back("status", answer["upgrade"])
        for name in ("state", "status", "direction", "plan_hash", "components"):
            self.stage.expect(f"`{name}`, asked again,", again[name], answer[name])
        self.stage.expect("the state", (again["state"], again["finished"]), ("committed", True))
        line = again["components"][0]
        self.stage.expect("the change", (line["from"], line["to"]), (old, new))
        self.stage.expect("what is on disk", line["observed"], "new")
        return again

    def _serves(self, version: str) -> None:
        self._tree_is(version)
        self._says(version)

    def _says(self, version: str) -> None:
        wanted = f"{_TITLE}: code {version}, page {version}, asset {version}"
        self.stage.expect("what the shop answers", self.stage.shop_says(), wanted)

    def _tree_is(self, version: str) -> None:
        same = _tree(self.stage.target) == self.trees[version]
        self.stage.expect(f"that the tree is {version}, byte for byte,", same, True)


def _tree(folder: Path) -> dict[str, str]:
    """What a tree holds, without what outlasts every release."""
    mutable = tuple(path.rstrip("/") for path in MUTABLE)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not str(path.relative_to(folder)).startswith(mutable)
    }


def _row(answer: Any) -> Any:
    rows = [one for one in answer["components"] if one["name"] == NAME]
    return rows[0] if rows else {}


def _versions(view: Any) -> str:
    line = view["components"][0]
    return f"{line['from']} -> {line['to']}"


STEPS: tuple[tuple[str, Callable[[_Story], Lines], str], ...] = (
    ("a shop that is deployed already", _Story.deploy, ""),
    ("adopt it, as it runs", _Story.adopt, "noodle component show shop"),
    ("register release 1.1.0", _Story.register, "noodle component list"),
    ("plan 1.1.0", _Story.plan, "noodle history"),
    ("apply, killed in mid-swap", _Story.be_killed, "noodle status {id}"),
    ("resume in another process", _Story.resume, "noodle steps {id} --output"),
    ("check the running shop", _Story.check, "noodle component verify --full"),
    ("verify the journal", _Story.verify, "noodle audit show"),
    ("replay the journal", _Story.replay, "noodle audit replay --at {seq}"),
    ("roll back", _Story.go_back, "noodle points"),
    ("ask the visitors", _Story.ask_visitors, "visitors.json"),
)
"""Each step: its name, what it does, where to look next."""
