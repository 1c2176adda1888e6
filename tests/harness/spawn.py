"""netctl as a process of its own, without its start-up: a server has imported it once, and forks a process for each command.

To start Python and import netctl takes two thirds of the CPU time of a short command, and the tests run thousands.
The server is started afresh, and knows nothing of the test runner. What it forks does what `python -m reconciler` does from
`start` on. It has the descriptors, environment, directory and namespaces that it is given, and nothing else open.
Differences: its modules are imported already, its hash seed is the server's, and `ps` shows the server's name. A test
with a claim about these starts a program (`exec_netctl`); EXEC=1 in the environment lets all tests do so.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import reconciler

ROOT = Path(__file__).parents[2]
PR_SET_PDEATHSIG = 1  # linux/prctl.h
FDS_MAX = 16
LEFT_OUT = ("reconciler.worker.bootstrap", "reconciler.worker.remote")
"""For hosts that are reached by ssh: programs of their own."""


@dataclass(slots=True)
class Spawned:
    """A netctl. `pid` is as the test runner sees it."""

    pid: int
    report: int
    code: int | None = None

    def wait(self, timeout_s: float) -> int:
        """Its wait status (waitpid(2)). TimeoutExpired if it still runs then; it is killed."""
        if self.code is None:
            if not select.select([self.report], [], [], timeout_s)[0]:
                os.kill(self.pid, signal.SIGKILL)
                os.read(self.report, 64)
                os.close(self.report)
                self.code = signal.SIGKILL
                raise subprocess.TimeoutExpired("netctl", timeout_s)
            answer = os.read(self.report, 64)
            os.close(self.report)
            self.code = int(answer) if answer else signal.SIGKILL
        return self.code


_server: list[tuple[int, socket.socket, subprocess.Popen[bytes]]] = []
"""Of this process: its number, the channel, and the server. A copy of the test runner starts another one."""


def spawn(
    arguments: Sequence[str], env: Mapping[str, str], streams: tuple[int, int, int], namespaces: Sequence[tuple[int, int]] = ()
) -> Spawned:
    """Start `netctl ARGUMENTS` with these standard streams, in these namespaces (descriptor and CLONE_ flag)."""
    request = os.memfd_create("request")
    said = {"arguments": list(arguments), "env": dict(env), "folder": str(Path.cwd()), "flags": [flag for _, flag in namespaces]}
    os.write(request, json.dumps(said).encode())
    reading, writing = os.pipe()
    descriptors = [request, writing, *streams, *(descriptor for descriptor, _ in namespaces)]
    socket.send_fds(_channel(), [b"!"], descriptors)
    os.close(request)
    os.close(writing)
    pid = b""
    while not pid.endswith(b"\n"):
        byte = os.read(reading, 1)
        assert byte, "the server could not start netctl"
        pid += byte
    return Spawned(int(pid), reading)


def _channel() -> socket.socket:
    if not _server or _server[0][0] != os.getpid():
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.harness.spawn", str(other.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)
        other.close()
        _server[:] = [(os.getpid(), own, process)]
        atexit.register(stop)
    return _server[0][1]


def stop() -> None:
    """End the server of this process."""
    if _server and _server[0][0] == os.getpid():
        _, channel, process = _server.pop()
        channel.close()
        process.wait(10)


def import_netctl() -> None:
    """Import all of it, and the library that each worker loads, so that no forked process has to."""
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if module.name not in LEFT_OUT and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        importlib.import_module("nftables")


# --- the server -------------------------------------------------------------------------------------------------------


def serve(channel: socket.socket) -> None:
    """Fork a process for each request, until the other end is closed."""
    import_netctl()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        word, descriptors, _, _ = socket.recv_fds(channel, 1, FDS_MAX)
        if not word:
            return
        if os.fork() == 0:
            _attend(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _reap(*_: object) -> None:
    """Wait for those that have ended, so that their time counts as the test run's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _attend(descriptors: Sequence[int]) -> NoReturn:
    """Between server and netctl: enter, fork once more (the first process in a new pid space is a child), report how it ends."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request, report, *rest = descriptors
        os.lseek(request, 0, os.SEEK_SET)
        said = json.loads(os.read(request, os.fstat(request).st_size))
        for descriptor, flag in zip(rest[3:], said["flags"], strict=True):
            if libc.setns(descriptor, flag):
                raise OSError(ctypes.get_errno(), "setns")
        os.chdir(said["folder"])
        pid = os.fork()
        if pid == 0:
            _be_netctl(said, rest[:3])
        os.closerange(0, 1)
        for stream in rest[:3]:
            os.close(stream)
        os.write(report, f"{pid}\n".encode())
        os.write(report, str(os.waitpid(pid, 0)[1]).encode())
    finally:
        os._exit(0)


def _be_netctl(said: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    status = 1
    try:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(said["env"])
        sys.argv = ["netctl", *said["arguments"]]
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        from reconciler.cli.main import start

        start()
    except SystemExit as end:  # after --help, or a fault of the command line
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  a defect; as Python reports one
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
