"""The network before the first process, and kept: what each event leaves of a container's network, with real engines."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.kernel.context import KernelContext
from reconciler.kernel.engines.engine import run_runtime_steps
from reconciler.state.steps.containers import ContainerCreate
from reconciler.topology.load import load_topology
from tests.harness.capabilities import require_capability
from tests.harness.engines import RUNNING, Engine
from tests.harness.worlds.runtimes import STAYS, RuntimeWorld, runtime_world

RUNTIMES = ("docker", "podman", "lxc")
WAIT_S = 20.0


@pytest.fixture(scope="module", params=RUNTIMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of each runtime."""
    require_capability("root")
    require_capability({"docker": "dockerd"}.get(request.param, request.param))
    with RUNNING[request.param]() as running:
        yield running


@pytest.fixture
def world(engine: Engine, topology_name: str, tmp_path: Path) -> Iterator[RuntimeWorld]:
    """Applied, and destroyed at the end."""
    with runtime_world(engine, topology_name, tmp_path / "topology.yaml") as made:
        yield made


def wait_until(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.1)


def is_wired(engine: Engine, name: str) -> bool:
    """Whether a process of the container sees its interface."""
    return engine.exec(name, "cat", "/sys/class/net/eth0/address").startswith("02:")


def test_first_instruction(world: RuntimeWorld, engine: Engine) -> None:
    """A program that needs its interface, its address and its gateway at once runs; without them it would end at once."""
    needs = "cat /sys/class/net/eth0/address && ip address show eth0 | grep -q 10.44.0.10 && ping -c 1 -W 5 10.44.0.1"
    if engine.runtime == "podman":
        world.more = "cap_add: [NET_RAW],"  # Podman 5 gives it to no container, and ping needs it
    world.command = f"({needs}) >/dev/null || exit 9; {STAYS}"
    world.netctl("apply")
    assert world.in_step()


def test_killed_process(world: RuntimeWorld, engine: Engine) -> None:
    """The network outlives the first process, and `apply` starts the same container in it again."""
    netns, identity = world.netns_of("web"), engine.identity(world.web)
    os.kill(world.process_of("web"), signal.SIGKILL)
    wait_until(lambda: "web" in world.netctl("diff", status=1).out)
    assert world.netns_of("web") == netns
    world.netctl("apply")
    assert world.in_step()
    assert (world.netns_of("web"), engine.identity(world.web)) == (netns, identity)
    assert is_wired(engine, world.web)


def test_lost_namespace(world: RuntimeWorld, engine: Engine) -> None:
    """A process in a namespace whose file was deleted is stopped and started in the new one: the same container."""
    identity = engine.identity(world.web)
    world.lose_namespace("web")
    assert "network namespace is another, wanted the one that netctl holds" in world.netctl("diff", "--verbose", status=1).out
    world.netctl("apply")
    assert world.in_step()
    assert "probes are as the file says" in world.netctl("verify").out
    assert engine.identity(world.web) == identity
    assert is_wired(engine, world.web)


def test_reboot(world: RuntimeWorld, engine: Engine) -> None:
    """After a reboot the engine cannot start a container without its network; `apply` brings the same one back."""
    identity = engine.identity(world.web)
    for name in ("web", "db"):
        engine.stop(f"{world.name}-{name}")
        world.lose_namespace(name)
    with pytest.raises(AssertionError):
        engine.restart(world.web)
    world.netctl("apply")
    assert world.in_step()
    assert engine.identity(world.web) == identity
    assert is_wired(engine, world.web)


def test_earlier_version(world: RuntimeWorld, engine: Engine) -> None:
    """A container with a network of its own, as earlier versions made it, is created again, and the plan says why."""
    world.write()
    key = f"{world.name}.lab.alpha"
    context = KernelContext(world.name, key, own_netns=f"/run/netns/{key}", engines=((engine.runtime, engine.url),))
    engine.remove(world.web)
    if engine.runtime == "docker":
        engine.remove(f"{world.web}.net")
    else:
        world.lose_namespace("web")
    spec = load_topology(str(world.path)).containers["web"].spec
    run_runtime_steps(context, [ContainerCreate("container:web", "web", world.web, spec)])
    shown = world.netctl("diff", "--verbose", status=1).out
    assert "network namespace is its own, wanted the one that netctl holds" in shown
    world.netctl("apply")
    assert world.in_step()
    assert is_wired(engine, world.web)
    assert set(engine.names()) == world.own_names | {"theirs"}


def test_crash_with_a_policy(world: RuntimeWorld, engine: Engine) -> None:
    """An engine that restarts a container by itself restarts it in its network, and there is nothing to apply. LXC does not."""
    world.more = "restart: always,"
    world.netctl("apply")
    netns, before = world.netns_of("web"), engine.pid(world.web)
    os.kill(int(before), signal.SIGKILL)
    if engine.runtime == "lxc":
        wait_until(lambda: "running is off" in world.netctl("diff", "--verbose", status=1).out)
        return
    wait_until(lambda: engine.pid(world.web) not in ("0", before))
    assert is_wired(engine, world.web)
    assert world.netns_of("web") == netns
    assert world.in_step()
    assert "probes are as the file says" in world.netctl("verify").out


def test_removed_by_hand(world: RuntimeWorld, engine: Engine) -> None:
    """What a `container prune` takes, a stopped container and its holder, `apply` makes again."""
    if engine.runtime == "docker":
        engine.remove(f"{world.web}.net")
    engine.stop(world.web)
    if engine.runtime != "lxc":
        engine.remove(world.web)
    world.netctl("apply")
    assert world.in_step()
    assert is_wired(engine, world.web)
    assert set(engine.names()) == world.own_names | {"theirs"}


def test_names(world: RuntimeWorld, engine: Engine) -> None:
    """A container has its host name, and finds itself, its aliases and `extra_hosts`; a new address needs no new container."""
    world.more = "hostname: web.example, aliases: [shop], extra_hosts: ['db:10.44.0.20', 'outer=host-gateway'],"
    world.netctl("apply")
    identity = engine.identity(world.web)
    assert engine.exec(world.web, "hostname") == "web.example"

    def lines() -> list[str]:
        return engine.exec(world.web, "cat", "/etc/hosts").splitlines()

    wanted = ["10.44.0.10 web.example web shop", "10.44.0.20 db", "10.44.0.1 outer"]
    assert [line for line in lines() if line.startswith("10.")] == wanted
    assert engine.exec(f"{world.name}-db", "hostname") == "db", "by default"
    engine.restart(world.web)
    assert [line for line in lines() if line.startswith("10.")] == wanted
    engine.exec(world.web, "sh", "-c", "echo 10.9.9.9 added >>/etc/hosts")
    assert world.in_step(), "lines that a program of the container adds are its own"
    world.more = world.more.replace("10.44.0.20", "10.44.0.21").replace("shop", "store")
    world.netctl("apply")
    assert world.in_step()
    assert lines()[-1] == "10.9.9.9 added"
    assert "10.44.0.20 db" not in lines()
    assert "10.44.0.21 db" in lines()
    assert engine.identity(world.web) == identity
    # The command lines of a plan write the same.
    world.netctl("destroy")
    script = world.netctl("diff", "--commands", "--show-secrets", status=1).out
    subprocess.run(["sh", "-e"], input=script, text=True, check=True, capture_output=True)
    assert world.in_step()
    assert "10.44.0.21 db" in lines()
    world.netctl("destroy")
    assert not list(Path("/run/netctl").glob(f"*/{world.name}.hosts"))


def test_share(world: RuntimeWorld, engine: Engine) -> None:
    """A container in another's network has its interfaces and name, and neither loses them when the other changes or restarts."""
    world.shares = True
    world.netctl("apply")
    assert world.in_step()
    app = f"{world.name}-app"
    assert "10.44.0.10/24" in engine.exec(app, "ip", "address", "show", "eth0")
    assert engine.exec(app, "hostname") == "web"
    assert "10.44.0.10/24" in world.netctl("exec", "app", "--", "ip", "address").out
    pid, netns = engine.pid(app), world.netns_of("app")
    assert world.netns_of("web") == netns
    engine.restart(world.web)
    assert world.in_step()
    world.greeting = "good evening"
    world.netctl("apply")
    assert (engine.pid(app), world.netns_of("app")) == (pid, netns), "a new `web` leaves it alone"
    assert "probes are as the file says" in world.netctl("verify").out
    world.lose_namespace("web")
    world.netctl("apply")
    assert world.in_step()
    for name in (app, world.web):
        assert "10.44.0.10/24" in engine.exec(name, "ip", "address", "show", "eth0")
    world.netctl("destroy")
    assert engine.names() == ["theirs"]
    script = world.netctl("diff", "--commands", "--show-secrets", status=1).out
    subprocess.run(["sh", "-e"], input=script, text=True, check=True, capture_output=True)
    assert world.in_step()
