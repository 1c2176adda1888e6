"""Docker's words for a container: those of its command line, which Podman takes, too, and those of its API. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.state.container_spec import ContainerSpec
from reconciler.state.engines.base import ContainerOrder, EngineCommands
from reconciler.state.engines.run_options import held_options
from reconciler.state.shell import join
from reconciler.state.spec_label import labels_of


class DockerCommands(EngineCommands):
    """Of Docker, and of every engine that takes its words."""

    __slots__ = ()

    def create(self, command: tuple[str, ...], order: ContainerOrder) -> Iterator[str]:
        """Two lines, as `docker run` would wait for the container."""
        labels = labels_of(order.topology, order.host_key, order.container, order.spec, order.joins)
        name = ["--name", order.engine_name, "--network", network_mode(order.joins)]
        yield join([*command, "create", *name, *create_words(order.spec, labels)])
        yield join([*command, "start", order.engine_name])

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
    """The network of a container, in the words of the API and of the command line."""
    return f"ns:{joins}" if joins else "none"


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


def create_body(spec: ContainerSpec, labels: Mapping[str, str], joins: str = "") -> dict[str, Any]:
    """The body of POST /containers/create, which says the same."""
    policy, _, retries = spec.restart.partition(":")
    container: dict[str, Any] = {"Image": spec.image}
    host: dict[str, Any] = {
        "NetworkMode": network_mode(joins),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)},
    }
    for option, value in held_options(spec):
        body = option.body(value)
        container |= body.container
        host |= body.host
    if spec.entrypoint:
        container["Entrypoint"] = list(spec.entrypoint)
    if spec.command:
        container["Cmd"] = list(spec.command)
    return container | {"Labels": container.get("Labels", {}) | dict(labels), "HostConfig": host}
