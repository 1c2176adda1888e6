"""What of a mark is believed, what is read of a process, and that a signal reaches the process that was meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.processes import marks
from reconciler.kernel.processes.dhcp_clients import read_clients
from reconciler.kernel.processes.marks import Running, is_roots, is_running, read_environment, read_start, send_signal
from reconciler.kernel.run_directory.flock import is_locked_by_others_only, lock_among_root, try_lock
from reconciler.kinds.addressing.dhcp import DHCP_MARK
from reconciler.state.process_mark import marks_of, parse_command_mark
from tests.harness.netns import Namespace

AS_USER = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")


def test_an_environment_is_read_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has grown its environment costs no more memory than the limit, and one piece."""
    monkeypatch.setattr(marks, "ENVIRONMENT_MAX_BYTES", 1 << 17)
    with subprocess.Popen(["sleep", "100"], env={f"A{number}": "x" * 100_000 for number in range(10)}) as large:
        marks.wait_until_marked([large.pid])
        assert 1 << 17 <= len(read_environment(large.pid)) <= (1 << 17) + (1 << 16)
        large.kill()


def test_the_longest_environment_is_read_as_a_whole() -> None:
    """The mark stands at the end of all that a file can give a command: it is below the limit."""
    with subprocess.Popen(
        ["sleep", "100"], env={**{f"A{number}": "x" * 120_000 for number in range(12)}, "END": "mark"}
    ) as large:
        marks.wait_until_marked([large.pid])
        assert read_environment(large.pid).endswith(b"END=mark\0")
        large.kill()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "[[],[]]  x",
        '[["a"]]',
        '[["a"],{}]',
        '["a",[]]',
        '[["a",1],[]]',
        '[["a"],[["A","b","c"]]]',
        '[["a"],[["A",1]]]',
        '[["a"],["AB"]]',
        '[["\\ud800"],[]]',
        "x" * (1 << 22),
    ],
)
def test_a_command_mark_is_read_strictly(text: str) -> None:
    """What `marks_of` cannot have written is no command, and no error."""
    assert parse_command_mark(text) == ((), (), False)


def test_a_command_mark_of_netctls_is_read() -> None:
    """The inverse of `marks_of`."""
    command, env = ("sh", "-c", 'echo "é\n"'), (("A", ""), ("B", "c=d"))
    assert parse_command_mark(dict(marks_of("shop", "web", command, env))["NETCTL_COMMAND"]) == (command, env, False)


@pytest.mark.kernel
def test_a_process_is_roots_by_all_of_its_numbers(tmp_path: Path) -> None:
    """Not by its effective user alone, not in another user or process namespace, and not by a set-user-ID program."""
    program = tmp_path / "asks"
    program.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    program.chmod(0o4755)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    words = {
        "root": (("sleep", "100"), True),
        "user": ((*AS_USER, "sleep", "100"), False),
        "real user": (("setpriv", "--ruid=12345", "sleep", "100"), False),
        "effective user": (("setpriv", "--euid=12345", "sleep", "100"), False),
        "set-user-ID": ((str(program), "100"), False),
        "set-user-ID by a user": ((*AS_USER, str(program), "100"), False),
        "user namespace": (("unshare", "--user", "--map-root-user", "sleep", "100"), False),
        "user namespace of a user": ((*AS_USER, "unshare", "--user", "--map-root-user", "sleep", "100"), False),
    }
    for name, (command, wanted) in words.items():
        with subprocess.Popen(command) as process:
            deadline = time.monotonic() + 5
            while Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[:2] != [
                os.fsencode(each) for each in command[-2:]
            ]:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert is_roots(process.pid) == wanted, name
            process.kill()


def test_a_signal_reaches_only_the_process_that_was_meant() -> None:
    """A number that belongs to another process by now gets none."""
    with subprocess.Popen(["sleep", "100"]) as process:
        started = read_start(process.pid)
        assert started
        earlier = Running(process.pid, started - 1)
        assert not is_running(earlier)
        send_signal(earlier, signal.SIGKILL)
        time.sleep(0.05)
        assert process.poll() is None
        send_signal(Running(process.pid, started), signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        send_signal(Running(process.pid, started), signal.SIGKILL)
        assert read_start(process.pid) is None


@pytest.mark.kernel
def test_a_lock_of_root_is_waited_for_and_a_users_is_not(tmp_path: Path) -> None:
    """The kernel says who holds a lock. A user's stays a user's, though root has the same descriptor."""
    hold = "import fcntl, sys, time; fcntl.flock(0, fcntl.LOCK_EX); print('held', flush=True); time.sleep(float(sys.argv[1]))"
    path = tmp_path / "lock"
    path.touch()
    for words, seconds, is_waited_for in (((), "0.4", True), (AS_USER, "100", False)):
        with (
            path.open("rb") as file,
            subprocess.Popen(
                [*words, sys.executable, "-c", hold, seconds], stdin=file, stdout=subprocess.PIPE, text=True
            ) as holder,
        ):
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
            descriptor = os.open(path, os.O_RDONLY)
            assert not try_lock(descriptor)
            assert is_locked_by_others_only(descriptor) != is_waited_for
            begun = time.monotonic()
            lock_among_root(descriptor)
            assert (time.monotonic() - begun > 0.2) == is_waited_for
            os.close(descriptor)
            holder.kill()


@pytest.mark.kernel
def test_a_dhcp_client_is_roots(make_namespace: Callable[[str], Namespace], topology_name: str) -> None:
    """A mark counts on a process of root's, in a container's namespace or one without a name; never on the host or of a user."""
    web = make_namespace("web")
    context = KernelContext(topology_name, "local")
    mark = f"{DHCP_MARK}={topology_name}/local/web/eth0/1"
    here = ("nsenter", f"--net={web.path}", "env")
    user = ("nsenter", f"--net={web.path}", *AS_USER, "env")
    commands = [
        (*here, mark, "sleep", "100"),
        (*user, mark, "sleep", "100"),
        ("env", mark, "sleep", "100"),
        (*here, f"{DHCP_MARK}={topology_name}/local/../eth0/1", "sleep", "100"),
        (*here, f"{DHCP_MARK}={topology_name}/local/web/e\nth0/1", "sleep", "100"),
    ]
    started = [subprocess.Popen(command) for command in commands]
    time.sleep(0.3)
    try:
        (client,) = read_clients(context)
        assert client.running.pid == started[0].pid
        assert (client.host, client.container, client.dev, client.default) == ("local", "web", "eth0", True)
    finally:
        for process in started:
            process.kill()
            process.wait()
