"""Warnings about keys of a topology file that are valid, and have an old name or no effect."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.errors import Fault
from reconciler.topology.old_names import NEW, OLD
from reconciler.topology.types import Attachment, Party, Policy, Topology


def find_advice(topology: Topology) -> tuple[Fault, ...]:
    """The warnings, in the order of the file."""
    return (*_old_names(topology), *_idle_policies(topology), *_open_anyway(topology))


def _old_names(topology: Topology) -> Iterator[Fault]:
    """One warning for all keys with an old name, at the first of them."""
    if topology.renamed:
        more = f", here and in {len(topology.renamed) - 1:,} more containers" if len(topology.renamed) > 1 else ""
        words = f"`{OLD}` is the old name of `{NEW}`{more}: unlike Compose's, it publishes ports to other machines"
        yield Fault(topology.renamed[0], words, f"write `{NEW}:` in its place; it means the same")


def _idle_policies(topology: Topology) -> Iterator[Fault]:
    """Policies filter routed packets, from one subnet to another. Within a subnet, netctl filters nothing."""
    for number, policy in enumerate(topology.policies):
        ours, theirs = _places(topology, policy.source), _places(topology, policy.target)
        if not ours or not theirs or any(theirs.get(family, set()) - own for family, own in ours.items()):
            continue
        names = " and ".join(sorted({name for found in theirs.values() for name in found}))
        yield Fault(
            topology.position(("policies", number)),
            f"this policy changes nothing: both ends are in {names}, and within a subnet all traffic passes",
            f"remove it; to restrict who reaches {policy.target.name}, give it a subnet that the others are not in",
        )


def _open_anyway(topology: Topology) -> Iterator[Fault]:
    """Ports in a policy between ends that reach each other without it: they read like a restriction, and restrict nothing."""
    for number, policy in enumerate(topology.policies):
        reason = _reason(topology, policy) if policy.ports else None
        if reason:
            yield Fault(topology.position(("policies", number)), f"this policy changes nothing: {reason[0]}", reason[1])


def _reason(topology: Topology, policy: Policy) -> tuple[str, str] | None:
    """The reason why all traffic between the two ends passes anyway, and how to restrict it; None if it does not."""
    if "host" in (policy.source.kind, policy.target.kind):
        return "a host and its containers reach each other on all ports", "remove it; netctl does not filter between the two"
    names = {name for party in (policy.source, policy.target) for found in _places(topology, party).values() for name in found}
    modes = {topology.subnets[name].mode for name in names}
    if policy.target.kind == "outside" and modes and "isolated" not in modes:
        words = f"`{policy.source.name}` reaches the outside on all ports, as its subnet's mode says"
        return words, "remove it, or write `mode: isolated` in the subnet: then only traffic that a policy allows leaves it"
    if policy.source.kind == "outside" and "routed" in modes:
        words = f"the outside reaches `{policy.target.name}` on all ports, as the mode of its subnet, routed, says"
        return words, "remove it, or write `mode: nat` and publish the ports under `ports`"
    return None


def _places(topology: Topology, party: Party) -> dict[int, set[str]]:
    """By family, the subnets in which the party has addresses; nothing for `host` and `outside`."""
    found: dict[int, set[str]] = {}
    if party.kind == "subnet":
        for cidr in topology.subnets[party.name].cidrs:
            found.setdefault(cidr.version, set()).add(party.name)
    for container in topology.declared if party.kind == "container" else ():
        for attachment in container.attachments if container.origin == party.name else ():
            for family in _families(topology, attachment):
                found.setdefault(family, set()).add(attachment.subnet)
    return found


def _families(topology: Topology, attachment: Attachment) -> set[int]:
    if attachment.dhcp:
        return {cidr.version for cidr in topology.subnets[attachment.subnet].cidrs}
    return {address.version for address in attachment.addresses} | set(attachment.auto)
