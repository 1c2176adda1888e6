"""An OpenFlow rule on an Open vSwitch bridge of netctl's: the frames that a port may send, and the ports that receive them.

It does the work of the `bridge` table of nftables, which sees no frames of Open vSwitch.

No frame passes without a rule, and the bridge learns nothing: netctl knows every hardware address. Nine tables,
numbered as in OpenFlow:

    0  SOURCE      the port: the host, its uplink and an overlay go to 5, a container to 1 (untagged frames only)
    1  KIND        frames that no container may send: replies of DHCP servers, advertisements and queries of routers, redirects,
                   link-local groups, neighbor discovery in fragments or with another's hardware address. Advertisements
                   go to 2, the rest to 3
    2  ADVERTISED  a container may advertise its own IPv6 addresses
    3  OWN         and may send with its own hardware address and its own addresses: to 5; to 4 from an isolated port, to 6 from
                   another port of a container that has one
    4  APART       an isolated port sends nothing to the hardware addresses of isolated containers; the rest goes to 6
    5  DELIVER     a known hardware address has its port, groups go to every port (NORMAL), and all else to the uplink or the
                   overlay, or nowhere; groups from isolated containers on other hosts go to 8
    6  PREFIXES    frames of such a port to a prefix in which its container is isolated go to 7, the rest to 5
    7  TARGETS     of these, none goes to isolated containers' addresses, or a gateway would route it to them; the rest to 5
    8  OPEN        the host and every port that is not isolated

`NORMAL` only floods. The bridge learns nothing (`flood_vlans`, see `bridge`), and sends no frame from an isolated port
to another. To it, the overlay's port is never isolated, whatever the source of a frame. So table 8 names its ports.

Rules that match UDP ports and ICMP types also see them in the first fragment: the bridge's fragment mode is `nx-match`.
Later fragments cannot change these bytes. IPv6 fragments with hop limit 255 are dropped, because neighbor discovery is
valid with that hop limit only (RFC 4861). An extension header may hide the contents of a fragment (RFC 7113). If such a
header has hidden the message's own, Open vSwitch reads a type or ports of 0. Nothing uses these, so they are dropped,
too. OpenFlow has no field for the type of an IGMP message, so its target decides. Reports of version 3 have one of
their own (RFC 3376, 4.2.14).

A rule carries the topology's cookie (naming.cookie_of). netctl recognises it by that on the topology's own bridges, and
ignores other rules, which are an administrator's. Table, priority and match identify a rule. Other actions replace the
old ones, as OpenFlow does with an equal match.

Rules are in ovs-vswitchd and not in the OVSDB. A restart that does not save them (such as `ovs-ctl restart`) loses them
all, and the next apply re-creates them. A rule names a port by its number, which is lost with the port. So rules are
created after their port and deleted before it. Their text is that of `ovs-ofctl dump-flows`, so live and desired rules
compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.links import PORTS
from reconciler.kinds.links.marks import about, own_links
from reconciler.kinds.openvswitch.bridge import UPLINK_NUMBER, OvsBridge, OvsPort, is_uplink_port, own_switches
from reconciler.state.naming import cookie_of
from reconciler.state.record import Change, Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.openvswitch import FlowAdd, FlowDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.summary import number

LOCAL = "LOCAL"
"""The internal port of a bridge (ovs-fields(7), in_port)."""
UPLINK = str(UPLINK_NUMBER)
"""The host's uplink in a bridge of netctl's."""
SOURCE, KIND, ADVERTISED, OWN, APART, DELIVER, PREFIXES, TARGETS, OPEN = range(9)
"""The tables."""
FORGED, PERMIT, DENY, REPORT, REST, ALLOW, OTHERWISE, LAST = 40, 30, 20, 18, 15, 10, 5, 1
"""Priorities."""

UNTAGGED = "vlan_tci=0x0000/0x1fff"
"""No VLAN tag, as ovs-ofctl prints it."""
TAGGED = "vlan_tci=0x1000/0x1000"
"""Any VLAN tag."""
PRIORITY_TAGGED = "dl_vlan=0"
"""A tag with a priority and without a VLAN (IEEE 802.1Q, 6.9)."""
RESERVED_GROUPS = "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"
"""The groups of link-local protocols, which no bridge forwards (IEEE 802.1Q, table 8-1)."""
GROUPS = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
"""Multicast and broadcast."""
IGMP, PIM = 2, 103
"""Protocols of multicast: reports and queries, and the greetings of its routers (IANA's numbers)."""
ROUTER_DISCOVERY = (151, 152, 153)
"""ICMPv6 types of multicast router discovery (RFC 4286)."""
NO_LINK_ADDRESS = "00:00:00:00:00:00"
"""The hardware address that stands for a missing one in a message of neighbor discovery."""
_IN_PORT = re.compile(r',?in_port="?([^",]+)"?')
_OUTPUT = re.compile(r'output:"?([^",]+)"?')
_HEAD = re.compile(r"table=(\d+),?(?:priority=(\d+),?)?(.*)", re.ASCII)
DEFAULT_PRIORITY = 32768
"""The priority of a rule that is printed without one (OFP_DEFAULT_PRIORITY)."""

FEW_CHANGES = 2
"""The largest number of changed rules of one subject that are named."""

Rule = tuple[int, int, str, str]
"""Table, priority, match without the port, and actions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsFlow(Record):
    """A rule of `bridge` for frames from `port` ("" for every port): `match` is in the words of ovs-ofctl(8)."""

    kind = "flow"
    described_as = "flows"
    dies_with_parent = False  # it outlives its port

    topology: str
    bridge: str
    port: str
    table: int
    priority: int
    match: str
    actions: str
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `container web`, `subnet front`."""

    @classmethod
    def ref_of(cls, netns: str, bridge: str, port: str, table: int, priority: int, match: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{bridge} {_words_of(port, table, priority, match)}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.bridge, self.port, self.table, self.priority, self.match)

    @property
    def words(self) -> str:
        """Table, priority and match, as ovs-ofctl reads them."""
        return _words_of(self.port, self.table, self.priority, self.match)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        bridge = OvsBridge.ref_of(self.netns, self.bridge)
        return (bridge, *(OvsPort.ref_of(self.netns, port) for port in self._ports))

    @property
    def _ports(self) -> tuple[str, ...]:
        """The ports of netctl's in its match and in its actions."""
        named = (self.port, *_OUTPUT.findall(self.actions))
        return tuple(port for port in named if port not in ("", LOCAL, UPLINK))

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @classmethod
    def describe_changes(cls, changes: Iterable[Change]) -> Iterator[str]:
        """Each change if there are few; else the counts of added, removed and changed rules."""
        found = list(changes)
        if len(found) <= FEW_CHANGES:
            yield from (change.describe() for change in found)
            return
        verbs = ["add" if c.before is None else "remove" if c.after is None else "change" for c in found]
        yield from (f"{verb} {number(verbs.count(verb), 'flow')}" for verb in ("add", "change", "remove") if verb in verbs)

    def describe(self) -> str:
        whose = self._ports[0] if self._ports else self.bridge
        return f"flow of {whose}, table {self.table}: {self.match or 'everything'} -> {self.actions}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        uplinks = {(bridge.name, port.name) for bridge in snapshot.ovs_bridges for port in bridge.ports if is_uplink_port(port)}
        subjects = {link.info.name: about(link.alias, HOST) for kind in PORTS for link in own_links(snapshot, kind.kind)}
        subjects |= {bridge.name: about(link.alias, HOST) for bridge, link in own_switches(snapshot) if link}
        for flow in snapshot.ovs_flows:
            head = _HEAD.fullmatch(flow.match)
            if head is None:
                continue
            found = _IN_PORT.search(head[3])
            match = _IN_PORT.sub("", head[3], count=1).removeprefix(",")
            port = found[1] if found else ""
            texts = _OUTPUT.split(flow.actions)  # every second item is a port
            targets = texts[1::2]
            texts[1::2] = [deliver_to(UPLINK if (flow.bridge, name) in uplinks else name) for name in targets]
            # A rule that sends to several ports is the bridge's own.
            reported_by = (port, *(targets if len(targets) == 1 else ()), flow.bridge)
            yield cls(
                netns=HOST,
                topology=snapshot.topology,
                bridge=flow.bridge,
                port=UPLINK if (flow.bridge, port) in uplinks else port,
                table=int(head[1]),
                priority=int(head[2] or DEFAULT_PRIORITY),
                match=match,
                actions="".join(texts),
                about=next((subjects[name] for name in reported_by if name in subjects), HOST_SUBJECT),
            )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (FlowAdd(self.netns, self.bridge, cookie_of(self.topology), self.words, self.actions),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (FlowDelete(self.netns, self.bridge, cookie_of(self.topology), self.words),)


def _words_of(port: str, table: int, priority: int, match: str) -> str:
    """The match in words: a protocol precedes the fields that belong to it."""
    parts = (f"table={table}", f"priority={priority}", match, f"in_port={_quote(port)}" if port else "")
    return ",".join(part for part in parts if part)


def _quote(port: str) -> str:
    """A port for ovs-ofctl in a match and in actions: names are quoted, or a name could be a keyword."""
    return port if port == LOCAL or port.isdecimal() else f'"{port}"'


def deliver_to(port: str) -> str:
    """The action that sends a frame out by a port; never back by the port where it came in (ovs-actions(7), output)."""
    return f"output:{_quote(port)}"


# --- the rules --------------------------------------------------------------------------------------------------------


BRIDGE_RULES: tuple[Rule, ...] = (
    (KIND, FORGED, RESERVED_GROUPS, "drop"),
    (KIND, FORGED, "ipv6,nw_ttl=255,nw_frag=yes", "drop"),
    (KIND, FORGED, "ipv6,nw_proto=0", "drop"),  # a chain of extension headers that Open vSwitch cannot follow
    (KIND, FORGED, "icmp6,icmp_type=135,nd_target=::", "drop"),  # options that it cannot follow
    (KIND, FORGED, "icmp6,icmp_type=0", "drop"),  # a first fragment that ends before the message
    (KIND, FORGED, "udp6,tp_src=0,tp_dst=0", "drop"),
    (KIND, DENY, "udp,tp_src=67", "drop"),
    (KIND, DENY, "udp,tp_dst=68", "drop"),
    (KIND, DENY, "udp6,tp_src=547", "drop"),
    (KIND, DENY, "udp6,tp_dst=546", "drop"),
    (KIND, DENY, "icmp,icmp_type=5", "drop"),
    (KIND, DENY, "icmp,icmp_type=9", "drop"),
    (KIND, DENY, "icmp6,icmp_type=130", "drop"),
    (KIND, DENY, "icmp6,icmp_type=134", "drop"),
    (KIND, DENY, "icmp6,icmp_type=137", "drop"),
    (KIND, DENY, "icmp6,icmp_type=135", "drop"),
    (KIND, DENY, "icmp6,icmp_type=136", "drop"),
    *((KIND, DENY, f"icmp6,icmp_type={kind}", "drop") for kind in ROUTER_DISCOVERY),
    (KIND, DENY, f"ip,nw_proto={PIM}", "drop"),
    (KIND, DENY, f"ipv6,nw_proto={PIM}", "drop"),
    *((KIND, DENY, f"ip,nw_dst={group},nw_proto={IGMP}", "drop") for group in ("224.0.0.1", "224.0.0.106")),
    (KIND, REPORT, f"ip,nw_dst=224.0.0.22,nw_proto={IGMP}", f"resubmit(,{OWN})"),
    (KIND, REST, f"ip,nw_proto={IGMP}", "drop"),
    (KIND, ALLOW, "", f"resubmit(,{OWN})"),
    (DELIVER, FORGED, RESERVED_GROUPS, "drop"),
    (DELIVER, FORGED, TAGGED, "drop"),
)
"""The rules for all containers of a bridge."""
SEGMENT_RULES: tuple[Rule, ...] = tuple((KIND, DENY, f"icmp6,icmp_type={kind}", "drop") for kind in (131, 132, 143))
"""The rules of a segment of netctl's own: they drop reports of listeners, which no node there needs.

A thousand idle ports would send them.
"""
LAN_RULES: tuple[Rule, ...] = (
    (KIND, DENY, f"ip,nw_dst=224.0.0.4,nw_proto={IGMP}", "drop"),
    (KIND, REPORT, f"ip,nw_dst=224.0.0.0/4,nw_proto={IGMP}", f"resubmit(,{OWN})"),
)
"""The rules of a bridge in a LAN, whose switches may query by version 2 of IGMP: a report goes to the group itself.

The source is RFC 2236, section 9. 224.0.0.4 is for routers that use DVMRP (RFC 1075).
"""
PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "dhcp-server": ("udp,tp_src=67", "udp,tp_dst=68", "udp6,tp_src=547", "udp6,tp_dst=546"),
    "router-advertisements": (
        *(f"icmp,icmp_type={kind}" for kind in (5, 9)),
        *(f"icmp6,icmp_type={kind}" for kind in (130, 134, 137, *ROUTER_DISCOVERY)),
        *(f"ip,nw_proto={number}" for number in (IGMP, PIM)),
        f"ipv6,nw_proto={PIM}",
    ),
}
"""Frames that a container may send if the file has them in `allow`."""
TRUSTED_RULE: Rule = (SOURCE, ALLOW, "", f"resubmit(,{DELIVER})")
"""The rule of the host's own port, its uplink's, and an overlay's."""
HOST_VLAN_RULE: Rule = (SOURCE, DENY, TAGGED, deliver_to(UPLINK))
"""The rule of a bridge that replaces the uplink: VLANs of the host's own leave by the uplink."""
UPLINK_RULES: tuple[Rule, ...] = (
    TRUSTED_RULE,
    (SOURCE, PERMIT, PRIORITY_TAGGED, f"strip_vlan,resubmit(,{DELIVER})"),
    (SOURCE, DENY, TAGGED, LOCAL),
    (DELIVER, OTHERWISE, "", LOCAL),
)
"""The rules for frames of the LAN: to containers and groups; all else is for the host, VLANs included."""
GROUPS_RULE: Rule = (DELIVER, DENY, GROUPS, "NORMAL")
"""Group frames go to every port, but not from an isolated port to another (`protected`)."""
CLOSED_RULE: Rule = (SOURCE, LAST, "", "drop")
"""The last rule of a bridge that would switch unmatched frames by itself (`fail_mode` standalone)."""


BEYOND_UPLINK: Rule = (DELIVER, LAST, "", deliver_to(UPLINK))
"""Hardware addresses without a port are in the LAN."""
DIRECT_RULES: tuple[tuple[str, Rule], ...] = (
    (LOCAL, TRUSTED_RULE),
    (LOCAL, HOST_VLAN_RULE),
    *((UPLINK, rule) for rule in UPLINK_RULES),
    ("", GROUPS_RULE),
    ("", BEYOND_UPLINK),
)
"""Ports and rules by which the host and the LAN reach each other. They take effect before the uplink is added."""


def host_rule(mac: str) -> Rule:
    """The hardware address of the bridge is that of the host's own port."""
    return DELIVER, DENY, f"dl_dst={mac}", LOCAL


def address_rule(mac: str, port: str) -> Rule:
    """The hardware address is behind the port."""
    return DELIVER, DENY, f"dl_dst={mac}", deliver_to(port)


def tunnel_rule(port: str) -> Rule:
    """Hardware addresses without a port are behind the overlay, which knows them all."""
    return DELIVER, LAST, "", deliver_to(port)


def apart_rules(macs: Sequence[str]) -> Iterator[Rule]:
    """The addresses that isolated ports must not send to: the hardware addresses of isolated containers."""
    for mac in macs:
        yield APART, DENY, f"dl_dst={mac}", "drop"
    yield APART, ALLOW, "", f"resubmit(,{PREFIXES})"


def prefix_rule(cidr: str) -> Rule:
    """In the prefix there are isolated containers that the container of a port must not reach."""
    return PREFIXES, DENY, f"ipv6,ipv6_dst={cidr}" if ":" in cidr else f"ip,nw_dst={cidr}", f"resubmit(,{TARGETS})"


def target_rules(addresses: Sequence[str]) -> Iterator[Rule]:
    """The addresses of isolated containers, and the rest of both tables."""
    for address in addresses:
        yield TARGETS, DENY, f"ipv6,ipv6_dst={address}" if ":" in address else f"ip,nw_dst={address}", "drop"
    for table in (PREFIXES, TARGETS):
        yield table, ALLOW, "", f"resubmit(,{DELIVER})"


def open_rules(macs: Sequence[str], ports: Sequence[str]) -> Iterator[Rule]:
    """Group frames of isolated containers on other hosts, with these hardware addresses, go to these ports only."""
    for mac in macs:
        yield DELIVER, PERMIT, f"dl_src={mac},{GROUPS}", f"resubmit(,{OPEN})"
    yield OPEN, ALLOW, "", ",".join((LOCAL, *(deliver_to(port) for port in ports)))


def container_rules(
    mac: str,
    addresses: Sequence[str],
    link_local: str,
    allow: Sequence[str] = (),
    *,
    leases: Sequence[str] = (),
    forwards: Sequence[tuple[str, str]] = (),
    following: int = DELIVER,
) -> Iterator[Rule]:
    """The frames that a container may send by a port with the hardware address `mac`: those with its own addresses.

    `link_local` is its IPv6 address of the link, "" without IPv6; `allow` are keys of PERMISSIONS. `leases` are the
    ranges of IPv4 in which a DHCP server may assign it an address. `forwards` are the packets that it forwards, as
    prefix and target. `following` is the next table.
    """
    passed = f"resubmit(,{following})"
    yield SOURCE, ALLOW, UNTAGGED, f"resubmit(,{KIND})"
    for match in (match for word in allow for match in PERMISSIONS[word]):
        yield KIND, PERMIT, match, f"resubmit(,{OWN})"
    for address in [address for address in addresses if ":" not in address] + list(leases):
        yield OWN, ALLOW, f"ip,dl_src={mac},nw_src={address}", passed
        yield OWN, ALLOW, f"arp,dl_src={mac},arp_spa={address},arp_sha={mac}", passed
        # A probe asks whether the address is in use (RFC 5227). One for a foreign address would be a conflict for its
        # holder.
        yield OWN, ALLOW, f"arp,dl_src={mac},arp_spa=0.0.0.0,arp_tpa={address},arp_op=1,arp_sha={mac}", passed
    if leases:
        yield OWN, ALLOW, f"udp,dl_src={mac},nw_src=0.0.0.0,tp_src=68,tp_dst=67", passed
    for prefix, target in forwards:
        words = ("ipv6", "ipv6_src", "ipv6_dst") if ":" in prefix else ("ip", "nw_src", "nw_dst")
        yield OWN, ALLOW, f"{words[0]},dl_src={mac},{words[1]}={prefix},{words[2]}={target}", passed
    six = [address for address in addresses if ":" in address] + ([link_local] if link_local else [])
    if six:
        yield from _discovery_rules(mac, passed)
    for address in six:
        yield OWN, ALLOW, f"ipv6,dl_src={mac},ipv6_src={address}", passed
        yield OWN, ALLOW, f"icmp6,dl_src={mac},ipv6_src=::,icmp_type=135,nd_target={address}", passed
        yield ADVERTISED, ALLOW, f"icmp6,icmp_type=136,nd_target={address}", f"resubmit(,{OWN})"


def _discovery_rules(mac: str, passed: str) -> Iterator[Rule]:
    """Messages of neighbor discovery with the sender's own hardware address, or none; and reports of multicast groups."""
    for own in (mac, NO_LINK_ADDRESS):
        yield KIND, PERMIT, f"icmp6,icmp_type=135,nd_sll={own}", f"resubmit(,{OWN})"
        yield KIND, PERMIT, f"icmp6,icmp_type=136,nd_tll={own}", f"resubmit(,{ADVERTISED})"
    for kind in (131, 143):  # before it has an address
        yield OWN, ALLOW, f"icmp6,dl_src={mac},ipv6_src=::,icmp_type={kind}", passed
