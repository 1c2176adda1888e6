"""A container of an engine: created by netctl in a namespace that netctl holds, or an existing one.

netctl recognises its own by labels: `netctl.topology` and `netctl.name` name the owner, `netctl.spec` the
specification, which only a new container can change. A re-creation can be undone: netctl parks the old container (stops
and renames it) until every host has succeeded. Creating a container whose parked twin exists restores the twin.

A container that the file calls `existing` gets links, but is never created, started, stopped or deleted. The topology
owns only these links. So netctl recognises the container by an owned link, and it has no steps of its own.

netctl creates the namespace first (`kinds.netns`, or for Docker `kinds.engine.holder`), then all that is in it, and the
container last. So its first process has its network, and keeps it when an engine restarts the container. If what held
the namespace is gone meanwhile, the process still runs in the old one. netctl creates another, and then stops and
starts the container.

An existing container has a namespace of its own. If an engine restarts it, its links are deleted with the namespace:
they are missing, and are re-created. So it is with a container that an earlier version of netctl created, until the next
apply re-creates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from reconciler.kinds.identity import container_ref, holder_ref, netns_ref
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.marks import bears_tag
from reconciler.kinds.settings.link_settings import LINK_DEFAULTS, interface_key
from reconciler.state.container_spec import HELD, LOST, OWN, ContainerSpec
from reconciler.state.engines import ENGINES
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, Snapshot
from reconciler.state.steps.containers import ContainerCreate, ContainerPark, ContainerStart, ContainerStop
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFacts, Part, Phrase

NETWORKS = {OWN: "its own", HELD: "the one that netctl holds", LOST: "one that is gone"}
"""The words for each, in the reason of a change."""


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
    network: str = OWN
    """The network namespace that it was created for (`state.container_spec`)."""
    is_joined: bool = True
    """Whether its process is in the namespace that netctl holds for it; true if it does not run, or if none is held."""
    share: str = ""
    """The container for which that namespace is held, if it is another one: both have one network."""

    @classmethod
    def ref_of(cls, container: str) -> Ref:
        """The identity of such a record."""
        return container_ref(container_netns(container))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.container)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (holder_ref(self._held),) if self.network == HELD and not self._joins_path else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        # It does not depend on it: a process keeps its namespace when the file is deleted.
        return (netns_ref(self._held),) if self.network == HELD and self._joins_path else ()

    @property
    def _held(self) -> str:
        return container_netns(self.share or self.container)

    @property
    def _joins_path(self) -> bool:
        return ENGINES[self.runtime].joins_path

    @property
    def starts_last(self) -> bool:
        return self.network != OWN

    def reason_field(self, name: str) -> tuple[str, object]:
        if name == "network":
            return "network namespace", NETWORKS[self.network]
        if name == "is_joined":
            return "network namespace", NETWORKS[HELD] if self.is_joined else "another"
        return name, getattr(self, name)

    @property
    def as_made(self) -> Self:
        # It cannot be started again without what held its network.
        return replace(self, is_joined=True, running=self.running and self.network != LOST)

    def phrase(self, _facts: InterfaceFacts) -> Phrase:
        return Phrase(Part.ENGINE, self.describe())

    def describe(self) -> str:
        image = f" ({self.spec.image})" if self.spec and self.spec.image else ""
        whose = "existing " if self.existing else ""
        where = f" in the network of {self.share}" if self.share else ""
        return f"{whose}{self.runtime} container {self.engine_name}{image}{where}{'' if self.running else ', stopped'}"

    @property
    def label(self) -> str:
        return self.container

    def describe_drift(self, live: Record | None, reason: str) -> str:
        if live is None and self.existing:
            return f"{self.container} was restarted: its links are gone"
        if isinstance(live, EngineContainer) and self.running and not live.running:
            return f"{self.container} is stopped"
        return Record.describe_drift(self, live, reason)

    def is_ended(self, live: Record | None) -> bool:
        # The owner of an existing container may start and stop it at any time.
        return self.running and not self.existing and not (isinstance(live, EngineContainer) and live.running)

    @property
    def restarts_with_machine(self) -> bool:
        """Whether its restart policy starts it when the machine starts."""
        return self.spec is not None and self.spec.restart in ("always", "unless-stopped")

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
                network=info.network,
                is_joined=info.is_joined,
                share=info.share,
            )

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        if self.existing or self.network != OWN:
            return ()
        return (*LINK_DEFAULTS, interface_key(6, "lo", "disable_ipv6"))

    def must_recreate(self, before: Self) -> bool:
        # An existing container can only be started or stopped.
        return (self.engine_name, self.runtime, self.spec, self.existing, self.network, self.share) != (
            before.engine_name,
            before.runtime,
            before.spec,
            before.existing,
            before.network,
            before.share,
        )

    def lower_create(self) -> tuple[Step, ...]:
        if self.existing or self.spec is None:
            return ()
        create = ContainerCreate(self.netns, self.container, self.engine_name, self.spec, self.network, self.share)
        return (create,) if self.running else (create, self._stop())

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        if self.existing:
            return ()
        if not self.running:
            return (self._stop(),)
        # At each start, the engine joins the namespace as it is then.
        start = ContainerStart(self.netns, self.runtime, self.engine_name, owns_netns=self.network == OWN)
        return (self._stop(), start) if before.running else (start,)

    def _stop(self) -> ContainerStop:
        return ContainerStop(self.netns, self.runtime, self.engine_name)

    def lower_delete(self) -> tuple[Step, ...]:
        if self.existing:
            return ()
        return (ContainerPark(self.netns, self.runtime, self.engine_name),)


def find_wired(snapshot: Snapshot) -> frozenset[str]:
    """The containers with a link of the topology, by the aliases of the host's links, and of macvlans in containers.

    The link of a process that has just ended may still be there. It leads to none in the namespace of the next one.
    """
    aliases = (
        (link, parse_alias(link.alias))
        for link in snapshot.namespaces.get(HOST, NamespaceInfo()).links.values()
        if link.alias and bears_tag(snapshot.topology, link)
    )
    inside = frozenset(link.alias.name for link in Macvlan.find_own(snapshot) if link.alias and link.alias.kind == Macvlan.kind)
    return inside | {
        alias.name
        for link, alias in aliases
        if alias and alias.topology == snapshot.topology and alias.kind == "veth" and _leads_inside(snapshot, link, alias.name)
    }


def _leads_inside(snapshot: Snapshot, link: LinkInfo, container: str) -> bool:
    """Whether a link's other end is in the namespace of the container; also if the container has none now."""
    namespace = snapshot.namespaces.get(container_netns(container))
    end = namespace.links.get(link.peer) if namespace else None
    return namespace is None or (end is not None and end.peer == link.index)
