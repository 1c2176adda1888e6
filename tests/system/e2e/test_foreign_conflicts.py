"""Routes and programs of others: what hinders a plan is refused before anything is touched, and nothing else is."""

from __future__ import annotations

import pytest

from tests.harness.faults.strike import quick_netctl
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine
from tests.harness.topologies.local import write

pytestmark = pytest.mark.kernel

FILE = """\
version: 1
name: shop
hosts: {h: {connect: local}}
subnets: {a: {cidr: [10.44.0.0/24, "fd44::/64"]}}
containers: {c1: {networks: {a: auto}, ports: ["8080:80"]}}
"""
TUNNEL = (
    "ip link add tun0 type veth peer name tun1; ip address add 198.18.0.2/24 dev tun0; ip link set tun0 up; ip link set tun1 up"
)
WIDE = """
ip route add 0.0.0.0/1 dev tun0; ip route add 128.0.0.0/1 dev tun0; ip route add 10.0.0.0/8 via 192.0.2.1
ip -6 route add fc00::/7 dev tun0; ip route add blackhole 10.44.0.0/16
"""
NARROW = "ip route add 10.44.0.128/25 dev tun0; ip -6 route add fd44::7:0/112 dev tun0"
COMMANDS = ("status", "diff", "verify", "apply")
LISTEN = 'import socket, time; one = socket.create_server(("", 8080)); print(1, flush=True); time.sleep(60)'


def test_a_vpn_does_not_conflict(furnished: Machine) -> None:
    """Routes that are shorter than a subnet's, before an apply or after it, hinder no command."""
    file = write(furnished, FILE)
    furnished.sh(TUNNEL + WIDE)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    for command in COMMANDS:
        done = quick_netctl(furnished, command, file)[0]
        assert (done.status, "foreign route" in done.out) == (0, False), done


def test_what_came_later_is_a_warning(furnished: Machine) -> None:
    """A VPN with routes into a subnet, and a program at a published port, are named by `status`; no command refuses."""
    file = write(furnished, FILE)
    furnished.sh(TUNNEL)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    furnished.sh(NARROW)
    furnished.start_command("python3", "-c", LISTEN)
    furnished.sh("until ss -Hlnt sport = :8080 | grep -q .; do sleep 0.02; done")
    for command in COMMANDS:
        done = quick_netctl(furnished, command, file)[0]
        assert done.status in ((0, 6) if command == "verify" else (0,)), done
    shown = quick_netctl(furnished, "status", file)[0].out
    for words in ("foreign route: tun0 10.44.0.128/25", "foreign route: tun0 fd44::7:0/112", "8080/tcp leads to container c1"):
        assert words in shown


def test_what_hinders_is_refused(furnished: Machine) -> None:
    """Before the first apply, a route into the subnet and a program at the port are refused, and nothing is touched."""
    file = write(furnished, FILE)
    furnished.sh(TUNNEL + "; " + NARROW)
    furnished.start_command("python3", "-c", LISTEN)
    furnished.sh("until ss -Hlnt sport = :8080 | grep -q .; do sleep 0.02; done")
    before = read_live(furnished)
    done = quick_netctl(furnished, "apply", file)[0]
    assert done.status == 3
    assert "10.44.0.128/25" in done.err
    assert "8080/tcp" in done.err
    assert differences(before, read_live(furnished)) == ""
