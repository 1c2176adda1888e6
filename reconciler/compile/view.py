"""One host, as `compile` sees it: the file, its resolution, and the facts of every host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.compile.model import Endpoint, HostSubnet, Resolved
from reconciler.compile.underlay import uplink_mac_of, uplink_of
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts
from reconciler.state.ref import HOST, Ref
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.state.uapi import IPV6_MTU_MIN
from reconciler.topology.types import Host, Subnet, Topology


@dataclass(frozen=True, slots=True)
class Egress:
    """The interface with the host's addresses, and if that is a bridge, the record that moved them there."""

    dev: str
    uplink: Ref | None = None
    bridge: Ref | None = None
    about: Subject = HOST_SUBJECT
    """The owner of the bridge, for users: `subnet lan`."""


@dataclass(frozen=True, slots=True)
class HostView:
    """The input for the records of the host `name`; `known` are the facts of all hosts, by name."""

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
        """The facts of the host."""
        return self.known[self.name]

    @property
    def host_subnets(self) -> Mapping[str, HostSubnet]:
        """Its host subnets, by subnet."""
        return self.resolved.host_subnets[self.name]

    @property
    def containers(self) -> tuple[str, ...]:
        """The names of its containers."""
        return self.resolved.containers.get(self.name, ())

    @property
    def egress(self) -> Egress:
        """How the host reaches others: by its uplink, or by the bridge that replaces the uplink."""
        name = uplink_of(self.host, self.facts)
        taken_in = (
            host_subnet
            for host_subnet in self.host_subnets.values()
            if host_subnet.lan and host_subnet.lan.is_taken_in and host_subnet.lan.uplink == name
        )
        host_subnet = next(taken_in, None)
        return (
            Egress(host_subnet.bridge, Uplink.ref_of(HOST, name), host_subnet.ref, Subject.subnet(host_subnet.subnet))
            if host_subnet
            else Egress(name)
        )

    def has_ipv6(self, mtu: int) -> bool:
        """Whether the kernel has IPv6 on a link with this MTU, and the settings for it."""
        return self.facts.has_ipv6 and mtu >= IPV6_MTU_MIN

    @property
    def uplink_mac(self) -> str:
        """The hardware address by which its neighbours know its packets."""
        return uplink_mac_of(self.topology.name, self.host, self.facts)

    def subnet(self, where: HostSubnet | Endpoint) -> Subnet:
        """The subnet of a host subnet or an endpoint."""
        return self.topology.subnets[where.subnet]

    def endpoints(self, subnet: str) -> tuple[Endpoint, ...]:
        """Those of its containers in a subnet."""
        return self.resolved.members.get((self.name, subnet), ())

    def beside(self, host: str) -> HostView:
        """The view of another host."""
        return replace(self, name=host)
