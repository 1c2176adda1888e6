"""The commands of plain namespaces: starting them, finding them by their mark, ending them.

Called by the executor (lane `process`) and by `snapshot`. A command is spawned by a thread that has entered its namespace:
no fork of this process, about a millisecond each. It gets a session of its own, the log as its output, and nothing else of
the worker's: no descriptor (so it holds no lock), no ignored signal, no working directory. Finding costs one pass over
/proc, 20 µs a process.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.kinds.process import COMMAND_MARK, PROCESS_MARK, marks_of, parse_command_mark, words_of
from reconciler.state.snapshot import ProcessInfo
from reconciler.state.steps.containers import ProcessStart, ProcessStop
from reconciler.state.steps.step import Step, StepError

CLONE_FS = 0x200  # linux/sched.h
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STOP_TIMEOUT_S = 10.0
"""How long a process may take to end after SIGTERM, as in `docker stop`."""
KILL_TIMEOUT_S = 2.0
"""After SIGKILL a process that lives on hangs in the kernel."""
MARK_TIMEOUT_S = 1.0
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Marked:
    """A live process that carries a mark of the topology; `command_mark` only on the shell that waits for the command."""

    pid: int
    container: str
    command_mark: str | None


def read_processes(context: KernelContext) -> tuple[ProcessInfo, ...]:
    """For each container the process that stands for its command, in the order of the containers' names."""
    found: dict[str, ProcessInfo] = {}
    left: dict[str, ProcessInfo] = {}
    for marked in read_marked(context.topology):
        if marked.command_mark is None:
            left[marked.container] = ProcessInfo(marked.pid, marked.container, ())
        # Between its fork and its exec a child looks like the shell, but for the session, which the shell leads.
        elif marked.container not in found or read_session(marked.pid) == marked.pid:
            command, env = parse_command_mark(marked.command_mark)
            found[marked.container] = ProcessInfo(marked.pid, marked.container, command, env)
    found = left | found
    return tuple(found[name] for name in sorted(found))


def run_process_steps(context: KernelContext, steps: Sequence[Step], path_of: Callable[[str], str]) -> None:
    """Carry out ProcessStart and ProcessStop in order; `path_of` gives the file of a namespace by its name. StepError."""
    stops = [step for step in steps if isinstance(step, ProcessStop)]
    starts = [step for step in steps if isinstance(step, ProcessStart)]
    # A stop never follows a start of the same container in one plan, so one pass over /proc serves all stops.
    if stops:
        stop_processes(context, stops)
    if starts:
        start_processes(context, starts, path_of)


def start_processes(context: KernelContext, steps: Iterable[ProcessStart], path_of: Callable[[str], str]) -> None:
    """Start commands, each in its namespace, by one thread."""
    context.topology_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    inherited = inheritable_descriptors()
    pids: list[int] = []

    def body() -> None:
        # The working directory and the umask become this thread's own, and so the command's.
        ctypes.CDLL(None).unshare(CLONE_FS)
        os.chdir("/")
        os.umask(0o022)
        for step in steps:
            try:
                enter(path_of(step.netns))
                pids.append(spawn(context, step, inherited))
            except OSError as error:
                raise StepError(step, f"{step.command[0]} cannot be started: {error.strerror}") from error

    run_in_thread(body)
    wait_until_marked(pids)


def spawn(context: KernelContext, step: ProcessStart, inherited: Iterable[int]) -> int:
    """Start one command in the calling thread's namespace; its process number."""
    given = dict(step.env)
    env = {"PATH": os.environ.get("PATH", DEFAULT_PATH), "HOME": os.environ.get("HOME", "/"), **given}
    env |= marks_of(context.topology, step.container, step.command, step.env)
    if shutil.which(step.command[0], path=env["PATH"]) is None:
        raise StepError(step, f"command not found: {step.command[0]} is no program in {env['PATH']}")
    log = context.topology_directory / f"{step.container}.log"
    words = words_of(step.command)
    return os.posix_spawn(
        words[0],
        words,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in inherited),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals(),  # the worker ignores SIGINT; its children shall not
    )


def inheritable_descriptors() -> tuple[int, ...]:
    """What of ours a child would get, standard streams left out: what we inherited. All that Python opens is closed on exec."""
    with os.scandir("/proc/self/fd") as entries:
        return tuple(int(entry.name) for entry in entries if int(entry.name) > 2 and os.get_inheritable(int(entry.name)))


def stop_processes(context: KernelContext, steps: Iterable[ProcessStop]) -> None:
    """End all processes of the containers, their sessions included. StepError where one cannot be ended."""
    by_container = {step.container: step for step in steps}
    pids = read_members(context.topology, by_container)
    for pid in pids:
        send_signal(pid, signal.SIGTERM)
    # What the last words of a process have started is found by its mark.
    pids = (*wait_until_gone(pids, STOP_TIMEOUT_S), *read_members(context.topology, by_container))
    for pid in pids:
        send_signal(pid, signal.SIGKILL)
    wait_until_gone(pids, KILL_TIMEOUT_S)
    left = [marked for marked in read_marked(context.topology) if marked.container in by_container]
    if left:
        raise StepError(by_container[left[0].container], f"process {left[0].pid} does not end, not even by SIGKILL")


def read_members(topology: str, containers: Iterable[str]) -> tuple[int, ...]:
    """The processes that carry the mark of one of the containers, and all of the sessions that netctl began for them."""
    wanted = set(containers)
    marked = {one.pid for one in read_marked(topology) if one.container in wanted}
    if not marked:
        return ()
    session_of = {pid: session for pid in read_pids() if (session := read_session(pid)) is not None}
    # A session whose first process is alive and has no mark is another's, which a marked process came to share.
    begun = {session_of[pid] for pid in marked if pid in session_of}
    ours = {session for session in begun if session in marked or session not in session_of}
    return tuple(pid for pid, session in session_of.items() if pid in marked or session in ours)


def read_marked(topology: str) -> list[Marked]:
    """All live processes that carry a mark of the topology. A process that ends meanwhile is one that is not there."""
    prefix = f"{PROCESS_MARK}={topology}/".encode()
    found = []
    for pid in read_pids():
        data = read_environment(pid)
        if prefix not in data:
            continue
        variables = dict(word.partition(b"=")[::2] for word in data.split(b"\0"))
        owner, _, container = variables.get(PROCESS_MARK.encode(), b"").decode("utf-8", "replace").partition("/")
        mark = variables.get(COMMAND_MARK.encode())
        if owner == topology:
            found.append(Marked(pid, container, None if mark is None else mark.decode("utf-8", "replace")))
    return found


def read_pids() -> list[int]:
    """All processes."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def read_environment(pid: int) -> bytes:
    """What a process was given as its environment; empty for one that has ended, and for the kernel's own (proc(5))."""
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except (ProcessLookupError, PermissionError):
        return b""
    finally:
        os.close(descriptor)


def read_session(pid: int) -> int | None:
    """The session of a process; None where it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has ended needs none."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until_marked(pids: Iterable[int]) -> None:
    """Return when the environment of each process can be read, or it has ended.

    The kernel lets a spawn return when the new program has its memory, a moment before it has its environment there.
    """
    deadline = time.monotonic() + MARK_TIMEOUT_S
    for pid in pids:
        while not read_environment(pid) and is_alive(pid) and time.monotonic() < deadline:
            time.sleep(POLL_S)


def wait_until_gone(pids: Iterable[int], timeout_s: float) -> list[int]:
    """Return when none of the processes is alive, or after `timeout_s`: those that still are."""
    deadline = time.monotonic() + timeout_s
    alive = [pid for pid in pids if is_alive(pid)]
    while alive and time.monotonic() < deadline:
        time.sleep(POLL_S)
        alive = [pid for pid in alive if is_alive(pid)]
    return alive


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended is taken off the list of processes, where it is a child of ours."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    try:
        # The state follows the name, which stands in parentheses and may hold anything (proc(5)).
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] not in (b"Z", b"X", b"")
    except (FileNotFoundError, ProcessLookupError):
        return False
