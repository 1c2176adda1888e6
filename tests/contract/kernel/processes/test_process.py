"""Commands in plain namespaces: started, found by their mark, restarted, ended with all their children; nothing inherited."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.processes.commands import read_members, read_processes, run_process_steps
from reconciler.kernel.processes.logs import remove_stale_logs
from reconciler.kernel.processes.marks import is_alive
from reconciler.kinds.process import Process
from reconciler.state.process_mark import marks_of, words_of
from reconciler.state.ref import netns_path_name
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.containers import ProcessStart, ProcessStop
from reconciler.state.steps.step import Step, StepError

pytestmark = pytest.mark.kernel

SLEEP = ("sleep", "1000")
Run = Callable[..., None]


@pytest.fixture
def container_netns(topology: str) -> Iterator[str]:
    """A namespace where that of the container `web` would be; what still runs in it is ended."""
    with own_namespace(topology, "web") as name:
        yield name


@pytest.fixture
def other_netns(topology: str) -> Iterator[str]:
    """The same for the container `db`."""
    with own_namespace(topology, "db") as name:
        yield name


@contextmanager
def own_namespace(topology: str, container: str) -> Iterator[str]:
    name = netns_path_name(topology, f"container:{container}")
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], check=True)


def inside(name: str, *words: str) -> tuple[str, ...]:
    """The words of a program that runs in the namespace."""
    return ("nsenter", f"--net=/run/netns/{name}", *words)


@pytest.fixture
def run(context: KernelContext, container_netns: str) -> Run:
    """Carries out steps in the container's namespace."""

    def carry_out(*steps: Step) -> None:
        run_process_steps(context, steps, lambda _: f"/run/netns/{container_netns}")

    return carry_out


def start(*command: str, env: tuple[tuple[str, str], ...] = ()) -> ProcessStart:
    return ProcessStart("container:web", "web", command, env)


STOP = ProcessStop("container:web", "web")


def recognised(context: KernelContext) -> list[Process]:
    return list(Process.recognise(Snapshot(context.topology, {}, processes=read_processes(context))))


def members(context: KernelContext) -> tuple[int, ...]:
    return tuple(one.pid for one in read_members(context, ["web"]))


def wait_for(claim: Callable[[], object]) -> None:
    """What the kernel and the shell do in their own time."""
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline, "waited for in vain"
        time.sleep(0.01)


def only_child(pid: int) -> int:
    """The command, of which `pid` is the shell."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(lambda: path.read_text().split())
    return int(path.read_text().split()[0])


def test_start_is_recognised_as_it_was_asked_for(context: KernelContext, run: Run, container_netns: str) -> None:
    """A command runs in its namespace, in a session of its own, and what is recognised equals what was wanted."""
    env = (("GREETING", "it's \"5\" o'clock; $HOME"), ("EMPTY", ""))
    run(start(*SLEEP, env=env))
    assert recognised(context) == [Process(netns="container:web", container="web", command=SLEEP, env=env)]
    (info,) = read_processes(context)
    assert Path(f"/proc/{info.pid}/ns/net").samefile(f"/run/netns/{container_netns}")
    assert os.getsid(info.pid) == os.getpgid(info.pid) == info.pid
    assert Path(f"/proc/{info.pid}/cwd").readlink() == Path("/")
    run(STOP)
    assert recognised(context) == []


def test_output_goes_to_the_log(context: KernelContext, run: Run) -> None:
    """Both outputs are appended to the log, input is empty, and the variables are there."""
    log = context.topology_directory / "web.log"
    run(start("sh", "-c", "echo out $A; echo err >&2; cat; echo end; sleep 1000", env=(("A", "b c"),)))
    wait_for(lambda: log.exists() and log.read_text() == "out b c\nerr\nend\n")
    run(STOP)
    run(start("echo", "again"))
    wait_for(lambda: log.read_text() == "out b c\nerr\nend\nagain\n")


def test_nothing_is_inherited(context: KernelContext, run: Run) -> None:
    """A command holds no descriptor of the worker's, neither a lock nor a stream, and no signal that the worker ignores."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run(start(*SLEEP))
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(writer)
    (info,) = read_processes(context)
    for pid in (info.pid, only_child(info.pid)):
        links = {entry.name: str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        log = str(context.topology_directory / "web.log")
        # A shell may open its own: the test's pipe is what must not be there.
        assert (links["0"], links["1"], links["2"]) == ("/dev/null", log, log)
        assert not [link for link in links.values() if link.startswith("pipe:")]
        status = Path(f"/proc/{pid}/status").read_text()
        ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
        assert int(ignored, 16) & 1 << (signal.SIGINT - 1) == 0
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b"", "the pipe's other end is closed, so it is at its end"
    os.close(reader)


def test_death_is_drift(context: KernelContext, run: Run) -> None:
    """When the command ends, by itself or not, it is not recognised any more, and a start brings it back."""
    run(start(*SLEEP))
    (info,) = read_processes(context)
    os.kill(only_child(info.pid), signal.SIGKILL)
    wait_for(lambda: recognised(context) == [])
    run(start(*SLEEP))
    assert [record.command for record in recognised(context)] == [SLEEP]


def test_what_is_left_of_a_dead_command_is_ended(context: KernelContext, run: Run) -> None:
    """Children of a command that has ended differ from what is wanted; the update ends them and starts the command again."""
    command = ("sh", "-c", "sleep 1001 & sleep 1002 & setsid sleep 1003 & wait")
    run(start(*command))
    (info,) = read_processes(context)
    wait_for(lambda: len(members(context)) == 5)
    orphans = set(members(context)) - {info.pid, only_child(info.pid)}
    os.kill(only_child(info.pid), signal.SIGKILL)
    wait_for(lambda: [record.command for record in recognised(context)] == [()])
    wanted = Process(netns="container:web", container="web", command=command)
    (left,) = recognised(context)
    assert left != wanted
    assert wanted.lower_update(left) == (STOP, start(*command))
    assert left.lower_create() == (), "a rollback cannot bring a dead command's children back"
    run(*wanted.lower_update(left))
    assert recognised(context) == [wanted]
    assert orphans.isdisjoint(members(context))


def test_stop_ends_the_whole_session(context: KernelContext, run: Run) -> None:
    """A stop reaches children that have thrown away their environment, and those in sessions of their own."""

    def names() -> list[str]:
        return sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in members(context))

    run(start("sh", "-c", "env -i sleep 1001 & setsid sleep 1002 & wait"))
    wait_for(lambda: names() == ["sh", "sh", "sleep", "sleep"])
    pids = members(context)
    assert len(pids) == 4
    run(STOP)
    assert not [pid for pid in pids if is_alive(pid)]


def test_stop_kills_what_is_deaf_to_it(context: KernelContext, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed after a while."""
    monkeypatch.setattr("reconciler.kernel.processes.commands.STOP_TIMEOUT_S", 0.2)
    run(start("sh", "-c", "trap '' TERM; while :; do sleep 1000; done"))
    (info,) = read_processes(context)
    only_child(info.pid)
    time.sleep(0.1)
    run(STOP)
    assert recognised(context) == []
    assert members(context) == ()


def test_program_that_writes_over_its_environment_is_recognised(context: KernelContext, run: Run) -> None:
    """Programs such as nginx write their title over their environment: the mark is held by a shell, so it stays."""
    write_over = (
        "import ctypes, time; words = open('/proc/self/stat').read().rpartition(')')[2].split(); "
        "start, end = int(words[47]), int(words[48]); "  # env_start and env_end, the 50th and 51st of proc(5)
        "ctypes.memset(start, 0, end - start); time.sleep(1000)"
    )
    command = ("python3", "-c", write_over)
    run(start(*command))
    (info,) = read_processes(context)
    child = only_child(info.pid)
    wait_for(lambda: not Path(f"/proc/{child}/environ").read_bytes().strip(b"\0"))
    assert recognised(context) == [Process(netns="container:web", container="web", command=command)]
    run(STOP)
    assert not is_alive(child)


def test_anothers_processes_are_left_alone(
    context: KernelContext, run: Run, topology: str, container_netns: str, other_netns: str
) -> None:
    """Neither another topology's processes, nor those of another container, nor a session that a marked process shares."""
    marks = dict(marks_of(topology, "db", SLEEP, ()))
    others = [
        subprocess.Popen(inside(container_netns, *SLEEP), env={**os.environ, "NETCTL_PROCESS": f"{topology}x/web"}),
        subprocess.Popen(inside(other_netns, *SLEEP), env={**os.environ, **marks}, start_new_session=True),
        subprocess.Popen(
            inside(container_netns, "sh", "-c", f"NETCTL_PROCESS={topology}/web sleep 1000 & wait"), start_new_session=True
        ),
    ]
    try:
        run(start(*SLEEP))
        wait_for(lambda: len(members(context)) == 3)
        run(STOP)
        assert others[0].poll() is None
        assert others[1].poll() is None
        assert [record.container for record in recognised(context)] == ["db"]
        assert others[2].wait(timeout=5) == 0, "its marked child was ended, it was not"
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_command_that_is_not_there(context: KernelContext, run: Run) -> None:
    """A command that is not found, and one that is no program, are sentences, and leave nothing behind."""
    with pytest.raises(StepError, match="no such program in PATH: nosuchprogram"):
        run(start("nosuchprogram"))
    with pytest.raises(StepError, match="not executable: /etc/passwd"):
        run(start("/etc/passwd"))
    with pytest.raises(StepError, match="no such program in PATH: sleep"):
        run(start("sleep", "1", env=(("PATH", "/nowhere"),)))
    assert recognised(context) == []


def test_stop_of_nothing_is_no_fault(context: KernelContext, run: Run, other_netns: str) -> None:
    """What has ended by itself needs no stop, and another container's process is not taken for it."""
    run(start("true"))
    run_process_steps(context, [ProcessStart("container:db", "db", SLEEP, ())], lambda _: f"/run/netns/{other_netns}")
    wait_for(lambda: members(context) == ())
    run(STOP)
    assert [record.container for record in recognised(context)] == ["db"]


def test_one_in_the_network_of_another(context: KernelContext, run: Run, container_netns: str) -> None:
    """A command that shares a network is one of its own beside the other's, and each is stopped alone."""
    wanted = Process(netns="container:app", container="app", command=SLEEP, share="web")
    run(start(*SLEEP), *wanted.lower_create())
    assert recognised(context) == [wanted, Process(netns="container:web", container="web", command=SLEEP)]
    (info, _) = read_processes(context)
    assert Path(f"/proc/{info.pid}/ns/net").stat().st_ino == Path(f"/run/netns/{container_netns}").stat().st_ino
    remove_stale_logs(context)
    assert sorted(path.name for path in context.topology_directory.iterdir()) == ["web.app.log", "web.log"]
    run(STOP)
    assert recognised(context) == [wanted]
    run(*wanted.lower_delete())
    assert recognised(context) == []


def test_a_user_speaks_for_no_sharer(context: KernelContext, container_netns: str) -> None:
    """The mark of one that shares a network counts only if root has written it: any user there could invent containers."""
    mark = dict(marks_of(context.topology, "ghost", SLEEP, (), "web"))
    words = ["ip", "netns", "exec", container_netns, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *SLEEP]
    with subprocess.Popen(words, env={**os.environ, **mark}) as other:
        try:
            wait_for(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n")
            assert recognised(context) == []
        finally:
            other.kill()


def test_logs_go_with_their_namespaces(context: KernelContext, run: Run) -> None:
    """A log stays as long as its container's namespace is there; then the topology's directory goes, too."""
    run(start("echo", "hello"))
    gone = context.topology_directory / "gone.log"
    gone.write_text("of a container that was removed")
    remove_stale_logs(context)
    assert [path.name for path in context.topology_directory.iterdir()] == ["web.log"]
    (context.topology_directory / "web.log").rename(gone)
    remove_stale_logs(context)
    assert not context.topology_directory.exists()
    remove_stale_logs(context)


def test_printed_words_do_the_same(context: KernelContext, run: Run, container_netns: str) -> None:
    """What `diff --commands` prints (the marks, and the shell's words) starts a process that is taken for netctl's own."""
    marks = marks_of(context.topology, "web", SLEEP, ())
    words = inside(container_netns, "env", *(f"{name}={value}" for name, value in marks), *words_of(SLEEP))
    with subprocess.Popen(words, start_new_session=True):
        wait_for(lambda: recognised(context) == [Process(netns="container:web", container="web", command=SLEEP)])
        run(STOP)
        assert recognised(context) == []


def test_a_listener_is_in_the_namespace(context: KernelContext, run: Run, container_netns: str) -> None:
    """A server started so is reached in its namespace, and not from outside of it."""
    subprocess.run(["ip", "-n", container_netns, "link", "set", "lo", "up"], check=True)
    run(start("busybox", "nc", "-l", "-p", "7777", "-e", "echo", "here"))
    answer = ["nsenter", f"--net=/run/netns/{container_netns}", "busybox", "nc", "127.0.0.1", "7777"]
    wait_for(lambda: subprocess.run(answer, capture_output=True, text=True, check=False).stdout == "here\n")
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", 7777))


def test_a_session_of_another_process_namespace_is_left_alone(
    context: KernelContext, run: Run, container_netns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where netctl runs in a process namespace of its own, all that came from above has the session 0: it has no owner."""
    run(start(*SLEEP))
    (info,) = read_processes(context)
    with subprocess.Popen(inside(container_netns, *SLEEP)) as other:
        sessions = {info.pid: 0, other.pid: 0}
        monkeypatch.setattr("reconciler.kernel.processes.commands.read_pids", lambda: list(sessions))
        monkeypatch.setattr("reconciler.kernel.processes.commands.read_session", sessions.get)
        assert other.pid not in members(context)
        assert info.pid in members(context)
        other.kill()
    monkeypatch.undo()
    run(STOP)
