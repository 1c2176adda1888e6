"""`netctl import` on a real engine: netctl connects what Docker runs, and Compose starts what the override says."""

from __future__ import annotations

import shlex

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.worlds.compose import ComposeWorld, read_name, wait_until

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


def test_what_docker_runs_is_connected(project: ComposeWorld) -> None:
    """With the printed commands, containers keep their addresses, and a restarted one gets its network by an apply."""
    daemon, path = project.daemon, project.topology
    daemon.docker("network", "create", "--subnet", "172.30.5.0/24", "shop_front")
    daemon.docker("network", "create", "--subnet", "172.30.6.0/24", "--internal", "shop_back")
    daemon.docker(
        "run", "-d", "--name", "shop_web", "-p", "8080:80", "--network", "shop_front", "busybox:latest", "sh", "-c", SERVE
    )
    daemon.docker("run", "-d", "--name", "db", "--network", "shop_back", "busybox:latest", "sleep", "1000")
    daemon.docker("network", "connect", "shop_back", "shop_web")
    done = project.netctl("import", "docker", "--output", project.folder)
    commands = [line.strip() for line in done.out.splitlines() if line.startswith("  docker ")]
    assert len(commands) == 5
    for command in commands:
        daemon.docker(*shlex.split(command)[1:])
    project.netctl("apply", path)
    assert "172.30.5.2/24" in daemon.docker("exec", "shop_web", "ip", "address")
    name = daemon.docker("exec", "shop_web", "hostname")
    assert read_name(daemon, "db", "172.30.6.3") == name
    project.netctl("verify", path)
    daemon.docker("restart", "--time", "0", "shop_web")
    assert "eth0" not in daemon.docker("exec", "shop_web", "ip", "address")
    project.netctl("apply", path)
    assert "172.30.5.2/24" in daemon.docker("exec", "shop_web", "ip", "address")


@pytest.mark.parametrize("waits", [False, True])
def test_compose_starts_what_the_override_says(project: ComposeWorld, waits: bool) -> None:
    """Containers start without a network, and find each other by name when they have one; with --wait they start then."""
    require_capability("compose")
    project.write(PROJECT.format(serve=SERVE))
    project.netctl("import", project.folder / "compose.yaml", *(["--wait"] if waits else []))
    project.compose("up", "--detach")
    daemon = project.daemon
    assert daemon.docker("network", "ls", "--quiet", "--filter", "label=com.docker.compose.project=shop") == ""
    assert "eth0" not in daemon.docker("exec", "shop-web-1", "ip", "address")
    assert ("httpd" in daemon.docker("top", "shop-web-1").replace(SERVE, "")) != waits
    project.netctl("apply", project.topology)
    wait_until(lambda: read_name(daemon, "shop-db-1", "web") == "web")
    assert read_name(daemon, "shop-web-1", "database") == "db"
    assert read_name(daemon, "shop-beside-1", "localhost") == "web"
    assert daemon.docker("exec", "shop-web-1", "sh", "-c", "ping -c 1 -W 2 $(hostname) >/dev/null && echo found") == "found"
    project.netctl("verify", project.topology)
