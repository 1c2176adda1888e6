"""The lab in which a topology is rehearsed: the same network, with hosts and containers that are namespaces. Pure.

What only a real host has is replaced by what the lab has, and each replacement has a note. An address of a host stays if
the lab can have it, because published ports and their sources may name it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reconciler.state.container_spec import ContainerSpec
from reconciler.state.lab import OUTSIDE_INTERFACES
from reconciler.topology.check_addresses import SEGMENTS, overlap, segment_of
from reconciler.topology.host_subnets import host_subnets_of
from reconciler.topology.types import (
    Attachment,
    Connect,
    Container,
    Host,
    IPAddress,
    Network,
    Party,
    Policy,
    Publication,
    Subnet,
    Topology,
)

LAB_MTU = 1500
"""Of the links between lab hosts (`compile.lab`)."""
OVERHEAD = 100
"""More than any tunnel adds to a packet, in bytes."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The topology for the lab, and a sentence for each difference from the file."""

    topology: Topology
    notes: tuple[str, ...]


def rehearse(topology: Topology) -> Rehearsal:
    """The lab of a topology. Its name is the same: it lives in namespaces of its own."""
    lab = _Lab(topology)
    hosts = {host.name: _host(lab, host) for host in topology.hosts.values()}
    subnets = dict(_subnets(lab, hosts))
    containers = {each.name: _container(lab, each, subnets) for each in topology.declared if not each.share}
    shared = [each.name for each in topology.declared if each.share]
    if shared:
        lab.note(f"{_listed(shared)}: no namespace of its own, because it shares the network of another container")
    runtimes = {each.spec.runtime for each in topology.declared} - {"netns"}
    if runtimes:
        lab.note(f"containers of {_listed(sorted(runtimes))} are plain namespaces; where ports are probed, netctl listens")
    made = replace(
        topology, hosts=hosts, subnets=subnets, containers=containers, patterns={}, env_files=(),
        policies=tuple(_policies(lab, subnets, containers)),
    )  # fmt: skip
    return Rehearsal(made, tuple(lab.notes))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# --- hosts ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lab:
    """The addresses of hosts in the lab, and the notes.

    `moved` has each address of the file that the lab cannot have, with its substitute.
    """

    topology: Topology
    notes: dict[str, None] = field(default_factory=dict)
    """In order, each once."""
    moved: dict[IPAddress, IPAddress] = field(default_factory=dict)
    taken: set[IPAddress] = field(default_factory=set)

    def __post_init__(self) -> None:
        """All that the file names is taken."""
        self.taken |= {address for host in self.topology.hosts.values() for address in host.addresses}
        attachments = (each for container in self.topology.declared for each in container.attachments)
        self.taken |= {address for each in attachments for address in each.addresses}
        gateways = (each for subnet in self.topology.subnets.values() for each in subnet.gateways.values())
        self.taken |= {address for each in gateways for address in each}

    def note(self, text: str) -> None:
        """Add a difference between the lab and the file."""
        self.notes[text] = None

    def fits(self, address: IPAddress) -> bool:
        """Whether a lab host can have the address: it is not the lab's own, and its segment overlaps no subnet."""
        segment = segment_of(address)
        is_own = address in (segment[0], segment[1]) or (address.version == 4 and address == segment[-1])
        is_special = address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified
        return not (is_own or is_special or any(overlap(segment, network) for network in self._others()))

    def _others(self) -> Iterator[Network]:
        yield from (interface.network for interface in OUTSIDE_INTERFACES)
        yield from (cidr for subnet in self.topology.subnets.values() if not subnet.is_lan for cidr in subnet.cidrs)

    def free(self, segments: tuple[Network, ...]) -> IPAddress | None:
        """An address that no host and no container has, in the first segment that has one."""
        for segment in segments:
            for number in range(11, 250):
                address = segment[number]
                if address not in self.taken and self.fits(address):
                    self.taken.add(address)
                    return address
        return None

    def move(self, address: IPAddress) -> IPAddress | None:
        """The substitute for an address that does not fit; in its own segment if that has one."""
        if address not in self.moved:
            own = segment_of(address)
            substitute = self.free((own, *(each for each in SEGMENTS if each.version == address.version)))
            if substitute is None:
                return None
            self.moved[address] = substitute
        return self.moved[address]


def _host(lab: _Lab, host: Host) -> Host:
    kept = []
    for address in host.addresses:
        substitute = address if lab.fits(address) else lab.move(address)
        if substitute != address:
            where = f"is {substitute} in the lab" if substitute else "is left out"
            lab.note(f"the address {address} of {host.name} {where}, because the lab needs its place")
        kept += [substitute] if substitute else []
    if not any(address.version == 4 for address in kept):
        lans = tuple(cidr for cidr in _lans_of(lab.topology, host) if cidr.version == 4 and cidr.prefixlen == 24)
        if chosen := lab.free((*lans, *SEGMENTS)):
            kept.insert(0, chosen)
            lab.note(f"{host.name} has the address {chosen} in the lab, because the file gives it no IPv4 address")
    return Host(name=host.name, connect=Connect(scheme="lab"), addresses=tuple(kept))


def _lans_of(topology: Topology, host: Host) -> Iterator[Network]:
    present = host_subnets_of(topology)
    for subnet in topology.subnets.values():
        if subnet.is_lan and host.name in present[subnet.name]:
            yield from subnet.cidrs


# --- subnets ----------------------------------------------------------------------------------------------------------


def _subnets(lab: _Lab, hosts: dict[str, Host]) -> Iterator[tuple[str, Subnet]]:
    """The subnets that the lab can have. A LAN is the segment of its hosts, and an uplink can be in one bridge."""
    present = host_subnets_of(lab.topology)
    bridged: set[str] = set()
    for subnet in lab.topology.subnets.values():
        if not subnet.is_lan:
            yield subnet.name, _plain(lab, subnet)
            continue
        here = present[subnet.name]
        segments = [{segment_of(address) for address in hosts[host].addresses} for host in here]
        cidrs = tuple(cidr for cidr in subnet.cidrs if all(cidr in found for found in segments))
        if not cidrs:
            lab.note(f"subnet {subnet.name} is left out: {_listed(list(map(str, subnet.cidrs)))} is not a LAN of the lab")
        elif bridged & set(here):
            lab.note(f"subnet {subnet.name} is left out: a lab host has one uplink, and another subnet uses it")
        else:
            bridged |= set(here)
            yield subnet.name, _lan(lab, subnet, cidrs)


def _plain(lab: _Lab, subnet: Subnet) -> Subnet:
    mtu = subnet.mtu
    if mtu is not None and mtu > LAB_MTU - OVERHEAD:
        lab.note(f"the MTU {mtu} of subnet {subnet.name} is what the lab's links of {LAB_MTU} bytes carry")
        mtu = None
    return replace(_on_linux(lab, subnet), mtu=mtu)


def _lan(lab: _Lab, subnet: Subnet, cidrs: tuple[Network, ...]) -> Subnet:
    if subnet.existing_bridge:
        lab.note(f"subnet {subnet.name} has a bridge of its own in place of {subnet.existing_bridge}")
    elif subnet.uplink:
        lab.note(f"subnet {subnet.name} is on the lab's segment in place of {subnet.uplink}")
    mtu = subnet.mtu if subnet.mtu is None or subnet.mtu <= LAB_MTU else None
    return replace(_on_linux(lab, subnet), cidrs=cidrs, uplink="", existing_bridge="", gateways={}, mtu=mtu)


def _on_linux(lab: _Lab, subnet: Subnet) -> Subnet:
    if subnet.bridge == "linux":
        return subnet
    lab.note(f"the bridge of subnet {subnet.name} is Linux's: another kind needs a program of the host")
    return replace(subnet, bridge="linux", datapath="")


# --- containers and policies ------------------------------------------------------------------------------------------


def _container(lab: _Lab, container: Container, subnets: dict[str, Subnet]) -> Container:
    here = (each for each in container.attachments if each.subnet in subnets)
    kept = tuple(_attachment(lab, container, each, subnets[each.subnet]) for each in here)
    publications = tuple(_publication(lab, each) for each in container.publications if each.subnet in subnets)
    return replace(
        container, spec=ContainerSpec(runtime="netns", image=""), existing=False, attachments=kept, publications=publications,
        aliases=(), extra_hosts=(), number=None,
    )  # fmt: skip


def _attachment(lab: _Lab, container: Container, attachment: Attachment, subnet: Subnet) -> Attachment:
    made = attachment
    if attachment.dhcp:
        found = (lab.free((cidr,)) for cidr in subnet.cidrs if cidr.version == 4)
        chosen = tuple(address for address in found if address is not None)
        lab.note(f"{container.name} has {_listed(list(map(str, chosen)))} in {subnet.name} in place of a lease")
        made = replace(made, dhcp=False, addresses=chosen)
    elif subnet.is_lan:
        made = replace(made, addresses=tuple(each for each in made.addresses if any(each in cidr for cidr in subnet.cidrs)))
    if attachment.mtu is not None and attachment.mtu > LAB_MTU - OVERHEAD:
        lab.note(f"the MTU {attachment.mtu} of {container.name} in {subnet.name} is what the lab's links carry")
        made = replace(made, mtu=None)
    return made


def _publication(lab: _Lab, publication: Publication) -> Publication:
    if publication.address in lab.moved:
        return replace(publication, address=lab.moved[publication.address])
    return publication


def _policies(lab: _Lab, subnets: dict[str, Subnet], containers: dict[str, Container]) -> Iterator[Policy]:
    """The policies whose parties are in the lab."""
    origins = {container.origin for container in containers.values() if container.attachments}

    def is_there(party: Party) -> bool:
        return party.name in {"container": origins, "subnet": subnets}.get(party.kind, ("",))

    for policy in lab.topology.policies:
        if is_there(policy.source) and is_there(policy.target):
            yield policy
        else:
            lab.note(f"{policy.subject} is left out, because one of its parties is")
