"""Names: the resolvers of a host, what each answers, and the resolv.conf of its containers. Pure.

What a container may reach, it can resolve, and no more. Its reach follows from its subnets and the policies that let it
connect. Containers of one subnet with the same reach have the same view: one file, and one resolver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_network

from reconciler.compile.containment import Owned
from reconciler.compile.isolation import isolated_subnets
from reconciler.compile.model import Endpoint, HostSubnet, Resolved
from reconciler.compile.view import HostView
from reconciler.kinds.firewall.name_elements import ResolverAddress, ResolverPort, ResolverView
from reconciler.kinds.identity import container_ref, holder_ref
from reconciler.kinds.names.name_file import NameFile
from reconciler.kinds.names.resolv_conf import ResolvConf
from reconciler.kinds.names.resolver import Resolver
from reconciler.kinds.netns import Netns
from reconciler.state.container_spec import HOLDER
from reconciler.state.engines import ENGINES
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.resolver import DNS_PORT
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.topology.types import Container, Party, Topology

FIRST_PORT, PORTS = 15300, 600
"""The ports of views other than the subnet's own: below those that the kernel gives to outgoing connections."""
HOST_NAME = "host"


@dataclass(frozen=True, slots=True)
class NameReach:
    """What a container may reach: whole subnets, the targets of policies, and where its port is isolated."""

    subnets: frozenset[str]
    targets: frozenset[Party] = frozenset()
    isolated: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """A text that is the same for the same reach, and does not depend on how many containers have it."""
        targets = sorted(f"{party.kind}:{party.name}" for party in self.targets)
        return "|".join((",".join(sorted(self.subnets)), ",".join(targets), ",".join(sorted(self.isolated))))


@dataclass(frozen=True, slots=True)
class NameView:
    """The names that some containers of a host subnet may know. `view` "" is that of the subnet, on port 53."""

    host_subnet: HostSubnet
    reach: NameReach
    view: str
    port: int
    clients: tuple[Endpoint, ...]


def compile_names(view: HostView) -> Iterator[Record]:
    """The resolvers of the host, and their files."""
    dns = view.topology.dns
    if dns is None:
        return
    zones = reverse_zones(view.topology)
    for each in name_views(view):
        subnet = view.subnet(each.host_subnet)
        upstream = subnet.upstream if subnet.upstream is not None else dns.upstream
        yield NameFile(netns=HOST, subnet=subnet.name, view=each.view, lines=_lines(view, each))
        yield Resolver(
            netns=HOST,
            subnet=subnet.name,
            view=each.view,
            bridge=each.host_subnet.bridge,
            port=each.port,
            domain=dns.domain,
            zones=zones,
            upstream=() if subnet.mode == "isolated" else upstream,
            ttl_s=dns.ttl_s,
            link=each.host_subnet.ref,
        )


def name_views(view: HostView) -> tuple[NameView, ...]:
    """The views of the host: for each of its subnets its own, and one for each other reach of a container there."""
    found = []
    taken: set[int] = set()
    for host_subnet in _served(view):
        base = base_reach(view.topology, host_subnet.subnet)
        clients: dict[NameReach, list[Endpoint]] = {base: []}
        for endpoint in view.endpoints(host_subnet.subnet):
            clients.setdefault(reach_of(view.topology, endpoint.container), []).append(endpoint)
        for reach in sorted(clients, key=lambda one: (one != base, one.key)):
            name = "" if reach == base else sha256(f"{host_subnet.subnet}/{reach.key}".encode()).hexdigest()[:8]
            port = DNS_PORT if reach == base else _free_port(name, taken)
            found.append(NameView(host_subnet, reach, name, port, tuple(clients[reach])))
    return tuple(found)


def _free_port(name: str, taken: set[int]) -> int:
    """A port that depends on the view alone, unless two views would have the same."""
    port = int(name, 16) % PORTS
    while port in taken:
        port = (port + 1) % PORTS
    taken.add(port)
    return FIRST_PORT + port


def _served(view: HostView) -> list[HostSubnet]:
    """The host's subnets that have resolvers: LANs have servers of their own."""
    return [one for one in view.host_subnets.values() if not one.lan] if view.topology.dns else []


# --- reach ------------------------------------------------------------------------------------------------------------


def reach_of(topology: Topology, container: str) -> NameReach:
    """What a container may reach."""
    found = topology.containers[container]
    subnets = frozenset(each.subnet for each in found.attachments if not topology.subnets[each.subnet].is_lan)
    parties = {Party("container", found.origin), *(Party("subnet", name) for name in subnets)}
    return NameReach(subnets, _targets(topology, parties), frozenset(isolated_subnets(topology, container)) & subnets)


def base_reach(topology: Topology, subnet: str) -> NameReach:
    """What a container may reach that is in this subnet alone, and that no policy names."""
    return NameReach(frozenset((subnet,)), _targets(topology, {Party("subnet", subnet)}))


def _targets(topology: Topology, parties: Iterable[Party]) -> frozenset[Party]:
    wanted = set(parties)
    found = (policy.target for policy in topology.policies if policy.source in wanted)
    return frozenset(party for party in found if party.kind in ("container", "subnet"))


def visible(topology: Topology, resolved: Resolved, reach: NameReach) -> Iterator[tuple[Endpoint, bool]]:
    """The endpoints that a container with this reach may connect to, and whether each is in a subnet that it shares."""
    for name, container in topology.containers.items():
        if not container.is_named or container.share:
            continue
        for endpoint, attachment in zip(resolved.endpoints[name], container.attachments, strict=True):
            subnet = endpoint.subnet
            if topology.subnets[subnet].is_lan:
                continue
            if subnet in reach.subnets and not (attachment.isolated and subnet in reach.isolated):
                yield endpoint, True
            elif not reach.targets.isdisjoint((Party("subnet", subnet), Party("container", container.origin))):
                yield endpoint, False


# --- lines ------------------------------------------------------------------------------------------------------------


def _lines(view: HostView, each: NameView) -> tuple[str, ...]:
    """The lines of a file: each address with its full name first, which a reverse query returns."""
    topology = view.topology
    dns = topology.dns
    assert dns
    seen = list(visible(topology, view.resolved, each.reach))
    shared = {endpoint.container for endpoint, is_shared in seen if is_shared}
    lines = {f"{own.address} {HOST_NAME}.{dns.domain}" for own in each.host_subnet.addresses}
    for endpoint, is_shared in seen:
        names = labels_of(topology.containers[endpoint.container])
        full = [f"{name}.{endpoint.subnet}.{dns.domain}" for name in names]
        if is_shared or endpoint.container not in shared:
            full += [f"{name}.{dns.domain}" for name in names]
        lines |= {" ".join((own.address, *full)) for own in endpoint.addresses}
    return tuple(sorted(lines))


def labels_of(container: Container) -> tuple[str, ...]:
    """The names of a container without their domain: its own, its replicas' common one, and its aliases."""
    plain = (alias.lower() for alias in container.aliases if "." not in alias)
    return tuple(dict.fromkeys((container.name, container.origin, *container.dns_aliases, *plain)))


def reverse_zones(topology: Topology) -> tuple[str, ...]:
    """The domains of the topology's prefixes: queries about their addresses stay on the host."""
    prefixes = [cidr for subnet in topology.subnets.values() if not subnet.is_lan for cidr in subnet.cidrs]
    return tuple(dict.fromkeys(zone for prefix in prefixes for zone in _zones_of(prefix)))


def _zones_of(prefix: IPv4Network | IPv6Network) -> tuple[str, ...]:
    """Each label is a byte of IPv4, or half a byte of IPv6: a prefix between two of them has several domains (RFC 2317)."""
    return _zones_of_text(str(prefix))


@cache
def _zones_of_text(prefix: str) -> tuple[str, ...]:
    network = ip_network(prefix)
    bits = 8 if network.version == 4 else 4
    length = -(-network.prefixlen // bits) * bits
    dropped = (network.max_prefixlen - length) // bits
    pieces = network.subnets(new_prefix=length)
    return tuple(piece.network_address.reverse_pointer.split(".", dropped)[-1] for piece in pieces)


# --- resolv.conf ------------------------------------------------------------------------------------------------------


def compile_resolv_conf(view: HostView, container: Container) -> Iterator[ResolvConf]:
    """The resolv.conf of a container that is in a subnet with a resolver."""
    dns = view.topology.dns
    if dns is None or not container.is_named or container.share:
        return
    served = [one for one in view.resolved.endpoints[container.name] if not view.subnet(one).is_lan]
    if not served:
        return
    first = min(served, key=lambda endpoint: not endpoint.defaults)
    host_subnet, families = view.host_subnets[first.subnet], [own.family for own in first.addresses]
    servers = [own.address for own in host_subnet.addresses if own.family in families]
    runtime, engine_name, owner = _holder_of(container)
    yield ResolvConf(
        netns=container_netns(container.name),
        container=container.name,
        engine=runtime,
        holder=engine_name,
        owner=owner,
        lines=(
            *(f"nameserver {server}" for server in servers),
            f"search {first.subnet}.{dns.domain} {dns.domain}",
            "options ndots:1",
        ),
    )


def _holder_of(container: Container) -> tuple[str, str, Ref]:
    """The runtime and the engine's name of what has the file, and its record."""
    netns, runtime = container_netns(container.name), container.spec.runtime
    if runtime == "netns":
        return "", "", Netns.ref_of(netns)
    if container.existing or ENGINES[runtime].joins_path:
        return runtime, container.engine_name, container_ref(netns)
    return runtime, container.engine_name + HOLDER, holder_ref(netns)


# --- firewall ---------------------------------------------------------------------------------------------------------


def find_resolvers(view: HostView) -> Iterator[Owned]:
    """The addresses of resolvers, and for each client of a view that is not its subnet's, the port of its resolver."""
    for each in name_views(view):
        about = Subject.subnet(each.host_subnet.subnet)
        if not each.view:
            yield from ((ResolverAddress(own.address), about) for own in each.host_subnet.addresses)
            continue
        yield ResolverPort(str(each.port)), HOST_SUBJECT
        for endpoint in each.clients:
            for own in endpoint.addresses:
                yield ResolverView(own.address, str(each.port)), Subject.container(endpoint.container)
