"""An OpenFlow rule on an Open vSwitch bridge of ours: who may send what.

It does what the `bridge` table of nftables does on a Linux bridge, which sees none of Open vSwitch's frames.

Nothing passes that no rule allows. Four tables, numbered as OpenFlow does:

    0  where a frame comes from: the host, its uplink and an overlay may send, a container's goes to 1 (untagged frames only),
       nobody else's
    1  what no container may send: replies of DHCP servers, router advertisements, redirects. Advertisements of neighbors go
       to 2, the rest to 3
    2  a container may advertise its own IPv6 addresses
    3  and may send with its own hardware address and its own addresses; what passes is switched as usual (NORMAL)

A rule carries the topology's cookie (naming.cookie_of), and is recognised by it on the topology's own bridges; others are
an administrator's, and let alone. It is told from others by table, priority and match; other actions are written over the old
ones, as OpenFlow does with an equal match.

Rules live in ovs-vswitchd and not in the OVSDB: a restart that does not save them (as `ovs-ctl restart` does) loses them all, and
the next apply makes them again. A rule names a port by its number, which goes with the port: so rules are made after
their port and removed before it. The text is that of `ovs-ofctl dump-flows`, so what is live compares with what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.ownership import UPLINK_NUMBER, is_uplink_port
from reconciler.state.naming import cookie_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.openvswitch import FlowAdd, FlowDelete
from reconciler.state.steps.step import Step

LOCAL = "LOCAL"
"""The internal port of a bridge (ovs-fields(7), in_port)."""
UPLINK = str(UPLINK_NUMBER)
"""The host's uplink in a bridge of ours."""
SOURCE, KIND, ADVERTISED, OWN = 0, 1, 2, 3
"""The tables."""
PERMIT, DENY, ALLOW, LAST = 30, 20, 10, 1
"""Priorities."""

UNTAGGED = "vlan_tci=0x0000/0x1fff"
"""No VLAN tag, as ovs-ofctl prints it."""
_IN_PORT = re.compile(r',?in_port="?([^",]+)"?')
_HEAD = re.compile(r"table=(\d+),?(?:priority=(\d+),?)?(.*)", re.ASCII)
DEFAULT_PRIORITY = 32768
"""Of a rule that is printed with none (OFP_DEFAULT_PRIORITY)."""

Rule = tuple[int, int, str, str]
"""Table, priority, match without the port, and actions."""


@dataclass(frozen=True, slots=True)
class OvsFlow(Record):
    """A rule of `bridge` for what comes from `port` ("" for every port): `match` is in the words of ovs-ofctl(8)."""

    kind = "flow"
    dies_with_parent = False  # it outlives its port

    topology: str
    bridge: str
    port: str
    table: int
    priority: int
    match: str
    actions: str
    about: str = field(default="host", compare=False)
    """Whose it is, for people: `container web`, `subnet front`."""

    @property
    def ident(self) -> str:
        return f"{self.bridge} {self.words}"

    @property
    def words(self) -> str:
        """Table, priority and match, as ovs-ofctl takes them. A protocol stands before what is matched in it."""
        port = self.port if self.port == LOCAL or self.port.isdecimal() else f'"{self.port}"'
        parts = (f"table={self.table}", f"priority={self.priority}", self.match, f"in_port={port}" if self.port else "")
        return ",".join(part for part in parts if part)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        bridge = Ref("openvswitch", self.netns, self.bridge)
        return (bridge, Ref("ovs-port", self.netns, self.port)) if self.port not in ("", LOCAL, UPLINK) else (bridge,)

    @property
    def subject(self) -> str:
        return self.about

    def describe(self) -> str:
        whose = self.bridge if self.port in ("", LOCAL, UPLINK) else self.port
        return f"flow of {whose}, table {self.table}: {self.match or 'everything'} -> {self.actions}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        uplinks = {(bridge.name, port.name) for bridge in snapshot.ovs_bridges for port in bridge.ports if is_uplink_port(port)}
        for flow in snapshot.ovs_flows:
            head = _HEAD.fullmatch(flow.match)
            if head is None:
                continue
            found = _IN_PORT.search(head[3])
            match = _IN_PORT.sub("", head[3], count=1).removeprefix(",")
            port = found[1] if found else ""
            yield cls(
                HOST,
                snapshot.topology,
                flow.bridge,
                UPLINK if (flow.bridge, port) in uplinks else port,
                int(head[1]),
                int(head[2] or DEFAULT_PRIORITY),
                match,
                flow.actions,
            )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (FlowAdd(self.netns, self.bridge, cookie_of(self.topology), self.words, self.actions),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (FlowDelete(self.netns, self.bridge, cookie_of(self.topology), self.words),)


# --- the rules --------------------------------------------------------------------------------------------------------


BRIDGE_RULES: tuple[Rule, ...] = (
    (KIND, DENY, "udp,tp_src=67", "drop"),
    (KIND, DENY, "udp6,tp_src=547", "drop"),
    (KIND, DENY, "icmp6,icmp_type=134", "drop"),
    (KIND, DENY, "icmp6,icmp_type=137", "drop"),
    (KIND, DENY, "icmp6,icmp_type=136", f"resubmit(,{ADVERTISED})"),
    (KIND, ALLOW, "", f"resubmit(,{OWN})"),
)
"""What holds for all containers of a bridge."""
PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "dhcp-server": ("udp,tp_src=67", "udp6,tp_src=547"),
    "router-advertisements": ("icmp6,icmp_type=134",),
}
"""What a file may `allow` a container to send all the same."""
TRUSTED_RULE: Rule = (SOURCE, ALLOW, "", "NORMAL")
"""The host's own port, its uplink, and an overlay's."""
CLOSED_RULE: Rule = (SOURCE, LAST, "", "drop")
"""Of a bridge that would switch by itself what no rule takes (`fail_mode` standalone)."""


def container_rules(
    mac: str, addresses: Sequence[str], link_local: str, allow: Sequence[str] = (), *, leases: Sequence[str] = ()
) -> Iterator[Rule]:
    """What a container may send by a port on which it has the hardware address `mac`: with any of its own addresses.

    `link_local` is its IPv6 address of the link, "" where it has no IPv6; `allow` are keys of PERMISSIONS; `leases` are the
    ranges of IPv4 in which a DHCP server may give it an address.
    """
    yield SOURCE, ALLOW, UNTAGGED, f"resubmit(,{KIND})"
    for match in (match for word in allow for match in PERMISSIONS[word]):
        yield KIND, PERMIT, match, f"resubmit(,{OWN})"
    four = [address for address in addresses if ":" not in address] + list(leases)
    six = [address for address in addresses if ":" in address] + ([link_local] if link_local else [])
    for address in four:
        yield OWN, ALLOW, f"ip,dl_src={mac},nw_src={address}", "NORMAL"
        yield OWN, ALLOW, f"arp,dl_src={mac},arp_spa={address},arp_sha={mac}", "NORMAL"
    if four:  # asking whether somebody has the address already (RFC 5227)
        yield OWN, ALLOW, f"arp,dl_src={mac},arp_spa=0.0.0.0,arp_op=1,arp_sha={mac}", "NORMAL"
    if leases:
        yield OWN, ALLOW, f"udp,dl_src={mac},nw_src=0.0.0.0,tp_src=68,tp_dst=67", "NORMAL"
    for address in six:
        yield OWN, ALLOW, f"ipv6,dl_src={mac},ipv6_src={address}", "NORMAL"
        yield OWN, ALLOW, f"icmp6,dl_src={mac},ipv6_src=::,icmp_type=135,nd_target={address}", "NORMAL"
        yield ADVERTISED, ALLOW, f"icmp6,icmp_type=136,nd_target={address}", f"resubmit(,{OWN})"
    if six:  # multicast groups, before it has an address
        yield OWN, ALLOW, f"icmp6,dl_src={mac},ipv6_src=::,icmp_type=131", "NORMAL"
        yield OWN, ALLOW, f"icmp6,dl_src={mac},ipv6_src=::,icmp_type=143", "NORMAL"
