"""The kernel settings of interfaces that differ from those of a new interface: they are lost when it is deleted.

An interface has 130 settings, and reading them takes 2 ms. So they are read of one interface for all that look alike.
The dump of links has the settings under net.*.conf (IFLA_INET_CONF, IFLA_INET6_CONF), and RTM_GETNEIGHTBL those under
net.*.neigh.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from reconciler.errors import HostError
from reconciler.kernel.namespaces import Namespaces
from reconciler.kernel.netlink.rtnetlink import RouteSocket, parse_attributes
from reconciler.kinds.settings.link_settings import interface_key
from reconciler.state.record import InterfaceKey
from reconciler.state.ref import HOST
from reconciler.state.snapshot import Snapshot

Settings = dict[str, str]
"""Values by key."""

DEFAULTS = 0
"""In place of an interface's number: the initial values of a new one (neigh_parms_alloc, net/core/neighbour.c)."""
RTM_NEWNEIGHTBL, RTM_GETNEIGHTBL = 64, 66  # linux/rtnetlink.h
NDTMSG = struct.Struct("=BBH")
NDTA_PARMS, NDTPA_IFINDEX, NDTPA_REFCNT, NDTPA_REACHABLE_TIME = 6, 1, 2, 3  # linux/neighbour.h; the last one is random
FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 6}
OF_THE_LINK = frozenset(("addr_gen_mode", "mtu"))
"""Settings that are also attributes of a link, and part of its record."""


def read_changed_settings(
    namespaces: Namespaces, snapshot: Snapshot, interfaces: Iterable[InterfaceKey], families: Collection[int] = (4, 6)
) -> dict[str, Settings]:
    """By namespace: the settings of these interfaces that a new one would not have. HostError if they cannot be read."""
    found: dict[str, Settings] = {}
    try:
        for group, alike in _group(namespaces, snapshot, interfaces):
            netns, dev = alike[0]
            values = namespaces.run(netns, lambda group=group, dev=dev: dict(_read_changed(group, dev)))  # type: ignore[misc]
            for interface, name in alike:
                keys = {
                    interface_key(family, name, setting, group): value
                    for (family, setting), value in values.items()
                    if family in families
                }
                found.setdefault(interface, {}).update(keys)
    except OSError as error:
        raise HostError(f"cannot read kernel settings of interfaces: {error.strerror or error}") from error
    return found


def _group(
    namespaces: Namespaces, snapshot: Snapshot, interfaces: Iterable[InterfaceKey]
) -> Iterator[tuple[str, list[InterfaceKey]]]:
    """The interfaces with the same settings, by the group of settings."""
    conf: dict[tuple[bool, bytes], list[InterfaceKey]] = {}
    neigh: dict[object, list[InterfaceKey]] = {}
    for netns, names in groupby(sorted(set(interfaces)), key=itemgetter(0)):
        namespace = snapshot.namespaces.get(netns)
        if namespace is None:
            continue
        links = {link.name: link for link in namespace.links.values()}
        table = _read_neighbor_settings(namespaces.socket(netns))
        for interface in names:
            if link := links.get(interface[1]):
                conf.setdefault((netns == HOST, link.settings), []).append(interface)
                if (own := table.get(link.index)) and own != table.get(DEFAULTS):
                    neigh.setdefault(own, []).append(interface)
    yield from (("conf", alike) for alike in conf.values())
    yield from (("neigh", alike) for alike in neigh.values())


def _read_neighbor_settings(route_socket: RouteSocket) -> Mapping[int, object]:
    """By number of an interface: the settings of its neighbor tables, for comparison."""
    found: dict[int, tuple[tuple[int, int, bytes], ...]] = {}
    for kind, data in route_socket.dump(RTM_GETNEIGHTBL, NDTMSG.pack(0, 0, 0)):
        if kind != RTM_NEWNEIGHTBL or data[0] not in FAMILIES:
            continue
        family = data[0]
        for number, value in parse_attributes(data, NDTMSG.size):
            if number != NDTA_PARMS:
                continue
            attributes = {name: bytes(each) for name, each in parse_attributes(value)}
            index = int.from_bytes(attributes.pop(NDTPA_IFINDEX, b""), sys.byteorder)
            settings = (
                (family, name, each) for name, each in attributes.items() if name not in (NDTPA_REFCNT, NDTPA_REACHABLE_TIME)
            )
            found[index] = (*found.get(index, ()), *settings)
    return found


def _read_changed(group: str, dev: str) -> Iterator[tuple[tuple[int, str], str]]:
    """The settings that a new interface of the calling thread's namespace would not have, by family and name.

    net.*.neigh has a `default` in the first namespace only (neigh_sysctl_register, net/core/neighbour.c); in others the
    loopback has the initial values.
    """
    for family in FAMILIES.values():
        folder = f"/proc/sys/net/ipv{family}/{group}"
        new = _read_directory(f"{folder}/default") or _read_directory(f"{folder}/lo")
        own = _read_directory(f"{folder}/{dev}")
        for name, value in own.items():
            if name in new and value != new[name] and name not in OF_THE_LINK:
                yield (family, name), value


def _read_directory(path: str) -> Settings:
    """The settings in a directory, without unreadable ones such as a secret that was never set."""
    found: Settings = {}
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return {}
    for name in names:
        try:
            with open(f"{path}/{name}", "rb", buffering=0) as file:
                found[name] = " ".join(file.read().decode().split())
        except OSError:
            continue
    return found
