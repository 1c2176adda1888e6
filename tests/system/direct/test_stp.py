"""A bridge of the host's own that runs STP: a new port listens and learns before it forwards (IEEE 802.1D, 8.4)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.worlds.lan import build_lan, write

pytestmark = pytest.mark.kernel

TEXT = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: 192.0.2.0/24, mode: direct, bridge: {existing: br0}}}
containers: {web: {networks: {lan: 192.0.2.50}}}
"""
FORWARD_DELAY_S = 6
"""Twice of which is more than the 10 s that a bridge without STP gets."""


def state_of(machine: Machine, port: str) -> str:
    return str(json.loads(machine.run("bridge", "-j", "link", "show", "dev", port).out)[0]["state"])


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose uplink forwards in a bridge that runs STP."""
    for name in ("root", "nft", "ping"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("host"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        build_lan(machine)
        machine.sh("ip link add br0 type bridge; ip link set br0 up; ip link set eth0 master br0; ip address flush dev eth0")
        machine.sh("ip address add 192.0.2.11/24 dev br0; ip route add default via 192.0.2.1")
        machine.sh("ip link set br0 type bridge stp_state 1 forward_delay 200")
        deadline = time.monotonic() + 20
        while state_of(machine, "eth0") != "forwarding" and time.monotonic() < deadline:
            time.sleep(0.1)
        machine.sh(f"ip link set br0 type bridge forward_delay {100 * FORWARD_DELAY_S}")
        yield machine
    finally:
        machine.end()


def test_an_apply_waits_for_stp(host: Machine) -> None:
    """The apply waits twice the forward delay, says that it is STP, and packets pass when it ends."""
    begin_s = time.monotonic()
    done = host.netctl("apply", write(host, TEXT))
    assert done.status == 0, done.err
    assert f"waits {2 * FORWARD_DELAY_S} s for STP of the bridge br0" in done.err
    assert time.monotonic() - begin_s > 2 * FORWARD_DELAY_S - 1
    host.run("ping", "-c1", "-W2", "192.0.2.1", netns="here.web")


def test_a_wait_for_stp_can_be_stopped(host: Machine) -> None:
    """Ctrl-C during the wait takes everything back at once."""
    running = host.start_netctl("apply", write(host, TEXT))
    deadline = time.monotonic() + 20
    while "v-here" not in host.sh("bridge link show") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)
    running.kill(signal.SIGINT)
    begin_s = time.monotonic()
    done = running.wait()
    assert done.status == 4, done.err
    assert "every host is as it was before" in done.err
    assert time.monotonic() - begin_s < FORWARD_DELAY_S
    assert "v-here" not in host.sh("ip link show")
