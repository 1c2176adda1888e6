"""The names under which a service of Compose reaches others, as lines of its /etc/hosts.

With `network_mode: none` Docker's name server serves nothing, so the override has the names. Each needs an address that
does not change: a service with several containers has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reconciler.compose.convert import ImportedProject
from reconciler.compose.draft import ContainerDraft
from reconciler.compose.endpoints import networks_of
from reconciler.compose.model import ComposeService
from reconciler.topology.types import IPAddress

HOST_GATEWAY = "host-gateway"
_HOST_NAME = re.compile("[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", re.ASCII)
_LABEL = re.compile("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)

Names = dict[str, list[str]]
"""By name, the addresses."""


def find_names(imported: ImportedProject, name: str) -> Names:
    """All names that one service needs: its own, those of its neighbours, and aliases that only it uses (`links`)."""
    found: Names = {}
    services, own = imported.project.services, imported.containers[name]
    for word in (name, *_own_names(services[name])):
        _add(found, word, own.attachments[0].addresses if own.attachments else ())
    for other, container in imported.containers.items():
        shared = _shared_addresses(own, container)
        if other != name and shared:
            for word in _names_of(other, services[other]):
                _add(found, word, shared)
    for link in services[name].links or ():
        target, _, alias = link.partition(":")
        _add(found, alias, _addresses_of(imported, own, target))
    return found


def own_host_name(name: str, service: ComposeService) -> str:
    """The host name that the override gives, so that a program finds its own address; "" if the file gives one."""
    return name if not service.hostname and service.is_single and _LABEL.fullmatch(name) else ""


def find_given(service: ComposeService) -> Names:
    """The file's own `extra_hosts`, in whatever form this version of Compose prints them."""
    found: Names = {}
    given = service.extra_hosts
    items = [str(item) for item in given] if isinstance(given, list | tuple) else []
    pairs = [re.split("[=:]", item, maxsplit=1) for item in items if re.search("[=:]", item)]
    for key, values in given.items() if isinstance(given, Mapping) else ():
        pairs += [[str(key), str(value)] for value in (values if isinstance(values, list) else [values])]
    for key, value in pairs:
        found.setdefault(key, []).append(value.removeprefix("[").removesuffix("]"))
    return found


def gateways_of(imported: ImportedProject, name: str) -> list[str]:
    """The host's own addresses in the first network of a service, which `host-gateway` means."""
    attachments = imported.containers[name].attachments
    if not attachments:
        return []
    subnet = imported.topology.subnet(attachments[0].subnet)
    given = {address.version: address for address in subnet.gateways}
    return [str(given.get(cidr.version, cidr.network_address + 1)) for cidr in subnet.cidrs]


def _addresses_of(imported: ImportedProject, own: ContainerDraft, name: str) -> tuple[IPAddress, ...]:
    target = imported.containers.get(name)
    return _shared_addresses(own, target) if target else ()


def _shared_addresses(own: ContainerDraft, other: ContainerDraft) -> tuple[IPAddress, ...]:
    """The other's addresses in the first network that both are in, and where packets pass between them."""
    ours = {attachment.subnet for attachment in own.attachments if not attachment.is_isolated}
    return next((each.addresses for each in other.attachments if each.subnet in ours and each.addresses), ())


def _names_of(name: str, service: ComposeService) -> Iterator[str]:
    yield name
    if service.container_name:
        yield service.container_name
    for use in networks_of(service).values():
        yield from (use.aliases or ()) if use else ()


def _own_names(service: ComposeService) -> Iterator[str]:
    if service.hostname:
        yield service.hostname


def _add(found: Names, name: str, addresses: tuple[IPAddress, ...]) -> None:
    """A name that /etc/hosts cannot hold is left out: it could be another line there."""
    if not addresses or not _HOST_NAME.fullmatch(name):
        return
    held = found.setdefault(name, [])
    held += [str(address) for address in addresses if str(address) not in held]
