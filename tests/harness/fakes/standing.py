"""What stands on the links of the fake host: addresses, routes, neighbors, queues, offloads and settings."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

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
    StrayRouteAdd,
    StrayRouteDelete,
)
from reconciler.state.steps.links import OffloadSet, QdiscDelete, QdiscSet
from reconciler.state.steps.namespaces import SysctlRestore, SysctlWrite
from tests.harness.fakes.base import Base, Handlers, Refused
from tests.harness.fakes.spaces import NOT_OURS, interface_of, is_without_ipv6


class Standing(Base):
    """The steps of what has a link to stand on."""

    def standing_handlers(self) -> Handlers:
        return {
            AddressAdd: self._address_add,
            AddressDelete: self._address_delete,
            RouteAdd: self._route_add,
            RouteDelete: self._route_delete,
            StrayRouteAdd: self._stray_route_add,
            StrayRouteDelete: self._route_delete,
            NeighborAdd: self._neighbor_add,
            NeighborDelete: self._neighbor_delete,
            FdbAdd: self._fdb_add,
            FdbDelete: lambda step: self._space(step.netns).fdb.discard((step.dev, step.mac, step.remote)),
            QdiscSet: self._qdisc_set,
            QdiscDelete: self._qdisc_delete,
            OffloadSet: self._offload_set,
            SysctlWrite: self._sysctl_write,
            SysctlRestore: self._sysctl_restore,
            Announce: lambda _: None,
        }

    def _address_add(self, step: AddressAdd) -> None:
        self._link(step.netns, step.dev)
        space = self._space(step.netns)
        if ":" in step.cidr and is_without_ipv6(space, step.dev):
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

    def _stray_route_add(self, step: StrayRouteAdd) -> None:
        """A route of another protocol takes the same place in the table as one of netctl's."""
        self._route_add(RouteAdd(step.netns, step.family, step.dst, step.dev, metric=step.metric))
        self._space(step.netns).protocols[step.family, step.dst, step.metric] = step.protocol

    def _route_delete(self, step: RouteDelete | StrayRouteDelete) -> None:
        key = (step.family, step.dst, step.metric)
        self._space(step.netns).routes.pop(key, None)
        self._space(step.netns).protocols.pop(key, None)

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

    def _qdisc_set(self, step: QdiscSet) -> None:
        self._link(step.netns, step.dev)
        self._space(step.netns).queues[step.dev] = ("tbf", step.rate_bytes)

    def _qdisc_delete(self, step: QdiscDelete) -> None:
        self._space(step.netns).queues.pop(step.dev, None)

    def _offload_set(self, step: OffloadSet) -> None:
        self._link(step.netns, step.dev)
        off = self._space(step.netns).offloads_off
        (off.discard if step.on else off.add)((step.dev, step.feature))

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


def _covers(route: RouteAdd, step: RouteAdd) -> bool:
    """Whether a connected route leads to the next hop."""
    if route.via or route.family != step.family or route.dst == "default" or route.dev != step.dev:
        return False
    return ip_interface(step.via).ip in ip_network(route.dst)
