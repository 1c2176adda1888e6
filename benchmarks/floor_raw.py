"""The second floor: raw batched netlink from Python, with no model, no plan and no check around it.

    python -m benchmarks.floor_raw apply 1000 ruleset.nft
    python -m benchmarks.floor_raw destroy 1000

One RTM_NEWLINK makes a pair, with the peer under its final name in its final namespace. One send carries a hundred messages, and
only the last of them asks for an acknowledgement. The module run.py measures it as a process, so Python's start is in its figure.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from pathlib import Path

from benchmarks.scenario import BRIDGE, BRIDGE_MAC, GATEWAY, GROUP, HOST, NETWORK, OUTSIDE, PREFIX, PROTOCOL, ROUTER, Wire, wires

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MNT_DETACH = 2
CREATE = 0x400 | 0x200  # NLM_F_CREATE | NLM_F_EXCL
NEWLINK, DELLINK, SETLINK, NEWADDR, NEWROUTE, NEWNEIGH, NEWLINKPROP = 16, 17, 19, 20, 24, 28, 108
UP = 1
BRIDGE_INDEX = 50
FIRST_PORT_INDEX = 1000


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def _setns(descriptor: int) -> None:
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def _attribute(number: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), number) + data + b"\0" * (-len(data) & 3)


def _text(number: int, value: str) -> bytes:
    return _attribute(number, value.encode() + b"\0")


def _u32(number: int, value: int) -> bytes:
    return _attribute(number, struct.pack("=I", value))


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _message(kind: int, flags: int, body: bytes) -> bytearray:
    return bytearray(struct.pack("=IHHII", 16 + len(body), kind, flags | 1, 0, 0) + body)


def _link_header(index: int = 0, up: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, up, up)


def _address(index: int, address: str, prefix: int) -> bytearray:
    """With IFA_F_NOPREFIXROUTE (IFA_FLAGS): the connected route is added by itself."""
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBI", 2, prefix, 0, 0, index) + _attribute(2, packed) + _attribute(1, packed) + _u32(8, 0x200)
    return _message(NEWADDR, CREATE, body)


def _route(index: int, prefix: int, target: str = "", via: str = "") -> bytearray:
    scope = 0 if via else 253  # universe, link
    body = struct.pack("=8BI", 2, prefix, 0, 0, 254, PROTOCOL, scope, 1, 0) + _u32(4, index)
    if target:
        body += _attribute(1, socket.inet_aton(target))
    if via:
        body += _attribute(5, socket.inet_aton(via))
    return _message(NEWROUTE, CREATE, body)


def _neighbor(index: int, address: str, mac: str) -> bytearray:
    permanent = 0x80
    body = struct.pack("=BxHiHBB", 2, 0, index, permanent, 0, 0)
    body += _attribute(1, socket.inet_aton(address)) + _attribute(2, _mac(mac)) + _attribute(12, bytes([PROTOCOL]))
    return _message(NEWNEIGH, CREATE, body)


def _veth(wire: Wire, index: int, namespace: int, master: int) -> list[bytearray]:
    """The pair in one message; alias, port options and altname in others, since the kernel ignores them in the first."""
    peer = _link_header() + _text(3, "eth0") + _attribute(1, _mac(wire.mac)) + _u32(28, namespace)
    info = _text(1, "veth") + _attribute(2, _attribute(1, peer))
    body = _text(3, wire.port_name) + _u32(10, master) + _u32(27, GROUP) + _attribute(18, info)
    port = _attribute(4, b"\x01")  # IFLA_BRPORT_MODE: hairpin
    silent = _attribute(26, _attribute(10, _attribute(8, b"\x01")))  # AF_INET6, IFLA_INET6_ADDR_GEN_MODE: none
    messages = [
        _message(NEWLINK, CREATE, _link_header(index, UP) + body),
        _message(NEWLINK, 0, _link_header(index) + _text(20, wire.alias) + silent),
        _message(SETLINK, 0, struct.pack("=BxHiII", 7, 0, index, 0, 0) + _attribute(12 | 0x8000, port)),
    ]
    if wire.altname != wire.port_name:
        body = _link_header(index) + _attribute(52 | 0x8000, _text(53, wire.altname))
        messages.append(_message(NEWLINKPROP, CREATE, body))
    return messages


class Netlink:
    """A socket of one namespace, and one send per batch."""

    def __init__(self) -> None:
        """Open it in the namespace that the thread is in; there it stays."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sequence = 0

    def run(self, messages: list[bytearray], chunk: int = 100) -> None:
        """Send them all; RuntimeError names the first that the kernel refused."""
        for start in range(0, len(messages), chunk):
            part = messages[start : start + chunk]
            for position, message in enumerate(part):
                self._sequence += 1
                acknowledge = 4 if position == len(part) - 1 else 0
                flags = struct.unpack_from("=H", message, 6)[0] | acknowledge
                struct.pack_into("=HI", message, 6, flags, self._sequence)
            self._socket.send(b"".join(part))
            self._await(self._sequence)

    def _await(self, last: int) -> None:
        while True:
            data = self._socket.recv(1 << 18)
            offset = 0
            while offset < len(data):
                length, kind, _, sequence = struct.unpack_from("=IHHI", data, offset)
                if kind == 2:  # NLMSG_ERROR, which is also the acknowledgement
                    error = -struct.unpack_from("=i", data, offset + 16)[0]
                    if error:
                        raise RuntimeError(f"message {sequence} of {last}: {os.strerror(error)}")
                    if sequence == last:
                        return
                offset += (length + 3) & ~3


def _new_namespace(name: str) -> int:
    """Make it, enter it, mount it under /run/netns, and give a descriptor of it."""
    path = f"/run/netns/{name}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0))
    _check(_libc.unshare(CLONE_NEWNET), "unshare")
    _check(_libc.mount(b"/proc/thread-self/ns/net", path.encode(), None, MS_BIND, None), "mount")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, value.encode())
    os.close(descriptor)


def _lab() -> tuple[int, Netlink]:
    """Router, world outside and the host alpha; gives alpha's descriptor and socket, and leaves the thread in alpha."""
    outside = _new_namespace(OUTSIDE)
    outside_socket = Netlink()
    host = _new_namespace(HOST)
    host_socket = Netlink()
    _new_namespace(ROUTER)
    router_socket = Netlink()
    _write("/proc/sys/net/ipv4/ip_forward", "1")
    bridge = _text(3, "br0") + _attribute(18, _text(1, "bridge") + _attribute(2, _u32(1, 0)))
    router_socket.run(
        [
            _message(NEWLINK, 0, _link_header(1, UP)),
            _message(NEWLINK, CREATE, _link_header(10, UP) + bridge),
            _address(10, "192.0.2.1", 24),
            _route(10, 24, "192.0.2.0"),
            _plain_veth(11, "p-alpha", host, master=10),
            _plain_veth(12, "p-outside", outside),
            _address(12, "203.0.113.1", 24),
            _route(12, 24, "203.0.113.0"),
        ]
    )
    outside_socket.run(_uplink("203.0.113.10", "203.0.113.0", "203.0.113.1"))
    host_socket.run(_uplink("192.0.2.11", "192.0.2.0", "192.0.2.1"))
    _setns(host)
    _write("/proc/sys/net/ipv4/ip_forward", "1")
    return host, host_socket


def _plain_veth(index: int, name: str, namespace: int, master: int = 0) -> bytearray:
    peer = _link_header() + _text(3, "eth0") + _u32(28, namespace)
    body = _text(3, name) + (_u32(10, master) if master else b"")
    body += _attribute(18, _text(1, "veth") + _attribute(2, _attribute(1, peer)))
    return _message(NEWLINK, CREATE, _link_header(index, UP) + body)


def _uplink(address: str, network: str, gateway: str) -> list[bytearray]:
    """The only link of a new namespace is lo, so the first veth that appears in it has index 2."""
    return [
        _message(NEWLINK, 0, _link_header(1, UP)),
        _message(NEWLINK, 0, _link_header(2, UP)),
        _address(2, address, 24),
        _route(2, 24, network),
        _route(2, 0, via=gateway),
    ]


def apply_raw(links: list[Wire], ruleset: str) -> None:
    """Make everything."""
    host, host_socket = _lab()
    _load(ruleset)
    # IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING
    options = _u32(1, 0) + _u32(5, 0) + _attribute(23, b"\x00")
    bridge = _text(3, BRIDGE) + _attribute(1, _mac(BRIDGE_MAC)) + _u32(27, GROUP)
    bridge += _attribute(18, _text(1, "bridge") + _attribute(2, options))
    host_socket.run(
        [
            _message(NEWLINK, CREATE, _link_header(BRIDGE_INDEX, UP) + bridge),
            _address(BRIDGE_INDEX, GATEWAY, PREFIX),
            _route(BRIDGE_INDEX, PREFIX, NETWORK),
        ]
    )
    places: list[tuple[int, Netlink]] = []
    for wire in links:
        namespace = _new_namespace(wire.netns)
        _write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
        places.append((namespace, Netlink()))
    _setns(host)
    messages = []
    for number, wire in enumerate(links):
        messages += _veth(wire, FIRST_PORT_INDEX + number, places[number][0], BRIDGE_INDEX)
        messages.append(_neighbor(BRIDGE_INDEX, wire.address, wire.mac))
    host_socket.run(messages)
    for wire, (_, inside) in zip(links, places, strict=True):
        inside.run(
            [
                _message(NEWLINK, 0, _link_header(1, UP)),
                _message(NEWLINK, 0, _link_header(2, UP)),
                _address(2, wire.address, PREFIX),
                _route(2, PREFIX, NETWORK),
                _route(2, 0, via=GATEWAY),
                _neighbor(2, GATEWAY, BRIDGE_MAC),
            ]
        )


def _load(text: str) -> None:
    """One transaction through libnftables, in the namespace that the thread is in."""
    import nftables

    status, _, error = nftables.Nftables().cmd(text)
    if status:
        raise RuntimeError(error)


def destroy_raw(links: list[Wire]) -> None:
    """Links by their group in one message, then the namespaces."""
    _setns(os.open(f"/run/netns/{HOST}", os.O_RDONLY | os.O_CLOEXEC))
    Netlink().run([_message(DELLINK, 0, _link_header() + _u32(27, GROUP))])
    for name in [w.netns for w in links] + [HOST, ROUTER, OUTSIDE]:
        path = f"/run/netns/{name}"
        _check(_libc.umount2(path.encode(), MNT_DETACH), path)
        Path(path).unlink()


def add_port(text: str) -> None:
    """One element more, in the host's namespace."""
    _setns(os.open(f"/run/netns/{HOST}", os.O_RDONLY | os.O_CLOEXEC))
    _load(text)


def main() -> None:
    """Do what the command line says."""
    verb, argument = sys.argv[1], sys.argv[2]
    if verb == "apply":
        apply_raw(wires(int(argument)), Path(sys.argv[3]).read_text())
    elif verb == "destroy":
        destroy_raw(wires(int(argument)))
    else:
        add_port(argument)


if __name__ == "__main__":
    main()
