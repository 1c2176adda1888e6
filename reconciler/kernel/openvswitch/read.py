"""A host's Open vSwitch: its bridges, netctl's flows, and the offloads that matter to its user-space datapath.

A host without Open vSwitch in its file is read, too, if a socket exists, because an earlier file may have had one. That
costs 60 ms, most of it the library. Only then a silent server counts as absent: a stale socket, on a host without a
link of netctl's at such a bridge.
"""

from __future__ import annotations

import shutil
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink.ethtool import read_offloads
from reconciler.kernel.netlink.rtnetlink import NLM_F_REQUEST, NLMSG_ERROR
from reconciler.kernel.openvswitch.openflow import TOOL, read_flows, read_fragments
from reconciler.kernel.openvswitch.ovsdb import Ovsdb, is_there, read_bridges
from reconciler.kernel.run_directory.notes import read_openvswitch, remove_openvswitch
from reconciler.kinds.links import PORTS
from reconciler.kinds.links.marks import is_direct
from reconciler.kinds.links.veth import Veth, find_peer
from reconciler.kinds.openvswitch.bridge import USERSPACE, is_uplink_port, own_switches
from reconciler.kinds.settings.offload import GRO, TX
from reconciler.kinds.uplink import is_netctls
from reconciler.state.naming import cookie_of, group_of
from reconciler.state.ref import HOST
from reconciler.state.snapshot import NamespaceInfo, Snapshot
from reconciler.state.steps.openvswitch import OVS_TOPOLOGY

KERNEL: Final = "system"
INTERNAL_KINDS = ("tun", "openvswitch")
"""The kernel's kinds of an internal port, of the user-space datapath and of its own."""
START = "install and start it: apt-get install openvswitch-switch; systemctl start openvswitch-switch"
GENERIC, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME = 16, 16, 3, 2  # linux/netlink.h, linux/genetlink.h
FAMILY = b"ovs_datapath\0"


def read_switches(namespaces: Namespaces, snapshot: Snapshot) -> Snapshot:
    """The snapshot with Open vSwitch's contents. HostError if netctl's may be there, and the database does not answer."""
    url = namespaces.context.openvswitch
    if not url or not is_there(url):
        return snapshot
    try:
        with Ovsdb(url) as database:
            snapshot = replace(snapshot, ovs_bridges=read_bridges(database))
    except HostError:
        if _has_internal_port(snapshot):
            raise
        return snapshot
    snapshot = _with_masters(snapshot)
    cookie = cookie_of(snapshot.topology)
    own = [bridge.name for bridge, link in own_switches(snapshot) if link]
    flows = tuple(flow for bridge in own for flow in read_flows(url, bridge, cookie))
    fragments = {bridge: read_fragments(url, bridge) for bridge in own}
    bridges = tuple(replace(bridge, fragments=fragments.get(bridge.name, "")) for bridge in snapshot.ovs_bridges)
    snapshot = replace(snapshot, ovs_flows=flows, ovs_bridges=bridges)
    wanted: dict[str, list[tuple[str, str]]] = {}
    for netns, dev, feature in _minded(snapshot):
        wanted.setdefault(netns, []).append((dev, feature))
    return replace(
        snapshot, offloads=tuple(info for netns, pairs in wanted.items() for info in read_offloads(namespaces, netns, pairs))
    )


def forget_switch(context: KernelContext) -> None:
    """After a successful apply: delete the note of a database that has nothing of the topology any more."""
    if not (url := read_openvswitch(context)):
        return
    if is_there(url):
        with Ovsdb(url) as database:
            bridges = read_bridges(database)
        marked = [bridge.external_ids for bridge in bridges] + [port.external_ids for bridge in bridges for port in bridge.ports]
        if any(dict(external_ids).get(OVS_TOPOLOGY) == context.topology for external_ids in marked):
            return
    remove_openvswitch(context)


def _with_masters(snapshot: Snapshot) -> Snapshot:
    """The host's own links at Open vSwitch bridges get the bridge as their master, as on a Linux bridge.

    The kernel does not report it (user space), or reports one master for all bridges. A bridge with the host's uplink
    stands only for that link, not for one that an administrator has added.
    """
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    links = {link.name: link for link in host.links.values()}
    changed = dict(host.links)
    for bridge in snapshot.ovs_bridges:
        internal = links.get(bridge.name)
        for port in bridge.ports:
            link = links.get(port.name)
            if not internal or not link or is_netctls(link, snapshot.topology):
                continue
            if is_uplink_port(port) or not is_direct(internal.alias):
                changed[link.index] = replace(link, master=internal.index)
    return replace(snapshot, namespaces={**snapshot.namespaces, HOST: replace(host, links=changed)})


def _has_internal_port(snapshot: Snapshot) -> bool:
    group, host = group_of(snapshot.topology), snapshot.namespaces.get(HOST, NamespaceInfo())
    return any(link.group == group and link.kind in INTERNAL_KINDS for link in host.links.values())


def _minded(snapshot: Snapshot) -> Iterator[tuple[str, str, str]]:
    """Namespace, link and feature of what leads to a bridge in user space: containers' ends of veths, tunnels, and the uplink."""
    there = [port for bridge, _ in own_switches(snapshot) if bridge.datapath == USERSPACE for port in bridge.ports]
    yield from ((HOST, port.name, GRO) for port in there if is_uplink_port(port))
    ports = {port.name for port in there}
    for kind in PORTS:
        for link in kind.find_own(snapshot):
            if link.netns != HOST or link.info.name not in ports:
                continue
            if kind is not Veth:
                yield HOST, link.info.name, GRO
            elif peer := find_peer(snapshot, link):
                yield peer[0], peer[1].name, TX


# --- facts ------------------------------------------------------------------------------------------------------------


def read_fault(context: KernelContext) -> str:
    """The reason why Open vSwitch cannot be used on the host, a sentence with advice; "" if it can."""
    url = context.openvswitch
    if not url:
        return (
            "a lab host has no Open vSwitch of its own: start one in its namespace and name its socket (`openvswitch: unix:///…`)"
        )
    if shutil.which(TOOL) is None:
        return f"Open vSwitch is missing: {START}"
    try:
        with Ovsdb(url):
            pass
    except HostError:
        return f"Open vSwitch does not answer at {url}: {START}"
    except ImportError:
        return "the Python module ovs is missing: pip install ovs"
    if not any(_answers(path) for path in Path(url.removeprefix("unix:")).parent.glob("ovs-vswitchd.*.ctl")):
        return "ovs-vswitchd does not run: systemctl start openvswitch-switch"
    return ""


def _answers(path: Path) -> bool:
    """Whether a server listens: a killed daemon leaves its socket's file."""
    with socket.socket(socket.AF_UNIX) as channel:
        return channel.connect_ex(str(path)) == 0


def read_datapath() -> Literal["system", "netdev"]:
    """`system` if the kernel has Open vSwitch's module (its generic netlink family, which may load now), else `netdev`."""
    attribute = struct.pack("=HH", 4 + len(FAMILY), CTRL_ATTR_FAMILY_NAME) + FAMILY
    attribute += bytes(-len(attribute) % 4)
    body = struct.pack("=BBH", CTRL_CMD_GETFAMILY, 1, 0) + attribute
    message = struct.pack("=IHHII", 16 + len(body), GENL_ID_CTRL, NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, GENERIC) as channel:
        channel.send(message)
        kind = struct.unpack_from("=IH", channel.recv(65536))[1]
    return USERSPACE if kind == NLMSG_ERROR else KERNEL
