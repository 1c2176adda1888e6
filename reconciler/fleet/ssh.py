"""Starts a worker on another machine: OpenSSH as a subprocess, whose standard streams then are the worker's.

The user's ssh_config, agent, known hosts and jump hosts apply, since it is the user's own ssh. Each call makes a connection of
its own, never one that a control master shares: a host is only as reachable as it is to a new connection. What ssh says when
it fails becomes a sentence here.
"""

from __future__ import annotations

import contextlib
import re
import resource
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from reconciler.errors import HostError
from reconciler.fleet.bundle import read_bundle
from reconciler.fleet.session import BEATS, ProcessHandle, WorkerProcess, read_words
from reconciler.fleet.target import render_destination
from reconciler.state.jsontext import MalformedError, parse_json
from reconciler.topology.types import Connect
from reconciler.worker import bootstrap

CONNECT_TIMEOUT_S = 10
START_TIMEOUT_S = 60.0
"""How long a login, and each answer of the bootstrap, may take; a login that hangs must not hang netctl."""
SLOWEST_BYTES_S = 4000
"""The slowest link over which the worker's code is brought to a host: its size gives the time that is added for that."""
OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(CONNECT_TIMEOUT_S),
    "ServerAliveCountMax": "3",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}
REMOTE_COMMAND = f"python3 -I -S -c '{bootstrap.LOADER}'"
"""For the far user's shell, whichever that is: there is nothing in it that sh, csh and fish read differently."""
ALIVE_INTERVAL_S = 5
"""How often ssh asks a far side that says nothing whether it is there; it is lost when it has not answered three times."""
NOISE_MAX_LINES = 200
"""What a login shell may print before the worker speaks."""
LINE_MAX_BYTES = 1 << 16
"""Of a line before that, and of what the bootstrap says."""
SAID_MAX = 4
"""How often the bootstrap may ask for something: once for the program again, once for the code; it is heard of once more."""
WORDS_MAX_BYTES = 1 << 22
"""What may come on standard error in a session: ssh's own words, and those of the far side."""

FAILURES = (
    (
        r"python3: .*(not found|No such file|ermission denied)|Unknown command.*python3",
        "it has no python3",
        bootstrap.INSTALL,
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one in known_hosts: it was set up anew, or somebody is in between",
        "find out which; only then: ssh-keygen -R {name}, and {ssh} once by hand",
    ),
    (
        r"No .*host key is known|Host key verification failed",
        "its host key is not known here",
        "compare its fingerprint, and accept it once by hand: {ssh}",
    ),
    (
        r"sudo: .*(password|not allowed|no tty|sorry)|is not in the sudoers|may not run sudo",
        "its user may not become root: {words}",
        "connect as root, or let the user run python3 by sudo without a password (NOPASSWD in sudoers)",
    ),
    (
        r"Permission denied|Too many authentication failures|no mutual signature",
        "it does not let us in with the keys at hand",
        "{ssh} has to work without a password: an agent, or ssh-copy-id",
    ),
    (
        r"Could not resolve hostname",
        "nobody knows an address for the name {name}",
        "check `connect:`, ssh_config and DNS",
    ),
    (
        r"Connection refused",
        "nothing listens at its ssh port: connection refused",
        "is sshd running there, and the port right?",
    ),
    (
        r"No route to host|Network is unreachable",
        "there is no way to it from here: {words}",
        "check routes and firewalls; {ssh} tells more",
    ),
    (
        r"timed out|Timeout",
        "it does not answer: {words}",
        "is it up, and its address right? {ssh} tells more",
    ),
)
"""What ssh, a shell or sudo says, what that means, and what to do."""


def start_ssh_worker(connect: Connect, patience_s: float) -> WorkerProcess:
    """A worker on the far side, as root, not yet greeted. HostError where that is not possible, with what to do.

    We notice a lost connection in less time than the worker's patience lasts, so that a new one finds it.
    """
    words = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the worker runs
    try:
        # Ctrl-C at the terminal is for netctl, which takes back what it did by this very connection.
        command = render_command(connect, patience_s)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, start_new_session=True)
        # What comes there goes to a file, which would grow for as long as the far side likes.
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (WORDS_MAX_BYTES, WORDS_MAX_BYTES))
    except FileNotFoundError:
        raise HostError("there is no ssh on this machine", "apt-get install openssh-client") from None
    worker = WorkerProcess(process, words)
    with contextlib.ExitStack() as undo:
        undo.callback(worker.kill)
        try:
            _start(worker, connect)
        except (BrokenPipeError, EOFError):
            status = process.wait()
            raise _failure(connect, read_words(words), status) from None
        undo.pop_all()
    return worker


def render_command(connect: Connect, patience_s: float) -> list[str]:
    """The command line of ssh."""
    alive_s = max(1, min(ALIVE_INTERVAL_S, int(patience_s / BEATS)))
    port = ["-p", str(connect.port)] if connect.port else []
    user = ["-l", connect.user] if connect.user else []
    values = {**OPTIONS, "ServerAliveInterval": alive_s}
    options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-T", *options, *port, *user, "--", connect.name, REMOTE_COMMAND]


def explain(connect: Connect, words: str) -> tuple[str, str] | None:
    """What is wrong, by what was said, and what to do; None where that is not known."""
    for pattern, message, help_text in FAILURES:
        if re.search(pattern, words):
            names = {"ssh": f"`ssh {_by_hand(connect)}`", "name": connect.name, "words": _last_line(words)}
            return message.format(**names), help_text.format(**names)
    return None


def _start(worker: WorkerProcess, connect: Connect) -> None:
    """Talk to `worker.bootstrap` until the worker is ready. EOFError where the far side ends before."""
    bundle = read_bundle()
    program = bootstrap.render_program(Path(bootstrap.__file__).read_text(encoding="utf-8"), bundle.code_hash)
    data, timeout_s = program, START_TIMEOUT_S
    for _ in range(SAID_MAX):
        with _killing_after(worker.process, timeout_s):
            _write(worker, data)
            said = _hear(worker, connect)
        match said:
            case {"say": "again"}:
                data = program
            case {"say": "code"}:
                data = b"%010d" % len(bundle.archive) + bundle.archive
                timeout_s = START_TIMEOUT_S + len(data) / SLOWEST_BYTES_S
            case {"say": "ready"}:
                return
            case {"say": "error", "message": str(message), "help": str(help_text)}:
                raise HostError(f"{render_destination(connect)}: {message}", help_text)
            case _:
                break
    raise _not_ours(connect, "what is none of the bootstrap's messages")


def _write(worker: WorkerProcess, data: bytes) -> None:
    stream = cast("IO[bytes]", worker.process.stdin)
    stream.write(data)
    stream.flush()


def _not_ours(connect: Connect, what: str) -> HostError:
    help_text = f"another program than python3 answers there: `ssh {_by_hand(connect)}` tells more"
    return HostError(f"{render_destination(connect)} answered netctl's bootstrap with {what}", help_text)


def _hear(worker: WorkerProcess, connect: Connect) -> Any:
    """What the bootstrap says next; what a login shell prints is passed over."""
    stream = cast("IO[bytes]", worker.process.stdout)
    for _ in range(NOISE_MAX_LINES):
        line = stream.readline(LINE_MAX_BYTES)
        if not line:
            raise EOFError
        if line.startswith(b"netctl {"):
            try:
                return parse_json(line.partition(b" ")[2])
            except MalformedError as error:
                raise _not_ours(connect, str(error)) from None
    help_text = "look at what its shell runs at a login"
    raise HostError(f"{render_destination(connect)}: its login prints without end where a program was called for", help_text)


@contextlib.contextmanager
def _killing_after(process: ProcessHandle, timeout_s: float) -> Iterator[None]:
    timer = threading.Timer(timeout_s, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _failure(connect: Connect, words: str, status: int) -> HostError:
    """The error for a far side that ended before its worker was ready."""
    destination = render_destination(connect)
    if status == -9:
        message = f"{destination} did not answer in time while netctl started there"
        return HostError(message, f"`ssh {_by_hand(connect)}` tells more")
    if status == 127 and "sudo" not in words:
        return HostError(f"{destination}: it has no python3", bootstrap.INSTALL)  # as shells report a command that is not there
    known = explain(connect, words)
    if known:
        return HostError(f"{destination}: {known[0]}", known[1])
    said = _last_line(words) or f"ssh ended with status {status}"
    return HostError(f"{destination} cannot be used: {said}", f"`ssh {_by_hand(connect)}` tells more")


def render_shell(connect: Connect) -> str:
    """The command line of a root shell there that reads commands from its input, for people."""
    return f"ssh {_by_hand(connect)} {'sh' if connect.user == 'root' else 'sudo sh'} -s"


def render_exec(connect: Connect, command: str, *, terminal: bool) -> list[str]:
    """The command line of ssh that runs a command of the shell's there as root, for a person at the other end."""
    remote = shlex.join(["sh", "-c", 'test "$(id -u)" = 0 || exec sudo sh -c "$1"; exec sh -c "$1"', "sh", f"exec {command}"])
    port = ["-p", str(connect.port)] if connect.port else []
    user = ["-l", connect.user] if connect.user else []
    return ["ssh", "-t" if terminal else "-T", "-o", "StrictHostKeyChecking=yes", *port, *user, "--", connect.name, remote]


def _by_hand(connect: Connect) -> str:
    port = f"-p {connect.port} " if connect.port else ""
    return port + (f"{connect.user}@" if connect.user else "") + connect.name


def _last_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else ""
