"""What is in the way on the hosts: foreign things that a topology collides with, and what a host lacks.

Called by `compile_topology` before anything is compiled, so before anything is touched. Pure: what there is was read by the
workers (HostFacts). Each conflict is a sentence that names the place in the file and says what to do.

Only what a plan would create is judged. A route or a program that came after a subnet or a port was made hinders no plan, though
it may take packets: `find_intruders` names it for `status`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from itertools import islice

from reconciler.compile.bridges import bridge_of, bridge_type
from reconciler.compile.lan import refusals
from reconciler.compile.macvlan import shim_name
from reconciler.compile.model import Leg, Port, Tunnel
from reconciler.compile.paste import pasted
from reconciler.compile.view import HostView
from reconciler.errors import HostError
from reconciler.kinds.ownership import altname_of
from reconciler.state.host import HostFacts, Obstacle
from reconciler.state.naming import Alias
from reconciler.state.visible import visible_line
from reconciler.topology.types import Path, Topology


@dataclass(frozen=True, slots=True)
class Conflict:
    """One thing in the way: on which host, what it is, and what to do."""

    host: str
    message: str
    help_text: str = ""
    is_lack: bool = False
    """The host lacks what the desired state is computed from; without that, nothing can be said of the host."""


def find_conflicts(views: Mapping[str, HostView]) -> tuple[Conflict, ...]:
    """Everything that is in the way, host by host. `views` are those of the hosts that were read, in the order of the file."""
    return tuple(
        replace(conflict, help_text=pasted(view.topology, view.name, conflict.help_text), is_lack=is_lack)
        for view in views.values()
        for is_lack, finders in ((True, (_lacks, _lan, _underlay)), (False, (_overlaps, _taken_ports, *_TAKEN)))
        for find in finders
        for conflict in find(view)
    )


def find_intruders(views: Mapping[str, HostView]) -> dict[str, tuple[Obstacle, ...]]:
    """By host, what has come after a subnet or a port was made, and may take its packets."""
    return {
        name: tuple(replace(one, help_text=pasted(view.topology, name, one.help_text)) for one in _intruders(view))
        for name, view in views.items()
    }


def _intruders(view: HostView) -> Iterator[Obstacle]:
    facts = view.facts
    for name, leg in view.legs.items():
        for cidr in view.subnet(leg).cidrs if leg.lan is None else ():
            for _, obstacle in _taking(cidr, facts) if _is_made(name, cidr, facts) else ():
                detail = f"{obstacle.detail} takes packets from subnet {name} ({cidr})"
                yield Obstacle(obstacle.kind, obstacle.name, detail, obstacle.help_text)
    found = {
        (port.port, port.protocol, port.container, obstacle): None
        for port, obstacle in _meetings(view)
        if _is_published(port, facts)
    }
    for number, protocol, container, obstacle in found:
        detail = f"{obstacle.detail} gets nothing from other nodes: port {number}/{protocol} leads to container {container}"
        yield Obstacle(obstacle.kind, obstacle.name, detail, obstacle.help_text)


def refuse(conflicts: tuple[Conflict, ...]) -> None:
    """Raise HostError with all conflicts, where there are any."""
    if not conflicts:
        return
    if len(conflicts) == 1:
        raise HostError(visible_line(conflicts[0].message), visible_line(conflicts[0].help_text))
    # Names of processes, links and containers are in it: none begins a line of its own.
    told = [(visible_line(each.message), visible_line(each.help_text)) for each in conflicts]
    lines = [f"  {message}" + (f"\n    help: {help_text}" if help_text else "") for message, help_text in told]
    raise HostError(f"{len(conflicts)} things are in the way, and nothing was changed:\n" + "\n".join(lines))


def _at(topology: Topology, path: Path) -> str:
    """`topology.yaml:14:3: `, in front of a sentence."""
    if not topology.path:
        return ""
    position = topology.position(path)
    return f"{topology.path}:{position.line}:{position.column}: "


# --- what a host lacks ------------------------------------------------------------------------------------------------


def _lacks(view: HostView) -> Iterator[Conflict]:
    topology, host, facts = view.topology, view.host, view.facts
    for sentence in facts.missing:
        yield Conflict(host.name, f"host {host.name}: {sentence}")
    lacking = ((name, lack) for name, leg in view.legs.items() if (lack := bridge_type(leg).find_lack(facts)))
    for name, lack in islice(lacking, 1):  # all of a kind lack the same
        at = _at(topology, ("subnets", name, "bridge"))
        yield Conflict(host.name, f"{at}host {host.name}: {lack}")
    links = {obstacle.name for obstacle in facts.obstacles if obstacle.kind == "link"}
    if facts.exists and host.connect.scheme != "lab" and host.uplink and host.uplink not in links:
        path: Path = ("hosts", host.name, "uplink")
        yield Conflict(
            host.name,
            f"{_at(topology, path)}host {host.name} has no interface {host.uplink}",
            f"it has {', '.join(sorted(links))}" if links else "name an interface that is there",
        )


def _lan(view: HostView) -> Iterator[Conflict]:
    for path, message, help_text in refusals(view):
        yield Conflict(view.name, _at(view.topology, path) + message, help_text)


# --- the underlay -----------------------------------------------------------------------------------------------------


def _underlay(view: HostView) -> Iterator[Conflict]:
    """What keeps a host from the others of its subnets: an address that it lacks, a VXLAN's number or port that is taken."""
    host, facts = view.host, view.facts
    held = {str(ip_interface(cidr).ip) for cidr in facts.addresses}
    used: dict[str, str] = {}
    for leg in view.legs.values():
        if leg.tunnel:
            used.setdefault(leg.tunnel.local, leg.subnet)
            yield from _taken_tunnel(view, leg, leg.tunnel)
        if any(peer.way == "routes" for peer in leg.peers):
            families = {own.family for own in leg.addresses}
            used |= {str(own): leg.subnet for own in host.addresses if own.version in families}
    for address, subnet in used.items() if facts.exists and host.connect.scheme != "lab" else ():
        if address not in held:
            yield Conflict(
                host.name,
                f"{_at(view.topology, ('hosts', host.name, 'address'))}host {host.name} does not have the address {address}, "
                f"by which the other hosts of {subnet} are to reach it",
                f"it has {', '.join(sorted(held))}" if held else "give it the address",
            )


def _taken_tunnel(view: HostView, leg: Leg, tunnel: Tunnel) -> Iterator[Conflict]:
    """The kernel has one VXLAN of a number at a port, and none at a program's port. Its own sockets have no holder."""
    at = _at(view.topology, ("subnets", leg.subnet))
    for obstacle in view.facts.obstacles:
        if obstacle.kind == "vxlan" and obstacle.detail == f"{tunnel.vni} {tunnel.port}":
            yield Conflict(
                leg.host,
                f"{at}host {leg.host} has a VXLAN of the number {tunnel.vni} already, the link {obstacle.name}",
                f"write `vni:` with another number in {leg.subnet}, or `vxlan_port:`",
            )
        if obstacle.kind == "listener" and obstacle.name != "a process":
            protocol, _, port = obstacle.detail.split()
            if (protocol, port) == ("udp", str(tunnel.port)):
                yield Conflict(
                    leg.host,
                    f"{at}port {port}/udp, which the VXLAN of {leg.subnet} needs, is held by {obstacle.name} on host {leg.host}",
                    "stop it, or write `vxlan_port:` with another port",
                )


# --- subnets ----------------------------------------------------------------------------------------------------------


def _overlaps(view: HostView) -> Iterator[Conflict]:
    host, facts = view.host, view.facts
    for name, leg in view.legs.items():
        for cidr in view.subnet(leg).cidrs if leg.lan is None else ():
            if _is_made(name, cidr, facts):
                continue
            for what, _ in _taking(cidr, facts):
                at = _at(view.topology, ("subnets", name, "cidr"))
                yield Conflict(
                    host.name,
                    f"{at}subnet {name} ({cidr}) overlaps {what} of host {host.name}",
                    f"give {name} a range that host {host.name} does not use",
                )
                break


def _is_made(subnet: str, cidr: IPv4Network | IPv6Network, facts: HostFacts) -> bool:
    """Whether the host has the subnet already, in this range: its own address there is live."""
    return any(lease.subnet == subnet and not lease.container and ip_address(lease.address) in cidr for lease in facts.leases)


def _taking(cidr: IPv4Network | IPv6Network, facts: HostFacts) -> Iterator[tuple[str, Obstacle]]:
    """What takes packets from the range: an address in it, or a route that is as long or longer. The longest prefix decides.

    A shorter one, as a VPN's 0.0.0.0/1 or 10.0.0.0/8, goes on to take what is not in the range.
    """
    for own in facts.addresses:
        if ip_interface(own).ip in cidr:
            yield f"the address {own}", Obstacle("address", own, "an address of the host")
    for obstacle in facts.obstacles:
        if obstacle.kind != "route" or obstacle.detail == "default":
            continue
        network = ip_network(obstacle.detail, strict=False)
        if network.version == cidr.version and network.prefixlen >= cidr.prefixlen and network.overlaps(cidr):
            yield _name(obstacle), obstacle


def _name(obstacle: Obstacle) -> str:
    return f"the route to {obstacle.detail}" + (f" ({obstacle.name})" if obstacle.name != obstacle.detail else "")


# --- published ports --------------------------------------------------------------------------------------------------


def _taken_ports(view: HostView) -> Iterator[Conflict]:
    topology, host = view.topology, view.host
    seen: set[tuple[str, int, str]] = set()
    for port, obstacle in _meetings(view):
        key = (port.protocol, port.port, obstacle.name)
        if key not in seen and not _is_published(port, view.facts):
            seen.add(key)
            path: Path = ("containers", topology.containers[port.container].origin, "expose")
            verb = "is listened on by" if obstacle.kind == "listener" else "is published by"
            yield Conflict(
                host.name,
                f"{_at(topology, path)}port {port.port}/{port.protocol} of container {port.container} {verb} {obstacle.name} "
                f"on host {host.name} already",
                obstacle.help_text or "publish another port, or stop what holds this one",
            )


def _is_published(port: Port, facts: HostFacts) -> bool:
    """Whether the host publishes it already."""
    everywhere = "0.0.0.0" if port.family == 4 else "::"
    return f"{port.protocol} {port.listen or everywhere} {port.port}" in facts.published


def _meetings(view: HostView) -> Iterator[tuple[Port, Obstacle]]:
    """Ports of the file on the host, each with who else has it. `detail` of a listener or port is `tcp 0.0.0.0 8080`."""
    taken: dict[tuple[str, int], list[tuple[str, Obstacle]]] = {}
    for obstacle in view.facts.obstacles:
        if obstacle.kind in ("listener", "port"):
            protocol, address, number = obstacle.detail.split()
            taken.setdefault((protocol, int(number)), []).append((address, obstacle))
    for port in view.resolved.ports:
        if port.host == view.name:
            found = taken.get((port.protocol, port.port), ())
            yield from ((port, obstacle) for address, obstacle in found if _meet(port, address))


def _meet(port: Port, address: str) -> bool:
    """Whether a packet could be meant for both. A listener on [::] takes IPv4 too, unless it says otherwise."""
    held = ip_address(address)
    if held.is_unspecified:
        return port.family == held.version or isinstance(held, IPv6Address)
    return held.version == port.family and (not port.listen or port.listen == address)


# --- names ------------------------------------------------------------------------------------------------------------


def _taken_names(view: HostView) -> Iterator[Conflict]:
    topology, host, facts = view.topology, view.host, view.facts
    links = {obstacle.name: obstacle for obstacle in facts.obstacles if obstacle.kind == "link"}
    taken = _states(facts)
    for leg in view.legs.values():
        for name in _link_names(view, leg):
            if obstacle := links.get(name):
                yield _foreign_link(topology, leg, name, obstacle)
    for container in map(topology.containers.__getitem__, view.containers):
        at = _at(topology, ("containers", container.origin))
        for place in view.resolved.places[container.name]:
            altname = altname_of(Alias(topology.name, "veth", place.container, place.subnet), place.port)
            if obstacle := links.get(place.port) or links.get(altname):
                yield Conflict(
                    host.name,
                    f"{at}host {host.name} has an interface {obstacle.name} that is not netctl's, and container {container.name} "
                    "needs that name",
                    obstacle.help_text or f"remove it (ip link delete {obstacle.name}), or rename the container",
                )
        if not container.existing and (container.spec.runtime, container.engine_name) in taken:
            yield Conflict(
                host.name,
                f"{at}host {host.name} has a container {container.engine_name} that is not netctl's",
                "rename one of the two, or write `existing: true` to wire it as it is",
            )


def _link_names(view: HostView, leg: Leg) -> Iterator[str]:
    """The names of the links that the host gets for a subnet, second names included."""
    topology = view.topology.name
    if leg.lan is None or leg.lan.is_taken_in:
        yield leg.bridge
        yield altname_of(bridge_of(view, leg).alias, leg.bridge)
    if leg.tunnel:
        yield leg.tunnel.name
        yield altname_of(Alias(topology, "vxlan", leg.subnet), leg.tunnel.name)
    if view.subnet(leg).mode == "macvlan":
        yield shim_name(topology, leg.subnet)


def _taken_interfaces(view: HostView) -> Iterator[Conflict]:
    """Names of interfaces inside containers that somebody else runs."""
    topology, host, facts = view.topology, view.host, view.facts
    taken = {(obstacle.name, obstacle.detail): obstacle for obstacle in facts.obstacles if obstacle.kind == "interface"}
    for container in map(topology.containers.__getitem__, view.containers):
        for place in view.resolved.places[container.name]:
            if obstacle := taken.get((container.name, place.interface)):
                at = _at(topology, ("containers", container.origin, "networks", place.subnet))
                yield Conflict(
                    host.name,
                    f"{at}container {container.name} has an interface {place.interface} that is not netctl's",
                    f"{obstacle.help_text}, or " * bool(obstacle.help_text)
                    + f"write `{place.subnet}: {{interface: NAME}}` with a name that is free there",
                )


def _missing_containers(view: HostView) -> Iterator[Conflict]:
    """Containers that somebody else is to run: without one that runs there is nothing to wire."""
    topology, host, facts = view.topology, view.host, view.facts
    states = _states(facts)
    for container in topology.containers.values():
        state = states.get((container.spec.runtime, container.engine_name), "missing")
        if container.host == host.name and container.existing and state != "running":
            name, at = container.engine_name, _at(topology, ("containers", container.origin))
            start = "lxc-start" if container.spec.runtime == "lxc" else f"{container.spec.runtime} start"
            yield Conflict(
                host.name,
                f"{at}the existing container {name} on host {host.name} is {state}",
                f"start it ({start} {name}), or give an image in place of `existing` and netctl makes it",
            )


def _shared_namespaces(view: HostView) -> Iterator[Conflict]:
    """Of two containers in one network namespace one may have networks in the file; and none that is in the host's own."""
    topology, host, facts = view.topology, view.host, view.facts
    wired = {each.name: each for each in topology.containers.values() if each.host == host.name and each.attachments}
    for obstacle in facts.obstacles:
        one, two = wired.get(obstacle.detail), wired.get(obstacle.name)
        if obstacle.kind != "shared" or two is None:
            continue
        at = _at(topology, ("containers", two.origin, "networks"))
        if not obstacle.detail:
            help_text = f"remove its `networks`, or re-create {two.engine_name} with a network namespace of its own"
            yield Conflict(host.name, f"{at}container {two.name} is in the host's own network namespace", help_text)
        elif one:
            help_text = "remove the `networks` of one of them; the other's are there in both"
            yield Conflict(host.name, f"{at}containers {one.name} and {two.name} share one network namespace", help_text)


def _states(facts: HostFacts) -> dict[tuple[str, str], str]:
    """The state of each container that is not ours, by its engine and its name there. The detail is `docker running`."""
    found = [(obstacle.name, obstacle.detail.split()) for obstacle in facts.obstacles if obstacle.kind == "container"]
    return {(runtime, name): state for name, (runtime, state) in found}


def _foreign_link(topology: Topology, leg: Leg, name: str, obstacle: Obstacle) -> Conflict:
    at = _at(topology, ("subnets", leg.subnet))
    return Conflict(
        leg.host,
        f"{at}host {leg.host} has an interface {name} that is not netctl's; subnet {leg.subnet} needs that name",
        obstacle.help_text or f"remove it (ip link delete {name}), or rename the subnet",
    )


_TAKEN = (_taken_names, _taken_interfaces, _missing_containers, _shared_namespaces)
