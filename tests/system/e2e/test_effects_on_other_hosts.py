"""What one worker changes under the things of another: a single apply brings both to the file, and ends with 0."""

from __future__ import annotations

import pytest

from tests.harness.faults.strike import Fault, quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import edit, write

pytestmark = pytest.mark.kernel

FILE = """\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}
subnets:
  a: {cidr: 10.44.0.0/24, overlay: routes}
  v: {cidr: 10.45.0.0/24}
containers:
  web: {host: alpha, networks: {a: auto, v: auto}, command: [sleep, "777"]}
  db: {host: beta, networks: {a: auto, v: auto}, command: [sleep, "778"]}
"""
LOST = {
    "a lab host's namespace": "ip netns delete shop.lab.alpha",
    "a container's namespace": "ip netns delete shop.web",
    "both": "ip netns delete shop.lab.alpha; ip netns delete shop.web",
    "the bridge and the uplink of a lab host down": "ip -n shop.lab.alpha link set b-shop-a down; "
    "ip -n shop.lab.alpha link set eth0 down",
}


def without_vxlan(text: str) -> str:
    return text.replace("  v: {cidr: 10.45.0.0/24}\n", "").replace(", v: auto", "")


def commands(machine: Machine) -> list[str]:
    return sorted(line.split()[-1] for line in machine.sh("ps -e -o args").splitlines() if line.startswith("sleep "))


@pytest.mark.parametrize("text", [without_vxlan(FILE), FILE], ids=["routes", "routes-and-vxlan"])
def test_the_address_of_a_lab_host_changes(machine: Machine, text: str) -> None:
    """The lab takes an address away, and the kernel the routes that a host's worker has made over it: they are re-created."""
    file = write(machine, text)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    for change in (("192.0.2.12", "192.0.2.99"), ("192.0.2.99", "192.0.2.12")):
        edit(file, change)
        done = quick_netctl(machine, "apply", file)[0]
        assert done.status == 0, done.err
        assert quick_netctl(machine, "diff", file)[0].status == 0
        assert machine.run("ping", "-c1", "-W5", machine.sh("hostname -I", "shop.db").split()[0], netns="shop.web").status == 0


@pytest.mark.parametrize("script", LOST.values(), ids=LOST.keys())
def test_what_was_deleted_is_there_after_one_apply(machine: Machine, script: str) -> None:
    """Also where two workers have a part in it; and each command runs once."""
    file = write(machine, FILE)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    machine.sh(script)
    done = quick_netctl(machine, "apply", file)[0]
    assert done.status == 0, done.err
    assert quick_netctl(machine, "diff", file)[0].status == 0
    assert commands(machine) == ["777", "778"]


def test_a_rollback_looks_at_the_hosts_that_had_no_plan(machine: Machine) -> None:
    """If the lab's change is rolled back, so is what it took from a host that the plan did not touch."""
    file = write(machine, without_vxlan(FILE))
    assert quick_netctl(machine, "apply", file)[0].status == 0
    before = read_live(machine)
    edit(file, ("192.0.2.12", "192.0.2.99"))
    for at in (3, 5, 8):
        done = quick_netctl(machine, "apply", file, fault=Fault("fail", at))[0]
        assert done.status == 4, done.err
        assert differences(before, read_live(machine)) == ""
