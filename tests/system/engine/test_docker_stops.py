"""A dockerd that stands still, or is killed, in mid-apply: a sentence in bounded time; the next apply puts all right."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from reconciler.kernel.engines import docker_connection as docker
from reconciler.worker import waiting
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.faults.strike import Fault, quick_netctl, start_quick, wait_for_fault
from tests.harness.live import differences, read_live
from tests.harness.machine import Machine, Running
from tests.harness.topologies.local import furnish, write

pytestmark = pytest.mark.docker
TEXT = """\
version: 1
name: here
hosts:
  one: {connect: local, docker: "%s"}
subnets:
  front: {cidr: 10.44.0.0/24}
containers:
  web:
    image: busybox:latest
    networks: {front: 10.44.0.10}
    command: [sh, -c, "trap exit TERM; sleep 99 & wait"]
  db: {networks: {front: 10.44.0.20}}
"""
BEGUN = 25
"""By this step the container runs, and wiring has begun."""
ROLLED_BACK, LEFT = 4, 5


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Dockerd]]:
    machine = Machine.make(tmp_path_factory.mktemp("docker-stops"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        furnish(machine)
        with dockerd_in("t-docker-stops", enter=machine.entering()) as daemon:
            write(machine, TEXT % daemon.url)
            yield machine, daemon
    finally:
        machine.end()


def signal_dockerd(machine: Machine, number: signal.Signals) -> None:
    machine.run("pkill", f"-{number.name[3:]}", "-x", "dockerd")


def begin(machine: Machine) -> Running:
    """An apply that stands still until `go_on`."""
    machine.sh("rm -f /run/go-on")
    running, counter = start_quick(machine, "apply", "-q", machine.folder / "topology.yaml", fault=Fault("pause", BEGUN))
    wait_for_fault(counter)
    return running


def repair(machine: Machine) -> None:
    """The next apply makes everything; then destroy leaves nothing."""
    file = machine.folder / "topology.yaml"
    for command in ("apply", "diff", "destroy"):
        done, _ = quick_netctl(machine, command, file)
        assert done.status == 0, f"{command}: {done.err}"
    assert machine.run("ip", "-br", "link").out.count("here") == 0


def test_dockerd_stands_still(host: tuple[Machine, Dockerd], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for once for the whole time, and then briefly: status 5, for what it does is not known."""
    machine, daemon = host
    monkeypatch.setattr(docker, "ANSWER_TIMEOUT_S", 4)
    monkeypatch.setattr(docker, "NEXT_TIMEOUT_S", 1)
    running = begin(machine)
    signal_dockerd(machine, signal.SIGSTOP)
    try:
        machine.sh("touch /run/go-on")
        begun = time.monotonic()
        done = running.wait()
        assert 4 <= time.monotonic() - begun < 15
        assert done.status == LEFT, done.err
        assert f"the engine at {daemon.url.removeprefix('unix://')} gives no answer within 4 s" in done.err
        assert "gives no answer within 1 s" in done.err
        monkeypatch.setattr(docker, "ANSWER_TIMEOUT_S", 2)
        told, _ = quick_netctl(machine, "status", machine.folder / "topology.yaml")
        assert (told.status, "gives no answer within 2 s" in told.err) == (3, True), told.err
    finally:
        signal_dockerd(machine, signal.SIGCONT)
        daemon.processes[-1].send_signal(signal.SIGCONT)  # nsenter(1) stops with what it has started
        monkeypatch.undo()
    repair(machine)


def test_dockerd_is_killed_and_comes_back(host: tuple[Machine, Dockerd]) -> None:
    """As systemd does it, some seconds later: the rollback waits for it, status 4, and nothing is left of the apply."""
    machine, daemon = host
    before = read_live(machine)
    running = begin(machine)
    signal_dockerd(machine, signal.SIGKILL)
    daemon.processes[-1].wait()
    machine.sh("touch /run/go-on")
    time.sleep(2)
    (daemon.root / "pid").unlink(missing_ok=True)
    daemon.start()
    done = running.wait()
    assert (done.status, "every host is as it was before" in done.err) == (ROLLED_BACK, True), done.err
    assert daemon.docker("ps", "--all", "--quiet") == ""
    left = differences(before, read_live(machine))
    assert "here" not in left, left
    repair(machine)


def test_dockerd_is_killed(host: tuple[Machine, Dockerd], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is down: status 5 and a sentence. When it is back, with its containers ended, the next apply makes everything."""
    monkeypatch.setattr(waiting, "AWAY_S", 2)
    machine, daemon = host
    running = begin(machine)
    signal_dockerd(machine, signal.SIGKILL)
    daemon.processes[-1].wait()
    machine.sh("touch /run/go-on")
    done = running.wait()
    assert done.status == LEFT, done.err
    assert "docker.sock: Connection refused" in done.err
    assert "Connection aborted" not in done.err
    (daemon.root / "pid").unlink(missing_ok=True)
    daemon.start()
    repair(machine)
