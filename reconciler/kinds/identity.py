"""The identities of kinds that lower modules refer to: `ref_of` of these kinds is made of these functions.

Every other kind states its identity in its own file. Here are only those that would need circular imports. A link
belongs to a namespace, whose kind reads the links in it. It depends on tables and settings, whose kinds name the kinds
of link.
"""

from __future__ import annotations

from reconciler.state.ref import Ref, container_of


def netns_ref(netns: str) -> Ref:
    """A namespace that netctl created (`kinds.netns`)."""
    return Ref("netns", netns, "namespace")


def container_ref(netns: str) -> Ref:
    """A container of an engine, by its namespace (`kinds.engine.container`)."""
    return Ref("container", netns, container_of(netns))


def holder_ref(netns: str) -> Ref:
    """A container of an engine that holds the namespace (`kinds.engine.holder`)."""
    return Ref("holder", netns, "namespace")


def table_ref(netns: str, family: str, subnet: str = "") -> Ref:
    """A table of nftables (`kinds.firewall.elements`)."""
    return Ref("firewall", netns, _table_ident(family, subnet))


def element_ref(netns: str, family: str, set_name: str, key: str, subnet: str = "") -> Ref:
    """An element of a set or map in such a table (`kinds.firewall.elements`)."""
    return Ref("element", netns, element_name(family, set_name, key, subnet))


def element_name(family: str, set_name: str, key: str, subnet: str = "") -> str:
    """The name of an element of any kind: `inet switched v-shop-web`."""
    return f"{_table_ident(family, subnet)} {set_name} {key}"


def sysctl_ref(netns: str, key: str) -> Ref:
    """A setting of the kernel (`kinds.settings.sysctl`)."""
    return Ref("sysctl", netns, key)


def uplink_ref(netns: str, name: str) -> Ref:
    """An uplink as a port of a bridge (`kinds.uplink`)."""
    return Ref("uplink", netns, name)


def openvswitch_ref(netns: str, name: str) -> Ref:
    """A bridge of Open vSwitch (`kinds.openvswitch.bridge`)."""
    return Ref("openvswitch", netns, name)


def _table_ident(family: str, subnet: str) -> str:
    """`inet`, `netdev.front`: a table's name among those of its topology."""
    return f"{family}.{subnet}" if subnet else family
