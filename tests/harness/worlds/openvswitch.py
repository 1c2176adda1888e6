"""A machine of the test's own (tests.harness.machine) with a real Open vSwitch in user space, and a world outside it.

The machine has its own /run, so Open vSwitch is at its usual place there, and the "host" of `connect: local` is the machine. Its
uplink leads to the namespace `outside`, 192.0.2.1. One bridge with one port is foreign, and has to survive all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.machine import Machine, Running
from tests.harness.netctl import Outcome

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
DAEMON = "--detach --no-chdir -vconsole:off -vsyslog:off"
SWITCH = f"""\
dir=${{1:-/run/openvswitch}}
OVS_RUNDIR=$dir ovs-vswitchd unix:$dir/db.sock --pidfile=$dir/ovs-vswitchd.pid --unixctl=$dir/ovs-vswitchd.1.ctl \\
  --log-file=$dir/ovs-vswitchd.log {DAEMON}
"""
START = f"""\
dir=${{1:-/run/openvswitch}}
mkdir -p $dir
ovsdb-tool create $dir/conf.db {SCHEMA}
OVS_RUNDIR=$dir ovsdb-server $dir/conf.db --remote=punix:$dir/db.sock --pidfile=$dir/ovsdb-server.pid \\
  --unixctl=$dir/ovsdb-server.ctl --log-file=$dir/ovsdb-server.log {DAEMON}
ovs-vsctl --no-wait --db=unix:$dir/db.sock init
{SWITCH}"""
"""With the directory of its files, where that is not the usual one."""
OUTSIDE = """\
ip netns add outside
ip link add eth0 type veth peer name eth0 netns outside
ip address add 192.0.2.11/24 dev eth0
ip link set eth0 up
ip -n outside address add 192.0.2.1/24 dev eth0
ip -n outside link set eth0 up
ip -n outside link set lo up
ip route add default via 192.0.2.1
"""
FOREIGN = """\
ovs-vsctl add-br br-other -- set bridge br-other datapath_type=netdev external_ids:owner=somebody
ip link add other0 type veth peer name other1
ovs-vsctl add-port br-other other0
"""
SPEAKER = Path(__file__).parents[1] / "packets/speaker.py"


@contextmanager
def switch_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which Open vSwitch can run; it ends with the fixture that asks for it."""
    for capability in ("root", "nft", "ping", "openvswitch"):
        require_capability(capability)
    machine = Machine.make(tmp_path_factory.mktemp("ovs"))
    try:
        yield machine
    finally:
        machine.end()


@dataclass(slots=True)
class SwitchWorld:
    """A machine with Open vSwitch, and the topology file in it."""

    machine: Machine
    file: Path

    @classmethod
    def furnish(cls, machine: Machine, topology: str) -> SwitchWorld:
        """Start what the machine needs, and write the file."""
        machine.sh(f"{START}{OUTSIDE}{FOREIGN}")
        world = cls(machine, machine.folder / "topology.yaml")
        world.write(topology)
        return world

    @classmethod
    def furnish_lab(cls, machine: Machine, topology: str, hosts: Sequence[str]) -> SwitchWorld:
        """Apply the topology to lab hosts, each with an Open vSwitch of its own."""
        world = cls(machine, machine.folder / "topology.yaml")
        world.write(topology.replace(", bridge: openvswitch", ""))
        world.apply()  # an Open vSwitch runs in a namespace that is there
        for host in hosts:
            world.sh(f"set -- /run/ovs-{host}\n{START}", f"here.lab.{host}")
        world.write(topology)
        world.apply()
        return world

    def write(self, topology: str) -> None:
        """Make this the file."""
        self.file.write_text(topology)

    def netctl(self, verb: str, *words: str, status: int | None = 0) -> Outcome:
        """The command on the file; `status` is how it has to end."""
        done = self.machine.netctl(verb, *words, self.file)
        assert status is None or done.status == status, f"{verb}: {done.status}\n{done.out}{done.err}"
        return done

    def apply(self) -> Outcome:
        """Apply, and see that nothing differs afterwards."""
        done = self.netctl("apply")
        self.netctl("diff")
        return done

    def sh(self, script: str, netns: str = "") -> str:
        """What a shell script prints."""
        return self.machine.sh(script, netns)

    def passes(self, netns: str, script: str) -> bool:
        """Whether a script ends well in a container of the topology `here`."""
        return self.machine.run("sh", "-eu", "-s", text=script, netns=netns, check=False).status == 0

    def pings(self, container: str, address: str) -> bool:
        """Whether an answer comes; asked twice, for what was just re-created may have to be found first."""
        return self.passes(f"here.{container}", f"ping -c2 -i0.1 -W1 {address}")

    def speak(self, netns: str, *words: str) -> str:
        """What the speaker prints (speaker.py)."""
        return self.machine.run(sys.executable, str(SPEAKER), *words, netns=netns).out.strip()

    def start(self, netns: str, *words: str) -> Running:
        """A command that runs on in a namespace."""
        return self.machine.start(lambda: os.execvp(words[0], words), netns)

    def transfer(self, server: str, client: str, address: str, port: int, served: int = 0) -> int:
        """How many bytes of a megabyte arrive by TCP at `address`, where the server listens on `served`, or the same port."""
        running = self.start(server, sys.executable, str(SPEAKER), "serve", str(served or port))
        self.speak(client, "send", address, str(port))
        return int(running.wait(30).out)

    def database(self) -> str:
        """What the OVSDB has, a line for each row, in an order of their own."""
        return "\n".join(
            sorted(
                self.sh(
                    "ovs-vsctl -f csv --no-headings --columns=name,external_ids,datapath_type,fail_mode,other_config list bridge;"
                    "ovs-vsctl -f csv --no-headings --columns=name,external_ids,protected list port;"
                    "ovs-vsctl -f csv --no-headings --columns=name,type,mtu_request,error list interface;"
                    "for b in $(ovs-vsctl list-br); do ovs-vsctl list-ports $b | sed s/^/$b:/; done"
                ).splitlines()
            )
        )

    def until(self, script: str, timeout_s: float = 5) -> None:
        """Wait until a script ends well."""
        deadline = time.monotonic() + timeout_s
        while self.machine.run("sh", "-eu", "-s", text=script, check=False).status:
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {script}"
            time.sleep(0.02)
