"""What an apply that fails gives back of an engine's container: its namespace is another one then, and its settings are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.dockerd import Dockerd
from tests.harness.netctl import UNSTARTABLE, run_netctl

pytestmark = pytest.mark.docker

HEAD = """\
version: 1
name: {name}
hosts: {{alpha: {{connect: lab, address: 192.0.2.11, docker: '{url}'}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}, dual: {{cidr: [10.45.0.0/24, "fd45::/64"]}}}}
containers:
"""
WEB = '  web: {image: "busybox:latest", command: [sh, -c, "trap \'exit 0\' TERM; sleep 1000 & wait"], networks: {FRONT}}\n'
SETTINGS = (
    "sysctls: {net.ipv4.conf.IFNAME.log_martians: 1, net.ipv6.conf.IFNAME.hop_limit: 7, net.ipv4.neigh.IFNAME.ucast_solicit: 5}"
)
DUAL = f"front: auto, dual: {{address: auto, {SETTINGS}}}"
READ = (
    "cd /proc/sys/net; grep -s . ipv6/conf/*/disable_ipv6 ipv6/conf/*/accept_ra ipv[46]/conf/eth*/* ipv[46]/neigh/eth*/* || true"
)


@pytest.fixture
def file(dockerd: Dockerd, topology_name: str, tmp_path: Path) -> Iterator[Path]:
    """A topology without containers so far; destroyed at the end."""
    path = tmp_path / "topology.yaml"
    path.write_text(HEAD.format(name=topology_name, url=dockerd.url))
    yield path
    run_netctl("destroy", "-y", "--name", topology_name)


@pytest.mark.parametrize("networks", [DUAL, "front: auto"], ids=["with IPv6", "without IPv6"])
@pytest.mark.parametrize("left", ["", "front: auto", DUAL.replace(SETTINGS, "mtu: 1400")], ids=["gone", "smaller", "no settings"])
def test_settings_of_a_container_come_back(dockerd: Dockerd, file: Path, topology_name: str, networks: str, left: str) -> None:
    """The switches of IPv6, and the `sysctls` of its network: the next file drops them, or the container, and its apply fails."""
    head = file.read_text()
    file.write_text(head + WEB.replace("FRONT", networks))
    applied = run_netctl("apply", file)
    assert applied.status == 0, applied.err
    web = f"{topology_name}-web"
    before, identity = dockerd.docker("exec", web, "sh", "-c", READ), dockerd.docker("inspect", "--format", "{{.Id}}", web)
    assert ("ipv6/conf/all/disable_ipv6:0" in before) == (networks == DUAL)
    assert ("ipv6/conf/eth1/hop_limit:7" in before) == (networks == DUAL)
    bad = f"  bad: {{networks: {{front: auto}}, command: {UNSTARTABLE}}}\n"
    other = file.with_name("other.yaml")
    other.write_text(head + (WEB.replace("FRONT", left) if left else "") + bad)
    done = run_netctl("apply", other)
    assert (done.status, "as it was before" in done.err) == (4, True), done.err
    assert dockerd.docker("inspect", "--format", "{{.Id}}", web) == identity
    assert dockerd.docker("exec", web, "sh", "-c", READ) == before
    assert run_netctl("diff", file).status == 0
