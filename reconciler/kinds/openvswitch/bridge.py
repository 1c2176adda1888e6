"""An Open vSwitch bridge, and a port of one: for subnets with `bridge: openvswitch`.

They are entries of Open vSwitch's database, the OVSDB (ovs-vswitchd.conf.db(5)), from which ovs-vswitchd creates them.
netctl writes only there. It recognises both by `external_ids`, which the transaction that creates them writes. So a
kill leaves nothing unmarked. netctl ignores other bridges and ports, and an administrator's ports on its bridges.

The bridge has an internal port of its own name. It is an interface of the host, like a Linux bridge, and has the host's
address in the subnet. So addresses, routes, neighbors, NAT and the firewall between subnets know no difference. That interface
is marked as our other links are. What a port is depends on its link: a container's veth, or the tunnel of an overlay. A port
can be in the database without its link (after a reboot, or `ip link delete`); then it has no OpenFlow number, and is not
connected.

The bridge is in `fail_mode` secure. It passes only what a flow of netctl's allows (see `flow`), also after a restart of
ovs-vswitchd that lost the flows. A bridge with the host's uplink is in `standalone`, and then switches everything: a
host must remain reachable without its flows. No bridge of netctl's learns a hardware address (`flood_vlans` has the
untagged frames), because a container could move another's with one frame. Flows say which port has which address. Only
another datapath forces a re-creation. `system` is the kernel's; `netdev` is ovs-vswitchd itself, which works on every
kernel and reads packets by AF_PACKET.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Self

from reconciler.kinds.identity import openvswitch_ref
from reconciler.kinds.links import PORTS
from reconciler.kinds.links.base import drop_empty, loses_ipv6, regains_ipv6
from reconciler.kinds.links.marks import OwnLink, about, is_direct, read_altname
from reconciler.kinds.links.veth import Veth
from reconciler.state.naming import doomed_group_of, group_of, parse_alias
from reconciler.state.record import InterfaceKey, Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import LinkInfo, OvsBridgeInfo, OvsPortInfo, Snapshot
from reconciler.state.steps.links import AltnameAdd, LinkSet
from reconciler.state.steps.openvswitch import (
    FIRST_FRAGMENTS,
    OVS_TOPOLOGY,
    SECURE,
    FragmentsSet,
    Marks,
    OvsBridgeAdd,
    OvsBridgeDelete,
    OvsBridgeSet,
    OvsPortAdd,
    OvsPortDelete,
    OvsPortSet,
)
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.summary import InterfaceFacts, Part, Phrase

USERSPACE: Final = "netdev"
"""The datapath that is ovs-vswitchd itself."""
OVS_UPLINK = "netctl:uplink"
"""The key in the `external_ids` of the port that is the host's uplink."""
UPLINK_NUMBER = 65000
"""The OpenFlow number of the uplink in a bridge of netctl's: its rule can precede it. The largest number is 65,279."""


def marks_of(topology: str, name: str, subnet: str = "", uplink: str = "") -> Marks:
    """The `external_ids`: the owner, for netctl and for users; with `uplink`, that it is the host's."""
    marks = ((OVS_TOPOLOGY, topology), ("netctl:name", name), ("netctl:subnet", subnet), (OVS_UPLINK, uplink))
    return tuple(sorted(mark for mark in marks if mark[1]))


def read_marks(external_ids: Marks) -> Marks:
    """The external IDs that netctl manages."""
    return tuple(sorted(mark for mark in external_ids if mark[0].startswith("netctl:")))


def is_connected(port: OvsPortInfo, link: LinkInfo) -> bool:
    """Whether ovs-vswitchd uses the link: it has given it an OpenFlow number, and reads its packets.

    A user-space datapath does not notice that a link was re-created under its name, and keeps using the deleted one.
    """
    return port.number > 0 and link.is_promiscuous


def own_switches(snapshot: Snapshot) -> Iterator[tuple[OvsBridgeInfo, OwnLink | None]]:
    """The topology's bridges, each with its internal port, the link of the same name; None if that does not exist.

    Their mark is in the OVSDB, written together with the bridge. If it is missing there, the link's mark decides.
    """
    links = {info.name: info for info in snapshot.namespace(HOST).links.values()}
    groups = (group_of(snapshot.topology), doomed_group_of(snapshot.topology))
    for bridge in snapshot.ovs_bridges:
        owner = dict(bridge.external_ids).get(OVS_TOPOLOGY)
        info = links.get(bridge.name)
        alias = parse_alias(info.alias) if info else None
        is_marked = info is not None and info.group in groups and alias is not None and alias.topology == snapshot.topology
        if owner == snapshot.topology or (owner is None and is_marked):
            yield bridge, OwnLink(snapshot.topology, HOST, info, alias) if info else None


def is_uplink_port(port: OvsPortInfo) -> bool:
    """Whether a port is the host's uplink, added by netctl."""
    return port.number == UPLINK_NUMBER or OVS_UPLINK in dict(port.external_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsBridge(Record):
    """The bridge `name` and its internal port; `mtu` in bytes; `datapath` is `system` or `netdev`."""

    kind = "openvswitch"
    root_of = ("subnet",)
    dies_with_parent = False

    name: str
    datapath: str
    mac: str
    mtu: int
    group: int
    alias: str
    marks: Marks
    altname: str = ""
    link_local: bool = False
    """Whether the kernel creates an IPv6 link-local address for the internal port."""
    fail_mode: str = SECURE
    up: bool = True
    learns: bool = False
    """Whether it learns hardware addresses. netctl's do not, because a container could send with another's."""
    fragments: str = FIRST_FRAGMENTS
    """How flows see fragments."""

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return openvswitch_ref(netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def subject(self) -> Subject:
        return about(parse_alias(self.alias), self.netns)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return (self.name,)

    def phrase(self, facts: InterfaceFacts) -> Phrase:
        return Phrase(Part.LINKS, facts.with_addresses(f"Open vSwitch bridge {self.name}", self.netns, self.name))

    @property
    def is_addressed(self) -> bool:
        """Whether the addresses on it are the topology's: those of a bridge that replaces the uplink are the host's own."""
        return not is_direct(self.alias)

    def describe(self) -> str:
        return f"Open vSwitch bridge {self.name}, datapath {self.datapath}, MTU {self.mtu}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for bridge, link in own_switches(snapshot):
            info = link.info if link else None
            yield cls(
                netns=HOST,
                name=bridge.name,
                datapath=bridge.datapath,
                # The database and the link must both say so, because either can be changed without the other.
                mac=bridge.mac if info and info.mac == bridge.mac else info.mac if info and bridge.mac else "",
                mtu=bridge.mtu if info and info.mtu == bridge.mtu else info.mtu if info and bridge.mtu else 0,
                group=info.group if info else 0,
                alias=info.alias if info else "",
                marks=read_marks(bridge.external_ids),
                altname=read_altname(link) if link else "",
                link_local=info.link_local if info else False,
                fail_mode=bridge.fail_mode,
                learns=bridge.learns,
                fragments=bridge.fragments,
                up=info.up if info else False,
            )

    @property
    def interfaces(self) -> tuple[InterfaceKey, ...]:
        return ((self.netns, self.name),)

    def must_recreate(self, before: Self) -> bool:
        return self.datapath != before.datapath

    def drops(self, before: Self) -> tuple[str, ...]:
        # With another fail_mode, ovs-vswitchd deletes all flows (connmgr_set_fail_mode). To give a tap device another
        # hardware address, it sets it down and up (netdev_linux_set_etheraddr), and the kernel deletes what needs a link.
        with_address = ("address", "neighbor", "route") if self.mac != before.mac else ()
        return (*with_address, "flow") if self.fail_mode != before.fail_mode else with_address

    def silenced(self, before: Self) -> tuple[InterfaceKey, ...]:
        return self.interfaces if loses_ipv6(before.mtu, self.mtu) else ()

    def lower_create(self) -> tuple[Step, ...]:
        steps: list[Step] = [
            OvsBridgeAdd(self.netns, self.name, self.datapath, self.mac, self.mtu, self.marks, self.fail_mode, self.learns),
            FragmentsSet(self.netns, self.name, self.fragments),
            LinkSet(self.netns, self.name, group=self.group, alias=self.alias, link_local=self.link_local),
        ]
        if self.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        if self.up:
            steps.append(LinkSet(self.netns, self.name, up=True))
        return tuple(steps)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        steps: list[Step] = []
        in_database = OvsBridgeSet(self.netns, self.name, self.mac, self.mtu, self.marks, self.fail_mode, self.learns)
        held = OvsBridgeSet(self.netns, self.name, before.mac, before.mtu, before.marks, before.fail_mode, before.learns)
        if in_database != held:
            steps.append(in_database)
        if self.fragments != before.fragments and self.fragments:
            steps.append(FragmentsSet(self.netns, self.name, self.fragments))
        change = LinkSet(
            self.netns,
            self.name,
            mac=self.mac if self.mac != before.mac else "",
            mtu=self.mtu if self.mtu != before.mtu else None,
            group=self.group if self.group != before.group else None,
            alias=self.alias if self.alias != before.alias else None,
            link_local=self.link_local if self.link_local != before.link_local else None,
        )
        own = LinkSet(self.netns, self.name, link_local=self.link_local)
        steps += drop_empty(*((replace(change, link_local=None), own) if regains_ipv6(before.mtu, self.mtu) else (change,)))
        if self.altname and self.altname != before.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        if self.up != before.up:
            steps.append(LinkSet(self.netns, self.name, up=self.up))
        return tuple(steps)

    def lower_delete(self) -> tuple[Step, ...]:
        return (OvsBridgeDelete(self.netns, self.name),)


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsPort(Record):
    """The link `name` as a port of `bridge`."""

    kind = "ovs-port"
    nouns = ("port", "ports")
    dies_with_parent = False  # the OVSDB keeps it when its link is deleted

    name: str
    bridge: str
    marks: Marks
    link: Ref = field(compare=False)
    is_isolated: bool = False
    """Whether it exchanges no frames with other isolated ports (`protected`)."""
    is_connected: bool = True
    """Whether ovs-vswitchd uses the link."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `container web`, `subnet front`."""
    leaves_queues: bool = True
    """Whether ovs-vswitchd leaves the link's queueing discipline alone: it is netctl's (`qdisc`)."""

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (OvsBridge.ref_of(self.netns, self.bridge), self.link)

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    def describe(self) -> str:
        return f"port {self.name} of the Open vSwitch bridge {self.bridge}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        links = {link.info.name: (kind, link) for kind in PORTS for link in kind.find_own(snapshot) if link.netns == HOST}
        for bridge in snapshot.ovs_bridges:
            for port in bridge.ports:
                kind, link = links.get(port.name, (Veth, None))
                if is_uplink_port(port):
                    continue  # see `uplink`
                owner = dict(port.external_ids).get(OVS_TOPOLOGY)
                if owner != snapshot.topology and not (link and owner is None):
                    continue
                yield cls(
                    netns=HOST,
                    name=port.name,
                    bridge=bridge.name,
                    marks=read_marks(port.external_ids),
                    link=kind.ref_of(HOST, port.name),
                    is_isolated=port.is_protected,
                    is_connected=link is not None and is_connected(port, link.info),
                    about=about(link.alias, HOST) if link else HOST_SUBJECT,
                    leaves_queues=port.leaves_queues,
                )

    def must_recreate(self, before: Self) -> bool:
        return self.bridge != before.bridge or not before.is_connected

    def lower_create(self) -> tuple[Step, ...]:
        return (OvsPortAdd(self.netns, self.bridge, self.name, self.marks, self.is_isolated, leaves_queues=self.leaves_queues),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return (OvsPortSet(self.netns, self.name, self.marks, self.is_isolated, self.leaves_queues),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (OvsPortDelete(self.netns, self.bridge, self.name, self.leaves_queues),)
