"""A Linux bridge: a switch in the kernel, one for each subnet on a host, whose own address is the containers' gateway.

It is recognised by its mark (see `ownership`). Everything about it can be changed in place, so nothing forces a re-creation:
a drifted MAC, MTU, option or alias is set back while its ports stay connected.

Its MAC address is given, for a bridge without one takes the lowest of its ports', which changes as containers come and go.
The alias goes in a second message, since the kernel ignores IFLA_IFALIAS in the one that makes a link. So does the MTU: one that
a bridge is made with is taken for a guess, and gives way to 1500 or to its ports' as they come and go (br_mtu_auto_adjust). It
is set up last: whoever sees it up sees it whole. Without IPv6 it makes no link-local address, so that it stays silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.ownership import about, own_links, owner_of, pick, read_altname
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import AltnameAdd, LinkAdd, LinkDelete, LinkSet
from reconciler.state.steps.namespaces import SysctlWrite
from reconciler.state.steps.step import Step

BRIDGE_OPTIONS: tuple[tuple[str, str], ...] = (
    ("forward_delay", "0"),
    # Snooping without a querier forgets groups after minutes, and then drops what IPv6 needs to find neighbors.
    ("mcast_snooping", "0"),
    # Containers make no loops, and a port under STP would wait 30 s before it forwards.
    ("stp_state", "0"),
)
"""What every bridge of ours has; only these are compared."""
OPTION_KEYS = tuple(key for key, _ in BRIDGE_OPTIONS)


@dataclass(frozen=True, slots=True)
class Bridge(Record):
    """The bridge called `name`; `mtu` in bytes; `link_local`: whether it makes itself an IPv6 link-local address."""

    kind = "bridge"
    dies_with_parent = False

    name: str
    mac: str
    mtu: int
    group: int
    alias: str
    altname: str = ""
    link_local: bool = False
    options: tuple[tuple[str, str], ...] = BRIDGE_OPTIONS
    up: bool = True
    owner: Ref | None = None
    """What its namespace belongs to; None in the host's own."""
    arp: bool = True

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.owner,) if self.owner else ()

    @property
    def subject(self) -> str:
        return about(parse_alias(self.alias), self.netns)

    def describe(self) -> str:
        return f"bridge {self.name}, MTU {self.mtu}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for link in own_links(snapshot, "bridge"):
            info = link.info
            yield cls(
                netns=link.netns,
                name=info.name,
                mac=info.mac,
                mtu=info.mtu,
                group=info.group,
                alias=info.alias,
                altname=read_altname(link),
                link_local=info.link_local,
                options=pick(info.options, OPTION_KEYS),
                up=info.up,
                owner=owner_of(snapshot, link.netns),
                arp=info.arp,
            )

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        return ((self.netns, self.name),)

    def must_recreate(self, before: Self) -> bool:
        return False

    def drops(self, before: Self) -> tuple[str, ...]:
        # Its permanent neighbor entries as well (neigh_changeaddr).
        return ("neighbor",) if self.mac != before.mac else ()

    def lower_create(self) -> tuple[Step, ...]:
        make: tuple[Step, ...] = (
            LinkAdd(self.netns, self.name, "bridge", self.mac, 0, self.group, options=self.options),
            LinkSet(self.netns, self.name, mtu=self.mtu, alias=self.alias, link_local=self.link_local),
        )
        if self.altname:
            make += (AltnameAdd(self.netns, self.name, self.altname),)
        return (*make, LinkSet(self.netns, self.name, up=True)) if self.up else make

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        steps: list[Step] = []
        change = LinkSet(
            self.netns,
            self.name,
            mac=self.mac if self.mac != before.mac else "",
            mtu=self.mtu if self.mtu != before.mtu else None,
            group=self.group if self.group != before.group else None,
            alias=self.alias if self.alias != before.alias else None,
            link_local=False if before.link_local and not self.link_local else None,
            arp=self.arp if self.arp != before.arp else None,
        )
        if change != LinkSet(self.netns, self.name):
            steps.append(change)
        if self.link_local and not before.link_local:
            # By netlink the kernel would only note it for the next time that the link goes up; the sysctl acts at once
            # (addrconf_sysctl_addr_gen_mode, net/ipv6/addrconf.c).
            steps.append(SysctlWrite(self.netns, f"net.ipv6.conf.{self.name}.addr_gen_mode", "0", remember=False))
        if self.options != before.options:
            changed = [option for option in self.options if option not in before.options]
            # Under STP the kernel refuses a forward_delay of 0 (br_set_forward_delay), and in one message it comes first.
            without_stp = tuple(option for option in changed if option[0] == "stp_state")
            rest = tuple(option for option in changed if option not in without_stp)
            steps += [LinkSet(self.netns, self.name, kind="bridge", options=each) for each in (without_stp, rest) if each]
        if self.altname and self.altname != before.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        if self.up != before.up:
            steps.append(LinkSet(self.netns, self.name, up=self.up))
        return tuple(steps)

    def lower_delete(self) -> tuple[Step, ...]:
        return (LinkDelete(self.netns, self.name, self.group),)
