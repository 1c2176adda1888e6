"""The fast path of each subnet that a host shares with others, as records (see `kinds.firewall.fast_path`).

Pure. A host knows its own containers by port and address, and each container elsewhere by one element, or with routes by two
for each address. All other packets take the slow path. Open vSwitch and LANs have no port or no
overlay of the kernel's, and a bridge keeps isolated ports apart. So do packets by a moved uplink, and by
tunnels with a link for each other host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.compile.bridges import bridge_type
from reconciler.compile.isolation import is_isolated
from reconciler.compile.model import Endpoint, HostSubnet, RemoteHost, Resolved
from reconciler.compile.view import Egress, HostView
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FAMILY, LEAVING, ROUTED, TUNNELLED, FastPathHook, FastPathLink
from reconciler.kinds.firewall.set_elements import (
    BlockElement,
    MacElement,
    NextHop,
    ProtocolLink,
    ProtocolPurpose,
    RemoteSender,
    SenderAddress,
    SetElement,
)
from reconciler.kinds.links.veth import Veth
from reconciler.state.host import HostFacts
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.subject import Subject
from reconciler.topology.types import Topology

FAMILY_WORDS = {4: "ip", 6: "ip6"}


def compile_fast_path(view: HostView) -> Iterator[Record]:
    """The table of each subnet with a peer, its hooks, and the location of each container."""
    topology, uplink = view.topology, view.egress
    for host_subnet in view.host_subnets.values():
        # The table has one link to send to.
        peers = [
            peer for peer in host_subnet.peers if (len(host_subnet.tunnels) == 1 if peer.is_tunnelled else not uplink.uplink)
        ]
        if not peers or host_subnet.lan or not bridge_type(host_subnet).passes_netfilter:
            continue
        path = _FastPath(topology, host_subnet, uplink)
        here = [endpoint for endpoint in view.endpoints(host_subnet.subnet) if not is_isolated(topology, endpoint)]
        yield FirewallTable(netns=HOST, family=FAMILY, topology=topology.name, subnet=host_subnet.subnet)
        for overlay in {peer.overlay for peer in peers}:
            yield from path.egress(overlay)
        for endpoint in here:
            yield from path.member(endpoint, {peer.overlay for peer in peers})
        for peer in peers:
            there = view.beside(peer.host)
            is_fast = not (there.facts.fast_path_fault or there.egress.uplink)
            for endpoint in there.endpoints(host_subnet.subnet):
                yield from path.elsewhere(
                    endpoint, peer, there.uplink_mac, is_fast=is_fast and not is_isolated(topology, endpoint)
                )


def find_slow_paths(resolved: Resolved, facts: Mapping[str, HostFacts]) -> Iterator[tuple[str, str]]:
    """Hosts whose packets would take the fast path if their kernel supported it, and the reason why it does not."""
    for host, host_subnets in resolved.host_subnets.items():
        fault = facts[host].fast_path_fault if host in facts else ""
        if fault and any(
            host_subnet.peers and not host_subnet.lan and bridge_type(host_subnet).passes_netfilter
            for host_subnet in host_subnets.values()
        ):
            yield host, fault


class _FastPath:
    """Creates the records of one host subnet."""

    def __init__(self, topology: Topology, host_subnet: HostSubnet, uplink: Egress) -> None:
        self._topology, self._host_subnet, self._uplink = topology, host_subnet, uplink
        self._about = Subject.subnet(host_subnet.subnet)

    def egress(self, overlay: str) -> Iterator[Record]:
        """The records that lead to the other hosts and back to the bridge, for each family of the subnet."""
        host_subnet = self._host_subnet
        if overlay == "tunnel":
            (end,) = host_subnet.tunnels
            dev, link, chain = end.name, end.ref, TUNNELLED
        else:
            dev, link, chain = self._uplink.dev, None, ROUTED
        purpose: ProtocolPurpose = "to_tunnel" if link else "to_uplink"
        yield FastPathHook(
            netns=HOST,
            topology=self._topology.name,
            subnet=host_subnet.subnet,
            dev=dev,
            chain=chain,
            link=link,
            about=self._about,
        )
        for own in host_subnet.addresses:
            yield self._next(purpose, own.family, dev, link)
            yield self._next("to_bridge", own.family, host_subnet.bridge, host_subnet.ref)
        if overlay == "routes":
            yield self._element(MacElement("gateway", host_subnet.mac))

    def _next(self, purpose: ProtocolPurpose, family: int, dev: str, link: Ref | None) -> FastPathLink:
        element = ProtocolLink(purpose, FAMILY_WORDS[family], dev)
        record = FastPathLink.of(HOST, FAMILY, self._topology.name, element, self._about, self._host_subnet.subnet)
        return replace(record, link=link)

    def member(self, endpoint: Endpoint, overlays: set[str]) -> Iterator[Record]:
        """A container of this host."""
        about = Subject.container(endpoint.container)
        for own in endpoint.addresses:
            yield self._element(SenderAddress("addresses", endpoint.port, endpoint.mac, own.address), about)
            if "routes" in overlays:
                yield self._element(BlockElement("members", own.address), about)
        if "tunnel" in overlays:
            yield self._element(MacElement("members", endpoint.mac), about)
        link = Veth.ref_of(HOST, endpoint.port)
        yield FastPathHook(
            netns=HOST,
            topology=self._topology.name,
            subnet=self._host_subnet.subnet,
            dev=endpoint.port,
            chain=LEAVING,
            link=link,
            about=about,
        )

    def elsewhere(self, endpoint: Endpoint, peer: RemoteHost, mac: str, *, is_fast: bool) -> Iterator[Record]:
        """A container of the host `peer`, whose uplink has the hardware address `mac`.

        With routes, a container without a fast path on its host has none here. That host tracks such connections, and
        only this one knows in whose share they count.
        """
        if peer.is_tunnelled:
            yield self._element(MacElement("behind", endpoint.mac))
            return
        for own in endpoint.addresses:
            if is_fast:
                yield self._element(NextHop(own.address, peer.hop(own.family)))
            yield self._element(RemoteSender(mac, own.address))

    def _element(self, element: SetElement, about: Subject | None = None) -> FirewallElement:
        return FirewallElement.of(HOST, FAMILY, self._topology.name, element, about or self._about, self._host_subnet.subnet)
