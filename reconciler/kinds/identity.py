"""The identities of kinds that a module below their own speaks of: `ref_of` of these kinds is made of these functions.

Every other kind states its identity in its own file. Only what would be a circle of imports stands here: a link belongs to a
namespace, and the namespace's kind reads the links in it.
"""

from __future__ import annotations

from reconciler.state.ref import Ref


def netns_ref(netns: str) -> Ref:
    """A namespace that netctl has made (`kinds.netns`)."""
    return Ref("netns", netns, "namespace")


def container_ref(netns: str) -> Ref:
    """A container of an engine, by its namespace (`kinds.container`)."""
    return Ref("container", netns, netns.partition(":")[2])


def uplink_ref(netns: str, name: str) -> Ref:
    """An uplink as a port of a bridge (`kinds.uplink`)."""
    return Ref("uplink", netns, name)


def openvswitch_ref(netns: str, name: str) -> Ref:
    """A bridge of Open vSwitch (`kinds.openvswitch`)."""
    return Ref("openvswitch", netns, name)
