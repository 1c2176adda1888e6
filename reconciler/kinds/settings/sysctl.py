"""A kernel setting of one namespace, under net.* (sysctl(8)).

It carries no mark. In a namespace or on a link that netctl created, it needs no restore: the kernel deletes the setting
with them. In a namespace that existed before, netctl remembers it. It first notes the previous value in the host's file
under /run/netctl, and restores it when the last topology that uses it is destroyed. So netctl recognises a remembered
setting by that file, and any other by having read it. It reads those that the topology wants, and those that are lost
with a plan's deletions. The latter are compared with a new interface's, whatever program wrote them, so that a rollback
restores all of them.

A value that differs is written again; nothing forces a re-creation. The kernel writes a setting of every link to each of
them. So netctl notes those of single links before it, and restores them after it (`order_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.identity import netns_ref, sysctl_ref, uplink_ref
from reconciler.kinds.interfaces import own_interfaces
from reconciler.kinds.links.marks import owner_of
from reconciler.kinds.settings.link_settings import LINK_DEFAULTS, interface_key
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref, is_container_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.namespaces import SysctlRestore, SysctlWrite
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Record):
    """`key` holds `value`. `owner` is the link or namespace with which the kernel deletes the setting; None if it stays."""

    kind = "sysctl"
    nouns = ("setting", "settings")
    is_always_there = True

    key: str
    value: str
    remember: bool = False
    owner: Ref | None = field(default=None, compare=False)
    after: tuple[Ref, ...] = field(default=(), compare=False)
    """What must be done before it is written (`written_before`)."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users; "" for the namespace's."""

    @classmethod
    def ref_of(cls, netns: str, key: str) -> Ref:
        """The identity of such a record."""
        return sysctl_ref(netns, key)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.key)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.owner,) if self.owner else ()

    @property
    def follows(self) -> tuple[Ref, ...]:
        is_switched = self.key.startswith("net.ipv6.conf.") and self.key.rpartition(".")[2] in SWITCHED
        if is_container_netns(self.netns) and is_switched and self.key != SILENCE:
            return (*self.after, netns_ref(self.netns), self.ref_of(self.netns, SILENCE))
        return self.after

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    def describe(self) -> str:
        return f"{self.key} = {self.value}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        ends = {(netns, each.name): each for netns, found in own_interfaces(snapshot).items() for each in found.values()}
        moved = {name: info.name for info in snapshot.uplinks for name in (info.name, info.bridge)}
        for netns, namespace in snapshot.namespaces.items():
            owner = owner_of(snapshot, netns)
            others = [key for key in namespace.sysctls if (netns, interface_of(key)) not in ends]
            remembered = snapshot.remembered if netns == HOST else frozenset[str]()
            for key, value in namespace.sysctls.items():
                end = ends.get((netns, interface_of(key)))
                if end is None and is_container_netns(netns) and interface_of(key) not in EVERY_LINK:
                    continue  # of a link that occupies the position of netctl's own: both are deleted
                before = written_before(netns, key, others, moved.get(interface_of(key), ""))
                is_own = end is not None and netns == HOST and interface_of(key) not in moved
                yield cls(
                    netns=netns,
                    key=key,
                    value=value,
                    remember=key in remembered,
                    owner=end.link if end else owner,
                    after=(*before, *forwarding_before(key)) if is_own else before,
                    about=end.about if end else HOST_SUBJECT,
                )

    def must_recreate(self, before: Self) -> bool:
        return False

    def drops(self, before: Self) -> tuple[str, ...]:
        return (self.kind,) if self.key == SILENCE and self.value != before.value else ()

    def lower_create(self) -> tuple[Step, ...]:
        write = SysctlWrite(self.netns, self.key, self.value, self.remember)
        return (write, answering(self.netns)) if (self.key, self.value) == (SILENCE, "1") else (write,)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        if before.remember and not self.remember:
            return before.lower_delete()  # as in a rollback: the file has the previous value
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (SysctlRestore(self.netns, self.key),) if self.remember else ()

    def lower_aftermath(self) -> tuple[Step, ...]:
        return self.lower_delete()


SILENCE = "net.ipv6.conf.all.disable_ipv6"
"""The setting that disables IPv6 on every link of a namespace, and on future ones.

Source: addrconf_disable_ipv6 in net/ipv6/addrconf.c.
"""


def answering(netns: str) -> SysctlWrite:
    """The step that restores ::1 in a namespace without IPv6, which SILENCE removes: a program may connect to itself there."""
    return SysctlWrite(netns, interface_key(6, "lo", "disable_ipv6"), "0", remember=False, if_there=True)


def ipv6_switch(netns: str, dev: str) -> Ref:
    """The setting that enables IPv6 on a link: IPv6 records of the link follow it."""
    return Sysctl.ref_of(netns, interface_key(6, dev, "disable_ipv6"))


def needed_for_ipv6(netns: str, dev: str) -> tuple[Ref, ...]:
    """What enables IPv6 on a link: its IPv6 addresses and neighbor entries follow it, or the kernel refuses them."""
    if netns == HOST:
        return (ipv6_switch(netns, dev),)
    return (netns_ref(netns), *(Sysctl.ref_of(netns, key) for key in LINK_DEFAULTS))


FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
NEEDS = dict(zip(FORWARDING, ((4, "forwarding"), (6, "accept_ra")), strict=True))
"""The settings of single links that stand before those of all links.

net.ipv4.ip_forward writes the setting of every link, so the value before is noted first. A host that forwards IPv6 loses a
default route of router advertisements, unless accept_ra is 2 by then.
"""
SWITCHED = ("disable_ipv6", "accept_dad", "accept_ra")
"""The settings of IPv6 that a switch of IPv6 in the whole namespace writes, too (`kinds.netns`)."""
EVERY_LINK = ("", "all", "default", "lo")
"""Interfaces in keys that are not links of netctl's."""


def written_before(netns: str, key: str, others: Iterable[str], uplink: str = "") -> tuple[Ref, ...]:
    """What must be done before the setting is written, given all settings; `uplink` is the one that a bridge replaces.

    The bridge adopts the settings of its uplink, and the uplink gets others. Only rp_filter is written before.
    """
    family, name = NEEDS.get(key, (0, ""))
    own = [each for each in others if name and each == interface_key(family, interface_of(each), name)]
    before = tuple(Sysctl.ref_of(netns, each) for each in own if interface_of(each) not in EVERY_LINK)
    return (*before, uplink_ref(netns, uplink)) if uplink and not key.endswith(".rp_filter") else before


def forwarding_before(key: str) -> tuple[Ref, ...]:
    """The host's own forwarding before that of a link of netctl's: netctl notes the links that differ, and none of its own."""
    if not key.endswith(".forwarding"):
        return ()
    return (Sysctl.ref_of(HOST, FORWARDING[1 if key.startswith("net.ipv6.") else 0]),)


def interface_of(key: str) -> str:
    """The interface of a key: the inverse of `interface_key`; "" if the key has none."""
    parts = key.split(".")
    return parts[3].replace("/", ".") if len(parts) == 5 and parts[2] in ("conf", "neigh") else ""
