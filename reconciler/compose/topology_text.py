"""The text of a topology file, from its draft: what a reviewer reads, so short parts take one line each."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compose.draft import AttachmentDraft, ComposeMembers, ContainerDraft, PortDraft, SubnetDraft, TopologyDraft
from reconciler.compose.yaml_text import comments, scalar
from reconciler.topology.types import IPAddress, Network

PORTS_KEY = "ports"


def render_topology(draft: TopologyDraft) -> str:
    """The whole file."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: TopologyDraft) -> Iterator[str]:
    yield from comments(draft.heading, 0)
    yield "version: 1"
    yield f"name: {scalar(draft.name)}"
    yield ""
    yield "hosts:"
    yield "  local: {connect: local}"
    if draft.subnets:
        yield from ("", "subnets:")
    for subnet in draft.subnets:
        yield from _subnet(subnet)
    if draft.containers:
        yield from ("", "containers:")
    for number, container in enumerate(draft.containers):
        yield from ("",) if number else ()
        yield from _container(container)
    if draft.left_out:
        yield from ("", "# Not connected by netctl:")
    for name, reasons in draft.left_out:
        yield from comments((f"{name}: {reasons[0]}", *(f"  {reason}" for reason in reasons[1:])), 0)


# --- subnets ----------------------------------------------------------------------------------------------------------


def _subnet(subnet: SubnetDraft) -> Iterator[str]:
    """On one line if there is nothing to say about it."""
    pairs = list(_subnet_pairs(subnet))
    if not subnet.notes:
        yield f"  {scalar(subnet.name)}: {{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"
        return
    yield f"  {scalar(subnet.name)}:"
    yield from comments(subnet.notes, 4)
    yield from (f"    {key}: {value}" for key, value in pairs)


def _subnet_pairs(subnet: SubnetDraft) -> Iterator[tuple[str, str]]:
    yield "cidr", _one_or_pair(subnet.cidrs)
    if subnet.mode != "nat":
        yield "mode", subnet.mode
    if subnet.gateways:
        yield "gateway", _gateway(subnet)
    if subnet.uplink:
        yield "uplink", scalar(subnet.uplink)
    if subnet.kind:
        yield "type", subnet.kind
    if subnet.mtu is not None:
        yield "mtu", str(subnet.mtu)


def _gateway(subnet: SubnetDraft) -> str:
    return _one_or_pair(subnet.gateways)


def _one_or_pair(values: tuple[IPAddress, ...] | tuple[Network, ...]) -> str:
    texts = [_address(value) for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _address(value: IPAddress | Network) -> str:
    """IPv6 has colons, which mean something else within brackets."""
    return f'"{value}"' if value.version == 6 else str(value)


# --- containers -------------------------------------------------------------------------------------------------------


def _container(container: ContainerDraft) -> Iterator[str]:
    yield f"  {scalar(container.name)}:"
    yield from comments(container.notes, 4)
    existing = container.existing
    if isinstance(existing, ComposeMembers):
        yield f"    existing: {{compose: {scalar(f'{existing.project}/{existing.service}')}}}"
    else:
        yield f"    existing: {scalar(existing)}"
    if container.attachments:
        yield "    networks:"
    for attachment in container.attachments:
        yield from comments(attachment.notes, 6)
        yield f"      {scalar(attachment.subnet)}: {_attachment(attachment)}"
    yield from _ports(container.ports)


def _attachment(attachment: AttachmentDraft) -> str:
    address = _one_or_pair(attachment.addresses) if attachment.addresses else "auto"
    options = []
    if attachment.mac:
        options.append(f'mac: "{attachment.mac}"')
    if attachment.interface:
        options.append(f"interface: {scalar(attachment.interface)}")
    if attachment.is_default:
        options.append("default: true")
    if attachment.is_isolated:
        options.append("isolated: true")
    return f"{{{', '.join((f'address: {address}', *options))}}}" if options else address


def _ports(ports: tuple[PortDraft, ...]) -> Iterator[str]:
    """Without a port that is published, the notes stand alone: an empty list would be a fault."""
    published = [port for port in ports if port.text]
    if published:
        yield f"    {PORTS_KEY}:"
    for port in ports:
        yield from comments((port.note,) if port.note else (), 6 if published else 4)
        if port.text:
            yield f'      - "{port.text}"'
