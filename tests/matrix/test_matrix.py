"""Invariants 1 and 2 for every mode, bridge and runtime that go together, in one machine on a LAN with a real Open vSwitch.

Docker and Podman have the same in `tests/engine/test_runtimes_contract.py`, which needs their daemons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Outcome, require_capability
from tests.direct.lan import build_lan, pings
from tests.dockerd import make_rootfs
from tests.e2e.faults import quick_netctl
from tests.e2e.live import Snapshot, differences, read_live
from tests.e2e.machine import Machine
from tests.ovs.world import FOREIGN, START

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(1), pytest.mark.invariant(2)]

SECOND = """
ip link add eth1 address 02:aa:00:00:00:22 type veth peer name second netns switch
ip -n switch link set second master lan up
ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip link set br0 up; ip link set eth1 master br0 up
"""
"""A bridge that the host has already, with another cable to the LAN."""
PASSING = re.compile(r'"(valid_life_time|preferred_life_time|expires)": \d+')
MODES = ("nat", "routed", "isolated", "direct", "macvlan")
ON_LAN = ("direct", "macvlan")
BRIDGES = {"linux": "linux", "openvswitch": "openvswitch", "existing": "{existing: br0}"}
STAYS = "[sh, -c, \"trap 'exit 0' TERM; sleep 1000 & wait\"]"
CELLS = [
    *((mode, bridge, "netns") for bridge in ("linux", "openvswitch") for mode in MODES),
    ("direct", "existing", "netns"),
    *((mode, "linux", "lxc") for mode in ("nat", "direct", "macvlan")),
    ("nat", "openvswitch", "lxc"),
]


def is_refused(mode: str, bridge: str) -> bool:
    """The file cannot ask for a LAN on Open vSwitch."""
    return mode in ON_LAN and bridge == "openvswitch"


@dataclass(slots=True)
class World:
    """A machine, and what it held after the cell before."""

    machine: Machine
    before: Snapshot

    def netctl(self, verb: str, file: Path, status: int = 0) -> Outcome:
        """The command on the file; `status` is how it has to end."""
        done, _ = quick_netctl(self.machine, verb, file)
        assert done.status == status, f"{verb}: {done.out}{done.err}"
        return done


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """On a LAN, with Open vSwitch and a bridge of its own."""
    for name in ("root", "nft", "ping", "openvswitch", "lxc", "busybox"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("matrix"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        build_lan(machine)
        machine.sh(f"{START}{FOREIGN}{SECOND}")
        (machine.folder / "lxc").mkdir()
        make_rootfs(machine.folder / "rootfs")
        yield World(machine, look(machine))
    finally:
        machine.end()


def look(machine: Machine) -> Snapshot:
    """All there is, the database of Open vSwitch too; what counts down, and locks that LXC leaves, left out."""
    rows = machine.sh("ovs-vsctl -f csv --columns=name,external_ids list bridge; ovs-vsctl -f csv --columns=name list port")
    lines = {PASSING.sub("", line) for line in read_live(machine) if " file /run/lxc" not in line}
    return frozenset(lines | {f"ovs {row}" for row in rows.splitlines()})


def addresses(mode: str) -> tuple[str, str]:
    """Of the two containers."""
    return ("192.0.2.51", "192.0.2.52") if mode in ON_LAN else ("10.44.0.11", "10.44.0.12")


def write(machine: Machine, mode: str, bridge: str, runtime: str) -> Path:
    """Two containers on one subnet."""
    cidr = "192.0.2.0/24" if mode in ON_LAN else "10.44.0.0/24"
    image = f", image: {machine.folder}/rootfs" if runtime == "lxc" else ""
    containers = (
        f"  c{number}: {{runtime: {runtime}{image}, command: {STAYS}, networks: {{net: {address}}}}}\n"
        for number, address in enumerate(addresses(mode))
    )
    path = machine.folder / "topology.yaml"
    path.write_text(
        f"version: 1\nname: here\nhosts: {{one: {{connect: local, lxc: {machine.folder}/lxc}}}}\n"
        f"subnets: {{net: {{cidr: {cidr}, mode: {mode}, bridge: {BRIDGES[bridge]}}}}}\ncontainers:\n{''.join(containers)}"
    )
    return path


@pytest.mark.parametrize(("mode", "bridge", "runtime"), CELLS)
def test_cell(world: World, record_property: Callable[[str, object], None], mode: str, bridge: str, runtime: str) -> None:
    """Applied, reached, verified, applied again without a change, destroyed to the last; what is refused touches nothing."""
    refused = is_refused(mode, bridge)
    record_property("matrix", (mode, f"{bridge}, {runtime}"))
    record_property("held", "refused" if refused else "holds")
    file = write(world.machine, mode, bridge, runtime)
    if refused:
        world.netctl("apply", file, status=2)
    else:
        world.netctl("apply", file)
        assert all(pings(world.machine, address) for address in addresses(mode))
        if runtime == "netns":  # a probe that must fail takes a second, and does not depend on the runtime
            world.netctl("verify", file)
        wired = look(world.machine)
        assert world.netctl("apply", file).out.startswith("Nothing to do")
        assert differences(wired, look(world.machine)) == ""
        world.netctl("destroy", file)
    before, world.before = world.before, look(world.machine)
    assert differences(before, world.before) == ""
