"""A Compose project as the draft of a topology: which container is where, with which address, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from reconciler.compose.draft import AttachmentDraft, ComposeMembers, ContainerDraft, PortDraft, SubnetDraft, TopologyDraft
from reconciler.compose.model import KEPT, ComposeNetwork, ComposeService, NetworkUse, Project
from reconciler.compose.names import label_names, service_labels, topology_name
from reconciler.compose.networks import ImportedNetwork, compact, convert_networks
from reconciler.compose.ports import PortClaims, convert_ports, describe
from reconciler.compose.prefixes import choose_address
from reconciler.state.uapi import BRIDGE_PORTS_MAX
from reconciler.topology.types import IPAddress

DEFAULT_BRIDGE = "bridge"
"""The engine's own network, for services with `network_mode: bridge`."""
_MAC = re.compile("[0-9a-f][02468ace](:[0-9a-f]{2}){5}", re.ASCII)
_INTERFACE = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
_ALIENS = ("host", "none")
"""Names of networks that are no networks: an external one of this name is a mode of Docker's."""


@dataclass(frozen=True, slots=True)
class ImportedProject:
    """A project, its topology, and by service the container there. Services that netctl does not connect have none."""

    project: Project
    topology: TopologyDraft
    containers: Mapping[str, ContainerDraft]


@dataclass(slots=True)
class _Addresses:
    """The addresses of one network that are given or chosen so far."""

    network: ImportedNetwork
    taken: set[IPAddress] = field(default_factory=set)

    def choose(self, version: int) -> IPAddress | None:
        """A free address of a family, which is then taken."""
        cidr = next(cidr for cidr in self.network.subnet.cidrs if cidr.version == version)
        pool = self.network.pools.get(version, cidr)
        found = choose_address(pool, self.taken)
        if found is None or found not in cidr:
            return None
        self.taken.add(found)
        return found


def convert_project(project: Project, heading: Iterable[str]) -> ImportedProject:
    """The topology of a project."""
    reasons = {name: reason for name, service in project.services.items() if (reason := _why_left_out(service, project))}
    connected = {name: service for name, service in project.services.items() if name not in reasons}
    keys = sorted({key for service in connected.values() for key in networks_of(service)})
    used = {key: project.networks.get(key) for key in keys}
    imported = convert_networks(project.name, used, label_names(keys, "network"))
    addresses = {key: _Addresses(network, set(network.reserved)) for key, network in imported.items()}
    converter = _Converter(project, imported, addresses, service_labels(tuple(project.services)))
    fixed = converter.take_given(connected)
    containers = {name: converter.convert(name, service, fixed) for name, service in connected.items()}
    left_out = tuple((name, (reason, *_other_notes(project.services[name]))) for name, reason in reasons.items())
    name = topology_name(project.name)
    topology = TopologyDraft(
        name, tuple(heading), tuple(each.subnet for each in imported.values()), tuple(containers.values()), left_out
    )
    return ImportedProject(project, topology, containers)


def networks_of(service: ComposeService) -> Mapping[str, NetworkUse | None]:
    """A service's networks. One with `network_mode: bridge` is in the engine's own."""
    return {DEFAULT_BRIDGE: None} if service.network_mode == "bridge" else service.networks or {}


def _why_left_out(service: ComposeService, project: Project) -> str:
    """The reason why netctl does not connect the service; "" if it does."""
    mode = service.network_mode
    if service.provider is not None:
        return "a provider of another program, and no container"
    kind, _, other = (mode or "").partition(":")
    if kind == "service":
        return f"runs in the network of {other}, which it joins by itself (network_mode: {mode})"
    if kind == "container":
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


def _find_sharers(project: Project) -> dict[str, str]:
    modes = ((name, service.network_mode or "") for name, service in project.services.items())
    return {name: mode.removeprefix("service:") for name, mode in modes if mode.startswith("service:")}


def _other_notes(service: ComposeService) -> Iterator[str]:
    """A note for each key that neither Compose's list nor netctl knows."""
    for key, value in service.others.items():
        if key not in KEPT:
            yield f"not imported: {key}: {compact(value)}"


def _find_default(service: ComposeService) -> str:
    """The network with the default route by `gw_priority`; "" if none is above all others."""
    priorities = {key: use.gw_priority or 0 if use else 0 for key, use in networks_of(service).items()}
    best = max(priorities.values(), default=0)
    found = [key for key, priority in priorities.items() if priority == best]
    return found[0] if best > 0 and len(found) == 1 else ""


def _parse(text: str | None) -> IPAddress | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


def _parse_member(text: str | None, subnet: SubnetDraft) -> IPAddress | None:
    """An address that a container of the subnet can have; None if it cannot."""
    address = _parse(text)
    cidr = next((cidr for cidr in subnet.cidrs if address is not None and address in cidr), None)
    if address is None or cidr is None or address in (cidr.network_address, cidr.broadcast_address):
        return None
    return address


@dataclass(frozen=True, slots=True)
class _Converter:
    """What the containers of one project share while they are converted."""

    project: Project
    networks: Mapping[str, ImportedNetwork]
    addresses: Mapping[str, _Addresses]
    labels: Mapping[str, str]
    claims: PortClaims = field(default_factory=PortClaims)

    def take_given(self, services: Mapping[str, ComposeService]) -> dict[tuple[str, str], list[IPAddress]]:
        """By service and network, the addresses that the file gives, before netctl chooses others."""
        fixed: dict[tuple[str, str], list[IPAddress]] = {}
        for name, service in services.items():
            for key, use in networks_of(service).items():
                for text in (use.ipv4_address, use.ipv6_address) if use and service.is_single else ():
                    address = _parse_member(text, self.networks[key].subnet)
                    if address is not None and address not in self.addresses[key].taken:
                        self.addresses[key].taken.add(address)
                        fixed.setdefault((name, key), []).append(address)
        return fixed

    def convert(self, name: str, service: ComposeService, fixed: Mapping[tuple[str, str], list[IPAddress]]) -> ContainerDraft:
        """The container, or all containers, of one service."""
        notes = [*self._notes(name, service), *_other_notes(service)]
        attachments = []
        default = _find_default(service)
        for key, use in networks_of(service).items():
            subnet = self.networks[key].subnet
            if subnet.is_lan and not service.is_single:
                notes.append(
                    f"not in {subnet.name}: its {service.count} containers need `auto` addresses, which a LAN does not have"
                )
                continue
            given = fixed.get((name, key), [])
            attachments.append(self._attach(service, key, use or NetworkUse(), given, is_default=key == default))
        ports = tuple(self._publish(name, service, attachments))
        return ContainerDraft(self.labels[name], ComposeMembers(self.project.name, name), tuple(attachments), ports, tuple(notes))

    def _notes(self, name: str, service: ComposeService) -> Iterator[str]:
        sharers = [each for each, owner in _find_sharers(self.project).items() if owner == name]
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

    def _attach(
        self, service: ComposeService, key: str, use: NetworkUse, given: list[IPAddress], *, is_default: bool
    ) -> AttachmentDraft:
        subnet, notes = self.networks[key].subnet, list[str]()
        for text in (use.ipv4_address, use.ipv6_address):
            if text and text not in [str(address) for address in given] and _parse(text) not in given:
                reason = "the service has several containers" if not service.is_single else "no free address of the subnet"
                notes.append(f"not imported: the address {text}: {reason}")
        addresses = list(given)
        if service.is_single:
            missing = {cidr.version for cidr in subnet.cidrs} - {address.version for address in given}
            chosen = [self.addresses[key].choose(version) for version in sorted(missing)]
            addresses += [address for address in chosen if address is not None]
            if subnet.is_lan and any(chosen):
                notes.append("chosen as Docker would do; check that no other machine of the LAN has it")
        mac = use.mac_address or (service.mac_address if len(networks_of(service)) == 1 else None) or ""
        notes += [f"not imported: {name}: {compact(value)}" for name, value in use.others.items()]
        if mac and (not service.is_single or not _MAC.fullmatch(mac.lower().replace("-", ":"))):
            notes.append(f"not imported: mac_address: {mac}")
            mac = ""
        interface = use.interface_name or ""
        if interface and not _INTERFACE.fullmatch(interface):
            notes.append(f"not imported: interface_name: {interface}")
            interface = ""
        return AttachmentDraft(
            subnet.name,
            tuple(sorted(addresses, key=lambda address: address.version)),
            mac=mac.lower().replace("-", ":"),
            interface=interface,
            is_default=is_default,
            is_isolated=subnet.hides_ports and not subnet.is_lan,
            notes=tuple(notes),
        )

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
        by_name = {network.subnet.name: network.subnet for network in self.networks.values()}
        ordered = sorted(attachments, key=lambda attachment: not attachment.is_default)
        subnets = [by_name[attachment.subnet] for attachment in ordered]
        return next((subnet for subnet in subnets if subnet.mode != "isolated"), None)
