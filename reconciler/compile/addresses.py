"""The address of every container and gateway: the one that the file fixes, else the live one, else the lowest free one.

The result depends on the file and the leases only. A live address stays as long as it is valid, so adding, removing or
renaming a container never changes another's. If there is a choice, the order of the file decides.

Members come and go, and no order of the file decides. So the address of a member is computed from its name, as its
hardware address is. It is in the middle of the prefix, where few others are, and the next free one if it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from reconciler.compile.model import Assigned
from reconciler.errors import Fault
from reconciler.state.host import HostFacts, Lease
from reconciler.state.naming import seat_of
from reconciler.topology.types import Attachment, Network, Subnet, Topology

GATEWAY = ""
"""The container of a gateway's lease."""

SEATS = 1 << 15
"""The largest number of addresses among which members choose: an IPv6 address stays short."""

Holder = tuple[str, str]
"""The holder of an address: a container's name and "", or "" and a host's name (its gateway)."""


@dataclass(slots=True)
class Pool:
    """The addresses of one prefix, as numbers: the assigned ones, and the number below which all are."""

    network: Network
    taken: set[int] = field(default_factory=set)
    first: int = 0
    last: int = 0
    cursor: int = 0

    def __post_init__(self) -> None:
        """Reserve the network's own address (IPv6: the routers' anycast) and the broadcast, but not of /31, /127 and longer."""
        base, size = int(self.network.network_address), self.network.num_addresses
        self.first = base + (1 if size > 2 else 0)
        self.last = base + size - (2 if size > 2 and self.network.version == 4 else 1)
        self.cursor = self.first

    def take(self, number: int) -> bool:
        """Assign one address; False if it is not in this prefix, or is already assigned."""
        if number in self.taken or not self.first <= number <= self.last:
            return False
        self.taken.add(number)
        return True

    def take_from(self, seat: int) -> int | None:
        """Assign the first free address from this seat on, in the middle of the prefix; else the lowest free one."""
        span = min((self.last - self.first + 1) // 2, SEATS)
        seats = ((self.first + span + (seat + step) % span) for step in range(span))
        return next((number for number in seats if self.take(number)), None) or self.take_lowest()

    def take_lowest(self) -> int | None:
        """Assign the lowest free address; None if there is none."""
        while self.cursor in self.taken:
            self.cursor += 1
        return self.cursor if self.take(self.cursor) else None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Every address: of gateways by (subnet, host), of containers by (subnet, container). `faults` if some got none."""

    gateways: Mapping[tuple[str, str], tuple[Assigned, ...]]
    containers: Mapping[tuple[str, str], tuple[Assigned, ...]]
    faults: tuple[Fault, ...]


def assign_addresses(
    topology: Topology, host_subnets: Mapping[str, tuple[str, ...]], facts: Mapping[str, HostFacts]
) -> Assignment:
    """The addresses that the file leaves open. `host_subnets` are the hosts of each subnet, in the order of the file."""
    leases = _live_leases(topology, facts)
    members: dict[str, list[tuple[str, Attachment]]] = {name: [] for name in topology.subnets}
    for container in topology.containers.values():
        for attachment in container.attachments:
            members[attachment.subnet].append((container.name, attachment))
    gateways: dict[tuple[str, str], tuple[Assigned, ...]] = {}
    containers: dict[tuple[str, str], tuple[Assigned, ...]] = {}
    faults = []
    for subnet in topology.subnets.values():
        seats = _seats(topology, subnet)
        hosts = () if subnet.is_lan else host_subnets.get(subnet.name, ())
        for cidr in subnet.cidrs:
            held, short = _assign_prefix(subnet, cidr, hosts, members[subnet.name], leases, seats)
            make, text = type(cidr.network_address), str(cidr)
            for (holder, host), number in held.items():
                address = Assigned(cidr.version, str(make(number)), text)
                table, key = (gateways, (subnet.name, host)) if holder == GATEWAY else (containers, (subnet.name, holder))
                table[key] = (*table.get(key, ()), address)
            if short:
                faults.append(_exhausted(topology, subnet, cidr, short))
    return Assignment(gateways, containers, tuple(faults))


def _assign_prefix(
    subnet: Subnet,
    cidr: Network,
    hosts: tuple[str, ...],
    members: list[tuple[str, Attachment]],
    leases: Mapping[tuple[str, Holder], set[int]],
    seats: Mapping[Holder, int],
) -> tuple[dict[Holder, int], int]:
    """The addresses of one prefix, and the number of missing ones."""
    pool = Pool(cidr)
    held = {holder: number for holder, number in _fixed(subnet, cidr, hosts, members) if pool.take(number)}
    open_gateways: list[Holder] = [(GATEWAY, host) for host in hosts if (GATEWAY, host) not in held]
    open_members: list[Holder] = [(name, "") for name, attachment in members if cidr.version in attachment.auto]
    for holder in open_gateways + open_members:
        for number in sorted(leases.get((subnet.name, holder), ())):
            if pool.take(number):
                held[holder] = number
                break
    short = 0
    for holder in open_gateways + open_members:
        if holder not in held:
            # The first host is first in order, so it gets the first usable address, unless another holder has it.
            seat = seats.get(holder)
            free = pool.take_lowest() if seat is None else pool.take_from(seat)
            short += free is None
            if free is not None:
                held[holder] = free
    return held, short


def _seats(topology: Topology, subnet: Subnet) -> dict[Holder, int]:
    """Where the search for a member's address begins: the numbers of a service follow each other."""
    return {
        (container.name, ""): seat_of(topology.name, container.origin if container.number else container.name, subnet.name)
        + container.number
        for container in topology.containers.values()
        if container.number is not None
    }


def _fixed(
    subnet: Subnet, cidr: Network, hosts: tuple[str, ...], members: list[tuple[str, Attachment]]
) -> Iterator[tuple[Holder, int]]:
    """The addresses of one prefix that the file fixes. The gateway under "" is the first host's."""
    for host, addresses in subnet.gateways.items():
        name = host or (hosts[0] if hosts else "")
        if name in hosts:
            yield from (((GATEWAY, name), int(each)) for each in addresses if each in cidr)
    for container, attachment in members:
        yield from (((container, ""), int(each)) for each in attachment.addresses if each in cidr)


def _live_leases(topology: Topology, facts: Mapping[str, HostFacts]) -> Mapping[tuple[str, Holder], set[int]]:
    """The live addresses, as numbers. A container that moves to another host keeps its address."""
    leases: dict[tuple[str, Holder], set[int]] = {}
    at_home: set[tuple[str, Holder]] = set()
    for host, seen in facts.items():
        for lease in seen.leases:
            holder: Holder = (GATEWAY, host) if lease.container == GATEWAY else (lease.container, "")
            key = (lease.subnet, holder)
            home = topology.containers.get(lease.container)
            if home and home.host == host and key not in at_home:
                at_home.add(key)
                leases[key] = set()
            if not (home and home.host != host and key in at_home):
                leases.setdefault(key, set()).add(_number(lease))
    return leases


def _number(lease: Lease) -> int:
    return int(ip_address(lease.address.partition("/")[0]))


def _exhausted(topology: Topology, subnet: Subnet, cidr: Network, short: int) -> Fault:
    return Fault(
        topology.position(("subnets", subnet.name, "cidr")),
        f"subnet {subnet.name} ({cidr}) is full: {short} more {'address is' if short == 1 else 'addresses are'} needed",
        f"give {subnet.name} a shorter prefix than /{cidr.prefixlen}, or spread its containers over several subnets",
    )


def link_local_of(mac: str) -> str:
    """The link-local address that the kernel derives from a hardware address (modified EUI-64, RFC 4291 appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    words = [*octets[:3], 0xFF, 0xFE, *octets[3:]]
    text = ":".join(f"{words[i] << 8 | words[i + 1]:x}" for i in range(0, 8, 2))
    return str(ip_network(f"fe80::{text}").network_address)


def plain_block(cidr: str) -> str:
    """A CIDR as nft writes it: a single address without its length."""
    address, _, length = cidr.partition("/")
    return address if length == ("128" if ":" in address else "32") else cidr
