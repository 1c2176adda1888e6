"""Docker's engine, by the HTTP that it speaks on its unix socket (docs.docker.com/reference/api/engine).

Called by `kernel.engine` for steps and containers, and by `kernel.facts` for networks and published ports. A dozen plain
requests are all that is needed, so they are made with the standard library: Docker's own package costs 200 ms at import, on
every command, and would have to be on every host that netctl reaches. The socket is a file, and is reached from any network
namespace. Podman speaks the same language on a socket of its own.

A container is netctl's own by its labels. The lab's hosts share one engine, so the labels say whose host it is, too.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from reconciler.errors import HostError
from reconciler.state.snapshot import ContainerInfo
from reconciler.state.steps import ContainerCreate, ContainerSpec

TOPOLOGY_LABEL, HOST_LABEL, NAME_LABEL, SPEC_LABEL = "netctl.topology", "netctl.host", "netctl.name", "netctl.spec"
PARKED = ".netctl-parked-"
"""What follows the name of a parked container, with the engine's own id behind: no two are ever called the same."""
NOT_FOUND, FIRST_ERROR = 404, 400  # HTTP statuses
STOP_TIMEOUT_S = 10
"""How long a container may take to end before it is killed: as `docker stop` has it."""


class EngineError(HostError):
    """The engine refused; `status` is the HTTP status, 0 where there was no answer."""

    def __init__(self, message: str, help_text: str = "", status: int = 0) -> None:
        """`message` is a sentence."""
        super().__init__(message, help_text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the engine publishes."""

    protocol: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A container, as `docker ps --all` knows it.

    `state` is Docker's word: created, running, paused, restarting, removing, exited or dead.
    """

    identity: str
    name: str
    state: str
    labels: Mapping[str, str]
    ports: tuple[Port, ...]

    @property
    def parked(self) -> bool:
        """Whether it was renamed by `park`."""
        return PARKED in self.name

    def belongs_to(self, topology: str) -> bool:
        """Whether it is the topology's, on this host or on another of the lab."""
        return self.labels.get(TOPOLOGY_LABEL) == topology


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the engine's; `bridge` is the name of its bridge, "" where it has none."""

    name: str
    bridge: str
    subnets: tuple[str, ...]


class DockerEngine:
    """Docker's engine, for one topology on one host. Each request has a connection of its own, so threads may share it."""

    def __init__(self, topology: str, host_key: str, url: str) -> None:
        """`url` is `unix:///path`, or the path. With any other nothing is there: containers must be on the host itself."""
        self._topology = topology
        self._host_key = host_key
        self._path = url.removeprefix("unix://")

    # --- reading ------------------------------------------------------------------------------------------------------

    def is_there(self) -> bool:
        """Whether something listens on the socket."""
        if not self._path.startswith("/"):
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
                probe.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unreachable(error) from error
        return True

    def read_listed(self) -> tuple[Listed, ...]:
        """All containers of the engine."""
        return tuple(parse_listed(item) for item in self._request("GET", "/containers/json", {"all": "true"}))

    def read_containers(self, existing: Mapping[str, str]) -> tuple[ContainerInfo, ...]:
        """The topology's containers on this host, parked ones too, and those of the `existing` that are there."""
        names = {engine_name: container for container, engine_name in existing.items()}
        found = []
        for listed in self.read_listed():
            ours = self._is_ours(listed.labels)
            if not ours and listed.name not in names:
                continue
            pid = self._read_pid(listed.identity) if listed.state == "running" else 0
            found.append(
                ContainerInfo(
                    runtime="docker",
                    container=listed.labels[NAME_LABEL] if ours else names[listed.name],
                    engine_name=listed.name,
                    spec_hash=listed.labels.get(SPEC_LABEL, "") if ours else "",
                    running=pid > 0,
                    pid=pid,
                    existing=not ours,
                    parked=ours and listed.parked,
                )
            )
        return tuple(sorted(found, key=lambda info: (info.container, info.engine_name)))

    def read_networks(self) -> tuple[Network, ...]:
        """All networks of the engine."""
        return tuple(parse_network(item) for item in self._request("GET", "/networks"))

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        marks = labels.get(TOPOLOGY_LABEL), labels.get(HOST_LABEL)
        return marks == (self._topology, self._host_key) and bool(labels.get(NAME_LABEL))

    def _read_pid(self, identity: str) -> int:
        """The first process of a container; 0 where it has none, or has just gone."""
        try:
            return int(self._request("GET", f"/containers/{quote(identity)}/json")["State"]["Pid"])
        except EngineError as error:
            if error.status == NOT_FOUND:
                return 0
            raise

    # --- before an apply ----------------------------------------------------------------------------------------------

    def check(self, steps: Iterable[ContainerCreate]) -> None:
        """HostError that names every missing image and every name that is somebody else's."""
        steps = tuple(steps)
        if not steps:
            return
        listed = self.read_listed()
        # One that moves here from another host of the lab will be parked by then.
        taken = {one.name for one in listed if not one.belongs_to(self._topology)}
        parked = {
            (one.labels[NAME_LABEL], one.labels.get(SPEC_LABEL)) for one in listed if one.parked and self._is_ours(one.labels)
        }
        fresh = [step for step in steps if (step.container, step.spec_hash) not in parked]
        images = {step.spec.image for step in fresh}
        missing = sorted(image for image in images if not self._has_image(image))
        names = sorted(step.engine_name for step in steps if step.engine_name in taken)
        if names:
            raise EngineError(
                f"{_count('container name', names)} taken by somebody else: {', '.join(names)}",
                "rename or remove it, or name it in the file with `existing: true` to wire it",
            )
        if missing:
            raise EngineError(
                f"{_count('image', missing)} not on the host: {', '.join(missing)}",
                "; ".join(f"docker pull {image}" for image in missing),
            )

    def _has_image(self, image: str) -> bool:
        try:
            self._request("GET", f"/images/{quote(image, safe='/:@')}/json")
        except EngineError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True

    # --- steps --------------------------------------------------------------------------------------------------------

    def create(self, step: ContainerCreate) -> int:
        """Make and start a container without a network, or bring its parked twin back; the number of its first process."""
        twin = self._find_parked(step)
        if twin:
            self._request("POST", f"/containers/{quote(twin)}/rename", {"name": step.engine_name})
        elif not step.spec.image:
            raise EngineError(f"the parked container of {step.engine_name} is gone, so it cannot be brought back")
        else:
            body = render_create(step.spec, self._labels(step))
            self._request("POST", "/containers/create", {"name": step.engine_name}, body)
        return self.start(step.engine_name)

    def start(self, engine_name: str) -> int:
        """Start one of ours; the number of its first process. EngineError too where it ends at once."""
        identity = self._find_own(engine_name)
        self._request("POST", f"/containers/{quote(identity)}/start")
        state = self._request("GET", f"/containers/{quote(identity)}/json")["State"]
        if not state["Pid"]:
            raise EngineError(
                f"container {engine_name} ended at once, with status {state['ExitCode']}", f"`docker logs {engine_name}` says why"
            )
        return int(state["Pid"])

    def stop(self, engine_name: str) -> None:
        """Stop one of ours; one that is stopped already is no fault."""
        self._request("POST", f"/containers/{quote(self._find_own(engine_name))}/stop", {"t": str(STOP_TIMEOUT_S)})

    def park(self, engine_name: str) -> None:
        """Stop one of ours and rename it, so that its name is free."""
        identity = self._find_own(engine_name)
        self.stop(engine_name)
        self._request("POST", f"/containers/{quote(identity)}/rename", {"name": f"{engine_name}{PARKED}{identity[:12]}"})

    def remove_parked(self) -> None:
        """Remove all of ours that is parked, with the volumes that have no name."""
        for listed in self.read_listed():
            if listed.parked and self._is_ours(listed.labels):
                try:
                    self._request("DELETE", f"/containers/{quote(listed.identity)}", {"force": "true", "v": "true"})
                except EngineError as error:
                    if error.status != NOT_FOUND:
                        raise

    def _labels(self, step: ContainerCreate) -> dict[str, str]:
        return dict(labels_of(self._topology, self._host_key, step.container, step.spec_hash))

    def _find_parked(self, step: ContainerCreate) -> str:
        """The id of the parked container that was made from the same spec; "" where there is none."""
        labels = self._labels(step)
        filters = json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})
        found = self._request("GET", "/containers/json", {"all": "true", "filters": filters})
        return next((listed.identity for listed in map(parse_listed, found) if listed.parked), "")

    def _find_own(self, engine_name: str) -> str:
        """The id of a container, after a look at its labels: what is not ours is never touched."""
        found = self._request("GET", f"/containers/{quote(engine_name)}/json")
        if not self._is_ours(found["Config"]["Labels"] or {}):
            raise EngineError(f"container {engine_name} is not one of netctl's, so it is left alone")
        return str(found["Id"])

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, query: Mapping[str, str] | None = None, body: object = None) -> Any:
        """The answer to one request, parsed; None where it has no body. EngineError with the engine's own words."""
        from reconciler.kernel.unix_http import request

        if not self._path.startswith("/"):
            raise EngineError(
                f"the engine at {self._path} cannot be used: netctl reaches an engine by a unix socket",
                "write `docker: unix:///var/run/docker.sock` at the host, or unset DOCKER_HOST",
            )
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            status, data = request(self._path, method, target, None if body is None else json.dumps(body))
            answer = json.loads(data) if data and status < FIRST_ERROR else None
        except OSError as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise EngineError(f"what listens on {self._path} is no container engine: {error}") from error
        if status >= FIRST_ERROR:
            raise EngineError(f"the engine refuses: {parse_refusal(data)}", status=status)
        return answer

    def _unreachable(self, error: OSError) -> EngineError:
        if error.errno in (errno.EACCES, errno.EPERM):
            return EngineError(f"the engine's socket {self._path} may not be used", "run netctl as root")
        if isinstance(error, TimeoutError):
            return EngineError(f"the engine at {self._path} gives no answer", "systemctl status docker")
        why = "there is no such socket" if error.errno == errno.ENOENT else (error.strerror or str(error))
        return EngineError(
            f"dockerd is not running, or listens elsewhere: {self._path}: {why}",
            "systemctl start docker; or give the socket with `docker:` at the host, or in DOCKER_HOST",
        )


def labels_of(topology: str, host_key: str, container: str, spec_hash: str) -> tuple[tuple[str, str], ...]:
    """The labels by which a container is known again."""
    return (TOPOLOGY_LABEL, topology), (HOST_LABEL, host_key), (NAME_LABEL, container), (SPEC_LABEL, spec_hash)


def render_create(spec: ContainerSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    """The body of POST /containers/create. A command that the file leaves out is the image's own."""
    policy, _, retries = spec.restart.partition(":")
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env],
        "Labels": dict(labels),
        "HostConfig": {
            "NetworkMode": "none",
            "Binds": list(spec.volumes),
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)},
        },
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    return body


def parse_listed(item: Mapping[str, Any]) -> Listed:
    """One entry of GET /containers/json."""
    names = [name.removeprefix("/") for name in item.get("Names") or ()]
    ports = (
        Port(str(port["Type"]), str(port.get("IP") or "0.0.0.0"), int(port["PublicPort"]))
        for port in item.get("Ports") or ()
        if port.get("PublicPort")
    )
    # A legacy link adds a name with a slash in it.
    name = next((name for name in names if "/" not in name), "")
    return Listed(str(item["Id"]), name, str(item["State"]), dict(item.get("Labels") or {}), tuple(ports))


def parse_network(item: Mapping[str, Any]) -> Network:
    """One entry of GET /networks. A bridge network's link is named in its options, else after its id."""
    bridge = ""
    if item.get("Driver") == "bridge":
        bridge = (item.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{item['Id'][:12]}"
    subnets = ((config or {}).get("Subnet") for config in (item.get("IPAM") or {}).get("Config") or ())
    return Network(str(item["Name"]), bridge, tuple(str(subnet) for subnet in subnets if subnet))


def parse_refusal(data: bytes) -> str:
    """The engine's words in an answer that is an error."""
    try:
        return str(json.loads(data)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip() or "no reason given"


def _count(what: str, names: list[str]) -> str:
    return f"{len(names)} {what}s are" if len(names) > 1 else f"{'an' if what[0] in 'aeiou' else 'a'} {what} is"
