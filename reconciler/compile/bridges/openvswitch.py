"""A bridge of Open vSwitch: its database lists the ports, and OpenFlow rules filter frames (`kinds.openvswitch.flow`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from reconciler.compile.addresses import link_local_of
from reconciler.compile.bridges.base import ContainerPort, Refusal, SubnetBridge
from reconciler.compile.isolation import addresses_of, closed_prefixes, is_isolated, isolated_members, isolated_subnets
from reconciler.compile.leases import find_leases
from reconciler.compile.model import Endpoint, TunnelEnd
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.set_elements import LinkElement
from reconciler.kinds.links.tunnel import Tunnel
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
from reconciler.state.subject import Subject


@dataclass(frozen=True, slots=True)
class OpenVSwitch(SubnetBridge):
    """A bridge of Open vSwitch."""

    passes_netfilter = False
    link_kind = "openvswitch"

    @property
    def datapath(self) -> str:
        """The datapath that the file names, else that of the host: `system` or `netdev`."""
        return self.view.subnet(self.host_subnet).datapath or self.view.facts.openvswitch_datapath

    @classmethod
    def refuse_existing(cls, name: str, host: str) -> Refusal | None:
        """Its own rules decide about frames, and netctl does not know them."""
        what = f"{name} of host {host} is a bridge of Open vSwitch: its own rules decide about traffic there"
        return what, "write `bridge: openvswitch` and an `uplink` that is in no bridge: netctl makes a bridge of its own"

    @classmethod
    def refuse_uplink(cls, name: str, host: str, mode: str) -> Refusal | None:  # noqa: ARG003  every mode needs the interface
        """It is not the interface that leads to the LAN."""
        return f"{name} of host {host} is a bridge of Open vSwitch itself", "name the interface that leads to the LAN"

    @classmethod
    def find_lack(cls, facts: HostFacts) -> str:
        """The reason if Open vSwitch is not installed, or does not run."""
        return facts.openvswitch_fault

    def make(self) -> Iterator[Record]:
        """The bridge, which passes frames of the host, and those that its other rules allow.

        A bridge that replaces the host's uplink switches everything after it lost its rules, so that the host stays
        reachable.
        """
        host_subnet = self.host_subnet
        yield OvsBridge(
            netns=HOST,
            name=host_subnet.bridge,
            datapath=self.datapath,
            mac=host_subnet.mac,
            mtu=self.mtu,
            group=group_of(self.topology),
            alias=str(self.alias),
            marks=marks_of(self.topology, host_subnet.subnet),
            altname=self.altname,
            link_local=self.link_local,
            fail_mode=STANDALONE if host_subnet.lan else SECURE,
        )
        yield from self._flows(
            "", [*BRIDGE_RULES, *(LAN_RULES if host_subnet.lan else SEGMENT_RULES), host_rule(host_subnet.mac)], self.about
        )
        if not host_subnet.lan:
            yield from self._flows(LOCAL, [TRUSTED_RULE], self.about)
            yield from self._flows("", [GROUPS_RULE], self.about)
        yield from self._flows("", self._isolating_rules(), self.about)

    def uplink(self, name: str) -> Iterator[Record]:
        """The uplink's port. All frames from the LAN may pass."""
        for port, rule in DIRECT_RULES:
            yield from self._flows(port, [rule], self.about)
        yield from self._flows("", [CLOSED_RULE], self.about)
        marks = marks_of(self.topology, self.host_subnet.subnet, uplink=name)
        yield Uplink(HOST, name, self.host_subnet.bridge, about=self.about, datapath=self.datapath, marks=marks)
        yield from self._hidden(name, None, self.about)

    def port(self, port: ContainerPort) -> Iterator[Record]:
        """The cable, its port in the database, and the rules for frames that the container sends."""
        endpoint, about, host_subnet = port.endpoint, Subject.container(port.endpoint.container), self.host_subnet
        veth = Veth.ref_of(HOST, endpoint.port)
        yield self._cable(port, "", (), arp=False)
        marks = marks_of(self.topology, endpoint.container, endpoint.subnet)
        yield OvsPort(
            netns=HOST,
            name=endpoint.port,
            bridge=host_subnet.bridge,
            marks=marks,
            link=veth,
            is_isolated=bool(port.attachment.isolated),
            about=about,
        )
        yield from self._flows(endpoint.port, self._container_rules(port), about)
        yield from self._flows("", [address_rule(endpoint.mac, endpoint.port)], about)
        yield from self._hidden(endpoint.port, veth, about)
        if self.datapath == USERSPACE:
            yield Offload(netns=container_netns(endpoint.container), dev=endpoint.interface, link=veth, about=about, feature=TX)

    def tunnel(self, link: Tunnel) -> Iterator[Record]:
        """The tunnel's port. The other hosts have filtered what they send."""
        yield replace(link, port_options=(), arp=False)
        yield OvsPort(
            netns=HOST,
            name=link.name,
            bridge=self.host_subnet.bridge,
            marks=marks_of(self.topology, self.host_subnet.subnet),
            link=link.ref,
            about=self.about,
        )
        yield from self._flows(link.name, [TRUSTED_RULE], self.about)
        yield from self._flows("", [tunnel_rule(link.name)], self.about)
        yield from self._hidden(link.name, link.ref, self.about)
        if self.datapath == USERSPACE:
            yield Offload(netns=HOST, dev=link.name, link=link.ref, about=self.about, feature=GRO)

    def entries_behind(self, end: TunnelEnd, mac: str) -> Iterator[Record]:  # noqa: ARG002  no kind but Linux's needs them
        """None: `tunnel_rule` sends all frames there that are for no container of the host."""
        return iter(())

    def _container_rules(self, port: ContainerPort) -> Iterator[Rule]:
        """The rules for frames of the container: from all of its addresses, and from those that the LAN may assign to it."""
        view, endpoint, attachment = self.view, port.endpoint, port.attachment
        closed = tuple(closed_prefixes(view.topology, endpoint))
        leases = tuple(find_leases(view, endpoint)) if attachment.dhcp else ()
        addresses = [own.address for each in view.resolved.endpoints[endpoint.container] for own in each.addresses]
        addresses += [lease for lease in leases if ":" in lease]
        yield from container_rules(
            endpoint.mac,
            addresses,
            link_local_of(endpoint.mac) if any(":" in address for address in addresses) else "",
            attachment.allow,
            leases=[lease for lease in leases if ":" not in lease],
            forwards=[(each.prefix, each.target) for each in view.resolved.forwards if each.router == endpoint],
            following=APART if attachment.isolated else PREFIXES if closed else DELIVER,
        )
        yield from map(prefix_rule, closed)

    def _isolating_rules(self) -> list[Rule]:
        """The rules between isolated containers, on this bridge and on the subnet's other hosts.

        They include addresses, because a gateway (this host, another host, the LAN's router) would route a packet to
        them.
        """
        view, host_subnet, topology = self.view, self.host_subnet, self.view.topology
        here = view.endpoints(host_subnet.subnet)
        closed = dict.fromkeys(subnet for endpoint in here for subnet in isolated_subnets(topology, endpoint.container))
        if not closed:
            return []
        rules: list[Rule] = []
        if host_subnet.subnet in closed:
            parted = list(isolated_members(view, host_subnet))
            rules += apart_rules([endpoint.mac for endpoint in parted])
            if afar := [endpoint.mac for endpoint in parted if endpoint.host != host_subnet.host and host_subnet.tunnels]:
                rules += open_rules(afar, [endpoint.port for endpoint in here if not is_isolated(topology, endpoint)])
        targets: list[Endpoint] = [
            endpoint for subnet in closed for endpoint in isolated_members(view, view.host_subnets[subnet])
        ]
        return [*rules, *target_rules([address for endpoint in targets for address in addresses_of(endpoint)])]

    def _hidden(self, port: str, link: Ref | None, about: Subject) -> Iterator[Record]:
        """Records by which only the bridge receives frames that arrive at a port.

        Open vSwitch in user space reads packets next to the host's stack. The host would accept those for its own
        hardware address, past every flow. It would also answer ARP instead of the bridge, so ARP is off there, too.
        `link` is the port's, if it is netctl's. It has no IPv6, so its packets are dropped before the firewall, and no
        fragment is combined with one of another port.
        """
        yield FirewallElement.of(HOST, "inet", self.topology, LinkElement("switched", port), about)
        if link and self.view.has_ipv6(self.host_subnet.mtu):
            yield Sysctl(netns=HOST, key=interface_key(6, port, "disable_ipv6"), value="1", owner=link, about=about)

    def _flows(self, port: str, rules: Iterable[Rule], about: Subject) -> Iterator[OvsFlow]:
        for table, priority, match, actions in rules:
            yield OvsFlow(
                netns=HOST,
                topology=self.topology,
                bridge=self.host_subnet.bridge,
                port=port,
                table=table,
                priority=priority,
                match=match,
                actions=actions,
                about=about,
            )
