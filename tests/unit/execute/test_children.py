"""Running a user's command: laws C1 to C4, O1 and O2. Real processes throughout."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from noodle_engine.disk.holders import holders_of
from noodle_engine.execute.commands.children import (
    GRACE_MS,
    PATH_DEFAULT,
    CommandUnusable,
    Ended,
    Identity,
    OrphanEnd,
    end_orphan,
    environment_for,
    run_child,
)
from noodle_engine.execute.commands.processes import boot_id, identify
from noodle_engine.machine.failures import RecordUnreadable
from noodle_engine.machine.plan import Hook, HookPoint
from noodle_engine.machine.records import OUTPUT_BYTES_MAX

ENVIRONMENT = {"PATH": PATH_DEFAULT, "NOODLE_STEP_KEY": "k"}
LONG_MS = 20_000


class Run(Protocol):
    def __call__(
        self,
        *command: str,
        timeout_ms: int = LONG_MS,
        stop: threading.Event | None = None,
        started: Callable[[Identity], None] = lambda _identity: None,
        environment: dict[str, str] = ENVIRONMENT,
        inherit: tuple[int, ...] = (),
    ) -> Ended: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(
        *command: str,
        timeout_ms: int = LONG_MS,
        stop: threading.Event | None = None,
        started: Callable[[Identity], None] = lambda _identity: None,
        environment: dict[str, str] = ENVIRONMENT,
        inherit: tuple[int, ...] = (),
    ) -> Ended:
        return run_child(
            command,
            environment=environment,
            folder=tmp_path,
            timeout_ms=timeout_ms,
            stop=stop or threading.Event(),
            inherit=inherit,
            started=started,
        )

    return call


def gone(pid: int, *, wait_s: float = 10) -> bool:
    """Wait (bounded) until a process has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], wait_s)[0])
    finally:
        os.close(pidfd)


# C1: recorded before run


def test_the_program_runs_only_after_started_returned(run: Run, tmp_path: Path) -> None:
    seen: list[bool] = []

    def started(identity: Identity) -> None:
        # Time enough for a program that is not held back: it would have ended.
        seen.append(gone(identity.pid, wait_s=0.5))
        seen.append((tmp_path / "ran").exists())

    ended = run("touch", "ran", started=started)

    assert ended.succeeded
    assert seen == [False, False]
    assert (tmp_path / "ran").exists()


def test_the_recorded_identity_is_the_programs(run: Run) -> None:
    identities: list[Identity] = []

    ended = run("sh", "-c", "echo $$; cut -d' ' -f22 /proc/$$/stat", started=identities.append)

    assert [int(line) for line in ended.output.split()] == [
        identities[0].pid,
        identities[0].start_ticks,
    ]
    assert identities[0].boot_id == boot_id()


def test_nothing_runs_and_nothing_is_left_when_started_raises(run: Run, tmp_path: Path) -> None:
    identities: list[Identity] = []

    def started(identity: Identity) -> None:
        identities.append(identity)
        gone(identity.pid, wait_s=0.5)
        raise KeyError("the journal is full")

    with pytest.raises(KeyError):
        run("touch", "ran", started=started)

    assert gone(identities[0].pid)
    assert not (tmp_path / "ran").exists()


def test_an_engine_killed_before_the_gate_opens_leaves_nothing_that_runs(tmp_path: Path) -> None:
    """The engine is a process of its own here, and really killed."""
    engine = """
import os, signal, sys, threading
from pathlib import Path
from noodle_engine.execute.commands.children import run_child
def started(identity):
    print(identity.text, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
run_child(["touch", "ran"], environment={"PATH": "/usr/bin:/bin"}, folder=Path.cwd(),
          timeout_ms=1000, stop=threading.Event(), inherit=(), started=started)
"""
    killed = subprocess.run(
        [sys.executable, "-c", engine],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert killed.returncode == -signal.SIGKILL

    identity = Identity.parse(killed.stdout.strip())

    assert gone(identity.pid)
    assert not (tmp_path / "ran").exists()


def test_a_stop_before_the_gate_opens_runs_nothing(run: Run, tmp_path: Path) -> None:
    stop = threading.Event()

    late = run("touch", "ran", stop=stop, started=lambda _identity: stop.set())
    early = run("touch", "ran", stop=stop)

    assert late == early
    assert late.stopped
    assert late.exit_code is None
    assert not (tmp_path / "ran").exists()


# C2: exactly what was given


def test_arguments_reach_the_program_as_they_are(run: Run) -> None:
    odd = ["a b", "$HOME", "`id`", "; touch x", "*", "", "new\nline", "\udcff", "-c", "ü"]
    script = "import os,sys; os.write(1, repr([os.fsencode(a) for a in sys.argv[1:]]).encode())"

    ended = run(sys.executable, "-c", script, *odd)

    assert ended.output == repr([os.fsencode(item) for item in odd])


def test_the_environment_is_exactly_the_given_one(run: Run) -> None:
    environment = {"PATH": "/usr/bin:/bin", "A": "x=y", "EMPTY": "", "LANG": "C"}

    ended = run("env", "-0", environment=environment)

    assert dict(pair.split("=", 1) for pair in ended.output.split("\0") if pair) == environment


def test_the_program_inherits_the_given_descriptors_and_no_other(run: Run, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    try:
        ended = run("sh", "-c", "ls -l /proc/$$/fd", inherit=(lock,))
    finally:
        os.close(lock)
        os.close(other)

    names = {line.split()[8] for line in ended.output.splitlines() if "->" in line}
    assert names == {"0", "1", "2", str(lock)}
    assert "/dev/null" in ended.output


LIBRARYS_OWN = 1 << 31 | 1 << 32
"""Signals 32 and 33: the C library keeps them for itself, and lets nobody set them."""


def test_signals_have_their_defaults_and_none_is_blocked(run: Run) -> None:
    """Python ignores SIGPIPE; its children must not, and a mask must not reach them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        ended = run("grep", "-E", "SigBlk|SigIgn", "/proc/self/status")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    found = [int(line.split()[1], 16) for line in ended.output.splitlines()]
    assert [mask & ~LIBRARYS_OWN for mask in found] == [0, 0]


def test_the_program_leads_its_own_session_in_the_given_folder(run: Run, tmp_path: Path) -> None:
    ended = run("sh", "-c", "pwd; echo $$; ps -o sid=,pgid= -p $$")

    folder, pid, numbers = ended.output.splitlines()
    assert folder == str(tmp_path)
    assert numbers.split() == [pid, pid]


def test_an_exit_code_and_a_signal_are_told_apart(run: Run) -> None:
    coded, killed = run("sh", "-c", "exit 3"), run("sh", "-c", "kill -USR1 $$")

    assert (coded.exit_code, coded.signal, coded.succeeded) == (3, None, False)
    assert (killed.exit_code, killed.signal, killed.succeeded) == (None, signal.SIGUSR1, False)
    assert "SIGUSR1" in killed.how


# What cannot be started


def test_a_program_that_is_not_on_the_path_is_refused_before_anything_is_recorded(
    run: Run,
) -> None:
    recorded: list[Identity] = []

    with pytest.raises(CommandUnusable):
        run("no-such-program-anywhere", started=recorded.append)

    assert recorded == []


def test_the_path_searched_is_the_given_one_without_relative_folders(
    run: Run, tmp_path: Path
) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)

    for search in ("/usr/bin:/bin", ".:/usr/bin", ":/usr/bin"):
        with pytest.raises(CommandUnusable):
            run("tool", environment={"PATH": search})

    assert run("tool", environment={"PATH": f"/bin:{tmp_path}"}).output == "found\n"
    assert run("./tool").output == "found\n"
    assert run(str(tool)).output == "found\n"


@pytest.mark.parametrize("command", [(), ("",), (".",), ("./plain",), ("./absent",), ("/",)])
def test_what_is_no_executable_file_is_refused(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "plain").write_text("text")

    with pytest.raises(CommandUnusable):
        run(*command)


@pytest.mark.parametrize("content", ["echo ran > ran\n", "#!/no/such/interpreter\n", ""])
def test_what_the_kernel_refuses_never_falls_back_to_a_shell(
    run: Run, tmp_path: Path, content: str
) -> None:
    script = tmp_path / "script"
    script.write_text(content)
    script.chmod(0o755)

    with pytest.raises(CommandUnusable):
        run("./script")

    assert not (tmp_path / "ran").exists()


def test_arguments_beyond_the_kernels_limit_are_refused(run: Run) -> None:
    with pytest.raises(CommandUnusable):
        run("true", "x" * 4_000_000)


@pytest.mark.parametrize(
    ("argument", "variables"), [("a\0b", {}), ("a", {"B": "c\0"}), ("a", {"": "c"}), ("\ud800", {})]
)
def test_what_no_argument_or_variable_can_hold_is_refused(
    run: Run, argument: str, variables: dict[str, str]
) -> None:
    with pytest.raises(CommandUnusable):
        run("true", argument, environment=ENVIRONMENT | variables)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandUnusable):
        run_child(
            ["true"],
            environment=ENVIRONMENT,
            folder=tmp_path / "absent",
            timeout_ms=LONG_MS,
            stop=threading.Event(),
            inherit=(),
            started=lambda _identity: None,
        )


# C3 and C4: bounds


def test_a_time_out_ends_the_program_by_sigterm(run: Run) -> None:
    ended = run("sleep", "60", timeout_ms=50)

    assert ended.timed_out
    assert ended.signal == signal.SIGTERM
    assert ended.duration_ms < GRACE_MS


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(run: Run) -> None:
    ended = run("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", timeout_ms=200)

    assert ended.timed_out
    assert ended.signal == signal.SIGKILL
    assert GRACE_MS <= ended.duration_ms < GRACE_MS + 3_000


def test_a_stop_ends_the_program_and_is_told_apart_from_a_time_out(
    run: Run, tmp_path: Path
) -> None:
    stop = threading.Event()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def stop_when_it_runs() -> None:
        fifo.read_bytes()
        stop.set()

    watcher = threading.Thread(target=stop_when_it_runs)
    watcher.start()
    ended = run("sh", "-c", "trap 'exit 0' TERM; : > fifo; sleep 60 & wait", stop=stop)
    watcher.join()

    assert (ended.stopped, ended.timed_out, ended.exit_code) == (True, False, 0)
    assert not ended.succeeded  # it says 0, but was stopped


def test_what_the_program_leaves_running_is_killed_with_its_group(run: Run) -> None:
    ended = run("sh", "-c", "sleep 60 & echo $!")

    assert ended.succeeded
    assert gone(int(ended.output))
    assert len(ended.left) == 1
    assert ended.left[0].startswith(f"{int(ended.output)} (")


def test_a_grandchild_with_its_own_session_does_not_hold_up_the_end(run: Run) -> None:
    """It keeps the pipe open; the wait for its output is bounded."""
    ended = run("sh", "-c", "setsid sleep 60 & echo $!; sleep 0.2")

    assert ended.succeeded
    assert ended.duration_ms < LONG_MS
    grandchild = int(ended.output)
    os.kill(grandchild, signal.SIGKILL)
    assert gone(grandchild)


def test_a_child_that_leaves_the_group_right_after_the_end_lives_on(run: Run) -> None:
    """As `setsid --fork` starts a service: its child takes its own session after it ended."""
    leaving = (
        "import os, select, sys\n"
        "child = os.fork()\n"
        "if child:\n"
        "    os.write(1, b'%d' % child); os._exit(0)\n"
        "select.select([], [], [], 0.05); os.setsid(); select.select([], [], [], 60)\n"
    )
    ended = run(sys.executable, "-c", leaving)

    assert ended.succeeded
    assert ended.left == ()
    child = int(ended.output)
    assert os.getsid(child) == child
    os.kill(child, signal.SIGKILL)
    assert gone(child)


def test_output_without_end_is_kept_in_bounded_memory_and_its_end_is_told(run: Run) -> None:
    ended = run("yes", timeout_ms=300)

    assert ended.timed_out
    notice, _, rest = ended.output.partition("\n")
    assert int(notice.removeprefix("[").split()[0]) > 10 * OUTPUT_BYTES_MAX
    assert len(ended.output.encode()) <= OUTPUT_BYTES_MAX
    assert set(rest) == {"y", "\n"}


@pytest.mark.parametrize("size", [0, 1, OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX + 1, 300_000])
def test_the_end_of_the_output_is_kept(run: Run, size: int) -> None:
    script = f"import os; os.write(1, b'x' * ({size} - 3)); os.write(2, b'end'[:{size}])"

    ended = run(sys.executable, "-c", script)

    assert len(ended.output.encode()) <= OUTPUT_BYTES_MAX
    assert ended.output.endswith("end"[:size])
    assert ended.output.startswith("[") is (size > OUTPUT_BYTES_MAX)


def test_output_that_is_not_text_stays_within_the_bound(run: Run) -> None:
    ended = run("sh", "-c", f"head -c {OUTPUT_BYTES_MAX} /dev/zero | tr '\\0' '\\377'")

    assert len(ended.output.encode()) <= OUTPUT_BYTES_MAX
    assert run("printf", "a\\377b").output == "a\ufffdb"


def test_no_descriptor_and_no_process_is_left_behind(run: Run) -> None:
    run("true")
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = (sorted(os.listdir("/proc/self/fd")), children.read_text())

    run("true")
    with pytest.raises(CommandUnusable):
        run("./absent")
    run("sleep", "9", timeout_ms=1)

    assert (sorted(os.listdir("/proc/self/fd")), children.read_text()) == before


# The environment


def test_a_hooks_environment_is_the_documented_one_and_nothing_else() -> None:
    hook = Hook(
        at=HookPoint.AFTER_SWAP,
        command=("true",),
        pass_env=("LC_ALL", "ABSENT", "NOODLE_JOURNAL_KEY", "NOODLE_FROM"),
    )
    base = {
        "PATH": "/bin",
        "LANG": "C",
        "LC_ALL": "C.UTF-8",
        "HOME": "/root",
        "NOODLE_JOURNAL_KEY": "secret",
        "NOODLE_FROM": "forged",
    }

    found = environment_for(
        hook, upgrade="U", key="K", from_version=None, to_version="1.1.0", base=base
    )

    assert found == {
        "PATH": "/bin",
        "LANG": "C",
        "LC_ALL": "C.UTF-8",
        "NOODLE_UPGRADE_ID": "U",
        "NOODLE_STEP_KEY": "K",
        "NOODLE_FROM": "",
        "NOODLE_TO": "1.1.0",
    }


def test_an_engine_without_a_path_gives_the_default_one() -> None:
    found = environment_for(None, upgrade="U", key="K", from_version="1", to_version=None, base={})

    assert found["PATH"] == PATH_DEFAULT
    assert "LANG" not in found


# Orphans


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Callable[[str], Identity]]:
    """Starts a shell script in its own session, as an engine would have left it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, *, key: bool = True) -> Identity:
        environment = ENVIRONMENT if key else {"PATH": PATH_DEFAULT}
        process = subprocess.Popen(
            ["sh", "-c", f"{script}"],
            env=environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=tmp_path,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        identity = identify(process.pid)
        assert identity is not None
        return identity

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


Start = Callable[[str], Identity]


def test_an_identity_survives_being_stored() -> None:
    identity = identify(os.getpid())

    assert identity is not None
    assert Identity.parse(identity.text) == identity


@pytest.mark.parametrize(
    "text", ["", "1:2", "0:1:" + "0" * 36, "1:2:x", "1:2:3:4", "-1:2:", "1 :2:"]
)
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(RecordUnreadable):
        Identity.parse(text)


def test_an_identity_is_read_past_brackets_in_the_programs_name(tmp_path: Path) -> None:
    """Field 2 of /proc/PID/stat is the name, which may hold anything."""
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "60"])
    try:
        usual = identify(os.getpid())
        found = identify(process.pid)
        assert usual is not None
        assert found is not None
        assert found.start_ticks >= usual.start_ticks
    finally:
        process.kill()
        process.wait()


def test_an_orphan_and_what_it_started_are_ended(orphan: Start) -> None:
    identity = orphan("sleep 60 & echo ready; wait")

    assert end_orphan(identity, wait_ms_max=10_000) is OrphanEnd.ENDED

    assert end_orphan(identity, wait_ms_max=10_000) is OrphanEnd.GONE


def test_an_orphan_that_ignores_sigterm_is_killed(orphan: Start) -> None:
    identity = orphan("trap '' TERM; echo ready; while :; do sleep 0.1; done")

    assert end_orphan(identity, wait_ms_max=1_000) is OrphanEnd.ENDED


def test_what_an_ended_orphan_left_in_its_session_is_ended(orphan: Start) -> None:
    """O2: the leader is gone, the rest is known by its step key."""
    identity = orphan("trap '' HUP; sleep 60 & echo ready; exit 0")
    assert gone(identity.pid)

    assert end_orphan(identity, wait_ms_max=10_000) is OrphanEnd.ENDED
    assert end_orphan(identity, wait_ms_max=10_000) is OrphanEnd.GONE


def test_a_strangers_session_without_a_step_key_is_left_alone(orphan: Start) -> None:
    """O2: a number that was used again is no proof."""
    stranger = "env -i /bin/sh -c 'echo ready; exec sleep 60'"
    identity = orphan(f"trap '' HUP; {stranger} & exit 0")
    assert gone(identity.pid)

    assert end_orphan(identity, wait_ms_max=1_000) is OrphanEnd.GONE
    os.killpg(identity.pid, 0)  # still there


def test_a_number_that_is_another_processs_now_is_not_signalled(orphan: Start) -> None:
    identity = orphan("echo ready; sleep 60")
    older = Identity(identity.pid, identity.start_ticks - 1, identity.boot_id)

    assert end_orphan(older, wait_ms_max=1_000) is OrphanEnd.NOT_OURS

    assert not gone(identity.pid, wait_s=0)


def test_a_process_of_another_boot_is_gone_and_nothing_is_signalled(orphan: Start) -> None:
    identity = orphan("echo ready; sleep 60")
    other = Identity(identity.pid, identity.start_ticks, "0" * 8 + "-0000-0000-0000-" + "0" * 12)

    assert end_orphan(other, wait_ms_max=1_000) is OrphanEnd.OTHER_BOOT

    assert not gone(identity.pid, wait_s=0)


def test_the_holder_of_a_lock_is_named_also_when_it_inherited_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR)
    assert holders_of(path) == ()
    fcntl.flock(lock, fcntl.LOCK_EX)

    child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        assert {holder.pid for holder in holders_of(path)} == {os.getpid(), child.pid}
        os.close(lock)
        assert [holder.pid for holder in holders_of(path)] == [child.pid]
        assert holders_of(path)[0].command == "sleep 60"
    finally:
        child.kill()
        child.wait()
    assert holders_of(path) == ()
