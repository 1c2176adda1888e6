"""A container on a bridge of the host's own (`direct`, `existing`): what the bridge's own protocols would take from it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine
from tests.harness.packets.attacker import attack, mac_of
from tests.harness.packets.build import IP4, checksum, ethernet, ip
from tests.harness.packets.forged import multicast_routers4, reports
from tests.harness.packets.frames import Node
from tests.harness.worlds.lan import build_lan, write

pytestmark = pytest.mark.kernel

TEXT = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets:
  lan: {cidr: 192.0.2.0/24, mode: direct, bridge: {existing: br0}}
  own: {cidr: 10.44.0.0/24}
containers:
  web: {networks: {lan: 192.0.2.50}}
  db: {networks: {lan: 192.0.2.51}}
  one: {networks: {own: auto}}
  two: {networks: {own: auto}}
"""
PLACES = {"host": ("", "br0")}
ETH_P_802_2 = 4
"""What the kernel calls frames with a length and an LLC header (linux/if_ether.h)."""
ROOT = bytes(2) + bytes.fromhex("020000000001")
BPDU = b"\x42\x42\x03" + bytes(5) + ROOT + bytes(4) + ROOT + struct.pack("!HHHHH", 0x8001, 0, 20 << 8, 2 << 8, 15 << 8)
"""A configuration message of a bridge that would be the root: priority 0 (IEEE 802.1D, 9.3.1)."""
LISTENER = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(KIND))
wire.bind(("PORT", KIND))
wire.settimeout(2)
open("READY", "w").close()
try:
    wire.recv(100)
    print("arrived")
except TimeoutError:
    print("nothing")
"""


@pytest.fixture(scope="module")
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


def test_of_igmp_only_reports_pass(host: Machine) -> None:
    """No message of IGMP that only routers send passes, by which a switch beyond would learn its routers; reports do."""
    own, other = (Node(mac_of(host, f"here.{name}"), f"10.44.0.{last}", "fd44::1") for name, last in (("one", 2), ("two", 3)))
    places = {"host": ("", "b-here-own"), "other": ("here.two", "eth0")}
    frames = {name: frame for name, frame in multicast_routers4(own, other).items() if ":" not in name}
    assert attack(host, frames, "here.one", places) == {name: set() for name in places}
    honest = {name: frame for name, frame in reports(own).items() if name.startswith("version")}
    assert attack(host, honest, "here.one", places) == {name: set(honest) for name in places}


@pytest.mark.parametrize("stp", [0, 1], ids=["no STP", "STP"])
@pytest.mark.parametrize(
    ("kind", "group"),
    [(ETH_P_802_2, "00"), (0x88CC, "0e"), (0x888E, "03"), (0x8809, "02")],
    ids=["BPDU", "LLDP", "EAPOL", "slow protocols"],
)
def test_a_daemon_on_a_port_hears_nothing_from_link_local_groups(host: Machine, kind: int, group: str, stp: int) -> None:
    """A receiver of the host for one protocol on a container's port gets no frame to a group that a bridge keeps to itself.

    The kernel's own spanning tree is such a receiver, of 802.2 frames. But it is one only in the machine's first namespace
    (llc_rcv in net/llc/llc_input.c), where no test goes.
    """
    host.sh(f"ip link set br0 type bridge stp_state {stp}")
    frame = ethernet(mac_of(host, "here.web"), f"01:80:c2:00:00:{group}", *(
        (len(BPDU), BPDU) if kind == ETH_P_802_2 else (kind, bytes(46))
    ))  # fmt: skip
    assert heard(host, "v-here-web-lan", kind, "here.web", frame) == "nothing"


@pytest.mark.parametrize(("attacker", "other"), [("here.web", "here.db"), ("here.one", "here.two")], ids=["existing", "own"])
def test_a_bridge_without_stp_forwards_no_bpdu(host: Machine, attacker: str, other: str) -> None:
    """A bridge that takes no part in STP forwards its frames like any others, and the filter drops them: on either bridge."""
    host.sh("ip link set br0 type bridge stp_state 0")
    frame = ethernet(mac_of(host, attacker), "01:80:c2:00:00:00", len(BPDU), BPDU)
    bridge = "br0" if attacker == "here.web" else "b-here-own"
    places = {"host": ("", bridge), "other": (other, "eth0"), "LAN": ("other", "eth0")}
    assert attack(host, {"bpdu": frame}, attacker, places) == {name: set() for name in places}


def heard(host: Machine, port: str, kind: int, attacker: str, frame: bytes) -> str:
    """What a socket on the port that takes one protocol says when the frame was sent."""
    ready = host.folder / "ready"
    ready.unlink(missing_ok=True)
    code = LISTENER.replace("KIND", str(kind)).replace("READY", str(ready)).replace("PORT", port)
    listener = host.start_command(sys.executable, "-c", code)
    host.sh(f"until [ -e {ready} ]; do sleep 0.01; done")
    attack(host, {"frame": frame}, attacker, PLACES)
    return listener.wait().out.strip()
