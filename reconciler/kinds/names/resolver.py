"""A resolver: a dnsmasq process on a host that answers the containers of one subnet with the names that they may know.

It listens on the host's own addresses in the subnet, so it lives as long as the bridge and not as any container. A view
is the set of names that some containers may know. The view "" is that of the subnet, on port 53. Each other view has a
process of its own on another port, to which the firewall redirects the queries of its containers.

A shell starts dnsmasq again when it ends. The shell holds the mark in its environment, as that of a command does.
A dnsmasq without its shell has the port 0 here. It is a thing of its own, which is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

from reconciler.kinds.bridges import find_bridge
from reconciler.kinds.names.name_file import NameFile
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.resolver import ResolverConfig
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.names import ResolverStart, ResolverStop
from reconciler.state.steps.step import Step
from reconciler.state.subject import Subject
from reconciler.state.summary import InterfaceFacts, Part, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver(Record):
    """The resolver of a view of a subnet, and all that its command line says."""

    kind = "resolver"
    # A process survives the bridge whose addresses it has.
    dies_with_parent = False
    nouns: ClassVar[tuple[str, str] | None] = ("name server", "name servers")

    subnet: str
    view: str = ""
    bridge: str
    port: int
    domain: str
    zones: tuple[str, ...]
    """The domains of the topology's addresses, such as 0.44.10.in-addr.arpa."""
    upstream: tuple[str, ...]
    ttl_s: int
    link: Ref | None = field(default=None, compare=False)
    """The record that creates the bridge; None if unknown, in a live record."""

    @classmethod
    def ref_of(cls, subnet: str, view: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, HOST, f"{subnet} {view}".strip())

    @property
    def ref(self) -> Ref:
        ref = self.ref_of(self.subnet, self.view)
        return ref if self.port else ref._replace(name=f"{ref.name} left behind")

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link,) if self.link else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        return (NameFile.ref_of(self.subnet, self.view),)

    @property
    def subject(self) -> Subject:
        return Subject.subnet(self.subnet)

    @property
    def is_remnant(self) -> bool:
        return not self.port

    @property
    def config(self) -> ResolverConfig:
        """What its command line says."""
        return ResolverConfig(self.bridge, self.port, self.domain, self.zones, self.upstream, self.ttl_s)

    def phrase(self, _facts: InterfaceFacts) -> Phrase | None:
        return Phrase(Part.PORTS, "answers names") if self.port and not self.view else None

    def describe(self) -> str:
        if not self.port:
            return "name server that nothing would start again"
        return f"name server on {self.bridge}" + (f", port {self.port}" if self.view else "")

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for info in snapshot.resolvers:
            one = info.config
            yield cls(
                netns=HOST,
                subnet=info.subnet,
                view=info.view,
                bridge=one.bridge,
                port=one.port,
                domain=one.domain,
                zones=one.zones,
                upstream=one.upstream,
                ttl_s=one.ttl_s,
                link=find_bridge(snapshot, one.bridge),
            )

    def must_recreate(self, before: Self) -> bool:
        return True

    def lower_create(self) -> tuple[Step, ...]:
        return (ResolverStart(HOST, self.subnet, self.view, self.config),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (ResolverStop(HOST, self.subnet, self.view),)
