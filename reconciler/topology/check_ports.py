"""Rules about published ports: their targets, their listening addresses, and conflicts between them.

Two publications conflict if host, protocol, family, port and address are equal. One on every address conflicts with all
others of its port. In nftables, overlapping keys of one map are an error; with a map per kind, one would have no
effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.topology.expand import LAN_MODES, default_network_of, host_of, protocol_of
from reconciler.topology.faults import FaultList
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.model.ports import PublicationModel
from reconciler.topology.scalars import shorten, suggest
from reconciler.topology.types import IPAddress, Network, Path


@dataclass(frozen=True, slots=True)
class _Claim:
    """The part of one host that a publication uses: ports of one protocol and family, on one address or on all (None)."""

    host: str
    protocol: str
    family: int
    first: int
    last: int
    address: IPAddress | None
    container: str
    path: Path


def check_ports(model: TopologyModel, faults: FaultList) -> None:
    """Every rule about published ports."""
    claims: list[_Claim] = []
    for name, container in model.containers.items():
        for number, published in enumerate(container.ports):
            path: Path = ("containers", name, "ports", number)
            subnet = _target_network(model, name, container, published, path, faults)
            if subnet not in model.subnets:
                continue
            if model.subnets[subnet].mode == "isolated":
                others = [
                    other for other in container.networks if other in model.subnets and model.subnets[other].mode != "isolated"
                ]
                help_text = (
                    f"write `network: {others[0]}` in the long form" if others else f"remove it, or give `{subnet}` another mode"
                )
                faults.add(path, f"`{name}` cannot publish a port in `{subnet}`: the subnet is isolated", help_text)
                continue
            hosts = [host for host in published.on or (host_of(model, container),) if host]
            wanted = container.networks[subnet].families
            families: set[int] = {cidr.version for cidr in model.subnets[subnet].cidr if cidr.version in wanted}
            if not families:  # reported by `check_addresses`
                continue
            if _check_families(published, families, subnet, path, faults):
                _check_listen(model, published, hosts, path, faults)
            claims += _claims(published, hosts, families, name, path)
    _check_conflicts(claims, faults)


def _target_network(
    model: TopologyModel, name: str, container: ContainerModel, published: PublicationModel, path: Path, faults: FaultList
) -> str:
    """The network of a publication's target; "" (with a fault) if it has none."""
    if published.network and published.network not in container.networks:
        if not faults.left_out(("containers", name, "networks", published.network)):
            help_text = (
                suggest(published.network, container.networks) or f"its networks are {', '.join(container.networks) or 'none'}"
            )
            faults.add((*path, "network"), f"`{name}` has no network `{shorten(published.network)}`", help_text)
        return ""
    if not container.networks and not faults.left_out(("containers", name, "networks")):
        faults.add(path, f"`{name}` cannot publish a port: it is in no network", "give it one: `networks: {front: auto}`")
    default = default_network_of(model, container.networks)
    if container.networks and not default and not faults.left_out(("containers", name, "networks")):
        message = f"`{name}` cannot publish a port: it has no default route, so its replies do not return"
        faults.add(path, message, "remove `default: false` from one of its networks")
        return ""
    return published.network or default


def _check_families(published: PublicationModel, families: set[int], subnet: str, path: Path, faults: FaultList) -> bool:
    """Whether the listening address has a family of the container: a packet keeps its family on its way."""
    address = published.listen.address
    if address is not None and address.version not in families:
        faults.add(
            (*path, "listen"),
            f"{address} is IPv{address.version}, and the container has no IPv{address.version} address in `{subnet}`",
            f"listen on an IPv{min(families)} address, or add an IPv{address.version} range to `{subnet}`",
        )
        return False
    wanted = {address.version} if address is not None else families
    for number, source in enumerate(published.from_):
        if source.version not in wanted:
            faults.add(
                (*path, "from", number),
                f"nothing can come from {source}: the port is published on IPv{min(wanted)} only",
                "remove it, or publish the port on that family too",
            )
    return True


def _check_listen(model: TopologyModel, published: PublicationModel, hosts: Sequence[str], path: Path, faults: FaultList) -> None:
    """All addresses of a lab host are known, so a foreign one is a mistake; `compile.fits` knows those in subnets."""
    address = published.listen.address
    if address is None or address.is_unspecified or address.is_loopback or _in_subnets(model, address):
        return
    for name in hosts:
        host = model.hosts.get(name)
        if host is not None and host.connect.scheme == "lab" and host.address and address not in host.address:
            own = ", ".join(str(own) for own in host.address)
            help_text = f"its address is {own}; without an address the port is published on all"
            faults.add((*path, "listen"), f"{address} is not an address of the host `{name}`", help_text)


def _in_subnets(model: TopologyModel, address: IPAddress) -> bool:
    subnets = (subnet for subnet in model.subnets.values() if subnet.mode not in LAN_MODES)
    networks: list[Network] = [cidr for subnet in subnets for cidr in subnet.cidr]
    return any(network.version == address.version and address in network for network in networks)


def _claims(published: PublicationModel, hosts: Sequence[str], families: set[int], name: str, path: Path) -> list[_Claim]:
    listen = published.listen
    address = None if listen.address is None or listen.address.is_unspecified else listen.address
    wanted = families if listen.address is None else {listen.address.version}
    return [
        _Claim(host, protocol_of(published), family, listen.first, listen.last, address, name, path)
        for host in hosts
        for family in sorted(wanted)
    ]


def _check_conflicts(claims: list[_Claim], faults: FaultList) -> None:
    """Sweep over the ports of each host, protocol and family; only claims that reach the current port can overlap the next."""
    groups: dict[tuple[str, str, int], list[tuple[int, _Claim]]] = {}
    for number, claim in enumerate(claims):
        groups.setdefault((claim.host, claim.protocol, claim.family), []).append((number, claim))
    for group in groups.values():
        reaching: list[tuple[int, _Claim]] = []
        for number, claim in sorted(group, key=lambda item: (item[1].first, item[0])):
            reaching = [item for item in reaching if item[1].last >= claim.first]
            for other_number, other in reaching:
                if claim.address is None or other.address is None or claim.address == other.address:
                    earlier, later = (other, claim) if other_number < number else (claim, other)
                    _report(earlier, later, faults)
                    break
            reaching.append((number, claim))


def _report(earlier: _Claim, later: _Claim, faults: FaultList) -> None:
    port = max(earlier.first, later.first)
    where = "all its addresses" if earlier.address is None else str(earlier.address)
    what = f"port {port}/{later.protocol} of `{later.host}` is published twice"
    holder = f"`{earlier.container}` has it on {where}, line {faults.line(earlier.path)}"
    faults.add(later.path, f"{what}: {holder}", "write another port of the host: a port on all addresses includes each of them")
