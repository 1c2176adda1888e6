"""Rules about subnets that span hosts: an overlay joins them, the hosts have addresses, and each tunnel has its own number.

They need a topology that is otherwise valid, because the hosts of a subnet follow from the whole file (`host_subnets`).
`compile` checks what depends on the hosts themselves, such as which of them share a link.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.state.naming import vni_of
from reconciler.state.uapi import VNI_MAX
from reconciler.topology.check_vxlan import check_ports
from reconciler.topology.faults import FaultList
from reconciler.topology.host_subnets import host_subnets_of
from reconciler.topology.types import DEFAULT_TUNNEL, Subnet, Topology


def check_overlays(topology: Topology, faults: FaultList) -> None:
    """Every rule about subnets on several hosts."""
    spanning = {
        name: hosts for name, hosts in host_subnets_of(topology).items() if len(hosts) > 1 and not topology.subnets[name].is_lan
    }
    for name, hosts in spanning.items():
        if topology.subnets[name].overlay == "none":
            faults.add(
                ("subnets", name, "overlay"),
                f"cannot join the hosts of `{name}` ({', '.join(hosts)}) without an overlay",
                f"write `overlay: {DEFAULT_TUNNEL}`, or keep its containers, their policies and ports, and `hosts:` on one host",
            )
    _check_addresses(topology, spanning, faults)
    _check_numbers(topology, spanning, faults)
    check_ports(topology, spanning, faults)


def _check_addresses(topology: Topology, spanning: Mapping[str, tuple[str, ...]], faults: FaultList) -> None:
    """Hosts of one subnet need addresses by which they reach each other."""
    reached = {host: name for name, hosts in reversed(list(spanning.items())) for host in hosts}
    for host, name in reached.items():
        if not topology.hosts[host].addresses:
            faults.add_at_key(
                ("hosts", host),
                f"the host `{host}` has no `address`, but the other hosts of `{name}` must reach it",
                "write the address that it has in the network of the hosts: `address: 192.0.2.11`",
            )


def _check_numbers(topology: Topology, spanning: Mapping[str, tuple[str, ...]], faults: FaultList) -> None:
    """A tunnel is known by its number, so two with one number would be one segment. Hashes may meet, one time in millions."""
    taken: dict[tuple[str, int], Subnet] = {}
    for name in spanning:
        subnet = topology.subnets[name]
        if not subnet.tunnel:
            continue
        number = subnet.vni if subnet.vni is not None else vni_of(topology.name, name)
        other = taken.setdefault((subnet.tunnel, number), subnet)
        if other is not subnet:
            line = faults.line(("subnets", other.name))
            message = f"the VNI {number} of `{name}` is that of `{other.name}` already, line {line}"
            faults.add_at_key(("subnets", name), message, f"write `vni:` with another number from 1 to {VNI_MAX}")
