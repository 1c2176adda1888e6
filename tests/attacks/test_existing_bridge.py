"""A container on a bridge of the host's own (`direct`, `existing`): what the bridge's own protocols would take from it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import pytest

from tests.attacks.attacker import attack, mac_of
from tests.attacks.packets import IP4, checksum, ethernet, ip
from tests.conftest import require_capability
from tests.direct.lan import build_lan, write
from tests.e2e.machine import Machine

pytestmark = pytest.mark.kernel

TEXT = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: 192.0.2.0/24, mode: direct, bridge: {existing: br0}}}
containers: {web: {networks: {lan: 192.0.2.50}}}
"""
PLACES = {"host": ("", "br0")}
LISTENER = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(KIND))
wire.bind(("v-here-web-lan", KIND))
wire.settimeout(2)
open("READY", "w").close()
try:
    wire.recv(100)
    print("arrived")
except TimeoutError:
    print("nothing")
"""


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose uplink is in a bridge of its own, which looks at multicast groups as bridges do by default."""
    for name in ("root", "nft", "ping"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("host"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        build_lan(machine)
        machine.sh("ip link add br0 type bridge; ip link set br0 up; ip link set eth0 master br0; ip address flush dev eth0")
        machine.sh("ip address add 192.0.2.11/24 dev br0; ip route add default via 192.0.2.1")
        applied = machine.netctl("apply", write(machine, TEXT))
        assert applied.status == 0, applied.err
        yield machine
    finally:
        machine.end()


def test_a_container_is_no_multicast_router(host: Machine) -> None:
    """A greeting of PIM or an advertisement of a multicast router brings a container no groups that it has not joined."""
    advertisement = struct.pack("!BBHI", 0x30, 20, 0, 0)
    advertisement = advertisement[:2] + struct.pack("!H", checksum(advertisement)) + advertisement[4:]
    frames = {
        "pim": ethernet(
            mac_of(host, "here.web"),
            "01:00:5e:00:00:0d",
            IP4,
            ip("192.0.2.50", "224.0.0.13", 103, b"\x20\0\xdf\xff\0\0\0\0", ttl=1),
        ),
        "mrd": ethernet(
            mac_of(host, "here.web"), "01:00:5e:00:00:6a", IP4, ip("192.0.2.50", "224.0.0.106", 2, advertisement, ttl=1)
        ),
    }
    assert attack(host, frames, "here.web", PLACES) == {"host": set()}
    assert "v-here-web-lan" not in host.sh("bridge -d mdb show dev br0")


@pytest.mark.parametrize(("kind", "group"), [(0x888E, "03"), (0x8809, "02")], ids=["EAPOL", "slow protocols"])
def test_a_daemon_on_a_port_hears_nothing_from_link_local_groups(host: Machine, kind: int, group: str) -> None:
    """A socket of the host for one protocol on a container's port gets no frame to a group that the bridge does not forward."""
    ready = host.folder / "ready"
    code = LISTENER.replace("KIND", str(kind)).replace("READY", str(ready))
    listener = host.start_command(sys.executable, "-c", code)
    host.sh(f"until [ -e {ready} ]; do sleep 0.01; done")
    frame = ethernet(mac_of(host, "here.web"), f"01:80:c2:00:00:{group}", kind, bytes(46))
    attack(host, {"frame": frame}, "here.web", PLACES)
    assert listener.wait().out.strip() == "nothing"
