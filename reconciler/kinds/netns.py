"""A network namespace under /run/netns: a container of `runtime: netns`, or a member of the lab.

netctl recognises it by its file name, `<topology>.<container>` or `<topology>.lab.<member>`. Two properties can differ,
and both are repaired in place: its loopback is up, and IPv6 is on or off in all of it. Off means that
net.ipv6.conf.all.disable_ipv6 is 1 from before its first link: the IPv6 packets of a thousand new links cost more than
their creation. Writing `all` sets `default` and every interface. The loopback then gets IPv6 back, for programs that
connect to themselves at ::1. The loopback's accept_ra, which has no effect there, stores which of the two it is. Each
dump of the links contains it; `all` would have to be read from a file in each namespace. While netctl changes one into
the other, it is 2, so that a change that ended halfway is detected.

A namespace with IPv6 has further settings from its creation (see NetnsAdd). If it gets IPv6 later, netctl writes them
for future links, and for existing ones, which took their settings from `default` when they were created. If it loses
IPv6, they get the kernel's own values again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from reconciler.kinds.identity import netns_ref
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.kinds.settings.sysctl import FORWARDING, SILENCE, SWITCHED, Sysctl, answering
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_of, is_container_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import LinkSet
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete, SysctlWrite
from reconciler.state.steps.step import Step
from reconciler.state.uapi import LOOPBACK

ACCEPT_RA = {False: 0, True: 1}
"""The accept_ra of the loopback, by whether the namespace has IPv6."""
CHANGING = 2
"""Its value while that changes."""
PROMPTS = ("accept_dad", "accept_ra")
"""The settings that are 0 on links of a namespace with IPv6."""


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
    settled: bool = True
    """Whether IPv6 is on or off in all of it: no change of that ended halfway."""
    links: tuple[str, ...] = field(default=(), compare=False)
    """The links in it, without its loopback."""

    @classmethod
    def ref_of(cls, netns: str) -> Ref:
        """The identity of such a record."""
        return netns_ref(netns)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns)

    @property
    def as_made(self) -> Self:
        return replace(self, settled=True)

    def reason_field(self, name: str) -> tuple[str, object]:
        return ("ipv6", self.ipv6 if self.settled else "half changed") if name == "settled" else (name, getattr(self, name))

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
            yield cls(
                netns,
                ipv6=loopback.ipv6 and loopback.accept_ra == ACCEPT_RA[True],
                loopback=loopback.up and (loopback.ipv6 or not loopback.has_ipv6),
                settled=loopback.accept_ra in ACCEPT_RA.values(),
                links=tuple(link.name for link in links.values() if link is not loopback),
            )

    @property
    def label(self) -> str:
        return f"network namespace of {container_of(self.netns) or self.netns}"

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        if not is_container_netns(self.netns):
            return FORWARDING
        return (interface_key(6, "default", "accept_ra"),) if self.ipv6 else ()

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (NetnsAdd(self.netns, self.ipv6),)

    def drops(self, before: Self) -> tuple[str, ...]:
        # Those of links that the file determines, or that another program has changed.
        return (Sysctl.kind,) if self._switches(before) else ()

    def overwrites(self, before: Self) -> tuple[str, ...]:
        links = ("default", *before.links) if self._switches(before) else ()
        return tuple(interface_key(6, each, name) for each in links for name in SWITCHED)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        steps: list[Step] = []
        mark = interface_key(6, "lo", "accept_ra")
        switches = self._switches(before)
        if switches:
            steps.append(SysctlWrite(self.netns, mark, str(CHANGING), remember=False, if_there=True))
            steps += self._lower_prompt(before.links)
            steps.append(SysctlWrite(self.netns, SILENCE, "0" if self.ipv6 else "1", remember=False))
        if self.loopback != before.loopback:
            steps.append(LinkSet(self.netns, "lo", up=self.loopback))
        if switches or self.loopback != before.loopback:
            # The mark comes last: until then the change has not ended.
            last = SysctlWrite(self.netns, mark, str(ACCEPT_RA[self.ipv6]), remember=False, if_there=True)
            steps += [answering(self.netns), last]
        return tuple(steps)

    def _switches(self, before: Self) -> bool:
        """Whether IPv6 is switched in all of it."""
        return self.ipv6 != before.ipv6 or not before.settled

    def _lower_prompt(self, links: tuple[str, ...]) -> list[SysctlWrite]:
        """The settings with which addresses work at once, or without IPv6 the kernel's own."""
        value = "0" if self.ipv6 else "1"
        names = [name for name in PROMPTS if not (name == "accept_ra" and self.accepts_router_advertisements)]
        everywhere = SysctlWrite(self.netns, interface_key(6, "all", "accept_dad"), "0", remember=False)
        # The same plan may have deleted one of the links; the re-created one has the defaults.
        return [everywhere] + [
            SysctlWrite(self.netns, interface_key(6, each, name), value, remember=False, if_there=each in links)
            for each in ("default", *links)
            for name in names
        ]

    def lower_delete(self) -> tuple[Step, ...]:
        return (NetnsDelete(self.netns),)
