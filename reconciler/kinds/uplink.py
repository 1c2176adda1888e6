"""An uplink that is a port of a subnet's bridge (`mode: direct`): the bridge replaces it, and has its addresses.

The uplink is the host's own, so it carries no mark. It is the topology's as long as it is a port of the topology's
bridge. After a kill, the host's file says that netctl left it there. Its MAC address, MTU and name stay. The host's
addresses and routes on it move to the bridge. The bridge has the same MAC address, so other nodes notice no change. One
step does the move in each direction, because a host in between cannot be reached; see `kernel.uplink.move`.

A new address on the uplink itself (from a DHCP client that renews there) is drift: the next apply moves it too.

On an Open vSwitch bridge the uplink is a port like any other, with a number of its own (UPLINK_NUMBER). In user space
its GRO is off, because ovs-vswitchd cannot read packets that the kernel has merged. The same step adds or removes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from reconciler.kinds.bridges import bridge_ref
from reconciler.kinds.firewall.elements import FirewallTable
from reconciler.kinds.identity import uplink_ref
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.marks import about, bears_tag, is_direct
from reconciler.kinds.openvswitch.bridge import (
    UPLINK_NUMBER,
    USERSPACE,
    is_connected,
    is_uplink_port,
    own_switches,
    read_marks,
)
from reconciler.kinds.openvswitch.flow import DIRECT_RULES, OvsFlow
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.offload import GRO
from reconciler.kinds.settings.sysctl import Sysctl
from reconciler.state.naming import DIRECT, parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, Snapshot
from reconciler.state.steps.links import OffloadSet
from reconciler.state.steps.openvswitch import Marks, OvsPortAdd, OvsPortDelete, OvsPortSet
from reconciler.state.steps.step import Step
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.summary import InterfaceFacts, Part, Phrase
from reconciler.state.uapi import SCOPE_LINK


@dataclass(frozen=True, slots=True)
class Uplink(Record):
    """The host's link `name` as a port of `bridge` ("": of none)."""

    kind = "uplink"
    dies_with_parent = False

    name: str
    bridge: str
    settled: bool = True
    """Whether all addresses and routes of the uplink are on the bridge."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `subnet lan`."""
    datapath: str = ""
    """The datapath of an Open vSwitch bridge, `system` or `netdev`; "" for a Linux bridge."""
    marks: Marks = ()
    """The marks of its port in Open vSwitch's database."""
    joined: bool = True
    """Whether ovs-vswitchd uses it as it should."""

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return uplink_ref(netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (bridge_ref("openvswitch" if self.datapath else "linux", self.bridge),) if self.bridge else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        # The bridge has the settings of an uplink before it replaces one, and is filtered before any packet can pass.
        loose = Sysctl.ref_of(HOST, interface_key(4, self.bridge, "rp_filter"))
        rules = DIRECT_RULES if self.datapath else ()
        passing = (OvsFlow.ref_of(HOST, self.bridge, port, *rule[:3]) for port, rule in rules)
        return (FirewallTable.ref_of(HOST, "inet"), FirewallTable.ref_of(HOST, "bridge"), loose, *passing)

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return (self.name,)

    def phrase(self, _facts: InterfaceFacts) -> Phrase:
        return Phrase(Part.LINKS, f"uplink {self.name}")

    def describe(self) -> str:
        if not self.bridge:
            return f"uplink {self.name}, on its way into a bridge"
        return f"uplink {self.name} in {self.bridge}, which has its addresses and routes"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        host = snapshot.namespace(HOST)
        joined = {one.name: one for one in (*cls._in_bridges(snapshot), *cls._in_switches(snapshot))}
        noted = {info.name: info.settled for info in snapshot.uplinks}
        busy = {one.index for one in host.addresses if one.scope != SCOPE_LINK}
        for link in host.links.values():
            if link.name in noted or link.name in joined:
                settled = link.index not in busy and noted.get(link.name, True)
                yield replace(joined.get(link.name, cls(HOST, link.name, "")), settled=settled)

    @classmethod
    def _in_bridges(cls, snapshot: Snapshot) -> Iterator[Self]:
        own = (link for link in Bridge.find_own(snapshot) if link.netns == HOST and is_direct(link.info.alias))
        bridges = {link.info.index: link for link in own}
        for link in snapshot.namespace(HOST).links.values():
            if (bridge := bridges.get(link.master)) and not is_netctls(link, snapshot.topology):
                yield cls(HOST, link.name, bridge.info.name, about=about(bridge.alias, HOST))

    @classmethod
    def _in_switches(cls, snapshot: Snapshot) -> Iterator[Self]:
        links = {link.name: link for link in snapshot.namespace(HOST).links.values()}
        merging = {info.dev for info in snapshot.offloads if info.netns == HOST and info.feature == GRO and info.on}
        for bridge, internal in own_switches(snapshot):
            for port in bridge.ports:
                if is_uplink_port(port) and port.name in links:
                    yield cls(
                        HOST,
                        port.name,
                        bridge.name,
                        about=about(internal.alias if internal else None, HOST),
                        datapath=bridge.datapath,
                        marks=read_marks(port.external_ids),
                        joined=port.number == UPLINK_NUMBER and is_connected(port, links[port.name]) and port.name not in merging,
                    )

    def must_recreate(self, before: Self) -> bool:
        return bool(before.bridge) and (before.bridge, before.datapath) != (self.bridge, self.datapath)

    def lower_create(self) -> tuple[Step, ...]:
        return (UplinkEnslave(self.netns, self.name, self.bridge, self._joins() if self.datapath else ()),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        if not self.bridge:
            return before.lower_delete()
        if not self.datapath or not before.bridge:
            return self.lower_create()
        again = (*before._leaves(), *self._joins())
        joins = (OvsPortSet(self.netns, self.name, self.marks),) if before.joined else again
        return (UplinkEnslave(self.netns, self.name, self.bridge, joins),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (UplinkRelease(self.netns, self.name, self.bridge, self._leaves() if self.datapath else ()),)

    def _joins(self) -> tuple[Step, ...]:
        add = OvsPortAdd(self.netns, self.bridge, self.name, self.marks, number=UPLINK_NUMBER)
        return (OffloadSet(self.netns, self.name, GRO, on=False), add) if self.datapath == USERSPACE else (add,)

    def _leaves(self) -> tuple[Step, ...]:
        return (OvsPortDelete(self.netns, self.bridge, self.name),)


def find_uplink(host: NamespaceInfo, bridge: LinkInfo) -> Ref | None:
    """The uplink in a bridge."""
    alias = parse_alias(bridge.alias)
    if alias is None or alias.kind != DIRECT:
        return None
    ports = (link for link in host.links.values() if link.master == bridge.index and not is_netctls(link, alias.topology))
    return next((Uplink.ref_of(HOST, port.name) for port in ports), None)


def is_netctls(link: LinkInfo, topology: str) -> bool:
    """Whether netctl created a link for `topology`, whose alias may still be missing, or for another topology."""
    alias = parse_alias(link.alias)
    return bears_tag(alias.topology if alias else topology, link)
