"""The containers of a topology as `netctl ls` prints them: where each is, its addresses, its ports and its state.

`compile_listing` is pure. JSON and YAML have the whole `Listing` (`schemas/ls.schema.json`); the table has a row for each network
of a container.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.compile.model import Endpoint, Resolved, ResolvedPort
from reconciler.render.colour import PLAIN, Palette
from reconciler.render.status import CALM, IN_STEP, MISSING, WAITING, StatusDocument
from reconciler.state.host import HostFacts
from reconciler.state.listed import listed
from reconciler.state.visible import visible_line
from reconciler.topology.types import Topology

FORMAT_VERSION = 1
HEAD = ("CONTAINER", "HOST", "SUBNET", "ADDRESSES", "MAC", "PORTS", "STATE")
WIDE_HEAD = (*HEAD, "INTERFACE", "HOST PORT", "RUNTIME", "IMAGE")


@dataclass(frozen=True, slots=True)
class ListedNetwork:
    """A container's interface in a subnet; `port` is its link on the host, empty if it has none."""

    subnet: str
    interface: str
    mac: str
    port: str
    addresses: tuple[str, ...] = listed()
    """With the length of their prefixes, but for those that a LAN leased; `auto` ones, too."""


@dataclass(frozen=True, slots=True)
class ListedPort:
    """A published port, or a run of `count` ports; `address` is empty for every address of the host."""

    host: str
    address: str
    protocol: str
    port: int
    to_port: int
    count: int = 1

    def render(self, own_host: str) -> str:
        """`8080->80/tcp`; with the address if it is not every one, and with the host if it is another one."""
        first, last = self.port, self.port + self.count - 1
        numbers = (
            f"{first}->{self.to_port}" if self.count == 1 else f"{first}-{last}->{self.to_port}-{self.to_port + self.count - 1}"
        )
        address = f"[{self.address}]" if ":" in self.address else self.address
        where = f"{address}:" if address else ""
        return f"{'' if self.host == own_host else f'{self.host} '}{where}{numbers}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class ListedContainer:
    """A container; `state` is as in a status, and `engine_name` and `image` are empty for a plain namespace."""

    container: str
    host: str
    runtime: str
    state: str
    engine_name: str = ""
    image: str = ""
    networks: tuple[ListedNetwork, ...] = listed()
    ports: tuple[ListedPort, ...] = listed()


@dataclass(frozen=True, slots=True)
class Listing:
    """The document of `ls -o json`."""

    format_version: int
    topology: str
    containers: tuple[ListedContainer, ...]


def compile_listing(
    topology: Topology, resolved: Resolved, facts: Mapping[str, HostFacts], status: StatusDocument, waiting: Mapping[str, str]
) -> Listing:
    """All containers of the hosts in the status. `waiting` has the host of each container that its program does not run."""
    states = {(host.host, item.subject.container_name): item.state for host in status.hosts for item in host.items}
    hosts = {host.host for host in status.hosts}
    ports: dict[str, list[ResolvedPort]] = {}
    for port in resolved.ports:
        ports.setdefault(port.container, []).append(port)
    found = [
        ListedContainer(
            container=name,
            host=each.host,
            runtime=each.spec.runtime,
            state=states.get((each.host, name), WAITING if name in waiting else IN_STEP),
            engine_name="" if each.spec.runtime == "netns" else each.engine_name,
            image=each.spec.image,
            networks=tuple(_network(endpoint, facts.get(each.host)) for endpoint in resolved.endpoints.get(name, ())),
            ports=tuple(_join(ports.get(name, ()))),
        )
        for name, each in topology.containers.items()
        if each.host in hosts
    ]
    absent = [
        ListedContainer(name, host, topology.patterns[name].container.spec.runtime, WAITING)
        for name, host in waiting.items()
        if name in topology.patterns and name not in topology.containers and host in hosts
    ]
    return Listing(FORMAT_VERSION, topology.name, (*found, *absent))


def _network(endpoint: Endpoint, facts: HostFacts | None) -> ListedNetwork:
    own = tuple(each.cidr for each in endpoint.addresses)
    key = (endpoint.subnet, endpoint.container)
    fixed = {each.address for each in endpoint.addresses}
    leases = facts.leases if facts and not own else ()
    leased = tuple(each.address for each in leases if (each.subnet, each.container) == key and each.address not in fixed)
    return ListedNetwork(endpoint.subnet, endpoint.interface, endpoint.mac, endpoint.port, (*own, *leased))


def _join(ports: Iterable[ResolvedPort]) -> Iterator[ListedPort]:
    """The ports of a container, runs of consecutive ones as one. Families and subnets of one port are one, too."""
    keys = sorted({(port.host, port.listen, port.protocol, port.port, port.to_port) for port in ports})
    last: ListedPort | None = None
    for host, address, protocol, port, to_port in keys:
        if last and (last.host, last.address, last.protocol) == (host, address, protocol):
            offset = port - last.port
            if offset == last.count and to_port == last.to_port + offset:
                last = ListedPort(host, address, protocol, last.port, last.to_port, last.count + 1)
                continue
        if last:
            yield last
        last = ListedPort(host, address, protocol, port, to_port)
    if last:
        yield last


def select_containers(listing: Listing, names: Sequence[str], origins: Mapping[str, str], subnets: Sequence[str] = ()) -> Listing:
    """The containers of these names (also of these replicas), with a network in one of these subnets; without any, all."""
    kept = tuple(
        one
        for one in listing.containers
        if (not names or one.container in names or origins.get(one.container, "") in names)
        and (not subnets or any(network.subnet in subnets for network in one.networks))
    )
    return Listing(listing.format_version, listing.topology, kept)


def render_listing(listing: Listing, palette: Palette = PLAIN, *, wide: bool = False) -> str:
    """The table for users, without a newline at the end."""
    if not listing.containers:
        return f"{listing.topology} has no such container."
    rows = [row for one in listing.containers for row in _rows(one, wide=wide)]
    table = [WIDE_HEAD if wide else HEAD, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for number, row in enumerate(table):
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        if number:
            state = row[HEAD.index("STATE")]
            paint = palette.green if state in CALM else palette.red if state == MISSING else palette.yellow
            cells[HEAD.index("STATE")] = paint(cells[HEAD.index("STATE")])
        line = "  ".join(cells).rstrip()
        lines.append(line if number else palette.bold(line))
    return "\n".join(lines)


def _rows(one: ListedContainer, *, wide: bool) -> Iterator[tuple[str, ...]]:
    """A row for each network; a container without any has one row."""
    ports = ", ".join(port.render(one.host) for port in one.ports)
    for number, network in enumerate(one.networks or (ListedNetwork("", "", "", ""),)):
        is_first = number == 0
        addresses = ", ".join(network.addresses)
        head = (one.container, one.host) if is_first else ("", "")
        tail = (ports, one.state) if is_first else ("", "")
        row: tuple[str, ...] = (*head, network.subnet, addresses, network.mac, *tail)
        if wide:
            row += (network.interface, network.port, *((one.runtime, one.image) if is_first else ("", "")))
        yield tuple(visible_line(cell) or "-" * (cell == "" and is_first) for cell in row)
