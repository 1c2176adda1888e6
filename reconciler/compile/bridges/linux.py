"""A Linux bridge of a host: its ports have options and static entries, and the `bridge` table of nftables filters them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.compile.bridges.base import ContainerPort, SubnetBridge
from reconciler.compile.model import Tunnel
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.port import FILTERED, QUIET, port_options
from reconciler.kinds.links.vxlan import PORT_OPTIONS
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts
from reconciler.state.naming import group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST


@dataclass(frozen=True, slots=True)
class LinuxBridge(SubnetBridge):
    """The kernel's own."""

    passes_netfilter = True

    @classmethod
    def find_lack(cls, facts: HostFacts) -> str:  # noqa: ARG003  every kernel has it
        """Nothing is lacking."""
        return ""

    def make(self) -> Iterator[Record]:
        """The bridge; what filters it is the firewall's."""
        yield Bridge(
            netns=HOST,
            name=self.leg.bridge,
            mac=self.leg.mac,
            mtu=self.mtu,
            group=group_of(self.topology),
            alias=str(self.alias),
            altname=self.altname,
            link_local=self.link_local,
        )

    def port(self, port: ContainerPort) -> Iterator[Record]:
        """The cable, and a static entry for the container's hardware address: the port learns none."""
        place, isolated = port.place, bool(port.attachment.isolated)
        # A container that calls its own published port gets its packets back by the port that they came from.
        own = (("hairpin", _word(is_on=port.hairpin)), ("isolated", _word(is_on=isolated)))
        veth = self._cable(port, self.leg.bridge, port_options(*own, *QUIET, *FILTERED), arp=True)
        yield veth
        yield Fdb(netns=HOST, dev=place.port, mac=place.mac, link=veth.ref, about=veth.subject)

    def tunnel(self, tunnel: Tunnel) -> Iterator[Record]:
        """The VXLAN is a port by its master."""
        yield self._vxlan(tunnel, self.leg.bridge, PORT_OPTIONS, arp=True)

    def entries_behind(self, tunnel: Tunnel, mac: str) -> Iterator[Record]:
        """An entry of the bridge's forwarding database."""
        yield Fdb(netns=HOST, dev=tunnel.name, mac=mac, about=self.about)

    def uplink(self, name: str) -> Iterator[Record]:
        """The uplink is a port by its master."""
        yield Uplink(HOST, name, self.leg.bridge, about=self.about)


def _word(*, is_on: bool) -> str:
    return "on" if is_on else "off"
