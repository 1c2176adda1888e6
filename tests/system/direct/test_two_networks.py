"""Containers that are on the LAN and in a subnet of their host's: published ports, policies, and what `verify` says of both."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from reconciler.kernel.namespaces import enter
from tests.harness.machine import Machine
from tests.harness.worlds.lan import pings, write

pytestmark = pytest.mark.kernel

TOPOLOGY = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: MODE}
  open: {cidr: [10.44.0.0/24, "fd44::/64"]}
  third: {cidr: [10.45.0.0/24, "fd45::/64"]}
  wide: {cidr: 10.46.0.0/24, mode: routed}
containers:
  web:
    networks: NETWORKS
    ports: [{listen: "8020", to: 80, network: open}]
  db: {networks: {third: [10.45.0.5, "fd45::5"]}}
  far: {networks: {wide: 10.46.0.5}}
policies:
  - {allow: web, to: db}
"""
WAYS = {
    "the host first": '{open: [10.44.0.10, "fd44::10"], lan: [192.0.2.60, "2001:db8::60"]}',
    "the LAN first": '{lan: [192.0.2.60, "2001:db8::60"], open: [10.44.0.10, "fd44::10"]}',
}


def answer(machine: Machine, client: str, address: str, port: int) -> str:
    """What a server in `web` sends to the client in the namespace; "" if none answers."""

    def serve() -> int:
        enter("/run/netns/here.web")
        signal.alarm(10)
        with socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            print("ready", flush=True)
            connection, (peer, *_) = server.accept()
            connection.sendall(peer.removeprefix("::ffff:").encode())
            connection.close()
        return 0

    def ask() -> int:
        enter(f"/run/netns/{client}")
        with socket.create_connection((address, port), timeout=3) as connection:
            print(connection.recv(64).decode(), end="", flush=True)
        return 0

    server = machine.start(serve)
    while os.fstat(server.out.fileno()).st_size == 0:
        time.sleep(0.01)
    try:
        return machine.start(ask).wait(10).out
    finally:
        server.kill(signal.SIGKILL)
        server.wait()


@pytest.mark.parametrize("networks", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("mode", ["direct", "macvlan"])
def test_a_published_port_and_a_policy(host: Machine, mode: str, networks: str) -> None:
    """The port answers the LAN and those beyond its router, the policy works, the second apply does nothing, verify agrees."""
    path = write(host, TOPOLOGY.replace("MODE", mode).replace("NETWORKS", networks))
    applied = host.netctl("apply", path)
    assert applied.status == 0, applied.err
    for address in ("192.0.2.11", "[2001:db8::11]"):
        assert answer(host, "other", address.strip("[]"), 8020), f"a neighbor on the LAN asks {address}"
    assert answer(host, "router", "192.0.2.11", 8020)
    for target in ("10.45.0.5", "fd45::5"):
        assert pings(host, target, "here.web"), f"the policy lets web reach {target}"
    assert host.netctl("diff", path).status == 0
    verified = host.netctl("verify", path)
    assert verified.status == 0, verified.out
