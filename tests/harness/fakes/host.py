"""A host in memory that obeys the kernel's rules: what exists already, what is missing, and what goes along with what.

It carries out the same steps as `kernel.executor.KernelHost`, and gives a Snapshot that the kinds recognise things in. One
contract suite (tests/contract/test_contract.py) runs on both, so that this one cannot drift from the kernel.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from ipaddress import IPv6Address, ip_interface, ip_network

from reconciler.kinds.firewall.program import WAYS
from reconciler.plan.order import Batch
from reconciler.state.ref import HOST
from reconciler.state.snapshot import (
    ProcessInfo,
    Snapshot,
    TableInfo,
)
from reconciler.state.steps import backends
from reconciler.state.steps.addresses import (
    AddressAdd,
    AddressDelete,
    Announce,
    FdbAdd,
    FdbDelete,
    NeighborAdd,
    NeighborDelete,
    RouteAdd,
    RouteDelete,
)
from reconciler.state.steps.containers import ProcessStart, ProcessStop
from reconciler.state.steps.firewall import ConntrackFlush, NftCommand
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkDelete, LinkSet
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete, SysctlRestore, SysctlWrite
from reconciler.state.steps.step import Step, StepError
from tests.harness.fakes.spaces import NOT_OURS, Link, Space, interface_of, read_space

_ELEMENT = re.compile(r"(add|delete) element (\S+) (\S+) (\S+) \{ (.*) \}")
_NUMBER = re.compile(r"\b0x[0-9a-f]{32}\b")  # an IPv6 address where nft wants a number
_HOOK = re.compile(r"(add chain|add rule|flush chain|delete chain) (\S+) (\S+) at-(\S+)(?: (goto .*|\{.*))?$")
_TABLE = re.compile(r"(add |delete |)table (\S+) (\S+)(?: \{)?$")
PORT_DEFAULTS = (("flood", "on"), ("group_fwd_mask", "0x0"), ("hairpin", "off"), ("isolated", "off"), ("learning", "on"))


class Refused(Exception):  # noqa: N818  as the kernel says it
    """The kernel's word for why not."""


class FakeHost:
    """One host with its containers' namespaces. `fail_at` counts down with each step; the one that brings it to 0 fails."""

    def __init__(self, topology: str) -> None:
        """Only the host's own namespace, with a loopback and an uplink."""
        self.topology = topology
        self.spaces: dict[str, Space] = {HOST: Space()}
        self.tables: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
        self.hooks: dict[tuple[str, str], dict[str, str]] = {}
        self.processes: dict[str, ProcessInfo] = {}
        self.remembered: dict[str, str] = {}
        self.fail_at = -1
        self.steps_run = 0
        self._index = 10
        self._add_link(self.spaces[HOST], Link(1, "lo", "loopback"))

    def run(self, batch: Batch) -> None:
        """Carry out the batch. A transaction of nft happens as a whole; in other backends, what came before a failure stays."""
        before = copy.deepcopy((self.tables, self.hooks))
        for step in batch.steps:
            try:
                self._count_down()
                self._run(step)
            except Refused as refusal:
                if step.backend == backends.NFT:
                    self.tables, self.hooks = before
                raise StepError(step, str(refusal)) from None

    def settle(self, *_: object) -> None:
        """Packets always pass here."""

    def _count_down(self) -> None:
        self.steps_run += 1
        if self.fail_at >= 0:
            self.fail_at -= 1
            if self.fail_at < 0:
                raise Refused("injected")

    def _run(self, step: Step) -> None:
        handlers: dict[type[Step], Callable[..., None]] = {
            NetnsAdd: self._netns_add,
            NetnsDelete: self._netns_delete,
            LinkAdd: self._link_add,
            LinkSet: self._link_set,
            AltnameAdd: self._altname_add,
            BridgePortSet: self._port_set,
            LinkDelete: self._link_delete,
            AddressAdd: self._address_add,
            AddressDelete: self._address_delete,
            RouteAdd: self._route_add,
            RouteDelete: self._route_delete,
            NeighborAdd: self._neighbor_add,
            NeighborDelete: self._neighbor_delete,
            FdbAdd: self._fdb_add,
            FdbDelete: lambda step: self._space(step.netns).fdb.discard((step.dev, step.mac, step.remote)),
            SysctlWrite: self._sysctl_write,
            SysctlRestore: self._sysctl_restore,
            NftCommand: self._nft,
            ProcessStart: self._process_start,
            ProcessStop: self._process_stop,
            ConntrackFlush: lambda _: None,
            Announce: lambda _: None,
        }
        handlers[type(step)](step)

    # --- namespaces and links ---------------------------------------------------------------------------------------

    def _space(self, netns: str) -> Space:
        if netns not in self.spaces:
            raise Refused(f"no network namespace for {netns}")
        return self.spaces[netns]

    def _link(self, netns: str, name: str) -> Link:
        links = self._space(netns).links
        if name not in links:
            raise Refused("No such device")
        return links[name]

    def _add_link(self, space: Space, link: Link) -> None:
        if link.name in space.links or any(link.name in other.altnames for other in space.links.values()):
            raise Refused("File exists")
        space.links[link.name] = link

    def _netns_add(self, step: NetnsAdd) -> None:
        if step.netns in self.spaces:
            raise Refused("File exists")
        self.spaces[step.netns] = Space(ipv6=step.ipv6)
        self._add_link(self.spaces[step.netns], Link(1, "lo", "loopback", up=True))

    def _netns_delete(self, step: NetnsDelete) -> None:
        for name in tuple(self._space(step.netns).links):
            self._drop_link(step.netns, name)
        del self.spaces[step.netns]

    def _link_add(self, step: LinkAdd) -> None:
        space = self._space(step.netns)
        if step.master:
            self._link(step.netns, step.master)
        self._index += 2
        link = Link(self._index, step.name, step.kind, step.mac or "02:ff:ff:ff:ff:ff", step.mtu, step.group, step.up)
        link.options = dict(step.options)
        if step.peer is None:
            self._add_link(space, link)
        else:
            peer = Link(self._index + 1, step.peer.name, "veth", step.peer.mac, step.peer.mtu)
            far = self._space(step.peer.netns)
            if step.name in space.links:
                raise Refused("File exists")
            self._add_link(far, peer)
            self._add_link(space, link)
            link.peer, peer.peer = (step.peer.netns, peer.name), (step.netns, link.name)
        if step.master:
            link.master, link.port_options = step.master, dict(PORT_DEFAULTS)
        self._adjust_bridges(space)

    def _link_set(self, step: LinkSet) -> None:
        link = self._link(step.netns, step.name)
        for name in ("mtu", "group", "up", "alias", "link_local", "arp"):
            if getattr(step, name) is not None:
                setattr(link, name, getattr(step, name))
        if step.up is False:
            self._take_down(self._space(step.netns), step.name)
        link.mtu_is_set |= step.mtu is not None
        self._adjust_bridges(self._space(step.netns))
        if step.mac and step.mac != link.mac:
            # All neighbors of the link, permanent ones as well (neigh_changeaddr).
            space = self._space(step.netns)
            space.neighbors = {key: mac for key, mac in space.neighbors.items() if key[0] != step.name}
            link.mac = step.mac
        link.options |= dict(step.options)
        if step.master == "-":
            link.master, link.port_options = "", {}
        elif step.master:
            self._link(step.netns, step.master)
            link.master, link.port_options = step.master, dict(PORT_DEFAULTS)

    def _take_down(self, space: Space, name: str) -> None:
        """What a link loses when it goes down: all but its IPv4 addresses (addrconf_ifdown, neigh_ifdown)."""
        space.routes = {key: route for key, route in space.routes.items() if route.dev != name}
        space.neighbors = {key: mac for key, mac in space.neighbors.items() if key[0] != name}
        space.addresses = [(dev, cidr) for dev, cidr in space.addresses if dev != name or ":" not in cidr]

    def _adjust_bridges(self, space: Space) -> None:
        """A bridge takes the lowest MTU of its ports, unless it was told one after it was made (br_mtu_auto_adjust)."""
        for bridge in space.links.values():
            ports = [link.mtu for link in space.links.values() if link.master == bridge.name]
            if ports and not bridge.mtu_is_set:
                bridge.mtu = min(ports)

    def _altname_add(self, step: AltnameAdd) -> None:
        links = self._space(step.netns).links.values()
        if any(step.altname in (link.name, *link.altnames) for link in links):
            raise Refused("File exists")
        self._link(step.netns, step.name).altnames += (step.altname,)

    def _port_set(self, step: BridgePortSet) -> None:
        link = self._link(step.netns, step.name)
        if not link.master:
            raise Refused("Operation not supported")
        link.port_options |= dict(step.options)

    def _link_delete(self, step: LinkDelete) -> None:
        if step.name in self._space(step.netns).links:
            self._drop_link(step.netns, step.name)

    def _drop_link(self, netns: str, name: str) -> None:
        space = self.spaces[netns]
        link = space.links.pop(name)
        space.addresses = [(dev, cidr) for dev, cidr in space.addresses if dev != name]
        space.routes = {key: route for key, route in space.routes.items() if route.dev != name}
        space.neighbors = {key: mac for key, mac in space.neighbors.items() if key[0] != name}
        space.fdb = {entry for entry in space.fdb if entry[0] != name}
        space.sysctls = {key: value for key, value in space.sysctls.items() if f".{name}." not in key}
        for other in space.links.values():
            if other.master == name:
                other.master, other.port_options = "", {}
        if link.peer and link.peer[0] in self.spaces and link.peer[1] in self.spaces[link.peer[0]].links:
            self._drop_link(*link.peer)

    # --- what stands on links ---------------------------------------------------------------------------------------

    def _address_add(self, step: AddressAdd) -> None:
        self._link(step.netns, step.dev)
        space = self._space(step.netns)
        if ":" in step.cidr and not space.ipv6:
            raise Refused("Permission denied")
        if (step.dev, step.cidr) in space.addresses:
            raise Refused("Address already assigned")
        space.addresses.append((step.dev, step.cidr))

    def _address_delete(self, step: AddressDelete) -> None:
        space = self._space(step.netns)
        if (step.dev, step.cidr) not in space.addresses:
            return
        space.addresses.remove((step.dev, step.cidr))
        own = str(ip_interface(step.cidr).ip)
        space.routes = {key: route for key, route in space.routes.items() if route.src != own}
        if ":" not in step.cidr and not any(dev == step.dev and ":" not in cidr for dev, cidr in space.addresses):
            # The last IPv4 address of a link takes all its IPv4 routes and neighbors along (fib_disable_ip).
            space.routes = {key: r for key, r in space.routes.items() if r.dev != step.dev or r.family == 6}
            space.neighbors = {key: m for key, m in space.neighbors.items() if key[0] != step.dev or ":" in key[1]}

    def _route_add(self, step: RouteAdd) -> None:
        space = self._space(step.netns)
        link = self._link(step.netns, step.dev)
        if not link.up:
            raise Refused("Network is down")
        if step.src and not any(str(ip_interface(cidr).ip) == step.src for _, cidr in space.addresses):
            raise Refused("Invalid argument")
        if step.via and not any(_covers(route, step) for route in space.routes.values()):
            raise Refused("Nexthop has invalid gateway" if step.family == 4 else "No route to host")
        key = (step.family, step.dst, step.metric)
        if key in space.routes:
            raise Refused("File exists")
        space.routes[key] = step

    def _route_delete(self, step: RouteDelete) -> None:
        self._space(step.netns).routes.pop((step.family, step.dst, step.metric), None)

    def _neighbor_add(self, step: NeighborAdd) -> None:
        self._link(step.netns, step.dev)
        self._space(step.netns).neighbors[step.dev, step.address, step.proxy] = step.mac

    def _neighbor_delete(self, step: NeighborDelete) -> None:
        self._space(step.netns).neighbors.pop((step.dev, step.address, step.proxy), None)

    def _fdb_add(self, step: FdbAdd) -> None:
        link = self._link(step.netns, step.dev)
        if not step.remote and not link.master:
            raise Refused("Operation not supported")
        if step.remote and link.kind != "vxlan":
            raise Refused("Operation not supported")
        self._space(step.netns).fdb.add((step.dev, step.mac, step.remote))

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _sysctl_write(self, step: SysctlWrite) -> None:
        space = self._space(step.netns)
        if interface_of(step.key) not in (*space.links, *NOT_OURS):
            raise Refused("this kernel has no such setting")
        if step.key == "net.ipv6.conf.all.disable_ipv6":
            space.ipv6 = step.value == "0"
        if step.remember:
            self.remembered.setdefault(step.key, space.sysctls.get(step.key, "0"))
        space.sysctls[step.key] = step.value

    def _sysctl_restore(self, step: SysctlRestore) -> None:
        if step.key in self.remembered:
            self._space(step.netns).sysctls[step.key] = self.remembered.pop(step.key)

    def _nft(self, step: NftCommand) -> None:
        for line in step.text.splitlines():
            if element := _ELEMENT.match(line):
                self._nft_element(*element.groups())
            elif table := _TABLE.match(line):
                self._nft_table(*table.groups())
            elif hook := _HOOK.match(line):
                self._nft_hook(hook[1], (hook[2], hook[3]), hook[4], hook[5] or "")

    def _nft_table(self, verb: str, family: str, table: str) -> None:
        if verb != "delete ":
            self.tables.setdefault((family, table), {})
            return
        self.hooks.pop((family, table), None)
        if self.tables.pop((family, table), None) is None:
            raise Refused("No such file or directory")

    def _nft_hook(self, verb: str, table: tuple[str, str], dev: str, words: str) -> None:
        """A base chain is made at a link, gets its only rule, and is deleted when it is empty."""
        hooks = self.hooks.setdefault(table, {})
        if verb == "add chain":  # newer kernels wait for the link
            hooks[dev] = ""
        elif dev not in hooks:
            raise Refused("No such file or directory")
        elif verb == "add rule":
            hooks[dev] = words.removeprefix("goto ")
        elif verb == "delete chain":
            del hooks[dev]

    def _nft_element(self, verb: str, family: str, table: str, name: str, text: str) -> None:
        if (family, table) not in self.tables:
            raise Refused("No such file or directory")
        text = _NUMBER.sub(lambda number: str(IPv6Address(int(number[0], 16))), text.replace('"', ""))
        key, _, value = text.replace(" ct count over ", " : ").partition(" : ")
        elements = self.tables[family, table]
        if name in WAYS and verb == "add":  # the kernel knows links by their numbers
            value = str(self._link(HOST, value).index)
        if verb == "delete":
            if elements.pop((name, key), None) is None:
                raise Refused("No such file or directory")
        elif elements.get((name, key), value) != value:
            raise Refused("File exists")
        else:
            elements[name, key] = value

    def _process_start(self, step: ProcessStart) -> None:
        self._space(step.netns)
        self.processes[step.container] = ProcessInfo(1, step.container, step.command, step.env)

    def _process_stop(self, step: ProcessStop) -> None:
        self.processes.pop(step.container, None)

    # --- reading ----------------------------------------------------------------------------------------------------

    def snapshot(self, sysctls: dict[str, tuple[str, ...]] | None = None) -> Snapshot:
        """What the kernel would tell; `sysctls` are the keys wanted, by namespace."""
        wanted = dict(sysctls or {})
        wanted[HOST] = (*wanted.get(HOST, ()), *self.remembered)
        return Snapshot(
            topology=self.topology,
            namespaces={netns: read_space(self.spaces, netns, wanted.get(netns, ())) for netns in self.spaces},
            mounted=frozenset(netns for netns in self.spaces if netns != HOST),
            tables=tuple(
                TableInfo(
                    *table,
                    intact=True,
                    elements=tuple((n, k, v) for (n, k), v in sorted(elements.items())),
                    hooks=tuple(sorted(self.hooks.get(table, {}).items())),
                )
                for table, elements in self.tables.items()
            ),
            processes=tuple(self.processes.values()),
            remembered=frozenset(self.remembered),
        )


def _covers(route: RouteAdd, step: RouteAdd) -> bool:
    """Whether a connected route leads to the next hop."""
    if route.via or route.family != step.family or route.dst == "default" or route.dev != step.dev:
        return False
    return ip_interface(step.via).ip in ip_network(route.dst)
