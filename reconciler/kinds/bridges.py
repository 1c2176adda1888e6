"""The bridge of a subnet, of any kind: Linux's own (`bridge`), or Open vSwitch's (`openvswitch`)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import OvsBridge
from reconciler.state.host import HostState
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot

BRIDGES: Mapping[str, type[Bridge | OvsBridge]] = {"linux": Bridge, "openvswitch": OvsBridge}
"""By what the file calls the kind."""


def bridge_ref(kind: str, name: str) -> Ref:
    """A bridge of the host."""
    return BRIDGES[kind].ref_of(HOST, name)


def find_bridge(snapshot: Snapshot, name: str) -> Ref:
    """The record of a live bridge of the host, of either kind."""
    is_linux = any(link.name == name and link.kind == Bridge.kind for link in snapshot.namespace(HOST).links.values())
    return bridge_ref("linux" if is_linux else "openvswitch", name)


def bridge_names(state: HostState | None) -> tuple[str, ...]:
    """The names of a host's bridges, which other firewalls need to let their traffic pass.

    A bridge that the host had before (`bridge: {existing: …}`) is one of them if a container is connected to it.
    """
    kinds = {kind.kind for kind in BRIDGES.values()}
    names: dict[str, None] = {}
    for ref, record in state.records.items() if state else ():
        if ref.kind in kinds:
            names[ref.name] = None
        elif isinstance(record, Veth) and record.netns == HOST and record.master:
            names[record.master] = None
    return tuple(names)
