"""The sentence of each hop that rules decide: what a set, a chain or a flow means for the packet."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.explain.packet import WalkedPacket
from reconciler.explain.rules import ParsedRule
from reconciler.explain.tables import Hit, Run
from reconciler.kinds.firewall.elements import FirewallElement
from reconciler.kinds.firewall.traffic_elements import AllowedTraffic
from reconciler.state.record import Record

UNKNOWN_ADDRESS = {4: "192.0.0.8", 6: "::"}
"""What stands for the address of a host of which the file says none (RFC 7600, RFC 4291)."""
PASSES = (
    ("@nat_bridges", "its subnet has mode nat: packets may leave"),
    ("iifname @routed_bridges", "its subnet has mode routed: packets may leave"),
    ("oifname @routed_bridges", "the target's subnet has mode routed: it is open to other networks"),
    ("ct direction reply", "it answers a connection that was let through"),
    ("ct status dnat", "the port is published"),
    ("@same_bridge", "both are in one subnet"),
)
"""Conditions of the chains that let a packet pass, and their meaning."""
REFUSALS = {
    "local": "a sender on the uplink cannot have an address of a subnet on this host",
    "guarded": "no other network leads into a subnet of mode nat or isolated",
    "connections": "the container has too many connections",
    "switched": "frames of this port belong to the switch, not to the host",
    "peers": "only hosts of the topology may send packets of its tunnels",
    "natted": "connection tracking does not know the packet, so it could not be masqueraded",
}


def describe_sender(hits: Sequence[Hit], port: str) -> str:
    """What a container's port checked; "" if nothing did."""
    for hit in reversed(hits):
        for element in hit.elements:
            stem = element.set.rstrip("46")
            if stem in ("addresses", "leases"):
                return f"{port} may send from {element.key.rpartition(' . ')[2]}"
            if stem == "forwarded":
                return f"{port} may forward packets from {element.key.split(' . ')[2]}"
    return ""


def describe_drop(rule: ParsedRule, port: str, packet: WalkedPacket) -> tuple[str, str]:
    """The reason why a bridge's filter drops a frame, and the cause."""
    if "@isolated" in rule.text:
        return f"{port} is isolated, and so is {packet.target}", "isolated"
    if rule.text == "drop":
        return f"{port} may not send from {packet.source}: it is no address of this container", "spoofed"
    return f"{port} may not send such a packet: {rule.text}", "kind"


def describe_run(run: Run, packet: WalkedPacket) -> tuple[str, Record | None] | None:
    """What let a packet pass a chain of the host; None if nothing in it is about the packet."""
    for hit in run.hits:
        policy = next((one for one in hit.elements if _is_policy(one)), None)
        if policy:
            services = policy.services or "all ports"
            return f"{policy.about} allows {services}", policy
        for words, meaning in PASSES:
            if words in hit.rule.text and hit.verdict and hit.rule.chain in ("forward", "ours"):
                if hit.verdict in ("goto ours", "jump asking"):
                    continue
                element = next(iter(hit.elements), None)
                return f"the firewall lets it pass: {meaning}", element
        if hit.rule.chain == "underlay" and hit.verdict == "accept":
            return f"a packet of a tunnel between hosts of the topology, from {packet.source}", next(iter(hit.elements), None)
        if "@neighbours" in hit.rule.text:
            return f"the sender {packet.source} is a container of that neighbour", next(iter(hit.elements), None)
    return None


def _is_policy(element: FirewallElement) -> bool:
    return issubclass(element.shape, AllowedTraffic) and element.about.sort == "policy"


def describe_translation(run: Run, before: WalkedPacket, after: WalkedPacket) -> tuple[str, Record | None]:
    """What a packet's new address is."""
    element = next(
        (one for hit in reversed(run.hits) for one in hit.elements if one.value and not one.value.startswith("goto")), None
    )
    what = run.translation
    if what and what.kind == "dnat":
        target = f"[{after.target}]" if after.family == 6 else after.target
        return f"port {before.port}/{before.protocol} is published: it leads to {target}:{after.port}", element
    if what and what.kind == "redirect":
        return f"queries for names go to the resolver of this host, port {after.port}", element
    reason = next((one for hit in run.hits for one in hit.elements if one.set.rstrip("46") in ("natted", "returns")), element)
    own = "the host's own address" if after.source in UNKNOWN_ADDRESS.values() else after.source
    return f"the packet gets the source {own} in place of {before.source}", reason


def describe_refusal(run: Run, packet: WalkedPacket) -> tuple[str, str, Record | None]:
    """The reason why a chain of the host ends the packet, the cause, and the record."""
    last = run.hits[-1]
    elements = [one for hit in run.hits for one in hit.elements]
    if run.verdict == "reject" or last.rule.chain == "refuse":
        answer = "a TCP reset" if packet.protocol == "tcp" else "an ICMP error"
        return f"no policy allows {packet}; the firewall answers with {answer}", "policy", None
    for element in reversed(last.elements or elements):
        stem = element.set.rstrip("46")
        if stem in REFUSALS:
            return f"the firewall drops it: {REFUSALS[stem]}", stem, element
    if "127.0.0.0/8" in last.rule.text:
        return "the firewall drops it: addresses of localhost come from the host itself only", "localhost", None
    return f"the firewall drops it: chain {last.rule.chain}, `{last.rule.text}`", last.rule.chain, None
