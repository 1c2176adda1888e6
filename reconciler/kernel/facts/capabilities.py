"""Capabilities that this kernel lacks, detected before anything is created."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from reconciler.errors import HostError
from reconciler.kernel.namespaces import leave_for_new, run_in_thread
from reconciler.kernel.netlink.encode import encode
from reconciler.kernel.netlink.rtnetlink import RouteSocket
from reconciler.state.ref import HOST
from reconciler.state.steps.links import LinkAdd
from reconciler.state.steps.namespaces import NetnsAdd, SysctlWrite
from reconciler.state.steps.step import Step

SETTINGS = "/proc/sys"


def check_link_kinds(steps: Iterable[Step]) -> None:
    """HostError if this kernel lacks the kind of a link among the steps."""
    kinds = sorted({step.kind for step in steps if isinstance(step, LinkAdd)})
    missing = run_in_thread(lambda: try_link_kinds(kinds)) if kinds else []
    if missing:
        help_text = f"load their modules: modprobe -a {' '.join(missing)}"
        raise HostError(f"this kernel has no links of kind {', '.join(missing)}", help_text)


def check_settings(steps: Iterable[Step]) -> None:
    """HostError if steps write kernel settings, also those of a new namespace, and /proc/sys is read-only."""
    if any(isinstance(step, NetnsAdd | SysctlWrite) for step in steps) and os.statvfs(SETTINGS).f_flag & os.ST_RDONLY:
        help_text = f"mount -o remount,rw {SETTINGS}; in a container, run it with --privileged"
        raise HostError(f"cannot write kernel settings: {SETTINGS} is mounted read-only", help_text)


def try_link_kinds(kinds: list[str]) -> list[str]:
    """The kinds that the kernel cannot create; tried in a namespace that ends with the calling thread.

    A missing kind, which no module provides, is EOPNOTSUPP (net/core/rtnetlink.c, rtnl_newlink); one that needs options
    returns another error.
    """
    leave_for_new()
    route_socket = RouteSocket()
    try:
        steps = [LinkAdd(HOST, f"try{number}", kind, mac="", mtu=0, group=0) for number, kind in enumerate(kinds)]
        refusals = route_socket.request([encode(step, NoSurroundings()) for step in steps])
    finally:
        route_socket.close()
    return [kinds[refusal.index] for refusal in refusals if refusal.number == errno.EOPNOTSUPP]


class NoSurroundings:
    """For messages that name no other link and no other namespace."""

    def index(self, name: str) -> int:
        """It is never called."""
        raise KeyError(name)

    def descriptor(self, netns: str) -> int:
        """It is never called."""
        raise KeyError(netns)
