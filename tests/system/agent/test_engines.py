"""An agent beside real engines: Docker, Podman and LXC in one machine, with containers of netctl's and of others."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.agent.unit import DROPPED
from tests.harness.capabilities import require_capability
from tests.harness.engines import Engine, running_all
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import edit, write

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(300)]

RUNTIMES = ("docker", "podman", "lxc")
WIRED_S, LIMIT_S = 1.0, 15.0
"""What is promised on an idle machine, and what is waited for on a busy one."""
CAP_SYS_RAWIO = 17  # linux/capability.h
HEAD = """\
version: 1
name: here
hosts:
  one: {{connect: local, docker: "{docker}", podman: "{podman}", lxc: "{lxc}"}}
subnets:
  front: {{cidr: 10.44.0.0/24}}
containers:
  plain: {{networks: {{front: 10.44.0.9}}, command: [sleep, infinity]}}
"""
THEIRS = "  theirs: {{runtime: {runtime}, existing: true, networks: {{front: 10.44.0.10}}}}\n"
OURS = "  web: {{runtime: {runtime}, image: '{image}', command: [sleep, '1000'], networks: {{front: 10.44.0.20}}}}\n"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, dict[str, Engine]]]:
    """A machine with all engines."""
    for name in ("root", "nft", "dockerd", "podman", "lxc", "busybox"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("engines"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        with running_all(machine) as found:
            yield machine, found
    finally:
        machine.end()


@pytest.fixture
def file(engines: tuple[Machine, dict[str, Engine]]) -> Iterator[Path]:
    """The head of a topology; what it had is destroyed at the end, and no agent is left."""
    machine, found = engines
    path = write(machine, HEAD.format(**{runtime: engine.url for runtime, engine in found.items()}))
    yield path
    for running in machine.started:
        if running.status is None:
            running.kill(signal.SIGKILL)
            running.close()
    quick_netctl(machine, "destroy", path)
    for engine in found.values():
        for name in ("theirs", "here-web", "here-web.net"):
            if name in engine.names():
                with contextlib.suppress(AssertionError):  # LXC refuses to stop what does not run
                    engine.stop(name)
                if engine.runtime == "lxc":
                    shutil.rmtree(Path(engine.url) / name)
                else:
                    engine.remove(name)


def wait_wired(engine: Engine, name: str, address: str) -> float:
    """Until the container has the address, on a link that is up; after how many seconds."""
    begun_s = time.monotonic()
    while True:
        shown = engine.exec(name, "ip", "address")
        if address in shown and "UP" in shown.partition("eth0")[2]:
            return time.monotonic() - begun_s
        assert time.monotonic() - begun_s < LIMIT_S, shown
        time.sleep(0.02)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_container_of_others_is_waited_for(
    engines: tuple[Machine, dict[str, Engine]], file: Path, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing `existing` container is no error: the rest is in step, and it is wired when it runs, and after each restart."""
    machine, engine = engines[0], engines[1][runtime]
    file.write_text(file.read_text() + THEIRS.format(runtime=runtime))
    agent = RunningAgent.start(machine, file).wait_ready()
    assert agent.state["waiting"] == ["theirs"]
    assert "waits for container theirs, which does not run" in quick_netctl(machine, "status", file)[0].out
    engine.run("theirs")
    times = [wait_wired(engine, "theirs", "10.44.0.10/24")]
    for _ in range(2):
        engine.restart("theirs")
        times.append(wait_wired(engine, "theirs", "10.44.0.10/24"))
    with capsys.disabled():
        print(f"\nagent: {runtime}: wired {', '.join(f'{one:.2f}' for one in times)} s after the start")
    agent.wait_for(lambda it: it.state["in_step"] and not it.state["waiting"])
    assert quick_netctl(machine, "diff", file)[0].status == 0
    engine.stop("theirs")
    agent.wait_for(lambda it: it.state["waiting"] == ["theirs"] and it.state["in_step"])
    assert agent.state["error"] == ""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_container_that_was_stopped_stays_so(engines: tuple[Machine, dict[str, Engine]], file: Path, runtime: str) -> None:
    """With `repair: network` a stopped container stays stopped, and is wired when it is started; with `all` it is started."""
    machine, engine = engines[0], engines[1][runtime]
    file.write_text(file.read_text() + OURS.format(runtime=runtime, image=engine.image))
    agent = RunningAgent.start(machine, file).wait_ready()
    wait_wired(engine, "here-web", "10.44.0.20/24")
    identity = engine.identity("here-web")
    engine.stop("here-web")
    agent.wait_for(lambda it: it.state["waiting"] == ["web"])
    repairs = agent.state["repairs"]
    machine.sh("nft flush ruleset")
    agent.wait_repaired(repairs)
    assert agent.state["waiting"] == ["web"]
    edit(file, ("subnets:", "repair: all\nsubnets:"))
    agent.wait_for(lambda it: it.state["waiting"] == [] and it.state["in_step"])
    assert "10.44.0.20/24" in engine.exec("here-web", "ip", "address")
    assert engine.identity("here-web") == identity
    repairs = agent.state["repairs"]
    engine.stop("here-web")
    agent.wait_repaired(repairs)
    assert "container here-web" in agent.state["last_repair"]
    wait_wired(engine, "here-web", "10.44.0.20/24")
    agent.wait_for(lambda it: quick_netctl(machine, "diff", file)[0].status == 0)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_container_that_lost_its_network_is_started(
    engines: tuple[Machine, dict[str, Engine]], file: Path, runtime: str
) -> None:
    """After a reboot the engine cannot start it. With a policy that would, the agent makes the network, then starts it."""
    machine, engine = engines[0], engines[1][runtime]
    ours = OURS.replace("command:", "restart: always, command:")
    file.write_text(file.read_text() + ours.format(runtime=runtime, image=engine.image))
    agent = RunningAgent.start(machine, file).wait_ready()
    identity = engine.identity("here-web")
    agent.stop()
    engine.stop("here-web")
    if runtime == "docker":
        engine.stop("here-web.net")
    else:
        machine.sh("ip netns delete here.web")
    RunningAgent.start(machine, file).wait_ready()
    assert "10.44.0.20/24" in engine.exec("here-web", "ip", "address")
    assert engine.identity("here-web") == identity


def test_a_missing_image_holds_up_no_network(engines: tuple[Machine, dict[str, Engine]], file: Path) -> None:
    """Without its image a container is an error in `status`, and the network of all others is built and repaired."""
    machine = engines[0]
    file.write_text(file.read_text() + OURS.format(runtime="docker", image="none:1"))
    agent = RunningAgent.start(machine, file)
    agent.wait_for(lambda it: "an image is not on the host: none:1" in it.state.get("error", ""))
    assert "10.44.0.9/24" in machine.run("ip", "-n", "here.plain", "address").out
    repairs = agent.state["repairs"]
    machine.sh("nft flush ruleset")
    agent.wait_for(lambda it: it.state["repairs"] > repairs and "netctl-here" in machine.sh("nft list tables"))
    edit(file, ("none:1", "busybox:latest"))
    agent.wait_ready()
    assert "10.44.0.20/24" in engines[1]["docker"].exec("here-web", "ip", "address")


def test_an_engine_that_is_away_is_waited_for(engines: tuple[Machine, dict[str, Engine]], file: Path) -> None:
    """An agent that starts before its engine, as at boot, retries and is ready when the engine is there."""
    machine, engine = engines[0], engines[1]["docker"]
    path = engine.url.removeprefix("unix://")
    file.write_text(file.read_text() + THEIRS.format(runtime="docker"))
    engine.run("theirs")
    hidden = Path(f"{path}.hidden")
    Path(path).rename(hidden)
    try:
        agent = RunningAgent.start(machine, file)
        agent.wait_for(lambda it: "dockerd is not running" in it.state.get("error", ""))
    finally:
        hidden.rename(path)
    agent.wait_ready()
    wait_wired(engine, "theirs", "10.44.0.10/24")


def test_the_capabilities_of_the_unit_suffice(engines: tuple[Machine, dict[str, Engine]], file: Path) -> None:
    """With the capabilities that the unit leaves it, an agent creates containers of all engines, and repairs a machine."""
    machine, found = engines
    text = file.read_text()
    for number, (runtime, engine) in enumerate(found.items()):
        ours = (
            OURS.format(runtime=runtime, image=engine.image).replace("  web:", f"  {runtime}:").replace(".20", f".{20 + number}")
        )
        text += ours
    file.write_text(text)
    dropped = ",".join(f"-{name.removeprefix('CAP_').lower()}" for name in DROPPED)
    command = ("setpriv", f"--bounding-set={dropped}", sys.executable, "-m", "reconciler", "agent", str(file))
    agent = RunningAgent(machine, machine.start_command(*command), "here", "one").wait_ready()
    bounds = int(machine.sh(f"sed -n 's/CapBnd:\\t//p' /proc/{agent.state['pid']}/status"), 16)
    assert not bounds & 1 << CAP_SYS_RAWIO
    for number, (runtime, engine) in enumerate(found.items()):
        assert f"10.44.0.{20 + number}/24" in engine.exec(f"here-{runtime}", "ip", "address")
    for damage in (
        "nft flush ruleset",
        "ip link delete b-here-front",
        "ip netns delete here.plain",
        "pkill -9 -fx 'sleep infinity'",
    ):
        repairs = agent.state["repairs"]
        machine.sh(damage)
        agent.wait_repaired(repairs)
    agent.wait_for(lambda it: quick_netctl(machine, "diff", file)[0].status == 0)
    file.write_text(HEAD.format(**{runtime: engine.url for runtime, engine in found.items()}))
    agent.wait_for(
        lambda it: it.state["in_step"] and not [name for each in found.values() for name in each.names() if "here-" in name]
    )
