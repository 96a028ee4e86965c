"""The story: install, upgrade, be killed, resume, verify, replay, go back.

Each step runs real commands, and each line it tells is made of what another
`noodle --json` command, the running service or the file on disk answers when
asked again. A step that does not find what it promises fails the demo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from noodle_engine.cli.demo.releases import NEW, OLD, write_release
from noodle_engine.cli.demo.stage import Stage
from noodle_engine.cli.show.shapes import DemoStep

__all__ = ["STEPS", "play"]

Lines = list[str]
_PUBLIC_KEY = "home/keys/log.pub"


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
        where = look.format(id=story.upgrade, seq=story.swapped_at)
        yield DemoStep(name, tuple(stage.commands), tuple(told), where)


class _Story:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.payloads: dict[str, bytes] = {}
        self.upgrade = ""
        self.swapped_at = 0

    def register(self) -> Lines:
        stage = self.stage
        stage.run("init")
        for version in (OLD, NEW):
            name = f"releases/web-{version}"
            self.payloads[version] = write_release(
                stage.folder / name,
                version,
                target=stage.target,
                port=stage.port,
                pidfile=stage.pidfile,
            )
            stage.run("component", "add", name)
        row = _row(stage.read_back("component", "list"))
        stage.expect("the set of releases", set(row.get("releases", ())), {OLD, NEW})
        stage.expect("the installed version", row.get("installed"), None)
        return [
            f"known, copied into the home and signed: {row['name']} {', '.join(row['releases'])}",
            "nothing is installed yet",
        ]

    def install(self) -> Lines:
        stage = self.stage
        answer = stage.run("apply", f"web@{OLD}", "--yes")
        again = self._ended(answer, old=None, new=OLD)
        self._serves(OLD)
        return [
            f"upgrade {again['upgrade']}: web {_versions(again)}, {again['state']}",
            f"{stage.target} is there, and the service answers `{stage.service_says()}`",
        ]

    def plan(self) -> Lines:
        stage = self.stage
        answer = stage.run("plan", f"web@{NEW}", "--out", "plan.json")
        again = stage.read_back("plan", f"web@{NEW}")
        stage.expect("the hash of the plan", again["plan_hash"], answer["plan_hash"])
        line = again["plan"]["components"][0]
        stage.expect("the change", (line["from"], line["to"]), (OLD, NEW))
        self._serves(OLD)
        return [
            (
                f"web {line['from']} -> {line['to']} in {len(again['plan']['steps'])} steps, "
                f"hash {again['plan_hash'][:12]}"
            ),
            f"planning changed nothing: the service still answers `{stage.service_says()}`",
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
        stage.expect("the open step", (step["id"], step["state"]), ("after-swap:web:0", "running"))
        stage.expect("what is on disk", line["observed"], "new")
        self._file_is(NEW)
        stage.expect("what runs", stage.service_says(), f"web {OLD}")
        return [
            f"SIGKILL hit `noodle apply` right after the exchange: state {now['state']},",
            (
                f"on disk is the {line['observed']} file, {line['to']}; what runs still answers "
                f"`{stage.service_says()}`;"
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
            f"another process finished it: {again['state']}, web {_versions(again)}",
            "a second resume finds nothing left to do",
        ]

    def check_health(self) -> Lines:
        stage = self.stage
        steps = {one["id"]: one for one in stage.run("steps", self.upgrade)["steps"]}
        health = steps.get("health:web:0", {})
        stage.expect("the step of the health check", health.get("state"), "done")
        strike = steps.get("after-swap:web:0", {})
        stage.expect("the attempts of the killed step", strike.get("attempts"), 2)
        self._serves(NEW)
        return [
            (
                f"the health check passed before the commit, in {health['duration_ms']} ms; "
                f"the killed step took {strike['attempts']} attempts"
            ),
            f"asked now, the service answers `{stage.service_says()}`",
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
            if one["kind"] == "step.done" and one["fields"].get("step") == "swap:web"
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
        answer = stage.run("rollback", "web", "--yes")
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
                f"an upgrade of its own, in the direction {again['direction']}: web "
                f"{_versions(again)}, {again['state']}"
            ),
            f"the service answers `{stage.service_says()}`; the history has {len(rows)} upgrades",
        ]

    def _ended(self, answer: Any, *, old: str | None, new: str) -> Any:
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
        self._file_is(version)
        self.stage.expect("what the service answers", self.stage.service_says(), f"web {version}")

    def _file_is(self, version: str) -> None:
        try:
            same = self.stage.target.read_bytes() == self.payloads[version]
        except OSError as error:
            raise self.stage.fails(f"the target cannot be read: {error.strerror}") from error
        self.stage.expect(f"that the file is {version}, byte for byte,", same, True)


def _row(answer: Any) -> Any:
    rows = [one for one in answer["components"] if one["name"] == "web"]
    return rows[0] if rows else {}


def _versions(view: Any) -> str:
    line = view["components"][0]
    return f"{line['from'] or 'absent'} -> {line['to']}"


STEPS: tuple[tuple[str, Callable[[_Story], Lines], str], ...] = (
    ("register two releases", _Story.register, "noodle component show web"),
    ("install 1.0.0", _Story.install, "noodle history"),
    ("plan 1.1.0", _Story.plan, "plan.json"),
    ("apply, killed in mid-swap", _Story.be_killed, "noodle status {id}"),
    ("resume in another process", _Story.resume, "noodle steps {id} --output"),
    ("check the running service", _Story.check_health, "noodle steps {id}"),
    ("verify the journal", _Story.verify, "noodle audit show"),
    ("replay the journal", _Story.replay, "noodle audit replay --at {seq}"),
    ("roll back", _Story.go_back, "noodle history --verbose"),
)
"""Each step: its name, what it does, where to look next."""
