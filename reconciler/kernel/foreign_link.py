"""A link of the host that is not netctl's, made for the time of a verification: what another bridge of the host would send.

It is a veth pair: one end in the host's namespace, the other in a namespace without a name, which stands for a container of
somebody else. Both exist only as long as this process holds the nameless namespace: when the process ends, also by SIGKILL,
the kernel deletes the namespace and the pair with it. So no later command has to look for leftovers, and the host's end needs
no mark of ownership: a `diff` at the same time sees a foreign link, which is what it is.

The host's end has an address, and so a route back to the far end: without one, a host that checks sources (rp_filter 1) drops
all that comes in, and a probe would find a closed door where every real bridge finds an open one.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_interface

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
from reconciler.state.naming import interface_name, mac_of
from reconciler.state.steps.links import LinkAdd, LinkDelete, LinkSet, Peer
from reconciler.state.uapi import SCOPE_LINK

MTU = 1500
IFLA_OPERSTATE, IF_OPER_UP = 16, b"\x06"  # linux/if_link.h, linux/if.h
READY_TIMEOUT_S = 1.0
"""The kernel's link watch runs at most this much later (net/core/link_watch.c)."""


@dataclass(frozen=True, slots=True)
class ForeignEnds:
    """Both ends of the pair: the host's with its name and hardware address, the far one, and the addresses of each as CIDRs."""

    name: str
    mac: str
    alias: str
    cidrs: tuple[str, ...]
    far_name: str
    far_cidrs: tuple[str, ...]


def foreign_ends(topology: str) -> ForeignEnds:
    """The ends for a topology: two addresses of each family from its name, so that two topologies on one host do not collide.

    IPv4 link-local addresses (RFC 3927) from 169.254.64.0/18, where no cloud has its services, and unique local ones for IPv6
    (RFC 4193): neither has a way out of the host.
    """
    digest = sha256(f"foreign link of {topology}".encode()).digest()
    four = IPv4Address("169.254.64.0") + int.from_bytes(digest[:2], "big") % 4096 * 4
    six = IPv6Address(b"\xfd" + digest[2:15] + b"\0\0")
    return ForeignEnds(
        name=interface_name("n-", topology, "verify"),
        mac=mac_of(topology, "verify"),
        alias=f"netctl verify of {topology}",
        cidrs=(f"{four + 1}/30", f"{six + 1}/126"),
        far_name="eth0",
        far_cidrs=(f"{four + 2}/30", f"{six + 2}/126"),
    )


class ProbeLink:
    """The pair. `path` is the file of the nameless namespace."""

    def __init__(self, host_path: str, ends: ForeignEnds) -> None:
        """Make it and set it up. `host_path` is the file of the host's namespace. HostError if the kernel refuses something."""
        self._far = self._near = -1
        self._ends = ends
        try:
            self._near = os.open(host_path, os.O_RDONLY | os.O_CLOEXEC)
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
        return f"/proc/self/fd/{self._far}"

    def close(self) -> None:
        """Delete the pair, and let go of the namespace. May be called again."""
        far, near = self._far, self._near
        self._far = self._near = -1
        if far >= 0:
            with suppress(OSError, HostError):  # then the kernel deletes it a moment later
                run_in_thread(lambda: _delete(f"/proc/self/fd/{far}", self._ends.far_name))
        for descriptor in (far, near):
            if descriptor >= 0:
                os.close(descriptor)

    def _make(self, host_path: str) -> None:
        """In a thread that ends afterwards."""
        ends, around = self._ends, _Around(self._near)
        leave_for_new()
        self._far = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        peer = Peer("", ends.name, ends.mac, MTU)
        _request(encode_loopback_up(), encode(LinkAdd("", ends.far_name, "veth", "", MTU, 0, peer=peer), around))
        _set_up(ends.far_name, ends.far_cidrs)
        enter(host_path)
        _request(encode(LinkSet("", ends.name, alias=ends.alias), around))
        _set_up(ends.name, ends.cidrs)
        enter(self.path)
        _wait_until_it_sends(ends.far_name)


class _Around:
    """What a message names by number: here, only the host's namespace."""

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
    """Addresses with their connected routes, and the link up, without link-local chatter if the kernel has IPv6 there."""
    _request(encode(LinkSet("", name, link_local=False), _Around(-1)), may_fail=True)
    _request(encode(LinkSet("", name, up=True), _Around(-1)))
    route_socket = RouteSocket()
    try:
        found = route_socket.get(encode_link_get(name))
        index = IFINFOMSG.unpack_from(found)[2] if found else 0
    finally:
        route_socket.close()
    for cidr in cidrs:  # a host without IPv6 refuses the second one, and has nothing to ask by it
        _request(_encode_address(cidr, index), may_fail=":" in cidr)


def _wait_until_it_sends(name: str) -> None:
    """Return when the link is operational: until then, a veth that was set up before its peer drops all that it is to send.

    The kernel's link watch gives it its queue a moment after the peer is up. Since Linux 6.8 the question itself makes it run
    (`rtnl_getlink` in net/core/rtnetlink.c).
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
    """Of scope link, so that the host does not choose it as the source of what goes elsewhere."""
    interface = ip_interface(cidr)
    is_ipv4 = interface.version == 4
    family, scope = (socket.AF_INET, SCOPE_LINK) if is_ipv4 else (socket.AF_INET6, 0)
    body = IFADDRMSG.pack(family, interface.network.prefixlen, 0, scope, index)
    body += attribute(IFA_LOCAL, interface.ip.packed) + attribute(IFA_ADDRESS, interface.ip.packed)
    body += attribute(IFA_FLAGS, U32.pack(0 if is_ipv4 else IFA_F_NODAD))
    return message(RTM_NEWADDR, NEW, body)


def _request(*messages: bytearray, may_fail: bool = False) -> None:
    """Send messages in the calling thread's namespace. HostError with the kernel's words if it refuses one."""
    route_socket = RouteSocket()
    try:
        refusals = route_socket.request(messages)
    finally:
        route_socket.close()
    if refusals and not may_fail:
        raise HostError(f"cannot add a link for the probes: {refusals[0]}")
