"""The boot of a host: nothing is there but the file and what Docker keeps on disk.

The machine before ends as by a power cut: its namespaces, /run and all processes go at once. The next one has an empty network
and an empty /run. Its dockerd runs on the old data directory, and starts the containers whose policy says so.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.engines import Engine, engine_of_docker
from tests.harness.faults.connections import Connection, start_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.live import Snapshot, differences, read_live
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import furnish, write

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(300)]

READY_S = 60.0
FILE = """\
version: 1
name: here
hosts:
  one: {{connect: local, docker: "{docker}"}}
subnets:
  front: {{cidr: 10.44.0.0/24}}
  back: {{cidr: 10.45.0.0/24, mode: isolated}}
containers:
  plain: {{networks: {{front: 10.44.0.9}}, command: [sleep, infinity]}}
  theirs: {{runtime: docker, existing: true, networks: {{front: 10.44.0.10}}}}
  shut: {{networks: {{back: 10.45.0.20}}}}
  web: {{runtime: docker, image: '{image}', command: [sleep, '1000'],
        restart: always, networks: {{front: 10.44.0.20}}, ports: ["8080:80"]}}
  down: {{runtime: docker, existing: true, networks: {{front: 10.44.0.11}}}}
policies:
  - {{allow: plain, to: shut, ports: [5432/tcp]}}
"""
WIRED = {"here-web": "10.44.0.20/24", "theirs": "10.44.0.10/24"}


def boot(folder: Path) -> Machine:
    """A machine with its uplink, as the kernel and the distribution leave it."""
    machine = Machine.make(folder)
    machine.sh("ip netns add x; ip netns delete x")
    furnish(machine)
    return machine


def start_docker(daemon: Dockerd, machine: Machine) -> Engine:
    """The daemon of the machine before, on its data; what it had under /run is gone."""
    for name in ("exec", "docker.sock", "pid"):
        path = daemon.root / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    again = replace(daemon, enter=machine.entering())
    again.start()
    return engine_of_docker(again)


def cut_power(daemon: Dockerd, machine: Machine) -> None:
    """End everything in the machine at once, the daemon and the containers too."""
    machine.end()
    daemon.processes[-1].wait(30)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    assert not [mount for mount in mounts if mount.startswith(f"{daemon.root}/exec")]


def read_network(machine: Machine) -> Snapshot:
    """What netctl has there, and settings. Other links get their addresses by lot."""
    lines = (line for line in read_live(machine) if not line.startswith("process:") and ": file " not in line)
    return frozenset(line for line in lines if re.search(r"\bhere\b", line) or " sysctl " in line)


def wait_wired(engine: Engine, begun_s: float) -> float:
    """Until all containers have their addresses; when that was."""
    for name, address in WIRED.items():
        while engine.pid(name) == "0" or address not in engine.exec(name, "ip", "address"):
            assert time.monotonic() - begun_s < READY_S, f"{name} has no network"
            time.sleep(0.05)
    return time.monotonic() - begun_s


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dockerd, Path, Snapshot]]:
    """A machine that ran with an agent, and whose power was cut: its daemon, its file, and what it had."""
    for name in ("root", "nft", "dockerd", "busybox"):
        require_capability(name)
    machine = boot(tmp_path_factory.mktemp("boot"))
    try:
        with dockerd_in("t-boot", enter=machine.entering()) as daemon:
            engine = engine_of_docker(daemon)
            file = write(machine, FILE.format(docker=engine.url, image=engine.image))
            agent = RunningAgent.start(machine, file).wait_ready()
            assert agent.state["waiting"] == ["down", "theirs"]
            engine.run("theirs", "--restart", "always")
            engine.run("down")
            wait_wired(engine, time.monotonic())
            agent.wait_for(lambda it: it.state["in_step"] and not it.state["waiting"])
            engine.stop("down")
            agent.wait_for(lambda it: it.state["in_step"] and it.state["waiting"] == ["down"])
            found = read_network(machine)
            cut_power(daemon, machine)
            yield daemon, file, found
    finally:
        if Path(f"/proc/{machine.first}").exists():
            machine.end()


@pytest.mark.parametrize("first", ["agent", "engine"])
def test_all_is_wired_after_a_boot(
    before: tuple[Dockerd, Path, Snapshot], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever starts first, the network is as before the boot, and what was stopped is still waited for."""
    daemon, file, found = before
    machine = boot(file.parent)
    try:
        assert machine.run("sh", "-c", "ls /run/netctl /run/netns/here.* 2>/dev/null; true").out == ""
        if first == "agent":
            agent = RunningAgent.start(machine, file)
            agent.wait_for(lambda it: it.state.get("pid"))
            time.sleep(1)
            assert "ready" not in agent.said.splitlines()
        engine = start_docker(daemon, machine)
        begun_s = time.monotonic()
        if first == "engine":
            agent = RunningAgent.start(machine, file)
        wired_s = wait_wired(engine, begun_s)
        agent.wait_for(lambda it: "ready" in it.said.splitlines(), READY_S)
        agent.wait_for(lambda it: it.state["in_step"] and it.state["waiting"] == ["down"])
        with capsys.disabled():
            print(f"\nagent: boot with the {first} first: all wired {wired_s:.1f} s after the engine answered")
        assert differences(found, read_network(machine)) == ""
        assert quick_netctl(machine, "diff", file)[0].status == 0
        start_server(machine, "here.plain", 7)
        Connection.open(machine, "", "10.44.0.9", 7)
        assert "1 packets received" in engine.exec("theirs", "ping", "-c", "1", "-W", "3", "10.44.0.9")
        engine.restart("down")
        agent.wait_for(lambda it: it.state["in_step"] and not it.state["waiting"])
        assert "10.44.0.11/24" in engine.exec("down", "ip", "address")
    finally:
        cut_power(daemon, machine)
