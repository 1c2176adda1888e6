"""Rules about VXLANs, of a topology that is otherwise valid (see `check_overlays`)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.topology.faults import FaultList
from reconciler.topology.types import Topology


def check_ports(topology: Topology, spanning: Mapping[str, tuple[str, ...]], faults: FaultList) -> None:
    """The UDP port of a VXLAN belongs to the kernel on every host of the subnet."""
    taken: dict[tuple[str, int], str] = {}
    for name, hosts in spanning.items():
        subnet = topology.subnets[name]
        if subnet.tunnel == "vxlan":
            taken |= {(host, subnet.vxlan_port): name for host in hosts}
    for container in topology.containers.values():
        for publication in container.publications:
            ports = range(publication.port, publication.port + publication.count)
            for host, port in taken:
                if publication.protocol == "udp" and port in ports and host in publication.hosts:
                    faults.add(
                        publication.path,
                        f"port {port}/udp of `{host}` is that of the VXLAN of `{taken[host, port]}`",
                        f"publish another port, or write `vxlan_port:` in `{taken[host, port]}`",
                    )
