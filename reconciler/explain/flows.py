"""The OpenFlow rules of a bridge as a frame meets them (ovs-fields(7), ovs-actions(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from reconciler.explain.packet import Frame
from reconciler.kinds.openvswitch.bridge import UPLINK_NUMBER
from reconciler.kinds.openvswitch.flow import APART, DELIVER, KIND, LOCAL, SOURCE, TARGETS, OvsFlow
from reconciler.state.uapi import PROTOCOLS

FlowRecord = OvsFlow
OWN_PORT = LOCAL
"""The port by which a bridge's host sends and receives."""
UPLINK_PORT = str(UPLINK_NUMBER)
"""The port that is the host's uplink."""
SIMULATED = "frames inside Open vSwitch meet no rule of nftables: the switch itself named its flows (`ovs-appctl ofproto/trace`)"
"""What stands for a trace of nftables there."""
UNKNOWN_MAC = "02:00:00:00:00:02"
"""What stands for the hardware address of a router that is not in the file."""
ETHERNET = {4: "ip", 6: "ipv6"}
ECHO = {4: ("8", "0"), 6: ("128", "129")}
"""ICMP types of an echo request and its answer (RFC 792, RFC 4443)."""
_RESUBMIT = re.compile(r"resubmit\(,(\d+)\)")
_OUTPUT = re.compile(r'output:"?([^",]+)"?')


@dataclass(frozen=True, slots=True)
class FlowRun:
    """The rules that a frame matched, in order, and the ports that get it: names, `LOCAL`, or `NORMAL`."""

    rules: tuple[OvsFlow, ...]
    ports: tuple[str, ...]


def run_flows(flows: Iterable[OvsFlow], port: str, frame: Frame) -> FlowRun:
    """The way of a frame that comes in by `port` through the tables of a bridge."""
    fields = fields_of(frame)
    tables: dict[int, list[OvsFlow]] = {}
    for flow in flows:
        tables.setdefault(flow.table, []).append(flow)
    table, taken = SOURCE, list[OvsFlow]()
    while True:
        ordered = sorted(tables.get(table, ()), key=lambda flow: -flow.priority)
        rule = next((flow for flow in ordered if flow.port in ("", port) and _matches(flow.match, fields)), None)
        if rule is None:
            return FlowRun(tuple(taken), ())
        taken.append(rule)
        following = _RESUBMIT.search(rule.actions)
        if not following:
            return FlowRun(tuple(taken), tuple(_ports(rule.actions)))
        table = int(following[1])


def flow_words(port: str, frame: Frame) -> str:
    """A frame as ovs-appctl(8) reads it."""
    fields = dict(fields_of(frame))
    if "icmp6" in fields:
        fields["icmpv6_type"] = fields.pop("icmp_type")  # of a whole frame, only this name is accepted
    fields["dl_dst"] = fields["dl_dst"] or UNKNOWN_MAC
    left_out = ("vlan_tci", "nw_proto", "nw_frag", "ip", "ipv6")
    words = [f"{name}={value}" if value else name for name, value in fields.items() if name not in left_out and (value or name)]
    quoted = port if port in (OWN_PORT, UPLINK_PORT) else f'"{port}"'
    return ",".join([*(word for word in words if "=" not in word), f"in_port={quoted}", *(word for word in words if "=" in word)])


def _ports(actions: str) -> Iterable[str]:
    for action in actions.split(","):
        if found := _OUTPUT.fullmatch(action):
            yield found[1]
        elif action in (LOCAL, "NORMAL"):
            yield action


def fields_of(frame: Frame) -> Mapping[str, str]:
    """The fields of a frame without a VLAN tag, by the names that rules use."""
    packet = frame.packet
    version = ETHERNET[packet.family]
    fields = {"dl_src": frame.source_mac, "dl_dst": frame.target_mac, version: "", "vlan_tci": "0x0000"}
    if packet.family == 4:
        fields |= {"nw_src": packet.source, "nw_dst": packet.target}
    else:
        fields |= {"ipv6_src": packet.source, "ipv6_dst": packet.target}
    if packet.protocol == "icmp":
        fields |= {"icmp" if packet.family == 4 else "icmp6": "", "icmp_type": ECHO[packet.family][packet.is_reply]}
        number = 1 if packet.family == 4 else 58
    else:
        fields |= {packet.protocol + ("6" if packet.family == 6 else ""): ""}
        fields |= {"tp_src": str(packet.source_port), "tp_dst": str(packet.port)}
        number = PROTOCOLS[packet.protocol]
    return fields | {"nw_proto": str(number), "nw_ttl": "64", "nw_frag": "no"}


def _matches(match: str, fields: Mapping[str, str]) -> bool:
    return all(_holds(part, fields) for part in match.split(",") if part)


def _holds(part: str, fields: Mapping[str, str]) -> bool:
    name, equals, wanted = part.partition("=")
    if name not in fields:
        return False
    if not equals:
        return True
    held, (value, slash, mask) = fields[name], wanted.partition("/")
    if not slash:
        return held == value
    if name in ("nw_src", "nw_dst", "ipv6_src", "ipv6_dst"):
        return ip_address(held) in ip_network(wanted, strict=False)
    return _number(held) & _number(mask) == _number(value) & _number(mask)


def _number(text: str) -> int:
    """A hardware address, "" for an unknown one, or a hexadecimal number."""
    return int(text.replace(":", "") or "0", 16)


def describe_flow(rule: OvsFlow | None, bridge: str, frame: Frame) -> tuple[str, str]:
    """The reason why the flows of a bridge drop a frame, and the cause."""
    packet = frame.packet
    if rule is None:
        return f"no flow of {bridge} lets {packet.source} send by this port", "spoofed"
    if rule.table in (APART, TARGETS):
        return f"the flows of {bridge} drop it: both ports are isolated", "isolated"
    if rule.table == KIND:
        return f"the flows of {bridge} drop such packets of containers: {rule.match}", "kind"
    if rule.table == DELIVER:
        return f"no flow of {bridge} knows {frame.target_mac}", "fdb"
    return f"a flow of {bridge} drops it: table {rule.table}, {rule.match or 'everything'}", "flow"
