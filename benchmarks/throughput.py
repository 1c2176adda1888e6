"""Measures TCP and what a packet costs: across two hosts, and between two containers of one host.

Run it as root; it needs iperf3 and nft, and for all of its lines dockerd and Open vSwitch, which it starts itself:

    python benchmarks/throughput.py [hosts] [bridges] [--rounds TIMES] [--seconds SECONDS]

Everything stands in namespaces of its own, named bench-wire.* and bench-hand.*, which are removed at the end, also after a
failure. All ways of a table are measured in one run, in turns, and the median of the rounds is shown: compare the ratios.

`hosts` measures twice: with bridges that show their packets to the firewalls of IP, and without. Such bridges need br_netfilter,
which Docker loads; if it is loaded, new namespaces have it on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import by_hand  # noqa: E402  # the checkout has to be on the path first
from benchmarks.measure import BenchmarkError  # noqa: E402
from benchmarks.places import NETCTL, inside, read_output, remove_all  # noqa: E402
from benchmarks.traffic import Flow, Way, measure_ways  # noqa: E402
from tests.harness.dockerd import IMAGE, dockerd_in  # noqa: E402

TOPOLOGY = "bench-wire"
DOCKER_PLACE = "bench-hand.docker"
BRIDGE_SETTINGS = Path("/proc/sys/net/bridge")
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
START_S = 10.0
HEAD = f"version: 1\nname: {TOPOLOGY}\n"
ACROSS = f"""{HEAD}\
hosts:
  alpha: {{connect: lab, address: 192.0.2.11}}
  beta: {{connect: lab, address: 192.0.2.12}}
  gamma: {{connect: lab, address: 192.0.2.13}}
  delta: {{connect: lab, address: 192.0.2.14}}
subnets:
  lan: {{cidr: 192.0.2.0/24, mode: direct}}
  tunnel: {{cidr: 10.87.0.0/24, overlay: vxlan}}
  routed: {{cidr: 10.88.0.0/24, overlay: routes}}
containers:
  t1: {{host: alpha, networks: {{tunnel: 10.87.0.10}}}}
  t2: {{host: beta, networks: {{tunnel: 10.87.0.20}}}}
  r1: {{host: alpha, networks: {{routed: 10.88.0.10}}}}
  r2: {{host: beta, networks: {{routed: 10.88.0.20}}}}
  l1: {{host: gamma, networks: {{lan: 192.0.2.50}}}}
  l2: {{host: delta, networks: {{lan: 192.0.2.60}}}}
"""
WITHIN = f"""{HEAD}\
hosts:
  alpha: {{connect: lab, address: 192.0.2.11}}
  beta: {{connect: lab, address: 192.0.2.12OPENVSWITCH}}
subnets:
  front: {{cidr: 10.87.0.0/24}}
  lan: {{cidr: 192.0.2.0/24, mode: macvlan, type: bridge}}
containers:
  b1: {{host: alpha, networks: {{front: 10.87.0.10}}}}
  b2: {{host: alpha, networks: {{front: 10.87.0.20}}}}
  m1: {{host: alpha, networks: {{lan: 192.0.2.50}}}}
  m2: {{host: alpha, networks: {{lan: 192.0.2.60}}}}
"""
SWITCHED_SUBNET = "  switched: {cidr: 10.89.0.0/24, bridge: openvswitch, datapath: netdev}\n"
SWITCHED_MEMBERS = """\
  o1: {host: beta, networks: {switched: 10.89.0.10}}
  o2: {host: beta, networks: {switched: 10.89.0.20}}
"""


def way_between(name: str, client: str, server: str, address: str) -> Way:
    """Between two containers of the topology."""
    return Way(name, f"{TOPOLOGY}.{client}", f"{TOPOLOGY}.{server}", address)


def apply(text: str, folder: Path) -> None:
    """Make the topology so."""
    file = folder / "topology.yaml"
    file.write_text(text)
    read_output([NETCTL, "apply", str(file)])


def measure_hosts(rounds: int, seconds: int) -> str:
    """The tables of ways from host to host, ratios to the plain underlay without any firewall.

    In `mode: direct` the plain underlay goes over netctl's own bridges, with what they filter; in the overlays, too.
    """
    tables = []
    with tempfile.TemporaryDirectory(prefix="netctl-bench-") as name:
        apply(ACROSS, Path(name))
        plain, routes, vxlan, filtered = by_hand.build_hosts()
        ways = [
            plain,
            way_between("plain underlay, `mode: direct`", "l1", "l2", "192.0.2.60"),
            way_between("`overlay: routes`", "r1", "r2", "10.88.0.20"),
            routes,
            way_between("`overlay: vxlan`", "t1", "t2", "10.87.0.20"),
            vxlan,
            filtered,
        ]
        for title, shown in (("with br_netfilter", True), ("without br_netfilter", False)):
            show_bridged_packets(shown)
            tables.append(render(f"between two hosts, {title}", measure_ways(ways, rounds, seconds), plain.name))
    return "\n\n".join(tables)


def show_bridged_packets(shown: bool) -> None:
    """Whether bridges show their packets to the firewalls of IP, in every namespace of the benchmark."""
    for path in (path for name in (TOPOLOGY, by_hand.NAME) for path in Path("/run/netns").glob(f"{name}.*")):
        if not BRIDGE_SETTINGS.exists():
            return  # br_netfilter is not there to be on
        settings = [f"net.bridge.bridge-nf-call-{family}tables={int(shown)}" for family in ("ip", "ip6", "arp")]
        read_output([*inside(path.name), "sysctl", "-qw", *settings])


def measure_bridges(rounds: int, seconds: int) -> str:
    """The table of ways within one host, ratios to a veth with nothing between its ends."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="netctl-bench-")))
        apply(WITHIN.replace("OPENVSWITCH", ""), folder)
        ways = [
            by_hand.build_veth(),
            way_between("Linux bridge", "b1", "b2", "10.87.0.20"),
            way_between("macvlan, `type: bridge`", "m1", "m2", "192.0.2.60"),
        ]
        if shutil.which("dockerd"):
            ways.append(stack.enter_context(docker_way()))
        else:
            print("  dockerd is not installed: left out")
        if shutil.which("ovs-vswitchd"):
            socket = stack.enter_context(open_vswitch(f"{TOPOLOGY}.lab.beta"))
            text = WITHIN.replace("OPENVSWITCH", f", openvswitch: unix://{socket}")
            apply(text.replace("containers:\n", f"{SWITCHED_SUBNET}containers:\n") + SWITCHED_MEMBERS, folder)
            # Before Open vSwitch ends, or netctl could not delete what it has there.
            stack.callback(remove_all, TOPOLOGY)
            ways.append(way_between("Open vSwitch, `datapath: netdev`", "o1", "o2", "10.89.0.20"))
        else:
            print("  ovs-vswitchd is not installed: left out")
        flows = measure_ways(ways, rounds, seconds)
    return render("within one host", flows, by_hand.VETH_WAY.name)


@contextmanager
def docker_way() -> Iterator[Way]:
    """Two containers on Docker's own bridge, of a dockerd in a namespace of its own."""
    read_output(["ip", "netns", "add", DOCKER_PLACE])
    read_output(["ip", "-n", DOCKER_PLACE, "link", "set", "lo", "up"])
    with dockerd_in(DOCKER_PLACE) as daemon:
        for name in ("d1", "d2"):
            daemon.docker("run", "--detach", "--name", name, IMAGE)
        client, server = (f"/proc/{daemon.docker('inspect', '--format', '{{.State.Pid}}', name)}/ns/net" for name in ("d1", "d2"))
        address = daemon.docker("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "d2")
        yield Way("Docker's own bridge", client, server, address)


@contextmanager
def open_vswitch(netns: str) -> Iterator[Path]:
    """A real Open vSwitch in a namespace: the socket of its database. It ends with this, or with this process."""
    folder = Path(tempfile.mkdtemp(prefix="netctl-bench-ovs-"))
    socket = folder / "db.sock"
    database, control = str(folder / "conf.db"), str(folder)
    read_output(["ovsdb-tool", "create", database, OVS_SCHEMA])
    quiet = ["-vconsole:off", "-vsyslog:off", "--no-chdir"]
    commands = [
        ["ovsdb-server", database, f"--remote=punix:{socket}", f"--unixctl={control}/ovsdb-server.0.ctl"],
        ["ovs-vswitchd", f"unix:{socket}", f"--unixctl={control}/ovs-vswitchd.0.ctl"],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            words = ["setpriv", "--pdeathsig=TERM", *inside(netns), *command, *quiet, f"--pidfile={control}/{command[0]}.pid"]
            environment = {**os.environ, "OVS_RUNDIR": control}
            started.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, env=environment))
            deadline = time.monotonic() + START_S
            while not socket.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        read_output(["ovs-vsctl", f"--db=unix:{socket}", f"--timeout={START_S:.0f}", "--no-wait", "init"])
        yield socket
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        shutil.rmtree(folder)


def render(title: str, flows: dict[str, Flow], base: str) -> str:
    """A table, as Markdown, with ratios to one of its lines."""
    lines = [
        f"| {title} | TCP, Gbit/s | ratio | 64 kB in one thread, µs | ratio | round trip, µs | first round trip, µs |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, flow in flows.items():
        ratio, bulk_ratio = flow.gbit / flows[base].gbit, flows[base].bulk_us / flow.bulk_us
        lines.append(
            f"| {name} | {flow.gbit:.2f} | {ratio:.2f} | {flow.bulk_us:.1f} | {bulk_ratio:.2f} "
            f"| {flow.round_trip_us:.1f} | {flow.first_us:.1f} |"
        )
    return "\n".join(lines)


PARTS = {"hosts": measure_hosts, "bridges": measure_bridges}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, clean up."""
    parser = argparse.ArgumentParser(description="Measures TCP and round trip across hosts and within one.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="hosts, bridges (both)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median is shown (3)")
    parser.add_argument("--seconds", type=int, default=5, help="of iperf3, each time (5)")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        print("benchmarks/throughput.py: error: it makes network namespaces, so it needs root", file=sys.stderr)
        return 3
    if missing := [command for command in ("iperf3", "nft") if not shutil.which(command)]:
        print(f"benchmarks/throughput.py: error: this is missing: {', '.join(missing)} (iperf3, nftables)", file=sys.stderr)
        return 3
    tables = []
    try:
        for part in chosen.parts or PARTS:
            clean_up()
            tables.append(PARTS[part](chosen.rounds, chosen.seconds))
        print("\n" + "\n\n".join(tables))
    except (BenchmarkError, AssertionError) as error:  # the harnesses of the tests raise the latter
        print(f"benchmarks/throughput.py: error: {error}", file=sys.stderr)
        return 1
    finally:
        clean_up()
    return 0


def clean_up() -> None:
    """Remove all of it, whatever there is."""
    for name in (TOPOLOGY, by_hand.NAME):
        remove_all(name)


if __name__ == "__main__":
    sys.exit(main())
