"""Whose a record is, for people: `container web`, `subnet front`, `lab`, or `host`. Called by `render.plan` and `render.status`.

A record says so itself where it can. What sits in the host's own namespace (a bridge's address, the neighbor entry of a
container) is told by the link that it belongs to, so that one container's things stand on one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from reconciler.kinds.address import Address
from reconciler.kinds.firewall import FirewallElement
from reconciler.kinds.firewall_words import split_policy, without_number
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.neighbor import Neighbor
from reconciler.kinds.openvswitch import OvsBridge
from reconciler.kinds.ovs_flow import OvsFlow
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl, interface_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref

LAB = "lab"
HOST_SUBJECT = "host"


def containers_by_address(records: Iterable[Record]) -> dict[str, str]:
    """The name of the container that has the address, of all hosts: a policy joins containers of two."""
    inside = (record for record in records if isinstance(record, Address) and record.netns.startswith("container:"))
    return {record.cidr.partition("/")[0]: record.netns.partition(":")[2] for record in inside}


def subjects_of(records: Iterable[Record], containers: Mapping[str, str] = MappingProxyType({})) -> dict[Ref, str]:
    """The subject of every record, by its Ref. `containers` names those of other hosts by their addresses."""
    records = tuple(records)
    switches = [record for record in records if isinstance(record, Bridge | OvsBridge) and record.netns == HOST]
    bridges = {record.name: record.subject for record in switches}
    words = dict(bridges)
    for record in records:
        if isinstance(record, Veth):
            words |= {record.name: record.subject, record.mac: record.subject}
        elif isinstance(record, Address) and record.netns.startswith("container:"):
            words[record.cidr.partition("/")[0]] = record.subject
        elif isinstance(record, Neighbor) and record.netns == HOST and record.subject.startswith("container "):
            words.setdefault(record.mac, record.subject)
    return {record.ref: _with_parties(record, _subject_of(record, bridges, words), containers) for record in records}


def _with_parties(record: Record, subject: str, containers: Mapping[str, str]) -> str:
    """The subject of a policy that was read, with the names of containers of which its host knows only the address."""
    if not isinstance(record, FirewallElement) or not subject.startswith("policy from ") or not containers:
        return subject
    ends = split_policy(record.set, record.key)
    said = subject.removeprefix("policy from ").split(" to ")
    names = [containers.get(end) for end in ends]
    source, target = (without_number(name) if name else word for name, word in zip(names, said, strict=True))
    return f"policy from {source} to {target}"


def _subject_of(record: Record, bridges: Mapping[str, str], words: Mapping[str, str]) -> str:
    if isinstance(record, FirewallElement):
        return _subject_of_element(record, words)
    if record.netns.startswith("lab:") or record.subject.startswith("lab "):
        return LAB
    if record.netns.startswith("container:"):
        return record.netns.replace(":", " ")
    if record.netns == HOST and isinstance(record, Neighbor) and record.mac in words:
        return words[record.mac]
    if record.netns == HOST and isinstance(record, Address | Route):
        return bridges.get(record.dev, record.subject or HOST_SUBJECT)
    if isinstance(record, OvsFlow):  # what was read says only where it is
        return words.get(record.port) or bridges.get(record.bridge, record.subject)
    if isinstance(record, Sysctl) and record.netns == HOST:
        # What was read says nothing of it; what is wanted does.
        return record.about or bridges.get(interface_of(record.key), HOST_SUBJECT)
    return record.subject or HOST_SUBJECT


def _subject_of_element(record: FirewallElement, words: Mapping[str, str]) -> str:
    """What was read may not say for whom it is there: it is told by the addresses and links in it, too."""
    if record.about not in ("", HOST_SUBJECT):
        return record.about
    parts = f"{record.value} . {record.key}".split(" . ")
    return next((words[part] for part in parts if part in words), HOST_SUBJECT)


def order_of(subject: str) -> tuple[int, str]:
    """A key to sort subjects by: the lab, the host, subnets, then containers, numbers within a name by their size."""
    kinds = (LAB, HOST_SUBJECT, "subnet", "container")
    word = subject.partition(" ")[0]
    stem, _, number = subject.rpartition("-")
    name = f"{stem}-{int(number):09d}" if number.isascii() and number.isdigit() else subject
    return (kinds.index(word) if word in kinds else len(kinds)), name
