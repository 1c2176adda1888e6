"""VXLANs between the hosts of a subnet: one link on each host, whose forwarding database says who is behind which host."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.compile.model import HostSubnet, TunnelEnd
from reconciler.compile.overlays.base import Overlay
from reconciler.compile.view import HostView
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.firewall.set_elements import SetElement
from reconciler.kinds.links.vxlan import Vxlan, VxlanPort, VxlanSender
from reconciler.state.foreign import ForeignListener, ForeignTunnel
from reconciler.state.naming import Alias, group_of, interface_name, mac_of, vni_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST
from reconciler.state.subject import Subject
from reconciler.topology.types import Subnet


class VxlanOverlay(Overlay):
    """The number of a VXLAN is its VNI, and its port is UDP's."""

    name = "vxlan"
    link_type = Vxlan

    def ends(self, topology: str, subnet: Subnet, host: str, local: str, remotes: tuple[str, ...]) -> tuple[TunnelEnd, ...]:
        """One, for all hosts."""
        end = TunnelEnd(
            Vxlan.ref_of(HOST, interface_name("x-", topology, subnet.name)),
            mac_of(topology, Vxlan.kind, host, subnet.name),
            local,
            remotes,
            number=subnet.vni if subnet.vni is not None else vni_of(topology, subnet.name),
            port=subnet.vxlan_port,
        )
        return (end,)

    def link(self, topology: str, host_subnet: HostSubnet, end: TunnelEnd) -> Vxlan:
        """The VXLAN."""
        alias = Alias(topology, Vxlan.kind, host_subnet.subnet)
        return Vxlan(
            netns=HOST,
            name=end.name,
            vni=end.number,
            local=end.local,
            port=end.port,
            mac=end.mac,
            mtu=host_subnet.mtu,
            group=group_of(topology),
            alias=str(alias),
            altname=Vxlan.altname_of(alias, end.name),
        )

    def entries(self, end: TunnelEnd, remote: str, mac: str, about: Subject) -> Iterator[Record]:
        """An entry of its forwarding database."""
        yield Fdb(netns=HOST, dev=end.name, mac=mac, remote=remote, link=end.ref, about=about)

    def elements(self, end: TunnelEnd) -> Iterator[SetElement]:
        """Its port, and from which host to which address of this one."""
        yield VxlanPort(end.port)
        for remote in end.remotes:
            yield VxlanSender(remote, end.local, end.port)

    def find_taken(self, view: HostView, host_subnet: HostSubnet, end: TunnelEnd) -> Iterator[tuple[str, str]]:
        """A conflict about a tunnel. The kernel allows one VXLAN with a number at a port, and none at a program's port.

        The kernel's own sockets have no holder.
        """
        for each in view.facts.foreign_of(ForeignTunnel):
            held = Vxlan.parse_options(dict(each.options)) if each.link_kind == Vxlan.kind else {}
            if (held.get("vni"), held.get("port")) == (end.number, end.port):
                yield (
                    f"host {host_subnet.host} has a VXLAN of the number {end.number} already, the link {each.name}",
                    f"write `vni:` with another number in {host_subnet.subnet}, or `vxlan_port:`",
                )
        for listener in view.facts.foreign_of(ForeignListener):
            if listener.holder and (listener.port.protocol, listener.port.port) == ("udp", end.port):
                message = f"port {end.port}/udp, which the VXLAN of {host_subnet.subnet} needs, is held by {listener.holder}"
                yield f"{message} on host {host_subnet.host}", "stop it, or write `vxlan_port:` with another port"
