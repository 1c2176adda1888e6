"""The input of expectations: the topology, and the addresses that were chosen for it.

The addresses come from `compile.resolve`, like the records of an apply. So the probes test what apply creates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_interface
from typing import TypedDict

from reconciler.compile.model import Endpoint, HostSubnet, Resolved
from reconciler.compile.policy_routes import joined_subnets
from reconciler.state.host import HostFacts
from reconciler.state.lab import OUTSIDE_INTERFACES
from reconciler.state.ref import HOST, container_netns
from reconciler.topology.types import Attachment, Container, Party, Policy, Subnet, Topology

OUTSIDE: dict[int, str] = {interface.version: str(interface.ip) for interface in OUTSIDE_INTERFACES}
"""The lab's world outside."""


class Origin(TypedDict):
    """Where a probe starts: the fields of `ProbeBase` that say so."""

    host: str
    netns: str
    source: str


def origin_of(container: Container) -> Origin:
    """A container."""
    return Origin(host=container.host, netns=container_netns(container.name), source=container.name)


def host_origin(host: str) -> Origin:
    """A host's own namespace."""
    return Origin(host=host, netns=HOST, source=f"host {host}")


@dataclass(frozen=True)  # no slots: cached_property keeps its values in the instance
class View:
    """A topology with its addresses. Addresses are text without prefix; families are 4 and 6."""

    topology: Topology
    resolved: Resolved
    facts: Mapping[str, HostFacts]

    @cached_property
    def _endpoints(self) -> dict[tuple[str, str], Endpoint]:
        return {
            (endpoint.container, endpoint.subnet): endpoint
            for endpoints in self.resolved.endpoints.values()
            for endpoint in endpoints
        }

    def addresses(self, container: Container, attachment: Attachment) -> tuple[str, ...]:
        """The container's own addresses in a subnet, one per family."""
        endpoint = self._endpoints.get((container.name, attachment.subnet))
        if attachment.dhcp and (facts := self.facts.get(container.host)):
            key = (attachment.subnet, container.name)
            return tuple(lease.address for lease in facts.leases if (lease.subnet, lease.container) == key)
        return tuple(own.address for own in endpoint.addresses) if endpoint else ()

    def _host_subnet(self, host: str, subnet: str) -> HostSubnet | None:
        return self.resolved.host_subnets.get(host, {}).get(subnet)

    def hosts(self, subnet: str) -> tuple[str, ...]:
        """The hosts with a host subnet in the subnet, in the order of the file."""
        return tuple(host for host, host_subnets in self.resolved.host_subnets.items() if subnet in host_subnets)

    def is_routed_to(self, host: str, container: Container, subnet: str) -> bool:
        """Whether packets from the host to the container leave by its uplink, without encapsulation."""
        host_subnet = self._host_subnet(host, subnet)
        peers = host_subnet.peers if host_subnet else ()
        return any(peer.host == container.host and peer.overlay == "routes" for peer in peers)

    def bridge(self, host: str, subnet: str) -> str:
        """The host's bridge in a subnet; "" if it has none."""
        host_subnet = self._host_subnet(host, subnet)
        return host_subnet.bridge if host_subnet else ""

    def bridge_mac(self, host: str, subnet: str) -> str:
        """The hardware address of that bridge, which is the containers' gateway; "" if there is none."""
        host_subnet = self._host_subnet(host, subnet)
        return host_subnet.mac if host_subnet else ""

    def bridge_over_uplink(self, host: str) -> str:
        """The bridge of netctl's that has the host's uplink as a port; "" if none has."""
        facts = self.facts.get(host)
        host_subnets = self.resolved.host_subnets.get(host, {}).values()
        taken = (
            host_subnet
            for host_subnet in host_subnets
            if host_subnet.lan and host_subnet.lan.is_taken_in and facts and host_subnet.lan.uplink == facts.uplink
        )
        return next((host_subnet.bridge for host_subnet in taken), "")

    def mtu(self, container: Container, attachment: Attachment) -> int:
        """The MTU of the container's interface in a subnet; 0 if unknown."""
        host_subnet = self._host_subnet(container.host, attachment.subnet)
        return host_subnet.mtu if host_subnet else 0

    def gateways(self, host: str, subnet: Subnet) -> tuple[str, ...]:
        """The host's own addresses in a subnet; in a LAN, those by which its containers there reach it."""
        host_subnet = self._host_subnet(host, subnet.name)
        if host_subnet and host_subnet.lan:
            return tuple(own.address for own in host_subnet.lan.own)
        return tuple(own.address for own in host_subnet.addresses) if host_subnet else ()

    def has_router(self, host: str, subnet: str, family: int) -> bool:
        """Whether the LAN has a known gateway."""
        host_subnet = self._host_subnet(host, subnet)
        return bool(host_subnet and host_subnet.lan and host_subnet.lan.router(family))

    def host_addresses(self, host: str) -> tuple[str, ...]:
        """The addresses where others reach the host: the file's, else its first global address of each family."""
        declared = tuple(str(address) for address in self.topology.hosts[host].addresses)
        if declared:
            return declared
        facts = self.facts.get(host)
        first: dict[int, str] = {}
        for cidr in facts.addresses if facts else ():
            address = ip_interface(cidr).ip
            if not (address.is_loopback or address.is_link_local):
                first.setdefault(address.version, str(address))
        return tuple(first.values())

    def is_lab(self, host: str) -> bool:
        """Whether the host is a namespace on this machine, with a router and an outside that can send probes."""
        return self.topology.hosts[host].connect.scheme == "lab"

    def subnet(self, attachment: Attachment) -> Subnet:
        """The subnet of an attachment."""
        return self.topology.subnets[attachment.subnet]

    def members(self, subnet: str) -> tuple[tuple[Container, Attachment], ...]:
        """The members of a subnet, in the order of the file."""
        found = ((c, a) for c in self.topology.containers.values() for a in c.attachments if a.subnet == subnet)
        return tuple(found)

    def shared(self, one: Container, own: Attachment, two: Container, attachment: Attachment) -> tuple[str, ...]:
        """The second one's addresses in a subnet, of the families that the first also has there."""
        families = {family_of(address) for address in self.addresses(one, own)}
        return tuple(address for address in self.addresses(two, attachment) if family_of(address) in families)

    def default(self, container: Container) -> Attachment | None:
        """The attachment that carries the default routes."""
        return next((a for a in container.attachments if a.default), None)

    def source_address(self, container: Container, family: int, target: str = "") -> str:
        """The source address of a container towards the subnet `target`, or a host; "" if it has none."""
        attachments = [each for each in container.attachments if each.default]
        if any(self.subnet(each).is_lan for each in attachments) and target in joined_subnets(self.topology, container):
            attachments = [each for each in container.attachments if not self.subnet(each).is_lan] + attachments
        addresses = (address for each in attachments for address in self.addresses(container, each))
        return next((address for address in addresses if family_of(address) == family), "")

    def is_on_lan(self, container: Container, address: str) -> bool:
        """Whether the container has the address in a LAN."""
        lans = (each for each in container.attachments if self.subnet(each).is_lan)
        return any(address in self.addresses(container, each) for each in lans)

    def policies(self, source: tuple[str, Container | None, str], target: tuple[str, Container | None, str]) -> Iterator[Policy]:
        """The policies that allow traffic from `source` to `target`, each a (kind of party, container, address)."""
        for policy in self.topology.policies:
            if self._is(policy.source, *source) and self._is(policy.target, *target):
                yield policy

    def _is(self, party: Party, kind: str, container: Container | None, address: str) -> bool:
        if party.kind == "container":
            return container is not None and container.origin == party.name
        if party.kind == "subnet":
            return bool(address) and any(ip_address(address) in cidr for cidr in self.topology.subnets[party.name].cidrs)
        return party.kind == kind


def meets_host(subnet: Subnet, attachment: Attachment) -> bool:
    """Whether a host and its container in the subnet can communicate.

    Not with a macvlan that is not in mode bridge. The host also has no route to one whose address the LAN gives.
    """
    return subnet.mode != "macvlan" or (subnet.macvlan == "bridge" and not attachment.dhcp)


def members_meet(subnet: Subnet) -> bool:
    """Whether members on one host certainly reach each other; with a VEPA, that depends on the switch."""
    return subnet.mode != "macvlan" or subnet.macvlan == "bridge"


def are_isolated(own: Attachment, attachment: Attachment) -> bool:
    """Whether two endpoints are isolated ports of one subnet; an endpoint and itself count, too."""
    return own.isolated and attachment.isolated and own.subnet == attachment.subnet


def are_parted(one: Container, own: Attachment, two: Container, attachment: Attachment) -> bool:
    """Whether two endpoints are isolated ports of one bridge; an endpoint and itself count, too."""
    return one.host == two.host and are_isolated(own, attachment)


def family_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def token_of(view: View, container: Container) -> str:
    """The answer of a listener in the container."""
    return f"netctl {view.topology.name} {container.name}"
