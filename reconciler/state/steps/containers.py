"""Steps on containers: those of an engine, and the commands that run in bare namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from reconciler.state.container_spec import HOLDER, OWN, ContainerSpec, HolderSpec
from reconciler.state.engines import ENGINES, HOLDING
from reconciler.state.engines.base import ContainerOrder
from reconciler.state.process_mark import PROCESS_MARK, Owner, marks_of, words_of
from reconciler.state.ref import container_netns, hosts_path, netns_path, netns_path_name, resolv_path
from reconciler.state.secrets import mask_env
from reconciler.state.shell import HostShell, join, quote
from reconciler.state.spec_label import holder_labels_of
from reconciler.state.steps.backends import PROCESS, RUNTIME
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class ContainerCreate(Step):
    """Create and start a container with netctl's labels in the namespace `netns`, or with one of its own and nothing in it.

    If a parked container of that name and `spec` exists, the engine restores it instead. This undoes the re-creation of
    a container.
    """

    backend = RUNTIME
    container: str
    engine_name: str
    spec: ContainerSpec
    network: str = OWN
    """The network namespace that it is created for (`state.container_spec`)."""
    share: str = ""
    """The container for which that namespace is held, if it is another one."""

    @property
    def owner(self) -> str:
        """The container for which the namespace is held."""
        return self.share or self.container

    def masked(self) -> Self:
        return replace(self, spec=self.spec.masked())

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = netns_path(shell.topology, container_netns(self.owner))
        held = path if ENGINES[self.spec.runtime].joins_path else f"{shell.topology}-{self.owner}{HOLDER}"
        joins = "" if self.network == OWN else held
        order = ContainerOrder(self.container, self.engine_name, self.spec, shell.topology, shell.host_key, joins, self.owner)
        yield from ENGINES[self.spec.runtime].create(shell.engine(self.netns, self.spec.runtime), order)


@dataclass(frozen=True, slots=True)
class HolderCreate(Step):
    """Create and start a container that holds the namespace `netns`, or restore a parked one that `shares` the same."""

    backend = RUNTIME
    container: str
    runtime: str
    engine_name: str
    shares: HolderSpec

    def commands(self, shell: HostShell) -> Iterator[str]:
        labels = holder_labels_of(shell.topology, shell.host_key, self.container, self.shares)
        yield from ENGINES[self.runtime].hold(shell.engine(self.netns, self.runtime), self.engine_name, self.shares, labels)


HOSTS_END = "# netctl keeps the lines below"
"""The last line of netctl's in a hosts file: programs of the container may add others after it."""


@dataclass(frozen=True, slots=True)
class HostsWrite(Step):
    """Write the /etc/hosts of a container in place: that of its `holder`, or if it has none, a file under /run/netctl."""

    backend = RUNTIME
    container: str
    holder: str
    lines: tuple[str, ...]

    def commands(self, shell: HostShell) -> Iterator[str]:
        text = "".join(f"{line}\n" for line in (*self.lines, HOSTS_END))
        if self.holder:
            command = (*shell.engine(self.netns, HOLDING), "inspect", "-f", "{{.HostsPath}}", self.holder)
            yield f'printf %s {quote(text)} >"$({join(command)})"'
            return
        path = hosts_path(shell.topology, shell.host_key, self.container)
        yield join(["mkdir", "-p", path.rpartition("/")[0]])
        yield f"printf %s {quote(text)} >{quote(path)}"


@dataclass(frozen=True, slots=True)
class HostsDelete(Step):
    """Delete the file under /run/netctl that a container had as /etc/hosts."""

    backend = RUNTIME
    container: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        path = hosts_path(shell.topology, shell.host_key, self.container)
        yield join(["rm", "-f", path])
        yield f"{join(['rmdir', path.rpartition('/')[0]])} 2>/dev/null || true"


@dataclass(frozen=True, slots=True)
class ContainerStart(Step):
    """Start a stopped container. `owns_netns`: the namespace `netns` is the one of its processes."""

    backend = RUNTIME
    runtime: str
    engine_name: str
    owns_netns: bool = True

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield ENGINES[self.runtime].start(shell.engine(self.netns, self.runtime), self.engine_name)


@dataclass(frozen=True, slots=True)
class ContainerStop(Step):
    """Stop a running container: the inverse of ContainerStart."""

    backend = RUNTIME
    runtime: str
    engine_name: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield ENGINES[self.runtime].stop(shell.engine(self.netns, self.runtime), self.engine_name)


@dataclass(frozen=True, slots=True)
class ContainerPark(Step):
    """Stop a container and rename it, so that a rollback can restore it. netctl deletes it after the whole apply succeeded."""

    backend = RUNTIME
    runtime: str
    engine_name: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield "# apply parks it until every host has succeeded, then removes it"
        yield from ENGINES[self.runtime].remove(shell.engine(self.netns, self.runtime), self.engine_name)


@dataclass(frozen=True, slots=True)
class ProcessStart(Step):
    """Run `command` in the namespace: in a session of its own, marked in its environment, its output logged under /run/netctl.

    With `share`, it runs in the namespace of that other container.
    """

    backend = PROCESS
    container: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    share: str = ""
    has_resolv_conf: bool = False

    @property
    def place(self) -> str:
        """The namespace in which it runs."""
        return container_netns(self.share) if self.share else self.netns

    def masked(self) -> Self:
        return replace(self, env=mask_env(self.env))

    def commands(self, shell: HostShell) -> Iterator[str]:
        directory = f"/run/netctl/{shell.topology}"
        owner = Owner(shell.topology, self.container, self.share)
        log = quote(f"{directory}/{owner.log}")
        has = self.has_resolv_conf
        marks = marks_of(shell.topology, self.container, self.command, self.env, self.share, has_resolv_conf=has)
        path = resolv_path(shell.topology, shell.host_key, self.share or self.container) if has else ""
        words = ["setsid", "nsenter", f"--net=/run/netns/{netns_path_name(shell.topology, self.place)}", "env"]
        words += [f"{name}={value}" for name, value in (*self.env, *marks)]
        yield f"(umask 077; {join(['mkdir', '-p', directory])}; : >>{log})"
        yield f"{join([*words, *words_of(self.command, path)])} </dev/null >>{log} 2>&1 &"


@dataclass(frozen=True, slots=True)
class ProcessStop(Step):
    """End the processes that carry the container's mark: SIGTERM, then SIGKILL. They are in the network of `share`, if given."""

    backend = PROCESS
    container: str
    share: str = ""

    def commands(self, shell: HostShell) -> Iterator[str]:
        # Any process can have the mark, but only root can start one in the namespace.
        place = container_netns(self.share) if self.share else self.netns
        pids = join(["ip", "netns", "pids", netns_path_name(shell.topology, place)])
        mark = quote(f"{PROCESS_MARK}={Owner(shell.topology, self.container, self.share)}")
        yield f"for pid in $({pids} 2>/dev/null); do"
        yield f"    ! grep -qzxF {mark} /proc/$pid/environ 2>/dev/null || kill $pid 2>/dev/null || true"
        yield "done"
