"""The files by which other commands see an agent, below /run/netctl/.agent, which only root can open.

    <topology>.<host>.lock    locked as long as an agent holds the host (flock(2)), and its state (`AgentState`)
    <topology>.pause          there while the agents of the topology change nothing
    <topology>.sock           the socket by which `netctl diff` asks (`kernel.run_directory.agent_socket`)
    <topology>.log            the last events, one JSON object a line, for `netctl watch`

Names of topologies and hosts are DNS labels, and none begins with a dot.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.errors import HostError
from reconciler.kernel.run_directory.agent_socket import DIRECTORY
from reconciler.kernel.run_directory.flock import POLL_S, try_lock
from reconciler.kernel.run_directory.private import check_directories, make_directory, open_private, write_private
from reconciler.state.jsontext import MalformedError, parse_json

LOCK_TIMEOUT_S = 0.5
STATE_MAX_BYTES = 1 << 20
LOG_MAX_BYTES = 1 << 20
"""The log starts again then; it is for those who watch, not a history."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """What an agent says of itself, for `netctl status`."""

    pid: int
    topology: str
    file: str
    hosts: tuple[str, ...]
    since: str
    in_step: bool = False
    """Whether the last reading found nothing to repair."""
    repairs: int = 0
    last_repair: str = ""
    last_repair_at: str = ""
    contested: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """Containers that do not run, and that the agent does not start."""
    paused: str = ""
    """Why the agent changes nothing now; "" if it does."""
    error: str = ""
    """Why the last cycle failed, or the file is not used."""


@dataclass(frozen=True, slots=True)
class Pause:
    """An order to change nothing. `until_s` is on the clock that counts since boot; None means until `resume`."""

    why: str
    until_s: float | None = None


DESTROYED = "after `netctl destroy`; `netctl apply` or `netctl agent resume` ends that"
"""Why an agent does not create again what a user has destroyed."""


@dataclass(slots=True)
class HostLocks:
    """The locks of the hosts that an agent holds."""

    topology: str
    directory: Path = DIRECTORY
    _descriptors: dict[str, int] = field(default_factory=dict)

    def take(self, hosts: Iterable[str]) -> None:
        """Lock these hosts. HostError, naming the holder, if another agent holds one."""
        make_directory(self.directory)
        taken: dict[str, int] = {}
        for host in hosts:
            descriptor = self._lock(_lock_path(self.topology, host, self.directory))
            if descriptor is None:
                holder = read_state(self.topology, host, self.directory)
                self._release(taken)
                whose = f"process {holder.pid}, since {holder.since}, with {holder.file}" if holder else "another process"
                help_text = "stop that one first; `netctl status` shows what it does"
                raise HostError(f"cannot hold host {host} of {self.topology}: an agent holds it already: {whose}", help_text)
            taken[host] = descriptor
        self._descriptors |= taken

    def _lock(self, path: Path) -> int | None:
        """A descriptor of the file, locked; None if an agent has it. A reader has it for a moment, and an end removes it."""
        deadline_s = time.monotonic() + LOCK_TIMEOUT_S
        while time.monotonic() < deadline_s:
            descriptor = open_private(path, os.O_RDWR)
            with contextlib.suppress(FileNotFoundError):
                if try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)
            time.sleep(POLL_S)
        return None

    def write(self, state: AgentState) -> None:
        """Say how the agent stands; in place, because the lock is on the file."""
        data = (json.dumps(asdict(state)) + "\n").encode()
        for descriptor in self._descriptors.values():
            with contextlib.suppress(OSError):  # a full disk is no reason to leave the hosts
                os.pwrite(descriptor, data, 0)
                os.ftruncate(descriptor, len(data))

    def release(self) -> None:
        """Release the hosts, and leave no file of them."""
        self._release(self._descriptors)
        self._descriptors = {}
        if not any(self.directory.glob(f"{self.topology}.*.lock")):
            for suffix in ("log", "pause", "sock"):
                (self.directory / f"{self.topology}.{suffix}").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other agents, other topologies
            self.directory.rmdir()
            self.directory.parent.rmdir()

    def _release(self, taken: Mapping[str, int]) -> None:
        for host, descriptor in taken.items():
            _lock_path(self.topology, host, self.directory).unlink(missing_ok=True)
            os.close(descriptor)


def read_state(topology: str, host: str, directory: Path = DIRECTORY) -> AgentState | None:
    """The state of the agent that holds the host; None if none does. HostError if the directory is not root's."""
    path = _lock_path(topology, host, directory)
    check_directories(directory.parent, directory)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if try_lock(descriptor):  # what a killed agent has left
            return None
        return parse_state(os.pread(descriptor, STATE_MAX_BYTES, 0))
    finally:
        os.close(descriptor)


def parse_state(data: bytes) -> AgentState | None:
    """None if it is not the state of an agent of this version."""
    try:
        found: Any = parse_json(data, STATE_MAX_BYTES)
        named = {each.name: found[each.name] for each in fields(AgentState)}
    except (MalformedError, KeyError, TypeError):
        return None
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in named.items()}
    return AgentState(**values)


def read_states(topology: str, hosts: Iterable[str], directory: Path = DIRECTORY) -> dict[int, AgentState]:
    """The agents that hold hosts of the topology, by their process."""
    found = (read_state(topology, host, directory) for host in hosts)
    return {state.pid: state for state in found if state}


def find_hosts(topology: str, directory: Path = DIRECTORY) -> tuple[str, ...]:
    """The hosts of the topology that agents hold, or held before a kill."""
    return tuple(sorted(path.name.removeprefix(f"{topology}.")[: -len(".lock")] for path in directory.glob(f"{topology}.*.lock")))


# --- pauses -----------------------------------------------------------------------------------------------------------


def read_pause(topology: str, directory: Path = DIRECTORY) -> Pause | None:
    """The pause that is in force; None without one, or after its end."""
    try:
        found: Any = parse_json((directory / f"{topology}.pause").read_bytes(), STATE_MAX_BYTES)
        pause = Pause(str(found["why"]), None if found["until_s"] is None else float(found["until_s"]))
    except (OSError, MalformedError, KeyError, TypeError, ValueError):
        return None
    return pause if pause.until_s is None or pause.until_s > boot_s() else None


def write_pause(topology: str, pause: Pause, directory: Path = DIRECTORY) -> None:
    """Let the agents of the topology change nothing."""
    write_private(directory / f"{topology}.pause", json.dumps(asdict(pause)) + "\n")


def pause_agents(topology: str, why: str) -> None:
    """Let the agents of the topology change nothing until `resume`, if there is one; else remove what a killed one has left."""
    if read_states(topology, find_hosts(topology)):
        write_pause(topology, Pause(why))
        return
    locks = HostLocks(topology)
    if hosts := find_hosts(topology):
        locks.take(hosts)
        locks.release()


def end_pause(topology: str, why: str = "", directory: Path = DIRECTORY) -> bool:
    """End the pause, or with `why` only one of this reason; whether there was one."""
    pause = read_pause(topology, directory)
    if pause is None or (why and pause.why != why):
        return False
    (directory / f"{topology}.pause").unlink(missing_ok=True)
    return True


def boot_s() -> float:
    """Seconds since boot, the time in suspension included: the same for all processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- the log of events ------------------------------------------------------------------------------------------------


def append_event(topology: str, event: dict[str, Any], directory: Path = DIRECTORY) -> None:
    """Add an event for those who watch. A full disk is no reason to stop."""
    path = directory / f"{topology}.log"
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
            path.unlink()
        descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, (json.dumps(event) + "\n").encode())
        finally:
            os.close(descriptor)


def follow_events(topology: str, pause_s: float, directory: Path = DIRECTORY) -> Generator[dict[str, Any] | None, None, None]:
    """The events from now on; None each time that there was none for `pause_s`. An agent that ends deletes the file, unread."""
    path = directory / f"{topology}.log"
    file, rest = _open_other(path, None), b""
    if file:
        file.seek(0, os.SEEK_END)
    try:
        while True:
            other = _open_other(path, file)  # from here on, the agent adds nothing to the file that was there before
            data = file.read() if file else b""
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(MalformedError):
                    yield parse_json(line)
            if other:
                if file:
                    file.close()
                file, rest = other, b""
            elif not data:
                yield None
                time.sleep(pause_s)
    finally:
        if file:
            file.close()


def _open_other(path: Path, file: BinaryIO | None) -> BinaryIO | None:
    """The file at `path`, if there is one and it is another one."""
    try:
        if file and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return None
        return path.open("rb")
    except FileNotFoundError:
        return None


def _lock_path(topology: str, host: str, directory: Path) -> Path:
    return directory / f"{topology}.{host}.lock"
