"""The bridge of a subnet, of either kind: Linux's own (`bridge`), or Open vSwitch's (`openvswitch`)."""

from __future__ import annotations

from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.openvswitch.bridge import OvsBridge
from reconciler.state.host import HostState
from reconciler.state.ref import HOST, Ref


def bridge_ref(name: str, datapath: str) -> Ref:
    """A bridge of the host. `datapath` is that of Open vSwitch, "" for a Linux bridge."""
    return (OvsBridge if datapath else Bridge).ref_of(HOST, name)


def bridge_names(state: HostState | None) -> tuple[str, ...]:
    """The names of a host's bridges, which other firewalls need to let their traffic pass.

    A bridge that the host had before (`bridge: {existing: …}`) is one of them if a container is connected to it.
    """
    names: dict[str, None] = {}
    for record in state.records.values() if state else ():
        if isinstance(record, Bridge | OvsBridge):
            names[record.name] = None
        elif isinstance(record, Veth) and record.netns == HOST and record.master:
            names[record.master] = None
    return tuple(names)
