"""DHCP on a LAN: containers that ask for an address, and containers that may not hand any out."""

from __future__ import annotations

import json
import time

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.worlds.lan import pings, serve_dhcp, write

pytestmark = pytest.mark.kernel

HEAD = """\
version: 1
name: here
hosts: {one: {connect: local}}
"""


@pytest.fixture
def served(host: Machine) -> Machine:
    """The LAN has a DHCP server, which is a router for IPv6 too."""
    for name in ("dnsmasq", "udhcpc"):
        require_capability(name)
    serve_dhcp(host, router6=True)
    return host


def lease_of(machine: Machine, container: str) -> str:
    """The address that the LAN has given; waited for."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        words = machine.run("ip", "-n", f"here.{container}", "-4", "-o", "address", "show", "dev", "eth0").out.split()
        if "dynamic" in words:
            return words[words.index("inet") + 1].partition("/")[0]
        time.sleep(0.05)
    pytest.fail(f"{container} has no lease: " + machine.sh("cat /run/dnsmasq.log /run/netctl/here/*.log"))


@pytest.mark.parametrize("mode", ["direct", "macvlan"])
def test_a_lease(served: Machine, mode: str) -> None:
    """An address and the default route come from the LAN, are asked for and renewed, are no drift, and go with the container."""
    subnet = f'  lan: {{cidr: [192.0.2.0/24, "2001:db8::/64"], mode: {mode}}}\n'
    text = HEAD + "subnets:\n" + subnet + "containers:\n  web: {networks: {lan: dhcp}}\n"
    text += "  two: {networks: {lan: {address: dhcp}}}\n"
    path = write(served, text)
    applied = served.netctl("apply", path)
    assert applied.status == 0, applied.err
    address = lease_of(served, "web")
    assert address.startswith("192.0.2.1")
    assert lease_of(served, "two") != address
    assert "default via 192.0.2.1" in served.run("ip", "-n", "here.web", "route").out
    assert pings(served, address, "other")
    assert pings(served, "203.0.113.10", "here.web")
    mac = next(link["address"] for link in json.loads(served.run("ip", "-n", "here.web", "-j", "link", "show", "eth0").out))
    deadline = time.monotonic() + 20
    while "dynamic" not in served.run("ip", "-n", "here.web", "-6", "address").out and time.monotonic() < deadline:
        time.sleep(0.1)
    assert f"RTR-SOLICIT(eth0) {mac}" in served.sh("cat /run/dnsmasq.log"), "it waited for the router's next advertisement"
    assert pings(served, "2001:db8::30", "here.web")
    assert served.netctl("diff", path).status == 0
    assert f"lease {address}" in served.netctl("status", path).out
    verified = served.netctl("verify", path)
    assert verified.status == 0, verified.out
    spoof = ("ip", "netns", "exec", "here.web", "ping", "-c", "1", "-W", "1", "-I", "192.0.2.11", "192.0.2.30")
    served.run("ip", "-n", "here.web", "address", "add", "192.0.2.11/32", "dev", "lo")
    if mode == "direct":
        assert served.run(*spoof, check=False).status != 0
    served.run("ip", "-n", "here.web", "address", "delete", "192.0.2.11/32", "dev", "lo")
    served.sh("pkill -KILL -f 'udhcpc.*dhcp.sh' || true")
    assert served.netctl("status", path).status == 1
    assert served.netctl("apply", path).status == 0
    assert lease_of(served, "web") == address
    fixed = text.replace("web: {networks: {lan: dhcp}}", "web: {networks: {lan: 192.0.2.50}}")
    changed = served.netctl("apply", write(served, fixed))
    assert changed.status == 0, changed.err
    assert address not in served.run("ip", "-n", "here.web", "address").out
    assert pings(served, "192.0.2.50", "other")
    served.sh("ip netns delete here.two")  # its client lives on, in a namespace that has no name any more
    assert served.netctl("destroy", path).status == 0
    assert served.sh("pgrep -f 'udhcpc.*dhcp.sh' || true; find /run/netctl 2>/dev/null || true") == ""


def test_no_container_is_the_lans_dhcp_server_or_router(served: Machine) -> None:
    """A container's DHCP server and its router advertisements reach no other node, unless the file allows them."""
    served.sh("kill $(cat /run/dnsmasq.pid)")
    networks = '{lan: {address: [192.0.2.60, "2001:db8::60"]ALLOW}}'
    text = HEAD + 'subnets: {lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: direct}}\n'
    text += "containers:\n  rogue: {networks: " + networks
    path = write(served, text.replace("ALLOW", "") + "}\n")
    assert served.netctl("apply", path).status == 0
    served.sh(
        """
        ip netns exec here.rogue dnsmasq --conf-file=/dev/null --port=0 --interface=eth0 --pid-file=/run/rogue.pid --user=root \
            --dhcp-range=192.0.2.200,192.0.2.210,2m --enable-ra --dhcp-range=2001:db8::,ra-only,64 --dhcp-leasefile=/run/rogue
        """
    )
    ask = ("udhcpc", "-f", "-q", "-n", "-t", "3", "-T", "1", "-i", "eth0", "-s", "/bin/true")
    rdisc = "sysctl -qw net.ipv6.conf.eth0.accept_ra=2; ip link set eth0 down; ip link set eth0 up; sleep 2"
    rdisc += "; ip -6 route show default"
    assert served.run(*ask, check=False, netns="other").status != 0
    assert served.sh(rdisc, netns="other") == ""
    allowed = text.replace("ALLOW", ", allow: [dhcp-server, router-advertisements]") + "}\n"
    assert served.netctl("apply", write(served, allowed)).status == 0
    assert served.run(*ask, check=False, netns="other").status == 0
    assert "proto ra" in served.sh(rdisc, netns="other")
    served.sh("kill $(cat /run/rogue.pid)")
