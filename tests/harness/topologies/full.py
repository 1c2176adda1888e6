"""Topologies for tests of `compile`, as files would say them, and the facts that a host with a topology on it would report."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.compile import Desired
from reconciler.state.host import HostFacts, Lease
from reconciler.topology.load import parse_topology
from reconciler.topology.types import Topology

FULL = """
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8:1::11"]}
  beta: {connect: lab, address: 198.51.100.12}
subnets:
  front: {cidr: [10.44.0.0/24, "fd00:44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  far: {cidr: 10.46.0.0/24, mode: routed}
containers:
  web:
    host: alpha
    networks: {front: 10.44.0.10, back: auto}
    ports: [8080:80, "127.0.0.1:9000-9001:90-91/udp", {listen: "192.0.2.11:8443", to: 443, from: [198.51.100.0/24]}]
    command: [sleep, infinity]
  db: {host: alpha, image: "postgres:16", networks: {back: 10.45.0.20}}
  cache: {host: alpha, existing: true, networks: {front: auto}}
  worker: {host: beta, replicas: 3, networks: {far: auto}}
policies:
  - {allow: front, to: back, ports: [80/tcp]}
  - {allow: web, to: db, ports: [80-90/tcp]}
  - {allow: db, to: outside}
"""


def load(text: str) -> Topology:
    """The topology of a file with this text."""
    return parse_topology(text.encode())


def facts_of(desired: Desired) -> Mapping[str, HostFacts]:
    """What each host would report once `desired` is live on it."""
    resolved = desired.resolved
    leases: dict[str, list[Lease]] = {host: [] for host in resolved.host_subnets}
    for host, host_subnets in resolved.host_subnets.items():
        for host_subnet in host_subnets.values():
            leases[host] += [Lease(host_subnet.subnet, "", own.address) for own in host_subnet.addresses]
    for endpoints in resolved.endpoints.values():
        for endpoint in endpoints:
            leases[endpoint.host] += [Lease(endpoint.subnet, endpoint.container, own.address) for own in endpoint.addresses]
    return {host: HostFacts(exists=True, uplink="eth0", leases=tuple(held)) for host, held in leases.items()}
