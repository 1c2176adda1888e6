"""Rules about addresses: hosts in the underlay, subnets that must not overlap, gateways, containers in their subnets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from reconciler.state.lab import OUTSIDE_INTERFACES
from reconciler.state.uapi import IPV6_MTU_MIN
from reconciler.topology.expand import LAN_MODES, host_of
from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.model.networks import NetworkModel
from reconciler.topology.model.subnets import SubnetModel
from reconciler.topology.types import IPAddress, Network, Path

SEGMENTS = (IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24"), IPv4Network("172.31.255.0/24"))
"""Segments for a lab host without neighbours (RFC 5737, RFC 1918)."""
_DOCUMENTATION = (SEGMENTS[0], IPv6Network("2001:db8::/64"))
OUTSIDE = tuple(interface.network for interface in OUTSIDE_INTERFACES)
"""The lab's world outside (design: section 8)."""


def check_addresses(model: TopologyModel, faults: FaultList) -> None:
    """Every rule about addresses."""
    check_hosts(model, faults)
    check_subnets(model, faults)
    gateways = check_gateways(model, faults)
    check_containers(model, gateways, faults)


def _same_family(network: Network, address: IPAddress) -> bool:
    return network.version == address.version


def _holds(network: Network, address: IPAddress) -> bool:
    return _same_family(network, address) and address in network


def overlap(one: Network, other: Network) -> bool:
    """Whether two networks have an address in common."""
    return one.version == other.version and one.overlaps(other)


def segment_of(address: IPAddress) -> Network:
    """The lab's underlay segment that an address is on: its /24, or /64."""
    return ip_network((address, 24 if address.version == 4 else 64), strict=False)


# --- hosts ------------------------------------------------------------------------------------------------------------


def check_hosts(model: TopologyModel, faults: FaultList) -> None:
    """At most one host is this machine, addresses differ, and a lab host's address can be in the lab."""
    this_machine = ""
    free = _free_addresses(model)
    taken: dict[IPAddress, str] = {}
    for name, host in model.hosts.items():
        here: Path = ("hosts", name)
        if host.connect.scheme == "local":
            if this_machine:
                faults.add(
                    (*here, "connect"),
                    f"`{name}` and `{this_machine}` are both this machine",
                    "keep one of them; `connect: lab` makes further hosts",
                )
            this_machine = this_machine or name
        if host.connect.scheme == "lab" and not host.address and not faults.left_out((*here, "address")):
            faults.add_at_key(here, f"the lab host `{name}` has no address", f"write `address: {next(free)}`")
        for number, address in enumerate(host.address):
            at = (*here, "address", number)
            other = taken.setdefault(address, name)
            if other != name:
                help_text = f"give each host an address of its own{_such_as(model, segment_of(address))}"
                faults.add(at, f"{address} is the address of `{other}` already", help_text)
            if host.connect.scheme == "lab":
                _check_lab_address(model, address, at, faults)
            elif address.is_unspecified or address.is_multicast or address.is_loopback:
                faults.add(
                    at,
                    f"{address} is not an address at which other hosts reach `{name}`",
                    "write its address in the network that the hosts share",
                )


def _free_addresses(model: TopologyModel) -> Iterator[IPAddress]:
    """Addresses for further lab hosts, on the segments that others are on."""
    segments = sorted({segment_of(address) for host in model.hosts.values() for address in host.address if address.version == 4})
    for segment in dict.fromkeys((*segments, *SEGMENTS)):
        yield from _free_in(model, segment)


def _free_in(model: TopologyModel, segment: Network) -> Iterator[IPAddress]:
    """Addresses of a segment that no host has, that are not the router's, and in no subnet."""
    taken = {address for host in model.hosts.values() for address in host.address}
    prefixes = [cidr for subnet in model.subnets.values() for cidr in subnet.cidr]
    for number in (*range(11, 255), *range(2, 11)):
        address = segment[number]
        if address not in taken and not any(_holds(prefix, address) for prefix in (*prefixes, *OUTSIDE)):
            yield address


def _such_as(model: TopologyModel, *segments: Network) -> str:
    free = [next(_free_in(model, segment), None) for segment in segments]
    return f", such as {' or '.join(str(address) for address in free if address)}" if any(free) else ""


def _check_lab_address(model: TopologyModel, address: IPAddress, path: Path, faults: FaultList) -> None:
    segment = segment_of(address)
    outside = next((network for network in OUTSIDE if _holds(network, address)), None)
    if outside:
        faults.add(
            path,
            f"{address} is in {outside}, which is the lab's world outside",
            f"take another{_such_as(model, *_DOCUMENTATION)}",
        )
    elif address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
        faults.add(path, f"{address} cannot be a host's address", f"take another{_such_as(model, *_DOCUMENTATION)}")
    elif address == segment[1]:
        help_text = f"take another address of {segment}{_such_as(model, segment)}"
        faults.add(path, f"{address} is the lab's router on {segment}", help_text)
    elif address == segment[0] or (address.version == 4 and address == segment[-1]):
        faults.add(
            path,
            f"{address} is the {'network' if address == segment[0] else 'broadcast'} address of {segment}",
            f"take another{_such_as(model, segment)}",
        )


# --- subnets ----------------------------------------------------------------------------------------------------------


def check_subnets(model: TopologyModel, faults: FaultList) -> None:
    """Subnets do not overlap each other, the hosts' addresses or the lab's own networks; MTUs can carry IPv6."""
    _check_overlaps(model, faults)
    vnis: dict[int, str] = {}
    for name, subnet in model.subnets.items():
        here: Path = ("subnets", name)
        for number, cidr in enumerate(subnet.cidr if subnet.mode not in LAN_MODES else ()):
            _check_underlay(model, cidr, (*here, "cidr", number), faults)
        if subnet.mtu is not None and subnet.mtu < IPV6_MTU_MIN and any(cidr.version == 6 for cidr in subnet.cidr):
            faults.add(
                (*here, "mtu"),
                f"`mtu` must be at least {IPV6_MTU_MIN} in a subnet with IPv6, but is {subnet.mtu}",
                f"write {IPV6_MTU_MIN} or more, or auto (RFC 8200, section 5)",
            )
        if subnet.vni is not None and vnis.setdefault(subnet.vni, name) != name:
            faults.add(
                (*here, "vni"),
                f"the VNI {subnet.vni} is that of `{vnis[subnet.vni]}` already",
                "give each subnet a VNI of its own, or leave it out",
            )


def _check_overlaps(model: TopologyModel, faults: FaultList) -> None:
    """Prefixes are nested or disjoint, so in sorted order only the one that reaches furthest must be compared."""
    order = {name: number for number, name in enumerate(model.subnets)}
    networks = sorted(
        ((cidr, name) for name, subnet in model.subnets.items() for cidr in subnet.cidr),
        key=lambda item: (item[0].version, int(item[0].network_address), item[0].prefixlen, order[item[1]]),
    )
    around: tuple[Network, str] | None = None
    for cidr, name in networks:
        if around is None or not overlap(around[0], cidr):
            around = (cidr, name)
            continue
        (first_cidr, first), (second_cidr, second) = sorted((around, (cidr, name)), key=lambda item: order[item[1]])
        message = f"{second_cidr} overlaps {first_cidr} of `{first}`, line {faults.line(('subnets', first, 'cidr'))}"
        path = ("subnets", second, "cidr", model.subnets[second].cidr.index(second_cidr))
        faults.add(path, message, "give each subnet a range of its own")


def _free_range(model: TopologyModel, version: int) -> Network:
    """A range that overlaps none of the file's subnets, and no host's segment."""
    used = [cidr for subnet in model.subnets.values() for cidr in subnet.cidr]
    used += [segment_of(address) for host in model.hosts.values() for address in host.address]
    texts = ("10.{}.0.0/24", "fd00:{}::/64")
    ranges = (ip_network(texts[version == 6].format(number)) for number in (*range(44, 256), *range(44)))
    return next(each for each in ranges if not any(overlap(each, other) for other in used))


def _check_underlay(model: TopologyModel, cidr: Network, path: Path, faults: FaultList) -> None:
    for name, host in model.hosts.items():
        for address in host.address:
            if _holds(cidr, address):
                faults.add(
                    path,
                    f"{cidr} contains {address}, the address of the host `{name}`",
                    "take a range that the hosts' own network does not use",
                )
                return
            if host.connect.scheme == "lab" and overlap(cidr, segment_of(address)):
                faults.add(
                    path,
                    f"{cidr} overlaps {segment_of(address)}, the lab segment of the host `{name}`",
                    f"take another range, such as {_free_range(model, cidr.version)}",
                )
                return
    if any(host.connect.scheme == "lab" for host in model.hosts.values()):
        outside = next((network for network in OUTSIDE if overlap(cidr, network)), None)
        if outside:
            faults.add(
                path,
                f"{cidr} overlaps {outside}, which is the lab's world outside",
                f"take another range, such as {_free_range(model, cidr.version)}",
            )


# --- gateways ---------------------------------------------------------------------------------------------------------

Gateways = dict[str, dict[IPAddress, str]]
"""For each subnet: the addresses that are certainly gateways, and their owners."""


def check_gateways(model: TopologyModel, faults: FaultList) -> Gateways:
    """Each `gateway:` is a usable address of its subnet, and no two hosts share one. Returns them, with the default ones."""
    gateways: Gateways = {}
    for name, subnet in model.subnets.items():
        here: Path = ("subnets", name, "gateway")
        known = gateways[name] = {}
        for host, addresses in subnet.gateway.items():
            for number, address in enumerate(addresses):
                misfit = _misfit(address, name, subnet)
                path = (*here, host, number) if host else (*here, number)
                if misfit:
                    faults.add(path, f"the gateway {address} {misfit[0]}", misfit[1])
                owner = f"the gateway of `{host}`" if host else "the gateway"
                if known.setdefault(address, owner) != owner:
                    faults.add(path, f"{address} is {known[address]} in `{name}` already", "give each host an address of its own")
        first = next((host for host in model.hosts if host in _hosts_in(model, name, subnet)), "")
        fixed = {address.version for host in ("", first) for address in subnet.gateway.get(host, ())}
        for cidr in subnet.cidr if subnet.mode not in LAN_MODES else ():
            if cidr.version not in fixed:
                known.setdefault(cidr[1], "the gateway: a subnet's first address, unless `gateway:` names another")
    return gateways


def _hosts_in(model: TopologyModel, name: str, subnet: SubnetModel) -> set[str]:
    return {*subnet.hosts, *(host_of(model, container) for container in model.containers.values() if name in container.networks)}


def _misfit(address: IPAddress, name: str, subnet: SubnetModel) -> tuple[str, str] | None:
    """The reason why no interface in the subnet can have `address`, and the advice; None if one can."""
    cidr = next((cidr for cidr in subnet.cidr if _same_family(cidr, address)), None)
    if cidr is None:
        family = f"IPv{address.version}"
        return f"is {family}, and `{name}` has no {family} range", f"add one to the `cidr` of `{name}`, or remove the address"
    help_text = f"take one from {cidr[2]} to {cidr[-2]}, or leave it to netctl"
    if address not in cidr:
        return f"is outside of {cidr}, the range of `{name}`", help_text
    if address == cidr[0]:
        return f"is the network address of {cidr}", help_text
    if address.version == 4 and address == cidr[-1]:
        return f"is the broadcast address of {cidr}", help_text
    return None


# --- containers -------------------------------------------------------------------------------------------------------


def check_containers(model: TopologyModel, gateways: Gateways, faults: FaultList) -> None:
    """Each fixed address is a free one of its subnet, each MAC address is used once, and all containers fit in."""
    taken: dict[tuple[str, IPAddress], str] = {}
    in_use_of: dict[str, set[IPAddress]] = {}
    macs: dict[tuple[str, str], str] = {}
    count: dict[str, int] = {}
    for name, container in model.containers.items():
        for subnet_name, network in container.networks.items():
            if subnet_name not in model.subnets:
                continue
            path: Path = ("containers", name, "networks", subnet_name)
            count[subnet_name] = count.get(subnet_name, 0) + (1 if container.replicas is None else container.replicas)
            _check_declined(name, network, model.subnets[subnet_name], path, faults)
            for number, address in enumerate(network.address):
                at = (*path, "address", number)
                misfit = _misfit(address, subnet_name, model.subnets[subnet_name])
                owner = gateways[subnet_name].get(address, "")
                holder = taken.setdefault((subnet_name, address), name)
                if misfit:
                    faults.add(at, f"the address {address} {misfit[0]}", misfit[1])
                elif owner or holder != name:
                    why = f"is {owner}" if owner else f"is taken: `{holder}` has it in `{subnet_name}`"
                    in_use = in_use_of.get(subnet_name) or _in_use(model, subnet_name, gateways)
                    in_use_of[subnet_name] = in_use
                    free = _free(address, model.subnets[subnet_name], in_use)
                    faults.add(at, f"{address} {why}", f"write `auto`, or another address such as {free}")
            if network.mac and macs.setdefault((subnet_name, network.mac), name) != name:
                faults.add(
                    (*path, "mac"),
                    f"the MAC address {network.mac} is that of `{macs[subnet_name, network.mac]}` in `{subnet_name}` already",
                    "give each container one of its own, or leave it out",
                )
    _check_room(model, count, gateways, faults)


def _check_declined(name: str, network: NetworkModel, subnet: SubnetModel, path: Path, faults: FaultList) -> None:
    """`ipv6: false` and an IPv6 address contradict each other; and a container in a subnet needs an address there."""
    for address in network.address:
        if address.version not in network.families:
            key = f"ipv{address.version}"
            message = f"`{name}` must have no IPv{address.version} address here, but has {address}"
            faults.add((*path, key), message, f"remove `{key}: false`")
    if not any(cidr.version in network.families for cidr in subnet.cidr):
        faults.add(path, f"`{name}` would have no address in `{path[-1]}`", "keep the family that the subnet has")


def _in_use(model: TopologyModel, subnet: str, gateways: Gateways) -> set[IPAddress]:
    """Addresses that a suggestion must avoid: gateways, and those of any container of the file."""
    networks = (container.networks[subnet] for container in model.containers.values() if subnet in container.networks)
    return {*gateways[subnet], *(address for network in networks for address in network.address)}


def _free(near: IPAddress, subnet: SubnetModel, taken: Collection[IPAddress]) -> IPAddress:
    """The next free address after `near`; `near` itself if none is found soon."""
    cidr = next(cidr for cidr in subnet.cidr if _same_family(cidr, near))
    return next((address for address in _following(near, cidr) if address not in taken), near)


def _following(near: IPAddress, cidr: Network) -> Iterator[IPAddress]:
    last = int(cidr[-1]) - (1 if cidr.version == 4 else 0)
    for number in (
        *range(int(near) + 1, min(last + 1, int(near) + 5000)),
        *range(int(cidr[1]), min(int(near), int(cidr[1]) + 5000)),
    ):
        yield ip_address(number) if cidr.version == 4 else type(near)(number)


def _check_room(model: TopologyModel, count: dict[str, int], gateways: Gateways, faults: FaultList) -> None:
    for name, containers in count.items():
        for number, cidr in enumerate(model.subnets[name].cidr):
            hosts = sum(1 for address in gateways[name] if _holds(cidr, address))
            room = cidr.num_addresses - (2 if cidr.version == 4 else 1) - hosts
            if containers > room:
                faults.add(
                    ("subnets", name, "cidr", number),
                    f"{cidr} has room for {room} containers besides the gateway, and {containers} are in `{name}`",
                    "take a shorter prefix length",
                )
