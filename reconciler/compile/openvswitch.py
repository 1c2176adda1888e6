"""The records of legs and places on an Open vSwitch bridge that a Linux bridge does not need: ports, flows and offloads.

Called by `compile.host` and `compile.overlay`. Pure. What stands above the bridge (addresses, routes, neighbors, settings, the
`inet` table) is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.compile.addresses import link_local_of
from reconciler.compile.model import Leg, Place, Resolved
from reconciler.kinds.firewall import FirewallElement
from reconciler.kinds.link_settings import interface_key
from reconciler.kinds.offload import GRO, TX, Offload
from reconciler.kinds.openvswitch import USERSPACE, OvsBridge, OvsPort, marks_of
from reconciler.kinds.ovs_flow import (
    BRIDGE_RULES,
    CLOSED_RULE,
    DIRECT_RULES,
    GROUPS_RULE,
    LOCAL,
    TRUSTED_RULE,
    OvsFlow,
    Rule,
    address_rule,
    apart_rules,
    container_rules,
    host_rule,
    tunnel_rule,
)
from reconciler.kinds.ownership import altname_of
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.kinds.vxlan import Vxlan
from reconciler.state.naming import DIRECT, Alias, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.steps.openvswitch import SECURE, STANDALONE
from reconciler.topology.types import Attachment, Topology


def compile_switch(topology: str, leg: Leg, *, link_local: bool) -> Iterator[Record]:
    """The bridge of a leg, which passes what the host sends, and what its other rules allow.

    One in the place of the host's uplink switches everything where it has lost its rules, for the host must not be lost.
    """
    alias = Alias(topology, DIRECT if leg.lan else "bridge", leg.subnet)
    bridge = OvsBridge(
        HOST,
        leg.bridge,
        leg.datapath,
        leg.mac,
        leg.mtu,
        group_of(topology),
        str(alias),
        marks_of(topology, leg.subnet),
        altname_of(alias, leg.bridge),
        link_local,
        STANDALONE if leg.lan else SECURE,
    )
    yield bridge
    yield from _flows(topology, leg, "", [*BRIDGE_RULES, host_rule(leg.mac)], bridge.subject)
    if not leg.lan:
        yield from _flows(topology, leg, LOCAL, [TRUSTED_RULE], bridge.subject)
        yield from _flows(topology, leg, "", [GROUPS_RULE], bridge.subject)


def compile_switch_uplink(topology: str, leg: Leg, uplink: str) -> Iterator[Record]:
    """The host's uplink as a port of the bridge: all that comes from the LAN may pass."""
    about = f"subnet {leg.subnet}"
    for port, rule in DIRECT_RULES:
        yield from _flows(topology, leg, port, [rule], about)
    yield from _flows(topology, leg, "", [CLOSED_RULE], about)
    marks = marks_of(topology, leg.subnet, uplink=uplink)
    yield Uplink(HOST, uplink, leg.bridge, about=about, datapath=leg.datapath, marks=marks)
    yield from _hidden(topology, uplink, None, about)


def compile_switch_port(
    topology: str, leg: Leg, place: Place, places: Sequence[Place], attachment: Attachment, leases: Sequence[str]
) -> Iterator[Record]:
    """A container's port, behind the rules of what it may send: `places` are all that the container has.

    `leases` are the addresses and ranges that the LAN may give it.
    """
    about, veth = f"container {place.container}", Ref("veth", HOST, place.port)
    yield OvsPort(
        HOST,
        place.port,
        leg.bridge,
        marks_of(topology, place.container, place.subnet),
        veth,
        is_isolated=bool(attachment.isolated),
        about=about,
    )
    addresses = [own.address for each in places for own in each.addresses]
    addresses += [lease for lease in leases if ":" in lease]
    ranges = [lease for lease in leases if ":" not in lease]
    link_local = link_local_of(place.mac) if any(":" in address for address in addresses) else ""
    rules = container_rules(place.mac, addresses, link_local, attachment.allow, leases=ranges, is_isolated=attachment.isolated)
    yield from _flows(topology, leg, place.port, rules, about)
    yield from _flows(topology, leg, "", [address_rule(place.mac, place.port)], about)
    yield from _hidden(topology, place.port, veth, about)
    if leg.datapath == USERSPACE:
        yield Offload(container_netns(place.container), place.interface, veth, about, TX)


def compile_switch_tunnel(topology: str, leg: Leg, vxlan: Vxlan) -> Iterator[Record]:
    """The port to the subnet's other hosts, which have judged what they send."""
    about = vxlan.subject
    yield OvsPort(HOST, vxlan.name, leg.bridge, marks_of(topology, leg.subnet), vxlan.ref, about=about)
    yield from _flows(topology, leg, vxlan.name, [TRUSTED_RULE], about)
    yield from _flows(topology, leg, "", [tunnel_rule(vxlan.name)], about)
    yield from _hidden(topology, vxlan.name, vxlan.ref, about)
    if leg.datapath == USERSPACE:
        yield Offload(HOST, vxlan.name, vxlan.ref, about, GRO)


def compile_apart(topology: Topology, resolved: Resolved, leg: Leg) -> Iterator[Record]:
    """What the isolated ports of a bridge may not send to: each other, and those of the subnet's other hosts.

    Their addresses are in it, because a gateway (this host, another host of the subnet, the LAN's router) would route a packet
    back to them.
    """
    hosts = (leg.host, *(peer.host for peer in leg.peers))
    places = [place for host in hosts for place in resolved.members.get((host, leg.subnet), ()) if _is_isolated(topology, place)]
    if any(place.host == leg.host for place in places):
        addresses = [own.address for place in places for own in place.addresses]
        rules = apart_rules([place.mac for place in places], addresses)
        yield from _flows(topology.name, leg, "", rules, f"subnet {leg.subnet}")


def _is_isolated(topology: Topology, place: Place) -> bool:
    attachments = topology.containers[place.container].attachments
    return any(attachment.isolated for attachment in attachments if attachment.subnet == place.subnet)


def _hidden(topology: str, port: str, link: Ref | None, about: str) -> Iterator[Record]:
    """What arrives at a port is for the bridge alone.

    Open vSwitch in user space reads packets beside the host, which would take those for its own hardware address, past every
    flow. (And would answer ARP in the bridge's place; so that is off there, too.) `link` is the port's, if it is netctl's: it has
    no IPv6, so what arrives is dropped before the firewall, and no fragment is put together with one of another port.
    """
    yield FirewallElement(HOST, "inet", topology, "switched", port, "", about)
    if link:
        yield Sysctl(HOST, interface_key(6, port, "disable_ipv6"), "1", owner=link, about=about)


def _flows(topology: str, leg: Leg, port: str, rules: Iterable[Rule], about: str) -> Iterator[OvsFlow]:
    for table, priority, match, actions in rules:
        yield OvsFlow(HOST, topology, leg.bridge, port, table, priority, match, actions, about)
