"""The resolv.conf of containers of engines: of netctl's own and of existing ones, after restarts, and when netctl leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.engines import RUNNING, Engine
from tests.harness.netctl import run_netctl

pytestmark = pytest.mark.kernel

TEXT = """\
version: 1
name: {name}
{dns}hosts: {{alpha: {{connect: lab, address: 192.0.2.11, {runtime}: "{url}"}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web:
    runtime: {runtime}
    image: {image}
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000 & wait"]
    networks: {{front: 10.44.0.10}}
  db: {{networks: {{front: 10.44.0.20}}}}
  other: {{runtime: {runtime}, existing: theirs, networks: {{front: 10.44.0.30}}}}
"""


@pytest.fixture(scope="module", params=["docker", "podman", "lxc"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A real engine of each runtime."""
    require_capability("root")
    require_capability("dnsmasq")
    require_capability({"docker": "dockerd"}.get(request.param, request.param))
    with RUNNING[request.param]() as running:
        yield running


@pytest.fixture
def file(engine: Engine, topology_name: str, tmp_path: Path) -> Iterator[Path]:
    """A topology with a container of netctl's and a foreign one, not applied."""
    engine.run("theirs")
    path = tmp_path / "topology.yaml"
    write(path, engine, topology_name)
    try:
        yield path
    finally:
        run_netctl("destroy", "--name", topology_name)
        engine.remove("theirs")


def write(path: Path, engine: Engine, name: str, dns: str = "dns: true\n") -> None:
    path.write_text(TEXT.format(name=name, dns=dns, runtime=engine.runtime, url=engine.url, image=engine.image))


def test_resolv_conf(engine: Engine, topology_name: str, file: Path) -> None:
    """Programs of an image resolve short names; a restart is repaired in place, and without the key all is as before."""
    web = f"{topology_name}-web"
    show = ("sh", "-c", "cat /etc/resolv.conf 2>/dev/null || true")
    before = engine.exec("theirs", *show)
    done = run_netctl("apply", file)
    assert done.status == 0, done.err
    assert run_netctl("diff", file).status == 0
    for name in (web, "theirs"):
        shown = engine.exec(name, "cat", "/etc/resolv.conf").splitlines()
        assert shown[1:4] == [
            "nameserver 10.44.0.1",
            f"search front.{topology_name}.internal {topology_name}.internal",
            "options ndots:1",
        ]
        assert "10.44.0.20" in engine.exec(name, "nslookup", f"db.{topology_name}.internal")
        assert "10.44.0.20" in engine.exec(name, "ping", "-c1", "-W2", "db")
    identity = engine.identity(web), engine.identity("theirs")
    for name in (web, "theirs"):
        engine.restart(name)
    if run_netctl("diff", file).status == 1:
        assert run_netctl("apply", file).status == 0
    assert run_netctl("diff", file).status == 0
    for name in (web, "theirs"):
        assert "nameserver 10.44.0.1\n" in engine.exec(name, "cat", "/etc/resolv.conf")
    assert (engine.identity(web), engine.identity("theirs")) == identity, "neither was created again"
    write(file, engine, topology_name, dns="")
    assert run_netctl("apply", file).status == 0
    assert run_netctl("diff", file).status == 0
    assert "10.44.0.1\n" not in engine.exec(web, *show)
    assert engine.exec("theirs", *show) == before
    write(file, engine, topology_name)
    assert run_netctl("apply", file).status == 0
    assert run_netctl("destroy", file).status == 0
    assert engine.exec("theirs", *show) == before
    assert not list(Path("/run/netctl").glob(f"*/{topology_name}.resolv"))


def test_a_read_only_root(engine: Engine, topology_name: str, tmp_path: Path) -> None:
    """Without a file that can be written, `apply` says what to do and rolls back; with a file mounted there, it is written."""
    if engine.runtime != "podman":
        pytest.skip("Docker always mounts a file there, and the LXC of the tests has a root that can be written")
    path, own = tmp_path / "topology.yaml", tmp_path / "resolv.conf"
    path.write_text(
        f"version: 1\nname: {topology_name}\ndns: true\n"
        f'hosts: {{alpha: {{connect: lab, address: 192.0.2.11, podman: "{engine.url}"}}}}\n'
        "subnets: {front: {cidr: 10.44.0.0/24}}\n"
        "containers: {web: {runtime: podman, existing: fixed, networks: {front: 10.44.0.10}}}\n"
    )
    own.touch()
    try:
        engine.run("fixed", "--read-only")
        done = run_netctl("apply", path)
        assert done.status != 0
        assert "Read-only file system; mount a file at /etc/resolv.conf of the container, or write `dns: false` there" in done.err
        engine.remove("fixed")
        engine.run("fixed", "--read-only", "--volume", f"{own}:/etc/resolv.conf")
        done = run_netctl("apply", path)
        assert done.status == 0, done.err
        assert "nameserver 10.44.0.1\n" in engine.exec("fixed", "cat", "/etc/resolv.conf")
    finally:
        run_netctl("destroy", "--name", topology_name)
        engine.remove("fixed")
