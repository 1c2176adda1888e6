"""How a subnet spans hosts: for each pair of its hosts the way from one to the other, and what there is room for in a packet.

Pure. `overlay: vxlan` goes everywhere; `routes` wants each host as a neighbour of each other; `auto` takes routes between
neighbours and VXLAN between the rest. A VXLAN speaks IPv4 where all hosts of the subnet have an IPv4 address, else IPv6;
routes need an underlay address of each family that the subnet has, for a packet is not encapsulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.compile.model import Assigned, RemoteHost, Tunnel
from reconciler.compile.underlay import address_of, share_link, underlay_of
from reconciler.errors import Fault
from reconciler.kinds.links.vxlan import OVERHEAD_BYTES
from reconciler.state.host import HostFacts
from reconciler.state.naming import interface_name, mac_of, vni_of
from reconciler.state.uapi import IPV6_MTU_MIN
from reconciler.topology.types import Subnet, Topology


@dataclass(frozen=True, slots=True)
class Span:
    """How a subnet spans its hosts: by host, its peers and its end of the VXLAN; and the MTU of the whole segment, in bytes."""

    mtu: int
    peers: Mapping[str, tuple[RemoteHost, ...]] = field(default_factory=dict)
    tunnels: Mapping[str, Tunnel] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def span_subnet(topology: Topology, subnet: Subnet, hosts: tuple[str, ...], facts: Mapping[str, HostFacts]) -> Span:
    """The ways between `hosts`, which have a leg in the subnet. Faults where there is no way, or no room for its packets."""
    if len(hosts) < 2:
        return Span(_mtu(subnet, hosts, facts, overhead=0))
    own = {host: underlay_of(topology.hosts[host], facts.get(host)) for host in hosts}
    family = next((family for family in (4, 6) if all(address_of(one, family) for one in own.values())), 0)
    faults: list[Fault] = []
    peers: dict[str, tuple[RemoteHost, ...]] = {}
    for host in hosts:
        found = [_way(subnet, other, own[host], own[other], family) for other in hosts if other != host]
        if not all(found):
            faults.append(_no_way(topology, subnet, host, own))
            break
        peers[host] = tuple(peer for peer in found if peer)
    tunnelled = [host for host, others in peers.items() if any(peer.is_tunnelled for peer in others)]
    mtu = _mtu(subnet, hosts, facts, overhead=OVERHEAD_BYTES[family] if tunnelled else 0)
    vteps = tuple(one.address for host in tunnelled if (one := address_of(own[host], family)))
    tunnels = {host: _tunnel(topology.name, subnet, host, vtep, vteps) for host, vtep in zip(tunnelled, vteps, strict=True)}
    if not faults:
        faults += _too_small(topology, subnet, hosts, facts, OVERHEAD_BYTES[family] if tunnelled else 0)
    return Span(mtu, peers, tunnels, tuple(faults))


def _way(subnet: Subnet, other: str, here: tuple[Assigned, ...], there: tuple[Assigned, ...], family: int) -> RemoteHost | None:
    """The way to the host `other`; None where there is none. `family` is that of a VXLAN, 0 where none can be."""
    if subnet.overlay in ("routes", "auto"):
        hops = [address_of(there, cidr.version) for cidr in subnet.cidrs]
        if all(share_link(address_of(here, cidr.version), hop) for cidr, hop in zip(subnet.cidrs, hops, strict=True)):
            return RemoteHost(other, "routes", tuple(hop.address for hop in hops if hop))
    vtep = address_of(there, family)
    return RemoteHost(other, "vxlan", (vtep.address,)) if vtep and subnet.overlay != "routes" else None


def _tunnel(topology: str, subnet: Subnet, host: str, local: str, vteps: tuple[str, ...]) -> Tunnel:
    return Tunnel(
        interface_name("x-", topology, subnet.name),
        mac_of(topology, "vxlan", host, subnet.name),
        vni=subnet.vni if subnet.vni is not None else vni_of(topology, subnet.name),
        port=subnet.vxlan_port,
        local=local,
        vteps=vteps,
    )


def _no_way(topology: Topology, subnet: Subnet, host: str, own: Mapping[str, tuple[Assigned, ...]]) -> Fault:
    """The first host that one cannot reach by the overlay that the file wants, and why."""
    here, position = own[host], topology.position(("subnets", subnet.name, "overlay"))
    if subnet.overlay != "routes":
        return Fault(
            position,
            f"the hosts of {subnet.name} have no family in common: a VXLAN needs an IPv4 address of each host, or an IPv6 one",
            "give each host an `address` of one family",
        )
    for other, there in own.items():
        for cidr in subnet.cidrs:
            one, two = address_of(here, cidr.version), address_of(there, cidr.version)
            if other == host or share_link(one, two):
                continue
            if one is None or two is None:
                lacking, family = host if one is None else other, f"IPv{cidr.version}"
                why = f"the host {lacking} has no {family} address, which an {family} route leads by"
                help_text = f"give each host an {family} `address`, too, or write `overlay: auto`"
            else:
                why = f"{host} ({one.address}) and {other} ({two.address}) share no link, and a next hop must be on one"
                help_text = f"write `overlay: vxlan` or `auto`{_guest(topology, subnet, host, other)}"
            return Fault(position, f"{subnet.name} cannot span its hosts by routes: {why}", help_text)
    raise AssertionError(f"there is a way between the hosts of {subnet.name}")


def _guest(topology: Topology, subnet: Subnet, *hosts: str) -> str:
    """Which of the hosts is on the subnet without a word of it at the subnet or at a container of the host's own, and why."""
    named = {*subnet.hosts}
    for container in topology.containers.values():
        named |= {container.host for attachment in container.attachments if attachment.subnet == subnet.name}
    guests = [host for host in hosts if host not in named]
    return f"; {guests[0]} is on {subnet.name} for a policy, or for a port that it publishes" if guests else ""


def _uplink_mtu(hosts: tuple[str, ...], facts: Mapping[str, HostFacts]) -> int:
    return min((facts[host].uplink_mtu for host in hosts if host in facts), default=1500)


def _mtu(subnet: Subnet, hosts: tuple[str, ...], facts: Mapping[str, HostFacts], overhead: int) -> int:
    """One for the whole segment: the file's, or that of the smallest uplink less what the encapsulation takes."""
    return subnet.mtu if subnet.mtu is not None else _uplink_mtu(hosts, facts) - overhead


def _too_small(
    topology: Topology, subnet: Subnet, hosts: tuple[str, ...], facts: Mapping[str, HostFacts], overhead: int
) -> Iterator[Fault]:
    """A wrong MTU lets small packets pass and hangs large ones, so it is refused."""
    room = _uplink_mtu(hosts, facts) - overhead
    if subnet.mtu is not None and subnet.mtu > room:
        yield Fault(
            topology.position(("subnets", subnet.name, "mtu")),
            f"packets of {subnet.mtu} bytes do not fit: the smallest uplink of {subnet.name} takes {room + overhead}"
            + (f", less {overhead} for the VXLAN" if overhead else ""),
            f"write `mtu: auto`, or {room} at most",
        )
    elif room < IPV6_MTU_MIN and any(cidr.version == 6 for cidr in subnet.cidrs):
        yield Fault(
            topology.position(("subnets", subnet.name, "cidr")),
            f"{subnet.name} has IPv6, which needs {IPV6_MTU_MIN} bytes a packet, and {room} are left of the smallest uplink",
            "raise the uplink's MTU",
        )
