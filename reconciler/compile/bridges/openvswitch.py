"""A bridge of Open vSwitch: its database says what is a port, and OpenFlow rules say what may pass (`kinds.openvswitch.flow`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.compile.addresses import link_local_of
from reconciler.compile.bridges.base import ContainerPort, SubnetBridge
from reconciler.compile.isolation import addresses_of, closed_prefixes, is_isolated, isolated_members, isolated_subnets
from reconciler.compile.leases import find_leases
from reconciler.compile.model import Place, Tunnel
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.set_elements import LinkElement
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import USERSPACE, OvsBridge, OvsPort, marks_of
from reconciler.kinds.openvswitch.flow import (
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
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.offload import GRO, TX, Offload
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts
from reconciler.state.naming import group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.steps.openvswitch import SECURE, STANDALONE
from reconciler.topology.types import Subnet


def datapath_of(subnet: Subnet, facts: HostFacts) -> str:
    """The datapath of a subnet's bridge, as the file says, else as the host can; "" if it is no bridge of Open vSwitch."""
    if subnet.bridge != "openvswitch":
        return ""
    return subnet.datapath or facts.openvswitch_datapath


@dataclass(frozen=True, slots=True)
class OpenVSwitch(SubnetBridge):
    """One of Open vSwitch's, in the datapath of the leg."""

    passes_netfilter = False

    @classmethod
    def find_lack(cls, facts: HostFacts) -> str:
        """Open vSwitch may not be there, or not run."""
        return facts.openvswitch_fault

    def make(self) -> Iterator[Record]:
        """The bridge, which passes what the host sends, and what its other rules allow.

        One in the place of the host's uplink switches everything where it has lost its rules, for the host must not be lost.
        """
        leg = self.leg
        yield OvsBridge(
            netns=HOST,
            name=leg.bridge,
            datapath=leg.datapath,
            mac=leg.mac,
            mtu=self.mtu,
            group=group_of(self.topology),
            alias=str(self.alias),
            marks=marks_of(self.topology, leg.subnet),
            altname=self.altname,
            link_local=self.link_local,
            fail_mode=STANDALONE if leg.lan else SECURE,
        )
        yield from self._flows("", [*BRIDGE_RULES, *(LAN_RULES if leg.lan else SEGMENT_RULES), host_rule(leg.mac)], self.about)
        if not leg.lan:
            yield from self._flows(LOCAL, [TRUSTED_RULE], self.about)
            yield from self._flows("", [GROUPS_RULE], self.about)
        yield from self._flows("", self._isolating_rules(), self.about)

    def uplink(self, name: str) -> Iterator[Record]:
        """All that comes from the LAN may pass."""
        for port, rule in DIRECT_RULES:
            yield from self._flows(port, [rule], self.about)
        yield from self._flows("", [CLOSED_RULE], self.about)
        marks = marks_of(self.topology, self.leg.subnet, uplink=name)
        yield Uplink(HOST, name, self.leg.bridge, about=self.about, datapath=self.leg.datapath, marks=marks)
        yield from self._hidden(name, None, self.about)

    def port(self, port: ContainerPort) -> Iterator[Record]:
        """The cable, its port in the database, and the rules of what the container may send."""
        place, about, leg = port.place, f"container {port.place.container}", self.leg
        veth = Veth.ref_of(HOST, place.port)
        yield self._cable(port, "", (), arp=False)
        marks = marks_of(self.topology, place.container, place.subnet)
        yield OvsPort(
            netns=HOST,
            name=place.port,
            bridge=leg.bridge,
            marks=marks,
            link=veth,
            is_isolated=bool(port.attachment.isolated),
            about=about,
        )
        yield from self._flows(place.port, self._container_rules(port), about)
        yield from self._flows("", [address_rule(place.mac, place.port)], about)
        yield from self._hidden(place.port, veth, about)
        if leg.datapath == USERSPACE:
            yield Offload(netns=container_netns(place.container), dev=place.interface, link=veth, about=about, feature=TX)

    def tunnel(self, tunnel: Tunnel) -> Iterator[Record]:
        """The other hosts have judged what they send."""
        vxlan = self._vxlan(tunnel, "", (), arp=False)
        yield vxlan
        yield OvsPort(
            netns=HOST,
            name=vxlan.name,
            bridge=self.leg.bridge,
            marks=marks_of(self.topology, self.leg.subnet),
            link=vxlan.ref,
            about=self.about,
        )
        yield from self._flows(vxlan.name, [TRUSTED_RULE], self.about)
        yield from self._flows("", [tunnel_rule(vxlan.name)], self.about)
        yield from self._hidden(vxlan.name, vxlan.ref, self.about)
        if self.leg.datapath == USERSPACE:
            yield Offload(netns=HOST, dev=vxlan.name, link=vxlan.ref, about=self.about, feature=GRO)

    def entries_behind(self, tunnel: Tunnel, mac: str) -> Iterator[Record]:  # noqa: ARG002  no kind but Linux's needs them
        """None: `tunnel_rule` sends there what is for no container of the host."""
        return iter(())

    def _container_rules(self, port: ContainerPort) -> Iterator[Rule]:
        """The container may send from all of its addresses, and from those that the LAN may give it."""
        view, place, attachment = self.view, port.place, port.attachment
        closed = tuple(closed_prefixes(view.topology, place))
        leases = tuple(find_leases(view, place)) if attachment.dhcp else ()
        addresses = [own.address for each in view.resolved.places[place.container] for own in each.addresses]
        addresses += [lease for lease in leases if ":" in lease]
        yield from container_rules(
            place.mac,
            addresses,
            link_local_of(place.mac) if any(":" in address for address in addresses) else "",
            attachment.allow,
            leases=[lease for lease in leases if ":" not in lease],
            forwards=[(each.prefix, each.target) for each in view.resolved.forwards if each.router == place],
            following=APART if attachment.isolated else PREFIXES if closed else DELIVER,
        )
        yield from map(prefix_rule, closed)

    def _isolating_rules(self) -> list[Rule]:
        """What ports of isolated containers may not send to: each other, on this bridge and on the subnet's other hosts.

        Their addresses are in it, because a gateway (this host, another host, the LAN's router) would route a packet to them.
        """
        view, leg, topology = self.view, self.leg, self.view.topology
        here = view.places(leg.subnet)
        closed = dict.fromkeys(subnet for place in here for subnet in isolated_subnets(topology, place.container))
        if not closed:
            return []
        rules: list[Rule] = []
        if leg.subnet in closed:
            parted = list(isolated_members(view, leg))
            rules += apart_rules([place.mac for place in parted])
            if afar := [place.mac for place in parted if place.host != leg.host and leg.tunnel]:
                rules += open_rules(afar, [place.port for place in here if not is_isolated(topology, place)])
        targets: list[Place] = [place for subnet in closed for place in isolated_members(view, view.legs[subnet])]
        return [*rules, *target_rules([address for place in targets for address in addresses_of(place)])]

    def _hidden(self, port: str, link: Ref | None, about: str) -> Iterator[Record]:
        """What arrives at a port is for the bridge alone.

        Open vSwitch in user space reads packets beside the host, which would take those for its own hardware address, past every
        flow. (And would answer ARP in the bridge's place; so that is off there, too.) `link` is the port's, if it is netctl's: it
        has no IPv6, so what arrives is dropped before the firewall, and no fragment is put together with one of another port.
        """
        yield FirewallElement.of(HOST, "inet", self.topology, LinkElement("switched", port), about)
        if link:
            yield Sysctl(netns=HOST, key=interface_key(6, port, "disable_ipv6"), value="1", owner=link, about=about)

    def _flows(self, port: str, rules: Iterable[Rule], about: str) -> Iterator[OvsFlow]:
        for table, priority, match, actions in rules:
            yield OvsFlow(
                netns=HOST,
                topology=self.topology,
                bridge=self.leg.bridge,
                port=port,
                table=table,
                priority=priority,
                match=match,
                actions=actions,
                about=about,
            )
