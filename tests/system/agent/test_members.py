"""An agent beside a dockerd whose containers come and go by `docker compose up --scale`."""

from __future__ import annotations

import re
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.running_agent import RunningAgent
from tests.harness.topologies.local import write

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(300)]

WIRED_S, LIMIT_S = 1.0, 15.0
"""What is promised on an idle machine, and what is waited for on a busy one."""
TEXT = """\
version: 1
name: {name}
hosts: {{one: {{connect: local, docker: "{url}"}}}}
subnets: {{front: {{cidr: {cidr}}}}}
containers:
  web: {{existing: {{compose: shop/web}}, networks: {{front: auto}}}}
"""
WAIT = 'until grep -qs 1 /sys/class/net/eth0/carrier; do sleep .1; done; exec "$@"\n'
"""The script of docs/containers.md, without its first lines."""


@pytest.fixture(scope="module")
def machine_with_docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Dockerd]]:
    """A machine with Docker."""
    for name in ("root", "nft", "dockerd", "busybox"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("members"))
    try:
        with dockerd_in(f"t-dockerd-{secrets.token_hex(3)}", enter=machine.entering()) as daemon:
            yield machine, daemon
    finally:
        machine.end()


@pytest.fixture
def file(machine_with_docker: tuple[Machine, Dockerd]) -> Iterator[Path]:
    """A topology; at the end it is destroyed, no agent is left, and no container."""
    machine, daemon = machine_with_docker
    path = write(machine, TEXT.format(name="here", url=daemon.url, cidr="10.44.0.0/24"))
    yield path
    for running in machine.started:
        if running.status is None:
            running.kill(signal.SIGKILL)
            running.close()
    quick_netctl(machine, "destroy", path)
    daemon.remove_all()


def run(daemon: Dockerd, number: int, *options: str, command: str = "sleep 1000") -> str:
    """A container with Compose's labels; its name."""
    labels = {"project": "shop", "service": "web", "container-number": str(number)}
    words = [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]
    name = f"shop-web-{number}"
    daemon.docker("run", "--detach", "--network", "none", "--name", name, *words, *options, "busybox", "sh", "-c", command)
    return name


def wait_wired(daemon: Dockerd, name: str) -> tuple[str, float]:
    """Until the container has an address on a link that is up: the address, and after how many seconds."""
    begun_s = time.monotonic()
    while True:
        shown = daemon.docker("exec", name, "ip", "-4", "-o", "address", "show", "dev", "eth0", check=False)
        if address := shown.partition("inet ")[2].partition("/")[0]:
            return address, time.monotonic() - begun_s
        assert time.monotonic() - begun_s < LIMIT_S, shown
        time.sleep(0.02)


def test_scaling_beside_an_agent(
    machine_with_docker: tuple[Machine, Dockerd], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each new member is wired after its start, one that goes leaves nothing, and one that comes again has its address."""
    machine, daemon = machine_with_docker
    agent = RunningAgent.start(machine, file).wait_ready()
    assert agent.state["waiting"] == ["web"]
    found = {name: wait_wired(daemon, name) for name in (run(daemon, number) for number in (1, 2, 3))}
    with capsys.disabled():
        print(f"\nagent: members wired {', '.join(f'{took:.2f}' for _, took in found.values())} s after the start")
    agent.wait_for(lambda it: it.state["in_step"] and not it.state["waiting"])
    assert quick_netctl(machine, "diff", file)[0].status == 0
    daemon.docker("rm", "--force", "shop-web-2", "shop-web-3")
    agent.wait_for(lambda _: "web-3" not in quick_netctl(machine, "status", file)[0].out)
    agent.wait_for(lambda _: quick_netctl(machine, "diff", file)[0].status == 0)
    assert found["shop-web-3"][0] not in machine.sh("nft list ruleset; ip neighbor show")
    assert wait_wired(daemon, run(daemon, 3))[0] == found["shop-web-3"][0]
    assert wait_wired(daemon, run(daemon, 2))[0] == found["shop-web-2"][0]
    daemon.docker("stop", "--time", "0", "shop-web-1")
    agent.wait_for(lambda it: it.state["waiting"] == ["web-1"] and it.state["in_step"])
    assert agent.state["error"] == ""
    shown = quick_netctl(machine, "status", file)[0]
    assert shown.status == 0, shown.out
    assert re.search("container web-1 +waiting +docker container shop-web-1 is exited", shown.out)
    daemon.docker("start", "shop-web-1")
    assert wait_wired(daemon, "shop-web-1")[0] == found["shop-web-1"][0]


def test_a_restart_loop_is_no_error(machine_with_docker: tuple[Machine, Dockerd], file: Path) -> None:
    """One that ends and starts again and again disturbs no other, and is wired as soon as it lasts."""
    machine, daemon = machine_with_docker
    agent = RunningAgent.start(machine, file).wait_ready()
    loop = run(
        daemon,
        1,
        "--restart",
        "always",
        "--volume",
        f"{machine.folder}:/shared",
        command="test -e /shared/go || exit 1; sleep 1000",
    )
    wait_wired(daemon, run(daemon, 2))
    for _ in range(20):
        time.sleep(0.1)
        assert agent.state["error"] == "", agent.said
    (machine.folder / "go").touch()
    try:
        assert wait_wired(daemon, loop)[0]
    finally:
        (machine.folder / "go").unlink()


def test_a_program_that_waits_for_its_network(machine_with_docker: tuple[Machine, Dockerd], file: Path) -> None:
    """With the documented script as its entrypoint, a program has its address from its first instruction, at every start."""
    machine, daemon = machine_with_docker
    (machine.folder / "netctl-wait").write_text(f"#!/bin/sh\n{WAIT}")
    (machine.folder / "netctl-wait").chmod(0o755)
    agent = RunningAgent.start(machine, file).wait_ready()
    labels = ("--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web")
    daemon.docker(
        "run", "--detach", "--network", "none", "--name", "waits", *labels, "--label", "com.docker.compose.container-number=1",
        "--volume", f"{machine.folder}/netctl-wait:/netctl-wait:ro", "--entrypoint", "/netctl-wait", "busybox",
        "sh", "-c", "ip -4 -o address show dev eth0; ip route; echo end; sleep 1000",
    )  # fmt: skip
    for starts in range(1, 5):  # the fifth repair of one thing in a minute would be a contest
        begun_s = time.monotonic()
        while (logs := daemon.docker("logs", "waits")).splitlines().count("end") < starts:
            assert time.monotonic() - begun_s < LIMIT_S, f"{logs}\n{agent.state}\n{agent.said}"
            time.sleep(0.05)
        assert logs.count("inet 10.44.0.") == logs.count("default via 10.44.0.1") == starts, logs
        daemon.docker("restart", "--time", "0", "waits")


def test_two_topologies_claim_one(machine_with_docker: tuple[Machine, Dockerd], file: Path) -> None:
    """The second is refused, and the sentence names the first, whether it names the container or selects it."""
    machine, daemon = machine_with_docker
    name = run(daemon, 1)
    assert quick_netctl(machine, "apply", file)[0].status == 0
    text = TEXT.format(name="second", url=daemon.url, cidr="10.54.0.0/24")
    for existing in ("{compose: shop/web}", name):
        second = write(machine, text.replace("{compose: shop/web}", existing), "second.yaml")
        for command in ("diff", "apply"):
            refused = quick_netctl(machine, command, second)[0]
            assert refused.status == 3, refused.err
            assert f"the existing container {name} of web" in refused.err
            assert "is connected by topology here" in refused.err
    assert quick_netctl(machine, "diff", file)[0].status == 0
