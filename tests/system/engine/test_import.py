"""`netctl import` on a real engine: netctl connects what Docker runs, and Compose starts what the override says."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.compose import run_compose
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.machine import Machine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SERVE = "mkdir -p /www && hostname >/www/name && httpd -f -h /www -p 80"
PROJECT = """\
name: shop
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "{serve}"]
    ports: ["8080:80"]
    networks: [front, back]
    depends_on: [db]
  db:
    image: busybox:latest
    command: ["sh", "-c", "{serve}"]
    networks: {{back: {{aliases: [database]}}}}
  beside: {{image: "busybox:latest", network_mode: "service:web"}}
networks: {{front: {{}}, back: {{internal: true}}}}
"""


@pytest.fixture(scope="module")
def machine_with_docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Dockerd]]:
    """A machine of the tests' own with a dockerd, in whose network netctl's host is."""
    for name in ("root", "nft", "dockerd", "busybox"):
        require_capability(name)
    machine = Machine.make(tmp_path_factory.mktemp("import"))
    try:
        machine.sh("ip netns add x; ip netns delete x")
        with dockerd_in(f"t-dockerd-{secrets.token_hex(3)}", enter=machine.entering()) as daemon:
            yield machine, daemon
    finally:
        machine.end()


@pytest.fixture
def folder(machine_with_docker: tuple[Machine, Dockerd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files are written. At the end the topology is destroyed, and the engine is empty."""
    machine, daemon = machine_with_docker
    monkeypatch.setenv("DOCKER_HOST", daemon.url)
    yield tmp_path
    if (tmp_path / "topology.yaml").exists():
        machine.netctl("destroy", tmp_path / "topology.yaml")
    daemon.remove_all()
    daemon.docker("network", "prune", "--force")


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read_name(daemon: Dockerd, container: str, server: str) -> str:
    """The host name that the web server at `server` gives to the container: an address, or a name of its /etc/hosts.

    The static busybox of the tests resolves no name by itself: its wget ends with a segmentation fault.
    """
    look_up = f"found=$(awk '$2 == \"{server}\" {{print $1; exit}}' /etc/hosts)"
    ask = f"printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | nc -w 2 ${{found:-{server}}} 80"
    return daemon.docker("exec", container, "sh", "-c", f"{look_up}; {ask}", check=False).rpartition("\n")[2].strip()


def test_what_docker_runs_is_connected(machine_with_docker: tuple[Machine, Dockerd], folder: Path) -> None:
    """With the printed commands, containers keep their addresses, and a restarted one gets its network by an apply."""
    machine, daemon = machine_with_docker
    daemon.docker("network", "create", "--subnet", "172.30.5.0/24", "shop_front")
    daemon.docker("network", "create", "--subnet", "172.30.6.0/24", "--internal", "shop_back")
    daemon.docker(
        "run", "-d", "--name", "shop_web", "-p", "8080:80", "--network", "shop_front", "busybox:latest", "sh", "-c", SERVE
    )
    daemon.docker("run", "-d", "--name", "db", "--network", "shop_back", "busybox:latest", "sleep", "1000")
    daemon.docker("network", "connect", "shop_back", "shop_web")
    done = machine.netctl("import", "docker", "--output", folder)
    assert (done.status, done.err) == (0, "")
    commands = [line.strip() for line in done.out.splitlines() if line.startswith("  docker ")]
    assert len(commands) == 5
    for command in commands:
        daemon.docker(*shlex.split(command)[1:])
    path = folder / "topology.yaml"
    applied = machine.netctl("apply", path)
    assert applied.status == 0, applied.err
    assert "172.30.5.2/24" in daemon.docker("exec", "shop_web", "ip", "address")
    name = daemon.docker("exec", "shop_web", "hostname")
    assert read_name(daemon, "db", "172.30.6.3") == name
    verified = machine.netctl("verify", path)
    assert verified.status == 0, verified.out + verified.err
    daemon.docker("restart", "--time", "0", "shop_web")
    assert "eth0" not in daemon.docker("exec", "shop_web", "ip", "address")
    assert machine.netctl("apply", path).status == 0
    assert "172.30.5.2/24" in daemon.docker("exec", "shop_web", "ip", "address")


@pytest.mark.parametrize("waits", [False, True])
def test_compose_starts_what_the_override_says(machine_with_docker: tuple[Machine, Dockerd], folder: Path, waits: bool) -> None:
    """Containers start without a network, and find each other by name when they have one; with --wait they start then."""
    require_capability("compose")
    machine, daemon = machine_with_docker
    (folder / "compose.yaml").write_text(PROJECT.format(serve=SERVE))
    done = machine.netctl("import", folder / "compose.yaml", *(["--wait"] if waits else []))
    assert (done.status, done.err) == (0, "")
    files = [str(folder / name) for name in ("compose.yaml", "compose.netctl.yaml")]
    run_compose(folder, "up", "--detach", url=daemon.url, files=files)
    assert daemon.docker("network", "ls", "--quiet", "--filter", "label=com.docker.compose.project=shop") == ""
    assert "eth0" not in daemon.docker("exec", "shop-web-1", "ip", "address")
    assert ("httpd" in daemon.docker("top", "shop-web-1").replace(SERVE, "")) != waits
    path = folder / "topology.yaml"
    applied = machine.netctl("apply", path)
    assert applied.status == 0, applied.err
    wait_until(lambda: read_name(daemon, "shop-db-1", "web") == "web")
    assert read_name(daemon, "shop-web-1", "database") == "db"
    assert read_name(daemon, "shop-beside-1", "localhost") == "web"
    assert daemon.docker("exec", "shop-web-1", "sh", "-c", "ping -c 1 -W 2 $(hostname) >/dev/null && echo found") == "found"
    verified = machine.netctl("verify", path)
    assert verified.status == 0, verified.out + verified.err
    run_compose(folder, "down", "--timeout", "0", url=daemon.url, files=files)
