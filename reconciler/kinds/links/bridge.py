"""A Linux bridge: a switch in the kernel, one for each subnet on a host. Its own address is the containers' gateway.

netctl recognises it by its mark (see `marks`). Every property can be changed in place, so nothing forces a re-creation.
A MAC address, MTU, option or alias that drifted is restored while the ports stay connected.

netctl sets its MAC address: a bridge without one takes the lowest of its ports', which changes as containers come and
go. The second message sets the MTU. The kernel treats one from the creation as a guess, and replaces it by 1500 or by
that of the ports (br_mtu_auto_adjust).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from reconciler.kinds.links.base import Link, Options, drop_empty
from reconciler.kinds.links.marks import is_direct
from reconciler.kinds.links.wire import U8, U16, U32, Table
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.state.ref import HOST, Ref
from reconciler.state.steps.links import LinkAdd, LinkSet
from reconciler.state.steps.namespaces import SysctlWrite
from reconciler.state.steps.step import Step
from reconciler.state.summary import InterfaceFacts, Part, Phrase

BRIDGE_OPTIONS: Options = (
    ("forward_delay", "0"),
    # Snooping without a querier drops groups after minutes, and with them what IPv6 needs to find neighbors.
    ("mcast_snooping", "0"),
    # Containers create no loops, and a port under STP would wait 30 s before it forwards.
    ("stp_state", "0"),
)
"""The options of every bridge of netctl's, sorted; only these are compared."""


WIRE: Table = {
    "forward_delay": (1, U32),  # hundredths of a second, like all times of a bridge
    "hello_time": (2, U32),
    "max_age": (3, U32),
    "ageing_time": (4, U32),
    "stp_state": (5, U32),
    "priority": (6, U16),
    "vlan_filtering": (7, U8),
    "group_fwd_mask": (9, U16),
    "mcast_router": (22, U8),
    "mcast_snooping": (23, U8),
    "mcast_querier": (25, U8),
    "nf_call_iptables": (36, U8),
    "nf_call_ip6tables": (37, U8),
    "nf_call_arptables": (38, U8),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Link):
    """The bridge called `name`."""

    kind = "bridge"
    root_of = ("subnet",)
    wire = (WIRE,)
    has_forwarding_table = True

    options: Options = BRIDGE_OPTIONS

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of the bridge called `name`."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def is_addressed(self) -> bool:
        # The addresses of a bridge that replaces the host's uplink are the host's own.
        return not is_direct(self.alias)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return (self.name,) if self.netns == HOST else ()

    def phrase(self, facts: InterfaceFacts) -> Phrase:
        return Phrase(Part.LINKS, facts.with_addresses(f"bridge {self.name}", self.netns, self.name))

    def describe(self) -> str:
        return f"bridge {self.name}, MTU {self.mtu}"

    @property
    def wire_options(self) -> Options:
        return self.options

    @classmethod
    def parse_options(cls, options: Mapping[str, str]) -> dict[str, Any]:
        return {"options": tuple((key, options[key]) for key, _ in BRIDGE_OPTIONS if key in options)}

    def lower_add(self) -> LinkAdd:
        return replace(Link.lower_add(self), mtu=0)

    def lower_change(self, before: Self) -> tuple[Step, ...]:
        change = self.change_from(before)
        if not change.link_local:
            return (*drop_empty(change), *self._lower_options(before))
        # By netlink the kernel would only store it until the link next goes up. The sysctl acts at once
        # (addrconf_sysctl_addr_gen_mode, net/ipv6/addrconf.c).
        at_once = SysctlWrite(self.netns, interface_key(6, self.name, "addr_gen_mode"), "0", remember=False)
        return (*drop_empty(replace(change, link_local=None)), at_once, *self._lower_options(before))

    def _lower_options(self, before: Self) -> tuple[Step, ...]:
        changed = [option for option in self.options if option not in before.options]
        # Under STP the kernel rejects a forward_delay of 0 (br_set_forward_delay), which it reads first in a message.
        without_stp = tuple(option for option in changed if option[0] == "stp_state")
        rest = tuple(option for option in changed if option not in without_stp)
        return tuple(LinkSet(self.netns, self.name, kind=self.kind, options=each) for each in (without_stp, rest) if each)
