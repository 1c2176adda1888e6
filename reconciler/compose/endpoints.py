"""The endpoints of services in networks: the addresses that the file gives or that are free, and what else is theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from pydantic_core import PydanticCustomError

from reconciler.compose.draft import AttachmentDraft, SubnetDraft
from reconciler.compose.model import ComposeService, NetworkUse
from reconciler.compose.networks import ImportedNetwork, compact
from reconciler.compose.prefixes import choose_address
from reconciler.topology.scalars import parse_interface, parse_mac
from reconciler.topology.types import IPAddress

DEFAULT_BRIDGE = "bridge"
"""The engine's own network, for services with `network_mode: bridge`."""


def networks_of(service: ComposeService) -> Mapping[str, NetworkUse | None]:
    """A service's networks. One with `network_mode: bridge` is in the engine's own."""
    return {DEFAULT_BRIDGE: None} if service.network_mode == "bridge" else service.networks or {}


@dataclass(slots=True)
class _Pool:
    """The addresses of one network that are given or chosen so far."""

    network: ImportedNetwork
    taken: set[IPAddress]

    def choose(self, version: int) -> IPAddress | None:
        """A free address of a family, which is then taken; None if there is none."""
        cidr = next(cidr for cidr in self.network.subnet.cidrs if cidr.version == version)
        found = choose_address(cidr, self.network.pools.get(version, cidr), self.taken)
        if found is not None:
            self.taken.add(found)
        return found


@dataclass(slots=True)
class Endpoints:
    """Makes the endpoints of a project, one service after the other. `networks` are its networks by their keys."""

    networks: Mapping[str, ImportedNetwork]
    _pools: dict[str, _Pool] = field(default_factory=dict)
    _given: dict[tuple[str, str], tuple[IPAddress, ...]] = field(default_factory=dict)
    """By service and network, the addresses of the file."""
    _macs: set[tuple[str, str]] = field(default_factory=set)
    """The network and the hardware address of each endpoint that has one of the file."""

    def take_given(self, services: Mapping[str, ComposeService]) -> None:
        """Take the addresses that the file gives, before others are chosen. Of two equal ones the first counts."""
        self._pools = {key: _Pool(network, set(network.reserved)) for key, network in self.networks.items()}
        for name, service in services.items():
            for key, use in networks_of(service).items() if service.is_single else ():
                pool = self._pools[key]
                for address in map(_parse, _texts(use)):
                    if address is not None and _is_member(address, pool.network.subnet) and address not in pool.taken:
                        pool.taken.add(address)
                        self._given[name, key] = (*self._given.get((name, key), ()), address)

    def attach(self, name: str, service: ComposeService) -> tuple[list[AttachmentDraft], list[str]]:
        """The endpoints of a service, and notes about networks in which it has none."""
        attachments: list[AttachmentDraft] = []
        notes: list[str] = []
        for key, use in networks_of(service).items():
            made = self._attach(name, service, key, use or NetworkUse())
            if self.networks[key].subnet.is_lan and not made.addresses:
                reason = "no address is free" if service.is_single else f"its {service.count} containers need `auto` addresses"
                notes.append(f"not in {made.subnet}: {reason}; on a LAN each address must be fixed")
                continue
            if made.interface in [other.interface for other in attachments if other.interface]:
                notes.append(f"not in {made.subnet}: it has another interface called {made.interface}")
                continue
            attachments.append(made)
        return attachments, notes

    def _attach(self, name: str, service: ComposeService, key: str, use: NetworkUse) -> AttachmentDraft:
        subnet, given = self.networks[key].subnet, self._given.get((name, key), ())
        chosen = self._choose(service, key, given)
        interface, mac = _valid(parse_interface, use.interface_name), self._take_mac(service, key, use)
        notes = list(_address_notes(service, use, given))
        if subnet.is_lan and chosen:
            notes.append("chosen as Docker would do; check that no other machine of the LAN has it")
        if use.interface_name and not interface:
            notes.append(f"not imported: interface_name: {use.interface_name}")
        if (asked := _mac_of(service, use)) and not mac:
            notes.append(f"not imported: mac_address: {asked}")
        notes += [f"not imported: {word}: {compact(value)}" for word, value in use.others.items()]
        return AttachmentDraft(
            subnet.name,
            tuple(sorted((*given, *chosen), key=lambda address: address.version)),
            mac=mac,
            interface=interface,
            is_default=key == self._find_default(service),
            is_isolated=subnet.hides_ports and not subnet.is_lan,
            notes=tuple(notes),
        )

    def _choose(self, service: ComposeService, key: str, given: tuple[IPAddress, ...]) -> tuple[IPAddress, ...]:
        """Addresses for the families that have none, if a service has one container."""
        if not service.is_single:
            return ()
        missing = {cidr.version for cidr in self.networks[key].subnet.cidrs} - {address.version for address in given}
        return tuple(filter(None, map(self._pools[key].choose, sorted(missing))))

    def _take_mac(self, service: ComposeService, key: str, use: NetworkUse) -> str:
        mac = _valid(parse_mac, (_mac_of(service, use) or "").replace("-", ":")) if service.is_single else ""
        if (key, mac) in self._macs:
            return ""
        self._macs.add((key, mac))
        return mac

    def _find_default(self, service: ComposeService) -> str:
        """The network with the default route by `gw_priority`; "" if none is above all others. An internal one has none."""
        priorities = {
            key: use.gw_priority or 0 if use else 0
            for key, use in networks_of(service).items()
            if self.networks[key].subnet.mode != "isolated"
        }
        best = max(priorities.values(), default=0)
        found = [key for key, priority in priorities.items() if priority == best]
        return found[0] if best > 0 and len(found) == 1 else ""


def _mac_of(service: ComposeService, use: NetworkUse) -> str | None:
    """The endpoint's own, else the service's, which is meant for its only network."""
    return use.mac_address or (service.mac_address if len(networks_of(service)) == 1 else None)


def _texts(use: NetworkUse | None) -> tuple[str | None, str | None]:
    return (use.ipv4_address, use.ipv6_address) if use else (None, None)


def _address_notes(service: ComposeService, use: NetworkUse, given: tuple[IPAddress, ...]) -> Iterator[str]:
    for text in filter(None, _texts(use)):
        if _parse(text) not in given:
            reason = "no free address of the subnet" if service.is_single else "the service has several containers"
            yield f"not imported: the address {text}: {reason}"


def _valid(parse: Callable[[str], str], text: str | None) -> str:
    """The text as a topology accepts it; "" if it does not."""
    try:
        return parse(text) if text else ""
    except PydanticCustomError:
        return ""


def _parse(text: str | None) -> IPAddress | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


def _is_member(address: IPAddress, subnet: SubnetDraft) -> bool:
    """Whether a container of the subnet can have the address."""
    cidr = next((cidr for cidr in subnet.cidrs if address in cidr), None)
    return cidr is not None and address not in (cidr.network_address, cidr.broadcast_address)
