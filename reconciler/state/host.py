"""HostState: all that one topology has, or should have, on one host. HostFacts: what a host reports before `compile` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Literal, TypeVar

from reconciler.state.foreign import ForeignResource, HostPortRange, PortRange
from reconciler.state.members import Member
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.starts import WaitingStart

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostState:
    """Records by their Ref. It is immutable."""

    records: Mapping[Ref, Record]

    @classmethod
    def of(cls, records: Iterable[Record]) -> HostState:
        """The state with these records, in any order; ValueError if two with different content have one Ref."""
        by_ref: dict[Ref, Record] = {}
        for record in records:
            ref = record.ref
            held = by_ref.setdefault(ref, record)
            if held is not record and held != record:
                raise ValueError(f"two records for {ref}")
        return cls(by_ref)

    def since(self, before: HostState) -> tuple[HostState, tuple[Ref, ...]]:
        """What differs from `before`, also in a field that does not count in a comparison; and what is no longer there."""
        known = before.records
        changed = {
            ref: record
            for ref, record in self.records.items()
            if (held := known.get(ref)) is not record and (held is None or not is_identical(held, record))
        }
        return HostState(changed), tuple(ref for ref in known if ref not in self.records)

    def sharing(self, before: HostState) -> HostState:
        """The same state, with the records of `before` in place of identical ones: so two states take the memory of one."""
        held = before.records
        return HostState(
            {
                ref: known if (known := held.get(ref)) is not None and is_identical(known, record) else record
                for ref, record in self.records.items()
            }
        )

    def with_changes(self, changed: HostState, gone: Iterable[Ref]) -> HostState:
        """The inverse: the state that differs from this one so."""
        records = {**self.records, **changed.records}
        for ref in gone:
            records.pop(ref, None)
        return HostState(records)


_fields: dict[type, Callable[[Record], tuple[object, ...]]] = {}
"""By class, what returns all fields of its records."""


def is_identical(one: Record, other: Record) -> bool:
    """Whether all fields of two records are equal: `==` leaves out those that only say whose a thing is."""
    kind = type(one)
    if kind not in _fields:
        names = [each.name for each in fields(kind)]
        _fields[kind] = attrgetter(*names, names[0])  # of one name it would not return a tuple
    return kind is type(other) and _fields[kind](one) == _fields[kind](other)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """The process that holds a host's lock at one moment, as text for users; "" if none does.

    `stamp` changes when a lock is taken or released. Two equal stamps prove that no netctl changed the host in between.
    It is "" only if the host has not reported it.
    """

    holder: str = ""
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that a live container, or a live gateway (container ""), has in a subnet."""

    subnet: str
    container: str
    address: str


@dataclass(frozen=True, slots=True)
class SourcePortChoice:
    """Source ports of masqueraded connections, and the block from which the live firewall gives others in their place."""

    ports: PortRange
    block: PortRange


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """A link of the host that is not netctl's, to which containers can be connected."""

    name: str
    kind: str
    """The link's kind (`bridge`, `veth`, `vlan` …); "" for hardware, `openvswitch` for a bridge of Open vSwitch."""
    mac: str
    mtu: int
    master: str = ""
    """The bridge, bond or VRF that it belongs to; "" for none. A bridge of the topology does not count."""
    is_wireless: bool = False
    addresses: tuple[str, ...] = ()
    """Its own addresses, or those that netctl moved to the bridge; without IPv6 link-local ones."""
    routers: tuple[str, ...] = ()
    """The next hops of the default routes over it, the preferred one of each family first."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The facts of a live host that `compile` needs.

    A lab host that does not exist has `exists` false and the lab's defaults.
    """

    exists: bool
    uplink: str = ""
    uplink_mtu: int = 1500
    uplink_mac: str = ""
    accepts_ra: bool = False
    """Whether the kernel accepts IPv6 routes of router advertisements on the uplink: accept_ra is 2, or 1 without forwarding."""
    has_ipv6: bool = True
    """Whether the kernel has IPv6 (the kernel's command line may say `ipv6.disable=1`)."""
    addresses: tuple[str, ...] = ()
    """The host's own addresses as CIDRs, without those of netctl's links."""
    leases: tuple[Lease, ...] = ()
    foreign: tuple[ForeignResource, ...] = ()
    members: tuple[Member, ...] = ()
    """The containers of other programs that the file names by labels."""
    starting: tuple[WaitingStart, ...] = field(default=(), compare=False)
    """Containers of other programs that wait for their network, and that the topology has not answered."""
    has_silent_engine: bool = field(default=False, compare=False)
    """Whether an engine cannot be asked, because containers of it start before it answers, as at boot."""
    has_dhcp_client: bool = True
    links: tuple[LinkFacts, ...] = ()
    """The links of the host itself."""
    missing: tuple[str, ...] = ()
    """What the host lacks: one sentence each, with what to install."""
    fast_path: bool = False
    """Whether the kernel can forward packets where they come in (`kinds.firewall.fast_path`)."""
    fast_path_fault: str = ""
    """The reason why it cannot, in a sentence."""
    openvswitch_fault: str = ""
    """The reason why the host cannot have an Open vSwitch bridge; read only if the file wants one."""
    openvswitch_datapath: Literal["system", "netdev"] = "netdev"
    """`system` if the kernel has the module of Open vSwitch, else `netdev`."""
    listening_ports: tuple[int, ...] = ()
    """Ports that masqueraded connections could get, and on which a socket of the host is open to other nodes."""
    reserved_ports: tuple[tuple[int, int], ...] = ()
    """Ranges of ports, both ends included, that the administrator reserves for services (net.ipv4.ip_local_reserved_ports)."""
    source_ports: tuple[SourcePortChoice, ...] = ()
    """What the live firewall does with the source ports of masqueraded connections."""
    published: tuple[HostPortRange, ...] = ()
    """The ports that the topology already publishes there. Ten thousand are often one range, so the answer stays short."""
    docker_user_chain: tuple[Literal["iptables", "ip6tables"], ...] = ()
    """The families whose DOCKER-USER chain exists."""

    def foreign_of(self, cls: type[T]) -> Iterator[T]:
        """The foreign resources of this class, in the order in which they were found."""
        return (one for one in self.foreign if isinstance(one, cls))
