"""A container of an engine (Docker, or one with its API): created by netctl without a network, or an existing one.

netctl recognises its own by labels: `netctl.topology` and `netctl.name` name the owner, `netctl.spec` the
specification, which only a new container can change. A re-creation can be undone: netctl parks the old container (stops
and renames it) until every host has succeeded. Creating a container whose parked twin exists restores the twin.

A container that the file calls `existing` gets links, but is never created, started, stopped or deleted. The topology
owns only these links. So netctl recognises the container by an owned link, and it has no steps of its own.

A container that an engine restarts gets a new namespace, and its links are deleted with the old one. The container
itself is unchanged: its links, addresses and routes are missing, and are re-created.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from reconciler.kinds.identity import container_ref
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.marks import bears_tag
from reconciler.kinds.settings.link_settings import LINK_DEFAULTS, interface_key
from reconciler.state.container_spec import ContainerSpec
from reconciler.state.engines import ENGINES
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.steps.containers import ContainerCreate, ContainerPark, ContainerStart, ContainerStop
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFacts, Part, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContainer(Record):
    """The engine's container `engine_name`. Its namespace `netns` is that of the topology's `container`."""

    kind = "container"
    root_of = ("container",)
    dies_with_parent = False

    container: str
    engine_name: str
    runtime: str
    spec: ContainerSpec | None = None
    """Its specification; None for one that netctl did not create."""
    existing: bool = False
    running: bool = True

    @classmethod
    def ref_of(cls, container: str) -> Ref:
        """The identity of such a record."""
        return container_ref(container_netns(container))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.container)

    def phrase(self, _facts: InterfaceFacts) -> Phrase:
        return Phrase(Part.ENGINE, self.describe())

    def describe(self) -> str:
        image = f" ({self.spec.image})" if self.spec and self.spec.image else ""
        whose = "existing " if self.existing else ""
        return f"{whose}{self.runtime} container {self.engine_name}{image}{'' if self.running else ', stopped'}"

    def is_ended(self, live: Record | None) -> bool:
        # The owner of an existing container may start and stop it at any time.
        return self.running and not self.existing and not (isinstance(live, EngineContainer) and live.running)

    @property
    def logs_help(self) -> str:
        return f"run `{ENGINES[self.runtime].logs(self.engine_name)}` to read why"

    def masked(self) -> Self:
        return replace(self, spec=self.spec and self.spec.masked())

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        wired = find_wired(snapshot)
        for info in snapshot.containers:
            if info.parked or (info.existing and info.container not in wired):
                continue
            yield cls(
                netns=container_netns(info.container),
                container=info.container,
                engine_name=info.engine_name,
                runtime=info.runtime,
                spec=None if info.existing else info.spec,
                existing=info.existing,
                running=info.running,
            )

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        return () if self.existing else (*LINK_DEFAULTS, interface_key(6, "lo", "disable_ipv6"))

    def must_recreate(self, before: Self) -> bool:
        # An existing container can only be started or stopped.
        return (self.engine_name, self.runtime, self.spec, self.existing) != (
            before.engine_name,
            before.runtime,
            before.spec,
            before.existing,
        )

    def lower_create(self) -> tuple[Step, ...]:
        if self.existing or self.spec is None:
            return ()
        create = ContainerCreate(self.netns, self.container, self.engine_name, self.spec)
        return (create,) if self.running else (create, ContainerStop(self.netns, self.runtime, self.engine_name))

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        if self.existing:
            return ()
        step = ContainerStart if self.running else ContainerStop
        return (step(self.netns, self.runtime, self.engine_name),)

    def lower_delete(self) -> tuple[Step, ...]:
        if self.existing:
            return ()
        return (ContainerPark(self.netns, self.runtime, self.engine_name),)


def find_wired(snapshot: Snapshot) -> frozenset[str]:
    """The containers with a link of the topology, by the aliases of the host's links, and of macvlans in containers."""
    aliases = (
        parse_alias(link.alias)
        for link in snapshot.namespaces.get(HOST, NamespaceInfo()).links.values()
        if link.alias and bears_tag(snapshot.topology, link)
    )
    inside = frozenset(link.alias.name for link in Macvlan.find_own(snapshot) if link.alias and link.alias.kind == Macvlan.kind)
    return inside | {a.name for a in aliases if a and a.topology == snapshot.topology and a.kind == "veth"}
