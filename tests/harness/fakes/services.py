"""What runs on the fake host: commands, engines' containers and DHCP clients; and the move of its uplink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.state.container_spec import OWN
from reconciler.state.ref import HOST, Ref, container_netns
from reconciler.state.resolver import ResolverInfo
from reconciler.state.snapshot import ContainerInfo, DhcpInfo, HolderInfo, ProcessInfo, ResolvConfInfo, UplinkInfo
from reconciler.state.steps.addresses import DhcpStart, DhcpStop
from reconciler.state.steps.containers import (
    ContainerCreate,
    ContainerPark,
    ContainerStart,
    ContainerStop,
    HolderCreate,
    HostsDelete,
    HostsWrite,
    ProcessStart,
    ProcessStop,
)
from reconciler.state.steps.names import NamesDelete, NamesWrite, ResolvConfDelete, ResolvConfWrite, ResolverStart, ResolverStop
from reconciler.state.steps.uplinks import UplinkEnslave, UplinkRelease
from tests.harness.fakes.base import Handlers, Refused
from tests.harness.fakes.links import PORT_DEFAULTS
from tests.harness.fakes.spaces import Link, Space
from tests.harness.fakes.standing import Standing
from tests.harness.fakes.switches import Switches

PARKED = "-parked"


class Services(Standing, Switches):
    """The steps of programs, and of the uplink, which joins a bridge of either kind."""

    def service_handlers(self) -> Handlers:
        return {
            ProcessStart: self._process_start,
            ProcessStop: lambda step: self.processes.pop(step.container, None),
            ContainerCreate: self._container_create,
            HolderCreate: self._holder_create,
            HostsWrite: self._hosts_write,
            HostsDelete: lambda step: self.hosts.pop(step.netns, None),
            ContainerStart: lambda step: self._container_run(step.netns, step.engine_name),
            ContainerStop: lambda step: self._container_stop(step.netns, step.engine_name),
            ContainerPark: self._container_park,
            DhcpStart: self._dhcp_start,
            DhcpStop: lambda step: self.clients.pop((step.container, step.dev), None),
            ResolverStart: self._resolver_start,
            ResolverStop: lambda step: self.resolvers.pop((step.subnet, step.view), None),
            NamesWrite: lambda step: self.names.__setitem__((step.subnet, step.view), step.lines),
            NamesDelete: lambda step: self.names.pop((step.subnet, step.view), None),
            ResolvConfWrite: self._resolv_conf_write,
            ResolvConfDelete: lambda step: self.resolv_confs.pop(step.netns, None),
            UplinkEnslave: self._uplink_enslave,
            UplinkRelease: self._uplink_release,
        }

    def _process_start(self, step: ProcessStart) -> None:
        self._space(step.place)
        self.processes[step.container] = ProcessInfo(1, step.container, step.command, step.env, step.share, step.has_resolv_conf)

    # --- names ------------------------------------------------------------------------------------------------------

    def _resolver_start(self, step: ResolverStart) -> None:
        """Dnsmasq needs its file, and the bridge whose addresses it has."""
        if (step.subnet, step.view) not in self.names:
            raise Refused(f"there are no names of {step.subnet}")
        if step.config.bridge not in self.spaces[HOST].links and step.config.bridge not in self.switches:
            raise Refused(f"unknown interface {step.config.bridge}")
        self.resolvers[step.subnet, step.view] = ResolverInfo(step.subnet, step.view, step.config)

    def _resolv_conf_write(self, step: ResolvConfWrite) -> None:
        if step.runtime and step.engine_name not in self.containers and step.engine_name not in self.holders:
            raise Refused(f"No such container: {step.engine_name}")
        self.resolv_confs[step.netns] = ResolvConfInfo(step.netns, step.lines, step.runtime, step.engine_name)

    # --- engines ----------------------------------------------------------------------------------------------------

    def _container_create(self, step: ContainerCreate) -> None:
        """A parked twin is brought back in place of a new one."""
        if step.engine_name in self.containers:
            raise Refused(f"the name {step.engine_name} is in use")
        twin = self.containers.pop(step.engine_name + PARKED, None)
        info = ContainerInfo(
            step.spec.runtime,
            step.container,
            step.engine_name,
            step.spec,
            False,
            0,
            existing=False,
            network=step.network,
            share=step.share,
        )
        is_twin = twin is not None and (twin.spec, twin.network, twin.share) == (step.spec, step.network, step.share)
        self.containers[step.engine_name] = replace(twin, parked=False) if twin and is_twin else info
        self._container_run(step.netns, step.engine_name)

    def _holder_create(self, step: HolderCreate) -> None:
        if step.engine_name in self.holders:
            raise Refused(f"the name {step.engine_name} is in use")
        self.holders.pop(step.engine_name + PARKED, None)
        self.holders[step.engine_name] = HolderInfo(step.runtime, step.container, step.engine_name, step.shares, 0)
        self._container_run(step.netns, step.engine_name)

    def _hosts_write(self, step: HostsWrite) -> None:
        if not step.holder:
            self.hosts[step.netns] = step.lines
        elif step.holder not in self.holders:
            raise Refused(f"No such container: {step.holder}")
        else:
            self.holders[step.holder] = replace(self.holders[step.holder], hosts=step.lines)

    def _container_run(self, netns: str, engine_name: str) -> None:
        """It gets a namespace of its own, with nothing but a loopback, or joins the one that netctl holds."""
        if engine_name in self.holders:
            self.holders[engine_name] = replace(self.holders[engine_name], pid=1, hosts=())
            self._open_space(netns)
            return
        if engine_name not in self.containers:
            raise Refused(f"No such container: {engine_name}")
        self.containers[engine_name] = replace(self.containers[engine_name], running=True, pid=1)
        if self.containers[engine_name].network != OWN:
            info = self.containers[engine_name]
            self.joined[engine_name] = self._space(container_netns(info.share or info.container))
            return
        self._open_space(netns)

    def _open_space(self, netns: str) -> None:
        self.spaces[netns] = Space(is_engines=True)
        self._add_link(self.spaces[netns], Link(1, "lo", "loopback", up=True))

    def _container_stop(self, netns: str, engine_name: str) -> None:
        """Its namespace goes with its last process, and its links with that."""
        if engine_name in self.holders:
            self.holders[engine_name] = replace(self.holders[engine_name], pid=0)
        elif engine_name not in self.containers:
            raise Refused(f"No such container: {engine_name}")
        else:
            self.containers[engine_name] = replace(self.containers[engine_name], running=False, pid=0)
            if self.containers[engine_name].network != OWN:
                self.joined.pop(engine_name, None)
                return
        for name in tuple(self.spaces[netns].links) if netns in self.spaces else ():
            self._drop_link(netns, name)
        self.spaces.pop(netns, None)

    def _container_park(self, step: ContainerPark) -> None:
        self._container_stop(step.netns, step.engine_name)
        if step.engine_name in self.holders:
            self.holders[step.engine_name + PARKED] = self.holders.pop(step.engine_name)
            return
        self.containers[step.engine_name + PARKED] = replace(self.containers.pop(step.engine_name), parked=True)

    def read_holders(self) -> dict[str, HolderInfo]:
        """Those that are not parked, by the namespaces that they hold."""
        return {container_netns(info.container): info for name, info in self.holders.items() if not name.endswith(PARKED)}

    def read_containers(self) -> Iterator[ContainerInfo]:
        """A process keeps the namespace that it has joined when the file of that is deleted."""
        for info in self.containers.values():
            joined = self.joined.get(info.engine_name)
            yield replace(
                info, is_joined=joined is None or self.spaces.get(container_netns(info.share or info.container)) is joined
            )

    # --- DHCP clients -----------------------------------------------------------------------------------------------

    def _dhcp_start(self, step: DhcpStart) -> None:
        self.clients[step.container, step.dev] = (step.default, self._space(step.netns))

    def read_clients(self) -> Iterator[DhcpInfo]:
        """A client outlives the file of the namespace that it runs in."""
        for (container, dev), (default, space) in self.clients.items():
            in_place = self.spaces.get(container_netns(container)) is space
            yield DhcpInfo(container, dev, default, in_place, self._maker_of(container, dev) if in_place else None)

    def _maker_of(self, container: str, dev: str) -> Ref | None:
        link = self.spaces[container_netns(container)].links.get(dev)
        if link is None:
            return None
        if link.kind == Macvlan.kind:
            return Macvlan.ref_of(container_netns(container), dev, link.options["mode"])
        return Veth.ref_of(HOST, link.peer[1]) if link.peer else None

    # --- the uplink -------------------------------------------------------------------------------------------------

    def _uplink_enslave(self, step: UplinkEnslave) -> None:
        uplink, bridge = self._link(HOST, step.name), self._link(HOST, step.bridge)
        for join in step.joins:
            {**self.standing_handlers(), **self.switch_handlers()}[type(join)](join)
        if not step.joins:
            uplink.master, uplink.port_options = step.bridge, dict(PORT_DEFAULTS)
        uplink.up = True
        self._move(step.name, step.bridge)
        self.uplinks[step.name] = (step.bridge, bridge.index)

    def _uplink_release(self, step: UplinkRelease) -> None:
        """All that was on the bridge moves to the uplink again; nothing where the uplink is gone."""
        if uplink := self.spaces[HOST].links.get(step.name):
            uplink.master, uplink.port_options = "", {}
            self._move(step.bridge, step.name)
            for leave in step.leaves:
                self.switch_handlers()[type(leave)](leave)
            self.spaces[HOST].offloads_off -= {(step.name, "gro")}
        self.uplinks.pop(step.name, None)

    def _move(self, source: str, target: str) -> None:
        space = self.spaces[HOST]
        space.addresses = [(target if dev == source else dev, cidr) for dev, cidr in space.addresses]
        space.routes = {key: replace(r, dev=target) if r.dev == source else r for key, r in space.routes.items()}

    def read_uplinks(self) -> Iterator[UplinkInfo]:
        numbers = {link.index for link in self.spaces[HOST].links.values()}
        for name, (bridge, index) in self.uplinks.items():
            yield UplinkInfo(name, bridge, index in numbers)
