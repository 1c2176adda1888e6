"""HostState: all that one topology has, or should have, on one host. HostFacts: what a host tells before it is compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from reconciler.state.foreign import ForeignResource, HostPort
from reconciler.state.record import Record
from reconciler.state.ref import Ref

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostState:
    """Records by their Ref. A value: nothing is added after it is made."""

    records: Mapping[Ref, Record]

    @classmethod
    def of(cls, records: Iterable[Record]) -> HostState:
        """From records in any order; ValueError where two claim one Ref with different content."""
        by_ref: dict[Ref, Record] = {}
        for record in records:
            ref = record.ref
            held = by_ref.setdefault(ref, record)
            if held is not record and held != record:
                raise ValueError(f"two records for {ref}")
        return cls(by_ref)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Who is at work on a host at one moment: the process that holds the lock, for people; "" if none does.

    `stamp` changes when a lock is taken or released, so two equal ones tell that no netctl was at work in between. It is "" only
    if the host has not said.
    """

    holder: str = ""
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that a live container, or a live gateway (container ""), holds in a subnet."""

    subnet: str
    container: str
    address: str


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """A link of the host that is not netctl's, as something to connect containers to."""

    name: str
    kind: str
    """What it is made of (`bridge`, `veth`, `vlan` …); "" for hardware, `openvswitch` for a bridge of Open vSwitch."""
    mac: str
    mtu: int
    master: str = ""
    """The bridge, bond or VRF that it belongs to; "" for none. A bridge of the topology itself does not count."""
    is_wireless: bool = False
    addresses: tuple[str, ...] = ()
    """Its own, or those that went to the bridge which netctl has put it into; IPv6 link-local ones left out."""
    routers: tuple[str, ...] = ()
    """The next hops of the default routes that lead over it, the best of each family first."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What `compile` needs to know of a live host. A lab host that is not there has `exists` false and the lab's defaults."""

    exists: bool
    uplink: str = ""
    uplink_mtu: int = 1500
    uplink_mac: str = ""
    accepts_ra: bool = False
    """Whether the kernel takes IPv6 routes from router advertisements on the uplink: accept_ra is 2, or 1 without forwarding."""
    has_ipv6: bool = True
    """Whether its kernel speaks IPv6 at all (`ipv6.disable=1` on the kernel's command line says no)."""
    addresses: tuple[str, ...] = ()
    """The host's own addresses, as CIDRs, links of ours left out."""
    leases: tuple[Lease, ...] = ()
    foreign: tuple[ForeignResource, ...] = ()
    has_dhcp_client: bool = True
    links: tuple[LinkFacts, ...] = ()
    """Those of the host itself."""
    missing: tuple[str, ...] = ()
    """What the host lacks: a sentence each, with what to install."""
    fast_path: bool = False
    """Whether its kernel can hand packets on where they come in (`kinds.firewall.fast_path`)."""
    fast_path_fault: str = ""
    """Why it cannot, in a sentence."""
    openvswitch_fault: str = ""
    """Why the host cannot have an Open vSwitch bridge; looked into only where the file wants one."""
    openvswitch_datapath: Literal["system", "netdev"] = "netdev"
    """`system` where its kernel has Open vSwitch's module, else `netdev`."""
    listening_ports: tuple[int, ...] = ()
    """Of the ports that masqueraded connections could get, those on which a socket of the host is open to other nodes."""
    reserved_ports: tuple[tuple[int, int], ...] = ()
    """Ranges of ports, both ends included, that the administrator keeps for services (net.ipv4.ip_local_reserved_ports)."""
    source_ports: tuple[tuple[str, str], ...] = ()
    """The live elements of the topology's map of that name: ports, and the chain that chooses for them."""
    published: tuple[HostPort, ...] = ()
    """The ports that the topology publishes there already."""
    docker_user_chain: tuple[Literal["iptables", "ip6tables"], ...] = ()
    """Each where its DOCKER-USER chain is there."""

    def foreign_of(self, cls: type[T]) -> Iterator[T]:
        """The foreign resources of this class, in the order in which they were found."""
        return (one for one in self.foreign if isinstance(one, cls))
