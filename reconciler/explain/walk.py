"""A packet on its way through network stacks: routes, netfilter hooks, neighbors; between them frames (`segment`)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from reconciler.explain.packet import Crossing, Frame, TrackedConnection, Trail, WalkedPacket
from reconciler.explain.rules import FORWARD, INPUT, OUTPUT, POSTROUTING, PREROUTING, ParsedChain
from reconciler.explain.segment import EndedError, FrameWalker, packet_fields
from reconciler.explain.tables import Fields, Run, Table
from reconciler.explain.words import UNKNOWN_ADDRESS, describe_refusal, describe_run, describe_translation
from reconciler.explain.world import Node, NodeKey, NodeLink, Way, World
from reconciler.state.record import Record
from reconciler.state.ref import HOST

NEIGHBOUR_MAC = "02:00:00:00:00:01"
"""The hardware address of a neighbour that is not in the file."""
ANYWHERE = ip_network("0.0.0.0/0")
LOOPBACK = Way(ANYWHERE, "lo")
CONNTRACK_PRIORITY = -200
"""NF_IP_PRI_CONNTRACK: a chain before it can leave a packet untracked."""


@dataclass(slots=True)
class Visit:
    """A packet in the network stack of a host: as it came, as it is now, and what connection tracking says."""

    first: WalkedPacket
    packet: WalkedPacket
    state: str
    direction: str
    connection: TrackedConnection | None = None
    in_dev: str = ""
    in_kind: str = ""
    in_group: int = 0
    source_mac: str = ""
    is_dnat: bool = False
    is_untracked: bool = False
    skuid: str = ""

    @property
    def is_new(self) -> bool:
        """Whether the chains of type nat see it."""
        return self.state == "new" and not self.is_untracked


class Walker(FrameWalker):
    """Walks one connection: its first packet, then the answer. It remembers what hosts track in between."""

    def __init__(self, world: World) -> None:
        """No host knows the connection yet."""
        super().__init__(world)
        self.connections: dict[NodeKey, list[TrackedConnection]] = {}
        self.arrived: tuple[Node, WalkedPacket] | None = None

    def walk(self, start: Node, packet: WalkedPacket) -> Trail:
        """The path of a packet that a program in a node sends; its source may be empty."""
        self.trail, self.arrived = Trail(), None
        with contextlib.suppress(EndedError):
            self.send(start, packet, skuid="0")
        return self.trail

    def knock(self, host: str, packet: WalkedPacket) -> Trail:
        """The path of a packet that a neighbour of a host sends to the host's uplink, whatever other routers would do."""
        self.trail, self.arrived = Trail(source=packet.source), None
        node, uplink = self.world.nodes[host, HOST], self.world.uplink(host)
        with contextlib.suppress(EndedError):
            if uplink is None:
                self.stop(node, "unknown", f"the uplink of {host} is not known", "missing")
            else:
                self.arrive(node, uplink, Frame(packet, NEIGHBOUR_MAC, uplink.mac))
        return self.trail

    # --- from a program -------------------------------------------------------------------------------------------------

    def send(self, node: Node, packet: WalkedPacket, skuid: str = "") -> None:
        """A packet of the node's own."""
        if not node.interfaces:
            self.stop(node, "lost", f"{node.name} has no network: it is not there, or has no links", "missing")
        way = self._way(node, packet.target)
        source = packet.source or (packet.target if way.dev == "lo" else node.source(way, packet.target))
        if not source and node.is_host and self.world.is_file_only:
            self.stop(node, "unknown", f"the file does not say which IPv{packet.family} address {node.name} has", "address")
        if not source:
            words = f"{node.name} has no IPv{packet.family} address to send from"
            self.stop(node, "lost", words, "family")
        packet = replace(packet, source=source)
        self.trail.source = self.trail.source or source
        self._note(packet)
        visit = self._visit(node, packet)
        visit.skuid = skuid
        if way.dev != "lo":
            self._tell_route(node, way, packet.target)
        if node.is_host:
            way = self._output(node, visit, way)
        if way.dev == "lo":
            self._input(node, visit, "lo")
        else:
            self._leave(node, visit, way)

    def send_tunnelled(self, node: Node, packet: WalkedPacket) -> None:
        """The kernel sends a tunnel's packet, as a program would."""
        way = self._way(node, packet.target)
        visit = self._visit(node, packet)
        self._tell_route(node, way, packet.target)
        way = self._output(node, visit, way)
        self._leave(node, visit, way)

    def _output(self, node: Node, visit: Visit, way: Way) -> Way:
        """The hook of a host's own packets; a published port changes the target, and so the route."""
        before = visit.packet
        self._hook(node, OUTPUT, visit, way)
        if visit.packet.target == before.target:
            return way
        again = self._way(node, visit.packet.target)
        if again.dev != "lo":
            self._tell_route(node, again, visit.packet.target)
        return again

    # --- from a link ----------------------------------------------------------------------------------------------------

    def receive(self, node: Node, interface: NodeLink, frame: Frame) -> None:
        """The packet of a frame is in the stack: it is for the node itself, or forwarded."""
        visit = self._visit(node, frame.packet)
        visit.in_dev, visit.in_kind, visit.in_group = interface.name, interface.kind, interface.group
        visit.source_mac = frame.source_mac
        self._hook(node, PREROUTING, visit, None)
        if node.holds(visit.packet.target):
            self._input(node, visit, interface.name)
            return
        if not self._forwards(node, visit, interface.name):
            words = f"{node.name} is not a router, and {visit.packet.target} is not its address"
            self.stop(node, "lost", words, "forwarding")
        way = self._way(node, visit.packet.target)
        self._tell_route(node, way, visit.packet.target)
        self._hook(node, FORWARD, visit, way)
        self._leave(node, visit, way)

    def _forwards(self, node: Node, visit: Visit, dev: str) -> bool:
        family = "ipv4" if visit.packet.family == 4 else "ipv6"
        setting = node.settings.get("net.ipv4.ip_forward" if family == "ipv4" else "net.ipv6.conf.all.forwarding")
        own = node.settings.get(f"net.{family}.conf.{dev}.forwarding")
        if own is not None:
            return own.value == "1"
        return setting.value == "1" if setting is not None else node.forwards

    def _input(self, node: Node, visit: Visit, dev: str) -> None:
        visit.in_dev = dev
        self._hook(node, INPUT, visit, None)
        self._confirm(node, visit)
        packet = visit.packet
        self._note(packet)
        if packet.inner is not None:
            self.decapsulate(node, packet)
            return
        self.arrived = node, packet
        what = f"port {packet.port}/{packet.protocol}" if packet.port and not packet.is_reply else "the packet"
        self.stop(node, "arrives", f"{node.name} has {packet.target}, and gets {what} from {packet.source}")

    # --- to a link ------------------------------------------------------------------------------------------------------

    def _leave(self, node: Node, visit: Visit, way: Way) -> None:
        self._hook(node, POSTROUTING, visit, way)
        self._confirm(node, visit)
        packet = visit.packet
        self._note(packet)
        interface = node.interfaces.get(way.dev)
        if interface is None:
            self.stop(node, "lost", f"{way.dev} is missing", "missing", way.record)
            return
        hop = way.via or packet.target
        if self._is_apart(node, interface, hop):
            words = f"no answer to a request for the hardware address of {hop} (ARP, NDP): both ports are isolated"
            self.stop(node, "dropped", words, "isolated", interface.record)
        mac, entry = self.resolve(node, interface, hop)
        if entry:
            self.hop(node, "neighbor", f"{hop} has the hardware address {mac} on {interface.name}", entry)
        elif hop not in self.world.owners and interface.sort != "foreign" and not self._leads_out(node, interface):
            self.stop(node, "lost", f"no node on {interface.name} has {hop}, so its hardware address stays unknown", "address")
        self.transmit(node, interface, Frame(packet, interface.mac, mac), hop)

    def _leads_out(self, node: Node, interface: NodeLink) -> bool:
        """Whether a link leads to nodes that are not in the file: a LAN."""
        if interface.sort == "stacked" or any(port.joins or port.sort == "foreign" for port in node.ports(interface.name)):
            return True
        if interface.peer:
            there, name = self.world.nodes[interface.peer[0]], interface.peer[1]
            master = there.interfaces[name].master if name in there.interfaces else ""
            return any(port.joins or port.sort == "foreign" for port in there.ports(master)) if master else False
        return False

    def _is_apart(self, node: Node, interface: NodeLink, address: str) -> bool:
        """Whether both ends are isolated ports of one bridge, which passes no request between them."""
        key, dev = self.world.owners.get(address, (node.key, ""))
        owner = self.world.nodes[key].interfaces.get(dev)
        if key == node.key or owner is None or not owner.peer or not interface.peer or owner.peer[0] != interface.peer[0]:
            return False
        ports = [self.world.nodes[one.peer[0]].interfaces.get(one.peer[1]) for one in (interface, owner) if one.peer]
        masters = {port.master for port in ports if port and port.is_isolated}
        return len(masters) == 1 and "" not in masters and all(port and port.is_isolated for port in ports)

    def resolve(self, node: Node, interface: NodeLink, address: str) -> tuple[str, Record | None]:
        """By a permanent entry, by what the bridge answers for others, or by ARP of the node that has the address."""
        if entry := node.neighbors.get((interface.name, address)):
            return entry.mac, entry
        if interface.peer:
            there, name = self.world.nodes[interface.peer[0]], interface.peer[1]
            bridge = there.interfaces.get(there.interfaces[name].master) if name in there.interfaces else None
            if bridge and (proxy := there.proxies.get((bridge.name, address))):
                return bridge.mac, proxy
            if bridge and there.is_host and (known := there.neighbors.get((bridge.name, address))):
                return known.mac, known
            if bridge and bridge.mac and there.is_host and there.holds(address):
                return bridge.mac, None  # a host answers for its addresses on all of its links (ip-sysctl.rst, arp_ignore)
        key, dev = self.world.owners.get(address, (node.key, ""))
        owner = self.world.nodes[key].interfaces.get(dev)
        return (owner.mac if owner and key != node.key else ""), None

    # --- routes ---------------------------------------------------------------------------------------------------------

    def _way(self, node: Node, target: str) -> Way:
        if node.holds(target):
            return LOOPBACK
        way = node.route(target)
        if way is None:
            down = next((link for link in node.interfaces.values() if not link.is_up), None)
            why = f": {down.name} is down" if down else ""
            self.stop(node, "lost", f"{node.name} has no route to {target}{why}", "down" if down else "route")
            raise EndedError
        return way

    def _tell_route(self, node: Node, way: Way, target: str) -> None:
        via = f" via {way.via}" if way.via else ""
        network = "default" if way.network.prefixlen == 0 else str(way.network)
        host_route = way.network.prefixlen == way.network.max_prefixlen
        words = f"{target if host_route else network}{via} dev {way.dev}"
        self.hop(node, "route", words, way.record, way.dev)

    # --- netfilter ------------------------------------------------------------------------------------------------------

    def _visit(self, node: Node, packet: WalkedPacket) -> Visit:
        if not node.is_host:
            return Visit(packet, packet, "new", "original")
        held = next((one for one in self.connections.get(node.key, ()) if one.answers(packet)), None)
        if held:
            return Visit(packet, packet, "established", "reply", held, is_dnat=held.is_dnat)
        is_stray = packet.is_reply and packet.protocol in ("tcp", "icmp")
        return Visit(packet, packet, "invalid" if is_stray else "new", "original")

    def _hook(self, node: Node, hook: str, visit: Visit, way: Way | None) -> None:
        for table, chain in node.chains("inet", hook):
            self._chain(node, table, chain, visit, way)
        if visit.connection and hook in (PREROUTING, OUTPUT) and visit.connection.is_snat:
            first = visit.connection.first
            visit.packet = replace(visit.packet, target=first.source, port=first.source_port)
        if visit.connection and hook == POSTROUTING and visit.connection.is_dnat:
            first = visit.connection.first
            visit.packet = replace(visit.packet, source=first.target, source_port=first.port)
            self.hop(node, "translate", f"the answer has the source {first.target} again, port {first.port}")

    def show_bridged(self, node: Node, bridge: NodeLink, frame: Frame) -> None:
        """The rules for a frame between two ports: they only mark it, so that other programs' firewalls let it pass."""
        visit = Visit(
            frame.packet, frame.packet, "new", "original", None, bridge.name, bridge.kind, bridge.group, frame.source_mac
        )
        way = Way(ANYWHERE, bridge.name)
        for hook in (PREROUTING, FORWARD, POSTROUTING):
            for table, chain in node.chains("inet", hook):
                hits = table.run(chain.name, self._fields(node, visit, None if hook == PREROUTING else way)).hits
                self.trail.crossings += [Crossing(node.host, hit, is_optional=True) for hit in hits]

    def _chain(self, node: Node, table: Table, chain: ParsedChain, visit: Visit, way: Way | None) -> None:
        if chain.type == "nat" and not visit.is_new:
            return
        self.trust(node, table)
        run = self.cross(node, table.run(chain.name, self._fields(node, visit, way)))
        visit.is_untracked = visit.is_untracked or (run.untracked and chain.priority < CONNTRACK_PRIORITY)
        if run.verdict in ("drop", "reject"):
            self._refuse(node, run, visit)
        if run.translation:
            self._translate(node, run, visit, way)
        elif told := describe_run(run, visit.packet):
            words, record = told
            self.hop(node, "filter", words, record)

    def _refuse(self, node: Node, run: Run, visit: Visit) -> None:
        words, cause, record = describe_refusal(run, visit.packet)
        self.stop(node, "refused" if run.verdict == "reject" else "dropped", words, cause, record)

    def _translate(self, node: Node, run: Run, visit: Visit, way: Way | None) -> None:
        what, packet = run.translation, visit.packet
        assert what
        if what.kind in ("dnat", "redirect"):
            own = (held.address for held in node.addresses if held.dev == visit.in_dev and held.network.version == packet.family)
            address = what.address or next(own, packet.target)
            visit.packet = replace(packet, target=address, port=what.port)
            visit.is_dnat = True
        else:
            address = what.address or (node.source(replace(way, source=""), packet.target) if way else "")
            visit.packet = replace(packet, source=address or UNKNOWN_ADDRESS[packet.family])
        words, record = describe_translation(run, packet, visit.packet)
        self.hop(node, "translate", words, record)

    def _note(self, packet: WalkedPacket) -> None:
        if packet.inner is None and packet not in self.trail.packets:
            self.trail.packets.append(packet)

    def _confirm(self, node: Node, visit: Visit) -> None:
        """Connection tracking keeps what it has seen of a new connection."""
        if not node.is_host or visit.is_untracked or visit.state != "new":
            return
        is_snat = visit.packet.source != visit.first.source
        entry = TrackedConnection(visit.first, visit.packet, is_dnat=visit.is_dnat, is_snat=is_snat)
        held = self.connections.setdefault(node.key, [])
        if entry not in held:
            held.append(entry)

    def _fields(self, node: Node, visit: Visit, way: Way | None) -> Fields:
        packet = visit.packet
        fields: dict[str, str | frozenset[str]] = dict(packet_fields(packet))
        status = {"dnat"} if visit.is_dnat else set()
        if visit.connection:
            status |= {"confirmed"} | ({"snat"} if visit.connection.is_snat else set())
        tracked = "untracked" if visit.is_untracked else visit.state
        fields |= {"ct state": tracked, "ct status": frozenset(status)}
        if tracked not in ("invalid", "untracked"):
            fields["ct direction"] = visit.direction
        local = node.holds(packet.target)
        fields["fib daddr type"] = "local" if local else "unicast"
        if visit.in_dev:
            fields |= {
                "iifname": visit.in_dev,
                "iif": visit.in_dev,
                "meta iifkind": visit.in_kind,
                "meta iifgroup": str(visit.in_group),
            }
            back = node.route(packet.source)
            fields["fib saddr . iif oif"] = "yes" if back and back.dev == visit.in_dev else "no"
        if visit.source_mac:
            fields["ether saddr"] = visit.source_mac
        if visit.skuid and not visit.in_dev:
            fields["meta skuid"] = visit.skuid
        if way and way.dev != "lo":
            out = node.interfaces.get(way.dev)
            fields |= {"oifname": way.dev, "meta oifkind": out.kind if out else "", "meta oiftype": "1"}
            fields["rt ip nexthop" if ip_address(packet.target).version == 4 else "rt ip6 nexthop"] = way.via or packet.target
        elif way:
            fields |= {"oifname": "lo"}
        return fields
