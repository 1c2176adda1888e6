"""Containers that start only with their network, beside an agent and a real dockerd."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.faults.strike import quick_netctl
from tests.harness.running_agent import RunningAgent
from tests.harness.worlds.compose import ComposeWorld
from tests.harness.worlds.starts import StartsWorld, starts_world

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartsWorld]:
    """A machine with the hook."""
    for name in ("root", "nft", "dockerd", "busybox"):
        require_capability(name)
    with starts_world(tmp_path_factory.mktemp("starts")) as found:
        yield found


@pytest.fixture
def world(module_world: StartsWorld) -> Iterator[StartsWorld]:
    """The same; at the end nothing is left in it."""
    yield module_world
    module_world.end()


def test_network_at_the_first_instruction(world: StartsWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """At each start, restart and crash, the program's first instructions see its address, its route and its carrier."""
    agent = world.agent().wait_ready()
    begun_s = time.monotonic()
    world.run("shop-web-1", "--restart", "always", *world.member(1), command="sleep 1")
    took_s = time.monotonic() - begun_s
    world.run("named")
    world.wait_started("named", 1)
    world.daemon.docker("restart", "--time", "0", "named")
    world.wait_started("named", 2)
    world.daemon.docker("kill", "named")
    world.daemon.docker("start", "named")
    world.wait_started("named", 3)
    world.wait_started("shop-web-1", 3)
    assert "10.44.0.10/24" in world.daemon.docker("logs", "named")
    world.daemon.docker("rm", "--force", "shop-web-1")
    agent.wait_for(lambda _: quick_netctl(world.machine, "diff", world.file)[0].status == 0)
    with capsys.disabled():
        print(f"\nagent: a container was run and wired in {took_s:.2f} s")


def test_a_killed_agent(world: StartsWorld) -> None:
    """Without an agent a start waits, `hook show` and `status` say so, and it goes on when one is back; inspect waits, too."""
    agent = world.agent().wait_ready()
    world.run("named")
    agent.stop(signal.SIGKILL)
    world.daemon.docker("stop", "--time", "0", "named")
    starting = subprocess.Popen(["docker", "-H", world.daemon.url, "start", "named"], stdout=subprocess.DEVNULL)
    world.wait_until(lambda: "container named waits" in world.waiting())
    for command in ("status", "diff"):
        begun_s = time.monotonic()
        shown = quick_netctl(world.machine, command, world.file)[0]
        assert time.monotonic() - begun_s < 10, command
        assert shown.status == 1, shown.err
        assert "named" in shown.out
    assert "named waits to start until it has its network" in quick_netctl(world.machine, "status", world.file)[0].err
    time.sleep(1)
    assert starting.poll() is None
    again = world.agent()
    world.wait_started("named", 2)
    assert starting.wait(10) == 0
    again.wait_ready()
    assert "named starts: it has its network" in again.said
    assert world.daemon.docker("inspect", "--format", "{{.State.Running}}", "named") == "true"


def test_apply_without_an_agent(world: StartsWorld) -> None:
    """`netctl apply` lets a container start that waits, too."""
    starting = subprocess.Popen(["docker", "-H", world.daemon.url, *world.words("named")], stdout=subprocess.DEVNULL)
    world.wait_until(lambda: "container named waits" in world.waiting())
    assert quick_netctl(world.machine, "apply", world.file)[0].status == 0
    assert starting.wait(10) == 0
    world.wait_started("named", 1)
    assert quick_netctl(world.machine, "diff", world.file)[0].status == 0


def test_no_member(world: StartsWorld) -> None:
    """A container that is none of the topology starts at once; one without the runtime does so without an agent."""
    world.daemon.docker("run", "--detach", "--name", "plain", "busybox", "sleep", "1000")
    world.agent().wait_ready()
    for wait_for in ("here", ""):
        world.run(f"other-{wait_for}", wait_for=wait_for)
        world.wait_until(lambda name=f"other-{wait_for}": "end" in world.daemon.docker("logs", name))  # type: ignore[misc]
    world.run("named", wait_for="")
    world.wait_started("named", 1)


def test_a_member_without_a_place(world: StartsWorld) -> None:
    """A second member that cannot have the first one's address does not start, and Docker shows the reason."""
    agent = world.agent().wait_ready()
    world.run("one", "--label", "part=fixed")
    world.wait_started("one", 1)
    with pytest.raises(AssertionError, match=r"two cannot have the address 10\.44\.0\.20 in front: one has it"):
        world.run("two", "--label", "part=fixed")
    assert "two starts: it cannot, because" in agent.said
    assert world.waiting().count("waits") == 0
    world.daemon.docker("rm", "--force", "one", "two")


def test_many_starts_at_once(world: StartsWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty containers that start at once all have their network first, as do their restarts after a crash of all."""
    agent = world.agent().wait_ready()
    begun_s = time.monotonic()
    names = [f"shop-web-{number}" for number in range(1, 21)]
    lines = [world.words(name, "--restart", "always", *world.member(number)) for number, name in enumerate(names, 1)]
    starting = [subprocess.Popen(["docker", "-H", world.daemon.url, *words], stdout=subprocess.DEVNULL) for words in lines]
    assert [one.wait(120) for one in starting] == [0] * len(names)
    took_s = time.monotonic() - begun_s
    pids = [world.daemon.docker("inspect", "--format", "{{.State.Pid}}", name) for name in names]
    world.machine.sh(f"kill -9 {' '.join(pids)}")
    for name in names:
        world.wait_started(name, 2)
    agent.wait_for(lambda _: quick_netctl(world.machine, "diff", world.file)[0].status == 0)
    with capsys.disabled():
        print(f"\nagent: {len(names)} containers run and wired in {took_s:.1f} s")


def test_restart_of_the_engine(world: StartsWorld) -> None:
    """After `systemctl restart docker` each container has its network first."""
    agent = world.agent().wait_ready()
    world.run("shop-web-1", "--restart", "always", *world.member(1))
    world.wait_started("shop-web-1", 1)
    world.restart_engine()
    world.wait_started("shop-web-1", 2)
    agent.wait_for(lambda _: quick_netctl(world.machine, "diff", world.file)[0].status == 0)


@pytest.mark.parametrize("first", ["agent", "engine"])
def test_reboot(world: StartsWorld, first: str) -> None:
    """After a loss of power Docker's containers start with their network, whether the agent or dockerd is first."""
    agent = world.agent().wait_ready()
    names = [f"shop-web-{number}" for number in range(1, 5)]
    for number, name in enumerate(names, 1):
        world.run(name, "--restart", "always", *world.member(number))
        world.wait_started(name, 1)
    agent.stop(signal.SIGKILL)
    world.cut_power()
    if first == "agent":
        agent = world.agent()
        world.daemon.start()
    else:
        starting = world.start_engine()
        world.wait_until(lambda: world.waiting().count("waits") == len(names), world.waiting)
        assert quick_netctl(world.machine, "diff", world.file)[0].status == 1
        agent = world.agent()
        starting.join()
    for name in names:
        world.wait_started(name, 2)
    agent.wait_ready()
    agent.wait_for(lambda _: quick_netctl(world.machine, "diff", world.file)[0].status == 0)
    assert "has no answer" not in agent.said


def test_own_containers_after_a_reboot(world: StartsWorld) -> None:
    """Containers of netctl's start after a boot, too, though dockerd answers only when those that wait have started."""
    text = world.file.read_text()
    world.file.write_text(
        text + "  own: {image: busybox, command: [sleep, '1000'], restart: always, networks: {front: 10.44.0.30}}\n"
    )
    agent = world.agent().wait_ready()
    world.run("named", "--restart", "always")
    world.wait_started("named", 1)
    agent.stop(signal.SIGKILL)
    world.cut_power()
    agent = world.agent()
    begun_s = time.monotonic()
    world.daemon.start()
    world.wait_started("named", 2)
    agent.wait_ready()
    assert time.monotonic() - begun_s < 60
    assert "10.44.0.30/24" in world.daemon.docker("exec", "here-own", "ip", "address")
    assert quick_netctl(world.machine, "diff", world.file)[0].status == 0
    world.machine.netctl("destroy", world.file)
    world.file.write_text(text)


def test_forged_records(world: StartsWorld) -> None:
    """Only root can write a record; garbage in one, or a record of a process that is none of a container, changes nothing."""
    agent = world.agent().wait_ready()
    assert world.records.stat().st_mode & 0o777 == 0o700
    forged = ["", "{", "[]", json.dumps({"identity": "a" * 64, "name": "named", "pid": 1, "began": 0, "root": "/", "hook": 1})]
    for number, text in enumerate(forged):
        name = f"{number:x}".rjust(64, "a")
        (world.records / "temporary").write_text(text)
        (world.records / "temporary").rename(world.records / name)
    (world.records / ("b" * 64)).mkdir()
    (world.records / ("c" * 64)).symlink_to("/etc/passwd")
    world.run("named")
    world.wait_started("named", 1)
    assert agent.state["error"] == ""
    assert "waits" not in world.waiting()
    user = world.machine.sh("setpriv --reuid=65534 --regid=65534 --clear-groups ls /run/netctl/.hook 2>&1 || :")
    assert "Permission denied" in user
    world.machine.sh("chmod 777 /run/netctl/.hook")
    refused = quick_netctl(world.machine, "diff", world.file)[0]
    assert refused.status == 3
    assert "can be written by other users" in refused.err
    world.machine.sh("chmod 700 /run/netctl/.hook; rm -rf /run/netctl/.hook/*")


COMPOSE = """\
name: farm
services:
  web: {image: busybox:latest, scale: 2, networks: [front], command: [sh, -c, 'FIRST'], stop_grace_period: 0s}
  db: {image: busybox:latest, networks: [front], command: [sh, -c, 'FIRST'], stop_grace_period: 0s, depends_on: [web]}
networks: {front: {}}
""".replace("FIRST", "ip -4 -o address show dev eth0; echo end; sleep 1000")


def test_compose_with_the_hook(world: StartsWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`netctl import --hook`, then `up`, `up --scale` and `restart`: each program has its address from its first instruction."""
    require_capability("compose")
    monkeypatch.setenv("DOCKER_HOST", world.daemon.url)
    project = ComposeWorld(world.machine, world.daemon, tmp_path)
    project.write(COMPOSE)
    project.netctl("import", "--hook", tmp_path / "compose.yaml")
    RunningAgent.start(world.machine, project.topology, name="farm", host="local").wait_ready()
    try:
        project.compose("up", "--detach")
        project.compose("up", "--detach", "--scale", "web=4")
        project.compose("restart", "--timeout", "0")
        for name in ("web-1", "web-2", "web-3", "web-4", "db-1"):
            world.wait_until(lambda name=name: logs(world, name).count("end") == 2, lambda name=name: logs(world, name))  # type: ignore[misc]
            assert logs(world, name).count("inet ") == 2
        assert "probes are as the file says" in project.netctl("verify", project.topology).out
        project.compose("down", "--timeout", "0")
    finally:
        project.end()


def logs(world: StartsWorld, name: str) -> str:
    return world.daemon.docker("logs", f"farm-{name}")
