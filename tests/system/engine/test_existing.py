"""Foreign containers on real engines: two in one namespace, and two of one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.engines import running_podman
from tests.harness.netctl import run_netctl
from tests.harness.netns import Namespace

pytestmark = pytest.mark.docker

HEAD = "version: 1\nname: {name}\nhosts: {{alpha: {{connect: lab, address: 192.0.2.11, docker: '{url}'{more}}}}}\n"
SUBNETS = "subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24}}\ncontainers:\n"
FIRST = "  first: {existing: theirs, networks: {front: 10.44.0.10}}\n"
SECOND = "  second: {existing: sidecar, networks: {NETWORK: auto}}\n"

Write = Callable[..., Path]


@pytest.fixture
def write(dockerd: Dockerd, topology_name: str, tmp_path: Path) -> Iterator[Write]:
    """Writes a topology with these containers; destroyed at the end."""
    path = tmp_path / "topology.yaml"

    def body(containers: str, more: str = "") -> Path:
        path.write_text(HEAD.format(name=topology_name, url=dockerd.url, more=more) + SUBNETS + containers)
        return path

    yield body
    run_netctl("destroy", "--name", topology_name)


def start(dockerd: Dockerd, name: str, network: str = "none") -> None:
    dockerd.docker("run", "--detach", "--name", name, "--network", network, "busybox:latest", "sleep", "1000")


@pytest.mark.parametrize("network", ["front", "back"])
@pytest.mark.parametrize("wired", [False, True])
def test_two_in_one_namespace(dockerd: Dockerd, write: Write, network: str, wired: bool) -> None:
    """`diff` and `apply` refuse to wire both, also if the first one is wired already: status 3, both names, nothing touched.

    With the networks of one of them only, both have those.
    """
    start(dockerd, "theirs")
    start(dockerd, "sidecar", "container:theirs")
    if wired:
        assert run_netctl("apply", write(FIRST)).status == 0
    else:
        assert run_netctl("apply", write("  other: {networks: {front: auto}}\n")).status == 0
    before = dockerd.docker("exec", "sidecar", "ip", "address")
    path = write(FIRST + SECOND.replace("NETWORK", network))
    for command in ("diff", "apply"):
        refused = run_netctl(command, path)
        assert refused.status == 3, refused.err + refused.out
        assert "containers first and second share one network namespace" in refused.err
        assert "help: remove the `networks` of one of them" in refused.err
    assert dockerd.docker("exec", "sidecar", "ip", "address") == before
    path = write(FIRST + "  second: {existing: sidecar}\n")
    assert run_netctl("apply", path).status == 0
    assert "10.44.0.10/24" in dockerd.docker("exec", "sidecar", "ip", "address")
    assert run_netctl("diff", path).status == 0
    assert run_netctl("verify", path).status == 0


def test_one_in_the_hosts_namespace(topology_name: str, tmp_path: Path) -> None:
    """A container that shares the host's network is refused by `diff` and `apply`, and the host stays as it is."""
    host, path = f"{topology_name}.lab.alpha", tmp_path / "topology.yaml"
    head = HEAD.format(name=topology_name, url=f"unix://{tmp_path}/none.sock", more="") + SUBNETS
    path.write_text(head + "  other: {networks: {front: auto}}\n")
    assert run_netctl("apply", path).status == 0
    try:
        with dockerd_in(host) as dockerd:
            start(dockerd, "theirs", "host")
            links = Namespace(host).run("ip", "link").stdout
            text = HEAD.format(name=topology_name, url=dockerd.url, more="") + SUBNETS
            path.write_text(
                text + FIRST.replace("networks: {front:", "networks: {front: {interface: own9, address:").replace("}}", "}}}")
            )
            for command in ("diff", "apply"):
                refused = run_netctl(command, path)
                assert refused.status == 3, refused.err + refused.out
                assert "container first is in the host's own network namespace" in refused.err
            assert Namespace(host).run("ip", "link").stdout == links
    finally:
        run_netctl("destroy", "--name", topology_name)


def test_one_name_in_two_engines(dockerd: Dockerd, write: Write) -> None:
    """Docker's `theirs` and Podman's `theirs` are two containers, and both are wired: each has its own address."""
    require_capability("podman")
    with running_podman() as podman:
        start(dockerd, "theirs")
        podman.run("theirs")
        file = write(
            FIRST + "  second: {runtime: podman, existing: theirs, networks: {front: 10.44.0.20}}\n", f", podman: '{podman.url}'"
        )
        done = run_netctl("apply", file)
        assert done.status == 0, done.err
        assert "10.44.0.10/24" in dockerd.docker("exec", "theirs", "ip", "address")
        assert "10.44.0.20/24" in podman.exec("theirs", "ip", "address")
        assert run_netctl("diff", file).status == 0
        assert run_netctl("verify", file).status == 0
        assert run_netctl("destroy", file).status == 0
        assert "10.44.0" not in dockerd.docker("exec", "theirs", "ip", "address") + podman.exec("theirs", "ip", "address")


def test_status_says_what_has_happened_to_containers(dockerd: Dockerd, write: Write, topology_name: str) -> None:
    """A restarted, a stopped and a missing container are rows of a status; verify and apply work for the others."""
    start(dockerd, "theirs")
    start(dockerd, "sidecar")
    own = "  own: {image: 'busybox:latest', command: [sleep, '1000'], networks: {front: auto}}\n"
    file = write(FIRST + SECOND.replace("NETWORK", "front") + own)
    assert run_netctl("apply", file).status == 0
    dockerd.docker("restart", "--time", "0", "theirs")
    dockerd.docker("stop", "--time", "0", "sidecar")
    dockerd.docker("stop", "--time", "0", f"{topology_name}-own")
    told = run_netctl("status", file)
    assert told.status == 1, told.err
    assert "first was restarted: its links are gone (and " in told.out
    assert "own is stopped" in told.out
    assert "docker container sidecar is exited" in told.out
    verified = run_netctl("verify", file)
    assert verified.status == 6
    assert "second is left out, because it does not run" in verified.out
    assert "host alpha, container first: first was restarted" in verified.out
    done = run_netctl("apply", file)
    assert done.status == 0
    assert "sidecar" in done.err
    assert run_netctl("verify", file).status == 0
    dockerd.docker("rm", "--force", "sidecar")
    told = run_netctl("status", file)
    assert told.status == 0
    assert "docker container sidecar is missing" in told.out
