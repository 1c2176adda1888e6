"""`connect: local`: what a machine may have that conflicts, what it may lack, and what it must not lose."""

from __future__ import annotations

import socket
import sys
import time

import pytest

from reconciler.kernel.netfilter.nft import LIBRARY
from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = pytest.mark.kernel

NO_LIBRARY = f'mount --bind /dev/null "$(readlink -f "$(ldconfig -p | awk \'/{LIBRARY}/ {{print $NF; exit}}\')")"'
BAD_LUCK = {
    "an interface of somebody else's has the bridge's name": (
        "ip link add b-here-front type bridge",
        ("topology.yaml:6:3: host one has an interface b-here-front that is not netctl's", "ip link delete b-here-front"),
    ),
    "a route overlaps": (
        "ip route add 10.44.0.0/25 dev lo",
        ("subnet front (10.44.0.0/24) overlaps the route to 10.44.0.0/25", "give front a range that host one does not use"),
    ),
    "an address overlaps": (
        "ip address add fd44::77/128 dev lo",
        ("subnet front (fd44::/64) overlaps the address fd44::77/128",),
    ),
    "/run is read-only": ("mount -o remount,ro /run", ("Read-only file system", "mount -o remount,rw /run")),
    "/run is full": (
        "mount -o remount,size=1M /run; cat /dev/zero > /run/fill 2>/dev/null || true",
        ("No space left", "make room"),
    ),
    "/run has no inodes": (
        "mkdir -p /run/netctl; mount -t tmpfs -o nr_inodes=1,mode=0700 none /run/netctl",
        ("No space left", "df -i /run"),
    ),
    "/run/netctl is a file": (
        "touch /run/netctl",
        ("cannot use /run/netctl: Not a directory", "look at it, then remove it: it is not a directory"),
    ),
    "/proc/sys is read-only": (
        "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys",
        ("cannot write kernel settings: /proc/sys is mounted read-only", "mount -o remount,rw /proc/sys"),
    ),
    "what settings were before cannot be read": (
        "mkdir -p /run/netctl/local; echo junk > /run/netctl/local/sysctl",
        ("cannot parse /run/netctl/local/sysctl", "repair or delete the file"),
    ),
    "libnftables is not a library": (NO_LIBRARY, ("cannot load", "libnftables.so.1: file too short")),
}


FEW_FILES = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)); os.execv(sys.argv[1], sys.argv[1:])"
LOOK = "ip address; ip route; ip -6 route; cat /proc/sys/net/ipv4/ip_forward; ls /run/netns"


@pytest.mark.parametrize(("script", "words"), BAD_LUCK.values(), ids=BAD_LUCK.keys())
def test_bad_luck_is_found_before_anything_is_touched(machine: Machine, script: str, words: tuple[str, ...]) -> None:
    """Exit status 3, a sentence that says what is wrong and what to do, and a machine that is as it was."""
    path = write(machine, LOCAL)
    machine.sh(script)
    before = machine.sh(LOOK)
    done = machine.netctl("apply", path)
    assert done.status == 3, done.err
    assert all(each in done.err for each in words), done.err
    assert machine.sh(LOOK) == before


def test_too_few_open_files(machine: Machine) -> None:
    """Exit status 3 before anything is touched, and the number of files that are needed."""
    path = write(machine, LOCAL)
    before = machine.sh(LOOK)
    words = (sys.executable, "-c", FEW_FILES, sys.executable, "-m", "reconciler", "apply", str(path))
    done = machine.start_command(*words).wait()
    assert done.status == 3, done.err
    assert "files at once: the limit is 16" in done.err
    assert "ulimit -n 1024" in done.err
    assert machine.sh(LOOK) == before


@pytest.mark.parametrize(("limit", "statuses"), [(2, ["3"]), (6, ["3", "4"])])
def test_too_few_namespaces(machine: Machine, limit: int, statuses: list[str]) -> None:
    """The limit is named, before anything is touched or with all rolled back; nothing is left."""
    require_capability("user namespaces")  # which have such a limit of their own
    text = LOCAL.replace("policies:", "  more: {replicas: 12, networks: {front: auto}}\npolicies:")
    path = write(machine, text)
    script = f"""
        mount -t tmpfs -o mode=0755 none /run; ip link set lo up; echo {limit} > /proc/sys/user/max_net_namespaces
        {sys.executable} -m reconciler apply {path} 2>&1 || echo status $?
        ls /run/netns 2>/dev/null || true; ip -o link; nft list tables
    """
    told = machine.run("unshare", "-Unrm", "--propagation", "private", "sh", "-s", text=script).out
    assert "cannot create a network namespace: user.max_net_namespaces is reached" in told
    assert "sysctl -w user.max_net_namespaces" in told
    # The kernel takes its time to give a namespace back that netctl tries its firewall in, so the limit of 6 can be met early.
    assert told.partition("status ")[2].splitlines()[0] in statuses, told
    assert [line for line in told.partition("status ")[2].splitlines()[1:] if ": lo:" not in line] == [], "nothing is left"


def test_a_port_that_is_taken(machine: Machine) -> None:
    """The process that listens on a published port is named."""
    listener = [
        sys.executable,
        "-c",
        "import socket, time; s = socket.create_server(('', 8080)); print(flush=True); time.sleep(60)",
    ]
    path = write(machine, LOCAL)
    machine.start_command(*listener)
    deadline = time.monotonic() + 10
    while not machine.sh("ss -Hltn sport = :8080") and time.monotonic() < deadline:
        time.sleep(0.02)
    done = machine.netctl("apply", path)
    assert done.status == 3
    assert "port 8080/tcp of container web is listened on by python" in done.err


def advertise(link: str) -> str:
    """A program that says once, as a router: send me what is for elsewhere (RFC 4861, section 4.2)."""
    head = "134, 0, 0, 64, 0, 1800, 0, 0"
    return (
        "import socket, struct\n"
        f"s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, {int(socket.IPPROTO_ICMPV6)})\n"
        f"s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'{link}')\n"
        "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)\n"
        f"s.sendto(struct.pack('!BBHBBHII', {head}), ('ff02::1', 0, 0, socket.if_nametoindex('{link}')))\n"
    )


def default_route(machine: Machine, lifetime_s: int) -> str:
    """The default route from an advertisement, once it is there with at least this lifetime; "" where it does not come."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        machine.run(sys.executable, "-c", advertise("far"), netns="router", check=False)  # not before its address is there
        words = machine.sh("ip -6 route show default").split()
        if "expires" in words and int(words[words.index("expires") + 1].removesuffix("sec")) >= lifetime_s:
            return " ".join(words[: words.index("expires")])
        time.sleep(0.1)
    return ""


def test_a_default_route_by_advertisement_survives(machine: Machine) -> None:
    """A host that forwards IPv6 believes routers only if accept_ra is 2 (ip-sysctl.rst): apply sets it, and destroy resets it."""
    machine.sh(
        "ip netns add router; ip link add eth0 type veth peer name far netns router\n"
        "sysctl -qw net.ipv6.conf.eth0.accept_ra=1\n"
        "ip -n router link set far up; ip link set eth0 up"
    )
    before = default_route(machine, 1)
    assert "proto ra" in before
    path = write(machine, LOCAL)
    machine.netctl("apply", path)
    settings = "sysctl -n net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra"
    assert machine.sh(settings).split() == ["1", "2"]
    machine.sh("sleep 1.1")  # so that only an advertisement from now on gives the whole lifetime again
    assert default_route(machine, 1799) == before, "advertisements are still believed"
    assert machine.netctl("destroy", path).status == 0
    assert machine.sh(settings).split() == ["0", "1"]
    assert default_route(machine, 1) == before
