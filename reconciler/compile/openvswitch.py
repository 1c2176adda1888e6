"""The records of legs and places on an Open vSwitch bridge that a Linux bridge does not need: ports, flows and offloads.

Called by `compile.host` and `compile.overlay`. Pure. What stands above the bridge (addresses, routes, neighbors, settings, the
`inet` table) is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.compile.addresses import link_local_of
from reconciler.compile.isolation import addresses_of, is_isolated, isolated_members, isolated_subnets
from reconciler.compile.model import Forward, Leg, Place
from reconciler.compile.view import HostView
from reconciler.kinds.firewall import FirewallElement
from reconciler.kinds.link_settings import interface_key
from reconciler.kinds.offload import GRO, TX, Offload
from reconciler.kinds.openvswitch import USERSPACE, OvsBridge, OvsPort, marks_of
from reconciler.kinds.ovs_flow import (
    APART,
    BRIDGE_RULES,
    CLOSED_RULE,
    DELIVER,
    DIRECT_RULES,
    GROUPS_RULE,
    LAN_RULES,
    LOCAL,
    PREFIXES,
    SEGMENT_RULES,
    TRUSTED_RULE,
    OvsFlow,
    Rule,
    address_rule,
    apart_rules,
    container_rules,
    host_rule,
    open_rules,
    prefix_rule,
    target_rules,
    tunnel_rule,
)
from reconciler.kinds.ownership import altname_of
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.kinds.veth import Veth
from reconciler.kinds.vxlan import Vxlan
from reconciler.state.naming import DIRECT, Alias, group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.steps.openvswitch import SECURE, STANDALONE
from reconciler.topology.types import Attachment


def compile_switch(view: HostView, leg: Leg, *, link_local: bool) -> Iterator[Record]:
    """The bridge of a leg, which passes what the host sends, and what its other rules allow.

    One in the place of the host's uplink switches everything where it has lost its rules, for the host must not be lost.
    """
    topology = view.topology.name
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
    rules = [*BRIDGE_RULES, *(LAN_RULES if leg.lan else SEGMENT_RULES), host_rule(leg.mac)]
    yield from _flows(topology, leg, "", rules, bridge.subject)
    if not leg.lan:
        yield from _flows(topology, leg, LOCAL, [TRUSTED_RULE], bridge.subject)
        yield from _flows(topology, leg, "", [GROUPS_RULE], bridge.subject)


def compile_switch_uplink(view: HostView, leg: Leg, uplink: str) -> Iterator[Record]:
    """The host's uplink as a port of the bridge: all that comes from the LAN may pass."""
    topology, about = view.topology.name, f"subnet {leg.subnet}"
    for port, rule in DIRECT_RULES:
        yield from _flows(topology, leg, port, [rule], about)
    yield from _flows(topology, leg, "", [CLOSED_RULE], about)
    marks = marks_of(topology, leg.subnet, uplink=uplink)
    yield Uplink(HOST, uplink, leg.bridge, about=about, datapath=leg.datapath, marks=marks)
    yield from _hidden(topology, uplink, None, about)


def compile_switch_port(
    view: HostView,
    leg: Leg,
    place: Place,
    places: Sequence[Place],
    attachment: Attachment,
    leases: Sequence[str],
    forwards: Sequence[Forward],
    closed: Sequence[str],
) -> Iterator[Record]:
    """A container's port, behind the rules of what it may send: `places` are all that the container has.

    `leases` are the addresses and ranges that the LAN may give it; `forwards` what it hands on for others; `closed` the prefixes
    in which the container is isolated.
    """
    topology = view.topology.name
    about, veth = f"container {place.container}", Veth.ref_of(HOST, place.port)
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
    following = APART if attachment.isolated else PREFIXES if closed else DELIVER
    rules = container_rules(
        place.mac,
        addresses,
        link_local,
        attachment.allow,
        leases=ranges,
        forwards=[(each.prefix, each.target) for each in forwards],
        following=following,
    )
    yield from _flows(topology, leg, place.port, [*rules, *map(prefix_rule, closed)], about)
    yield from _flows(topology, leg, "", [address_rule(place.mac, place.port)], about)
    yield from _hidden(topology, place.port, veth, about)
    if leg.datapath == USERSPACE:
        yield Offload(container_netns(place.container), place.interface, veth, about, TX)


def compile_switch_tunnel(view: HostView, leg: Leg, vxlan: Vxlan) -> Iterator[Record]:
    """The port to the subnet's other hosts, which have judged what they send."""
    topology, about = view.topology.name, vxlan.subject
    yield OvsPort(HOST, vxlan.name, leg.bridge, marks_of(topology, leg.subnet), vxlan.ref, about=about)
    yield from _flows(topology, leg, vxlan.name, [TRUSTED_RULE], about)
    yield from _flows(topology, leg, "", [tunnel_rule(vxlan.name)], about)
    yield from _hidden(topology, vxlan.name, vxlan.ref, about)
    if leg.datapath == USERSPACE:
        yield Offload(HOST, vxlan.name, vxlan.ref, about, GRO)


def compile_apart(view: HostView, leg: Leg) -> Iterator[Record]:
    """What ports of isolated containers may not send to: each other, on this bridge and on the subnet's other hosts.

    Their addresses are in it, because a gateway (this host, another host, the LAN's router) would route a packet to them.
    """
    topology, here = view.topology, view.places(leg.subnet)
    closed = dict.fromkeys(subnet for place in here for subnet in isolated_subnets(topology, place.container))
    if not closed:
        return
    rules: list[Rule] = []
    if leg.subnet in closed:
        parted = list(isolated_members(view, leg))
        rules += apart_rules([place.mac for place in parted])
        if afar := [place.mac for place in parted if place.host != leg.host and leg.tunnel]:
            rules += open_rules(afar, [place.port for place in here if not is_isolated(topology, place)])
    legs = (view.legs[subnet] for subnet in closed)
    targets = [place for each in legs for place in isolated_members(view, each)]
    rules += target_rules([address for place in targets for address in addresses_of(place)])
    yield from _flows(topology.name, leg, "", rules, f"subnet {leg.subnet}")


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
