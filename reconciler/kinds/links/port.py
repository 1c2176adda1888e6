"""A link that can be a port of a bridge (bridge(8)): its bridge, and its options there.

Every option that decides whether a frame passes is compared, even if netctl's value is the kernel's default. A port
that an administrator locked or disabled disconnects a container silently. An option that an older kernel lacks has its
default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from reconciler.kinds.identity import element_ref, table_ref
from reconciler.kinds.links.base import Link, Options
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.marks import OwnLink, altname_of
from reconciler.kinds.links.wire import BITS16, ON_OFF, U32, Table, choice
from reconciler.state.naming import Alias
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import LinkInfo, Snapshot
from reconciler.state.steps.links import BridgePortSet, LinkAdd, LinkSet
from reconciler.state.steps.step import Step

PORT_DEFAULTS: Options = (
    ("bcast_flood", "on"),
    ("flood", "on"),
    ("group_fwd_mask", "0x0"),
    ("hairpin", "off"),
    ("isolated", "off"),
    ("learning", "on"),
    ("locked", "off"),
    ("mcast_flood", "on"),
    ("neigh_suppress", "off"),
    ("state", "forwarding"),
)
"""The compared port options, with the values of a new port; sorted, as a snapshot has them."""
QUIET: Options = (("flood", "off"), ("learning", "off"))
"""Options of every port of netctl's: a static entry (`fdb`) holds its address, and no other unicast frames go to it."""
FILTERED: Options = (("group_fwd_mask", "0xfffd"),)
"""Option of a container's port: it forwards frames to link-local groups (01:80:c2:00:00:0x), so the filter sees them.

The bridge's filter drops them. Else the kernel delivers them to the host past the filter, and those of STP and LLDP
past every hook of the bridge (br_handle_frame). The one unset bit is that of pause frames: the kernel drops those
itself.
"""

WIRE: Table = {
    "state": (1, choice("=B", {"disabled": 0, "listening": 1, "learning": 2, "forwarding": 3, "blocking": 4})),
    "cost": (3, U32),
    "hairpin": (4, ON_OFF),
    "guard": (5, ON_OFF),
    "root_block": (6, ON_OFF),
    "fastleave": (7, ON_OFF),
    "learning": (8, ON_OFF),
    "flood": (9, ON_OFF),
    "mcast_flood": (27, ON_OFF),
    "mcast_to_unicast": (28, ON_OFF),
    "bcast_flood": (30, ON_OFF),
    "group_fwd_mask": (31, BITS16),
    "neigh_suppress": (32, ON_OFF),
    "isolated": (33, ON_OFF),
    "locked": (39, ON_OFF),
}
"""Options of IFLA_INFO_SLAVE_DATA; their numbers differ from a bridge's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort(Link):
    """A link that is a port of the bridge `master`, "" if of none."""

    master: str = ""
    port_options: Options = ()
    """The link's options as a bridge port; empty if it is none."""

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of the link called `name`."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        owner = super(BridgePort, self).depends_on
        return (*owner, Bridge.ref_of(self.netns, self.master)) if self.master else owner

    @classmethod
    def altname_of(cls, alias: Alias, name: str) -> str:
        # The name of a subnet's bridge has no suffix. A name of a file has no dot, so no other link has this one.
        is_subnets = alias.kind == cls.kind and not alias.subnet
        return altname_of(alias, name, suffix=f".{cls.kind}" if is_subnets else "")

    @property
    def follows(self) -> tuple[Ref, ...]:
        # No frame may come in by it before the firewall's elements for it exist.
        if self.netns != HOST:
            return ()
        tables = (table_ref(HOST, family) for family in ("inet", "bridge", "arp"))
        return (*tables, element_ref(HOST, "inet", "switched", self.name))

    @classmethod
    def read_fields(cls, snapshot: Snapshot, link: OwnLink) -> dict[str, Any]:
        master = master_name_of(snapshot, link.netns, link.info)
        options = read_port_options(snapshot, link.netns, link.info) if master else ()
        return super(BridgePort, cls).read_fields(snapshot, link) | {"master": master, "port_options": options}

    def drops(self, before: Self) -> tuple[str, ...]:
        # The entries of a port are deleted when it leaves its bridge (br_fdb_delete_by_port).
        found = super(BridgePort, self).drops(before)
        return (*found, "fdb") if before.master and self.master != before.master else found

    def lower_add(self) -> LinkAdd:
        return replace(Link.lower_add(self), master=self.master)

    def change_from(self, before: Self) -> LinkSet:
        master = (self.master or "-") if self.master != before.master else ""
        return replace(Link.change_from(self, before), master=master)

    def lower_port(self, before: Self | None) -> tuple[Step, ...]:
        # A port that changes its bridge has a new port's options there.
        held = before.port_options if before and self.master == before.master else PORT_DEFAULTS
        changed = tuple(option for option in self.port_options if option not in held)
        return (BridgePortSet(self.netns, self.name, changed),) if changed else ()


def port_options(*options: tuple[str, str]) -> Options:
    """The options of a port that differs from a new one by these."""
    return tuple((dict(PORT_DEFAULTS) | dict(options)).items())


def master_name_of(snapshot: Snapshot, netns: str, info: LinkInfo) -> str:
    """The bridge that a link is a port of, according to the kernel; "" if of none.

    Ports of Open vSwitch's kernel datapath all have `ovs-system` as their master; the OVSDB names their bridge.
    """
    master = snapshot.namespace(netns).links.get(info.master)
    return master.name if master and master.kind != "openvswitch" else ""


def read_port_options(snapshot: Snapshot, netns: str, info: LinkInfo) -> Options:
    """The options of a live port. Its state is compared only if the kernel has no reason of its own to hold it back.

    Such reasons are a link that is not operational, STP, and a bridge that is down (br_port_carrier_check).
    """
    held = {name: value for name, value in info.port_options if name in _NAMES}
    master = snapshot.namespace(netns).links.get(info.master)
    decides = master is None or not master.up or dict(master.options).get("stp_state", "0") != "0"
    if decides or not (info.up and info.operational):
        held.pop("state", None)
    return tuple((dict(PORT_DEFAULTS) | held).items())


_NAMES = frozenset(dict(PORT_DEFAULTS))
