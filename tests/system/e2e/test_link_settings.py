"""What netctl relies on of the kernel's settings of links: it sets and watches it, whatever the host's own defaults are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reconciler.kinds.settings.link_settings import SETTINGS, Role
from tests.harness.machine import Machine
from tests.harness.netctl import UNSTARTABLE
from tests.harness.topologies.local import LOCAL, edit, write

SECOND = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets:
  first: {cidr: 10.44.0.0/24}
  second: {cidr: 10.45.0.0/24}
containers:
  web: {networks: {first: 10.44.0.10}}
"""
ONE_NETWORK, TWO_NETWORKS = (
    "web: {networks: {first: 10.44.0.10}}",
    'web: {networks: {first: 10.44.0.10, second: 10.45.0.10}, ports: [{listen: "8080", to: 80, network: second}]}',
)
SERVER = "import socket; s = socket.create_server(('10.45.0.10', 80)); print(flush=True); c, _ = s.accept(); c.sendall(b'yes')"
CLIENT = "import socket; print(socket.create_connection(('192.0.2.11', 8080), 3).recv(3).decode())"


def test_no_key_stands_twice_without_a_circumstance() -> None:
    """Two rows of a role for one key exclude each other: each says when it holds."""
    for role in Role:
        rows = SETTINGS[role]
        keys = [(row.family, row.group, row.name) for row in rows if row.when is None]
        assert len(keys) == len(set(keys))
        assert all(row.why for row in rows)


@pytest.mark.kernel
@pytest.mark.parametrize("scope", ["default", "all"])
def test_a_host_that_switches_ipv6_off_by_default(furnished: Machine, scope: str) -> None:
    """A dual-stack subnet is made where disable_ipv6 of `default`, or of `all`, is 1, and IPv6 passes to the gateway."""
    furnished.sh(f"sysctl -qw net.ipv6.conf.{scope}.disable_ipv6=1")
    path = write(furnished, LOCAL)
    done = furnished.netctl("apply", path)
    assert done.status == 0, done.err
    furnished.run("ping", "-c1", "-W2", "fd44::1", netns="here.web")
    assert furnished.netctl("diff", path).status == 0
    assert furnished.netctl("destroy", "--yes", path).status == 0
    assert furnished.sh(f"sysctl -n net.ipv6.conf.{scope}.disable_ipv6").strip() == "1"


@pytest.mark.kernel
def test_ipv6_of_a_bridge_that_is_switched_off(furnished: Machine) -> None:
    """With IPv6 off at a bridge the kernel drops its addresses and routes: an apply brings them back."""
    path = write(furnished, LOCAL)
    assert furnished.netctl("apply", path).status == 0
    furnished.sh("sysctl -qw net.ipv6.conf.b-here-front.disable_ipv6=1")
    assert furnished.netctl("status", path).status == 1
    done = furnished.netctl("apply", path)
    assert done.status == 0, done.err
    furnished.run("ping", "-c1", "-W2", "fd44::1", netns="here.web")


@pytest.mark.kernel
def test_a_second_network_behind_a_strict_filter(furnished: Machine) -> None:
    """A port of a container's second network answers, though rp_filter is strict (1) there before that network comes."""
    path = write(furnished, SECOND)
    assert furnished.netctl("apply", path).status == 0
    furnished.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1", netns="here.web")
    edit(path, (ONE_NETWORK, TWO_NETWORKS))
    done = furnished.netctl("apply", path)
    assert done.status == 0, done.err
    server = furnished.start_command(sys.executable, "-c", SERVER, netns="here.web")
    furnished.sh("until ss -Hltn sport = :80 | grep -q .; do sleep 0.05; done", netns="here.web")
    assert furnished.run(sys.executable, "-c", CLIENT, netns="world").out.strip() == "yes"
    assert server.wait().status == 0
    furnished.sh("sysctl -qw net.ipv4.conf.eth1.rp_filter=1", netns="here.web")
    assert furnished.netctl("status", path).status == 1


@pytest.mark.kernel
def test_a_value_of_the_file_wins(furnished: Machine) -> None:
    """A key under `sysctls` is the file's, also where netctl would have set it."""
    strict = TWO_NETWORKS.replace("10.44.0.10", "{address: 10.44.0.10, sysctls: {net.ipv4.conf.IFNAME.rp_filter: 1}}")
    path = write(furnished, SECOND.replace(ONE_NETWORK, strict))
    done = furnished.netctl("apply", path)
    assert done.status == 0, done.err
    shown = furnished.sh("sysctl -n net.ipv4.conf.eth0.rp_filter net.ipv4.conf.eth1.rp_filter", netns="here.web")
    assert shown.split() == ["1", "2"]


@pytest.mark.kernel
def test_forwarding_of_the_uplink_comes_back(furnished: Machine) -> None:
    """Forwarding that is off on the uplink alone is drift; `destroy` restores what was there before."""
    furnished.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.forwarding=0")
    path = write(furnished, LOCAL)
    assert furnished.netctl("apply", path).status == 0
    assert furnished.sh("sysctl -n net.ipv4.conf.eth0.forwarding").strip() == "1"
    furnished.sh("sysctl -qw net.ipv4.conf.eth0.forwarding=0")
    status = furnished.netctl("status", path)
    assert status.status == 1
    assert "net.ipv4.conf.eth0.forwarding" in status.out
    assert furnished.netctl("apply", path).status == 0
    assert furnished.netctl("destroy", "--yes", path).status == 0
    assert furnished.sh("sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding").split() == ["1", "0"]


@pytest.mark.kernel
def test_an_uplink_that_alone_forwarded_does_so_again(furnished: Machine) -> None:
    """`destroy` restores the uplink's forwarding after the host's, because a change of that one sets all links."""
    furnished.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.eth0.forwarding=1")
    path = write(furnished, LOCAL)
    assert furnished.netctl("apply", path).status == 0
    assert furnished.netctl("destroy", "--yes", path).status == 0
    assert furnished.sh("sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding").split() == ["0", "1"]


@pytest.mark.kernel
def test_a_rollback_restores_an_uplink_that_alone_forwarded(furnished: Machine) -> None:
    """The same after an apply that fails: it ends with 4, and with each value as it was."""
    furnished.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.eth0.forwarding=1")
    path = write(furnished, LOCAL.replace("[sleep, infinity]", UNSTARTABLE))
    done = furnished.netctl("apply", path)
    assert done.status == 4, done.err
    assert furnished.sh("sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding").split() == ["0", "1"]


@pytest.mark.kernel
def test_a_script_restores_an_uplink_that_alone_forwarded(furnished: Machine, tmp_path: Path) -> None:
    """What `diff --commands` prints for a file without subnets leaves the same as `apply` would."""
    furnished.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.eth0.forwarding=1")
    path = write(furnished, LOCAL)
    assert furnished.netctl("apply", path).status == 0
    write(furnished, "version: 1\nname: here\nhosts: {one: {connect: local}}\n")
    script = furnished.netctl("diff", "--commands", path)
    (tmp_path / "script").write_text(script.out)
    done = furnished.run("sh", str(tmp_path / "script"))
    assert (done.status, done.err) == (0, "")
    assert furnished.sh("sysctl -n net.ipv4.ip_forward net.ipv4.conf.eth0.forwarding").split() == ["0", "1"]
