"""Containers of Docker's that start by netctl's hook (`kernel.starts`): dockerd must not be asked for them.

dockerd locks a container while it starts, and then waits for the hook. At boot it answers nothing at all until every container
has started. So the process of such a container is known from its record. While dockerd is silent, its files are read.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.errors import help_for
from reconciler.kernel.engines.docker_connection import NOT_FOUND, DockerConnection, EngineError
from reconciler.kernel.engines.docker_containers import Listed, parse_labels
from reconciler.kernel.starts.docker_files import read_image_labels, read_stored
from reconciler.kernel.starts.records import DIRECTORY, Start, read_starts
from reconciler.state.engines import HOLDING
from reconciler.state.members import is_from_image

GREETING = b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n"
GREETING_TIMEOUT_S, SILENCE_S = 0.2, 1.0
"""An engine that runs answers this at once. One that does not counts as silent for a moment."""


class DockerStarts(DockerConnection):
    """The connection to an engine that may be silent."""

    _silent_until_s = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether nothing can be asked of the engine, because containers of it start before it answers."""
        return bool(self._find_stored())

    def _read_starts(self) -> tuple[Start, ...]:
        """The starts on this machine; the hook serves one engine."""
        return read_starts() if self._runtime == HOLDING else ()

    def _find_stored(self) -> str:
        """The data directory of the engine, if it is silent; "" for all others. SilentEngineError as for a request.

        A container may start only after the engine was asked, so both are watched.
        """
        if self._runtime != HOLDING or not DIRECTORY.is_dir():
            return ""
        root = self._find_root()
        if root and time.monotonic() < self._silent_until_s:
            return root
        try:
            with self._open_socket() as connection:
                connection.sendall(GREETING)
                deadline_s = time.monotonic() + self._patience_s
                while not _answers(connection):
                    if root:
                        break
                    if time.monotonic() > deadline_s:
                        raise self._unreachable(TimeoutError())
                    root = self._find_root()
                else:
                    return ""
        except OSError:
            if not root:
                return ""  # the request itself reports it
        self._silent_until_s = time.monotonic() + SILENCE_S
        return root

    def _find_root(self) -> str:
        return next((start.root for start in self._read_starts() if start.is_alive), "")

    def _read_stored(self) -> tuple[Listed, ...]:
        """The containers of a silent engine, by its files; none if it answers."""
        root = self._find_stored()
        try:
            return read_stored(root) if root else ()
        except OSError as error:
            raise EngineError(f"cannot read Docker's files in {root}: {error.strerror}", help_for(error)) from error

    def _is_from_image(self, listed: Listed) -> bool:
        """Whether the labels of Compose are those of the image: a foreign image must not take a service's address."""
        if listed.image not in self._image_labels:
            if (labels := self._read_stored_labels(listed.image)) is not None:
                return is_from_image(listed.labels, labels)
            try:
                with self._asking() as client:
                    labels = (client.inspect_image(listed.image).get("Config") or {}).get("Labels") or {}
                    self._image_labels[listed.image] = parse_labels(labels)
            except EngineError as error:
                if error.status != NOT_FOUND:
                    raise
                return False
        return is_from_image(listed.labels, self._image_labels[listed.image])

    def _read_stored_labels(self, image: str) -> Mapping[str, str] | None:
        """The labels of an image, if the engine is silent; None if it is to be asked."""
        root = self._find_stored()
        return read_image_labels(root, image) if root else None


def _answers(connection: socket.socket) -> bool:
    """Whether an answer comes at once. OSError if none will come."""
    connection.settimeout(GREETING_TIMEOUT_S)
    try:
        if connection.recv(1):
            return True
    except TimeoutError:
        return False
    raise ConnectionResetError


def with_starts(everything: Iterable[Listed], starts: Iterable[Start]) -> tuple[Listed, ...]:
    """The containers, with what the records say of those that started by the hook. Pure.

    Such a container runs as long as the process of its last start, whatever the engine says.
    """
    known = {start.waiting.identity: start.pid for start in starts}
    return tuple(_with_pid(one, known[one.identity]) if one.identity in known else one for one in everything)


def _with_pid(listed: Listed, pid: int) -> Listed:
    if pid:
        return replace(listed, pid=pid, state="running")
    return replace(listed, pid=0, state="exited" if listed.state == "running" else listed.state)
