"""What keeps a container to its own, as elements of the host's tables (see `kinds.firewall.set_elements`).

Pure. Each element states one limit for packets of a container. It may have so many connections, and may report errors
only about certain ones. It gets certain source ports on its way out. It reaches certain links past foreign filters. It
must not reach certain isolated containers via a router.

The cost: for each container on the host, one element for each of its networks and one for each of its addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.compile.bridges import bridge_type
from reconciler.compile.isolation import addresses_of, closed_prefixes, is_isolated, isolated_members, isolated_subnets
from reconciler.compile.model import is_named
from reconciler.compile.view import HostView
from reconciler.kinds.firewall.element_text import format_range
from reconciler.kinds.firewall.port_blocks import LOW_BLOCKS, PORT_BLOCKS, SOURCE_PORT_BLOCKS, WHOLE_RANGE, PortBlock
from reconciler.kinds.firewall.set_elements import (
    BlockElement,
    ConnectionLimit,
    EndpointPair,
    IsolatedPrefix,
    LinkElement,
    MacElement,
    SetElement,
    SourcePorts,
)
from reconciler.state.foreign import PortRange
from reconciler.state.subject import HOST_SUBJECT, Subject

Owned = tuple[SetElement, Subject]
"""An element, and whose it is."""
FIRST_PORT = 1024
"""The first unprivileged port (net.ipv4.ip_unprivileged_port_start)."""
PRIVILEGED: PortRange = (0, FIRST_PORT - 1)


def contain_connections(view: HostView) -> Iterator[Owned]:
    """`connections`: the limit of a container's entries in connection tracking, on each of its networks."""
    topology = view.topology
    for name in view.containers:
        for endpoint in view.resolved.endpoints[name]:
            if view.subnet(endpoint).mode != "macvlan":  # which passes the host by
                bridge, limit = view.host_subnets[endpoint.subnet].bridge, topology.containers[name].connections
                yield ConnectionLimit(bridge, endpoint.mac, limit), Subject.container(name)
    for host_subnet in view.host_subnets.values():
        # A tunnel brings what a container elsewhere sends to this host; its own host only hands the frames on.
        for peer in (peer for peer in host_subnet.peers if peer.is_tunnelled):
            for endpoint in view.beside(peer.host).endpoints(host_subnet.subnet):
                limit = topology.containers[endpoint.container].connections
                yield ConnectionLimit(host_subnet.bridge, endpoint.mac, limit), Subject.subnet(host_subnet.subnet)


def contain_errors(view: HostView) -> Iterator[Owned]:
    """`endpoints`: containers, which report errors about their own connections only. `gateways`: hosts, which may about all.

    A remote container has passed its own host's check. Its packets arrive here by a shared subnet, or if a policy names
    it.
    """
    resolved, named = view.resolved, set[str]()
    for host_subnet in view.host_subnets.values():
        for peer in host_subnet.peers:
            there = view.beside(peer.host)
            for own in there.host_subnets[host_subnet.subnet].addresses:
                yield BlockElement("gateways", own.address), Subject.subnet(host_subnet.subnet)
            for name in there.containers:
                if any(
                    endpoint.subnet == host_subnet.subnet or is_named(view.topology, endpoint, resolved.parties)
                    for endpoint in resolved.endpoints[name]
                ):
                    named.add(name)
    for name in (*view.containers, *sorted(named)):
        about = Subject.container(name) if name not in named else HOST_SUBJECT
        for own in (own for endpoint in resolved.endpoints[name] for own in endpoint.addresses):
            yield EndpointPair(own.address, own.address), about


def contain_marks(view: HostView) -> Iterator[Owned]:
    """`uplinks`: the links to the outside. Such a link may be a bridge or a veth, like those of other programs' containers."""
    uplink = view.egress.dev
    if uplink:
        yield LinkElement("uplinks", uplink), view.egress.about


# --- isolated ports ---------------------------------------------------------------------------------------------------


def contain_isolated(view: HostView) -> Iterator[Owned]:
    """The bridge separates isolated ports; these elements also separate them via a router and via another host."""
    topology, closed = view.topology, dict[str, None]()
    for name in view.containers:
        about = Subject.container(name)
        for port in view.resolved.endpoints[name]:
            if view.subnet(port).mode == "macvlan" or not bridge_type(view.host_subnets[port.subnet]).passes_netfilter:
                continue  # nothing filters a macvlan, and such a bridge has rules of its own
            closed |= dict.fromkeys(isolated_subnets(topology, name))
            if is_isolated(topology, port):
                yield LinkElement("isolated_ports", port.port), about
            for prefix in closed_prefixes(topology, port):
                yield IsolatedPrefix(port.port, prefix), about
    for subnet in closed:
        host_subnet = view.host_subnets[subnet]
        for endpoint in isolated_members(view, host_subnet):
            about = Subject.container(endpoint.container) if endpoint.host == view.name else Subject.subnet(subnet)
            if endpoint.host != view.name and bridge_type(host_subnet).passes_netfilter:
                yield MacElement("isolated_macs", endpoint.mac), about
            for address in addresses_of(endpoint):
                yield BlockElement("isolated", address), about


# --- source ports -----------------------------------------------------------------------------------------------------


def contain_source_ports(view: HostView) -> Iterator[Owned]:
    """`source_ports`: those that a masqueraded connection may get: none that is published, reserved or listened on.

    With such a port, a reply would look like a packet to the service there. The other way round, the service's next
    packet to that client would go to the container ("port shadow", CVE-2021-3773). The choice stays until it contains a
    published or reserved port: sockets open and close, which must not be a difference each time.
    """
    facts = view.facts
    firm = [(port.port, port.port) for port in view.resolved.ports if port.host == view.name] + list(facts.reserved_ports)
    blocks = {(block.first, block.last): block for block in SOURCE_PORT_BLOCKS}
    live = {choice.ports: blocks[choice.block] for choice in facts.source_ports if choice.block in blocks}
    chosen = _parse(live)
    if not chosen or live != _render(chosen) or not _are_free(chosen, firm):
        listening = [(port, port) for port in facts.listening_ports]
        chosen = _choose([*firm, *listening]) or _choose(firm)
    for ports, block in _render(chosen).items():
        yield SourcePorts(format_range("inet_service", *ports), block.chain), HOST_SUBJECT


def _choose(taken: Iterable[PortRange]) -> tuple[PortBlock, ...]:
    """The blocks to use, the privileged one first; empty if no block is free."""
    ranges = tuple(taken)
    if _are_free((WHOLE_RANGE,), ranges):
        high: tuple[PortBlock, ...] = (WHOLE_RANGE,)
    else:
        high = tuple(block for block in PORT_BLOCKS if _are_free((block,), ranges))
    low = next((block for block in LOW_BLOCKS if _are_free((block,), ranges)), high[0] if high else None)
    return (low, *high) if low and high else ()


def _are_free(blocks: Iterable[PortBlock], taken: Iterable[PortRange]) -> bool:
    return not any(block.overlaps(first, last) for first, last in taken for block in blocks)


def _render(blocks: tuple[PortBlock, ...]) -> dict[PortRange, PortBlock]:
    """The source ports of a connection by its own: from the same block if that is free."""
    if not blocks:
        return {}
    low, first, *_ = blocks
    verdicts: dict[PortRange, PortBlock] = {PRIVILEGED: low}
    if first == WHOLE_RANGE:
        verdicts[FIRST_PORT, WHOLE_RANGE.last] = first
    else:
        verdicts[FIRST_PORT, WHOLE_RANGE.first - 1] = first
        high = blocks[1:]
        for number, block in enumerate(PORT_BLOCKS):
            verdicts[block.first, block.last] = block if block in high else high[number % len(high)]
    return verdicts


def _parse(live: Mapping[PortRange, PortBlock]) -> tuple[PortBlock, ...]:
    """The blocks in live elements; the inverse of `_render` if that created them."""
    low = live.get(PRIVILEGED)
    high = sorted({block for ports, block in live.items() if ports != PRIVILEGED}, key=lambda block: block.first)
    return (low, *high) if low and high else ()
