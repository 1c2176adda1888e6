"""Conflicts on the hosts: foreign resources that collide with a topology, and what a host lacks.

Pure: the workers have read the resources (HostFacts). Each conflict is a sentence with the position in the file and
advice.

Only what a plan would create is checked. A route or a program that was added after a subnet or a port was created
prevents no plan. It may receive packets, so `find_intruders` names it for `status`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface
from itertools import islice

from reconciler.compile.bridges import bridge_of, bridge_type
from reconciler.compile.lan import refusals
from reconciler.compile.macvlan import shim_name
from reconciler.compile.model import HostSubnet, ResolvedPort
from reconciler.compile.name_conflicts import find_name_holders
from reconciler.compile.overlays import overlay_of
from reconciler.compile.paste import pasted
from reconciler.compile.view import HostView
from reconciler.errors import HostError
from reconciler.kinds.links.veth import Veth
from reconciler.state.container_spec import HOLDER
from reconciler.state.engines import ENGINES
from reconciler.state.foreign import (
    ForeignContainer,
    ForeignInterface,
    ForeignLink,
    ForeignListener,
    ForeignPort,
    ForeignRoute,
    HostAddress,
    HostPort,
    Interceptor,
    IpAddress,
    SharedNamespace,
)
from reconciler.state.host import HostFacts
from reconciler.state.naming import Alias
from reconciler.state.visible import visible_line
from reconciler.topology.types import Container, Path, Topology


@dataclass(frozen=True, slots=True)
class Conflict:
    """One conflict: its host, its description, and the advice."""

    host: str
    message: str
    help_text: str = ""
    is_lack: bool = False
    """The host lacks an input of its desired state, so nothing else can be said of the host."""
    awaited: str = ""
    """The container that another program is to run, if the conflict is that it does not run."""
    is_member: bool = False
    """Whether that is one of several that labels select: they come and go."""
    reason: str = ""
    """Why the container has to wait, in a few words."""


@dataclass(frozen=True, slots=True)
class Intruder:
    """A resource that was added after a subnet or a port was created, and may receive its packets."""

    source: Interceptor
    effect: str
    """Its effect; the text follows its description."""
    help_text: str = ""


def find_conflicts(views: Mapping[str, HostView]) -> tuple[Conflict, ...]:
    """Every conflict, host by host. `views` are those of the hosts that were read, in the order of the file."""
    return tuple(
        replace(conflict, help_text=pasted(view.topology, view.name, conflict.help_text), is_lack=is_lack)
        for view in views.values()
        for is_lack, finders in ((True, (_lacks, _lan, _underlay)), (False, (_overlaps, _taken_ports, *_TAKEN)))
        for find in finders
        for conflict in find(view)
    )


def find_intruders(views: Mapping[str, HostView]) -> dict[str, tuple[Intruder, ...]]:
    """By host, resources that were added after a subnet or a port was created, and may receive its packets."""
    return {
        name: tuple(replace(one, help_text=pasted(view.topology, name, one.help_text)) for one in _intruders(view))
        for name, view in views.items()
    }


def _intruders(view: HostView) -> Iterator[Intruder]:
    facts = view.facts
    for name, host_subnet in view.host_subnets.items():
        for cidr in view.subnet(host_subnet).cidrs if host_subnet.lan is None else ():
            for source in _taking(cidr, facts) if _is_made(name, cidr, facts) else ():
                yield Intruder(source, f"takes packets from subnet {name} ({cidr})", source.help_text)
    found = {
        (port.port, port.protocol, port.container, holder): None for port, holder in _meetings(view) if _is_published(port, facts)
    }
    for number, protocol, container, holder in found:
        effect = f"gets nothing from other nodes: port {number}/{protocol} leads to container {container}"
        yield Intruder(holder, effect, holder.help_text)


def refuse(conflicts: tuple[Conflict, ...]) -> None:
    """Raise HostError with all conflicts, if there are any."""
    if not conflicts:
        return
    if len(conflicts) == 1:
        raise HostError(visible_line(conflicts[0].message), visible_line(conflicts[0].help_text))
    # Names of processes, links and containers are in it: none may begin a line of its own.
    shown = [(visible_line(each.message), visible_line(each.help_text)) for each in conflicts]
    lines = [f"  {message}" + (f"\n    help: {help_text}" if help_text else "") for message, help_text in shown]
    raise HostError(f"{len(conflicts)} conflicts, and nothing was changed:\n" + "\n".join(lines))


def _at(topology: Topology, path: Path) -> str:
    return topology.place(path)


# --- missing requirements ---------------------------------------------------------------------------------------------


def _lacks(view: HostView) -> Iterator[Conflict]:
    topology, host, facts = view.topology, view.host, view.facts
    for sentence in facts.missing:
        yield Conflict(host.name, f"host {host.name}: {sentence}")
    lacking = (
        (name, lack) for name, host_subnet in view.host_subnets.items() if (lack := bridge_type(host_subnet).find_lack(facts))
    )
    for name, lack in islice(lacking, 1):  # all of one kind of bridge lack the same
        at = _at(topology, ("subnets", name, "bridge"))
        yield Conflict(host.name, f"{at}host {host.name}: {lack}")
    links = {link.name for link in facts.foreign_of(ForeignLink)}
    if facts.exists and host.connect.scheme != "lab" and host.uplink and host.uplink not in links:
        path: Path = ("hosts", host.name, "uplink")
        yield Conflict(
            host.name,
            f"{_at(topology, path)}host {host.name} has no interface {host.uplink}",
            f"it has {', '.join(sorted(links))}" if links else "name an existing interface",
        )


def _lan(view: HostView) -> Iterator[Conflict]:
    for path, message, help_text in refusals(view):
        yield Conflict(view.name, _at(view.topology, path) + message, help_text)


# --- the underlay -----------------------------------------------------------------------------------------------------


def _underlay(view: HostView) -> Iterator[Conflict]:
    """What keeps a host from the others of its subnets: an address that it lacks, or what a tunnel needs and another has."""
    host, facts = view.host, view.facts
    held = {str(ip_interface(cidr).ip) for cidr in facts.addresses}
    used: dict[str, str] = {}
    for host_subnet in view.host_subnets.values():
        for end in host_subnet.tunnels:
            used.setdefault(end.local, host_subnet.subnet)
            for message, help_text in overlay_of(end).find_taken(view, host_subnet, end):
                yield Conflict(host_subnet.host, _at(view.topology, ("subnets", host_subnet.subnet)) + message, help_text)
        if any(peer.overlay == "routes" for peer in host_subnet.peers):
            families = {own.family for own in host_subnet.addresses}
            used |= {str(own): host_subnet.subnet for own in host.addresses if own.version in families}
    for address, subnet in used.items() if facts.exists and host.connect.scheme != "lab" else ():
        if address not in held:
            yield Conflict(
                host.name,
                f"{_at(view.topology, ('hosts', host.name, 'address'))}host {host.name} does not have the address {address}, "
                f"at which the other hosts of {subnet} are to reach it",
                f"it has {', '.join(sorted(held))}" if held else "give it the address",
            )


# --- subnets ----------------------------------------------------------------------------------------------------------


def _overlaps(view: HostView) -> Iterator[Conflict]:
    host, facts = view.host, view.facts
    for name, host_subnet in view.host_subnets.items():
        for cidr in view.subnet(host_subnet).cidrs if host_subnet.lan is None else ():
            if _is_made(name, cidr, facts):
                continue
            for source in _taking(cidr, facts):
                at = _at(view.topology, ("subnets", name, "cidr"))
                yield Conflict(
                    host.name,
                    f"{at}subnet {name} ({cidr}) overlaps {source} of host {host.name}",
                    f"give {name} a range that host {host.name} does not use",
                )
                break


def _is_made(subnet: str, cidr: IPv4Network | IPv6Network, facts: HostFacts) -> bool:
    """Whether the host has the subnet already, in this range: its own address there is live."""
    return any(lease.subnet == subnet and not lease.container and ip_address(lease.address) in cidr for lease in facts.leases)


def _taking(cidr: IPv4Network | IPv6Network, facts: HostFacts) -> Iterator[HostAddress | ForeignRoute]:
    """Resources that receive packets of the range: an address in it, or a route of the same length or longer.

    The longest prefix decides. A shorter one, such as a VPN's 0.0.0.0/1 or 10.0.0.0/8, still receives the packets of
    other ranges.
    """
    for own in facts.addresses:
        if ip_interface(own).ip in cidr:
            yield HostAddress(cidr=own)
    for route in facts.foreign_of(ForeignRoute):
        network = route.destination
        if network.version == cidr.version and network.prefixlen >= cidr.prefixlen and network.overlaps(cidr):
            yield route


# --- published ports --------------------------------------------------------------------------------------------------


def _taken_ports(view: HostView) -> Iterator[Conflict]:
    topology, host = view.topology, view.host
    seen: set[tuple[str, int, str]] = set()
    for port, source in _meetings(view):
        key = (port.protocol, port.port, source.name)
        if key not in seen and not _is_published(port, view.facts):
            seen.add(key)
            path: Path = ("containers", topology.containers[port.container].origin, "ports")
            verb = "is listened on by" if isinstance(source, ForeignListener) else "is published by"
            yield Conflict(
                host.name,
                f"{_at(topology, path)}port {port.port}/{port.protocol} of container {port.container} {verb} {source.name} "
                f"on host {host.name} already",
                source.help_text or "publish another port, or stop what holds this one",
            )


def _is_published(port: ResolvedPort, facts: HostFacts) -> bool:
    """Whether the host publishes it already."""
    address = ip_address(port.listen or ("0.0.0.0" if port.family == 4 else "::"))
    wanted = HostPort(protocol=port.protocol, address=address, port=port.port)
    return any(wanted in ports for ports in facts.published)


def _meetings(view: HostView) -> Iterator[tuple[ResolvedPort, ForeignListener | ForeignPort]]:
    """Ports of the file on the host, each with the foreign holder of that port."""
    taken: dict[tuple[str, int], list[ForeignListener | ForeignPort]] = {}
    for source in view.facts.foreign:
        if isinstance(source, ForeignListener | ForeignPort):
            taken.setdefault((source.port.protocol, source.port.port), []).append(source)
    for port in view.resolved.ports:
        if port.host == view.name:
            found = taken.get((port.protocol, port.port), ())
            yield from ((port, source) for source in found if _meet(port, source.port.address))


def _meet(port: ResolvedPort, held: IpAddress) -> bool:
    """Whether a packet could be for both. A listener on [::] receives IPv4 too, unless its socket option forbids it."""
    if held.is_unspecified:
        return port.family == held.version or isinstance(held, IPv6Address)
    return held.version == port.family and (not port.listen or ip_address(port.listen) == held)


# --- names ------------------------------------------------------------------------------------------------------------


def _taken_names(view: HostView) -> Iterator[Conflict]:
    topology, host, facts = view.topology, view.host, view.facts
    links = {link.name: link for link in facts.foreign_of(ForeignLink)}
    taken = _states(facts)
    for host_subnet in view.host_subnets.values():
        for name in _link_names(view, host_subnet):
            if link := links.get(name):
                yield _foreign_link(topology, host_subnet, name, link)
    for container in map(topology.containers.__getitem__, view.containers):
        at = _at(topology, ("containers", container.origin))
        for endpoint in view.resolved.endpoints[container.name]:
            altname = Veth.altname_of(Alias(topology.name, Veth.kind, endpoint.container, endpoint.subnet), endpoint.port)
            if link := links.get(endpoint.port) or links.get(altname):
                yield Conflict(
                    host.name,
                    f"{at}host {host.name} has an interface {link.name} that is not netctl's, and container {container.name} "
                    "needs that name",
                    link.help_text or f"remove it (ip link delete {link.name}), or rename the container",
                )
        for name in (container.engine_name, container.engine_name + HOLDER):
            if container.existing or (container.spec.runtime, name) not in taken:
                continue
            yield Conflict(
                host.name,
                f"{at}host {host.name} has a container {name} that is not netctl's",
                "rename one of the two, or write `existing: true` to connect it unchanged",
            )


def _link_names(view: HostView, host_subnet: HostSubnet) -> Iterator[str]:
    """The names of the host's links for a subnet, second names included."""
    topology = view.topology.name
    if host_subnet.lan is None or host_subnet.lan.is_taken_in:
        yield host_subnet.bridge
        yield bridge_of(view, host_subnet).altname
    for end in host_subnet.tunnels:
        yield end.name
        yield overlay_of(end).link(topology, host_subnet, end).altname
    if view.subnet(host_subnet).mode == "macvlan":
        yield shim_name(topology, host_subnet.subnet)


def _taken_interfaces(view: HostView) -> Iterator[Conflict]:
    """Conflicts about interface names inside existing containers."""
    topology, host, facts = view.topology, view.host, view.facts
    taken = {(each.container, each.name): each for each in facts.foreign_of(ForeignInterface)}
    others = {each.container: each.topology for each in taken.values() if each.topology}
    for container in map(topology.containers.__getitem__, view.containers):
        if other := others.get(container.name) if container.attachments else "":
            at = _at(topology, ("containers", container.origin))
            message = f"{at}the existing container {container.engine_name} of {container.name} is connected by topology {other}"
            yield Conflict(host.name, message, f"remove it from the file of {other}, or from this one")
            continue
        for endpoint in view.resolved.endpoints[container.name]:
            if interface := taken.get((container.name, endpoint.interface)):
                at = _at(topology, ("containers", container.origin, "networks", endpoint.subnet))
                yield Conflict(
                    host.name,
                    f"{at}container {container.name} has an interface {endpoint.interface} that is not netctl's",
                    f"{interface.help_text}, or " * bool(interface.help_text)
                    + f"write `{endpoint.subnet}: {{interface: NAME}}` with a name that is free there",
                )


def _missing_containers(view: HostView) -> Iterator[Conflict]:
    """Conflicts about missing existing containers: a container that does not run has no namespace for links."""
    topology, host, facts = view.topology, view.host, view.facts
    states = _states(facts)
    for container in topology.containers.values():
        state = states.get((container.spec.runtime, container.engine_name), "missing")
        if container.host == host.name and container.existing and state != "running":
            name, at = container.engine_name, _at(topology, ("containers", container.origin))
            yield Conflict(
                host.name,
                f"{at}the existing container {name} on host {host.name} is {state}",
                _help_start(container, state),
                awaited=container.name,
                is_member=container.number is not None,
                reason=f"{container.spec.runtime} container {name} is {state}",
            )


def _help_start(container: Container, state: str) -> str:
    """The advice for an existing container that does not run."""
    engine, is_member = ENGINES[container.spec.runtime], container.number is not None
    if state == "restarting":
        return f"read why it ends ({engine.logs(container.engine_name)}); if it needs its network at once, let it wait for that"
    start = f"start it ({engine.start_words(container.engine_name)})"
    return start if is_member else f"{start}, or give an image in place of `existing`, and netctl creates it"


def _shared_namespaces(view: HostView) -> Iterator[Conflict]:
    """Conflicts about shared network namespaces: one of two such containers may have networks, and none in the host's own."""
    topology, host, facts = view.topology, view.host, view.facts
    wired = {each.name: each for each in topology.containers.values() if each.host == host.name and each.attachments}
    for shared in facts.foreign_of(SharedNamespace):
        one, two = wired.get(shared.other or ""), wired.get(shared.container)
        if two is None:
            continue
        at = _at(topology, ("containers", two.origin, "networks"))
        if shared.other is None:
            help_text = f"remove its `networks`, or re-create {two.engine_name} with a network namespace of its own"
            yield Conflict(host.name, f"{at}container {two.name} is in the host's own network namespace", help_text)
        elif one:
            help_text = "remove the `networks` of one of them; the other's are there in both"
            yield Conflict(host.name, f"{at}containers {one.name} and {two.name} share one network namespace", help_text)


def _states(facts: HostFacts) -> dict[tuple[str, str], str]:
    """The state of each foreign container, by its engine and its name there."""
    return {(each.runtime, each.name): each.state for each in facts.foreign_of(ForeignContainer)}


def _foreign_link(topology: Topology, host_subnet: HostSubnet, name: str, link: ForeignLink) -> Conflict:
    at = _at(topology, ("subnets", host_subnet.subnet))
    return Conflict(
        host_subnet.host,
        f"{at}host {host_subnet.host} has an interface {name} that is not netctl's; subnet {host_subnet.subnet} needs that name",
        link.help_text or f"remove it (ip link delete {name}), or rename the subnet",
    )


def _taken_resolvers(view: HostView) -> Iterator[Conflict]:
    yield from (
        Conflict(view.host.name, _at(view.topology, ("dns",)) + message, advice) for message, advice in find_name_holders(view)
    )


_TAKEN = (_taken_resolvers, _taken_names, _taken_interfaces, _missing_containers, _shared_namespaces)
