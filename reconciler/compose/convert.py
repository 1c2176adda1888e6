"""A Compose project as the draft of a topology: which container is where, with which address, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.compose.draft import AttachmentDraft, ComposeMembers, ContainerDraft, PortDraft, SubnetDraft, TopologyDraft
from reconciler.compose.endpoints import Endpoints, networks_of
from reconciler.compose.model import KEPT, ComposeNetwork, ComposeService, Project
from reconciler.compose.names import label_names, service_labels, topology_name
from reconciler.compose.networks import compact, convert_networks
from reconciler.compose.ports import PortClaims, convert_ports, describe
from reconciler.state.uapi import BRIDGE_PORTS_MAX

_ALIENS = ("host", "none")
"""Names of networks that are no networks: an external one of this name is a mode of Docker's."""


@dataclass(frozen=True, slots=True)
class ImportedProject:
    """A project, its topology, and by service the container there. Services that netctl does not connect have none."""

    project: Project
    topology: TopologyDraft
    containers: Mapping[str, ContainerDraft]


def convert_project(project: Project, heading: Iterable[str]) -> ImportedProject:
    """The topology of a project."""
    reasons = {name: reason for name, service in project.services.items() if (reason := _why_left_out(service, project))}
    connected = {name: service for name, service in project.services.items() if name not in reasons}
    keys = sorted({key for service in connected.values() for key in networks_of(service)})
    used = {key: project.networks.get(key) for key in keys}
    imported = convert_networks(project.name, used, label_names(keys, "network"))
    endpoints = Endpoints(imported)
    endpoints.take_given(connected)
    converter = _Converter(project, endpoints, service_labels(tuple(project.services)))
    containers = {name: converter.convert(name, service) for name, service in connected.items()}
    left_out = tuple((name, (reason, *_other_notes(project.services[name]))) for name, reason in reasons.items())
    name = topology_name(project.name)
    renamed = (f"The project is {project.name}, which no topology can be called.",) if name != project.name else ()
    topology = TopologyDraft(
        name, (*heading, *renamed), tuple(each.subnet for each in imported.values()), tuple(containers.values()), left_out
    )
    return ImportedProject(project, topology, containers)


def _why_left_out(service: ComposeService, project: Project) -> str:
    """The reason why netctl does not connect the service; "" if it does."""
    mode = service.network_mode
    if service.provider is not None:
        return "a provider of another program, and no container"
    if other := owner_of(service):
        return f"runs in the network of {other}, which it joins by itself (network_mode: {mode})"
    if (mode or "").partition(":")[0] == "container":
        return f"runs in the network of another container (network_mode: {mode})"
    if mode == "host":
        return "has the network of its host (network_mode: host); netctl changes nothing of it"
    if mode == "none":
        return "has no network (network_mode: none)"
    if mode not in (None, "bridge"):
        return f"is in a network of the engine's that this file does not describe (network_mode: {mode})"
    aliens = (key for key in service.networks or {} if _is_alien(project.networks.get(key)))
    return next((f"has the network `{key}`, which is a mode of Docker's and no network" for key in aliens), "")


def _is_alien(network: ComposeNetwork | None) -> bool:
    return network is not None and ((bool(network.external) and network.name in _ALIENS) or network.driver in _ALIENS)


def owner_of(service: ComposeService) -> str:
    """The service in whose network this one runs; "" if it is in none's."""
    kind, _, other = (service.network_mode or "").partition(":")
    return other if kind == "service" else ""


def _other_notes(service: ComposeService) -> Iterator[str]:
    """A note for each key that neither Compose's list nor netctl knows."""
    for key, value in service.others.items():
        if key not in KEPT:
            yield f"not imported: {key}: {compact(value)}"


@dataclass(frozen=True, slots=True)
class _Converter:
    """What the containers of one project share while they are converted."""

    project: Project
    endpoints: Endpoints
    labels: Mapping[str, str]
    claims: PortClaims = field(default_factory=PortClaims)

    def convert(self, name: str, service: ComposeService) -> ContainerDraft:
        """The container, or all containers, of one service."""
        attachments, outside = self.endpoints.attach(name, service)
        notes = (*self._notes(name, service), *_other_notes(service), *outside)
        ports = tuple(self._publish(name, service, attachments))
        return ContainerDraft(self.labels[name], ComposeMembers(self.project.name, name), tuple(attachments), ports, notes)

    def _notes(self, name: str, service: ComposeService) -> Iterator[str]:
        sharers = [each for each, other in self.project.services.items() if owner_of(other) == name]
        if sharers:
            yield f"{', '.join(sharers)}: in its network, too, by Compose's network_mode: service:{name}"
        if service.network_mode == "bridge":
            yield "Compose: network_mode: bridge, the engine's own network"
        if service.profiles:
            words = " ".join(f"--profile {profile}" for profile in service.profiles[:1])
            yield f"profiles {', '.join(service.profiles)}: waits until `docker compose {words} up` starts it"
        if not service.is_single:
            yield f"{service.count} containers, so netctl chooses their addresses, and no name leads to them"
        for link in service.external_links or ():
            yield f"not imported: external_links: {link}; a container outside of this file"
        if service.count > BRIDGE_PORTS_MAX:
            yield f"a bridge has room for {BRIDGE_PORTS_MAX} containers"

    def _publish(self, name: str, service: ComposeService, attachments: list[AttachmentDraft]) -> Iterator[PortDraft]:
        """The published ports, which lead to the network with the default route."""
        reason = self._why_unpublished(service, attachments)
        if reason:
            yield from (PortDraft("", f"{describe(port)}: not published: {reason}") for port in service.ports or ())
            return
        leads_to = self._default_subnet(attachments)
        families = [cidr.version for cidr in leads_to.cidrs] if leads_to else []
        yield from convert_ports(service.ports or (), name, families, self.claims)

    def _why_unpublished(self, service: ComposeService, attachments: list[AttachmentDraft]) -> str:
        if not attachments:
            return "the service is in no network"
        if not service.is_single:
            return f"the service has {service.count} containers, and a port leads to one"
        leads_to = self._default_subnet(attachments)
        if leads_to is None:
            return "Docker publishes none for containers of internal networks, either"
        return "machines on the LAN reach the container at its own address" if leads_to.is_lan else ""

    def _default_subnet(self, attachments: list[AttachmentDraft]) -> SubnetDraft | None:
        """The subnet of the default route; None if all are isolated."""
        by_name = {network.subnet.name: network.subnet for network in self.endpoints.networks.values()}
        ordered = sorted(attachments, key=lambda attachment: not attachment.is_default)
        subnets = [by_name[attachment.subnet] for attachment in ordered]
        return next((subnet for subnet in subnets if subnet.mode != "isolated"), None)
