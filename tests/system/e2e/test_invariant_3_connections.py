"""Invariant 3: changing one thing touches that thing only: the others' open TCP connections live on through it."""

from __future__ import annotations

import pytest

from tests.harness.faults.connections import Connection, start_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import read_pids
from tests.harness.machine import Machine
from tests.harness.topologies.local import edit, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(3)]

SHOP = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: 10.44.0.0/24}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  side: {cidr: 10.46.0.0/24}
containers:
  web: {host: alpha, networks: {front: 10.44.0.10}, ports: ["8080:80"]}
  app: {host: alpha, networks: {front: auto}}
  db: {host: alpha, networks: {back: 10.45.0.20}, command: [sleep, infinity]}
  other: {host: alpha, networks: {side: auto}, ports: ["9090:90"]}
  worker: {host: alpha, replicas: 2, networks: {front: auto}}
policies:
  - {allow: app, to: db, ports: [5432/tcp]}
"""

CHANGES = {
    "a container more, and replicas": [
        ("replicas: 2", "replicas: 4"),
        ("policies:", "  late: {host: alpha, networks: {front: auto, back: auto}}\npolicies:"),
    ],
    "a port more": [('"9090:90"', '"9090:90", "9091:91/udp"')],
    "a port less": [('"9090:90", ', "")],
    "a policy more": [("  - {allow: app", "  - {allow: other, to: web}\n  - {allow: app")],
    "a policy less": [("  - {allow: other, to: web}\n", "")],
    "a container made again": [("side: auto", "side: 10.46.0.77"), ("late: {host", "later: {host")],
    "a subnet's mode": [("side: {cidr: 10.46.0.0/24}", "side: {cidr: 10.46.0.0/24, mode: routed}")],
    "a subnet's MTU": [("mode: routed}", "mode: routed, mtu: 1400}")],
    "a subnet more": [
        ("containers:", "  extra: {cidr: 10.47.0.0/24}\ncontainers:"),
        ("side: 10.46.0.77", "side: auto, extra: auto"),
    ],
    "a subnet and containers less": [
        ("  extra: {cidr: 10.47.0.0/24}\n", ""),
        (", extra: auto", ""),
        ("replicas: 4", "replicas: 1"),
        ("  later: {host: alpha, networks: {front: auto, back: auto}}\n", ""),
    ],
    "a host less": [("  beta: {connect: lab, address: 192.0.2.12}\n", "")],
}


def test_invariant_3_connections_live_on(machine: Machine) -> None:
    """Through many changes of other things: in a subnet, across a policy, by a published port, by masquerade, to the host."""
    file = write(machine, SHOP)
    assert machine.netctl("apply", file).status == 0
    for netns, port in (("shop.web", 80), ("shop.db", 5432), ("shop.lab.outside", 7), ("shop.lab.alpha", 22)):
        start_server(machine, netns, port)
    connections = [
        Connection.open(machine, "shop.app", "10.44.0.10", 80),
        Connection.open(machine, "shop.app", "10.45.0.20", 5432),
        Connection.open(machine, "shop.lab.outside", "192.0.2.11", 8080),
        Connection.open(machine, "shop.app", "192.0.2.11", 8080),
        Connection.open(machine, "shop.app", "203.0.113.10", 7),
        Connection.open(machine, "shop.web", "192.0.2.11", 22),
        Connection.open(machine, "shop.lab.alpha", "10.44.0.10", 80),
    ]
    command = read_pids(machine, "sleep infinity")
    for name, replacements in CHANGES.items():
        edit(file, *replacements)
        done, _ = quick_netctl(machine, "apply", file)
        assert done.status == 0, f"{name}: {done.err}"
        for connection in connections:
            try:
                connection.check()
            except AssertionError as error:
                pytest.fail(f"after {name}: {error}")
        assert quick_netctl(machine, "diff", file)[0].status == 0, name
    assert read_pids(machine, "sleep infinity") == command
    # The check can fail: what is taken away is cut off.
    edit(
        file,
        ('ports: ["8080:80"]', "ports: []"),
        ("{allow: app, to: db, ports: [5432/tcp]}", "{allow: app, to: db, ports: [1/tcp]}"),
    )
    assert machine.netctl("apply", file).status == 0
    connections[0].check()
    with pytest.raises(AssertionError, match="dead"):
        connections[1].check()
