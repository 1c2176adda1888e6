"""What an engine runs as the draft of a topology: its networks, its containers with their live addresses, their ports.

The engine's answers are foreign data, so each has a class with strict types for the keys that an import reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reconciler.compose.draft import AttachmentDraft, ContainerDraft, PortDraft, SubnetDraft, TopologyDraft
from reconciler.compose.model import ComposeNetwork, Ipam, Port, Range
from reconciler.compose.names import label_names, topology_name
from reconciler.compose.networks import ImportedNetwork, convert_networks
from reconciler.compose.ports import PortClaims, convert_ports
from reconciler.errors import HostError
from reconciler.state.members import COMPOSE_PROJECT
from reconciler.state.visible import visible_line
from reconciler.topology.addresses import parse_address
from reconciler.topology.types import IPAddress

MODES = frozenset({"host", "none"})
"""Networks of Docker's that are none."""
DEFAULT_NETWORK = "bridge"
"""Docker's own network, which cannot be removed. Its prefix stays Docker's."""

_USUAL_OPTIONS = {
    "com.docker.network.bridge.name": "",
    "com.docker.network.bridge.default_bridge": "",
    "com.docker.network.bridge.enable_icc": "true",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
    "com.docker.network.driver.mtu": "1500",
}
"""Options of the default network that say nothing to a topology, with their values; "" is any."""


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=True)


class _Endpoint(_Answer):
    ipv4: str = Field("", alias="IPAddress")
    ipv6: str = Field("", alias="GlobalIPv6Address")


class _Binding(_Answer):
    host_ip: str = Field("", alias="HostIp")
    host_port: str = Field("", alias="HostPort")


class _Settings(_Answer):
    networks: dict[str, _Endpoint] | None = Field(None, alias="Networks")


class _HostConfig(_Answer):
    mode: str = Field("", alias="NetworkMode")
    ports: dict[str, list[_Binding] | None] | None = Field(None, alias="PortBindings")


class _Config(_Answer):
    labels: dict[str, str] | None = Field(None, alias="Labels")


class _Container(_Answer):
    identity: str = Field("", alias="Id")
    name: str = Field(alias="Name")
    config: _Config | None = Field(None, alias="Config")
    settings: _Settings = Field(alias="NetworkSettings")
    host: _HostConfig = Field(alias="HostConfig")


class _Range(_Answer):
    subnet: str | None = Field(None, alias="Subnet")
    gateway: str | None = Field(None, alias="Gateway")


class _Ipam(_Answer):
    config: list[_Range] | None = Field(None, alias="Config")


class _Network(_Answer):
    name: str = Field(alias="Name")
    driver: str = Field("bridge", alias="Driver")
    internal: bool = Field(False, alias="Internal")
    ipv6: bool = Field(False, alias="EnableIPv6")
    options: dict[str, str] | None = Field(None, alias="Options")
    ipam: _Ipam | None = Field(None, alias="IPAM")

    def as_compose(self) -> ComposeNetwork:
        """The same in Compose's words. The default network gets another prefix, since Docker keeps its own."""
        kept = [] if self.name == DEFAULT_NETWORK or not self.ipam else self.ipam.config or []
        options: dict[str, str | int | float | bool] = {}
        options |= {key: value for key, value in (self.options or {}).items() if _USUAL_OPTIONS.get(key) not in ("", value)}
        ranges = tuple(Range(subnet=one.subnet, gateway=one.gateway) for one in kept)
        return ComposeNetwork(
            driver=self.driver,
            internal=self.internal,
            enable_ipv6=self.ipv6,
            driver_opts=options,
            ipam=Ipam(config=ranges),
        )


@dataclass(frozen=True, slots=True)
class ImportedEngine:
    """The topology of what runs, and the engine's networks of each container that netctl is to connect."""

    topology: TopologyDraft
    networks: Mapping[str, tuple[str, ...]]
    """By name of the container in the engine."""


def convert_engine(
    name: str, containers: Iterable[Mapping[str, Any]], networks: Iterable[Mapping[str, Any]], heading: Iterable[str]
) -> ImportedEngine:
    """The topology of the containers that are in a network of the engine's. HostError if an answer has another form."""
    try:
        parsed = [_Container.model_validate(one) for one in containers]
        by_name = {one.name: one for one in (_Network.model_validate(each) for each in networks) if one.name not in MODES}
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise HostError(
            visible_line(f"cannot import: the engine describes {place} in a form that netctl does not know")
        ) from None
    members = {one.name.removeprefix("/"): _known_networks(one, by_name) for one in parsed}
    connected = [one for one in parsed if members[one.name.removeprefix("/")]]
    used = sorted({network for keys in members.values() for network in keys})
    imported = convert_networks(name, {key: by_name[key].as_compose() for key in used}, label_names(used, "network"))
    labels = label_names([one.name.removeprefix("/") for one in connected], "container")
    claims = PortClaims()
    drafts = tuple(_container(one, members[one.name.removeprefix("/")], labels, imported, claims) for one in connected)
    left_out = tuple((one.name.removeprefix("/"), (_why_left_out(one, parsed),)) for one in parsed if one not in connected)
    subnets = tuple(_subnet(key, imported[key].subnet) for key in used)
    topology = TopologyDraft(topology_name(name), tuple(heading), subnets, drafts, left_out)
    kept = {one.name.removeprefix("/"): members[one.name.removeprefix("/")] for one in connected}
    return ImportedEngine(topology, kept)


def _subnet(key: str, subnet: SubnetDraft) -> SubnetDraft:
    if key != DEFAULT_NETWORK:
        return subnet
    note = "Docker's default network, which stays with its own prefix; here the containers get others"
    return replace(subnet, notes=(note, *subnet.notes))


def _known_networks(container: _Container, networks: Mapping[str, _Network]) -> tuple[str, ...]:
    return tuple(sorted(key for key in container.settings.networks or {} if key in networks))


def _why_left_out(container: _Container, others: Iterable[_Container]) -> str:
    mode = container.host.mode or "none"
    kind, _, identity = mode.partition(":")
    owner = next((one.name.removeprefix("/") for one in others if one.identity == identity), "") if kind == "container" else ""
    if owner:
        return f"runs in the network of {owner}, which it joined when it started; restart it after {owner}"
    return f"is in no network of the engine's (network mode {mode})"


def _container(
    container: _Container,
    keys: Sequence[str],
    labels: Mapping[str, str],
    imported: Mapping[str, ImportedNetwork],
    claims: PortClaims,
) -> ContainerDraft:
    name = container.name.removeprefix("/")
    endpoints = container.settings.networks or {}
    attachments = tuple(_attachment(imported[key].subnet, endpoints[key]) for key in keys)
    open_subnets = [imported[key].subnet for key in keys if imported[key].subnet.mode != "isolated"]
    ports: tuple[PortDraft, ...] = ()
    if open_subnets and not open_subnets[0].is_lan:
        families = [cidr.version for cidr in open_subnets[0].cidrs]
        ports = tuple(convert_ports(_ports_of(container), name, families, claims))
    return ContainerDraft(labels[name], name, attachments, ports, tuple(_notes(container)))


def _notes(container: _Container) -> Iterable[str]:
    project = ((container.config.labels if container.config else None) or {}).get(COMPOSE_PROJECT)
    if project:
        yield f"of the Compose project {project}: import its file in place of this, or Compose will connect it again"


def _attachment(subnet: SubnetDraft, endpoint: _Endpoint) -> AttachmentDraft:
    """With the live addresses, unless the subnet has another prefix than the engine's network."""
    found = [address for text in (endpoint.ipv4, endpoint.ipv6) if text and (address := _parse(text)) is not None]
    addresses = tuple(address for address in found if any(address in cidr for cidr in subnet.cidrs))
    is_isolated = subnet.hides_ports and not subnet.is_lan
    return AttachmentDraft(subnet.name, addresses, is_isolated=is_isolated)


def _parse(text: str) -> IPAddress | None:
    try:
        return parse_address(text)
    except ValueError:
        return None


def _ports_of(container: _Container) -> list[Port]:
    """The bindings as Compose's ports. One for each family on every address is one for all."""
    ports = []
    for key, bindings in sorted((container.host.ports or {}).items(), key=_port_order):
        target, _, protocol = key.partition("/")
        pairs = {(binding.host_ip, binding.host_port) for binding in bindings or ()}
        for host_ip, host_port in sorted(pairs):
            is_both = ("0.0.0.0", host_port) in pairs and ("::", host_port) in pairs
            if is_both and host_ip == "::":
                continue
            address = "" if is_both and host_ip == "0.0.0.0" else host_ip
            ports.append(Port(target=target, published=host_port or None, host_ip=address or None, protocol=protocol or "tcp"))
    return ports


def _port_order(item: tuple[str, object]) -> tuple[int, str]:
    number, _, protocol = item[0].partition("/")
    return (int(number) if number.isdecimal() and number.isascii() else 0, protocol)
