"""The rules of a Linux bridge beside the flows of Open vSwitch: what the one drops, the other drops, too."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.kinds.firewall.chains import render_chains
from reconciler.kinds.openvswitch.flow import (
    BRIDGE_RULES,
    PERMISSIONS,
    SEGMENT_RULES,
    apart_rules,
    container_rules,
    open_rules,
    prefix_rule,
    target_rules,
)

GROUPS = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
MAC, FAR_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
RESERVED = "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"


@dataclass(frozen=True, slots=True)
class Unlike:
    """Why a drop has no flow of its own."""

    reason: str


NOT_OWN = Unlike("table 3 passes a container's own addresses, and a frame that no flow passes is dropped")
ROUTERS_OF_GROUPS = ("ip,nw_proto=2", "ip,nw_dst=224.0.0.1,nw_proto=2", "ip,nw_dst=224.0.0.106,nw_proto=2")
EQUALS: dict[str, tuple[str, ...] | Unlike] = {
    "crossing: meta pkttype != other ether saddr @isolated_macs oifname @isolated_ports drop": (f"dl_src={FAR_MAC},{GROUPS}",),
    "port_isolated: iifname @isolated_ports ether daddr @isolated_macs drop": (f"dl_dst={MAC}",),
    "port_isolated: ip daddr @isolated4 iifname . ip daddr @isolated_ports4 drop": ("ip,nw_dst=10.44.0.10",),
    "port_isolated: ip6 daddr @isolated6 iifname . ip6 daddr @isolated_ports6 drop": ("ipv6,ipv6_dst=fd44::10",),
    "port: drop": NOT_OWN,
    "port_group: ether daddr 01:80:c2:00:00:00-01:80:c2:00:00:0f drop": (RESERVED,),
    "port_arp: iifname . ether saddr != @macs drop": NOT_OWN,
    "port_arp: arp htype != 1 drop": Unlike("Open vSwitch reads no addresses in such a message, so table 3 passes none"),
    "port_arp: arp ptype != ip drop": Unlike("the same"),
    "port_arp: arp hlen != 6 drop": Unlike("the same"),
    "port_arp: arp plen != 4 drop": Unlike("the same"),
    "port_arp: drop": NOT_OWN,
    "port_ip: drop": NOT_OWN,
    "port_icmp: icmp type { redirect, router-advertisement } iifname != @routers drop": ("icmp,icmp_type=5", "icmp,icmp_type=9"),
    # OpenFlow has no field for the type of an IGMP message: all but reports of version 3, which have a target of their own.
    "port_igmp: @th,0,8 0x00-0x11 drop": ROUTERS_OF_GROUPS,
    "port_igmp: @th,0,8 0x13-0x15 drop": ROUTERS_OF_GROUPS,
    "port_igmp: @th,0,8 0x18-0x21 drop": ROUTERS_OF_GROUPS,
    "port_igmp: @th,0,8 0x23-0xff drop": ROUTERS_OF_GROUPS,
    "port_udp: th sport 67 iifname != @dhcp_servers drop": ("udp,tp_src=67",),
    "port_udp: th dport 68 iifname != @dhcp_servers drop": ("udp,tp_dst=68",),
    "port_routing: iifname != @routers drop": ("ip,nw_proto=103", "ipv6,nw_proto=103"),
    "port_ip6: ip6 hoplimit 255 exthdr frag exists drop": ("ipv6,nw_ttl=255,nw_frag=yes",),
    "port_ip6: ip6 saddr != :: drop": NOT_OWN,
    "port_ip6: drop": NOT_OWN,
    "port_icmpv6: icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } iifname != @lan_ports drop": (
        "icmp6,icmp_type=131", "icmp6,icmp_type=132", "icmp6,icmp_type=143",
    ),
    "port_icmpv6: icmpv6 type { nd-router-advert, nd-redirect, mld-listener-query } iifname != @routers drop": (
        "icmp6,icmp_type=134", "icmp6,icmp_type=137", "icmp6,icmp_type=130",
    ),
    "port_icmpv6: icmpv6 type { 151, 152, 153 } iifname != @routers drop": (
        "icmp6,icmp_type=151", "icmp6,icmp_type=152", "icmp6,icmp_type=153",
    ),
    "port_icmpv6: icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @addresses6 drop": (
        "icmp6,icmp_type=136",
    ),
    "port_udp6: th sport 547 iifname != @dhcp_servers drop": ("udp6,tp_src=547",),
    "port_udp6: th dport 546 iifname != @dhcp_servers drop": ("udp6,tp_dst=546",),
    "whole: drop": ("icmp6,icmp_type=0", "udp6,tp_src=0,tp_dst=0"),
}  # fmt: skip
"""For each rule of the bridge's table that drops, the flows that do so."""
OPENED = {"routers": "router-advertisements", "dhcp_servers": "dhcp-server"}
"""The sets of ports to which a rule does not apply, as words of the file."""


def drops() -> list[str]:
    """Every rule of the bridge's table that drops, behind its chain's name."""
    chain, found = "", []
    for line in map(str.strip, render_chains("bridge", 0).splitlines()):
        if line.startswith("chain "):
            chain = line.split()[1]
        if line.endswith("drop"):
            found.append(f"{chain}: {line}")
    return found


def test_every_drop_of_a_linux_bridge_has_its_flow() -> None:
    """Each has flows that drop the same, or a reason why none is needed; a new one has to say which."""
    assert drops() == list(EQUALS)
    rules = [*BRIDGE_RULES, *SEGMENT_RULES, *apart_rules([MAC]), *target_rules(["10.44.0.10", "fd44::10"])]
    dropped = {match for _, _, match, actions in rules if actions == "drop"}
    kept_apart = {match for _, _, match, actions in open_rules([FAR_MAC], []) if actions != "NORMAL"}
    for rule, flows in EQUALS.items():
        assert isinstance(flows, Unlike) or set(flows) <= dropped | kept_apart, rule


def test_what_a_file_allows_is_the_same() -> None:
    """A rule that spares some ports has a flow that lets those through, by the same word of the file."""
    for rule, flows in EQUALS.items():
        for name, word in OPENED.items():
            if f"@{name} drop" in rule and not isinstance(flows, Unlike):
                assert {match for match in flows if "nw_dst" not in match} <= set(PERMISSIONS[word]), rule


def test_a_flow_drops_before_one_passes() -> None:
    """In its table a rule that drops comes before those that pass all of a container's frames, and what is allowed before it."""
    rules = [*BRIDGE_RULES, *SEGMENT_RULES, *target_rules(["10.44.0.10"]), *apart_rules([MAC]), prefix_rule("10.44.0.0/24")]
    for table in {table for table, *_ in rules}:
        passing = [priority for each, priority, match, actions in rules if each == table and not match and actions != "drop"]
        dropping = [priority for each, priority, _, actions in rules if each == table and actions == "drop"]
        assert not passing or not dropping or max(passing) < min(dropping), table
    allowed = [rule for rule in container_rules(MAC, [], "", tuple(PERMISSIONS)) if rule[2] in sum(PERMISSIONS.values(), ())]
    closed = {match: priority for _, priority, match, actions in rules if actions == "drop"}
    assert allowed
    assert all(priority > closed[match] for _, priority, match, _ in allowed)
