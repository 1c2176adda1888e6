"""A network namespace under /run/netns: a container of `runtime: netns`, or a member of the lab.

netctl recognises it by its file name, `<topology>.<container>` or `<topology>.lab.<member>`. Two properties can differ,
and both are repaired in place: its loopback is up, and IPv6 is on or off in all of it. Off means that
net.ipv6.conf.all.disable_ipv6 is 1 from before its first link: the IPv6 packets of a thousand new links cost more than
their creation. Writing `all` sets `default` and every interface. The loopback then gets IPv6 back, for programs that
connect to themselves at ::1. The loopback's accept_ra, which has no effect there, stores which of the two it is. Each
dump of the links contains it; `all` would have to be read from a file in each namespace.

A namespace with IPv6 has further settings from its creation (see NetnsAdd). If it gets IPv6 later, netctl writes them
for future links, and for existing ones, which took their settings from `default` when they were created.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.identity import netns_ref
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.sysctl import FORWARDING, SILENCE, Sysctl, answering
from reconciler.state.record import Record
from reconciler.state.ref import Ref, is_container_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import LinkSet
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete, SysctlWrite
from reconciler.state.steps.step import Step
from reconciler.state.uapi import LOOPBACK


@dataclass(frozen=True, slots=True)
class Netns(Record):
    """The namespace called `netns`."""

    kind = "netns"
    root_of = ("container", "lab")
    dies_with_parent = False

    ipv6: bool = True
    loopback: bool = True
    """Whether its loopback is up, and has ::1 if the kernel has IPv6."""
    accepts_router_advertisements: bool = field(default=False, compare=False)
    """Whether it accepts router advertisements of a LAN."""
    silent: tuple[str, ...] = field(default=(), compare=False)
    """The links in it while IPv6 is off."""

    @classmethod
    def ref_of(cls, netns: str) -> Ref:
        """The identity of such a record."""
        return netns_ref(netns)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns)

    def describe(self) -> str:
        return "network namespace" + ("" if self.ipv6 else " without IPv6")

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for netns in sorted(snapshot.mounted):
            links = snapshot.namespace(netns).links
            loopback = links.get(LOOPBACK)
            if loopback is None:
                yield cls(netns, loopback=False)
                continue
            ipv6 = loopback.ipv6 and loopback.accepts_ra
            silent = () if ipv6 else tuple(link.name for link in links.values() if link is not loopback)
            yield cls(netns, ipv6, loopback.up and (loopback.ipv6 or not loopback.has_ipv6), silent=silent)

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        if not is_container_netns(self.netns):
            return FORWARDING
        return (interface_key(6, "default", "accept_ra"),) if self.ipv6 else ()

    def must_recreate(self, before: Self) -> bool:
        return False

    def drops(self, before: Self) -> tuple[str, ...]:
        # The switch of the namespace writes that of every link.
        return (Sysctl.kind,) if self.ipv6 != before.ipv6 else ()

    def lower_create(self) -> tuple[Step, ...]:
        return (NetnsAdd(self.netns, self.ipv6),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        steps: list[Step] = []
        if self.ipv6 and not before.ipv6:
            steps += self._lower_prompt(before.silent)
        if self.ipv6 != before.ipv6:
            steps.append(SysctlWrite(self.netns, SILENCE, "0" if self.ipv6 else "1", remember=False))
        if self.loopback != before.loopback:
            steps.append(LinkSet(self.netns, "lo", up=self.loopback))
        if self.ipv6 != before.ipv6 or self.loopback != before.loopback:
            key, value = interface_key(6, "lo", "accept_ra"), str(int(self.ipv6))
            steps += [SysctlWrite(self.netns, key, value, remember=False, if_there=True), answering(self.netns)]
        return tuple(steps)

    def _lower_prompt(self, links: tuple[str, ...]) -> list[Step]:
        routers = () if self.accepts_router_advertisements else ("accept_ra",)
        keys = [(each, name) for each in ("default", *links) for name in ("accept_dad", *routers)]
        # The same plan may have deleted one of the links; the re-created one has the defaults.
        return [
            SysctlWrite(self.netns, interface_key(6, each, name), "0", remember=False, if_there=each in links)
            for each, name in (("all", "accept_dad"), *keys)
        ]

    def lower_delete(self) -> tuple[Step, ...]:
        return (NetnsDelete(self.netns),)
