"""The connection to an engine with Docker's API, through the package `docker`, and the errors of a request.

The socket is a file, and can be reached from any network namespace. The package takes 200 ms to import, so it is
imported only if there is work for it.
"""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.errors import AwayError, HostError, SilentError

if TYPE_CHECKING:
    from docker import APIClient

FORMLESS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
"""The exceptions of parsing an answer of unknown form."""
NOT_FOUND = 404  # HTTP status
ANSWER_TIMEOUT_S = 90
NEXT_TIMEOUT_S = 10
"""The same after an engine has not answered, until it answers: a rollback asks it again, and must not take minutes."""
CONNECTIONS = 32
"""The open connections to an engine: as many as threads that use it (`kernel.engines.engine`)."""
PRODUCTS = {"docker": ("dockerd", "docker", "DOCKER_HOST"), "podman": ("the podman service", "podman.socket", "")}
"""By runtime: the server, the systemd unit that starts it, and the environment variable of its socket."""

OTHER_RUNTIME = {
    "docker": "another is chosen by `default-runtime` in /etc/docker/daemon.json",
    "podman": "another is chosen by `runtime` in section [engine] of /etc/containers/containers.conf: crun, runc",
}
"""By runtime: how to use another runtime of the Open Container Initiative."""


class EngineError(HostError):
    """The engine rejected a request; `status` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, help_text: str = "", status: int = 0) -> None:
        """`message` is a sentence."""
        super().__init__(message, help_text)
        self.status = status


class SilentEngineError(EngineError, SilentError):
    """The engine did not answer in time."""


class AbsentEngineError(EngineError, AwayError):
    """The engine does not listen."""


class DockerConnection:
    """The connection of one topology on one host. Threads may share it."""

    def __init__(self, runtime: str, topology: str, host_key: str, url: str) -> None:
        """`url` is `unix:///path`, or the path. For any other, no engine is there: containers must be on the host itself."""
        self._runtime = runtime
        self._topology = topology
        self._host_key = host_key
        self._path = url.removeprefix("unix://")
        self._connecting = threading.Lock()
        self._importing = threading.Lock()
        self._client: APIClient | None = None
        self._patience_s = ANSWER_TIMEOUT_S
        self._image_labels: dict[str, Mapping[str, str]] = {}
        """By an image's identity, its labels, which never change."""

    # --- the connection -----------------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self) -> Iterator[APIClient]:
        """The client, for requests. Errors within become an EngineError, with the engine's own words."""
        client = self._connect()
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        try:
            yield client
            if self._patience_s != ANSWER_TIMEOUT_S:
                self._patience_s = client.timeout = ANSWER_TIMEOUT_S
        except APIError as error:
            words = str(error.explanation or error).strip()
            raise EngineError(f"the engine rejects it: {words}", advise(self._runtime, words), error.status_code or 0) from error
        except (DockerException, RequestException) as error:
            raise self._explain(error) from error
        except FORMLESS as error:
            # The server is no engine, or the answer is incomplete.
            raise self._no_answer(f"it is malformed ({type(error).__name__})") from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connect(self) -> APIClient:
        with self._connecting:
            if self._client is None:
                self._client = self._make_client()
        return self._client

    def _make_client(self) -> APIClient:
        if not self._path.startswith("/"):
            variable = PRODUCTS[self._runtime][2]
            raise EngineError(
                f"cannot use the engine at {self._path}: netctl reaches an engine by a unix socket",
                f"write `{self._runtime}: unix:///PATH` at the host" + (f", or unset {variable}" if variable else ""),
            )
        # The package's message would be longer than the kernel's.
        try:
            self._open_socket().close()
        except OSError as error:
            raise self._unreachable(error) from error
        from docker import APIClient
        from docker.errors import DockerException

        try:
            return APIClient(f"unix://{self._path}", version="auto", timeout=self._patience_s, max_pool_size=CONNECTIONS)
        except DockerException as error:
            raise self._explain(error) from error
        except FORMLESS as error:
            raise self._no_answer(f"it is malformed ({type(error).__name__})") from error

    def _open_socket(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.settimeout(self._patience_s)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def _explain(self, error: Exception) -> EngineError:
        """The error for an exception of the packages, by the kernel's error in it: the engine has stopped, or hangs."""
        from requests.exceptions import RequestException

        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and not isinstance(cause, RequestException):
                return self._unreachable(cause)
            cause = cause.__cause__ or cause.__context__
        return self._no_answer(error)

    def _no_answer(self, error: object) -> EngineError:
        return EngineError(
            f"the engine at {self._path} sent a malformed answer: {error}", f"systemctl status {PRODUCTS[self._runtime][1]}"
        )

    def _unreachable(self, error: OSError) -> EngineError:
        product, unit, variable = PRODUCTS[self._runtime]
        if error.errno in (errno.EACCES, errno.EPERM):
            return EngineError(f"cannot use the engine's socket {self._path}: permission denied", "run netctl as root")
        if isinstance(error, TimeoutError):
            silent_s, self._patience_s = self._patience_s, NEXT_TIMEOUT_S
            if self._client is not None:
                self._client.timeout = NEXT_TIMEOUT_S
            message = f"the engine at {self._path} gives no answer within {silent_s} s"
            return SilentEngineError(message, f"check whether it is stopped or busy: systemctl status {unit}")
        why = "there is no such socket" if error.errno == errno.ENOENT else (error.strerror or str(error))
        where = f", or in {variable}" if variable else ""
        return AbsentEngineError(
            f"{product} is not running, or listens elsewhere: {self._path}: {why}",
            f"systemctl start {unit}; or give the socket with `{self._runtime}:` at the host{where}",
        )


def preload() -> None:
    """Import the package now, for a process that forks others which need it."""
    import docker.errors  # noqa: F401
    import requests.exceptions  # noqa: F401


def advise(runtime: str, words: str) -> str:
    """The advice for a message of a program that the engine needs; "" for all others."""
    if "container-init binary not found" in words:
        return "install it for `init: true`: apt-get install catatonit"
    if re.search("task [0-9a-f]{64}: already exists", words):
        return f"the engine ended while it started the container: remove that ({runtime} rm --force NAME), and apply again"
    if "OCI runtime" not in words:
        return ""
    if any(phrase in words.lower() for phrase in ("not found in $path", "no such file or directory", "that was not found")):
        return "the image has no such program: look at `command`"
    return f"the program that starts containers does not work on this host; {OTHER_RUNTIME[runtime]}"
