"""The changes that people make to a file: after each, the hosts are as if the file had always been so."""

from __future__ import annotations

import json

import pytest

from tests.harness.faults.strike import quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import edit, write

pytestmark = pytest.mark.kernel

START = """\
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: [192.0.2.11, "2001:db8::11"]}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
  open: {cidr: 10.46.0.0/24, mode: routed}
containers:
  web: {host: alpha, networks: {front: [10.44.0.10, "fd44::10"]}, ports: ["8080:80"]}
  db: {host: alpha, networks: {back: 10.45.0.20}, command: [sleep, infinity]}
  mail: {host: beta, networks: {open: 10.46.0.10}}
  worker: {host: beta, replicas: 1, networks: {open: 10.46.0.20}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""

CHANGES = {
    "a container more": [
        ("policies:", '  app: {host: alpha, networks: {front: [10.44.0.11, "fd44::11"], back: 10.45.0.11}}\npolicies:')
    ],
    "a container renamed": [("  app: {", "  apple: {")],
    "ports more and less": [('"8080:80"', '"8081:80", "127.0.0.1:9000:9000", "53:53/udp"')],
    "a source restricted": [('"53:53/udp"', "{listen: 53, to: 53, from: [192.0.2.0/24]}")],
    "a subnet more": [
        ("containers:", "  side: {cidr: 10.47.0.0/24}\ncontainers:"),
        ("10.46.0.10}", "10.46.0.10, side: 10.47.0.9}"),
    ],
    "isolated to nat": [("mode: isolated", "mode: nat")],
    "routed to isolated": [("mode: routed", "mode: isolated")],
    "policies more and less": [
        (
            "  - {allow: web, to: db, ports: [5432/tcp]}",
            "  - {allow: apple, to: front}\n  - {allow: mail, to: back, ports: [25/tcp, 100-200/udp]}",
        )
    ],
    "a hardware address": [('[10.44.0.10, "fd44::10"]', '{address: [10.44.0.10, "fd44::10"], mac: "02:00:00:00:44:10"}')],
    "the computed one again": [('{address: [10.44.0.10, "fd44::10"], mac: "02:00:00:00:44:10"}', '[10.44.0.10, "fd44::10"]')],
    "a command changed": [("infinity", '"99999"')],
    "an MTU": [("mode: nat", "mode: nat, mtu: 1400")],
    "IPv6 less": [
        ('[10.44.0.0/24, "fd44::/64"]', "10.44.0.0/24"),
        ('[10.44.0.10, "fd44::10"]', "10.44.0.10"),
        ('[10.44.0.11, "fd44::11"]', "10.44.0.11"),
    ],
    "a container moves to another host": [
        ("web: {host: alpha", "web: {host: beta"),
        ("apple: {host: alpha, networks: {front: 10.44.0.11, ", "apple: {host: alpha, networks: {"),
    ],
    "a host more": [
        ("subnets:", "  gamma: {connect: lab, address: 198.51.100.13}\nsubnets:"),
        ("mail: {host: beta", "mail: {host: gamma"),
        ("  worker: {host: beta, replicas: 1, networks: {open: 10.46.0.20}}\n", ""),
    ],
    "a host less": [("  beta: {connect: lab, address: 192.0.2.12}\n", ""), ("web: {host: beta", "web: {host: gamma")],
    "a container less": [
        ("  mail: {host: gamma, networks: {open: 10.46.0.10, side: 10.47.0.9}}\n", ""),
        ("  - {allow: mail, to: back, ports: [25/tcp, 100-200/udp]}\n", ""),
    ],
}


def count(seen: Snapshot) -> Snapshot:
    """What counts: where IPv6 was used once, settings of it stay that have no effect any more."""
    return frozenset(line for line in seen if "sysctl ipv6/" not in line and '"anycast"' not in line)


def test_each_change_leads_to_what_the_file_says(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> None:
    """After each of many changes diff is 0, and the hosts are those of another machine that has had only the last file."""
    file = write(machine, START)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    fresh = Machine.make(tmp_path_factory.mktemp("fresh"))
    try:
        fresh.sh("ip netns add x; ip netns delete x")
        for number, (name, replacements) in enumerate(CHANGES.items(), 1):
            edit(file, *replacements)
            done, _ = quick_netctl(machine, "apply", file)
            assert done.status == 0, f"{name}: {done.err}"
            assert quick_netctl(machine, "diff", file)[0].status == 0, name
            if number % 3 and number < len(CHANGES):
                continue  # what one change leaves behind is still there after the next two
            assert quick_netctl(fresh, "apply", file)[0].status == 0
            wrong = differences(count(read_live(fresh)), count(read_live(machine)))
            assert not wrong, f"{name}, or the two before it:\n{wrong}"
            assert quick_netctl(fresh, "destroy", file)[0].status == 0
    finally:
        fresh.end()


def addresses(machine: Machine) -> dict[str, str]:
    """Of eth0 of each container."""
    names = [name for name in machine.sh("ls /run/netns").split() if ".lab." not in name]
    shown = {name: machine.run("ip", "-j", "-4", "address", "show", "dev", "eth0", netns=name).out for name in names}
    return {name.partition(".")[2]: json.loads(text)[0]["addr_info"][0]["local"] for name, text in shown.items()}


def test_auto_addresses_stay(machine: Machine) -> None:
    """Containers that come, go, and change their name move no address of another; nor does --host."""
    text = START.replace('[10.44.0.10, "fd44::10"]', "auto").replace("10.46.0.20", "auto").replace("10.46.0.10", "auto")
    file = write(machine, text.replace("replicas: 1", "replicas: 4"))
    known: dict[str, str] = {}
    for replacements in (
        [],
        [("containers:", "containers:\n  aaa: {host: beta, networks: {open: auto}}")],
        [("replicas: 4", "replicas: 2")],
        [("replicas: 2", "replicas: 5"), ("mail: ", "zebra: ")],
        [("  aaa: {host: beta, networks: {open: auto}}\n", "")],
        [
            (
                "  zebra: {host: beta, networks: {open: auto}}",
                "  aa: {host: beta, networks: {open: auto}}\n  zebra: {host: beta, networks: {open: auto}}",
            )
        ],
    ):
        edit(file, *replacements)
        assert quick_netctl(machine, "apply", file)[0].status == 0
        now = addresses(machine)
        assert len(set(now.values())) == len(now)
        assert {name: address for name, address in known.items() if name in now} == {
            name: address for name, address in now.items() if name in known
        }
        known = now
    assert quick_netctl(machine, "apply", "--host", "alpha", file)[0].status == 0
    assert quick_netctl(machine, "diff", file)[0].status == 0
    assert addresses(machine) == known


def test_ipv6_that_comes_later_is_as_from_the_start(machine: Machine) -> None:
    """A container that gets IPv6 while it runs has the settings of one that was made with it, on the link that it has already."""
    later = "version: 1\nname: here\nhosts: {one: {connect: local}}\nsubnets: {back: {cidr: 10.45.0.0/24}}\n"
    later += "containers: {db: {networks: {back: auto}}}\n"
    file = write(machine, later)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    edit(file, ("cidr: 10.45.0.0/24", 'cidr: [10.45.0.0/24, "fd45::/64"]'))
    assert quick_netctl(machine, "apply", file)[0].status == 0
    look = "grep -s . /proc/sys/net/ipv6/conf/*/accept_dad /proc/sys/net/ipv6/conf/eth0/accept_ra"
    look += " /proc/sys/net/ipv6/conf/*/router_solicitations /proc/sys/net/ipv6/conf/*/disable_ipv6 || true"
    switched = machine.sh(look, netns="here.db")
    assert quick_netctl(machine, "destroy", file)[0].status == 0
    assert quick_netctl(machine, "apply", file)[0].status == 0
    assert machine.sh(look, netns="here.db") == switched
