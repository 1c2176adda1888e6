"""Containers that labels select, on a real dockerd: they are scaled, stopped, started and removed by another program."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd
from tests.harness.engines import running_podman
from tests.harness.netctl import run_netctl

pytestmark = pytest.mark.docker

HEAD = """\
version: 1
name: {name}
hosts: {{alpha: {{connect: lab, address: 192.0.2.11, docker: '{url}'}}}}
subnets: {{front: {{cidr: [10.44.0.0/24, 'fd00:44::/64']}}, back: {{cidr: 10.45.0.0/24, mode: isolated}}}}
containers:
  first: {{networks: {{front: auto}}}}
"""
WEB = "  web: {existing: {compose: shop/web}, networks: {front: auto}}\n"
DB = "  db: {existing: {compose: shop/db}, networks: {back: 10.45.0.20}}\npolicies: [{allow: web, to: db, ports: [5432/tcp]}]\n"

Write = Callable[[str], Path]


@pytest.fixture
def write(dockerd: Dockerd, topology_name: str, tmp_path: Path) -> Iterator[Write]:
    """Writes a topology with these containers; destroyed at the end."""
    path = tmp_path / "topology.yaml"

    def body(containers: str) -> Path:
        path.write_text(HEAD.format(name=topology_name, url=dockerd.url) + containers)
        return path

    yield body
    run_netctl("destroy", "--name", topology_name)


def run(dockerd: Dockerd, service: str, number: int, *options: str, command: str = "sleep 1000") -> str:
    """A container with the labels that Compose gives it; its name."""
    name = f"shop-{service}-{number}"
    labels = {"project": "shop", "service": service, "container-number": str(number), "oneoff": "False"}
    words = [word for key, value in labels.items() for word in ("--label", f"com.docker.compose.{key}={value}")]
    dockerd.docker("run", "--detach", "--network", "none", "--name", name, *words, *options, "busybox", "sh", "-c", command)
    return name


def address(dockerd: Dockerd, name: str) -> str:
    """The container's IPv4 address on eth0; "" without one."""
    shown = dockerd.docker("exec", name, "ip", "-4", "-o", "address", "show", "dev", "eth0", check=False)
    return shown.partition("inet ")[2].partition("/")[0]


def rows(path: Path) -> dict[str, str]:
    """The states of the containers in `netctl status`, and its exit status under ""."""
    shown = run_netctl("status", "--json", path)
    items = [item for host in json.loads(shown.out)["hosts"] for item in host["items"]]
    found = {item["subject"].removeprefix("container "): item["state"] for item in items if "container" in item["subject"]}
    return {"": str(shown.status), **found}


def test_a_service_is_scaled(dockerd: Dockerd, write: Write) -> None:
    """`--scale` up wires what came, down removes its records; each has its own address, also when it comes again."""
    path = write(WEB)
    nothing = run_netctl("apply", path)
    assert nothing.status == 0, nothing.err
    assert "no container with compose: shop/web" in nothing.err
    assert rows(path) == {"": "0", "first": "in step", "web": "waiting"}
    names = [run(dockerd, "web", 1)]
    assert run_netctl("apply", path).status == 0
    one = address(dockerd, names[0])
    names += [run(dockerd, "web", number) for number in (2, 3)]
    assert rows(path) == {"": "1", "first": "in step", "web-1": "in step", "web-2": "missing", "web-3": "missing"}
    assert run_netctl("apply", path).status == 0
    found = [address(dockerd, name) for name in names]
    assert found[0] == one
    assert len({*found, ""}) == 4
    # One after the other, from where the name of the topology leads to; after the last address (254) follows the first (128).
    assert [(int(one.split(".")[3]) - int(found[0].split(".")[3])) % 127 for one in found] == [0, 1, 2]
    assert run_netctl("diff", path).status == 0
    verified = run_netctl("verify", path)
    assert verified.status == 0, verified.out
    assert "web-3" in verified.out
    assert one in run_netctl("exec", "--file", path, "web-1", "--", "ip", "address").out
    for name in names[1:]:
        dockerd.docker("rm", "--force", name)
    assert rows(path)["web-1"] == "in step"
    removed = run_netctl("apply", path)
    assert removed.status == 0, removed.err
    assert found[2] not in run_netctl("exec", "--file", path, "--host", "alpha", "--", "nft", "list", "ruleset").out
    assert run_netctl("diff", path).status == 0
    run(dockerd, "web", 3)
    run(dockerd, "web", 2)
    assert run_netctl("apply", path).status == 0
    assert [address(dockerd, name) for name in names] == found
    assert run_netctl("destroy", path).status == 0
    assert [address(dockerd, name) for name in names] == [""] * 3


def test_one_that_does_not_run_waits(dockerd: Dockerd, write: Write) -> None:
    """Stopped, created or restarted again and again: a row `waiting`, exit status 0, and the others have their network."""
    path = write(WEB)
    run(dockerd, "web", 1)
    stopped = run(dockerd, "web", 2)
    run(dockerd, "web", 3, "--restart", "always", command="sleep 0.2; exit 1")
    assert run_netctl("apply", path).status == 0
    was = address(dockerd, stopped)
    dockerd.docker("stop", "--time", "0", stopped)
    looks = ("inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "shop-web-3")
    # By then Docker waits for seconds between two starts.
    wait_until(lambda: re.fullmatch(r"([6-9]|..) restarting", dockerd.docker(*looks).strip()))
    assert run_netctl("apply", path).status == 0
    found = rows(path)
    assert (found[""], found["web-1"], found["web-2"]) == ("0", "in step", "waiting")
    verified = run_netctl("verify", path)
    assert verified.status == 0, verified.out
    assert run_netctl("wait", "--file", path, "--timeout", "1", "web-1").status == 0
    assert run_netctl("wait", "--file", path, "--timeout", "1", "web-2").status == 1
    dockerd.docker("rm", "--force", "shop-web-3")
    dockerd.docker("start", stopped)
    assert run_netctl("apply", path).status == 0
    assert address(dockerd, stopped) == was
    assert rows(path) == {"": "0", "first": "in step", "web-1": "in step", "web-2": "in step"}


def wait_until(what: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_policies_and_fixed_addresses(dockerd: Dockerd, write: Write) -> None:
    """A policy is for all members. A second member cannot have the address of the first: it waits, and a sentence says so."""
    path = write(WEB + DB)
    for number in (1, 2):
        run(dockerd, "web", number)
    first = run(dockerd, "db", 1)
    assert run_netctl("apply", path).status == 0
    assert address(dockerd, first) == "10.45.0.20"
    assert run_netctl("verify", path).status == 0
    second = run(dockerd, "db", 2)
    done = run_netctl("apply", path)
    assert done.status == 0, done.err
    assert "container db-2 (shop-db-2) cannot have the address 10.45.0.20 in back, because db-1 has it" in done.err
    assert address(dockerd, second) == ""
    assert rows(path)["db-2"] == "waiting"
    assert rows(path)[""] == "0"


def test_commands_for_members(dockerd: Dockerd, write: Write) -> None:
    """The script of `diff --commands` wires members as `apply` does."""
    path = write(WEB)
    run(dockerd, "web", 1)
    assert run_netctl("apply", path).status == 0
    run(dockerd, "web", 2)
    script = run_netctl("diff", "--commands", path).out
    assert "inspect -f '{{.State.Pid}}' shop-web-2" in script


def test_labels_and_one_offs(dockerd: Dockerd, write: Write) -> None:
    """Other labels name members by the engine's names, all labels of a list count, and a one-off container is no member."""
    path = write(WEB + "  shelf: {existing: {label: [tier=front, zone=a]}, networks: {front: auto}}\n")
    common = ("run", "--detach", "--network", "none", "--label", "tier=front")
    dockerd.docker(*common, "--label", "zone=a", "--name", "Shelf_A.1", "busybox", "sleep", "1000")
    dockerd.docker(*common, "--label", "zone=b", "--name", "shelf-b", "busybox", "sleep", "1000")
    run(dockerd, "web", 1, "--label", "com.docker.compose.oneoff=True")
    assert run_netctl("apply", path).status == 0
    assert rows(path) == {"": "0", "first": "in step", "shelf-a-1": "in step", "web": "waiting"}
    assert address(dockerd, "Shelf_A.1")
    assert not address(dockerd, "shelf-b")


def test_labels_of_an_image_make_no_member(dockerd: Dockerd, write: Write, tmp_path: Path) -> None:
    """A foreign image with a service's labels does not take its address; a container that Compose makes of that image is one."""
    labels = "".join(f" com.docker.compose.{key}={value}" for key, value in {"project": "shop", "service": "db"}.items())
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nLABEL{labels} com.docker.compose.container-number=1\n")
    dockerd.docker("build", "--tag", "foreign", str(tmp_path))
    path = write(WEB + DB)
    run(dockerd, "web", 1)
    run(dockerd, "db", 1)
    dockerd.docker("run", "--detach", "--network", "none", "--name", "a-foreign", "foreign", "sleep", "1000")
    dockerd.docker("run", "--detach", "--name", "b-foreign", "foreign", "sleep", "1000")
    assert run_netctl("apply", path).status == 0
    assert (address(dockerd, "shop-db-1"), address(dockerd, "a-foreign")) == ("10.45.0.20", "")
    dockerd.docker("rm", "--force", "shop-db-1")
    created = ("--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.config-hash=1234")
    dockerd.docker("run", "--detach", "--network", "none", "--name", "shop-db-1", *created, "foreign", "sleep", "1000")
    assert run_netctl("apply", path).status == 0
    assert (address(dockerd, "shop-db-1"), address(dockerd, "a-foreign")) == ("10.45.0.20", "")


def test_one_container_of_two(dockerd: Dockerd, write: Write) -> None:
    """Two parts of a file cannot have one container: the second is refused with its line, and the first is named."""
    path = write(WEB)
    name = run(dockerd, "web", 1, "--label", "tier=front")
    assert run_netctl("apply", path).status == 0
    text = path.read_text()
    path.write_text(text + "  other: {existing: {label: tier=front}, networks: {back: auto}}\n")
    for command in ("diff", "apply"):
        refused = run_netctl(command, path)
        assert refused.status == 3, refused.err
        assert "topology.yaml:7:" in refused.err or "topology.yaml:8:" in refused.err
        assert "shop-web-1 would be one of" in refused.err
    path.write_text(text + f"  other: {{existing: {name}, networks: {{back: auto}}}}\n")
    assert "would be one of `web` and of `other`" in run_netctl("diff", path).err


def test_one_that_is_restarted_during_an_apply(dockerd: Dockerd, write: Write) -> None:
    """Restarts at any moment of an apply are no failure: what runs at the end is connected by the next one."""
    path = write(WEB)
    steady, restless = run(dockerd, "web", 1), run(dockerd, "web", 2)
    ends = Event()

    def restart() -> None:
        while not ends.wait(0.2):
            dockerd.docker("restart", "--time", "0", restless)

    with ThreadPoolExecutor(1) as pool:
        restarting = pool.submit(restart)
        try:
            outcomes = [run_netctl("apply", path) for _ in range(6)]
        finally:
            ends.set()
        restarting.result()
    # A restart between the last step and the last reading leaves a network that is not as the file says.
    assert all(one.status == 0 or "changed during the apply" in one.err for one in outcomes), [one.err for one in outcomes]
    assert {one.status for one in outcomes} <= {0, 1}
    assert address(dockerd, steady)
    assert run_netctl("apply", path).status == 0
    assert address(dockerd, restless)


def test_podman(topology_name: str, tmp_path: Path) -> None:
    """The labels of podman-compose select members of Podman; its one-off containers bear them, too, and are none."""
    require_capability("podman")
    path = tmp_path / "topology.yaml"
    with running_podman() as podman:
        text = HEAD.format(name=topology_name, url="unix:///nowhere").replace("docker:", f"podman: '{podman.url}', docker:")
        path.write_text(text + WEB.replace("{existing", "{runtime: podman, existing"))
        labels = {"io.podman.compose.project": "shop", "com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
        words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        try:
            for name, number in (("shop_web_1", 1), ("shop_web_2", 2), ("shop_web_tmp4711", 1)):
                podman.run(name, *words, "--label", f"com.docker.compose.container-number={number}")
            done = run_netctl("apply", path)
            assert done.status == 0, done.err
            assert rows(path) == {"": "0", "first": "in step", "web-1": "in step", "web-2": "in step"}
            assert "eth0" in podman.exec("shop_web_2", "ip", "address")
            assert "eth0" not in podman.exec("shop_web_tmp4711", "ip", "address")
            assert run_netctl("verify", path).status == 0
            podman.restart("shop_web_1")
            assert run_netctl("apply", path).status == 0
            assert "eth0" in podman.exec("shop_web_1", "ip", "address")
        finally:
            run_netctl("destroy", "--name", topology_name)


def test_two_hosts(dockerd: Dockerd, topology_name: str, tmp_path: Path) -> None:
    """Members on one host, a container on another one, in one subnet: each host learns the addresses of what came."""
    path = tmp_path / "topology.yaml"
    path.write_text(
        f"version: 1\nname: {topology_name}\n"
        f"hosts: {{alpha: {{connect: lab, address: 192.0.2.11, docker: '{dockerd.url}'}},"
        " beta: {connect: lab, address: 192.0.2.12}}\n"
        "subnets: {front: {cidr: 10.44.0.0/24}}\ncontainers:\n  far: {host: beta, networks: {front: auto}}\n"
        + WEB.replace("{existing", "{host: alpha, existing")
    )
    try:
        assert run_netctl("apply", path).status == 0
        for number in (1, 2):
            run(dockerd, "web", number)
        assert run_netctl("apply", path).status == 0
        verified = run_netctl("verify", path)
        assert verified.status == 0, verified.out
        assert re.search("far +web-2|web-2 +far|far.*web-2", verified.out), verified.out
        assert run_netctl("diff", "--host", "beta", path).status == 0
        dockerd.docker("rm", "--force", "shop-web-1", "shop-web-2")
        assert run_netctl("apply", path).status == 0
        assert "web-" not in run_netctl("status", path).out
    finally:
        run_netctl("destroy", "--name", topology_name)
