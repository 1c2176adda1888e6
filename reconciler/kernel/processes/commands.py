"""The commands of plain namespaces: start them, find them by their mark, end them.

A thread that has entered the namespace spawns a command: no fork of this process, about a millisecond each. The command
gets a session of its own, and the log as its output. It inherits nothing else of the worker: no descriptor (so it holds
no lock), no ignored signal, no working directory.

A mark can be forged (see `marks`). The shell that represents a command belongs to root and is in the namespace of its
container. A command may drop its privileges: processes that it then starts belong to the container by its session, or
by its namespace and mark.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import SHORT_OF_PROCESSES, HostError, help_for
from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import enter, run_in_thread
from reconciler.kernel.processes.limits import read_tightest
from reconciler.kernel.processes.marks import (
    Identity,
    Running,
    identify,
    is_running,
    read_bearers,
    read_pids,
    read_session,
    read_start,
    send_signal,
    wait_until_gone,
    wait_until_marked,
)
from reconciler.kernel.run_directory.private import make_directory, open_private
from reconciler.state.process_mark import COMMAND_MARK, PROCESS_MARK, Owner, marks_of, parse_command_mark, parse_owner, words_of
from reconciler.state.ref import is_container_netns, parse_path_name, resolv_path
from reconciler.state.snapshot import ProcessInfo
from reconciler.state.steps.containers import ProcessStart, ProcessStop
from reconciler.state.steps.step import Step, StepError

CLONE_FS = 0x200  # linux/sched.h
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROCESSES_EACH = 2
"""The processes of a command: the shell that holds the mark, and the program."""
STOP_TIMEOUT_S = 10.0
"""The time that a process may take to end after SIGTERM: the default of `docker stop`."""
KILL_TIMEOUT_S = 2.0
"""A process that survives SIGKILL for this time hangs in the kernel, or is one of many that start each other."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A live process of a container of the topology's.

    `command_mark` is only on the shell that waits for the command. `in_place` is false if the namespace of that name is another
    or gone; the process can then only be ended.
    """

    running: Running
    owner: Owner
    command_mark: str | None
    is_roots: bool
    in_place: bool

    @property
    def pid(self) -> int:
        """Its number."""
        return self.running.pid

    @property
    def container(self) -> str:
        """The container in its mark."""
        return self.owner.container


def read_processes(context: KernelContext) -> tuple[ProcessInfo, ...]:
    """For each container the process that represents its command, in the order of the containers' names."""
    found: dict[str, ProcessInfo] = {}
    left: dict[str, ProcessInfo] = {}
    for marked in read_marked(context):
        command, env, has_resolv_conf = parse_command_mark(marked.command_mark or "")
        if not (command and marked.is_roots and marked.in_place):
            left[marked.container] = ProcessInfo(marked.pid, marked.container, (), share=marked.owner.share)
        # Between its fork and its exec a child looks like the shell, except for the session, which the shell leads.
        elif marked.container not in found or read_session(marked.pid) == marked.pid:
            found[marked.container] = ProcessInfo(marked.pid, marked.container, command, env, marked.owner.share, has_resolv_conf)
    found = left | found
    return tuple(found[name] for name in sorted(found))


def run_process_steps(context: KernelContext, steps: Sequence[Step], path_of: Callable[[str], str]) -> None:
    """Execute ProcessStart and ProcessStop in order; `path_of` returns the file of a namespace by its name. StepError."""
    stops = [step for step in steps if isinstance(step, ProcessStop)]
    starts = [step for step in steps if isinstance(step, ProcessStart)]
    # No plan stops a container's command after it started it, so one pass over /proc serves all stops.
    if stops:
        stop_processes(context, stops)
    if starts:
        start_processes(context, starts, path_of)


def start_processes(context: KernelContext, steps: Iterable[ProcessStart], path_of: Callable[[str], str]) -> None:
    """Start commands, each in its namespace, by one thread."""
    make_directory(context.topology_directory)
    inherited = inheritable_descriptors()

    def start() -> Iterator[int]:
        for step in steps:
            try:
                enter(path_of(step.place))
                yield _start_command(context, step, inherited)
            except OSError as error:
                where = f"{error.filename}: " if error.filename not in (None, step.command[0]) else ""
                remedy = f" ({words})" if (words := help_for(error)) else ""
                raise StepError(step, f"cannot start {step.command[0]}: {where}{error.strerror}{remedy}") from error

    start_in_thread(start)


def start_in_thread(start: Callable[[], Iterator[int]]) -> None:
    """Call `start` in a thread of its own, where it enters namespaces and starts programs; it yields their process numbers.

    Returns when the mark of each can be read.
    """
    pids: list[int] = []

    def body() -> None:
        # The thread gets its own working directory and umask, which the program inherits.
        ctypes.CDLL(None).unshare(CLONE_FS)
        os.chdir("/")
        os.umask(0o022)
        pids.extend(start())

    run_in_thread(body)
    wait_until_marked(pids)


def check_programs(steps: Iterable[Step]) -> None:
    """HostError if the program of a command to start does not exist, or if the process limit leaves no room."""
    starts = [step for step in steps if isinstance(step, ProcessStart)]
    limit = read_tightest() if starts else None
    if limit and limit.left < len(starts) * PROCESSES_EACH:
        number = f"{len(starts):,} command{'' if len(starts) == 1 else 's'}"
        words = f"pids.max is {limit.allowed:,} in {limit.group}, and {limit.current:,} are there"
        raise HostError(f"cannot start {number}: too few processes are allowed: {words}", SHORT_OF_PROCESSES)
    for step in starts:
        if fault := find_fault(step, dict(step.env).get("PATH", _own_path())):
            help_text = "name a program of the host in `command`: a container of runtime netns has no image"
            raise HostError(f"container {step.container} cannot run its command: {fault}", help_text)


def find_fault(step: ProcessStart, path: str) -> str:
    """The reason why the command cannot be started; "" if it can. It starts in the root directory, so `./a` is `/a`."""
    program = step.command[0]
    if "/" not in program:
        return "" if shutil.which(program, path=path) else f"no such program in PATH: {program}"
    file = Path("/", program)
    if file.is_file():
        return "" if os.access(file, os.X_OK) else f"not executable: {program}"
    return f"not a file: {program}" if file.exists() else f"no such file: {program}"


def _own_path() -> str:
    return os.environ.get("PATH", DEFAULT_PATH)


def _start_command(context: KernelContext, step: ProcessStart, inherited: Iterable[int]) -> int:
    """Start one command in the calling thread's namespace; its process number."""
    given = dict(step.env)
    env = {"PATH": _own_path(), "HOME": os.environ.get("HOME", "/"), **given}
    env |= marks_of(context.topology, step.container, step.command, step.env, step.share, has_resolv_conf=step.has_resolv_conf)
    if fault := find_fault(step, env["PATH"]):
        raise StepError(step, fault)
    path = resolv_path(context.topology, context.host_key, step.share or step.container) if step.has_resolv_conf else ""
    words = words_of(step.command, path)
    return spawn(context, Owner(context.topology, step.container, step.share).log, words, env, inherited)


def spawn(context: KernelContext, log_name: str, words: tuple[str, ...], env: Mapping[str, str], inherited: Iterable[int]) -> int:
    """Start a program with a log as its output, in the calling thread's namespace. OSError if that fails."""
    log = open_private(context.topology_directory / log_name, os.O_WRONLY | os.O_APPEND)
    try:
        return os.posix_spawn(
            words[0],
            words,
            env,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in inherited),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=signal.valid_signals(),  # the worker ignores SIGINT; its children must not
        )
    finally:
        os.close(log)


def inheritable_descriptors() -> tuple[int, ...]:
    """Descriptors that a child would inherit, without standard streams: the ones that this process inherited.

    Python's own are closed on exec.
    """
    with os.scandir("/proc/self/fd") as entries:
        return tuple(int(entry.name) for entry in entries if int(entry.name) > 2 and os.get_inheritable(int(entry.name)))


def stop_processes(context: KernelContext, steps: Iterable[ProcessStop]) -> None:
    """End all processes of the containers, including their sessions. StepError if one cannot be ended."""
    by_container = {step.container: step for step in steps}
    members = read_members(context, by_container)
    for member in members:
        send_signal(member, signal.SIGTERM)
    left = wait_until_gone(members, STOP_TIMEOUT_S)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    # The mark finds processes that an ending process has started, and those that restart themselves.
    while left := [*dict.fromkeys((*left, *read_members(context, by_container)))]:
        if time.monotonic() > deadline:
            owner = next((m.container for m in read_marked(context) if m.container in by_container), next(iter(by_container)))
            raise StepError(by_container[owner], f"process {left[0].pid} does not end, not even by SIGKILL")
        for member in left:
            send_signal(member, signal.SIGKILL)
        left = wait_until_gone(left, max(0.0, deadline - time.monotonic()))


def read_members(context: KernelContext, containers: Iterable[str]) -> tuple[Running, ...]:
    """The processes of the containers: those with a valid mark, and all of the sessions that netctl started for them."""
    wanted = set(containers)
    marked = {one.pid: one for one in read_marked(context) if one.container in wanted}
    if not marked:
        return ()
    session_of = {pid: session for pid in read_pids() if (session := read_session(pid)) is not None}
    # A session whose first process runs without a mark belongs to another program; a marked process has joined it. If
    # the first process has ended, netctl started the session only if root has processes in it: else it may be a user's
    # own.
    ours = {
        session
        for pid, one in marked.items()
        # Session 0 was started in an outer process namespace.
        if (session := session_of.get(pid)) and (session in marked or (session not in session_of and one.is_roots))
    }
    others = (pid for pid, session in session_of.items() if session in ours and pid not in marked)
    found = (Running(pid, started) for pid in others if (started := read_start(pid)) is not None)
    return (*(one.running for one in marked.values() if is_running(one.running)), *found)


def read_marked(context: KernelContext) -> list[Marked]:
    """All live processes of the topology's containers. A process that ends meanwhile is left out."""
    named = read_named(context)
    namespaces = frozenset(named.values())
    inside = {netns for name, netns in named.items() if is_container_netns(parse_path_name(context.topology, name))}
    found = []
    for bearer in read_bearers(context, f"{PROCESS_MARK}={context.topology}/".encode(), inside):
        owner = parse_owner(bearer.value_of(PROCESS_MARK) or "")
        # A user in a namespace must not speak for a container that only shares it.
        if owner is None or owner.topology != context.topology or (owner.share and not bearer.is_roots):
            continue
        in_place = named.get(f"{context.topology}.{owner.netns}") == bearer.netns
        # In a namespace without a name, it is the rest of a container; in one of another name, its mark is forged.
        if in_place or (bearer.netns not in namespaces and bearer.is_roots):
            found.append(Marked(bearer.running, owner, bearer.value_of(COMMAND_MARK), bearer.is_roots, in_place))
    return found


def read_named(context: KernelContext) -> dict[str, Identity]:
    """The named namespaces of the machine, by the names of their files."""
    try:
        names = os.listdir(context.netns_directory)
    except FileNotFoundError:
        return {}
    return {name: netns for name in sorted(names) if (netns := identify(context.netns_directory / name))}
