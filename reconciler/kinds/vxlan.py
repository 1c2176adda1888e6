"""A VXLAN: the port of a subnet's bridge that leads to the subnet's other hosts, in UDP over the underlay (RFC 7348).

It is recognised by its mark (see `ownership`). Nothing is learnt from packets and nothing is flooded but true broadcast: who
is where follows from the file, and stands in static entries (see `fdb` and `neighbor`). So learning is off, and the port
answers ARP and neighbor solicitations for the far side from the bridge's neighbor table (`neigh_suppress`).

Its number, its port and its own address are fixed when it is made; a change of these forces a re-creation. Its MAC is given
at creation, for udev may rewrite one that the kernel chose. The outer packet is never fragmented silently: the MTU leaves
room for the overhead, 50 bytes over IPv4 and 70 over IPv6 (outer Ethernet is not counted in the underlay's MTU, the inner
one is).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import PORT_DEFAULTS, QUIET, changed_options, port_options, read_port_options
from reconciler.kinds.firewall import FirewallElement, FirewallTable
from reconciler.kinds.ownership import bridge_name_of, own_links, read_altname
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkDelete, LinkSet
from reconciler.state.steps.step import Step

PORT_OPTIONS = port_options(*QUIET, ("neigh_suppress", "on"))
"""What the bridge is told of this port. `flood` is of unicast frames for somebody unknown; broadcast and multicast do pass."""
OVERHEAD_BYTES = {4: 50, 6: 70}
"""By the underlay's family: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 or IPv6 40."""


@dataclass(frozen=True, slots=True)
class Vxlan(Record):
    """VNI `vni` from the underlay address `local` to UDP `port`, at the bridge `master`; `mtu` in bytes.

    Where the bridge is Open vSwitch's, `master` is "", and its database says what is a port (`openvswitch`).
    """

    kind = "vxlan"
    dies_with_parent = False

    name: str
    vni: int
    local: str
    port: int
    mac: str
    mtu: int
    group: int
    alias: str
    master: str
    altname: str = ""
    port_options: tuple[tuple[str, str], ...] = PORT_OPTIONS
    link_local: bool = False
    arp: bool = True
    """Whether the host speaks ARP there; see `veth`."""
    up: bool = True

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (Bridge.ref_of(self.netns, self.master),) if self.master else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        # Nobody may send into it before the firewall knows who may.
        ports = FirewallElement.ref_of(HOST, "inet", "vxlan_ports", str(self.port))
        switched = FirewallElement.ref_of(HOST, "inet", "switched", self.name)
        return (*(FirewallTable.ref_of(HOST, family) for family in ("inet", "bridge", "arp")), ports, switched)

    @property
    def subject(self) -> str:
        alias = parse_alias(self.alias)
        return f"subnet {alias.name}" if alias else "host"

    def describe(self) -> str:
        return f"vxlan {self.name}, VNI {self.vni} from {self.local} to UDP port {self.port}, MTU {self.mtu}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for link in own_links(snapshot, "vxlan"):
            info = link.info
            options = dict(info.options)
            master = bridge_name_of(snapshot, link.netns, info)
            yield cls(
                netns=link.netns,
                name=info.name,
                vni=int(options.get("id", 0)),
                local=options.get("local", ""),
                port=int(options.get("dstport", 0)),
                mac=info.mac,
                mtu=info.mtu,
                group=info.group,
                alias=info.alias,
                master=master,
                altname=read_altname(link),
                port_options=read_port_options(snapshot, link.netns, info) if master else (),
                link_local=info.link_local,
                arp=info.arp,
                up=info.up,
            )

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        return ((self.netns, self.name),)

    def must_recreate(self, before: Self) -> bool:
        return (self.vni, self.local, self.port) != (before.vni, before.local, before.port)

    def drops(self, before: Self) -> tuple[str, ...]:
        # Its permanent neighbor entries as well (neigh_changeaddr).
        return ("neighbor",) if self.mac != before.mac else ()

    def lower_create(self) -> tuple[Step, ...]:
        options = (("id", str(self.vni)), ("local", self.local), ("dstport", str(self.port)), ("learning", "off"))
        steps: list[Step] = [
            LinkAdd(self.netns, self.name, "vxlan", self.mac, self.mtu, self.group, master=self.master, options=options),
            LinkSet(self.netns, self.name, alias=self.alias, link_local=self.link_local, arp=None if self.arp else False),
        ]
        if self.master:
            steps.append(BridgePortSet(self.netns, self.name, changed_options(PORT_DEFAULTS, self.port_options)))
        if self.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        if self.up:
            steps.append(LinkSet(self.netns, self.name, up=True))
        return tuple(steps)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        change = LinkSet(
            self.netns,
            self.name,
            mac=self.mac if self.mac != before.mac else "",
            mtu=self.mtu if self.mtu != before.mtu else None,
            group=self.group if self.group != before.group else None,
            master=(self.master or "-") if self.master != before.master else "",
            alias=self.alias if self.alias != before.alias else None,
            link_local=self.link_local if self.link_local != before.link_local else None,
            arp=self.arp if self.arp != before.arp else None,
        )
        steps: list[Step] = [change] if change != LinkSet(self.netns, self.name) else []
        held = before.port_options if self.master == before.master else PORT_DEFAULTS
        if self.master and (options := changed_options(held, self.port_options)):
            steps.append(BridgePortSet(self.netns, self.name, options))
        if self.altname and self.altname != before.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        if self.up != before.up:
            steps.append(LinkSet(self.netns, self.name, up=self.up))
        return tuple(steps)

    def lower_delete(self) -> tuple[Step, ...]:
        return (LinkDelete(self.netns, self.name, self.group),)
