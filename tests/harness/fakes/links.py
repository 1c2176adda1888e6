"""Namespaces and links of the fake host: what exists already, what is missing, and what a link takes with it."""

from __future__ import annotations

from reconciler.state.ref import HOST
from reconciler.state.steps.links import AltnameAdd, AltnameDelete, BridgePortSet, LinkAdd, LinkDelete, LinkRename, LinkSet
from reconciler.state.steps.namespaces import NetnsAdd, NetnsDelete
from tests.harness.fakes.base import Base, Handlers, Refused
from tests.harness.fakes.spaces import Link, Space

PORT_DEFAULTS = (("flood", "on"), ("group_fwd_mask", "0x0"), ("hairpin", "off"), ("isolated", "off"), ("learning", "on"))


class Links(Base):
    """The steps of namespaces and links."""

    def link_handlers(self) -> Handlers:
        return {
            NetnsAdd: self._netns_add,
            NetnsDelete: self._netns_delete,
            LinkAdd: self._link_add,
            LinkSet: self._link_set,
            LinkRename: self._link_rename,
            AltnameAdd: self._altname_add,
            AltnameDelete: self._altname_delete,
            BridgePortSet: self._port_set,
            LinkDelete: self._link_delete,
        }

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
        link = Link(self._next_index(), step.name, step.kind, step.mac or "02:ff:ff:ff:ff:ff", step.mtu, step.group, step.up)
        link.options = dict(step.options)
        if step.kind == "macvlan":
            self._macvlan_add(step, link)
        elif step.peer is None:
            self._add_link(space, link)
        else:
            peer = Link(link.index + 1, step.peer.name, "veth", step.peer.mac, step.peer.mtu)
            far = self._space(step.peer.netns)
            if step.name in space.links:
                raise Refused("File exists")
            self._add_link(far, peer)
            self._add_link(space, link)
            link.peer, peer.peer = (step.peer.netns, peer.name), (step.netns, link.name)
        if step.master:
            link.master, link.port_options = step.master, dict(PORT_DEFAULTS)
        self._adjust_bridges(space)

    def _macvlan_add(self, step: LinkAdd, link: Link) -> None:
        """It is made in the namespace of its lower link, and stands in the one that is named for it."""
        link.lower = link.options.pop("link")
        self._link(HOST, link.lower)
        sharing = [each for space in self.spaces.values() for each in space.links.values() if each.lower == link.lower]
        if any("passthru" in (each.options["mode"], link.options["mode"]) for each in sharing):
            raise Refused("Invalid argument")
        self._add_link(self._space(step.peer.netns if step.peer else step.netns), link)

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
        """A bridge takes the lowest MTU of its ports, unless one was set after it was made (br_mtu_auto_adjust)."""
        for bridge in space.links.values():
            ports = [link.mtu for link in space.links.values() if link.master == bridge.name]
            if ports and not bridge.mtu_is_set:
                bridge.mtu = min(ports)

    def _link_rename(self, step: LinkRename) -> None:
        """To `moved` and the first number that is free."""
        space, link = self._space(step.netns), self._link(step.netns, step.name)
        number = next(number for number in range(100) if f"moved{number}" not in space.links)
        space.rename(step.name, f"moved{number}")
        if link.peer:
            far = self.spaces[link.peer[0]].links[link.peer[1]]
            far.peer = (step.netns, link.name)

    def _altname_add(self, step: AltnameAdd) -> None:
        links = self._space(step.netns).links.values()
        if any(step.altname in (link.name, *link.altnames) for link in links):
            raise Refused("File exists")
        self._link(step.netns, step.name).altnames += (step.altname,)

    def _altname_delete(self, step: AltnameDelete) -> None:
        link = self._link(step.netns, step.name)
        link.altnames = tuple(each for each in link.altnames if each != step.altname)

    def _port_set(self, step: BridgePortSet) -> None:
        link = self._link(step.netns, step.name)
        if not link.master:
            raise Refused("Operation not supported")
        link.port_options |= dict(step.options)

    def _link_delete(self, step: LinkDelete) -> None:
        if step.name in self._space(step.netns).links:
            self._drop_link(step.netns, step.name)
