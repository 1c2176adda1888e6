"""Docker's words for a container: those of its command line, and those of its API. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.state.container_spec import ContainerSpec, HolderSpec
from reconciler.state.engines.base import ContainerOrder, EngineCommands
from reconciler.state.engines.pause import ARCHITECTURES, PAUSE_CHANGES, PAUSE_IMAGE, PROGRAM
from reconciler.state.engines.run_options import held_options
from reconciler.state.ref import hosts_path
from reconciler.state.shell import join
from reconciler.state.spec_label import NETWORK_LABEL, labels_of


class DockerCommands(EngineCommands):
    """Of Docker, and of every engine that takes its words."""

    __slots__ = ()

    def create(self, command: tuple[str, ...], order: ContainerOrder) -> Iterator[str]:
        """Two lines, as `docker run` would wait for the container."""
        path = order.joins if self.joins_path else ""
        labels = labels_of(order.topology, order.host_key, order.container, order.spec, path)
        name = ["--name", order.engine_name, "--network", network_mode(order.joins)]
        if path and not order.spec.has_own_hosts:
            hosts = hosts_path(order.topology, order.host_key, order.owner)
            name += ["--mount", f"type=bind,source={hosts},target=/etc/hosts"]
        line = join([*command, "create"])
        if order.joins and not path:
            identity = join([*command, "inspect", "-f", "{{.Id}}", order.joins])
            line += f' --label "{NETWORK_LABEL}=$({identity})"'
        yield f"{line} {join([*name, *create_words(order.spec, labels)])}"
        yield join([*command, "start", order.engine_name])

    def hold(
        self, command: tuple[str, ...], engine_name: str, spec: HolderSpec, labels: tuple[tuple[str, str], ...]
    ) -> Iterator[str]:
        """The image, if it is missing: its program in machine code, by the architecture of the machine."""
        yield f"if ! {join([*command, 'image', 'inspect', PAUSE_IMAGE])} >/dev/null 2>&1; then"
        yield "    directory=$(mktemp -d)"
        yield "    case $(uname -m) in"
        for each in ARCHITECTURES.values():
            octal = "".join(f"\\{byte:03o}" for byte in each.program)
            yield f"    {each.machine}) printf '{octal}' >\"$directory/{PROGRAM}\" ;;"
        yield "    esac"
        yield f'    chmod 755 "$directory/{PROGRAM}"'
        changes = [word for change in PAUSE_CHANGES for word in ("--change", change)]
        yield f'    tar -C "$directory" -c {PROGRAM} | {join([*command, "import", *changes, "-", PAUSE_IMAGE])} >/dev/null'
        yield '    rm -r "$directory"'
        yield "fi"
        words = [word for label, value in labels for word in ("--label", f"{label}={value}")]
        words += [
            "--hostname",
            spec.hostname,
            "--network",
            "none",
            "--restart",
            "no",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--log-driver",
            "none",
        ]
        yield join([*command, "create", "--name", engine_name, *words, PAUSE_IMAGE])
        yield join([*command, "start", engine_name])

    def start(self, command: tuple[str, ...], engine_name: str) -> str:
        """`docker start`."""
        return join([*command, "start", engine_name])

    def stop(self, command: tuple[str, ...], engine_name: str) -> str:
        """`docker stop`."""
        return join([*command, "stop", engine_name])

    def remove(self, command: tuple[str, ...], engine_name: str) -> Iterator[str]:
        """`docker rm`, which stops it first."""
        yield join([*command, "rm", "--force", engine_name])

    def pid(self, command: tuple[str, ...], engine_name: str) -> str:
        """`docker inspect`."""
        return join([*command, "inspect", "-f", "{{.State.Pid}}", engine_name])

    def logs(self, engine_name: str) -> str:
        """`docker logs`."""
        return f"{self.program} logs {engine_name}"

    def start_words(self, engine_name: str) -> str:
        """`docker start`."""
        return f"{self.program} start {engine_name}"


def network_mode(joins: str) -> str:
    """The network of a container that joins a path or another container, in the words of the API and of the command line."""
    if not joins:
        return "none"
    return f"ns:{joins}" if joins.startswith("/") else f"container:{joins}"


def create_words(spec: ContainerSpec, labels: tuple[tuple[str, str], ...]) -> list[str]:
    """The options of `docker create`, then image and command. What the file leaves out is the image's own."""
    words = [word for label, value in labels for word in ("--label", f"{label}={value}")]
    words += [word for option, value in held_options(spec) for word in option.words(value)]
    if spec.restart != "no":
        words += ["--restart", spec.restart]
    # The option takes the program alone.
    if spec.entrypoint:
        words += ["--entrypoint", spec.entrypoint[0]]
    return [*words, spec.image, *spec.entrypoint[1:], *spec.command]


def holder_body(spec: HolderSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    """The body of POST /containers/create for a holder: it may do nothing, and has no network but a loopback.

    A limit of processes would count the threads of runc's own start, which then fails now and then: "cannot start a
    stopped process".
    """
    return {
        "Image": PAUSE_IMAGE,
        "Hostname": spec.hostname,
        "Labels": dict(labels),
        "HostConfig": {
            "NetworkMode": "none",
            "RestartPolicy": {"Name": "no"},
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "LogConfig": {"Type": "none"},
        },
    }


def create_body(spec: ContainerSpec, labels: Mapping[str, str], joins: str = "", hosts: str = "") -> dict[str, Any]:
    """The body of POST /containers/create, which says the same; `hosts` is the path of its /etc/hosts, "" for its engine's."""
    policy, _, retries = spec.restart.partition(":")
    container: dict[str, Any] = {"Image": spec.image}
    host: dict[str, Any] = {
        "NetworkMode": network_mode(joins),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)},
    }
    if hosts and not spec.has_own_hosts:
        host["Mounts"] = [{"Type": "bind", "Source": hosts, "Target": "/etc/hosts"}]
    for option, value in held_options(spec):
        body = option.body(value)
        container |= body.container
        host |= body.host
    if spec.entrypoint:
        container["Entrypoint"] = list(spec.entrypoint)
    if spec.command:
        container["Cmd"] = list(spec.command)
    return container | {"Labels": container.get("Labels", {}) | dict(labels), "HostConfig": host}
