"""The interfaces that the topology's links create on a host.

Addresses, routes, neighbors, queueing disciplines and settings belong to them. A record states its interfaces itself
(`Record.interfaces`), so a new kind of link needs no change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reconciler.kinds.bridges import BRIDGES
from reconciler.kinds.links import LINKS
from reconciler.kinds.links.marks import is_direct
from reconciler.state.ref import Ref, is_lab_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.subject import Subject

INTERFACE_KINDS = tuple(dict.fromkeys((*LINKS, *BRIDGES.values())))


class Interface(NamedTuple):
    """An owned interface: its name, the link that creates it, and its owner for users.

    `is_addressed` says that the addresses, routes and neighbors on it are the topology's.
    """

    name: str
    link: Ref
    about: Subject
    is_addressed: bool


Interfaces = Mapping[str, Mapping[int, Interface]]
"""Interfaces by namespace and interface number."""

_latest: list[tuple[Snapshot, Interfaces]] = []
"""The last result: several kinds ask in turn about the same snapshot."""


def own_interfaces(snapshot: Snapshot) -> Interfaces:
    """Every interface that an owned link creates."""
    if not _latest or _latest[0][0] is not snapshot:
        _latest[:] = [(snapshot, _find_interfaces(snapshot))]
    return _latest[0][1]


def addressed_interfaces(snapshot: Snapshot) -> Interfaces:
    """The owned interfaces whose addresses, routes and neighbors are the topology's."""
    return {
        netns: {index: interface for index, interface in interfaces.items() if interface.is_addressed}
        for netns, interfaces in own_interfaces(snapshot).items()
    }


def _find_interfaces(snapshot: Snapshot) -> Interfaces:
    numbers = {
        netns: {link.name: index for index, link in namespace.links.items()} for netns, namespace in snapshot.namespaces.items()
    }
    found: dict[str, dict[int, Interface]] = {}
    for kind in INTERFACE_KINDS:
        for record in kind.recognise(snapshot):
            for netns, name in record.interfaces:
                if (index := numbers.get(netns, {}).get(name)) is not None:
                    interface = Interface(name, record.ref, record.subject, record.is_addressed)
                    found.setdefault(netns, {})[index] = interface
    for netns, interfaces in found.items():
        interfaces |= dict(_uplink_bridges(snapshot, netns, interfaces))
    return found


def _uplink_bridges(snapshot: Snapshot, netns: str, interfaces: Mapping[int, Interface]) -> Iterator[tuple[int, Interface]]:
    """The bridges that contain a lab host's uplink and have its addresses: for the lab they replace the uplink.

    Only a lab host has one. In a container, its root may have written such an alias.
    """
    if not is_lab_netns(netns):
        return
    links = snapshot.namespaces[netns].links
    for index, interface in interfaces.items():
        master = links.get(links[index].master)
        if master and is_direct(master.alias):
            yield master.index, interface
