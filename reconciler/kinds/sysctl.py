"""A kernel setting of one namespace, under net.* (sysctl(8)).

It carries no mark. In a namespace that netctl made, or on a link that it made, there is nothing to put back: the setting goes
with them. In a namespace that was there before us it is remembered: the value before is noted in the host's file under
/run/netctl, ahead of the change, and comes back when the last topology that uses it goes. So a remembered setting is
recognised by that file, and any other by having been read: only settings that the topology wants are.

A value that differs is written again; nothing forces a re-creation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.link_settings import SETTINGS, Role
from reconciler.kinds.ownership import own_ends, own_links, own_switches, owner_of
from reconciler.state.host import HostState
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.namespaces import SysctlRestore, SysctlWrite
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class Sysctl(Record):
    """`key` holds `value`. `owner` is the link or namespace with which the setting goes; None where it stays."""

    kind = "sysctl"

    key: str
    value: str
    remember: bool = False
    owner: Ref | None = field(default=None, compare=False)
    after: tuple[Ref, ...] = field(default=(), compare=False)
    """Settings that must be written before it."""
    about: str = field(default="", compare=False)
    """Whose it is, for people; "" for the namespace's."""

    @property
    def ident(self) -> str:
        return self.key

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.owner,) if self.owner else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        return self.after

    @property
    def subject(self) -> str:
        return self.about or self.netns.replace(":", " ") or "host"

    def describe(self) -> str:
        return f"{self.key} = {self.value}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        own = [link for kind in OWN_LINKS for link in own_links(snapshot, kind)]
        # The far end of a cable goes with the near one: on the way back it must be there before its settings are.
        links = {(netns, end.name): end.link for netns, ends in own_ends(snapshot).items() for end in ends.values()}
        links |= {(link.netns, link.info.name): Ref(link.info.kind, link.netns, link.info.name) for link in own}
        links |= {(HOST, bridge.name): Ref("openvswitch", HOST, bridge.name) for bridge, _ in own_switches(snapshot)}
        for netns, namespace in snapshot.namespaces.items():
            owner = owner_of(snapshot, netns)
            for key, value in namespace.sysctls.items():
                remember = netns == HOST and key in snapshot.remembered
                yield cls(netns, key, value, remember, links.get((netns, interface_of(key)), owner))

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (SysctlWrite(self.netns, self.key, self.value, self.remember),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        if before.remember and not self.remember:
            return before.lower_delete()  # as in a rollback: the value before comes back from the file
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (SysctlRestore(self.netns, self.key),) if self.remember else ()


OWN_LINKS = ("bridge", "veth", "vxlan")
"""The kinds of links of ours that carry settings, besides Open vSwitch's."""
BRIDGES = ("bridge", "openvswitch")
BRIDGE_ROLES = (Role.GATEWAY, Role.LAN_BRIDGE)
BRIDGE_SETTINGS = tuple({(row.family, row.name, row.group): row for role in BRIDGE_ROLES for row in SETTINGS[role]}.values())
"""One row for each key that a bridge may carry."""
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


def find_going_along(live: HostState, desired: HostState, *, host_goes: bool) -> dict[str, tuple[str, ...]]:
    """The keys, by namespace, that bear our values and end with what is removed, though nobody wants them any more.

    They are read for a plan, so that its way back knows them: a bridge that is made again has the kernel's own values. The
    host's own are among them where the host goes, too, as one of a lab may (`host_goes`): there nothing of it is remembered.
    """
    gone = [ref for ref in live.records if ref not in desired.records and (ref.kind in BRIDGES or ref.netns.startswith("lab:"))]
    keys: dict[str, set[str]] = {}
    for ref in gone:
        if ref.kind in BRIDGES:
            keys.setdefault(ref.netns, set()).update(row.key(ref.name) for row in BRIDGE_SETTINGS)
        if ref.kind == "netns":
            keys.setdefault(ref.netns, set()).update(FORWARDING)
    if HOST in keys and host_goes:
        keys[HOST].update(FORWARDING)
    wanted = {(ref.netns, ref.name) for ref in desired.records if ref.kind == Sysctl.kind}
    return {netns: tuple(sorted(key for key in found if (netns, key) not in wanted)) for netns, found in keys.items()}


def interface_of(key: str) -> str:
    """The interface that a key speaks of: the inverse of `interface_key`; "" where it speaks of none."""
    parts = key.split(".")
    return parts[3].replace("/", ".") if len(parts) == 5 and parts[2] in ("conf", "neigh") else ""
