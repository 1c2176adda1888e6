"""The positions of an attacker of a host: a neighbour on its segment, or a foreign link of the host.

Pure.

For a lab host, the neighbour is the lab's router. For a real one, it is another host of the file on the same segment,
with its own address. Machines outside of the file neither send nor receive probes.

The foreign link (`kernel.foreign_link`) represents another bridge of the host. It exists only during the probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface

from reconciler.compile.lab import find_segments, first_address
from reconciler.compile.underlay import address_of, share_link, underlay_of, uplink_mac_of, uplink_of
from reconciler.probes.model import FOREIGN_NETNS
from reconciler.state.foreign_ends import foreign_ends
from reconciler.state.lab import ROUTER_NETNS
from reconciler.state.ref import HOST, LAB
from reconciler.verify.view import Origin, View


@dataclass(frozen=True, slots=True)
class Vantage:
    """A position to send from: worker, namespace, its name for users, and the interface towards the host."""

    worker: str
    netns: str
    name: str
    interface: str
    own: tuple[str, ...]
    mac: str
    host_addresses: tuple[str, ...]

    @property
    def origin(self) -> Origin:
        """The fields of a probe that starts there."""
        return Origin(host=self.worker, netns=self.netns, source=self.name)


def neighbour_of(view: View, host: str) -> Vantage | None:
    """A neighbour of the host by IPv4; None if the file has none."""
    topology, facts = view.topology, view.facts
    target = topology.hosts[host]
    here = address_of(underlay_of(target, facts.get(host)), 4)
    mac = uplink_mac_of(topology.name, target, facts.get(host))
    if here is None or not mac:
        return None
    if view.is_lab(host):
        lab_hosts = [each for each in topology.hosts.values() if view.is_lab(each.name)]
        segment = next(each for each in find_segments(lab_hosts) if host in each.hosts)
        own = (first_address(here.network),)
        return Vantage(LAB, ROUTER_NETNS, "a neighbour", segment.bridge, own, mac, (here.address,))
    for name, other in topology.hosts.items():
        there = address_of(underlay_of(other, facts.get(name)), 4)
        if name != host and not view.is_lab(name) and there and share_link(here, there):
            interface = view.bridge_over_uplink(name) or uplink_of(other, facts.get(name))
            return Vantage(name, HOST, f"host {name}", interface, (there.address,), mac, (here.address,))
    return None


def foreign_link_of(view: View, host: str) -> Vantage:
    """The remote end of the foreign link."""
    ends = foreign_ends(view.topology.name)
    own, near = (tuple(str(ip_interface(cidr).ip) for cidr in cidrs) for cidrs in (ends.remote_cidrs, ends.cidrs))
    return Vantage(host, FOREIGN_NETNS, "a foreign link", ends.remote_name, own, ends.mac, near)
