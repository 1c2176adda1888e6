"""Requests of a container that its host, after resolution, cannot meet: larger packets, an address to listen on.

Pure. `topology` finds the faults that the file alone shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.compile.model import HostSubnet, Resolved
from reconciler.errors import Fault
from reconciler.state.host import HostFacts
from reconciler.topology.types import Topology


def find_misfits(topology: Topology, resolved: Resolved, facts: Mapping[str, HostFacts]) -> tuple[Fault, ...]:
    """A fault for each, at its position in the file."""
    return (*_mtus(topology, resolved, facts), *_listening(topology, resolved))


def _mtus(topology: Topology, resolved: Resolved, facts: Mapping[str, HostFacts]) -> Iterator[Fault]:
    """Packets larger than the subnet's MTU would be lost. A lab's uplinks are known without reading it."""
    seen: set[tuple[str, str]] = set()
    for container in topology.containers.values():
        if container.host not in facts and topology.hosts[container.host].connect.scheme != "lab":
            continue
        for attachment in container.attachments:
            host_subnet = resolved.host_subnets[container.host][attachment.subnet]
            key = (container.origin, attachment.subnet)
            if attachment.mtu is not None and attachment.mtu > host_subnet.mtu and key not in seen:
                seen.add(key)
                yield Fault(
                    topology.position(("containers", container.origin, "networks", attachment.subnet, "mtu")),
                    f"`mtu` is {attachment.mtu}, and `{attachment.subnet}` carries {host_subnet.mtu} bytes on "
                    f"host {container.host}",
                    f"write {host_subnet.mtu} at most, or remove `mtu`",
                )


def _listening(topology: Topology, resolved: Resolved) -> Iterator[Fault]:
    """An address of a subnet to listen on is the host's own there."""
    for container in topology.containers.values():
        for publication in container.publications:
            address = publication.address
            subnet = next((s for s in topology.subnets.values() if address and any(address in c for c in s.cidrs)), None)
            for host in publication.hosts if subnet and not subnet.is_lan else ():
                assert subnet
                host_subnet = resolved.host_subnets[host].get(subnet.name)
                if host_subnet is None or str(address) not in {own.address for own in host_subnet.addresses}:
                    message = f"{address} is not an address of the host `{host}`, but one of the subnet `{subnet.name}`"
                    yield Fault(topology.position((*publication.path, "listen")), message, _listen_help(host, host_subnet))


def _listen_help(host: str, host_subnet: HostSubnet | None) -> str:
    own = " or ".join(own.address for own in host_subnet.addresses) if host_subnet else ""
    here = f"write {own}, its own address there, or leave" if own else "leave"
    return f"{here} the address out: then the port is published on all addresses of `{host}`"
