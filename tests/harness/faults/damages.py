"""Every single thing that can be broken of what netctl has made in a machine, found by looking at the machine.

The list comes from `ip`, `bridge`, `nft` and /proc, not from netctl's own records. So a kind or an attribute that netctl
forgets is in it all the same. A damage is one command, as an administrator may run it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.harness.machine import Machine

PORT_FLAGS = ("hairpin", "learning", "flood", "mcast_flood", "bcast_flood", "isolated", "locked", "neigh_suppress")
"""Flags of a bridge port that decide which frames pass (bridge(8))."""
BRIDGE_FLAGS = ("stp_state", "mcast_snooping")
"""The same of a bridge (ip-link(8))."""
SETTINGS = {
    "bridge": (
        "ipv4/conf/NAME/rp_filter",
        "ipv4/conf/NAME/route_localnet",
        "ipv4/conf/NAME/forwarding",
        "ipv6/conf/NAME/forwarding",
        "ipv6/conf/NAME/disable_ipv6",
        "ipv6/conf/NAME/accept_ra",
        "ipv4/neigh/NAME/mcast_solicit",
        "ipv6/neigh/NAME/mcast_solicit",
    ),
    "macvlan": ("ipv4/conf/NAME/arp_ignore", "ipv4/conf/NAME/rp_filter", "ipv6/conf/NAME/accept_ra"),
    "veth": ("ipv6/conf/NAME/accept_ra", "ipv6/conf/NAME/disable_ipv6"),
}
"""Settings that decide whether packets pass, by the kind of the link (ip-sysctl.rst; docs/how-it-works.md)."""
MAC = "02:00:00:00:00:99"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is broken, the command that breaks it, and one that takes it back where netctl must not.

    Damages of one `form` are alike: the same is done to another link, address or chain.
    """

    what: str
    form: str
    command: str
    undo: str = ""


def find_damages(machine: Machine, topology: str) -> Iterator[Damage]:
    """All of a machine's, in an order that is the same each time."""
    namespaces = sorted(name for name in machine.run("ls", "/run/netns").out.split() if name.startswith(f"{topology}."))
    for netns in ("", *(name for name in namespaces if not name.endswith((".lab.outside", ".lab.router")))):
        place = _Place(machine, netns, topology)
        yield from place.links()
        yield from place.addresses()
        yield from place.routes()
        yield from place.neighbors()
        yield from place.forwarding()
        yield from place.settings()
        yield from place.firewall()
    yield Damage("a command ended", "process", "pkill -9 -x sleep")


class _Place:
    """One network namespace: the machine's own (""), a host's of the lab or a container's."""

    def __init__(self, machine: Machine, netns: str, topology: str) -> None:
        self._machine, self._netns, self._topology = machine, netns, topology
        self._is_container = bool(netns) and ".lab." not in netns
        self._inside = ("nsenter", f"--net=/run/netns/{netns}") if netns else ()
        links = self._ask("ip", "-j", "-d", "link", "show")
        # In the machine's namespace those with netctl's mark, elsewhere all but the loopback.
        self._links = [one for one in links if one["ifname"] != "lo" and (netns or one.get("ifalias", "").startswith("netctl"))]
        addresses = self._ask("ip", "-j", "-6", "address", "show", "scope", "global")
        self._with_ipv6 = {link["ifname"] for link in addresses if link.get("addr_info")}
        self._names = {link["ifname"] for link in self._links}

    def _ask(self, *command: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._machine.run(*self._inside, *command).out or "[]")
        return found

    def _damage(self, form: str, name: str, *command: str, undo: tuple[str, ...] = ()) -> Damage:
        back = shlex.join([*self._inside, *undo]) if undo else ""
        where = "container" if self._is_container else "host"
        what = f"{self._netns or 'the machine'}: {form}: {name}"
        return Damage(what, f"{where}: {form}", shlex.join([*self._inside, *command]), back)

    def links(self) -> Iterator[Damage]:
        for link in self._links:
            name, info = link["ifname"], link.get("linkinfo", {})
            kind = info.get("info_kind", "")
            change = ("ip", "link", "set", "dev", name)
            yield self._damage(f"{kind} deleted", name, "ip", "link", "delete", "dev", name)
            yield self._damage(f"{kind} down", name, *change, "down")
            yield self._damage(f"{kind} of another MTU", name, *change, "mtu", "1300")
            yield self._damage(f"{kind} renamed", name, *change, "name", "renamed0")
            # The group says whose a link is: without it, it is a foreign one under netctl's name, and refused.
            if not self._is_container:
                yield self._damage(
                    f"{kind} of another group", name, *change, "group", "99", undo=(*change, "group", link["group"])
                )
            yield self._damage(f"{kind} without ARP", name, *change, "arp", "off")
            if "ifalias" in link:
                yield self._damage(f"{kind} of another alias", name, *change, "alias", "theirs")
            for altname in link.get("altnames", ()):
                yield self._damage(
                    f"{kind} without altname", name, "ip", "link", "property", "del", "dev", name, "altname", altname
                )
            # No node speaks to a port's own address.
            if info.get("info_slave_kind") != "bridge" or kind == "vxlan":
                yield self._damage(f"{kind} of another address", name, *change, "address", MAC)
            if kind == "veth":
                queue = ("tc", "qdisc", "replace", "dev", name, "root", "pfifo", "limit", "1")
                yield self._damage("veth with a foreign queue", name, *queue)
            yield from self._ports(name, info)

    def _ports(self, name: str, info: dict[str, Any]) -> Iterator[Damage]:
        if info.get("info_kind") == "bridge":
            for flag in BRIDGE_FLAGS:
                value = str(1 - int(info["info_data"][flag]))
                yield self._damage(f"bridge, {flag}", name, "ip", "link", "set", "dev", name, "type", "bridge", flag, value)
        if info.get("info_slave_kind") == "bridge":
            yield self._damage("port without bridge", name, "ip", "link", "set", "dev", name, "nomaster")
            yield self._damage("port disabled", name, "bridge", "link", "set", "dev", name, "state", "0")
            for flag in PORT_FLAGS:
                value = "off" if info["info_slave_data"][flag] else "on"
                yield self._damage(f"port, {flag}", name, "bridge", "link", "set", "dev", name, flag, value)

    def addresses(self) -> Iterator[Damage]:
        for link in self._ask("ip", "-j", "address", "show"):
            for one in link["addr_info"] if link["ifname"] in self._names else ():
                if one["scope"] != "link" or one["family"] == "inet":
                    cidr = f"{one['local']}/{one['prefixlen']}"
                    yield self._damage(
                        f"{one['family']} address deleted", cidr, "ip", "address", "delete", cidr, "dev", link["ifname"]
                    )

    def routes(self) -> Iterator[Damage]:
        for family in ("-4", "-6"):
            for route in self._ask("ip", "-j", family, "route", "show"):
                if route.get("dev") not in self._names or route.get("protocol") == "kernel":
                    continue
                words = (route["dst"], "dev", route["dev"])
                form = "default route" if route["dst"] == "default" else "route by a gateway" if "gateway" in route else "route"
                yield self._damage(f"{family} {form} deleted", route["dst"], "ip", family, "route", "delete", *words)
                # On a host, another metric makes it a second route, which is the administrator's.
                if "gateway" in route and self._is_container:
                    yield self._damage(f"{family} {form} without it", route["dst"], "ip", family, "route", "replace", *words)

    def neighbors(self) -> Iterator[Damage]:
        for one in self._ask("ip", "-j", "neighbor", "show", "nud", "permanent"):
            if one["dev"] in self._names:
                words, family = (one["dst"], "dev", one["dev"]), "inet6" if ":" in one["dst"] else "inet"
                yield self._damage(f"{family} neighbor deleted", one["dst"], "ip", "neighbor", "delete", *words)
                other = ("lladdr", MAC, "nud", "permanent")
                yield self._damage(f"{family} neighbor elsewhere", one["dst"], "ip", "neighbor", "replace", *words, *other)

    def forwarding(self) -> Iterator[Damage]:
        for entry in self._ask("bridge", "-j", "fdb", "show"):
            if entry["ifname"] in self._names and ("dst" in entry or "sticky" in entry.get("flags", ())):
                way = ("dst", entry["dst"], "self") if "dst" in entry else ("master",)
                words = (entry["mac"], "dev", entry["ifname"], *way)
                yield self._damage("forwarding entry deleted", entry["mac"], "bridge", "fdb", "delete", *words)

    def settings(self) -> Iterator[Damage]:
        for link in self._links:
            info = link.get("linkinfo", {})
            kind = info.get("info_kind", "")
            # Those of the host's own macvlan, of bridges, and of the cables of containers; a port has none.
            is_cable_of_lab = kind == "veth" and ".lab." in self._netns
            is_containers_macvlan = kind == "macvlan" and bool(self._netns)
            has_none = info.get("info_slave_kind") == "bridge" or is_cable_of_lab or is_containers_macvlan
            for key in SETTINGS.get(kind, ()) if not has_none else ():
                path = "/proc/sys/net/" + key.replace("NAME", link["ifname"])
                is_idle = key.startswith("ipv6") and link["ifname"] not in self._with_ipv6
                if is_idle and not (kind == "bridge" and key.endswith("accept_ra")):
                    continue  # without an IPv6 address it has no effect
                held = self._machine.run(*self._inside, "sh", "-c", f"cat {path} 2>/dev/null || true").out.strip()
                if held:
                    other = "0" if held != "0" else "1"
                    yield self._damage(f"{key.replace('/NAME', '')}", link["ifname"], "sh", "-c", f"echo {other} > {path}")

    def firewall(self) -> Iterator[Damage]:
        listing = self._machine.run(*self._inside, "nft", "-j", "list", "ruleset").out
        for item in json.loads(listing or '{"nftables": []}')["nftables"]:
            kind, found = next(iter(item.items()))
            table = found.get("table", found.get("name", ""))
            if re.fullmatch(rf"netctl-{self._topology}(\..*)?", table):
                yield from self._nftables(kind, found["family"], table, found)

    def _nftables(self, kind: str, family: str, table: str, found: dict[str, Any]) -> Iterator[Damage]:
        place, name = (family, table, found.get("name", "")), found.get("name", "")
        if kind == "table":
            yield self._damage("table deleted", f"{family} {table}", "nft", "delete", "table", family, table)
        elif kind == "chain":
            yield self._damage(f"{family} chain with a foreign rule", name, "nft", "insert", "rule", *place, "accept")
            yield self._damage(f"{family} chain flushed", name, "nft", "flush", "chain", *place)
            where = " ".join(place)
            last = f"nft -a list chain {where} | sed -n 's/.* # handle \\([0-9]*\\)$/\\1/p' | tail -n 1"
            yield self._damage(f"{family} rule deleted", name, "sh", "-euc", f"nft delete rule {where} handle $({last})")
        elif kind in ("set", "map") and "elem" in found and "timeout" not in found:
            yield self._damage(f"elements of {family} {kind} gone", name, "nft", "flush", kind, *place)
