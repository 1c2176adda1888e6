"""The network of Docker's containers through the ends of its daemon: an orderly one, one with live-restore, and a reboot."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd, dockerd_in, kill_what_names
from tests.harness.engines import Engine, engine_of_docker
from tests.harness.worlds.runtimes import RuntimeWorld, runtime_world

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[Dockerd, Engine]]:
    """A daemon of the test's own, which it ends as it likes."""
    require_capability("dockerd")
    netns = f"t-dockerd-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        subprocess.run(["ip", "-n", netns, "link", "set", "lo", "up"], check=True)
        with dockerd_in(netns, *options) as daemon:
            yield daemon, engine_of_docker(daemon)
    finally:
        subprocess.run(["ip", "netns", "delete", netns], check=True)


@contextlib.contextmanager
def applied(engine: Engine, name: str, path: Path, policy: str = "always") -> Iterator[RuntimeWorld]:
    with runtime_world(engine, name, path / "topology.yaml") as world:
        world.more = f"restart: {policy},"
        world.netctl("apply")
        yield world


def is_running(daemon: Dockerd, name: str) -> bool:
    return name in daemon.docker("ps", "--format", "{{.Names}}").split()


def reboot(daemon: Dockerd, *containers: str) -> None:
    """What a loss of power leaves: no process, nothing in the directory of what runs, and the containers' own data."""
    pids = [int(daemon.docker("inspect", "--format", "{{.State.Pid}}", name)) for name in containers]
    kill_what_names(daemon.root)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    daemon.processes[-1].wait()
    for line in Path("/proc/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{daemon.root}/exec"):
            subprocess.run(["umount", "--lazy", line.split()[1]], check=False)
    shutil.rmtree(daemon.root / "exec")
    (daemon.root / "pid").unlink(missing_ok=True)
    daemon.start()


def test_restart_of_the_daemon(topology_name: str, tmp_path: Path) -> None:
    """Its containers end with it. One that is to restart does not come back without its network; `apply` brings it back."""
    with running() as (daemon, engine), applied(engine, topology_name, tmp_path) as world:
        identity, holder = engine.identity(world.web), engine.identity(f"{world.web}.net")
        daemon.restart()
        assert not is_running(daemon, world.web), "Docker cannot start it without its holder"
        daemon.docker("start", "theirs")
        world.netctl("apply")
        assert world.in_step()
        assert "probes are as the file says" in world.netctl("verify").out
        assert (engine.identity(world.web), engine.identity(f"{world.web}.net")) == (identity, holder)


def test_restart_with_live_restore(topology_name: str, tmp_path: Path) -> None:
    """With live-restore nothing ends, and there is nothing to apply."""
    with running("--live-restore") as (daemon, engine), applied(engine, topology_name, tmp_path) as world:
        pid, netns = engine.pid(world.web), world.netns_of("web")
        daemon.restart()
        assert world.in_step()
        assert (engine.pid(world.web), world.netns_of("web")) == (pid, netns)


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_reboot(topology_name: str, tmp_path: Path, policy: str) -> None:
    """After a reboot Docker starts neither a holder nor what joins it: nothing runs unwired, and files stay."""
    with running() as (daemon, engine), applied(engine, topology_name, tmp_path, policy) as world:
        engine.exec(world.web, "sh", "-c", "echo kept >/tmp/file")
        reboot(daemon, *world.own_names, "theirs")
        assert not any(is_running(daemon, name) for name in world.own_names)
        daemon.docker("start", "theirs")
        world.netctl("apply")
        assert world.in_step()
        assert engine.exec(world.web, "cat", "/tmp/file") == "kept"
        assert "probes are as the file says" in world.netctl("verify").out


def test_a_holder_is_removed(topology_name: str, tmp_path: Path) -> None:
    """A container knows its holder by an id, so both are created again, and the plan says why; it ran unwired meanwhile."""
    with running() as (daemon, engine), applied(engine, topology_name, tmp_path) as world:
        engine.remove(f"{world.web}.net")
        assert is_running(daemon, world.web)
        shown = world.netctl("diff", "--verbose", status=1).out
        assert "network namespace is one that is gone, wanted the one that netctl holds" in shown
        world.netctl("apply")
        assert world.in_step()
        assert "probes are as the file says" in world.netctl("verify").out


def test_prune(topology_name: str, tmp_path: Path) -> None:
    """`docker container prune` takes what is stopped, holders too; `apply` makes both again."""
    with running() as (daemon, engine), applied(engine, topology_name, tmp_path) as world:
        for name in world.own_names:
            engine.stop(name)
        daemon.docker("container", "prune", "--force")
        assert engine.names() == ["theirs"]
        world.netctl("apply")
        assert world.in_step()
        assert engine.exec(world.web, "cat", "/sys/class/net/eth0/address").startswith("02:")
