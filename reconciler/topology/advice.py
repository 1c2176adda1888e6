"""What a topology file may say though it has no effect: a warning each, and no fault. Called by `cli.common`."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.errors import Fault
from reconciler.topology.types import Attachment, Party, Topology


def find_advice(topology: Topology) -> tuple[Fault, ...]:
    """The warnings, in the order of the file."""
    return tuple(_idle_policies(topology))


def _idle_policies(topology: Topology) -> Iterator[Fault]:
    """A policy is asked where packets are routed: from a subnet to another. Within one, nothing is filtered."""
    for number, policy in enumerate(topology.policies):
        ours, theirs = _places(topology, policy.source), _places(topology, policy.target)
        if not ours or not theirs or any(theirs.get(family, set()) - own for family, own in ours.items()):
            continue
        names = " and ".join(sorted({name for found in theirs.values() for name in found}))
        yield Fault(
            topology.position(("policies", number)),
            f"this policy changes nothing: both ends are in {names}, and within a subnet everything passes",
            f"remove it; to restrict who reaches {policy.target.name}, give it a subnet that the others are not in",
        )


def _places(topology: Topology, party: Party) -> dict[int, set[str]]:
    """By family, the subnets in which the party has addresses; nothing for `host` and `outside`."""
    found: dict[int, set[str]] = {}
    if party.kind == "subnet":
        for cidr in topology.subnets[party.name].cidrs:
            found.setdefault(cidr.version, set()).add(party.name)
    for container in topology.containers.values() if party.kind == "container" else ():
        for attachment in container.attachments if container.origin == party.name else ():
            for family in _families(topology, attachment):
                found.setdefault(family, set()).add(attachment.subnet)
    return found


def _families(topology: Topology, attachment: Attachment) -> set[int]:
    if attachment.dhcp:
        return {cidr.version for cidr in topology.subnets[attachment.subnet].cidrs}
    return {address.version for address in attachment.addresses} | set(attachment.auto)
