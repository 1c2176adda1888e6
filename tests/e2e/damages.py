"""Every single thing that can be broken of what netctl has made in a machine, found by looking at the machine.

Used by the tests of drift. The list comes from `ip`, `bridge`, `nft` and /proc, not from netctl's own records, so that a kind or
an attribute that netctl forgets is in it all the same. A damage is one command, as an administrator may run it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.machine import Machine

PORT_FLAGS = ("hairpin", "learning", "flood", "mcast_flood", "bcast_flood", "isolated", "locked", "neigh_suppress")
"""Flags of a bridge port that decide which frames pass (bridge(8))."""
BRIDGE_FLAGS = ("stp_state", "vlan_filtering", "mcast_snooping")
"""The same of a bridge (ip-link(8))."""
OWN_SETTINGS = (
    "ipv4/conf/*/rp_filter",
    "ipv4/conf/*/route_localnet",
    "ipv4/conf/*/forwarding",
    "ipv6/conf/*/forwarding",
    "ipv6/conf/*/disable_ipv6",
    "ipv6/conf/*/accept_ra",
)
"""Settings by interface that decide whether packets pass (ip-sysctl.rst)."""
MAC = "02:00:00:00:00:99"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is broken, for people, and the command that breaks it."""

    what: str
    command: str


def find_damages(machine: Machine, topology: str) -> Iterator[Damage]:
    """All of a machine's, in an order that is the same each time."""
    for netns in ("", *sorted(_list_namespaces(machine, topology))):
        links = _own_links(machine, netns)
        yield from _of_links(netns, links)
        yield from _of_addresses(machine, netns, {link["ifname"] for link in links})
        yield from _of_routes(machine, netns, {link["ifname"] for link in links})
        yield from _of_neighbors(machine, netns, {link["ifname"] for link in links})
        yield from _of_settings(machine, netns, {link["ifname"] for link in links})
        yield from _of_firewall(machine, netns, topology)
    yield from _of_processes(machine)


def _list_namespaces(machine: Machine, topology: str) -> Iterator[str]:
    for name in machine.run("ls", "/run/netns").out.split():
        if name.startswith(f"{topology}.") and not name.endswith((".lab.outside", ".lab.router")):
            yield name


def _ask(machine: Machine, netns: str, *command: str) -> list[dict[str, Any]]:
    text = machine.run(*_inside(netns), *command).out
    found: list[dict[str, Any]] = json.loads(text or "[]")
    return found


def _inside(netns: str) -> tuple[str, ...]:
    return ("nsenter", f"--net=/run/netns/{netns}") if netns else ()


def _damage(netns: str, what: str, *command: str) -> Damage:
    where = netns or "the machine"
    return Damage(f"{where}: {what}", shlex.join([*_inside(netns), *command]))


# --- links ------------------------------------------------------------------------------------------------------------


def _own_links(machine: Machine, netns: str) -> list[dict[str, Any]]:
    """Netctl's own: in the machine's namespace those with its mark, elsewhere all but the loopback."""
    links = _ask(machine, netns, "ip", "-j", "-d", "link", "show")
    return [link for link in links if link["ifname"] != "lo" and (netns or link.get("ifalias", "").startswith("netctl"))]


def _of_links(netns: str, links: list[dict[str, Any]]) -> Iterator[Damage]:
    for link in links:
        name, info = link["ifname"], link.get("linkinfo", {})
        kind = info.get("info_kind", "")
        set_link = ("ip", "link", "set", "dev", name)
        yield _damage(netns, f"{kind} {name} deleted", "ip", "link", "delete", "dev", name)
        yield _damage(netns, f"{kind} {name} down", *set_link, "down")
        yield _damage(netns, f"{kind} {name} smaller", *set_link, "mtu", "1300")
        yield _damage(netns, f"{kind} {name} renamed", *set_link, "name", "renamed0")
        yield _damage(netns, f"{kind} {name} of another group", *set_link, "group", "99")
        if "ifalias" in link:
            yield _damage(netns, f"{kind} {name} of another alias", *set_link, "alias", "theirs")
        for altname in link.get("altnames", ()):
            words = ("ip", "link", "property", "del", "dev", name, "altname", altname)
            yield _damage(netns, f"{kind} {name} without {altname}", *words)
        # A bridge port's own address is used by no one.
        if info.get("info_slave_kind") != "bridge" or kind == "vxlan":
            yield _damage(netns, f"{kind} {name} of another address", *set_link, "address", MAC)
        yield from _of_ports(netns, name, info)
        queue = ("tc", "qdisc", "replace", "dev", name, "root", "pfifo", "limit", "1")
        yield _damage(netns, f"{kind} {name} with a queue of others", *queue)


def _of_ports(netns: str, name: str, info: dict[str, Any]) -> Iterator[Damage]:
    if info.get("info_kind") == "bridge":
        data = info["info_data"]
        for flag in BRIDGE_FLAGS:
            value = str(1 - int(data[flag]))
            words = ("ip", "link", "set", "dev", name, "type", "bridge", flag, value)
            yield _damage(netns, f"bridge {name}, {flag} {value}", *words)
    if info.get("info_slave_kind") == "bridge":
        yield _damage(netns, f"port {name} without bridge", "ip", "link", "set", "dev", name, "nomaster")
        yield _damage(netns, f"port {name} disabled", "bridge", "link", "set", "dev", name, "state", "0")
        for flag in PORT_FLAGS:
            value = "off" if info["info_slave_data"][flag] else "on"
            yield _damage(netns, f"port {name}, {flag} {value}", "bridge", "link", "set", "dev", name, flag, value)


# --- addresses, routes, neighbors, settings ---------------------------------------------------------------------------


def _of_addresses(machine: Machine, netns: str, names: set[str]) -> Iterator[Damage]:
    for link in _ask(machine, netns, "ip", "-j", "address", "show"):
        for one in link["addr_info"] if link["ifname"] in names else ():
            cidr = f"{one['local']}/{one['prefixlen']}"
            if one["scope"] != "link" or one["family"] == "inet":
                yield _damage(netns, f"address {cidr} deleted", "ip", "address", "delete", cidr, "dev", link["ifname"])


def _of_routes(machine: Machine, netns: str, names: set[str]) -> Iterator[Damage]:
    for family in ("-4", "-6"):
        for route in _ask(machine, netns, "ip", "-j", family, "route", "show"):
            if route.get("dev") not in names or route.get("protocol") == "kernel":
                continue
            words = (route["dst"], "dev", route["dev"])
            yield _damage(netns, f"route {route['dst']} deleted", "ip", family, "route", "delete", *words)
            if "gateway" in route:
                yield _damage(netns, f"route {route['dst']} without gateway", "ip", family, "route", "replace", *words)


def _of_neighbors(machine: Machine, netns: str, names: set[str]) -> Iterator[Damage]:
    for one in _ask(machine, netns, "ip", "-j", "neighbor", "show", "nud", "permanent"):
        if one["dev"] in names:
            words = (one["dst"], "dev", one["dev"])
            yield _damage(netns, f"neighbor {one['dst']} deleted", "ip", "neighbor", "delete", *words)
            other = ("lladdr", MAC, "nud", "permanent")
            yield _damage(netns, f"neighbor {one['dst']} elsewhere", "ip", "neighbor", "replace", *words, *other)
    for entry in _ask(machine, netns, "bridge", "-j", "fdb", "show"):
        if entry["ifname"] in names and ("dst" in entry or "sticky" in entry.get("flags", ())):
            way = ("dst", entry["dst"], "self") if "dst" in entry else ("master",)
            words = (entry["mac"], "dev", entry["ifname"], *way)
            yield _damage(netns, f"forwarding entry {entry['mac']} deleted", "bridge", "fdb", "delete", *words)


def _of_settings(machine: Machine, netns: str, names: set[str]) -> Iterator[Damage]:
    """Those that netctl has set, seen by that their value is not a new link's."""
    for pattern in OWN_SETTINGS:
        text = machine.run(*_inside(netns), "sh", "-c", f"grep -s . /proc/sys/net/{pattern}").out
        for line in text.splitlines():
            path, _, value = line.partition(":")
            if path.split("/")[-2] in names:
                other = "0" if value != "0" else "1"
                yield _damage(netns, f"{path} {other}", "sh", "-c", f"echo {other} > {path}")


# --- firewall and processes -------------------------------------------------------------------------------------------


def _of_firewall(machine: Machine, netns: str, topology: str) -> Iterator[Damage]:
    listing = machine.run(*_inside(netns), "nft", "-j", "list", "ruleset").out
    chains: dict[tuple[str, str, str], None] = {}
    for item in json.loads(listing or '{"nftables": []}')["nftables"]:
        kind, found = next(iter(item.items()))
        family, table = found.get("family", ""), found.get("table", found.get("name", ""))
        if not table.startswith(f"netctl-{topology}"):
            continue
        if kind == "table":
            yield _damage(netns, f"table {family} {table} deleted", "nft", "delete", "table", family, table)
        elif kind == "chain":
            where = (family, table, found["name"])
            yield _damage(netns, f"chain {found['name']} flushed", "nft", "flush", "chain", *where)
            yield _damage(netns, f"chain {found['name']} with a rule", "nft", "insert", "rule", *where, "accept")
        elif kind == "rule":
            chains[family, table, found["chain"]] = None
        elif kind in ("set", "map") and "elem" in found:
            yield _damage(netns, f"{kind} {found['name']} emptied", "nft", "flush", "set", family, table, found["name"])
    for family, table, chain in chains:
        place = f"{family} {table} {chain}"
        find = f"nft -a list chain {place} | sed -n 's/.* # handle //p' | tail -1"
        yield _damage(netns, f"last rule of {place} deleted", "sh", "-euc", f"nft delete rule {place} handle $({find})")


def _of_processes(machine: Machine) -> Iterator[Damage]:
    yield _damage("", "a command ended", "pkill", "-9", "-x", "sleep")
