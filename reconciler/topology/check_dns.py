"""Rules about names: no two things have the same one, no server asks itself, and each key has an effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from reconciler.topology.expand import LAN_MODES, names_of
from reconciler.topology.faults import FaultList
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.types import UPSTREAM_HOST, Path


def check_dns(model: TopologyModel, faults: FaultList) -> None:
    """Every rule about the key `dns`."""
    if faults.left_out(("dns",)):
        return
    _check_effect(model, faults)
    if model.dns is not None:
        _check_aliases(model, faults)
        for path, upstream in _upstreams(model):
            _check_upstream(model, path, upstream, faults)


def _check_effect(model: TopologyModel, faults: FaultList) -> None:
    """A key that changes nothing is a mistake."""
    off = "there are no names without `dns` at the top"
    for name, subnet in model.subnets.items():
        path: Path = ("subnets", name, "dns")
        if subnet.dns is None:
            continue
        if subnet.mode in LAN_MODES:
            message = f"`dns` has no effect on `{name}` of mode {subnet.mode}: a LAN has servers of its own"
            faults.add_at_key(path, message, "remove it")
        elif model.dns is None:
            faults.add_at_key(path, f"`dns` has no effect on `{name}`: {off}", "write `dns: true` at the top, or remove it")
        elif subnet.mode == "isolated" and subnet.dns.upstream:
            message = f"`{name}` is isolated, so its resolver asks no other server"
            faults.add((*path, "upstream"), message, "remove it, or write `upstream: none`")
    for name, container in model.containers.items():
        path = ("containers", name, "dns")
        if not container.dns.named and container.dns.aliases:
            faults.add((*path, "aliases"), f"`{name}` cannot have aliases without a name", "remove `named: false`, or `aliases`")
        elif container.dns.aliases and model.dns is None:
            faults.add_at_key(path, f"`dns` has no effect on `{name}`: {off}", "write `dns: true` at the top, or remove it")
        elif container.dns.aliases and container.networks and _only_lans(model, container.networks):
            message = f"`dns` has no effect on `{name}`: its subnets are LANs, which have servers of their own"
            faults.add_at_key(path, message, "remove it")


def _only_lans(model: TopologyModel, networks: Iterable[str]) -> bool:
    return all(subnet in model.subnets and model.subnets[subnet].mode in LAN_MODES for subnet in networks)


def _check_aliases(model: TopologyModel, faults: FaultList) -> None:
    owners = {
        name: origin
        for origin, container in model.containers.items()
        if container.dns.named
        for name in dict.fromkeys((origin, *names_of(origin, container)))
    }
    of_containers = frozenset(owners)
    for origin, container in model.containers.items():
        for number, alias in enumerate(container.dns.aliases):
            path: Path = ("containers", origin, "dns", "aliases", number)
            other = owners.setdefault(alias, origin)
            if alias in of_containers:
                whose = "its own name" if other == origin else f"the name of the container `{other}`"
                faults.add(path, f"the alias `{alias}` is {whose}", "choose another alias, or remove it")
            elif other != origin:
                line = faults.line(("containers", other, "dns", "aliases"))
                message = f"the alias `{alias}` is one of `{other}` too, line {line}"
                faults.add(path, message, "choose another alias: a name belongs to one container and its replicas")


def _upstreams(model: TopologyModel) -> Iterator[tuple[Path, tuple[str, ...]]]:
    if model.dns is not None:
        yield ("dns", "upstream"), model.dns.upstream
    yield from ((("subnets", name, "dns", "upstream"), one.dns.upstream) for name, one in model.subnets.items() if one.dns)


def _check_upstream(model: TopologyModel, path: Path, upstream: tuple[str, ...], faults: FaultList) -> None:
    """A server of the topology's own would ask itself without end. A container may be a server."""
    fixed = {
        address
        for container in model.containers.values()
        for network in container.networks.values()
        for address in network.address
    }
    for server in upstream:
        if server == UPSTREAM_HOST:
            continue
        address = ip_address(server)
        for name, subnet in model.subnets.items():
            gateways = {own for addresses in subnet.gateway.values() for own in addresses}
            inside = subnet.mode not in LAN_MODES and any(address in cidr for cidr in subnet.cidr)
            if inside and (address in gateways or address not in fixed):
                message = f"{server} would be a resolver of this topology: it is in `{name}`, and no container has it"
                faults.add(path, message, "write a server outside of the topology, `host`, or `none`")
