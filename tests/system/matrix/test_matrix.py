"""Invariants 1, 2, 7 and 9 for every mode, bridge and runtime, in one machine on a LAN with real engines and Open vSwitch.

A test is a mode on a bridge, with a container of each runtime there: so they are reached across runtimes, too. On a LAN there
is one more of each that asks for its address.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import docker  # noqa: F401  here, so that no forked netctl has to import it
import pytest

from tests.harness.capabilities import require_capability
from tests.harness.engines import Engine, running_all
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.matrix_summary import MATRIX
from tests.harness.netctl import Outcome
from tests.harness.worlds.lan import build_lan, pings, serve_dhcp
from tests.harness.worlds.openvswitch import FOREIGN, START

pytestmark = [pytest.mark.kernel, pytest.mark.long, *(pytest.mark.invariant(number) for number in (1, 2, 7, 9))]

NEEDS = ("root", "nft", "ping", "openvswitch", "dockerd", "podman", "lxc", "busybox", "dnsmasq", "udhcpc")
SECOND = """
ip link add eth1 address 02:aa:00:00:00:22 type veth peer name second netns switch
ip -n switch link set second master lan up
ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip link set br0 up; ip link set eth1 master br0 up
"""
"""A bridge that the host has already, with another cable to the LAN."""
PASSING = re.compile(r'"(valid_life_time|preferred_life_time|expires)": \d+')
MODES = ("nat", "routed", "isolated", "direct", "macvlan")
ON_LAN = ("direct", "macvlan")
BRIDGES = {"linux": "linux", "openvswitch": "openvswitch", "existing": "{existing: br0}"}
RUNTIMES = ("netns", "docker", "podman", "lxc")
STAYS = "[sh, -c, \"trap 'exit 0' TERM; sleep 1000 & wait\"]"
ROWS = [*((mode, bridge) for bridge in ("linux", "openvswitch") for mode in MODES), ("direct", "existing")]
SETTLE_TIMEOUT_S = 15


@dataclass(slots=True)
class MatrixWorld:
    """A machine, its engines, and what it held after the test before."""

    machine: Machine
    engines: dict[str, Engine]
    before: Snapshot = frozenset()

    def netctl(self, verb: str, file: Path, status: int = 0) -> Outcome:
        """The command on the file; `status` is how it has to end."""
        done, _ = quick_netctl(self.machine, verb, file)
        assert done.status == status, f"{verb}: {done.out}{done.err}"
        return done

    def look(self) -> Snapshot:
        """All there is, in the engines and in Open vSwitch too; what counts down, and locks that LXC leaves, left out."""
        rows = self.machine.sh(
            "ovs-vsctl -f csv --columns=name,external_ids list bridge; ovs-vsctl -f csv --columns=name list port"
        )
        lines = {PASSING.sub("", line) for line in read_live(self.machine) if " file /run/lxc" not in line}
        names = {f"{runtime} {name}" for runtime, engine in self.engines.items() for name in engine.names()}
        return frozenset(lines | names | {f"ovs {row}" for row in rows.splitlines()})

    def settle(self, wanted: Snapshot) -> None:
        """Wait until all is as it was: an engine goes on for a moment to tidy up after a container."""
        self.until(lambda: differences(wanted, self.look()) == "", lambda: differences(wanted, self.look()))

    def until(self, is_so: Callable[[], bool], say: Callable[[], str]) -> None:
        """Wait for it; `say` returns what there is instead."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while not is_so():
            assert time.monotonic() < deadline, say()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MatrixWorld]:
    """On a LAN, with Open vSwitch, a bridge of its own, and in each engine a foreign container."""
    for name in NEEDS:
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("matrix"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        build_lan(machine)
        serve_dhcp(machine)
        machine.sh(f"{START}{FOREIGN}{SECOND}")
        with running_all(machine) as engines:
            for engine in engines.values():
                engine.run("theirs")
            made = MatrixWorld(machine, engines)
            made.before = made.look()
            yield made
    finally:
        machine.end()


def addresses(mode: str, runtimes: list[str]) -> dict[str, str]:
    """By container, what it asks for."""
    network = "192.0.2.5" if mode in ON_LAN else "10.44.0.1"
    asked = {f"asks-{runtime}": "dhcp" for runtime in runtimes if mode in ON_LAN}
    return {f"has-{runtime}": f"{network}{RUNTIMES.index(runtime)}" for runtime in runtimes} | asked


def write(world: MatrixWorld, mode: str, bridge: str, runtimes: list[str]) -> Path:
    """A container or two of each runtime on one subnet."""
    cidr = "192.0.2.0/24" if mode in ON_LAN else "10.44.0.0/24"
    lines = []
    for container, address in addresses(mode, runtimes).items():
        runtime = container.partition("-")[2]
        image = f"image: {world.engines[runtime].image}, " if runtime in world.engines else ""
        lines.append(f"  {container}: {{runtime: {runtime}, {image}command: {STAYS}, networks: {{net: {address}}}}}\n")
    path = world.machine.folder / "topology.yaml"
    places = ", ".join(f'{runtime}: "{engine.url}"' for runtime, engine in world.engines.items())
    path.write_text(
        f"version: 1\nname: here\nhosts: {{one: {{connect: local, {places}}}}}\n"
        f"subnets: {{net: {{cidr: {cidr}, mode: {mode}, bridge: {BRIDGES[bridge]}}}}}\ncontainers:\n{''.join(lines)}"
    )
    return path


def why_refused(world: MatrixWorld, mode: str, bridge: str, runtime: str) -> str:
    """What `validate` says of a mode and a bridge for a runtime; "" where they go together."""
    done, _ = quick_netctl(world.machine, "validate", write(world, mode, bridge, [runtime]))
    assert done.status in (0, 2), done.err
    return done.err.splitlines()[0].rpartition("error: ")[2] if done.status else ""


def restart(world: MatrixWorld, containers: Iterable[str]) -> None:
    """Each engine restarts its containers, knowing nothing of netctl; of bare namespaces the commands end."""
    world.machine.sh("pkill -KILL -f NETCTL_COMMAND")
    engines = {name: world.engines.get(name.partition("-")[2]) for name in containers}
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(engine.restart, f"here-{name}") for name, engine in engines.items() if engine]
    for each in done:
        each.result()


@pytest.mark.parametrize(("mode", "bridge"), ROWS)
def test_cells(world: MatrixWorld, record_property: Callable[[str, object], None], mode: str, bridge: str) -> None:
    """Applied, reached, verified, applied again without a change, restarted, destroyed to the last; a refusal touches nothing.

    A restart leaves the network of every runtime. Only the commands of bare namespaces are netctl's to start again.
    """
    reasons = {runtime: why_refused(world, mode, bridge, runtime) for runtime in RUNTIMES}
    for runtime, reason in reasons.items():
        record_property(MATRIX, (f"{mode} on {bridge}", runtime, reason))
    runtimes = [runtime for runtime in RUNTIMES if not reasons[runtime]]
    if not runtimes:
        world.netctl("apply", write(world, mode, bridge, list(RUNTIMES)), status=2)
        world.settle(world.before)
        return
    file = write(world, mode, bridge, runtimes)
    try:
        carry_through(world, file, addresses(mode, runtimes))
    except BaseException:
        quick_netctl(world.machine, "destroy", file)  # for the next ones' sake
        raise
    world.settle(world.before)


def carry_through(world: MatrixWorld, file: Path, wanted: Mapping[str, str]) -> None:
    """From nothing to nothing."""

    def see_pings() -> None:
        assert all(pings(world.machine, address) for address in wanted.values() if address != "dhcp")

    def see_them_reached() -> None:
        see_pings()
        leases = list(wanted.values()).count("dhcp")
        if leases:
            world.until(lambda: status(world, file).count("lease 192.0.2.1") == leases, lambda: status(world, file))
            assert len(world.machine.sh("ls /run/netctl/here/asks-*.log").split()) == leases

    world.netctl("apply", file)
    see_them_reached()
    world.netctl("verify", file)
    wired = world.look()
    assert world.netctl("apply", file).out.startswith("Nothing to do")
    assert differences(wired, world.look()) == ""
    restart(world, wanted)
    see_pings()
    told = world.netctl("apply", file).out
    ended = sorted(f"container {name}" for name in wanted if name.endswith("netns"))
    assert sorted(re.findall(r"^  \S (\S+ \S+)", told, re.MULTILINE)) == ended, told
    see_them_reached()
    world.netctl("destroy", file)


def status(world: MatrixWorld, file: Path) -> str:
    """What `netctl status` prints."""
    return quick_netctl(world.machine, "status", file)[0].out


# --- options of a port ------------------------------------------------------------------------------------------------

OPTIONS = """
{address: ADDRESS, interface: wan0, mac: "02:00:00:00:00:0NUMBER", mtu: 1400, isolated: true,
 rate: {ingress: 2mbit, egress: 1mbit}, routes: [{to: 172.20.0.0/16, via: 10.44.0.99}],
 sysctls: {net.ipv4.conf.IFNAME.log_martians: 1}}
"""
INSIDE = "ip link show dev wan0; ip route; echo martians $(cat /proc/sys/net/ipv4/conf/wan0/log_martians); tc qdisc show dev wan0"
SEEN_INSIDE = ("mtu 1400", "172.20.0.0/16 via 10.44.0.99 dev wan0", "martians 1\n", "qdisc tbf", "rate 1Mbit")
FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    for _ in range(400): udp.sendto(bytes(1300), (sys.argv[1], 9))
"""
"""Half a megabyte at once: two seconds of the wider of the limits."""


def test_options(world: MatrixWorld) -> None:
    """What a port is asked for is so for every runtime, also after a restart, and both limits and the isolation meet packets."""
    wanted = addresses("nat", list(RUNTIMES))
    file = write(world, "nat", "linux", list(RUNTIMES))
    text = file.read_text()
    for number, address in enumerate(wanted.values()):
        options = OPTIONS.replace("ADDRESS", address).replace("NUMBER", str(number)).strip()
        text = text.replace(f"{{net: {address}}}", f"{{net: {options}}}")
    file.write_text(text)
    try:
        world.netctl("apply", file)
        read_options(world, file, wanted)
        meet_limits(world, file, wanted)
        first, second, *_ = wanted
        assert run_inside(world, file, first, "ping", "-c", "1", "-W", "1", wanted[second]).status != 0, "two isolated ports"
        assert world.netctl("apply", file).out.startswith("Nothing to do")
        restart(world, wanted)
        world.netctl("apply", file)
        read_options(world, file, wanted)
    finally:
        quick_netctl(world.machine, "destroy", file)
    world.settle(world.before)


def read_options(world: MatrixWorld, file: Path, wanted: Mapping[str, str]) -> None:
    """By other eyes than netctl's, in each container and at the host's end of its cable."""
    for number, container in enumerate(wanted):
        seen = run_inside(world, file, container, "sh", "-c", INSIDE).out
        assert [part for part in (f"02:00:00:00:00:0{number}", *SEEN_INSIDE) if part not in seen] == [], seen
        port = port_of(world, container)
        assert "isolated on" in world.machine.sh(f"bridge -d link show dev {port}")
        assert "rate 2Mbit" in world.machine.sh(f"tc qdisc show dev {port}")


def meet_limits(world: MatrixWorld, file: Path, wanted: Mapping[str, str]) -> None:
    """More than may pass at once is dropped, on the way out of each container and on the way in."""
    for container, address in wanted.items():
        run_inside(world, file, container, sys.executable, "-c", FLOOD, "10.44.0.1")
        seen = run_inside(world, file, container, "tc", "-s", "qdisc", "show", "dev", "wan0").out
        assert count_dropped(seen) > 0, f"{container} sends without a limit"
        world.machine.run(sys.executable, "-c", FLOOD, address)
        seen = world.machine.sh(f"tc -s qdisc show dev {port_of(world, container)}")
        assert count_dropped(seen) > 0, f"{container} gets without a limit"


def run_inside(world: MatrixWorld, file: Path, container: str, *words: str) -> Outcome:
    """A command of the machine's in a container's network, by `netctl exec`."""
    return quick_netctl(world.machine, "exec", "-f", file, container, "--", *words)[0]


def port_of(world: MatrixWorld, container: str) -> str:
    """The host's end of a container's cable, by its alias."""
    links = json.loads(world.machine.run("ip", "-j", "link").out)
    (name,) = (link["ifname"] for link in links if f"/veth/{container}/" in link.get("ifalias", ""))
    return str(name)


def count_dropped(text: str) -> int:
    """Packets that a queue has refused, as `tc -s` shows."""
    return sum(int(count) for count in re.findall(r"dropped (\d+)", text))
