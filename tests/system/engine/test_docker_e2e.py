"""Docker beside netctl and under it, as a user of `connect: local` meets both: one host, its dockerd, and a neighbour.

The host is a namespace of the test's own, with a real dockerd in it, and netctl runs in it as on any machine. `/run` is a
directory of the test's. Docker drops unknown packets (policy of FORWARD), and bridged packets pass its rules.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.kernel.namespaces import enter, run_in_thread
from tests.harness.capabilities import require_capability
from tests.harness.dockerd import Dockerd, dockerd_in
from tests.harness.names import draw_name, remove_leftovers
from tests.harness.netctl import Outcome, run_netctl
from tests.harness.netns import Namespace

pytestmark = pytest.mark.docker

EXAMPLE = Path(__file__).parents[3] / "examples/docker-web-db.yaml"
HOST, NEIGHBOUR = "192.0.2.11", "192.0.2.1"
STAYS = "[sh, -c, \"trap 'exit 0' TERM; sleep 1000 & wait\"]"
"""It ends on SIGTERM: Docker waits ten seconds for others."""
SERVES = ["sh", "-c", "trap 'exit 0' TERM; httpd -f -p 80 & wait"]


@dataclass(frozen=True)
class Machine:
    """The host with its dockerd, and the neighbour on its only cable."""

    host: Namespace
    neighbour: Namespace
    dockerd: Dockerd
    run_directory: Path

    def netctl(self, *words: object, status: int | None = 0) -> Outcome:
        """Run netctl on the host, and see how it ends."""
        mount = 'mount --bind "$0" /run && exec "$@"'
        inside = ["nsenter", f"--net={self.host.path}", "unshare", "--mount", "sh", "-c", mount, str(self.run_directory)]
        command = [*inside, sys.executable, "-m", "reconciler", *map(str, words)]
        env = {**os.environ, "NO_COLOR": "1", "DOCKER_HOST": self.dockerd.url}
        done = subprocess.run(
            command, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, check=False, timeout=120
        )
        assert "defect" not in done.stderr, done.stderr
        assert status is None or done.returncode == status, done.stderr + done.stdout
        return Outcome(done.returncode, done.stdout, done.stderr)

    def iptables(self) -> list[str]:
        """What an administrator sees."""
        return [line for tool in ("iptables", "ip6tables") for line in self.host.run(tool, "-S").stdout.splitlines()]

    def answers(self, port: int, address: str = HOST) -> bool:
        """Whether the neighbour's connection to a port of the host is taken."""
        return connects(self.neighbour, address, port)

    def identity(self, name: str) -> str:
        return self.dockerd.docker("inspect", "--format", "{{.Id}}", name)


def open_in(namespace: Namespace, address: str, port: int) -> socket.socket:
    """A connection from within a namespace."""

    def body() -> socket.socket:
        enter(str(namespace.path))
        return socket.create_connection((address, port), timeout=3)

    return run_in_thread(body)


def connects(namespace: Namespace, address: str, port: int) -> bool:
    try:
        open_in(namespace, address, port).close()
    except OSError:
        return False
    return True


def wait_until(claim: Callable[[], bool]) -> None:
    """Docker's own containers serve a moment after they have started."""
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with an uplink to its neighbour, and a dockerd that filters bridged packets, too."""
    require_capability("dockerd")
    name = draw_name()
    host, neighbour = Namespace(f"{name}.machine"), Namespace(f"{name}.neighbour")
    for namespace in (host, neighbour):
        subprocess.run(["ip", "netns", "add", namespace.name], check=True)
        namespace.run("ip", "link", "set", "lo", "up")
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", neighbour.name)
    for namespace, address in ((host, HOST), (neighbour, NEIGHBOUR)):
        namespace.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        namespace.run("ip", "link", "set", "eth0", "up")
    host.run("ip", "route", "add", "default", "via", NEIGHBOUR)
    try:
        with dockerd_in(host.name) as dockerd:
            dockerd.docker("tag", "busybox:latest", "busybox:1")
            host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
            assert "-P FORWARD DROP" in host.run("iptables", "-S").stdout
            yield Machine(host, neighbour, dockerd, tmp_path_factory.mktemp("run"))
    finally:
        remove_leftovers(name)


@pytest.fixture
def example(machine: Machine, topology_name: str, tmp_path: Path) -> Iterator[Path]:
    """The example with Docker, under another name, destroyed at the end."""
    path = tmp_path / "topology.yaml"
    text = EXAMPLE.read_text().replace("name: webdb", f"name: {topology_name}")
    path.write_text(text.replace("[sleep, infinity]", STAYS).replace('[httpd, -f, -p, "80"]', json.dumps(SERVES)))
    yield path
    machine.netctl("destroy", "--name", topology_name, status=None)


@pytest.mark.invariant(7)
def test_beside_dockers_own_containers(machine: Machine, example: Path, topology_name: str) -> None:
    """Docker's own containers work before, during and after; `iptables -S` shows one rule more; a restart is survived."""
    docker = machine.dockerd.docker
    before = machine.iptables()
    docker("run", "--detach", "--name", "theirs", "--publish", "8090:80", "busybox:latest", *SERVES)
    try:
        wait_until(lambda: machine.answers(8090))
        docker("exec", "theirs", "ping", "-c", "1", NEIGHBOUR)
        with_theirs = machine.iptables()
        machine.netctl("apply", example)
        added = machine.iptables()
        for line in with_theirs:
            added.remove(line)
        ours = added[0]
        assert set(added) == {ours}, "for IPv4, and for IPv6 where Docker has a chain there"
        assert re.fullmatch(
            rf'-A DOCKER-USER -m mark --mark (0x\w+)/\1 -m comment --comment "?netctl:{topology_name}"? -j ACCEPT', ours
        )
        assert machine.answers(8080)
        assert machine.answers(8090)
        docker("exec", "theirs", "ping", "-c", "1", NEIGHBOUR)
        assert "probes are as the file says" in machine.netctl("verify", example).out
        # A restart of dockerd keeps the rule, starts what is to be restarted, and leaves the rest to apply.
        machine.dockerd.restart()
        assert ours in machine.iptables()
        assert "container" in machine.netctl("status", example, status=1).out
        machine.netctl("apply", example)
        assert machine.netctl("diff", example).out.startswith("Nothing to do")
        machine.netctl("verify", example)
        docker("start", "theirs")
        wait_until(lambda: machine.answers(8090))
        machine.netctl("destroy", example)
        wait_until(lambda: machine.answers(8090))
        docker("exec", "theirs", "ping", "-c", "1", NEIGHBOUR)
        assert sorted(machine.iptables()) == sorted(with_theirs)
    finally:
        docker("rm", "--force", "theirs")
    assert sorted(machine.iptables()) == sorted(before)
    assert docker("ps", "--all", "--quiet") == ""
    assert not (machine.run_directory / "netctl").exists()
    assert "netctl" not in machine.host.run("nft", "list", "tables").stdout
    assert "b-" not in machine.host.run("ip", "-o", "link").stdout


SHOP = """\
version: 1
name: {name}
hosts: {{here: {{connect: local}}}}
subnets: {{front: {{cidr: 10.73.0.0/24}}}}
containers:
  web: {{image: "{image}", command: {command}, env: {{COLOUR: {colour}}}, networks: {{front: 10.73.0.10}}, ports: ["8070:80"]}}
  keeper: {{image: "busybox:latest", command: {keeper}, networks: {{front: 10.73.0.20}}, ports: ["9000:9000"]}}
"""
ECHO = "[sh, -c, \"trap 'exit 0' TERM; nc -ll -p 9000 -e cat & wait\"]"


@pytest.fixture
def shop(machine: Machine, topology_name: str, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a file: `shop(colour="red")`; destroyed at the end."""
    path = tmp_path / "topology.yaml"

    def write(**words: str) -> Path:
        told = {"image": "busybox:latest", "command": STAYS, "colour": "blue", "keeper": ECHO, **words}
        path.write_text(SHOP.format(name=topology_name, **told))
        return path

    yield write
    machine.netctl("destroy", "--name", topology_name, status=None)


def echo(connection: socket.socket) -> None:
    """What is sent comes back."""
    connection.sendall(b"still here")
    assert connection.recv(64) == b"still here"


@pytest.mark.invariant(3)
@pytest.mark.invariant(9)
def test_restart_and_change_leave_others_alone(machine: Machine, shop: Callable[..., Path], topology_name: str) -> None:
    """Through a restart, a change and a rollback of one container, a connection to another lives; the plan says it in words."""
    web, keeper = f"{topology_name}-web", f"{topology_name}-keeper"
    holders = [f"{name}.net" for name in (keeper, web)]
    machine.netctl("apply", shop())
    wait_until(lambda: machine.answers(9000))
    with open_in(machine.neighbour, HOST, 9000) as connection:
        echo(connection)
        first, kept = machine.identity(web), machine.identity(keeper)
        machine.dockerd.docker("restart", web)
        items = json.loads(machine.netctl("status", "--json", shop()).out)["hosts"][0]["items"]
        assert {item["state"] for item in items} == {"in step"}, "a restart keeps the network"
        assert machine.netctl("diff", shop()).out.startswith("Nothing to do")
        assert (machine.identity(web), machine.identity(keeper)) == (first, kept)
        echo(connection)
        # Of two that change one cannot start: both come back, the very same.
        failed = machine.netctl("apply", shop(colour="red", keeper="[nosuchprogram]"), status=4)
        assert "nosuchprogram" in failed.err
        assert (machine.identity(web), machine.identity(keeper)) == (first, kept)
        assert machine.netctl("diff", shop()).out.startswith("Nothing to do")
    wait_until(lambda: machine.answers(9000))
    with open_in(machine.neighbour, HOST, 9000) as connection:
        echo(connection)
        told = machine.netctl("diff", "--json", shop(image="busybox:1"), status=1).out
        assert "image is busybox:latest, wanted busybox:1" in told
        machine.netctl("apply", shop(image="busybox:1"))
        assert machine.identity(web) != first
        echo(connection)
    names = machine.dockerd.docker("ps", "--all", "--format", "{{.Names}}").split()
    assert sorted(names) == sorted([web, keeper, *holders]), "nothing is parked any more"


@pytest.mark.invariant(4)
def test_what_a_killed_apply_has_parked_goes_with_the_next(
    machine: Machine, shop: Callable[..., Path], topology_name: str
) -> None:
    """Also where the next apply has nothing else to do."""
    machine.netctl("apply", shop())
    labels = [f"--label=netctl.{key}={value}" for key, value in (("topology", topology_name), ("host", "local"), ("name", "web"))]
    parked = f"{topology_name}-web.netctl-parked-0123456789ab"
    machine.dockerd.docker("create", "--name", parked, *labels, "busybox:latest")
    assert machine.netctl("diff", shop()).out.startswith("Nothing to do")
    machine.netctl("apply", shop())
    assert parked not in machine.dockerd.docker("ps", "--all", "--format", "{{.Names}}")


def test_what_conflicts_is_reported_by_diff(machine: Machine, shop: Callable[..., Path], topology_name: str) -> None:
    """A name, an image, a port, a network, no daemon: status 3, and nothing is done. netctl waits for a missing container."""
    docker, name = machine.dockerd.docker, f"{topology_name}-web"
    path = shop()
    missing = machine.netctl("diff", shop(image="no/such:7"), status=3)
    assert "an image is not on the host: no/such:7" in missing.err
    assert "docker pull no/such:7" in missing.err
    docker("run", "--detach", "--name", name, "--publish", "8070:80", "busybox:latest")
    taken = machine.netctl("diff", shop(), status=3)
    assert f"has a container {name} that is not netctl's" in taken.err
    assert "existing: true" in taken.err
    assert "port 8070/tcp of container web is published by a container of Docker's" in taken.err
    machine.netctl("apply", path, status=3)
    assert docker("ps", "--format", "{{.Names}}") == name
    docker("rm", "--force", name)
    path.write_text(shop().read_text().replace("10.73.0.", "172.17.0."))
    assert "overlaps" in machine.netctl("diff", path, status=3).err
    path.write_text(shop().read_text() + "  other: {existing: nobody, networks: {front: auto}}\n")
    waits = machine.netctl("diff", path, status=1)
    assert "warning: " in waits.err
    assert "the existing container nobody on host here is missing; it gets no network yet" in waits.err
    assert "+ container other" not in waits.out
    path.write_text(shop().read_text().replace("connect: local", 'connect: local, docker: "unix:///run/no.sock"'))
    down = machine.netctl("diff", path, status=3)
    assert "dockerd is not running, or listens elsewhere: /run/no.sock" in down.err
    assert "systemctl start docker" in down.err
    assert docker("ps", "--all", "--quiet") == ""
    assert "netctl" not in machine.host.run("nft", "list", "tables").stdout


def test_drops_of_other_firewalls_are_reported_and_the_advice_helps(machine: Machine, shop: Callable[..., Path]) -> None:
    """Another table that drops is named before anything is done, with the command that makes our traffic pass; firewalld, too."""
    drops = "table inet strict { chain through { type filter hook forward priority 10; policy drop;\n }\n }"
    zones = "table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10;\n }\n }"
    machine.host.run("nft", "-f", "-", text=f"{drops}\n{zones}\n")
    try:
        told = machine.netctl("diff", shop(), status=1).err
        bridge = next(word for word in told.replace(";", " ").split() if word.startswith("--add-interface=b-")).partition("=")[2]
        assert "warning: here: firewalld" in told
        assert "warning: here: nftables table inet strict drops unknown packets (inet strict through)" in told
        machine.netctl("apply", shop())
        assert bridge in machine.host.run("ip", "-o", "link").stdout
        assert not machine.answers(9000)
        advice = next(line for line in told.splitlines() if "nft insert rule inet strict" in line).removeprefix("help: ")
        machine.host.run("sh", "-c", advice)
        wait_until(lambda: machine.answers(9000))
        status = json.loads(machine.netctl("status", "--json", shop()).out)["hosts"][0]["foreign"]
        assert any(bridge in one["help_text"] for one in status)
    finally:
        for table in ("strict", "firewalld"):
            machine.host.run("nft", "delete", "table", "inet", table)


def test_ufw_is_named_with_the_bridges(topology_name: str, tmp_path: Path) -> None:
    """On a host whose FORWARD chain is ufw's, the plan says what to configure in ufw."""
    path = tmp_path / "topology.yaml"
    base = f"version: 1\nname: {topology_name}\nhosts: {{alpha: {{connect: lab, address: 192.0.2.11}}}}\n"
    path.write_text(base + "subnets: {front: {cidr: 10.44.0.0/24}}\ncontainers: {a: {networks: {front: auto}}}\n")
    try:
        assert run_netctl("apply", path).status == 0
        host = Namespace(f"{topology_name}.lab.alpha")
        for words in ("-P FORWARD DROP", "-N ufw-before-forward", "-A FORWARD -j ufw-before-forward"):
            host.run("iptables", *words.split())
        bridge = f"b-{topology_name}-front"
        said = run_netctl("diff", path).err
        assert all(f"ufw route allow {way} on {bridge}" in said for way in ("in", "out"))
    finally:
        run_netctl("destroy", path)


def test_a_dockerd_on_each_lab_host(topology_name: str, tmp_path: Path) -> None:
    """Each lab host may have a dockerd of its own, which filters its packets as on a machine; destroy leaves both empty."""
    path = tmp_path / "topology.yaml"
    base = (
        "version: 1\nname: {}\nhosts:\n"
        "  alpha: {{connect: lab, address: 192.0.2.11{}}}\n  beta: {{connect: lab, address: 192.0.2.12{}}}\n"
    )
    subnets = "subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24}}\n"
    containers = (
        f"containers:\n  web: {{host: alpha, image: 'busybox:latest', command: {ECHO},\n"
        "        networks: {front: auto}, ports: [9000]}\n"
        f"  client: {{host: beta, image: 'busybox:latest', command: {STAYS}, networks: {{back: auto}}}}\n"
    )
    path.write_text(base.format(topology_name, "", "") + subnets)
    try:
        assert run_netctl("apply", path).status == 0
        with dockerd_in(f"{topology_name}.lab.alpha") as first, dockerd_in(f"{topology_name}.lab.beta") as second:
            path.write_text(
                base.format(topology_name, f', docker: "{first.url}"', f', docker: "{second.url}"') + subnets + containers
            )
            done = run_netctl("apply", path)
            assert done.status == 0, done.err
            answer = ("sh", "-c", "(echo hello; sleep 1) | nc -w 3 192.0.2.11 9000")
            assert second.docker("exec", f"{topology_name}-client", *answer) == "hello"
            verified = run_netctl("verify", path)
            assert verified.status == 0, verified.out
            assert [len(daemon.docker("ps", "-q").split()) for daemon in (first, second)] == [2, 2], "each with its holder"
            # Nothing but the name is given: where the engines are is remembered.
            gone = run_netctl("destroy", "--name", topology_name)
            assert gone.status == 0, gone.err
            assert first.docker("ps", "-aq") == second.docker("ps", "-aq") == ""
    finally:
        run_netctl("destroy", "--name", topology_name)
