"""One host, as `compile` sees it: the file, what it resolves to, and what was read of every host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.compile.model import Leg, Place, Resolved
from reconciler.compile.underlay import uplink_mac_of, uplink_of
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts
from reconciler.state.ref import HOST, Ref
from reconciler.topology.types import Host, Subnet, Topology


@dataclass(frozen=True, slots=True)
class WayOut:
    """The interface that has the host's addresses, and where that is a bridge, what brought them there."""

    dev: str
    uplink: Ref | None = None
    bridge: Ref | None = None
    about: str = ""
    """Whose the bridge is, for people: `subnet lan`."""


@dataclass(frozen=True, slots=True)
class HostView:
    """What the records of the host `name` are made from; `known` are the facts of all hosts, by name."""

    topology: Topology
    resolved: Resolved
    name: str
    known: Mapping[str, HostFacts]

    @property
    def host(self) -> Host:
        """The host in the file."""
        return self.topology.hosts[self.name]

    @property
    def facts(self) -> HostFacts:
        """What was read of it."""
        return self.known[self.name]

    @property
    def legs(self) -> Mapping[str, Leg]:
        """Its legs, by subnet."""
        return self.resolved.legs[self.name]

    @property
    def containers(self) -> tuple[str, ...]:
        """The names of its containers."""
        return self.resolved.containers.get(self.name, ())

    @property
    def way_out(self) -> WayOut:
        """How the host reaches others: by its uplink, or by the bridge that has the uplink's place."""
        name = uplink_of(self.host, self.facts)
        taken_in = (leg for leg in self.legs.values() if leg.lan and leg.lan.is_taken_in and leg.lan.uplink == name)
        leg = next(taken_in, None)
        return WayOut(leg.bridge, Uplink.ref_of(HOST, name), leg.ref, f"subnet {leg.subnet}") if leg else WayOut(name)

    @property
    def uplink_mac(self) -> str:
        """The hardware address by which its neighbours know its packets."""
        return uplink_mac_of(self.topology.name, self.host, self.facts)

    def subnet(self, where: Leg | Place) -> Subnet:
        """The subnet of a leg or a place."""
        return self.topology.subnets[where.subnet]

    def places(self, subnet: str) -> tuple[Place, ...]:
        """Those of its containers in a subnet."""
        return self.resolved.members.get((self.name, subnet), ())

    def beside(self, host: str) -> HostView:
        """The view of another host."""
        return replace(self, name=host)
