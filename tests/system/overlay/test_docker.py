"""Containers of two dockerds, one in each lab host, on one segment, beside Docker's own rules, which drop what is not theirs."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.worlds.overlay import PATIENCE_S, LabWorld

pytestmark = pytest.mark.docker

BARE = """
version: 1
name: NAME
hosts:
  alpha: {connect: lab, address: 192.0.2.11DOCKER_ALPHA}
  beta: {connect: lab, address: 192.0.2.12DOCKER_BETA}
subnets:
  front: {cidr: [10.180.0.0/24, "fd00:180::/64"]}
  back: {cidr: 10.181.0.0/24, overlay: routes, mode: isolated}
"""
CONTAINERS = """
containers:
  web: {host: alpha, image: "busybox:latest", command: [sleep, "1000"], networks: {front: auto, back: auto}}
  api:
    host: beta
    image: busybox:latest
    command: [sleep, "1000"]
    networks: {front: auto, back: auto}
    ports: [{listen: 9090, to: 90, on: [alpha, beta]}]
  bare: {host: beta, networks: {front: auto}}
"""


def wait_until_listening(daemon: Dockerd, container: str) -> None:
    """On port 90."""
    deadline = time.monotonic() + PATIENCE_S
    while ":90 " not in daemon.docker("exec", container, "netstat", "-ltn") and time.monotonic() < deadline:
        time.sleep(0.05)


def test_containers_of_two_dockerds_are_on_one_segment(world: LabWorld) -> None:
    """They and a bare namespace reach each other by VXLAN and by routes, published ports included; verify says the same."""
    world.apply(BARE.replace("DOCKER_ALPHA", "").replace("DOCKER_BETA", ""))
    with ExitStack() as stack:
        daemons = {host: stack.enter_context(dockerd_in(f"{world.name}.lab.{host}")) for host in ("alpha", "beta")}
        text = BARE + CONTAINERS
        for host, daemon in daemons.items():
            text = text.replace(f"DOCKER_{host.upper()}", f', docker: "{daemon.url}"')
        try:
            world.apply(text)
            rules = world.inside("lab.alpha").run("iptables", "-S", "FORWARD").stdout
            assert "-P FORWARD DROP" in rules
            for dev, size in (("eth0", 1450), ("eth1", 1500)):
                shown = daemons["beta"].docker("exec", f"{world.name}-api", "ip", "-o", "address", "show", dev).splitlines()
                address = next(line.split()[3].partition("/")[0] for line in shown if " inet " in line)
                asked = daemons["alpha"].docker("exec", f"{world.name}-web", "ping", "-c1", "-W2", address)
                assert "1 packets received" in asked, (dev, size)
            for address in ("192.0.2.11", "192.0.2.12"):
                words = ("exec", "-d", f"{world.name}-api", "sh", "-c", "echo hello | nc -l -p 90")
                daemons["beta"].docker(*words)
                wait_until_listening(daemons["beta"], f"{world.name}-api")
                assert world.ask("lab.outside", address, 9090) == "hello\n"
            world.verify()
        finally:
            world.apply(BARE.replace("DOCKER_ALPHA", f', docker: "{daemons["alpha"].url}"').replace(
                "DOCKER_BETA", f', docker: "{daemons["beta"].url}"'))  # fmt: skip
