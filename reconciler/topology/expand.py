"""From the model of a file to the plain values of a topology: defaults filled in, replicas expanded, references settled.

The model has passed every check, so nothing here can fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from reconciler.state.container_spec import SPEC_KEYS, ContainerSpec
from reconciler.state.engines import ENGINES, Runtime
from reconciler.state.foreign import TransportProtocol
from reconciler.state.members import Selector
from reconciler.state.naming import replica_name
from reconciler.topology.model.containers import ContainerModel
from reconciler.topology.model.file import TopologyModel
from reconciler.topology.model.hosts import HostModel
from reconciler.topology.model.networks import NetworkModel
from reconciler.topology.model.ports import PublicationModel
from reconciler.topology.model.subnets import ExistingBridge
from reconciler.topology.types import Attachment, Container, Dns, Host, Party, Pattern, Policy, Publication, Subnet, Topology
from reconciler.topology.yaml import Document

LAN_MODES = ("direct", "macvlan")
"""The modes whose segment is the LAN of the host's uplink."""


def expand_topology(
    model: TopologyModel, document: Document, path: str, source: str, variables: Mapping[str, Mapping[str, str]]
) -> Topology:
    """The topology that the model stands for; `variables` are those of its files of variables, by container."""
    return Topology(
        name=model.name,
        hosts={
            name: Host(
                name=name,
                connect=host.connect,
                addresses=host.address,
                uplink=host.uplink,
                engines=engines_of(host),
                openvswitch=host.openvswitch,
            )
            for name, host in model.hosts.items()
        },
        subnets={
            name: Subnet(
                name=name,
                cidrs=subnet.cidr,
                mode=subnet.mode,
                overlay=subnet.overlay,
                bridge="linux" if isinstance(subnet.bridge, ExistingBridge) else subnet.bridge,
                mtu=subnet.mtu,
                hosts=subnet.hosts,
                gateways=subnet.gateway,
                vni=subnet.vni,
                vxlan_port=subnet.vxlan_port,
                uplink=subnet.uplink,
                existing_bridge=subnet.bridge.name if isinstance(subnet.bridge, ExistingBridge) else "",
                macvlan=subnet.type,
                hairpin=subnet.hairpin,
                upstream=subnet.dns.upstream if subnet.dns else None,
                datapath="" if subnet.datapath == "auto" else subnet.datapath,
            )
            for name, subnet in model.subnets.items()
        },
        containers={
            container.name: container
            for origin in model.containers
            if not isinstance(model.containers[origin].existing, Selector)
            for container in _containers(model, origin, variables.get(origin, {}))
        },
        patterns={
            origin: Pattern(next(_containers(model, origin, {})), container.existing)
            for origin, container in model.containers.items()
            if isinstance(container.existing, Selector)
        },
        policies=tuple(
            Policy(party_of(model, policy.allow), party_of(model, policy.to), policy.ports or ()) for policy in model.policies
        ),
        dns=_dns_of(model),
        repair=model.repair,
        path=path,
        env_files=tuple(file.path for container in model.containers.values() for file in container.env_file),
        source=source,
        positions=document.positions,
        renamed=tuple(document.renamed),
    )


def _dns_of(model: TopologyModel) -> Dns | None:
    given = model.dns
    return Dns(given.domain or f"{model.name}.internal", given.upstream, given.ttl) if given else None


def host_of(model: TopologyModel, container: ContainerModel) -> str:
    """The host of a container; "" if the file names none and has several hosts."""
    return container.host or (next(iter(model.hosts)) if len(model.hosts) == 1 else "")


def engines_of(host: HostModel) -> dict[str, str]:
    """Where the engines of a host listen, if the file says so."""
    return {runtime: place for runtime in ENGINES if (place := getattr(host, runtime))}


def runtime_of(container: ContainerModel) -> Runtime:
    """The given runtime; else docker if the container has an image or exists; else a bare namespace."""
    return container.runtime or ("docker" if container.image or container.existing else "netns")


def names_of(origin: str, container: ContainerModel) -> list[str]:
    """The names of a container's replicas; its own name if it has none."""
    count = container.replicas
    return [origin] if count is None else [replica_name(origin, number) for number in range(1, count + 1)]


def engine_name_of(topology: str, name: str, container: ContainerModel) -> str:
    """The engine's name for the container."""
    if isinstance(container.existing, Selector):
        return ""  # each of them has one
    if isinstance(container.existing, str):
        return container.existing
    return name if container.existing else f"{topology}-{name}"


def default_network_of(model: TopologyModel, networks: dict[str, NetworkModel]) -> str:
    """The network with the default route: the one that says so, else the first with a route to the outside, else the first.

    One that declines has none. "" without any.
    """
    isolated = {name for name, subnet in model.subnets.items() if subnet.mode == "isolated"}
    said = [name for name, network in networks.items() if network.default]
    left = [name for name, network in networks.items() if network.default is None]
    return next(iter([*said, *(name for name in left if name not in isolated), *left]), "")


def interfaces_of(networks: Sequence[NetworkModel]) -> list[str]:
    """The names of interfaces in a container: as given; else eth and the network's number, or the next free number."""
    taken = {network.interface for network in networks if network.interface}
    names = []
    for number, network in enumerate(networks):
        name = network.interface or next(n for n in (f"eth{k}" for k in _from(number)) if n not in taken)
        taken.add(name)
        names.append(name)
    return names


def _from(number: int) -> Iterator[int]:
    while True:
        yield number
        number += 1


def party_of(model: TopologyModel, name: str) -> Party:
    """The party in a policy's `allow` or `to`."""
    if name in ("host", "outside"):
        return Party("host") if name == "host" else Party("outside")
    return Party("container", name) if name in model.containers else Party("subnet", name)


def protocol_of(published: PublicationModel) -> TransportProtocol:
    """The protocol of the key or of the port's suffix; tcp if neither is given."""
    said = published.protocol or (published.to.protocol if published.to else "")
    return "udp" if said == "udp" else "sctp" if said == "sctp" else "tcp"


def _containers(model: TopologyModel, origin: str, variables: Mapping[str, str]) -> Iterator[Container]:
    container = model.containers[origin]
    host = host_of(model, container)
    given = {key: getattr(container, key) for key in SPEC_KEYS}
    spec = ContainerSpec(runtime_of(container), **given | {"env": tuple({**variables, **dict(container.env)}.items())})
    default = default_network_of(model, container.networks)
    attachments = tuple(
        _attachment(model, name, network, interface, name == default)
        for (name, network), interface in zip(
            container.networks.items(), interfaces_of(tuple(container.networks.values())), strict=True
        )
    )
    publications = tuple(
        Publication(
            protocol=protocol_of(published),
            address=published.listen.address,
            port=published.listen.first,
            to_port=published.to.first if published.to else published.listen.first,
            count=published.listen.last - published.listen.first + 1,
            sources=published.from_,
            hosts=published.on or (host,),
            subnet=published.network or default,
            path=("containers", origin, "ports", number),
        )
        for number, published in enumerate(container.ports)
    )
    for name in names_of(origin, container):
        yield Container(
            name=name,
            origin=origin,
            host=host,
            engine_name=engine_name_of(model.name, name, container),
            spec=spec,
            existing=bool(container.existing),
            attachments=attachments,
            publications=publications,
            connections=container.connections,
            aliases=container.aliases,
            extra_hosts=container.extra_hosts,
            share=container.share,
            is_named=container.dns.named,
            dns_aliases=container.dns.aliases,
        )


def _attachment(model: TopologyModel, subnet: str, network: NetworkModel, interface: str, default: bool) -> Attachment:
    fixed = {address.version for address in network.address}
    is_lan = model.subnets[subnet].mode in LAN_MODES
    auto: tuple[Literal[4, 6], ...] = tuple(
        cidr.version for cidr in model.subnets[subnet].cidr if cidr.version in network.families and cidr.version not in fixed
    )
    return Attachment(
        subnet=subnet,
        addresses=network.address,
        auto=() if is_lan else auto,  # netctl does not know which addresses of a LAN are free
        mac=network.mac,
        interface=interface,
        default=default,
        dhcp=network.dhcp,
        allow=network.allow,
        hairpin=network.hairpin,
        isolated=network.isolated,
        rates=network.rate,
        mtu=network.mtu,
        routes=tuple((to, via) for route in network.routes for to in route.to for via in route.via if to.version == via.version),
        sysctls=network.sysctls,
        declines=network.default is False,
    )
