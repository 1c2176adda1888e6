"""A Linux bridge of a host: its ports have options and static entries, and the `bridge` table of nftables filters them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from reconciler.compile.bridges.base import ContainerPort, Refusal, SubnetBridge
from reconciler.compile.model import TunnelEnd
from reconciler.kinds.addressing.fdb import Fdb
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.port import FILTERED, QUIET, port_options
from reconciler.kinds.links.tunnel import Tunnel
from reconciler.kinds.uplink import Uplink
from reconciler.state.host import HostFacts
from reconciler.state.naming import group_of
from reconciler.state.record import Record
from reconciler.state.ref import HOST


@dataclass(frozen=True, slots=True)
class LinuxBridge(SubnetBridge):
    """A bridge of the kernel."""

    passes_netfilter = True
    link_kind = Bridge.kind

    @classmethod
    def refuse_existing(cls, name: str, host: str) -> Refusal | None:  # noqa: ARG003  any can be used
        """None: netctl adds ports to it."""
        return None

    @classmethod
    def refuse_uplink(cls, name: str, host: str, mode: str) -> Refusal | None:
        """A bridge cannot be a port of another."""
        if mode != "direct":
            return None
        return f"{name} of host {host} is a bridge itself", f"write `bridge: {{existing: {name}}}`: it is used unchanged"

    @classmethod
    def find_lack(cls, facts: HostFacts) -> str:  # noqa: ARG003  every kernel has it
        """Nothing is lacking: every host can have one."""
        return ""

    def make(self) -> Iterator[Record]:
        """The bridge; the firewall has its filters."""
        yield Bridge(
            netns=HOST,
            name=self.host_subnet.bridge,
            mac=self.host_subnet.mac,
            mtu=self.mtu,
            group=group_of(self.topology),
            alias=str(self.alias),
            altname=self.altname,
            link_local=self.link_local,
        )

    def port(self, port: ContainerPort) -> Iterator[Record]:
        """The cable, and a static entry for the container's hardware address: the port does not learn."""
        endpoint, isolated = port.endpoint, bool(port.attachment.isolated)
        # A container that connects to its own published port receives its packets by the port that they came from.
        own = (("hairpin", _word(is_on=port.hairpin)), ("isolated", _word(is_on=isolated)))
        veth = self._cable(port, self.host_subnet.bridge, port_options(*own, *QUIET, *FILTERED), arp=True)
        yield veth
        yield Fdb(netns=HOST, dev=endpoint.port, mac=endpoint.mac, link=veth.ref, about=veth.subject)

    def tunnel(self, link: Tunnel) -> Iterator[Record]:
        """The tunnel is a port by its master."""
        yield replace(link, master=self.host_subnet.bridge)

    def entries_behind(self, end: TunnelEnd, mac: str) -> Iterator[Record]:
        """An entry of the bridge's forwarding database."""
        yield Fdb(netns=HOST, dev=end.name, mac=mac, link=end.ref, about=self.about)

    def uplink(self, name: str) -> Iterator[Record]:
        """The uplink, which is a port by its master."""
        yield Uplink(HOST, name, self.host_subnet.bridge, about=self.about)


def _word(*, is_on: bool) -> str:
    return "on" if is_on else "off"
