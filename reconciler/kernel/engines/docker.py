"""An engine with Docker's API on a socket of its own: through the package `docker`.

The socket is a file, and can be reached from any network namespace. The package takes 200 ms to import, so it is
imported only if there is work for it. `DockerEngine.holds_any` answers the one question of every command without it.

Labels mark a container as netctl's own. The lab's hosts share one engine, so a label also names the host. Another holds
the container's specification, so that a plan can say which part changed.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler.kernel.engines.docker_connection import NOT_FOUND, EngineError
from reconciler.kernel.engines.docker_containers import Listed, existing_info, parse_labels, parse_listed
from reconciler.kernel.engines.docker_starts import DockerStarts, with_starts
from reconciler.kernel.engines.hosts_files import read_lines, write_lines
from reconciler.kernel.starts.records import forget_gone
from reconciler.state.container_spec import HOLDER, LOST, OWN, PARKED
from reconciler.state.engines import ENGINES
from reconciler.state.engines.docker import create_body, holder_body
from reconciler.state.engines.pause import ARCHITECTURES, PAUSE_CHANGES, PAUSE_IMAGE, PAUSE_REPOSITORY, PAUSE_TAG, pause_archive
from reconciler.state.grammar import is_label
from reconciler.state.members import Member, Selector, find_members
from reconciler.state.ref import container_netns, hosts_path, netns_path
from reconciler.state.snapshot import ContainerInfo, HolderInfo
from reconciler.state.spec_label import (
    HOLDER_ROLE,
    HOST_LABEL,
    NAME_LABEL,
    NETWORK_LABEL,
    ROLE_LABEL,
    TOPOLOGY_LABEL,
    holder_labels_of,
    labels_of,
    network_of,
    path_label_of,
)
from reconciler.state.steps.containers import ContainerCreate, HolderCreate, HostsWrite

if TYPE_CHECKING:
    from docker import APIClient

CONFLICT = 409  # HTTP status
STOP_TIMEOUT_S = 10
"""The time that a container may take to end before it is killed: the default of `docker stop`."""
ANSWER_MAX_BYTES = 1 << 20
"""The limit of the answer to whether there is anything; the rest is not read."""


class DockerEngine(DockerStarts):
    """An engine with Docker's API, for one topology on one host. Threads may share it."""

    # --- reading ------------------------------------------------------------------------------------------------------

    def holds_any(self) -> bool:
        """Whether an engine with containers of the topology listens here, or does not answer.

        It sends one plain request and parses little, 2 ms: every command asks it, even for topologies without
        containers.
        """
        if not self._path.startswith("/"):
            return False
        if self.is_silent:
            return any(self._is_the_topologys(one.name, one.labels) for one in self._read_listed())
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

    def read_containers(
        self, existing: Mapping[str, str], members: Mapping[str, Selector] | None = None
    ) -> tuple[ContainerInfo, ...]:
        """The topology's containers on this host, parked ones too, the `existing` ones that exist, and the `members`."""
        names = {engine_name: container for container, engine_name in existing.items()}
        found: list[ContainerInfo] = []
        everything = self._read_listed()
        holders = {listed.identity: listed.labels[NAME_LABEL] for listed in self._own_holders(everything)}
        for listed in everything:
            if not self._is_ours(listed.name, listed.labels):
                found += self._existing_of(listed, names, members or {})
            elif not listed.is_holder:
                found.append(self._own_of(listed, holders))
        return tuple(sorted(found, key=lambda info: (info.container, info.engine_name)))

    def _own_of(self, listed: Listed, holders: Mapping[str, str]) -> ContainerInfo:
        pid = self._read_pid(listed) if listed.state == "running" else 0
        network, share = self._network_of(listed, holders)
        return ContainerInfo(
            runtime=self._runtime,
            container=listed.labels[NAME_LABEL],
            engine_name=listed.name,
            spec=listed.spec,
            running=pid > 0,
            pid=pid,
            existing=False,
            parked=listed.parked,
            network=network,
            share=share,
        )

    def _existing_of(self, listed: Listed, names: Mapping[str, str], selectors: Mapping[str, Selector]) -> list[ContainerInfo]:
        """What a container of another program is in the file: seldom anything, and seldom more than one thing."""
        roles: list[tuple[str, Member | None]] = [(names[listed.name], None)] if listed.name in names else []
        members = find_members(self._runtime, listed.name, listed.state, listed.labels, selectors)
        roles += [(one.name, one) for one in members if not (selectors[one.origin].is_service and self._is_from_image(listed))]
        pid = self._read_pid(listed) if roles and listed.state == "running" else 0
        return [existing_info(self._runtime, listed, name, member, pid) for name, member in roles]

    def read_holders(self) -> tuple[HolderInfo, ...]:
        """The topology's holders on this host that are not parked."""
        found = []
        for listed in self._own_holders(self._read_listed()):
            pid, hosts = self._read_holder(listed) if listed.state == "running" else (0, ())
            found.append(HolderInfo(self._runtime, listed.labels[NAME_LABEL], listed.name, listed.holder_spec, pid, hosts))
        return tuple(found)

    def _read_holder(self, listed: Listed) -> tuple[int, tuple[str, ...]]:
        """The process of a holder, 0 if it has just ended, and the lines of its /etc/hosts."""
        if listed.pid is not None:
            return listed.pid, read_lines(Path(listed.hosts_path)) if listed.pid else ()
        try:
            with self._asking():
                shown = self._inspect(listed.identity)
                pid, path = int(shown["State"]["Pid"]), Path(str(shown["HostsPath"]))
        except EngineError as error:
            if error.status == NOT_FOUND:
                return 0, ()
            raise
        return pid, read_lines(path) if pid else ()

    def _own_holders(self, everything: Iterable[Listed]) -> Iterator[Listed]:
        for listed in everything:
            if listed.is_holder and not listed.parked and self._is_ours(listed.name, listed.labels):
                yield listed

    def _network_of(self, listed: Listed, holders: Mapping[str, str]) -> tuple[str, str]:
        """The network of a container of netctl's, and the other container that it shares it with; `holders` are live, by id."""
        label = listed.labels.get(NETWORK_LABEL, "")
        held = path_label_of(self._topology, label) if self._joins_path else holders
        return network_of(label, listed.labels[NAME_LABEL], held)

    def _joins(self, step: ContainerCreate) -> str:
        """The label of what a new container joins: a path, or the id of its holder; "" for a namespace of its own."""
        if step.network == OWN:
            return ""
        if self._joins_path:
            return netns_path(self._topology, container_netns(step.owner))
        return self._find_own(f"{self._topology}-{step.owner}{HOLDER}").identity

    @property
    def _joins_path(self) -> bool:
        return ENGINES[self._runtime].joins_path

    def read_foreign(self) -> tuple[tuple[str, str], ...]:
        """Name and state of the containers that are not the topology's, on this host or on another of the lab."""
        listed = self._read_listed()
        return tuple((one.name, one.state) for one in listed if not self._is_the_topologys(one.name, one.labels))

    def _read_listed(self) -> tuple[Listed, ...]:
        if not (listed := self._read_stored()):
            with self._asking() as client:
                listed = tuple([parse_listed(item) for item in client.containers(all=True)])
        return with_starts(listed, self._read_starts())  # these are read last, because what they say is newer

    def forget_starts(self) -> None:
        """Delete the records of starts of containers that are gone."""
        if self._read_starts():
            forget_gone({listed.identity for listed in self._read_listed()})

    def _read_pid(self, listed: Listed) -> int:
        """The first process of a container; 0 if it has none, or has just ended."""
        if listed.pid is not None:
            return listed.pid
        try:
            return self._read_state(listed.identity)[0]
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
        suffix = HOLDER if labels.get(ROLE_LABEL) == HOLDER_ROLE else ""
        return (
            labels.get(TOPOLOGY_LABEL) == self._topology
            and is_label(container)
            and name.partition(PARKED)[0] == f"{self._topology}-{container}{suffix}"
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
            elif step.network == LOST:
                raise EngineError(f"cannot restore container {step.engine_name}: it is gone, and so is what held its network")
            else:
                joins = self._joins(step)
                labels = dict(labels_of(self._topology, self._host_key, step.container, step.spec, joins))
                hosts = hosts_path(self._topology, self._host_key, step.owner) if joins and self._joins_path else ""
                client.create_container_from_config(create_body(step.spec, labels, joins, hosts), step.engine_name)
        return 0 if step.network == LOST else self.start(step.engine_name)

    def create_holder(self, step: HolderCreate) -> int:
        """Create and start a holder, or restore its parked twin; the number of its process."""
        own = (one for one in self._read_listed() if one.parked and one.is_holder and self._is_ours(one.name, one.labels))
        wanted = step.container, step.shares
        twin = next((one.identity for one in own if (one.labels[NAME_LABEL], one.holder_spec) == wanted), "")
        with self._asking() as client:
            if twin:
                client.rename(twin, step.engine_name)
            else:
                labels = holder_labels_of(self._topology, self._host_key, step.container, step.shares)
                self._import_pause(client)
                client.create_container_from_config(holder_body(step.shares, dict(labels)), step.engine_name)
        return self.start(step.engine_name)

    def write_hosts(self, step: HostsWrite) -> None:
        """Write the /etc/hosts of a holder, and so of each container that joins it."""
        write_lines(self._hosts_path(self._find_own(step.holder).identity), step.lines)

    def find_resolv_conf(self, engine_name: str) -> Path | None:
        """The file of the host that a container, netctl's or another's, has as /etc/resolv.conf; None if it has none."""
        with self._asking():
            path = str(self._inspect(engine_name).get("ResolvConfPath") or "")
        return Path(path) if path else None

    def _hosts_path(self, identity: str) -> Path:
        with self._asking():
            return Path(str(self._inspect(identity)["HostsPath"]))

    def _import_pause(self, client: APIClient) -> None:
        """Make the image of holders, if the engine has none."""
        with self._importing:
            if self._has_image(PAUSE_IMAGE):
                return
            name = str(client.version()["Arch"])
            if name not in ARCHITECTURES:
                raise EngineError(
                    f"netctl has no holder of network namespaces for the architecture {name}", "choose another `runtime`"
                )
            archive = pause_archive(ARCHITECTURES[name].program)
            client.import_image_from_data(archive, repository=PAUSE_REPOSITORY, tag=PAUSE_TAG, changes=list(PAUSE_CHANGES))

    def start(self, engine_name: str) -> int:
        """Start a container of netctl's; the number of its first process. EngineError also if it ends at once."""
        identity = self._find_own(engine_name).identity
        with self._asking() as client:
            client.start(identity)
        pid, status = self._read_state(identity)
        if not pid:
            raise EngineError(
                f"container {engine_name} ended at once, with status {status}",
                f"run `{self._runtime} logs {engine_name}` to read why",
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

    def remove_pause(self) -> None:
        """Delete the image of holders, unless one of another topology uses it."""
        try:
            with self._asking() as client:
                client.remove_image(PAUSE_IMAGE)
        except EngineError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise

    def _find_parked(self, step: ContainerCreate, listed: Iterable[Listed]) -> str:
        """The id of the parked container of the same name, specification and network; "" if there is none."""
        twins = [
            one
            for one in listed
            if one.parked
            and not one.is_holder
            and self._is_ours(one.name, one.labels)
            and (one.labels[NAME_LABEL], one.spec) == (step.container, step.spec)
        ]
        if not twins:
            return ""
        if step.network == LOST:
            return next((one.identity for one in twins if one.labels.get(NETWORK_LABEL)), "")
        joins = self._joins(step)
        return next((one.identity for one in twins if one.labels.get(NETWORK_LABEL, "") == joins), "")

    def _find_own(self, engine_name: str) -> Listed:
        """A container, after a check of its labels: a foreign container is never changed."""
        with self._asking():
            found = self._inspect(engine_name)
            labels, identity = parse_labels(found["Config"]["Labels"] or {}), str(found["Id"])
        if not self._is_ours(engine_name, labels):
            raise EngineError(f"container {engine_name} is not one of netctl's, so netctl does not change it")
        return Listed(identity, engine_name, "", labels)


def _read_answer(connection: socket.socket) -> bytes:
    """All data, up to the amount that shows that it is more than an empty list."""
    parts, length = [], 0
    while (part := connection.recv(1 << 16)) and length < ANSWER_MAX_BYTES:
        parts.append(part)
        length += len(part)
    return b"".join(parts)
