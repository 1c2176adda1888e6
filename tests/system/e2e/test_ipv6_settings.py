"""The IPv6 settings of a container's links when IPv6 comes or goes, and of a link whose MTU is too small for it."""

from __future__ import annotations

import pytest

from tests.harness.faults.strike import Fault, quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.topologies.local import write

pytestmark = pytest.mark.kernel

ROLLED_BACK = 4
STEPS_MAX = 60
HEAD = 'version: 1\nname: shop\nhosts: {h: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}}\n'
ONE = HEAD + "subnets: {front: {cidr: PREFIXES}}\ncontainers: {c: {networks: {front: {address: auto, sysctls: {SETTINGS}}}}}\n"
IPV4, BOTH = "10.44.0.0/24", '[10.44.0.0/24, "fd44::/64"]'
LAN = HEAD + (
    'subnets: {front: {cidr: [10.44.0.0/24, "fd44::/64"]}, lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: MODE}}\n'
    "containers: {c: {networks: {front: auto, lan: ADDRESS}}}\n"
)


def apply(machine: Machine, text: str) -> None:
    """The file is applied, and nothing differs afterwards."""
    file = write(machine, text)
    done = quick_netctl(machine, "apply", file)[0]
    assert done.status == 0, done.err
    assert quick_netctl(machine, "diff", file)[0].status == 0


def setting(machine: Machine, key: str) -> str:
    return machine.sh(f"sysctl -n net.ipv6.conf.{key}", "shop.c").strip()


@pytest.mark.parametrize("ways", [(IPV4, BOTH), (BOTH, IPV4)], ids=["on", "off"])
def test_ipv6_is_as_before_after_a_rollback(machine: Machine, ways: tuple[str, str]) -> None:
    """A container gets IPv6, or loses it, and one step after another fails: each setting is as it was."""
    file, wanted = (
        write(machine, ONE.replace("PREFIXES", each).replace("SETTINGS", ""), f"{number}.yaml")
        for number, each in enumerate(ways)
    )
    assert quick_netctl(machine, "apply", file)[0].status == 0
    before = read_live(machine)
    for at in range(1, STEPS_MAX):
        done = quick_netctl(machine, "apply", wanted, fault=Fault("fail", at))[0]
        if done.status == 0:
            break
        assert done.status == ROLLED_BACK, done.err
        assert (at, differences(before, read_live(machine))) == (at, "")
    assert at > 10


@pytest.mark.parametrize("ways", [(IPV4, BOTH), (BOTH, IPV4)], ids=["on", "off"])
def test_ipv6_after_a_kill(machine: Machine, ways: tuple[str, str]) -> None:
    """A kill of netctl after each step of such a change: the next apply of either file leaves nothing halfway."""
    files = tuple(
        write(machine, ONE.replace("PREFIXES", each).replace("SETTINGS", ""), f"{number}.yaml")
        for number, each in enumerate(ways)
    )
    states = []
    for file in files:
        assert quick_netctl(machine, "apply", file)[0].status == 0
        states.append(read_live(machine))
    for at in range(1, 12, 2):
        for file, state in zip(files, states, strict=True):
            assert quick_netctl(machine, "apply", files[0])[0].status == 0
            quick_netctl(machine, "apply", files[1], fault=Fault("kill", at))
            assert quick_netctl(machine, "apply", file)[0].status == 0
            left = [line for line in differences(state, read_live(machine)).splitlines() if "forwarding" not in line]
            assert (at, left) == (at, [])


@pytest.mark.parametrize("name", ["accept_ra", "accept_dad"])
def test_a_setting_of_the_file_stays_when_ipv6_comes(machine: Machine, name: str) -> None:
    """A container gets IPv6, and its link keeps the value that the file has had for it before."""
    text = ONE.replace("SETTINGS", f"net.ipv6.conf.IFNAME.{name}: 1")
    for prefixes in (IPV4, BOTH):
        apply(machine, text.replace("PREFIXES", prefixes))
        assert setting(machine, f"eth0.{name}") == "1"


@pytest.mark.parametrize("ways", [(IPV4, BOTH), (BOTH, IPV4)], ids=["on", "off"])
def test_other_values_come_back(machine: Machine, ways: tuple[str, str]) -> None:
    """What the old file has set, or an administrator, is there after a rollback that switches IPv6 back."""
    text = ONE.replace("SETTINGS", "net.ipv6.conf.IFNAME.accept_ra: 1") + "policies: []\n"
    file = write(machine, text.replace("PREFIXES", ways[0]))
    assert quick_netctl(machine, "apply", file)[0].status == 0
    machine.sh("sysctl -qw net.ipv6.conf.eth0.accept_dad=2 net.ipv6.conf.default.accept_dad=2", "shop.c")
    before = read_live(machine)
    other = text.replace("PREFIXES", ways[1]).replace("net.ipv6.conf.IFNAME.accept_ra: 1", "")
    bad = f"containers:\n  bad: {{networks: {{}}, command: {UNSTARTABLE}}}\n  c: {{networks"
    wanted = write(machine, other.replace("containers: {c: {networks", bad).replace("}}}}\npol", "}}}\npol"), "wanted.yaml")
    done = quick_netctl(machine, "apply", wanted)[0]
    assert (done.status, "every host is as it was before\n" in done.err) == (ROLLED_BACK, True), done.err
    assert differences(before, read_live(machine)) == ""
    assert quick_netctl(machine, "diff", file)[0].status == 0


@pytest.mark.parametrize("mode", ["direct", "macvlan"])
def test_no_router_of_a_lan_that_gives_no_address_any_more(machine: Machine, mode: str) -> None:
    """A link that has had its addresses from the LAN accepts no advertisements when the file gives it an IPv4 address only."""
    fixed = "{address: 192.0.2.50, ipv6: false}"
    for address, value in ((fixed, "0"), ("dhcp", "2"), (fixed, "0")):
        apply(machine, LAN.replace("MODE", mode).replace("ADDRESS", address))
        assert setting(machine, "eth1.accept_ra") == value


def test_an_mtu_without_ipv6(machine: Machine) -> None:
    """A subnet whose MTU is too small for IPv6 is applied, and changed from a larger MTU and back, also with IPv6."""
    text = HEAD + "subnets: {front: {cidr: PREFIXES, mtu: MTU}}\ncontainers: {c: {networks: {front: auto}}}\n"
    for prefixes, mtu in ((IPV4, "1200"), (IPV4, "1400"), (IPV4, "1200"), (BOTH, "1400"), (IPV4, "1200")):
        apply(machine, text.replace("PREFIXES", prefixes).replace("MTU", mtu))


def test_settings_come_back_with_the_mtu(machine: Machine) -> None:
    """An MTU that is too small for IPv6 deletes its settings of a bridge and of both ends of a cable; they come back."""
    text = HEAD + "subnets: {front: {cidr: 10.44.0.0/24, mtu: MTU}}\ncontainers:\n  c: {networks: {front: auto}}\n"
    file = write(machine, text.replace("MTU", "1400"))
    assert quick_netctl(machine, "apply", file)[0].status == 0
    machine.sh("sysctl -qw net.ipv6.conf.b-shop-front.hop_limit=9 net.ipv6.conf.v-shop-c-front.hop_limit=7", "shop.lab.h")
    machine.sh("sysctl -qw net.ipv6.conf.eth0.hop_limit=8", "shop.c")
    before = read_live(machine)
    bad = f"  bad: {{networks: {{}}, command: {UNSTARTABLE}}}\n"
    done = quick_netctl(machine, "apply", write(machine, text.replace("MTU", "1200") + bad, "wanted.yaml"))[0]
    assert (done.status, "every host is as it was before\n" in done.err) == (ROLLED_BACK, True), done.err
    assert differences(before, read_live(machine)) == ""
    assert quick_netctl(machine, "diff", file)[0].status == 0
