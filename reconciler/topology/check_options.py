"""Rules about a container's limits and the options of its networks: rates, MTU, static routes."""

from __future__ import annotations

from reconciler.state.uapi import IPV6_MTU_MIN
from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.model.networks import NetworkModel, RouteModel
from reconciler.topology.model.subnets import SubnetModel
from reconciler.topology.types import CONNECTIONS, Attachment, Container, IPAddress, Network, Path, Subnet, Topology


def check_options(topology: Topology, faults: FaultList) -> None:
    """Every rule about options."""
    for container in topology.containers.values():
        _check_connections(topology, container, faults)
        for attachment in container.attachments:
            path: Path = ("containers", container.origin, "networks", attachment.subnet)
            subnet = topology.subnets[attachment.subnet]
            _check_mtu(subnet, attachment, path, faults)
            _check_sysctls(subnet, attachment, path, faults)
            if attachment.rates[0] and subnet.mode == "macvlan":
                message = f"cannot limit the ingress rate in `{subnet.name}`: a macvlan bypasses the host's queues"
                faults.add_at_key((*path, "rate"), message, "write `rate: {egress: …}`, or `mode: direct`")


def _check_connections(topology: Topology, container: Container, faults: FaultList) -> None:
    modes = {topology.subnets[attachment.subnet].mode for attachment in container.attachments}
    if container.connections != CONNECTIONS and modes == {"macvlan"}:
        message = f"`connections` has no effect on `{container.origin}`: a macvlan bypasses the host's connection tracking"
        faults.add_at_key(("containers", container.origin, "connections"), message, "remove it, or write `mode: direct`")


def _check_mtu(subnet: Subnet, attachment: Attachment, path: Path, faults: FaultList) -> None:
    mtu = attachment.mtu
    if mtu is None:
        return
    if subnet.mtu is not None and mtu > subnet.mtu:
        message = f"`mtu` is {mtu}, but `{subnet.name}` carries {subnet.mtu} bytes"
        faults.add((*path, "mtu"), message, f"write {subnet.mtu} at most")
    if mtu < IPV6_MTU_MIN and (6 in attachment.auto or any(each.version == 6 for each in attachment.addresses)):
        faults.add(
            (*path, "mtu"), f"`mtu` must be at least {IPV6_MTU_MIN} with IPv6, but is {mtu}", f"write {IPV6_MTU_MIN} or more"
        )


def _check_sysctls(subnet: Subnet, attachment: Attachment, path: Path, faults: FaultList) -> None:
    mtu = min(attachment.mtu or IPV6_MTU_MIN, subnet.mtu or IPV6_MTU_MIN)
    for key, _ in attachment.sysctls if mtu < IPV6_MTU_MIN else ():
        if key.startswith("net.ipv6."):
            message = f"an interface has no IPv6 settings below an MTU of {IPV6_MTU_MIN}, and this one has {mtu}"
            faults.add_at_key((*path, "sysctls", key), message, f"remove it, or write an `mtu` of {IPV6_MTU_MIN} or more")


def check_routes(model: TopologyModel, faults: FaultList) -> None:
    """A container's static routes: none is a default route or leads into its own subnet; each next hop is in the subnet."""
    for name, container in model.containers.items():
        for subnet_name, network in container.networks.items():
            here: Path = ("containers", name, "networks", subnet_name, "routes")
            for number, route in enumerate(network.routes if subnet_name in model.subnets else ()):
                _check_route(name, subnet_name, model.subnets[subnet_name], network, route, (*here, number), faults)
                for index, to in enumerate(route.to):
                    for other in container.networks:
                        if other != subnet_name and other in model.subnets and to in model.subnets[other].cidr:
                            message = f"{to} is `{other}`, which `{name}` is in, so it needs no route"
                            faults.add((*here, number, "to", index), message, f"remove it, or the network `{other}`")


def _check_route(
    name: str, subnet_name: str, subnet: SubnetModel, network: NetworkModel, route: RouteModel, here: Path, faults: FaultList
) -> None:
    families = {cidr.version for cidr in subnet.cidr} & set(network.families)
    for number, to in enumerate(route.to):
        path = (*here, "to", number)
        if to.prefixlen == 0:
            faults.add(path, "a static route cannot be a default route", "write `default: true` for the network that leads out")
        elif any(to.version == cidr.version and to.overlaps(cidr) for cidr in subnet.cidr):
            faults.add(path, f"{to} overlaps the subnet itself, which needs no route", "remove it")
        if to.version not in families and not network.dhcp:
            family = f"IPv{to.version}"
            faults.add(path, f"`{name}` has no {family} address in `{subnet_name}`", "give it one, or remove the route")
    for number, via in enumerate(route.via):
        if via.version in families and not any(via in cidr for cidr in subnet.cidr):
            message = f"the next hop {via} is not in `{subnet_name}`"
            faults.add((*here, "via", number), message, f"name an address of {subnet.cidr[0]}, of a container or a router there")
        elif any(via in _ends(cidr) for cidr in subnet.cidr):
            message = f"the next hop {via} is the network or broadcast address of `{subnet_name}`"
            faults.add((*here, "via", number), message, "name the address of a container or a router there")


def _ends(cidr: Network) -> tuple[IPAddress, ...]:
    """The two addresses of an IPv4 prefix that no interface may have; RFC 3021 permits those of a /31."""
    return (cidr.network_address, cidr.broadcast_address) if cidr.version == 4 and cidr.num_addresses > 2 else ()
