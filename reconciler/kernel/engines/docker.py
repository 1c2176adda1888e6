"""Docker's engine, and Podman's, which has the same API on a socket of its own: through the package `docker`.

The socket is a file, and can be reached from any network namespace. The package takes 200 ms to import, so it is
imported only if there is work for it. `DockerEngine.holds_any` answers the one question of every command without it.

Labels mark a container as netctl's own. The lab's hosts share one engine, so a label also names the host. Another holds
the container's specification, so that a plan can say which part changed.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.errors import AwayError, HostError, SilentError
from reconciler.kernel.engines.docker_containers import Listed, parse_labels, parse_listed
from reconciler.state.container_spec import OWN, PARKED
from reconciler.state.engines.docker import create_body
from reconciler.state.grammar import is_label
from reconciler.state.ref import container_netns, netns_path
from reconciler.state.snapshot import ContainerInfo
from reconciler.state.spec_label import HOST_LABEL, NAME_LABEL, NETWORK_LABEL, TOPOLOGY_LABEL, labels_of, network_of
from reconciler.state.steps.containers import ContainerCreate

if TYPE_CHECKING:
    from docker import APIClient

FORMLESS = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
"""The exceptions of parsing an answer of unknown form."""
NOT_FOUND = 404  # HTTP status
STOP_TIMEOUT_S = 10
"""The time that a container may take to end before it is killed: the default of `docker stop`."""
ANSWER_TIMEOUT_S = 90
NEXT_TIMEOUT_S = 10
"""The same after an engine has not answered, until it answers: a rollback asks it again, and must not take minutes."""
ANSWER_MAX_BYTES = 1 << 20
"""The limit of the answer to whether there is anything; the rest is not read."""
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


class DockerEngine:
    """An engine with Docker's API, for one topology on one host. Threads may share it."""

    def __init__(self, runtime: str, topology: str, host_key: str, url: str) -> None:
        """`url` is `unix:///path`, or the path. For any other, no engine is there: containers must be on the host itself."""
        self._runtime = runtime
        self._topology = topology
        self._host_key = host_key
        self._path = url.removeprefix("unix://")
        self._connecting = threading.Lock()
        self._client: APIClient | None = None
        self._patience_s = ANSWER_TIMEOUT_S

    # --- reading ------------------------------------------------------------------------------------------------------

    def holds_any(self) -> bool:
        """Whether an engine with containers of the topology listens here, or does not answer.

        It sends one plain request and parses little, 2 ms: every command asks it, even for topologies without
        containers.
        """
        if not self._path.startswith("/"):
            return False
        filters = quote(json.dumps({"label": [f"{TOPOLOGY_LABEL}={self._topology}"]}))
        question = f"GET /containers/json?all=true&filters={filters} HTTP/1.0\r\nHost: engine\r\n\r\n"
        try:
            with self._open_socket() as connection:
                connection.sendall(question.encode())
                answer = _read_answer(connection)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unreachable(error) from error
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.split(b" ")[1:2] != [b"200"] or body.strip() != b"[]"

    def read_containers(self, existing: Mapping[str, str]) -> tuple[ContainerInfo, ...]:
        """The topology's containers on this host, parked ones too, and those of the `existing` that exist."""
        names = {engine_name: container for container, engine_name in existing.items()}
        found = []
        for listed in self._read_listed():
            ours = self._is_ours(listed.name, listed.labels)
            if not ours and listed.name not in names:
                continue
            pid = self._read_pid(listed.identity) if listed.state == "running" else 0
            found.append(
                ContainerInfo(
                    runtime=self._runtime,
                    container=listed.labels[NAME_LABEL] if ours else names[listed.name],
                    engine_name=listed.name,
                    spec=listed.spec if ours else None,
                    running=pid > 0,
                    pid=pid,
                    existing=not ours,
                    parked=ours and listed.parked,
                    networks=() if ours else listed.networks,
                    network=self._network_of(listed) if ours else OWN,
                )
            )
        return tuple(sorted(found, key=lambda info: (info.container, info.engine_name)))

    def _network_of(self, listed: Listed) -> str:
        """The network of a container of netctl's."""
        held = netns_path(self._topology, container_netns(listed.labels[NAME_LABEL]))
        return network_of(listed.labels.get(NETWORK_LABEL, ""), held)

    def _joins(self, step: ContainerCreate) -> str:
        """The path of the namespace that a container joins; "" for one of its own."""
        return "" if step.network == OWN else netns_path(self._topology, step.netns)

    def read_foreign(self) -> tuple[tuple[str, str], ...]:
        """Name and state of the containers that are not the topology's, on this host or on another of the lab."""
        listed = self._read_listed()
        return tuple((one.name, one.state) for one in listed if not self._is_the_topologys(one.name, one.labels))

    def _read_listed(self) -> tuple[Listed, ...]:
        with self._asking() as client:
            return tuple([parse_listed(item) for item in client.containers(all=True)])

    def _read_pid(self, identity: str) -> int:
        """The first process of a container; 0 if it has none, or has just ended."""
        try:
            return self._read_state(identity)[0]
        except EngineError as error:
            if error.status == NOT_FOUND:
                return 0
            raise

    def _read_state(self, identity: str) -> tuple[int, int]:
        """The first process of a container, 0 if it does not run, and its exit status."""
        with self._asking():
            state = self._inspect(identity)["State"]
            return int(state["Pid"]), int(state.get("ExitCode") or 0)

    def _inspect(self, name: str) -> Mapping[str, Any]:
        with self._asking() as client:
            found: Mapping[str, Any] = client.inspect_container(name)
        return found

    def _is_ours(self, name: str, labels: Mapping[str, str]) -> bool:
        return self._is_the_topologys(name, labels) and labels.get(HOST_LABEL) == self._host_key

    def _is_the_topologys(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether netctl created it. Its name must fit, because a container also has the labels of its image."""
        container = labels.get(NAME_LABEL, "")
        return (
            labels.get(TOPOLOGY_LABEL) == self._topology
            and is_label(container)
            and name.partition(PARKED)[0] == f"{self._topology}-{container}"
        )

    # --- before an apply ----------------------------------------------------------------------------------------------

    def check(self, steps: Iterable[ContainerCreate]) -> None:
        """HostError that names every missing image. A container with a parked twin needs none."""
        steps = tuple(steps)
        twins = [one for one in self._read_listed() if one.parked] if steps else []
        images = {step.spec.image for step in steps if not self._find_parked(step, twins)}
        missing = sorted(image for image in images if not self._has_image(image))
        if missing:
            what = f"{len(missing)} images are" if len(missing) > 1 else "an image is"
            raise EngineError(
                f"{what} not on the host: {', '.join(missing)}", "; ".join(f"{self._runtime} pull {image}" for image in missing)
            )

    def _has_image(self, image: str) -> bool:
        try:
            with self._asking() as client:
                client.inspect_image(image)
        except EngineError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True

    # --- steps --------------------------------------------------------------------------------------------------------

    def create(self, step: ContainerCreate) -> int:
        """Create and start a container in its namespace, or restore its parked twin; the number of its first process."""
        parked = self._find_parked(step, self._read_listed())
        with self._asking() as client:
            if parked:
                client.rename(parked, step.engine_name)
            else:
                joins = self._joins(step)
                labels = dict(labels_of(self._topology, self._host_key, step.container, step.spec, joins))
                client.create_container_from_config(create_body(step.spec, labels, joins), step.engine_name)
        return self.start(step.engine_name)

    def start(self, engine_name: str) -> int:
        """Start a container of netctl's; the number of its first process. EngineError also if it ends at once."""
        identity = self._find_own(engine_name).identity
        with self._asking() as client:
            client.start(identity)
        pid, status = self._read_state(identity)
        if not pid:
            raise EngineError(
                f"container {engine_name} ended at once, with status {status}", f"`{self._runtime} logs {engine_name}` says why"
            )
        return pid

    def stop(self, engine_name: str) -> None:
        """Stop a container of netctl's; a stopped one is no error."""
        own = self._find_own(engine_name)
        timeout_s = own.spec.stop_timeout if own.spec else None
        with self._asking() as client:
            client.stop(own.identity, timeout=STOP_TIMEOUT_S if timeout_s is None else timeout_s)

    def park(self, engine_name: str) -> None:
        """Stop a container of netctl's and rename it, so that its name is free."""
        identity = self._find_own(engine_name).identity
        self.stop(engine_name)
        with self._asking() as client:
            client.rename(identity, f"{engine_name}{PARKED}{identity[:12]}")

    def remove_parked(self) -> None:
        """Delete all parked containers of netctl's, with their anonymous volumes."""
        for listed in self._read_listed():
            if listed.parked and self._is_ours(listed.name, listed.labels):
                try:
                    with self._asking() as client:
                        client.remove_container(listed.identity, v=True, force=True)
                except EngineError as error:
                    if error.status != NOT_FOUND:
                        raise

    def _find_parked(self, step: ContainerCreate, listed: Iterable[Listed]) -> str:
        """The id of the parked container of the same name, specification and network; "" if there is none."""
        for one in listed:
            fits = one.parked and self._is_ours(one.name, one.labels) and one.labels.get(NETWORK_LABEL, "") == self._joins(step)
            if fits and one.labels[NAME_LABEL] == step.container and one.spec == step.spec:
                return one.identity
        return ""

    def _find_own(self, engine_name: str) -> Listed:
        """A container, after a check of its labels: a foreign container is never changed."""
        with self._asking():
            found = self._inspect(engine_name)
            labels, identity = parse_labels(found["Config"]["Labels"] or {}), str(found["Id"])
        if not self._is_ours(engine_name, labels):
            raise EngineError(f"container {engine_name} is not one of netctl's, so netctl does not change it")
        return Listed(identity, engine_name, "", labels)

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
    if "OCI runtime" not in words:
        return ""
    if any(phrase in words.lower() for phrase in ("not found in $path", "no such file or directory", "that was not found")):
        return "the image has no such program: look at `command`"
    return f"the program that starts containers does not work on this host; {OTHER_RUNTIME[runtime]}"


def _read_answer(connection: socket.socket) -> bytes:
    """All data, up to the amount that shows that it is more than an empty list."""
    parts, length = [], 0
    while (part := connection.recv(1 << 16)) and length < ANSWER_MAX_BYTES:
        parts.append(part)
        length += len(part)
    return b"".join(parts)
