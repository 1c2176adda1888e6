"""What every runtime does alike: create, wire, exec, restart, change, fail and come back, existing ones, destroy, a script.

One sequence for a bare namespace, Docker, Podman and LXC, each real, through the command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.engines import RUNNING, Engine
from tests.harness.worlds.runtimes import SERVES, RuntimeWorld, runtime_world

RUNTIMES = ("netns", "docker", "podman", "lxc")


@pytest.fixture(scope="module", params=RUNTIMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine | None]:
    """An engine of each runtime; None for bare namespaces, which need none."""
    require_capability("root")
    if request.param == "netns":
        yield None
        return
    require_capability({"docker": "dockerd"}.get(request.param, request.param))
    with RUNNING[request.param]() as running:
        yield running


@pytest.fixture
def world(engine: Engine | None, topology_name: str, tmp_path: Path) -> Iterator[RuntimeWorld]:
    """Applied, and destroyed at the end."""
    with runtime_world(engine, topology_name, tmp_path / "topology.yaml") as made:
        yield made


def restart_web(world: RuntimeWorld) -> None:
    """As a user does who knows nothing of netctl; of a bare namespace, the command ends."""
    if world.engine:
        world.engine.restart(f"{world.name}-web")
    else:
        os.kill(world.process_of("web"), signal.SIGKILL)


def stop_web(world: RuntimeWorld) -> None:
    if world.engine:
        world.engine.stop(f"{world.name}-web")
    else:
        restart_web(world)


def changed_subjects(world: RuntimeWorld) -> set[str]:
    """Whom the plan speaks of."""
    lines = world.netctl("diff", status=1).out.splitlines()
    return {line.split("  ")[1].strip(" ~+-/") for line in lines if line.startswith(("  ~", "  +", "  -"))}


@pytest.mark.invariant(9)
def test_contract(world: RuntimeWorld) -> None:
    """Made, wired, entered, restarted, changed, rolled back and destroyed: the same for every runtime."""
    engine, web = world.engine, f"{world.name}-web"
    identity: Callable[[], str] = (lambda: engine.identity(web)) if engine else (lambda: "")
    # Create and wire: all that the file promises passes, and there is no more to do.
    assert world.in_step()
    verified = world.netctl("verify")
    assert "probes are as the file says" in verified.out
    if engine:
        assert set(engine.names()) == world.own_names | {"theirs"}
        assert engine.exec(web, "cat", "/sys/class/net/eth0/address").startswith("02:")
    # Exec: this machine's command in the container's network.
    assert "10.44.0.10/24" in world.netctl("exec", "web", "--", "ip", "address").out
    # Restart and re-wire: one container's matter, and the other keeps its process.
    before, db = identity(), world.process_of("db")
    netns = world.netns_of("web")
    restart_web(world)
    if engine is None:
        assert changed_subjects(world) == {"container web"}
        world.netctl("apply")
    assert world.in_step(), "the network of a container survives its restart"
    assert world.netns_of("web") == netns
    assert "probes are as the file says" in world.netctl("verify").out
    assert (identity(), world.process_of("db")) == (before, db)
    stop_web(world)
    world.netctl("apply")
    assert world.in_step()
    assert identity() == before
    # So does the foreign one, which stays the same container all along.
    theirs = engine.identity("theirs") if engine else ""
    if engine:
        engine.restart("theirs")
        assert changed_subjects(world) == {"container other"}
        world.netctl("apply")
        assert world.in_step()
        assert "10.44.0.30/24" in world.netctl("exec", "other", "--", "ip", "address").out
    # A change of what it is made from re-creates it, and the plan says what changes.
    world.greeting = "good evening"
    if engine:
        assert "GREETING is hello, wanted good evening" in world.netctl("diff", "--verbose", "--show-secrets", status=1).out
    world.netctl("apply")
    assert world.in_step()
    after = identity()
    assert (after != before) is bool(engine)
    assert world.process_of("db") == db
    if engine:
        assert set(engine.names()) == world.own_names | {"theirs"}, "nothing is left of the old one"
    # One that cannot start, or ends when its engine has just said that it runs: the old one comes back, the very same.
    for command in ("exit 7", "sleep 0.03; exit 7") if engine else ():
        world.command = command
        assert "every host is as it was before" in world.netctl("apply", status=4).err
    world.command = SERVES
    assert world.in_step()
    assert identity() == after
    # Destroy: the owned ones go, the foreign one stays as it was, without our link.
    world.netctl("destroy")
    if engine:
        assert engine.names() == ["theirs"]
        assert engine.identity("theirs") == theirs
        assert "eth" not in engine.exec("theirs", "ls", "/sys/class/net")
    # The printed command lines make what apply makes.
    assert run_script(world.netctl("diff", "--commands", "--show-secrets", status=1).out) == ""
    assert world.in_step()


def run_script(script: str) -> str:
    """What a shell complains of while it runs the script."""
    done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""
