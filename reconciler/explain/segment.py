"""A frame on its way over links, bridges and tunnels, until a network stack takes it in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from reconciler.explain.flows import OWN_PORT, UPLINK_PORT, describe_flow, flow_words, run_flows
from reconciler.explain.packet import CLIENT_PORT, Crossing, End, Frame, Hop, Layer, SwitchVisit, Trail, WalkedPacket
from reconciler.explain.tables import Fields, Run, Table
from reconciler.explain.words import describe_drop, describe_sender
from reconciler.explain.world import Node, NodeLink, World
from reconciler.kinds.addressing.fdb import BROADCAST_MAC, Fdb
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.state.record import Record
from reconciler.state.ref import HOST, LAB, is_lab_netns

HOPS_MAX = 100
"""A longer path is a loop of routes."""
ETHER_TYPES = {4: "ip", 6: "ip6"}


class EndedError(Exception):
    """The path has ended; the trail says how."""


class FrameWalker(ABC):
    """Walks with frames. The subclass knows what a network stack does with the packet in one."""

    def __init__(self, world: World) -> None:
        """The trail is empty at first."""
        self.world = world
        self.trail = Trail()

    @abstractmethod
    def receive(self, node: Node, interface: NodeLink, frame: Frame) -> None:
        """The network stack of a node gets the packet in a frame."""

    # --- the trail ------------------------------------------------------------------------------------------------------

    def hop(self, node: Node, layer: Layer, words: str, record: Record | None = None, dev: str = "") -> None:
        """Add a hop."""
        host, rules = LAB if record is not None and is_lab_netns(record.netns) else node.host, len(self.trail.crossings)
        self.trail.hops.append(
            Hop(host=host, netns=node.netns, place=node.name, layer=layer, words=words, record=record, dev=dev, rules=rules)
        )
        if len(self.trail.hops) > HOPS_MAX:
            self.stop(node, "lost", "the routes lead in a circle", "loop")

    def stop(self, node: Node, end: End, words: str, cause: str = "", record: Record | None = None) -> None:
        """End the path."""
        self.trail.end, self.trail.reason, self.trail.cause = end, words, cause
        layer: Layer = "arrives" if end in ("arrives", "leaves") else "ends"
        rules = len(self.trail.crossings)
        self.trail.hops.append(
            Hop(host=node.host, netns=node.netns, place=node.name, layer=layer, words=words, record=record, rules=rules)
        )
        raise EndedError

    def cross(self, node: Node, run: Run) -> Run:
        """Note the rules that a packet matched."""
        self.trail.crossings += [Crossing(node.host, hit) for hit in run.hits]
        return run

    def trust(self, node: Node, table: Table) -> None:
        """End the path if another program has changed the rules of a table: then nothing is known of them."""
        if not table.is_intact:
            words = f"another program has changed the nftables table {table.family} of netctl, so its rules are not known"
            self.stop(node, "unknown", words, "damaged")

    # --- links ----------------------------------------------------------------------------------------------------------

    def transmit(self, node: Node, interface: NodeLink, frame: Frame, hop: str = "") -> None:
        """A frame leaves a node by one of its links. `hop` is the next hop, for a link beyond which nothing is known."""
        if not interface.is_up:
            self.stop(node, "dropped", f"{interface.name} is down", "down", interface.record)
        match interface.sort:
            case "cable" if interface.peer:
                self._over_cable(node, interface, frame)
            case "bridge":
                self.forward(node, interface, None, frame)
            case "switch":
                self._switch(node, interface, OWN_PORT, frame)
            case "tunnel":
                self._encapsulate(node, interface, frame)
            case "stacked":
                self._over_stacked(node, interface, frame, hop)
            case _:
                self._over_lan(node, interface, frame, hop)

    def _over_cable(self, node: Node, interface: NodeLink, frame: Frame) -> None:
        key, name = interface.peer or (node.key, "")
        there = self.world.nodes[key]
        far = there.interfaces.get(name)
        if far is None:
            self.stop(node, "dropped", f"the other end of {interface.name} is gone", "missing", interface.record)
            return
        if far.master:
            where = f"a port of {far.master}"
            self.hop(node, "link", f"{interface.name} is a cable to {name} on {there.name}, {where}", interface.record)
        elif interface.master:
            self.hop(node, "link", f"port {interface.name} is the cable to {name} of {there.name}", interface.record)
        self.arrive(there, far, frame)

    def arrive(self, node: Node, interface: NodeLink, frame: Frame) -> None:
        """A frame comes in by a link."""
        if node.is_host:
            self.trail.links.append((node.host, interface.name))
        if self._is_fast(node, interface, frame):
            return
        bridge = node.interfaces.get(interface.master)
        if bridge and bridge.sort == "switch":
            port = UPLINK_PORT if interface.joins else interface.name
            self._switch(node, bridge, port, frame)
        elif bridge:
            self._enter_bridge(node, bridge, interface, frame)
        elif above := self._stacked_above(node, interface, frame):
            there, upper = above
            words = f"{interface.name} gives frames for {frame.target_mac} to {upper.name} of {there.name}"
            self.hop(node, "stacked", words, upper.record)
            self.receive(there, upper, frame)
        elif interface.mac and frame.target_mac != interface.mac:
            words = f"{interface.name} has another hardware address than {frame.target_mac}, so {node.name} ignores the frame"
            self.stop(node, "lost", words, "mac", interface.record)
        else:
            self.receive(node, interface, frame)

    # --- Linux bridges --------------------------------------------------------------------------------------------------

    def frame_fields(self, interface: str, frame: Frame) -> dict[str, str | frozenset[str]]:
        """What rules can ask of a frame."""
        packet = frame.packet
        words: dict[str, str | frozenset[str]] = dict(packet_fields(packet))
        words |= {
            "iifname": interface, "ether saddr": frame.source_mac, "ether daddr": frame.target_mac,
            "ether type": ETHER_TYPES[packet.family], "meta pkttype": "other",
        }  # fmt: skip
        return words

    def _enter_bridge(self, node: Node, bridge: NodeLink, port: NodeLink, frame: Frame) -> None:
        fields = self.frame_fields(port.name, frame)
        if frame.target_mac == bridge.mac:
            fields["meta pkttype"] = "host"
        for table, chain in node.chains("bridge", "prerouting"):
            self.trust(node, table)
            run = self.cross(node, table.run(chain.name, fields))
            elements = [element for hit in run.hits for element in hit.elements]
            if run.verdict == "drop":
                last = run.hits[-1]
                words, cause = describe_drop(last.rule, port.name, frame.packet)
                self.stop(node, "dropped", words, cause, elements[-1] if elements else None)
            if words := describe_sender(run.hits, port.name):
                self.hop(node, "filter", words, elements[-1] if elements else None)
        self.forward(node, bridge, port, frame)

    def forward(self, node: Node, bridge: NodeLink, port: NodeLink | None, frame: Frame) -> None:
        """The bridge sends a frame on: to the host if it has its hardware address, else to a port."""
        own = bridge.mac or self._host_mac(node)
        if port and own and frame.target_mac == own:
            self.hop(node, "bridge", f"{bridge.name} has that hardware address, so the host takes the packet", bridge.record)
            self.receive(node, bridge, frame)
            return
        out, entry = self._port_for(node, bridge, frame)
        if out is None:
            words = f"{bridge.name} has no entry for {frame.target_mac}, and sends unknown addresses nowhere"
            self.stop(node, "lost", words, "fdb", bridge.record)
            return
        if port and port is not out and port.is_isolated and out.is_isolated:
            words = f"{port.name} and {out.name} are isolated ports, and {bridge.name} lets nothing pass between them"
            self.stop(node, "dropped", words, "isolated", out.record)
        if port is out and out.options.get("hairpin") != "on":
            words = f"{bridge.name} sends no frame back by the port where it came in (hairpin is off)"
            self.stop(node, "dropped", words, "hairpin", out.record)
        if port:
            self.show_bridged(node, bridge, frame)
        if entry or out.record:
            self.hop(
                node,
                "bridge",
                f"{bridge.name} sends frames for {frame.target_mac or 'the next hop'} to {out.name}",
                entry or out.record,
            )
        self.transmit(node, out, frame)

    @abstractmethod
    def show_bridged(self, node: Node, bridge: NodeLink, frame: Frame) -> None:
        """With br_netfilter the host's firewall sees a frame between two ports of a bridge, and lets it pass."""

    def _host_mac(self, node: Node) -> str:
        """The hardware address of a real host's own bridge, which is that of its uplink."""
        uplink = self.world.uplink(node.host)
        return uplink.mac if uplink and uplink.master else ""

    def _port_for(self, node: Node, bridge: NodeLink, frame: Frame) -> tuple[NodeLink | None, Fdb | None]:
        """The port behind which the hardware address is, by an entry, or because the bridge learns there."""
        ports = list(node.ports(bridge.name))
        for port in ports:
            for entry in node.fdb.get((port.name, frame.target_mac), ()):
                if not entry.remote:
                    return port, entry
        learning = [port for port in ports if port.learns]
        owner = self.world.neighbour_host(frame.target_mac)
        behind = [port for port in learning if port.peer and owner and port.peer[0][0] == owner]
        return next(iter((*behind, *(port for port in learning if port.joins or not port.peer))), None), None

    # --- switches with flows ------------------------------------------------------------------------------------------------

    def _switch(self, node: Node, bridge: NodeLink, port: str, frame: Frame) -> None:
        run = run_flows(node.flows.get(bridge.name, ()), port, frame)
        last = run.rules[-1] if run.rules else None
        rules = tuple((rule.table, rule.priority, rule.match) for rule in run.rules)
        self.trail.visits.append(SwitchVisit(node.host, bridge.name, flow_words(port, frame), rules))
        if not run.ports:
            words, cause = describe_flow(last, bridge.name, frame)
            self.stop(node, "dropped", words, cause, last)
        target = next(iter(run.ports))
        if target in (OWN_PORT, "NORMAL"):
            self.hop(node, "flow", f"the flows of {bridge.name} give the frame to the host", last)
            self.receive(node, bridge, frame)
            return
        uplinks = (one.name for one in node.ports(bridge.name) if one.joins)
        out = node.interfaces.get(next(uplinks, "") if target == UPLINK_PORT else target)
        came = node.interfaces.get(port)
        if out is None:
            self.stop(node, "dropped", f"port {target} of {bridge.name} is gone", "missing", last)
            return
        if target == port and out.options.get("hairpin") != "on":
            self.stop(node, "dropped", f"{bridge.name} sends no frame back by the port where it came in", "hairpin", last)
        if came and came is not out and came.is_isolated and out.is_isolated:
            self.stop(node, "dropped", f"{came.name} and {out.name} are isolated ports", "isolated", out.port_record)
        self.hop(
            node, "flow", f"the flows of {bridge.name} send frames for {frame.target_mac or 'the next hop'} to {out.name}", last
        )
        self.transmit(node, out, frame)

    # --- tunnels --------------------------------------------------------------------------------------------------------

    def _encapsulate(self, node: Node, interface: NodeLink, frame: Frame) -> None:
        tunnel = interface.record
        if not isinstance(tunnel, Tunnel):
            return
        entries = node.fdb.get((interface.name, frame.target_mac)) or node.fdb.get((interface.name, BROADCAST_MAC), [])
        entry = next((one for one in entries if one.remote), None)
        if entry is None:
            words = f"{interface.name} has no entry that says on which host {frame.target_mac} is"
            self.stop(node, "lost", words, "fdb", tunnel)
            return
        port = int(getattr(tunnel, "port", 0))
        kind = tunnel.encapsulation.protocol
        where = f"{kind.upper()} port {port}, " if port else ""
        words = f"{interface.name} wraps the frame ({tunnel.title}): {where}{tunnel.local} to {entry.remote}"
        self.hop(node, "tunnel", words, entry)
        outer = WalkedPacket(
            source=tunnel.local, target=entry.remote, protocol="udp", source_port=CLIENT_PORT, port=port, inner=frame
        )
        self.send_tunnelled(node, outer)

    @abstractmethod
    def send_tunnelled(self, node: Node, packet: WalkedPacket) -> None:
        """The kernel of a host sends the packet of a tunnel."""

    def decapsulate(self, node: Node, packet: WalkedPacket) -> None:
        """The packet of a tunnel has arrived at a host: the frame inside comes in by the host's end."""
        ends = [one for one in node.interfaces.values() if isinstance(one.record, Tunnel) and one.record.local == packet.target]
        sender = self.world.owners.get(packet.source)
        sent_by = [hop.record for hop in self.trail.hops if isinstance(hop.record, Fdb) and hop.record.remote == packet.target]
        name = sent_by[-1].dev if sent_by else ""
        end = next((one for one in ends if one.name == name), None)
        if end is None or packet.inner is None:
            self.stop(node, "dropped", f"{node.name} has no end of the tunnel", "missing")
            return
        title = end.record.title if isinstance(end.record, Tunnel) else ""
        whose = self.world.nodes[sender[0]].name if sender else packet.source
        self.hop(node, "tunnel", f"{end.name} unwraps the frame of {whose} ({title})", end.record)
        self.arrive(node, end, packet.inner)

    # --- the fast path --------------------------------------------------------------------------------------------------

    def _is_fast(self, node: Node, interface: NodeLink, frame: Frame) -> bool:
        """Whether the fast path of a subnet takes the frame on."""
        for hook in node.hooks.get(interface.name, ()):
            table = node.tables.get(("netdev", hook.subnet))
            if table is None or hook.chain not in table.program:
                continue
            self.trust(node, table)
            fields = self.frame_fields(interface.name, frame)
            fields["meta pkttype"] = "host"
            run = self.cross(node, table.run(hook.chain, fields))
            device = node.interfaces.get(run.device)
            if run.verdict == "forward" and device:
                self._forward_fast(node, device, frame, run)
                return True
        return False

    def _forward_fast(self, node: Node, device: NodeLink, frame: Frame, run: Run) -> None:
        element = next((one for hit in reversed(run.hits) for one in hit.elements), None)
        way = f" by {run.hop}" if run.hop and run.hop != frame.packet.target else ""
        words = f"the packet goes straight to {device.name}{way}, past the firewall: within a subnet all traffic passes"
        self.hop(node, "fast path", words, element)
        if not run.hop:
            self.transmit(node, device, frame)
            return
        mac, _ = self.resolve(node, device, run.hop)
        self.transmit(node, device, replace(frame, source_mac=device.mac, target_mac=mac), run.hop)

    @abstractmethod
    def resolve(self, node: Node, interface: NodeLink, address: str) -> tuple[str, Record | None]:
        """The hardware address of a neighbor, and the record that says so; "" if none answers."""

    # --- the network around the hosts -----------------------------------------------------------------------------------

    def _stacked_above(self, node: Node, interface: NodeLink, frame: Frame) -> tuple[Node, NodeLink] | None:
        key, name = self.world.macs.get(frame.target_mac, (node.key, ""))
        there = self.world.nodes[key]
        found = there.interfaces.get(name)
        above = found and found.sort == "stacked" and found.lower == interface.name and key[0] == node.host
        return (there, found) if found and above else None

    def _over_stacked(self, node: Node, interface: NodeLink, frame: Frame, hop: str) -> None:
        host = self.world.nodes[node.host, HOST]
        lower = host.interfaces.get(interface.lower)
        mode = str(getattr(interface.record, "mode", ""))
        if lower is None:
            self.stop(node, "dropped", f"{interface.lower or 'the link below'} is gone", "missing", interface.record)
            return
        self.hop(
            node,
            "stacked",
            f"{interface.name} is a {interface.kind} on {lower.name} of {host.name}, mode {mode}",
            interface.record,
        )
        beside = self._stacked_above(host, lower, frame)
        if beside and mode == "bridge":
            there, upper = beside
            self.hop(host, "stacked", f"links on {lower.name} reach each other directly: {upper.name} of {there.name}")
            self.receive(there, upper, frame)
        elif beside and mode == "private":
            self.stop(
                host, "dropped", f"links on {lower.name} in mode private do not reach each other", "stacked", interface.record
            )
        elif beside:
            self.stop(host, "unknown", "whether the frame comes back depends on the switch of the LAN", "stacked")
        elif frame.target_mac == lower.mac:
            words = f"{lower.name} exchanges no frames with the links on top of it"
            self.stop(host, "dropped", words, "stacked", interface.record)
        else:
            self.transmit(host, lower, frame, hop)

    def _over_lan(self, node: Node, link: NodeLink, frame: Frame, hop: str) -> None:
        """A frame leaves by the uplink of a real host: what is behind it is known only of hosts of the file."""
        host = self.world.neighbour_host(frame.target_mac)
        if not host and hop in self.world.owners:
            host = self.world.owners[hop][0][0]
        entry = self.world.lan_entry(host, frame.target_mac) if host and host != LAB else None
        if entry and (host != node.host or entry.name != link.name):
            words = f"the network between {node.host} and {host} carries it; it is not netctl's"
            self.hop(node, "network", words if host != node.host else f"the LAN carries it from {link.name} to {entry.name}")
            mac = frame.target_mac if self.world.is_on_lan(frame.target_mac) else entry.mac
            self.arrive(self.world.nodes[host, HOST], entry, replace(frame, target_mac=mac))
            return
        packet = frame.packet
        where = f"by {hop}" if hop and hop != packet.target else f"to {packet.target}"
        self.stop(node, "leaves", f"the packet leaves the topology {where}, as {packet}", "leaves")


def packet_fields(packet: WalkedPacket) -> Fields:
    """What rules can ask of a packet, whatever the hook."""
    family = "ip" if packet.family == 4 else "ip6"
    protocol = packet.protocol if packet.protocol != "icmp" or packet.family == 4 else "icmpv6"
    fields: dict[str, str | frozenset[str]] = {
        f"{family} saddr": packet.source,
        f"{family} daddr": packet.target,
        f"{family} {'ttl' if packet.family == 4 else 'hoplimit'}": "64",
        "meta protocol": family,
        "meta l4proto": protocol,
        "meta mark": "0",
    }
    if packet.protocol == "icmp":
        fields[f"{protocol} type"] = "echo-reply" if packet.is_reply else "echo-request"
    else:
        fields |= {"th sport": str(packet.source_port), "th dport": str(packet.port)}
        fields[f"{packet.protocol} dport"] = str(packet.port)
    if packet.family == 6:
        fields["@nh,64,128"] = packet.source
    return fields
