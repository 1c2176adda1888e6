"""What every part of the fake host works on: its namespaces, and what stands on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.state.ref import HOST
from reconciler.state.resolver import ResolverInfo
from reconciler.state.snapshot import ContainerInfo, HolderInfo, ProcessInfo, ResolvConfInfo
from reconciler.state.steps.step import Step
from tests.harness.fakes.spaces import Link, Space

Handlers = Mapping[type[Step], Callable[[Any], object]]
"""What carries out each class of steps."""


class Refused(Exception):  # noqa: N818  as the kernel says it
    """The kernel's word for why not."""


@dataclass(slots=True)
class SwitchPort:
    """A port in the database. `index` is the link that ovs-vswitchd has; in user space it does not notice when that goes."""

    marks: tuple[tuple[str, str], ...]
    is_isolated: bool
    leaves_queues: bool
    number: int
    index: int


@dataclass(slots=True)
class Switch:
    """An Open vSwitch bridge, its ports and its rules; of each rule its cookie and its actions, by table, priority and match."""

    datapath: str
    mac: str
    mtu: int
    marks: tuple[tuple[str, str], ...]
    fail_mode: str
    learns: bool
    fragments: str = "normal"
    ports: dict[str, SwitchPort] = field(default_factory=dict)
    flows: dict[str, tuple[int, str]] = field(default_factory=dict)
    last_number: int = 0

    def next_number(self) -> int:
        """Of a new port: the numbers of earlier ones are not given again so soon."""
        self.last_number += 1
        return self.last_number

    def disconnect(self, name: str) -> None:
        """ovs-vswitchd has the port no more: rules that name it hold a number that has no name."""
        port = self.ports.get(name)
        if port and port.number:
            named = {f'in_port="{name}"': f"in_port={port.number}", f'output:"{name}"': f"output:{port.number}"}
            port.number = 0

            def rename(text: str) -> str:
                for word, number in named.items():
                    text = text.replace(word, number)
                return text

            self.flows = {rename(match): (cookie, rename(actions)) for match, (cookie, actions) in self.flows.items()}


class Base:
    """A host with nothing but its own namespace. Its parts add what can be done to it."""

    def __init__(self, topology: str) -> None:
        """Only a loopback is there."""
        self.topology = topology
        self.spaces: dict[str, Space] = {HOST: Space()}
        self.tables: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
        self.hooks: dict[tuple[str, str], dict[str, str]] = {}
        self.chains: dict[str, list[tuple[str, ...]]] = {}
        """The rules in Docker's chain DOCKER-USER, by command, on a host that has the chain."""
        self.processes: dict[str, ProcessInfo] = {}
        self.containers: dict[str, ContainerInfo] = {}
        """By the engine's name."""
        self.holders: dict[str, HolderInfo] = {}
        """By the engine's name, parked ones too."""
        self.hosts: dict[str, tuple[str, ...]] = {}
        """The hosts files that containers mount, by namespace."""
        self.resolvers: dict[tuple[str, str], ResolverInfo] = {}
        self.names: dict[tuple[str, str], tuple[str, ...]] = {}
        self.resolv_confs: dict[str, ResolvConfInfo] = {}
        self.joined: dict[str, Space] = {}
        """The namespace that a container runs in and that netctl holds, by the engine's name."""
        self.clients: dict[tuple[str, str], tuple[bool, Space]] = {}
        """DHCP clients by container and interface: whether one sets default routes, and the namespace that it runs in."""
        self.switches: dict[str, Switch] = {}
        self.uplinks: dict[str, tuple[str, int]] = {}
        """The bridge that an uplink is in, and the bridge's number."""
        self.remembered: dict[str, str] = {}
        self._index = 10
        self._add_link(self.spaces[HOST], Link(1, "lo", "loopback"))

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

    def _next_index(self) -> int:
        self._index += 2
        return self._index

    def _drop_link(self, netns: str, name: str) -> None:
        """What goes with a link: all that stands on it, its other end, and the macvlans above it (netdev_upper)."""
        space = self.spaces[netns]
        link = space.links.pop(name)
        space.forget(name)
        # udhcpc ends when its interface is gone.
        self.clients = {key: one for key, one in self.clients.items() if (key[1], one[1]) != (name, space)}
        for other in space.links.values():
            if other.master == name:
                other.master, other.port_options = "", {}
        if link.peer and link.peer[0] in self.spaces and link.peer[1] in self.spaces[link.peer[0]].links:
            self._drop_link(*link.peer)
        if netns == HOST:
            above = [(where, one.name) for where, each in self.spaces.items() for one in each.links.values() if one.lower == name]
            for where, upper in above:
                self._drop_link(where, upper)
