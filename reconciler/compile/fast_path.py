"""The fast path of each subnet that a host shares with others, as records (see `kinds.firewall.fast_path`).

Pure. A host knows its own containers by port and address, and each container elsewhere by one element, or with routes by two
for each address. What has no fast path takes the slow one: Open vSwitch and LANs, which have no port or no overlay of the
kernel's; isolated ports, which a bridge keeps apart; an uplink that is moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.compile.bridges import bridge_type
from reconciler.compile.isolation import is_isolated
from reconciler.compile.model import Leg, Place, RemoteHost, Resolved
from reconciler.compile.view import HostView, WayOut
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FAMILY, LEAVING, ROUTED, TUNNELLED, FastPathHook, FastPathWay
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
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.state.host import HostFacts
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.topology.types import Topology

FAMILY_WORDS = {4: "ip", 6: "ip6"}


def compile_fast_path(view: HostView) -> Iterator[Record]:
    """The table of each subnet with a peer, its hooks, and who is where."""
    topology, uplink = view.topology, view.way_out
    for leg in view.legs.values():
        peers = [peer for peer in leg.peers if peer.is_tunnelled or not uplink.uplink]
        if not peers or leg.lan or not bridge_type(leg).passes_netfilter:
            continue
        path = _FastPath(topology, leg, uplink)
        here = [place for place in view.places(leg.subnet) if not is_isolated(topology, place)]
        yield FirewallTable(netns=HOST, family=FAMILY, topology=topology.name, subnet=leg.subnet)
        for way in {peer.way for peer in peers}:
            yield from path.ways(way)
        for place in here:
            yield from path.member(place, {peer.way for peer in peers})
        for peer in peers:
            there = view.beside(peer.host)
            is_fast = not (there.facts.fast_path_fault or there.way_out.uplink)
            for place in there.places(leg.subnet):
                yield from path.elsewhere(place, peer, there.uplink_mac, is_fast=is_fast and not is_isolated(topology, place))


def find_slow_paths(resolved: Resolved, facts: Mapping[str, HostFacts]) -> Iterator[tuple[str, str]]:
    """Hosts whose packets to other hosts would take the fast path if their kernel could, and why it cannot."""
    for host, legs in resolved.legs.items():
        fault = facts[host].fast_path_fault if host in facts else ""
        if fault and any(leg.peers and not leg.lan and bridge_type(leg).passes_netfilter for leg in legs.values()):
            yield host, fault


class _FastPath:
    """Makes the records of one leg."""

    def __init__(self, topology: Topology, leg: Leg, uplink: WayOut) -> None:
        self._topology, self._leg, self._uplink = topology, leg, uplink
        self._about = f"subnet {leg.subnet}"

    def ways(self, way: str) -> Iterator[Record]:
        """To the other hosts and back to the bridge, for each family of the subnet."""
        leg, tunnel = self._leg, self._leg.tunnel
        if way != "routes" and tunnel:
            dev, link, chain = tunnel.name, Vxlan.ref_of(HOST, tunnel.name), TUNNELLED
        else:
            dev, link, chain = self._uplink.dev, None, ROUTED
        purpose: ProtocolPurpose = "to_tunnel" if link else "to_uplink"
        yield FastPathHook(
            netns=HOST, topology=self._topology.name, subnet=leg.subnet, dev=dev, chain=chain, link=link, about=self._about
        )
        for own in leg.addresses:
            yield self._way(purpose, own.family, dev, link)
            yield self._way("to_bridge", own.family, leg.bridge, leg.ref)
        if way == "routes":
            yield self._element(MacElement("gateway", leg.mac))

    def _way(self, purpose: ProtocolPurpose, family: int, dev: str, link: Ref | None) -> FastPathWay:
        element = ProtocolLink(purpose, FAMILY_WORDS[family], dev)
        record = FastPathWay.of(HOST, FAMILY, self._topology.name, element, self._about, self._leg.subnet)
        return replace(record, link=link)

    def member(self, place: Place, ways: set[str]) -> Iterator[Record]:
        """A container of this host."""
        about = f"container {place.container}"
        for own in place.addresses:
            yield self._element(SenderAddress("addresses", place.port, place.mac, own.address), about)
            if "routes" in ways:
                yield self._element(BlockElement("members", own.address), about)
        if ways - {"routes"}:
            yield self._element(MacElement("members", place.mac), about)
        link = Veth.ref_of(HOST, place.port)
        yield FastPathHook(
            netns=HOST,
            topology=self._topology.name,
            subnet=self._leg.subnet,
            dev=place.port,
            chain=LEAVING,
            link=link,
            about=about,
        )

    def elsewhere(self, place: Place, peer: RemoteHost, mac: str, *, is_fast: bool) -> Iterator[Record]:
        """A container of the host `peer`, whose uplink has the hardware address `mac`.

        By routes, what has no fast path there has none here: that host tracks such connections, and only this one knows whose
        share they are.
        """
        if peer.is_tunnelled:
            yield self._element(MacElement("behind", place.mac))
            return
        for own in place.addresses:
            if is_fast:
                yield self._element(NextHop(own.address, peer.hop(own.family)))
            yield self._element(RemoteSender(mac, own.address))

    def _element(self, element: SetElement, about: str = "") -> FirewallElement:
        return FirewallElement.of(HOST, FAMILY, self._topology.name, element, about or self._about, self._leg.subnet)
