"""An apply that is rolled back restores all that was deleted with what it had removed, and says so only after it has looked."""

from __future__ import annotations

import signal
import time

import pytest

from tests.harness.faults.strike import GO_ON, Fault, quick_netctl, start_quick
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.topologies.local import edit, write

pytestmark = pytest.mark.kernel

ROLLED_BACK = 4
HEAD = "version: 1\nname: shop\nhosts: {h: {connect: HOST, address: 192.0.2.11}}\n"
SUBNETS = 'subnets: {a: {cidr: 10.44.0.0/24}, b: {cidr: [10.45.0.0/24, "fd45::/64"]}}\n'
WITH_SETTINGS = (
    HEAD
    + SUBNETS
    + """\
containers:
  c1:
    networks:
      a: auto
      b:
        address: auto
        sysctls: {net.ipv4.conf.IFNAME.log_martians: 1, net.ipv6.conf.IFNAME.hop_limit: 7, net.ipv4.neigh.IFNAME.ucast_solicit: 5}
  c3: {networks: {b: auto}}
"""
)
WITHOUT = HEAD + SUBNETS + "containers:\n  c1: {networks: {a: auto}}\n  c2: {networks: {a: auto}, command: BROKEN}\n"


UPLINK = "ip link add eth0 type bridge; ip address add 192.0.2.11/24 dev eth0; ip link set eth0 up"


def settings_of(machine: Machine, netns: str) -> str:
    return machine.sh("cd /proc/sys/net; grep -s . ipv[46]/conf/*/* ipv[46]/neigh/*/* || true", netns=netns)


@pytest.mark.parametrize("connect", ["lab", "local"])
def test_settings_come_back(machine: Machine, connect: str) -> None:
    """Of a container's interface, of a bridge, of a whole namespace; the file's, netctl's own and those of an administrator."""
    machine.sh(UPLINK)
    file = write(machine, WITH_SETTINGS.replace("HOST", connect))
    assert quick_netctl(machine, "apply", file)[0].status == 0
    host = "shop.lab.h" if connect == "lab" else ""
    machine.sh("echo 1 > /proc/sys/net/ipv4/conf/b-shop-b/accept_local", host)
    machine.sh("echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_announce", "shop.c3")
    spaces = [host, "shop.c1", "shop.c3"]
    without = WITHOUT.replace("HOST", connect).replace("BROKEN", UNSTARTABLE)
    before, settings = read_live(machine), [settings_of(machine, each) for each in spaces]
    done = quick_netctl(machine, "apply", write(machine, without, "without.yaml"))[0]
    assert (done.status, "as it was before" in done.err) == (ROLLED_BACK, True)
    assert [settings_of(machine, each) for each in spaces] == settings
    assert differences(before, read_live(machine)) == ""
    assert quick_netctl(machine, "diff", file)[0].status == 0


@pytest.mark.parametrize("kind", ["fail", "fail-late"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_interfaces_keep_their_names(machine: Machine, kind: str, at: int) -> None:
    """A container leaves its first network, so its other interface gets the name of that; an early step fails."""
    text = HEAD.replace("HOST", "lab") + SUBNETS + "containers: {c: {networks: {a: auto, b: auto}}}\n"
    file = write(machine, text)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    before = read_live(machine)
    wanted = write(machine, text.replace("a: auto, b: auto", "b: auto"), "wanted.yaml")
    done = quick_netctl(machine, "apply", wanted, fault=Fault(kind, at))[0]
    assert (done.status, "every host is as it was before\n" in done.err) == (ROLLED_BACK, True), done.err
    assert differences(before, read_live(machine)) == ""
    assert quick_netctl(machine, "diff", file)[0].status == 0


def test_a_veth_takes_the_name_of_a_macvlan(machine: Machine) -> None:
    """A container's macvlan goes, and its veth gets that name: the plan moves nothing aside."""
    text = HEAD.replace("HOST", "lab") + "subnets: {a: {cidr: 192.0.2.0/24, mode: macvlan}, b: {cidr: 10.45.0.0/24}}\n"
    file = write(machine, text + "containers: {c: {networks: {a: 192.0.2.50, b: auto}}}\n")
    assert quick_netctl(machine, "apply", file)[0].status == 0
    file = write(machine, text + "containers: {c: {networks: {b: auto}}}\n")
    assert "moved aside" not in quick_netctl(machine, "diff", "-v", file)[0].out
    assert quick_netctl(machine, "apply", file)[0].status == 0
    assert quick_netctl(machine, "diff", file)[0].status == 0


def test_what_another_deleted_is_no_rollback(machine: Machine) -> None:
    """An owned route that an administrator deletes while an apply fails is there again when netctl says that all is as before."""
    file = write(machine, WITH_SETTINGS.replace("HOST", "local"))
    machine.sh(UPLINK)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    before = read_live(machine)
    edit(file, ("c3: {networks: {b: auto}}", "c3: {networks: {b: auto}}\n  c4: {networks: {a: auto}}"))
    running, counter = start_quick(machine, "apply", file, fault=Fault("pause", 2))
    deadline = time.monotonic() + 20
    while not counter[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    machine.sh("ip -n shop.c3 route delete default; ip route delete 10.45.0.0/24")
    running.kill(signal.SIGINT)
    time.sleep(0.3)
    machine.sh(f"touch {GO_ON}")
    done = running.wait()
    machine.sh(f"rm {GO_ON}")
    assert done.status == ROLLED_BACK, done.err
    assert differences(before, read_live(machine)) == ""


def test_a_client_of_a_port_that_is_gone_reaches_the_host(furnished: Machine) -> None:
    """A UDP client that goes on sending from one port: after `destroy` its packets reach a program of the host's."""
    # The kernel goes on to translate as long as any table of the host has chains for it, as Docker's has.
    furnished.sh(f"nft add table ip nats '{{ {NAT_CHAINS} }}'")
    file = write(furnished, PORT)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    client = furnished.start_command("python3", "-c", CLIENT, netns="world")
    time.sleep(0.5)
    done = quick_netctl(furnished, "destroy", file)[0]
    assert done.status == 0, done.err
    heard = furnished.sh(f"timeout 10 python3 -c '{SERVER}'")
    client.kill(signal.SIGKILL)
    assert heard == "192.0.2.1 4000\n"


PORT = "version: 1\nname: shop\nhosts: {h: {connect: local}}\nsubnets: {a: {cidr: 10.44.0.0/24}}\n"
PORT += 'containers: {c: {networks: {a: auto}, ports: ["5353:53/udp"]}}\n'
NAT_CHAINS = (
    "chain in { type nat hook prerouting priority -100; tcp dport 9 redirect to 10; };"
    "chain local { type nat hook input priority 100; };"
)
CLIENT = """\
import socket, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 4000))
for _ in range(2000):
    one.sendto(b"x", ("192.0.2.11", 5353))
    time.sleep(0.01)
"""
SERVER = 'import socket; one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("", 5353)); print(*one.recvfrom(9)[1])'
