"""A foreign link of the host, created for a verification: it sends what another bridge of the host would send.

It is a veth pair: one end in the host's namespace, the other in a namespace without a name, which stands for a foreign
container. Both exist only as long as this process holds the nameless namespace. When the process ends, also by SIGKILL,
the kernel deletes the namespace and the pair with it. So no later command has to look for leftovers, and the host's end
needs no mark of ownership. A `diff` at the same time sees a foreign link, which it is.

The host's end has an address, and so a route back to the remote end. Without one, a host that checks sources (rp_filter
1) drops all packets from it. A probe would then find a closed port that is open to every real bridge.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from ipaddress import ip_interface

from reconciler.errors import HostError
from reconciler.kernel.namespaces import enter, leave_for_new, run_in_thread
from reconciler.kernel.netlink.encode import (
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_FLAGS,
    IFA_LOCAL,
    IFADDRMSG,
    IFINFOMSG,
    NEW,
    RTM_NEWADDR,
    U32,
    encode,
    encode_link_get,
    encode_loopback_up,
)
from reconciler.kernel.netlink.rtnetlink import RouteSocket, attribute, find_attributes, message
from reconciler.state.foreign_ends import ForeignEnds
from reconciler.state.steps.links import LinkAdd, LinkDelete, LinkSet, Peer
from reconciler.state.uapi import SCOPE_LINK

MTU = 1500
IFLA_OPERSTATE, IF_OPER_UP = 16, b"\x06"  # linux/if_link.h, linux/if.h
READY_TIMEOUT_S = 1.0
"""The kernel's link watch runs at most this much later (net/core/link_watch.c)."""


class ProbeLink:
    """The pair. `path` is the file of the nameless namespace."""

    def __init__(self, host_path: str, ends: ForeignEnds) -> None:
        """Create it and set it up.

        `host_path` is the file of the host's namespace. HostError if the kernel rejects a request.
        """
        self._remote = self._host = -1
        self._ends = ends
        try:
            self._host = os.open(host_path, os.O_RDONLY | os.O_CLOEXEC)
            run_in_thread(lambda: self._make(host_path))
        except OSError as error:
            self.close()
            raise HostError(f"cannot add a link for the probes: {error.strerror}") from error
        except HostError:
            self.close()
            raise

    @property
    def path(self) -> str:
        """The file of the nameless namespace."""
        return f"/proc/self/fd/{self._remote}"

    def close(self) -> None:
        """Delete the pair, and release the namespace. It may be called again."""
        remote, host = self._remote, self._host
        self._remote = self._host = -1
        if remote >= 0:
            with suppress(OSError, HostError):  # then the kernel deletes it a moment later
                run_in_thread(lambda: _delete(f"/proc/self/fd/{remote}", self._ends.remote_name))
        for descriptor in (remote, host):
            if descriptor >= 0:
                os.close(descriptor)

    def _make(self, host_path: str) -> None:
        """Create the pair, in a thread that ends afterwards."""
        ends, around = self._ends, _Around(self._host)
        leave_for_new()
        self._remote = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        peer = Peer("", ends.name, ends.mac, MTU)
        _request(encode_loopback_up(), encode(LinkAdd("", ends.remote_name, "veth", "", MTU, 0, peer=peer), around))
        _set_up(ends.remote_name, ends.remote_cidrs)
        enter(host_path)
        _request(encode(LinkSet("", ends.name, alias=ends.alias), around))
        _set_up(ends.name, ends.cidrs)
        enter(self.path)
        _wait_until_it_sends(ends.remote_name)


class _Around:
    """Namespaces that a message names by number: here, only the host's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def index(self, name: str) -> int:
        raise ValueError(f"the number of {name} is not needed")

    def descriptor(self, _: str) -> int:
        return self._descriptor


def _delete(path: str, name: str) -> None:
    """Delete the pair at once: the kernel deletes a namespace some time after its last user has left."""
    enter(path)
    _request(encode(LinkDelete("", name, 0), _Around(-1)), may_fail=True)


def _set_up(name: str, cidrs: tuple[str, ...]) -> None:
    """Add addresses with their connected routes, and set the link up, without IPv6 link-local packets if the kernel has IPv6."""
    _request(encode(LinkSet("", name, link_local=False), _Around(-1)), may_fail=True)
    _request(encode(LinkSet("", name, up=True), _Around(-1)))
    route_socket = RouteSocket()
    try:
        found = route_socket.get(encode_link_get(name))
        index = IFINFOMSG.unpack_from(found)[2] if found else 0
    finally:
        route_socket.close()
    for cidr in cidrs:  # a host without IPv6 rejects the second one, and needs no probe by it
        _request(_encode_address(cidr, index), may_fail=":" in cidr)


def _wait_until_it_sends(name: str) -> None:
    """Return when the link is operational: until then, a veth that was set up before its peer drops all that it sends.

    The kernel's link watch gives it its queueing discipline a moment after the peer is up. Since Linux 6.8 the request
    itself makes it run (`rtnl_getlink` in net/core/rtnetlink.c).
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    route_socket = RouteSocket()
    try:
        while (found := route_socket.get(encode_link_get(name))) and time.monotonic() < deadline:
            if bytes(find_attributes(found, IFINFOMSG.size, {IFLA_OPERSTATE}).get(IFLA_OPERSTATE, b"")) == IF_OPER_UP:
                return
            time.sleep(0.002)
    finally:
        route_socket.close()


def _encode_address(cidr: str, index: int) -> bytearray:
    """The message has scope link, so that the host does not use the address as the source of packets to other links."""
    interface = ip_interface(cidr)
    is_ipv4 = interface.version == 4
    family, scope = (socket.AF_INET, SCOPE_LINK) if is_ipv4 else (socket.AF_INET6, 0)
    body = IFADDRMSG.pack(family, interface.network.prefixlen, 0, scope, index)
    body += attribute(IFA_LOCAL, interface.ip.packed) + attribute(IFA_ADDRESS, interface.ip.packed)
    body += attribute(IFA_FLAGS, U32.pack(0 if is_ipv4 else IFA_F_NODAD))
    return message(RTM_NEWADDR, NEW, body)


def _request(*messages: bytearray, may_fail: bool = False) -> None:
    """Send messages in the calling thread's namespace. HostError with the kernel's words if it rejects one."""
    route_socket = RouteSocket()
    try:
        refusals = route_socket.request(messages)
    finally:
        route_socket.close()
    if refusals and not may_fail:
        raise HostError(f"cannot add a link for the probes: {refusals[0]}")
