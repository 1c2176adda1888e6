"""A record of each kind is damaged under a running agent, and repaired by the kind's own means.

`test_every_damage.py` damages each thing that can be seen of bridges, VXLAN, routes, macvlan, ports and policies. Here are
also Open vSwitch, an uplink in a bridge, containers of engines, DHCP clients and Docker's chain. No kind may be left out.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.kinds import KINDS
from tests.harness.capabilities import require_capability
from tests.harness.dockerd import dockerd_in
from tests.harness.engines import running_lxc
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.worlds.lan import build_lan, serve_dhcp
from tests.harness.worlds.openvswitch import OUTSIDE, START

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)]

LIMIT_S = 30.0
ENGINES = """\
version: 1
name: here
repair: all
hosts:
  one: {{connect: local, docker: "{docker}", lxc: "{lxc}"}}
subnets:
  front: {{cidr: [10.44.0.0/24, "fd44::/64"]}}
  switched: {{cidr: 10.46.0.0/24, bridge: openvswitch}}
  wire: {{cidr: 192.0.2.0/24, mode: macvlan}}
containers:
  web: {{networks: {{front: {{address: [10.44.0.10, "fd44::10"], rate: 10mbit}}}}, ports: ["8080:80"]}}
  app: {{networks: {{switched: 10.46.0.20}}, command: [sleep, infinity]}}
  mac: {{networks: {{wire: 192.0.2.60}}}}
  lx: {{runtime: lxc, image: '{rootfs}', command: [sleep, '1000'], networks: {{front: 10.44.0.21}}}}
  dk: {{runtime: docker, image: 'busybox:latest', command: [sleep, '1000'], networks: {{front: 10.44.0.22}}}}
policies:
  - {{allow: web, to: app, ports: [80/tcp]}}
"""
LAN = """\
version: 1
name: here
hosts:
  one: {connect: local}
subnets:
  lan: {cidr: 192.0.2.0/24, mode: direct}
containers:
  fixed: {networks: {lan: 192.0.2.50}}
  leased: {networks: {lan: dhcp}}
"""
LAB = """\
version: 1
name: here
dns: true
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  tunnel: {cidr: 10.46.0.0/24}
  routed: {cidr: 10.47.0.0/24, overlay: routes}
containers:
  one: {host: alpha, networks: {tunnel: auto, routed: auto}}
  two: {host: beta, networks: {tunnel: auto, routed: auto}}
"""
BRIDGE = "$(ovs-vsctl list-br | grep here | head -n 1)"
OFFLOAD = 'from reconciler.kernel.netlink.ethtool import switch_offload; switch_offload("eth0", "tx", on=True)'
ALPHA = "nsenter --net=/run/netns/here.lab.alpha"
CHAIN = f"$({ALPHA} nft list table netdev netctl-here.routed | sed -n 's/^\\tchain \\(.*\\) {{/\\1/p' | tail -n 1)"


@dataclass(frozen=True, slots=True)
class KindWorld:
    """A file, and a command for each kind of record that only this file has; the host that the agent's state is of."""

    text: str
    damages: Mapping[str, str]
    host: str = "one"


WORLDS: Mapping[str, KindWorld] = {
    "engines": KindWorld(
        ENGINES,
        {
            "netns": "ip netns delete here.web",
            "veth": "ip -n here.web link delete eth0",
            "bridge": "ip link delete b-here-front",
            "macvlan": "ip -n here.mac link delete eth0",
            "address": "ip address flush dev b-here-front",
            "route": "ip -n here.web route delete default",
            "neighbor": "ip -n here.web neighbor flush dev eth0 nud permanent",
            "fdb": "bridge fdb show br b-here-front | grep sticky | head -n 1 |"
            " { read -r mac _ port _; bridge fdb delete $mac dev $port master; }",
            "qdisc": "tc -n here.web qdisc delete dev eth0 root",
            "offload": f"ip netns exec here.app {sys.executable} -c '{OFFLOAD}'",
            "sysctl": "echo 0 > /proc/sys/net/ipv4/conf/b-here-front/route_localnet",
            "firewall": "nft delete table inet netctl-here",
            "element": "nft flush map inet netctl-here published4",
            "docker-user": "iptables -F DOCKER-USER",
            "process": "pkill -9 -fx 'sleep infinity'",
            "container": "docker -H {docker} rm -f here-dk",
            "holder": "docker -H {docker} rm -f here-dk.net",
            "hosts": "echo 10.9.9.9 lx > $(echo /run/netctl/*/here.hosts/lx)",
            "container ": "lxc-stop -P {lxc} -n here-lx --kill",
            "openvswitch": f"ovs-vsctl del-br {BRIDGE}",
            "ovs-port": f"ovs-vsctl del-port $(ovs-vsctl list-ports {BRIDGE} | head -n 1)",
            "flow": f"ovs-ofctl del-flows {BRIDGE}",
        },
    ),
    "lan": KindWorld(
        LAN,
        {
            "uplink": "ip link set eth0 nomaster",
            "dhcp": "pkill -9 udhcpc",
            "bridge": "ip link set b-here-lan type bridge stp_state 1",
            "firewall": "nft delete table bridge netctl-here",
        },
    ),
    "lab": KindWorld(
        LAB,
        {
            "vxlan": f"{ALPHA} ip link delete x-here-tunnel",
            "fdb": f"{ALPHA} bridge fdb flush dev x-here-tunnel 2>/dev/null || {ALPHA} sh -c 'bridge fdb show dev x-here-tunnel |"
            " grep dst | while read -r mac _ address _; do bridge fdb delete $mac dev x-here-tunnel dst $address self; done'",
            "fast-path-link": f"{ALPHA} nft flush map netdev netctl-here.routed to_bridge",
            "fast-path": f"{ALPHA} nft flush chain netdev netctl-here.routed {CHAIN}",
            "netns": "ip netns delete here.two",
            "resolver": "pkill -9 -f '[d]nsmasq'",
            "names": "echo 10.9.9.9 one > /run/netctl-dns/here.lab.alpha/here.tunnel",
            "resolvconf": "rm /run/netctl/here.lab.alpha/here.resolv/one",
        },
        "alpha",
    ),
}


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Path, KindWorld]]:
    """A machine with what the file needs."""
    found = WORLDS[request.param]
    for name in ("root", "nft", "dockerd", "lxc", "openvswitch", "udhcpc"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("kinds"))
    path, places = machine.folder / "topology.yaml", {"docker": "", "lxc": ""}
    with contextlib.ExitStack() as stack:
        stack.callback(machine.end)
        machine.sh("ip netns add x; ip netns delete x")
        if found.text is ENGINES:
            machine.sh(f"{START}{OUTSIDE}")
            daemon = stack.enter_context(dockerd_in("t-kinds", enter=machine.entering()))
            lxc = stack.enter_context(running_lxc(machine.entering()))
            places = {"docker": daemon.url, "lxc": lxc.url}
            path.write_text(ENGINES.format(**places, rootfs=lxc.image))
        elif found.text is LAN:
            build_lan(machine)
            serve_dhcp(machine)
            path.write_text(LAN)
        else:
            path.write_text(LAB)
        (machine.folder / "places").write_text(json.dumps(places))
        yield machine, path, found


def read_kinds(machine: Machine, path: Path) -> set[str]:
    """Of the records that the file asks for."""
    told = json.loads(quick_netctl(machine, "diff", "--json", path)[0].out)
    return {change["ref"]["kind"] for host in told["hosts"] for change in host["changes"]}


def read_repaired(agent: RunningAgent, offset: int) -> set[str]:
    """The kinds that the agent has repaired, from there on in its log."""
    lines = agent.said[offset:].splitlines()[:-1]
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return {event["ref"][0] for event in events if event["event"] == "repair"}


def test_a_record_of_each_kind(world: tuple[Machine, Path, KindWorld], capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind that the file has is damaged, and repaired; at the end `diff` finds nothing."""
    machine, path, found = world
    covered = {kind.strip() for each in WORLDS.values() for kind in each.damages}
    assert read_kinds(machine, path) <= covered
    assert {kind.kind for kind in KINDS if not kind.kind.startswith("stray-")} == covered
    agent = RunningAgent.start(machine, path, "--log", "json", host=found.host, patient=True)
    agent.wait_for(lambda it: '"event": "ready"' in it.said, LIMIT_S)
    places = json.loads((machine.folder / "places").read_text())
    times: dict[str, float] = {}
    for kind, command in found.damages.items():
        offset, begun_s = len(agent.said), time.monotonic()
        machine.sh(command.replace("{docker}", places["docker"]).replace("{lxc}", places["lxc"]))
        agent.wait_for(lambda it, kind=kind, offset=offset: kind.strip() in read_repaired(it, offset), LIMIT_S)  # type: ignore[misc]
        agent.wait_for(lambda it: it.state["in_step"], LIMIT_S)
        times[kind] = time.monotonic() - begun_s
    with capsys.disabled():
        slow = {kind: round(taken_s, 1) for kind, taken_s in times.items() if taken_s > 2}
        print(f"\nagent: {len(times)} kinds repaired, median {statistics.median(times.values()):.2f} s, late {slow}")
    agent.wait_for(lambda _: quick_netctl(machine, "diff", path)[0].status == 0, LIMIT_S)
