"""Steps on network namespaces, and on the settings of the kernel in them."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.steps.lanes import NETNS, SYSCTL
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class NetnsAdd(Step):
    """Make the namespace, with its loopback up, and mount it at /run/netns (ip-netns(8)). `netns` is the one that is made.

    With `ipv6` false, net.ipv6.conf.all.disable_ipv6 is set to 1 before anything is in it (which sets `default` as well), so
    that its links never chatter; the loopback keeps ::1. With `ipv6`, net.ipv6.conf.default.accept_dad is set to 0 and
    net.ipv6.conf.default.accept_ra to 0: addresses serve at once, and no router is asked for.
    """

    lane = NETNS
    ipv6: bool


@dataclass(frozen=True, slots=True)
class NetnsDelete(Step):
    """Unmount and remove the namespace; what is in it goes with it, after a moment."""

    lane = NETNS


@dataclass(frozen=True, slots=True)
class SysctlWrite(Step):
    """Write a sysctl, by its dotted key with `/` for a dot within a name (`net.ipv4.conf.eth0/1.forwarding`).

    With `remember`, the value before is noted first in the host's file under /run/netctl, to be put back by SysctlRestore.
    With `if_there`, nothing is done where there is no such key: a link of the name has gone meanwhile.
    """

    lane = SYSCTL
    key: str
    value: str
    remember: bool
    if_there: bool = False


@dataclass(frozen=True, slots=True)
class SysctlRestore(Step):
    """Let go of a remembered sysctl: where no other topology uses it and it is still ours, the value before comes back."""

    lane = SYSCTL
    key: str
