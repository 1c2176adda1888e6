"""The interfaces that the topology's links make on a host.

Addresses, routes, neighbors, queues and settings live on them. A record says itself which interfaces it makes
(`Record.interfaces`), so a further kind of link needs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reconciler.kinds.bridges import BRIDGES
from reconciler.kinds.links import LINKS
from reconciler.kinds.links.marks import is_direct
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot

INTERFACE_KINDS = tuple(dict.fromkeys((*LINKS, *BRIDGES.values())))


class Interface(NamedTuple):
    """An interface of ours: its name, the link that makes it, and whose it is, for people.

    `is_addressed` says that the addresses, routes and neighbors on it are the topology's.
    """

    name: str
    link: Ref
    about: str
    is_addressed: bool


Interfaces = Mapping[str, Mapping[int, Interface]]
"""By namespace and interface number."""

_latest: list[tuple[Snapshot, Interfaces]] = []
"""What was found last: several kinds ask in turn, of the same snapshot."""


def own_interfaces(snapshot: Snapshot) -> Interfaces:
    """Every interface that a link of ours makes."""
    if not _latest or _latest[0][0] is not snapshot:
        _latest[:] = [(snapshot, _find_interfaces(snapshot))]
    return _latest[0][1]


def addressed_interfaces(snapshot: Snapshot) -> Interfaces:
    """Those of them on which the addresses, routes and neighbors are the topology's."""
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
    """The bridges that have taken a lab host's uplink in, and its addresses with it: to the lab they are the uplink's as before.

    Only a lab host has one: in a container, an alias that says so is the container's own word.
    """
    if not netns.startswith("lab:"):
        return
    links = snapshot.namespaces[netns].links
    for index, interface in interfaces.items():
        master = links.get(links[index].master)
        if master and is_direct(master.alias):
            yield master.index, interface
