"""A container of an engine (Docker's, or one that speaks its language): made by netctl without a network, or somebody else's.

One of ours is recognised by its labels: `netctl.topology` and `netctl.name` say whose it is, `netctl.spec` what it was made
from, which only a new container can change. It is re-created in a way that can be undone: the old one is parked (stopped and
renamed) and stays until every host has succeeded; creating one whose parked twin is there brings the twin back.

A container that the file calls `existing` is wired, never made, started, stopped or removed. It is the topology's to the
extent that it is wired, so it is recognised by a link of ours, and has no steps of its own.

When an engine restarts a container it gets a new namespace, and its links are gone with the old one. The container itself
is unchanged by that: its links, addresses and routes are missing, and are made again.
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
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.steps.containers import ContainerCreate, ContainerPark, ContainerStart, ContainerStop
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFacts, Part, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContainer(Record):
    """The engine's container called `engine_name`, in whose namespace `netns` the topology's `container` lives."""

    kind = "container"
    root_of = ("container",)
    dies_with_parent = False

    container: str
    engine_name: str
    runtime: str
    spec: ContainerSpec | None = None
    """What it is made from; None where it exists without us."""
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
        """Whether it should run, and `live` does not. One that exists without us comes and goes as its owner likes."""
        return self.running and not self.existing and not (isinstance(live, EngineContainer) and live.running)

    @property
    def logs_help(self) -> str:
        """Where to read why it has ended."""
        command = f"lxc-start -n {self.engine_name} -F" if self.runtime == "lxc" else f"{self.runtime} logs {self.engine_name}"
        return f"`{command}` says why"

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
        # Only a start and a stop can be done to a container that is there.
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
    """The containers that have a link of the topology's own, by the aliases of the host's links, and of macvlans inside."""
    aliases = (
        parse_alias(link.alias)
        for link in snapshot.namespaces.get(HOST, NamespaceInfo()).links.values()
        if link.alias and bears_tag(snapshot.topology, link)
    )
    inside = frozenset(link.alias.name for link in Macvlan.find_own(snapshot) if link.alias and link.alias.kind == Macvlan.kind)
    return inside | {a.name for a in aliases if a and a.topology == snapshot.topology and a.kind == "veth"}
