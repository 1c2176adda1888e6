"""How a subnet spans hosts: the path between each pair of its hosts, and the room in a packet.

Pure. A tunnel goes everywhere; `overlay: routes` wants each host as a neighbour of each other; `auto` takes routes between
neighbours and tunnels between the rest. A tunnel uses IPv4 if all hosts of the subnet have an IPv4 address, else IPv6.
Routes need an underlay address of each family that the subnet has, because a packet is not encapsulated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.compile.model import Assigned, RemoteHost, TunnelEnd
from reconciler.compile.overlays import overlay_named
from reconciler.compile.overlays.base import Overlay
from reconciler.compile.underlay import address_of, share_link, underlay_of
from reconciler.errors import Fault
from reconciler.state.host import HostFacts
from reconciler.state.uapi import IPV6_MTU_MIN
from reconciler.topology.types import DEFAULT_TUNNEL, Subnet, Topology


@dataclass(frozen=True, slots=True)
class OverlayPaths:
    """How a subnet spans its hosts: by host, its peers and its ends of tunnels; and the MTU of the whole segment, in bytes."""

    mtu: int
    peers: Mapping[str, tuple[RemoteHost, ...]] = field(default_factory=dict)
    tunnels: Mapping[str, tuple[TunnelEnd, ...]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def overlay_paths_of(topology: Topology, subnet: Subnet, hosts: tuple[str, ...], facts: Mapping[str, HostFacts]) -> OverlayPaths:
    """The paths between `hosts` of the subnet. Faults if there is no path, or no room for its packets."""
    if len(hosts) < 2:
        return OverlayPaths(_mtu(subnet, hosts, facts, overhead=0))
    own = {host: underlay_of(topology.hosts[host], facts.get(host)) for host in hosts}
    overlay = overlay_named(subnet.tunnel) if subnet.tunnel else None
    family = _family(overlay, own.values())
    faults: list[Fault] = []
    peers: dict[str, tuple[RemoteHost, ...]] = {}
    for host in hosts:
        found = [_path(subnet, other, own[host], own[other], family) for other in hosts if other != host]
        if not all(found):
            faults.append(_no_path(topology, subnet, host, own))
            break
        peers[host] = tuple(peer for peer in found if peer)
    tunnels: dict[str, tuple[TunnelEnd, ...]] = {}
    for host, others in peers.items():
        remotes = tuple(peer.hops[0] for peer in others if peer.is_tunnelled)
        local = address_of(own[host], family)
        if overlay and local and remotes:
            tunnels[host] = overlay.ends(topology.name, subnet, host, local.address, remotes)
    overhead = overlay.link_type.overhead_bytes[family] if overlay and tunnels else 0
    if not faults:
        faults += _too_small(topology, subnet, hosts, facts, overhead)
    return OverlayPaths(_mtu(subnet, hosts, facts, overhead), peers, tunnels, tuple(faults))


def _family(overlay: Overlay | None, own: Collection[tuple[Assigned, ...]]) -> int:
    """The family in which tunnels of the kind can join all hosts; 0 if there is none."""
    families = overlay.link_type.overhead_bytes if overlay else ()
    return next((family for family in families if all(address_of(one, family) for one in own)), 0)


def _path(subnet: Subnet, other: str, here: tuple[Assigned, ...], there: tuple[Assigned, ...], family: int) -> RemoteHost | None:
    """The path to the host `other`; None if there is none. `family` is that of tunnels, 0 if none is possible."""
    if subnet.overlay in ("routes", "auto"):
        hops = [address_of(there, cidr.version) for cidr in subnet.cidrs]
        if all(share_link(address_of(here, cidr.version), hop) for cidr, hop in zip(subnet.cidrs, hops, strict=True)):
            return RemoteHost(other, "routes", tuple(hop.address for hop in hops if hop))
    end = address_of(there, family)
    return RemoteHost(other, "tunnel", (end.address,)) if end else None


def _no_path(topology: Topology, subnet: Subnet, host: str, own: Mapping[str, tuple[Assigned, ...]]) -> Fault:
    """The first host that one cannot reach by the overlay of the file, and the reason."""
    here, position = own[host], topology.position(("subnets", subnet.name, "overlay"))
    if subnet.tunnel:
        link = overlay_named(subnet.tunnel).link_type
        families = " or an ".join(f"IPv{family}" for family in link.overhead_bytes)
        return Fault(
            position,
            f"the hosts of {subnet.name} have no family in common: a {link.title} needs an {families} address of each host",
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
                help_text = f"write `overlay: {DEFAULT_TUNNEL}` or `auto`{_guest(topology, subnet, host, other)}"
            return Fault(position, f"{subnet.name} cannot span its hosts by routes: {why}", help_text)
    raise AssertionError(f"there is a path between the hosts of {subnet.name}")


def _guest(topology: Topology, subnet: Subnet, *hosts: str) -> str:
    """The host that is on the subnet although neither the subnet nor a container of the host names it, and the reason."""
    named = {*subnet.hosts}
    for container in topology.containers.values():
        named |= {container.host for attachment in container.attachments if attachment.subnet == subnet.name}
    guests = [host for host in hosts if host not in named]
    return f"; {guests[0]} is on {subnet.name} for a policy, or for a port that it publishes" if guests else ""


def _uplink_mtu(hosts: tuple[str, ...], facts: Mapping[str, HostFacts]) -> int:
    return min((facts[host].uplink_mtu for host in hosts if host in facts), default=1500)


def _mtu(subnet: Subnet, hosts: tuple[str, ...], facts: Mapping[str, HostFacts], overhead: int) -> int:
    """The MTU of the whole segment: the file's, or that of the smallest uplink without the encapsulation."""
    return subnet.mtu if subnet.mtu is not None else _uplink_mtu(hosts, facts) - overhead


def _too_small(
    topology: Topology, subnet: Subnet, hosts: tuple[str, ...], facts: Mapping[str, HostFacts], overhead: int
) -> Iterator[Fault]:
    """A wrong MTU passes small packets and loses large ones, so it is rejected."""
    room = _uplink_mtu(hosts, facts) - overhead
    if subnet.mtu is not None and subnet.mtu > room:
        yield Fault(
            topology.position(("subnets", subnet.name, "mtu")),
            f"packets of {subnet.mtu} bytes do not fit: the smallest uplink of {subnet.name} takes {room + overhead}"
            + (f", less {overhead} for the {overlay_named(subnet.tunnel).link_type.title}" if overhead and subnet.tunnel else ""),
            f"write `mtu: auto`, or {room} at most",
        )
    elif room < IPV6_MTU_MIN and any(cidr.version == 6 for cidr in subnet.cidrs):
        yield Fault(
            topology.position(("subnets", subnet.name, "cidr")),
            f"{subnet.name} has IPv6, which needs {IPV6_MTU_MIN} bytes a packet, and {room} are left of the smallest uplink",
            "raise the uplink's MTU",
        )
