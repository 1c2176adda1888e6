"""The socket by which a command asks an agent: /run/netctl/.agent/TOPOLOGY.sock, in a directory that only root can open.

One connection is one question. Both sides check that the other one is a process of the same user (SO_PEERCRED, unix(7)).

    command -> agent    the question, a JSON object in a line
    agent -> command    {"accepted": true} in a line, at once; nothing if the agent does not answer this question
                        the answer, a JSON object in a line

The command takes any other course of a conversation as no answer, and does its work by itself. Every start of such a
command imports this module, so it imports little.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reconciler import __version__

DIRECTORY = Path("/run/netctl/.agent")
ACCEPT_TIMEOUT_S = 0.2
"""A busy agent does not accept in time, and the command does not wait for it."""
ANSWER_TIMEOUT_S = 10.0
"""An agent that was stopped after it accepted must not hold up the command for long."""
PEER_TIMEOUT_S = 0.1
"""A command that sends no question, or takes no answer, must not hold up the agent."""
LINE_MAX_BYTES = 1 << 16
ANSWER_MAX_BYTES = 1 << 26
BACKLOG = 16
NAMESPACES = ("net", "mnt", "pid", "user")
CREDENTIALS = struct.Struct("=iII")  # ucred in unix(7): process, user, group
PROGRAM = f"{__version__} {Path(__file__).resolve().parents[2]}"
"""Which netctl it is: the agent may be of an older version than the command."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a command asks: the plan of a file that it has read, printed as it would print it."""

    file: str
    """The path as the user has written it, which messages show."""
    digest: str
    """The SHA-256 of the content of the file."""
    json: bool
    verbose: bool
    show_secrets: bool
    has_colour: tuple[bool, bool]
    """Whether standard output and standard error are to have colours."""
    docker: str
    """DOCKER_HOST, which names the engine if the file does not."""
    program: str
    namespaces: tuple[tuple[int, int], ...]
    """Device and inode of the command's namespaces: those of the agent must be the same."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command is to print, as pairs of descriptor and text in their order, and its exit status."""

    texts: tuple[tuple[int, str], ...]
    status: int


def socket_path(topology: str, directory: Path = DIRECTORY) -> Path:
    """The socket of the agent of a topology."""
    return directory / f"{topology}.sock"


def read_namespaces() -> tuple[tuple[int, int], ...]:
    """Device and inode of the namespaces of this process. OSError."""
    found = (os.stat(f"/proc/self/ns/{name}") for name in NAMESPACES)
    return tuple((each.st_dev, each.st_ino) for each in found)


# --- the command ------------------------------------------------------------------------------------------------------


def ask(path: Path, question: Question) -> Answer | None:
    """The agent's answer; None if there is no agent, or it does not answer this question now."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.settimeout(ACCEPT_TIMEOUT_S)
            one.connect(str(path))
            if not _is_same_user(one):
                return None
            one.sendall(_line(asdict(question)))
            lines = _read_lines(one, ANSWER_MAX_BYTES)
            if json.loads(next(lines)) != {"accepted": True}:
                return None
            one.settimeout(ANSWER_TIMEOUT_S)
            found = json.loads(next(lines))
            texts = tuple((_checked(number, int), _checked(text, str)) for number, text in found["texts"])
            return Answer(texts, _checked(found["status"], int))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None


# --- the agent --------------------------------------------------------------------------------------------------------


class AgentSocket:
    """The agent's end: a socket on which commands ask."""

    def __init__(self, path: Path) -> None:
        """The directory exists. OSError if there can be no socket. What a killed agent has left there is replaced."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
            path.chmod(0o600)
            self._socket.listen(BACKLOG)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket, and delete its file."""
        self._socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def take(self) -> Iterator[Asked]:
        """The questions that wait now. A connection that asks nothing, or comes from another user, is closed."""
        for _ in range(BACKLOG):
            try:
                one, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:
                time.sleep(PEER_TIMEOUT_S)  # no more descriptors, for example: it must not be tried without end
                return
            with one:
                one.settimeout(PEER_TIMEOUT_S)
                try:
                    question = parse_question(next(_read_lines(one, LINE_MAX_BYTES))) if _is_same_user(one) else None
                except (OSError, ValueError, StopIteration):
                    continue
                if question:
                    yield Asked(question, one)


@dataclass(slots=True)
class Asked:
    """A question, and the connection for its answer."""

    question: Question
    _connection: socket.socket

    def accept(self) -> bool:
        """Say that the answer follows; False if the command does not wait any more."""
        try:
            self._connection.sendall(_line({"accepted": True}))
        except OSError:
            return False
        return True

    def answer(self, answer: Answer) -> None:
        """Send the answer. A command that is gone needs none."""
        with contextlib.suppress(OSError):
            self._connection.sendall(_line(asdict(answer)))


def parse_question(line: bytes) -> Question:
    """The question in a line. ValueError if it is none of this version."""
    try:
        found: dict[str, Any] = json.loads(line)
        named = {name: found[name] for name in Question.__dataclass_fields__}
        namespaces = tuple((_checked(device, int), _checked(inode, int)) for device, inode in named.pop("namespaces"))
        out, err = named.pop("has_colour")
        texts = {name: _checked(named.pop(name), str) for name in ("file", "digest", "docker", "program")}
        flags = {name: _checked(value, bool) for name, value in named.items()}
        return Question(**texts, **flags, namespaces=namespaces, has_colour=(_checked(out, bool), _checked(err, bool)))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError("no question of this version") from error


def _is_same_user(one: socket.socket) -> bool:
    """Whether the other end is a process of this user."""
    data = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return bool(CREDENTIALS.unpack(data)[1] == os.geteuid())


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _read_lines(one: socket.socket, limit: int) -> Iterator[bytes]:
    """The lines that the other end sends. OSError; ValueError if they are too long."""
    rest = b""
    while data := one.recv(1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if len(rest) > limit:
            raise ValueError("too long")


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"not a {kind.__name__}")
    return value
