"""A kernel setting of one namespace, under net.* (sysctl(8)).

It carries no mark. In a namespace that netctl made, or on a link that it made, there is nothing to put back: the setting goes
with them. In a namespace that was there before us it is remembered: the value before is noted in the host's file under
/run/netctl, ahead of the change, and comes back when the last topology that uses it goes. So a remembered setting is
recognised by that file, and any other by having been read: those that the topology wants, and those that are lost with what a
plan deletes. The latter are compared with a new interface's, whoever wrote them, so that a rollback finds all of them.

A value that differs is written again; nothing forces a re-creation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.identity import sysctl_ref
from reconciler.kinds.interfaces import own_interfaces
from reconciler.kinds.links.marks import owner_of
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.namespaces import SysctlRestore, SysctlWrite
from reconciler.state.steps.step import Step
from reconciler.state.subject import subject_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Record):
    """`key` holds `value`. `owner` is the link or namespace with which the setting goes; None where it stays."""

    kind = "sysctl"
    nouns = ("setting", "settings")
    is_always_there = True

    key: str
    value: str
    remember: bool = False
    owner: Ref | None = field(default=None, compare=False)
    after: tuple[Ref, ...] = field(default=(), compare=False)
    """Settings that must be written before it."""
    about: str = field(default="", compare=False)
    """Whose it is, for people; "" for the namespace's."""

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
        return self.after

    @property
    def subject(self) -> str:
        return subject_in(self.netns, self.about)

    def describe(self) -> str:
        return f"{self.key} = {self.value}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        ends = {(netns, each.name): each for netns, found in own_interfaces(snapshot).items() for each in found.values()}
        for netns, namespace in snapshot.namespaces.items():
            owner = owner_of(snapshot, netns)
            for key, value in namespace.sysctls.items():
                remember = netns == HOST and key in snapshot.remembered
                end = ends.get((netns, interface_of(key)))
                if end is None and netns.startswith("container:") and interface_of(key) not in EVERY_LINK:
                    continue  # of a link in the place of netctl's own: it goes, and its setting with it
                yield cls(
                    netns=netns,
                    key=key,
                    value=value,
                    remember=remember,
                    owner=end.link if end else owner,
                    about=end.about if end else "",
                )

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        write = SysctlWrite(self.netns, self.key, self.value, self.remember)
        return (write, answering(self.netns)) if (self.key, self.value) == (SILENCE, "1") else (write,)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        if before.remember and not self.remember:
            return before.lower_delete()  # as in a rollback: the value before comes back from the file
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (SysctlRestore(self.netns, self.key),) if self.remember else ()

    def lower_aftermath(self) -> tuple[Step, ...]:
        return self.lower_delete()


SILENCE = "net.ipv6.conf.all.disable_ipv6"
"""Switches every link of a namespace, and those to come (addrconf_disable_ipv6 in net/ipv6/addrconf.c)."""


def answering(netns: str) -> SysctlWrite:
    """The step that gives a namespace without IPv6 its ::1 back, which SILENCE takes: a program may speak to itself there."""
    return SysctlWrite(netns, interface_key(6, "lo", "disable_ipv6"), "0", remember=False, if_there=True)


def ipv6_switch(netns: str, dev: str) -> Ref:
    """The setting by which IPv6 is on at a link: what is IPv6 there comes after it."""
    return Sysctl.ref_of(netns, interface_key(6, dev, "disable_ipv6"))


FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
EVERY_LINK = ("", "all", "default", "lo")
"""Interfaces of keys that are no link of netctl's."""


def interface_of(key: str) -> str:
    """The interface that a key speaks of: the inverse of `interface_key`; "" where it speaks of none."""
    parts = key.split(".")
    return parts[3].replace("/", ".") if len(parts) == 5 and parts[2] in ("conf", "neigh") else ""
