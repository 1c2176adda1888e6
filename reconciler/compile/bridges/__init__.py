"""The bridge of a host in a subnet: its kind is chosen here and nowhere else. Pure.

The modules:

    base          the interface of every kind of bridge
    linux         a Linux bridge: nftables filters its frames
    openvswitch   a bridge of Open vSwitch: OpenFlow rules filter its frames
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.compile.bridges.base import SubnetBridge
from reconciler.compile.bridges.linux import LinuxBridge
from reconciler.compile.bridges.openvswitch import OpenVSwitch
from reconciler.compile.model import HostSubnet
from reconciler.compile.view import HostView
from reconciler.topology.types import BridgeKind

TYPES: Mapping[BridgeKind, type[SubnetBridge]] = {"linux": LinuxBridge, "openvswitch": OpenVSwitch}
"""By what the file calls the kind."""


def bridge_type(host_subnet: HostSubnet) -> type[SubnetBridge]:
    """The kind of the bridge."""
    return TYPES[host_subnet.kind]


def type_of_link(kind: str) -> type[SubnetBridge] | None:
    """The kind of bridge that a link of a host is; None if it is no bridge."""
    return next((each for each in TYPES.values() if each.link_kind == kind), None)


def bridge_of(view: HostView, host_subnet: HostSubnet) -> SubnetBridge:
    """The bridge of a host in a subnet."""
    return bridge_type(host_subnet)(view, host_subnet)
