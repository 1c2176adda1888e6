"""Containers of two dockerds, each on a machine of its own that is reached by ssh, on one segment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.worlds.ssh import SshWorld

pytestmark = [pytest.mark.kernel, pytest.mark.docker]

FILE = """\
version: 1
name: {name}
hosts:
  alpha: {{connect: ssh://root@alpha, address: 192.0.2.11, docker: "{alpha}"}}
  beta: {{connect: ssh://root@beta, address: 192.0.2.12, docker: "{beta}"}}
subnets:
  front: {{cidr: 10.44.0.0/24, overlay: vxlan}}
containers:
  web: {{host: alpha, image: "busybox:latest", command: [sh, -c, "{wait}"], networks: {{front: 10.44.0.10}}}}
  db: {{host: beta, image: "busybox:latest", command: [sh, -c, "{wait}"], networks: {{front: 10.44.0.20}}}}
"""
WAIT = "trap exit TERM; sleep 1000 & wait"
"""Ends on SIGTERM, and not ten seconds later."""


@pytest.fixture(scope="module")
def daemons(world: SshWorld) -> Iterator[dict[str, Dockerd]]:
    require_capability("dockerd")
    with ExitStack() as stack:
        started = {}
        for host in ("alpha", "beta"):
            enter = world.machines[host].enter()
            started[host] = stack.enter_context(dockerd_in(f"{world.name}.{host}", enter=enter))
        yield started


def test_docker_on_two_machines(world: SshWorld, daemons: dict[str, Dockerd]) -> None:
    """Apply, again, an address changed, destroy: packets as large as the segment takes pass, and no container is left."""
    path = world.folder / "docker.yaml"
    urls = {host: daemon.url for host, daemon in daemons.items()}
    path.write_text(FILE.format(name=world.name, wait=WAIT, **urls))

    def running(host: str) -> list[str]:
        return daemons[host].docker("ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}").split()

    def ping(host: str, container: str, address: str) -> None:
        words = ("exec", f"{world.name}-{container}", "ping", "-c1", "-W5", "-s1422", address)
        assert "1 packets received" in daemons[host].docker(*words)

    def apply(path: Path) -> str:
        done = world.netctl("apply", path)
        assert done.status == 0, done.err
        return done.out

    try:
        apply(path)
        web, db = running("alpha"), running("beta")
        assert (web[0], db[0]) == (f"{world.name}-web", f"{world.name}-db")
        ping("alpha", "web", "10.44.0.20")
        ping("beta", "db", "10.44.0.10")
        assert apply(path) == "Nothing to do: the hosts are as the file says.\n"

        path.write_text(path.read_text().replace("10.44.0.20", "10.44.0.21"))
        apply(path)
        ping("alpha", "web", "10.44.0.21")
        ping("beta", "db", "10.44.0.10")
        assert (running("alpha"), running("beta")) == (web, db), "an address is not a reason to make a container anew"
    finally:
        done = world.netctl("destroy", path)
    assert done.status == 0, done.err
    assert [daemon.docker("ps", "--all", "--quiet") for daemon in daemons.values()] == ["", ""]
    assert [machine.files() for machine in world.machines.values()] == [[], [], []]
