"""The gravest attacks once more, from inside real containers of Docker, Podman and LXC, with the rights that the engine gives.

Frames are sent by a process that has the network namespace and the capabilities of the container's own. Commands are run by the
engine itself (`docker exec`). The containers have NET_RAW and NET_ADMIN, which LXC gives to all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker  # noqa: F401  here, so that no forked netctl has to import it
import pytest

from reconciler.compile.addresses import link_local_of
from tests.harness.capabilities import require_capability
from tests.harness.engines import Engine, running_all
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.netctl import Outcome
from tests.harness.packets.attacker import attack, mac_of
from tests.harness.packets.build import (
    ARP,
    BROADCAST,
    ICMP6,
    IP4,
    IP6,
    LINK_LOCAL_GROUPS,
    LLDP,
    arp_request,
    ethernet,
    ip,
    router_advertisement,
    udp,
    with_checksum,
)

pytestmark = pytest.mark.kernel

RUNTIMES = ("docker", "podman", "lxc")
ADDRESSES = {"docker": "10.44.0.11", "podman": "10.44.0.12", "lxc": "10.44.0.13"}
VICTIM, DATABASE, GATEWAY, HOST, NODE = "10.44.0.20", "10.45.0.20", "10.44.0.1", "192.0.2.11", "192.0.2.1"
CAPABILITIES = ("--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN")
UPLINK = f"""
ip netns add node; ip -n node link set lo up
ip link add eth0 type veth peer name eth0 netns node; ip link set eth0 up; ip -n node link set eth0 up
ip address add {HOST}/24 dev eth0; ip -n node address add {NODE}/24 dev eth0; ip route add default via {NODE}
"""
LISTENER = f"""
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("{NODE}", 4567))
server.settimeout(5)
open("READY", "w").close()
print(server.recvfrom(100)[1][1])
"""


@dataclass(frozen=True, slots=True)
class EngineWorld:
    """A host with a node on its uplink; in each engine a foreign container `evil-…`, which netctl has wired."""

    machine: Machine
    engines: dict[str, Engine]
    file: Path

    def netctl(self, verb: str) -> Outcome:
        return quick_netctl(self.machine, verb, self.file)[0]

    def pid(self, runtime: str) -> int:
        """The first process of the container, as the machine sees it."""
        return int(self.engines[runtime].pid(f"evil-{runtime}"))

    def mac(self, runtime: str) -> str:
        return self.machine.sh(f"nsenter --net=/proc/{self.pid(runtime)}/ns/net ip -br link show dev eth0").split()[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineWorld]:
    for name in ("root", "nft", "ping", "dockerd", "podman", "lxc", "busybox"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("engines"))
    try:
        machine.sh(UPLINK)
        with running_all(machine) as engines:
            for runtime, engine in engines.items():
                engine.run(f"evil-{runtime}", *(CAPABILITIES if runtime != "lxc" else ()))
            made = EngineWorld(machine, engines, write(machine, engines))
            applied = made.netctl("apply")
            assert applied.status == 0, applied.err + applied.out
            yield made
            done = made.netctl("destroy")
            assert done.status == 0, done.err + done.out
    finally:
        machine.end()


def write(machine: Machine, engines: dict[str, Engine]) -> Path:
    places = ", ".join(f'{runtime}: "{engine.url}"' for runtime, engine in engines.items())
    evil = "".join(
        f"  {runtime}: {{runtime: {runtime}, existing: evil-{runtime}, networks: {{front: {address}}}}}\n"
        for runtime, address in ADDRESSES.items()
    )
    path = machine.folder / "topology.yaml"
    path.write_text(
        f"version: 1\nname: here\nhosts: {{one: {{connect: local, {places}}}}}\n"
        f'subnets:\n  front: {{cidr: [10.44.0.0/24, "fd44::/64"]}}\n  back: {{cidr: 10.45.0.0/24}}\ncontainers:\n{evil}'
        f'  victim: {{networks: {{front: {VICTIM}}}, ports: ["8080:80/udp", "127.0.0.1:5432:5432/udp"]}}\n'
        f"  db: {{networks: {{back: {DATABASE}}}}}\n"
    )
    return path


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_frames_by_hand(world: EngineWorld, runtime: str) -> None:
    """Nothing forged arrives at the host, at another container, or in another subnet; what is honest does."""
    machine, own_mac, own = world.machine, world.mac(runtime), ADDRESSES[runtime]
    victim, router = mac_of(machine, "here.victim"), mac_of(machine, "", "b-here-front")
    other = "02:00:00:00:66:01"
    advert = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + bytes.fromhex("fd440000000000000000000000000001") + b"\2\1" + bytes(6)
    own6 = link_local_of(own_mac)
    advert = ip(own6, "ff02::1", ICMP6, with_checksum(own6, "ff02::1", ICMP6, advert, 2), ttl=255)
    forged = {
        "another's IP address": ethernet(own_mac, victim, IP4, udp(DATABASE, VICTIM, 9, 9, b"forged")),
        "the gateway's IP address": ethernet(own_mac, victim, IP4, udp(GATEWAY, VICTIM, 9, 9, b"forged")),
        "another hardware address": ethernet(other, victim, IP4, udp(own, VICTIM, 9, 9, b"forged")),
        "the victim's own, to the host": ethernet(victim, router, IP4, udp(VICTIM, GATEWAY, 9, 9, b"forged")),
        "ARP for the gateway": ethernet(own_mac, BROADCAST, ARP, arp_request(own_mac, GATEWAY, VICTIM)),
        "ARP for the victim": ethernet(own_mac, BROADCAST, ARP, arp_request(own_mac, VICTIM, GATEWAY)),
        "a neighbor advertisement for the gateway": ethernet(own_mac, "33:33:00:00:00:01", IP6, advert),
        "a router advertisement": ethernet(own_mac, "33:33:00:00:00:01", IP6, router_advertisement(own6)),
        "a DHCP reply": ethernet(own_mac, BROADCAST, IP4, udp(own, "255.255.255.255", 67, 68, b"forged")),
        "a VLAN": ethernet(own_mac, victim, 0x8100, b"\0\5\x08\0" + udp(own, VICTIM, 9, 9, b"forged")),
        "another protocol": ethernet(own_mac, victim, 0x88B5, bytes(46)),
    }
    for group in LINK_LOCAL_GROUPS:
        forged[f"LLDP to {group}"] = ethernet(own_mac, group, LLDP, bytes(46))
        forged[f"IPv4 to {group}"] = ethernet(own_mac, group, IP4, udp(own, GATEWAY, 9, 9, b"forged"))
    honest = {
        "to the host": ethernet(own_mac, router, IP4, udp(own, GATEWAY, 9, 9, b"honest")),
        "to the victim": ethernet(own_mac, victim, IP4, udp(own, VICTIM, 9, 9, b"honest")),
    }
    places = {"host": ("", "b-here-front"), "victim": ("here.victim", "eth0"), "db": ("here.db", "eth0")}
    arrived = attack(machine, forged | honest, world.pid(runtime), places)
    assert arrived == {"host": {"to the host"}, "victim": {"to the victim"}, "db": set()}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_ports_that_are_not_open(world: EngineWorld, runtime: str) -> None:
    """A packet to a container of another subnet, or to a port on the host's localhost, arrives at neither container."""
    machine, own_mac, own = world.machine, world.mac(runtime), ADDRESSES[runtime]
    router = mac_of(machine, "", "b-here-front")
    frames = {
        "db": ethernet(own_mac, router, IP4, udp(own, DATABASE, 9, 5432, b"not for you")),
        "localhost": ethernet(own_mac, router, IP4, udp(own, "127.0.0.1", 9, 5432, b"not for you")),
        "localhost from localhost": ethernet(own_mac, router, IP4, udp("127.0.0.1", "127.0.0.1", 9, 5432, b"not for you")),
    }
    assert heard_in(world, frames, runtime) == []
    published = {"published": ethernet(own_mac, router, IP4, udp(own, HOST, 9, 8080, b"for you"))}
    assert heard_in(world, published, runtime) == ["80"]


def heard_in(world: EngineWorld, frames: dict[str, bytes], runtime: str) -> list[str]:
    """The UDP ports at which the frames arrive in the other containers, which the router has changed on the way."""
    running = []
    for name in ("db", "victim"):
        ready = world.machine.folder / f"ready-{name}"
        ready.unlink(missing_ok=True)
        running.append(world.machine.start_command("python3", "-c", SNIFFER.replace("READY", str(ready)), netns=f"here.{name}"))
        world.machine.sh(f"until [ -e {ready} ]; do sleep 0.01; done")
    attack(world.machine, frames, world.pid(runtime), {"host": ("", "b-here-front")})
    return [port for each in running for port in each.wait().out.split()]


SNIFFER = """
import socket, time
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
wire.bind(("eth0", 0x0800))
open("READY", "w").close()
end = time.monotonic() + 1.5
while (left := end - time.monotonic()) > 0:
    wire.settimeout(left)
    try:
        frame = wire.recv(2000)
    except TimeoutError:
        break
    if b"for you" in frame:
        print(int.from_bytes(frame[36:38], "big"))
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_source_ports(world: EngineWorld, runtime: str) -> None:
    """A packet from the number of a published port leaves the host with another one (CVE-2021-3773)."""
    ready = world.machine.folder / "ready"
    ready.unlink(missing_ok=True)
    listener = world.machine.start_command("python3", "-c", LISTENER.replace("READY", str(ready)), netns="node")
    world.machine.sh(f"until [ -e {ready} ]; do sleep 0.01; done")
    own_mac, router = world.mac(runtime), mac_of(world.machine, "", "b-here-front")
    frame = ethernet(own_mac, router, IP4, udp(ADDRESSES[runtime], NODE, 8080, 4567, b"shadow"))
    attack(world.machine, {"shadow": frame}, world.pid(runtime), {"host": ("", "b-here-front")})
    assert int(listener.wait().out) >= 32768


ROOTS = {
    "eth0 renamed": ["ip link set eth0 down", "ip link set eth0 name mine"],
    "eth0 renamed, another in its place": ["ip link set eth0 down", "ip link set eth0 name mine", "ip link add eth0 type bridge"],
    "eth0 deleted": ["ip link delete eth0"],
    "another hardware address": ["ip link set eth0 address 02:00:00:00:00:99"],
    "the victim's address": [f"ip address add {VICTIM}/24 dev eth0", "ip address delete OWN/24 dev eth0"],
    "another default route": ["ip route delete default", f"ip route add default via {VICTIM}"],
    "lo down": ["ip link set lo down"],
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ROOTS)
def test_what_its_root_does(world: EngineWorld, runtime: str, name: str) -> None:
    """What a container's root does to its own network, `apply` repairs: it reaches its gateway and the node again."""
    engine = world.engines[runtime]
    for command in ROOTS[name]:
        engine.exec(f"evil-{runtime}", *command.replace("OWN", ADDRESSES[runtime]).split())
    applied = world.netctl("apply")
    assert applied.status in (0, 1), applied.err + applied.out
    again = world.netctl("diff")
    assert again.status == 0, again.out
    for goal in (GATEWAY, VICTIM, NODE):
        engine.exec(f"evil-{runtime}", "ping", "-c1", "-W2", goal)


@pytest.mark.parametrize("runtime", ["docker", "podman"])
@pytest.mark.parametrize("name", ["victim", "db", "other"])
def test_netctls_labels_on_anothers_container(world: EngineWorld, runtime: str, name: str) -> None:
    """A container that got netctl's labels, from its image or so, is still its user's: no plan names or ends it."""
    engine = world.engines[runtime]
    labels = {"netctl.topology": "here", "netctl.host": "local", "netctl.name": name, "netctl.spec": "{}"}
    engine.run("theirs", *(word for key, value in labels.items() for word in ("--label", f"{key}={value}")))
    before = engine.identity("theirs")
    try:
        for verb in ("diff", "apply", "status"):
            done = world.netctl(verb)
            assert done.status == 0, done.err + done.out
        assert engine.identity("theirs") == before
        assert engine.exec("theirs", "echo", "alive") == "alive"
    finally:
        engine.remove("theirs")
