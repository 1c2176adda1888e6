"""Names in the other forms of a subnet: plain routes over hosts, routed subnets, Open vSwitch, and hosts reached by ssh."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.capabilities import require_capability
from tests.harness.names import draw_name, remove_leftovers
from tests.harness.netctl import run_netctl
from tests.harness.queries import Answer, ask_both
from tests.harness.worlds.openvswitch import SwitchWorld, switch_machine
from tests.harness.worlds.ssh import SshWorld

pytestmark = pytest.mark.kernel

ROUTES = """\
version: 1
name: {name}
dns: true
hosts:
  alpha: {{connect: lab, address: [192.0.2.11, "2001:db8::11"]}}
  beta: {{connect: lab, address: [192.0.2.12, "2001:db8::12"]}}
subnets:
  front: {{cidr: [10.44.0.0/24, "fd00:44::/64"], overlay: routes}}
  open: {{cidr: 10.45.0.0/24, mode: routed}}
containers:
  web: {{host: alpha, networks: {{front: [10.44.0.10, "fd00:44::10"]}}}}
  api: {{host: beta, networks: {{front: [10.44.0.20, "fd00:44::20"]}}}}
  app: {{host: alpha, networks: {{open: 10.45.0.10}}}}
  job: {{host: alpha, networks: {{open: 10.45.0.11}}}}
policies:
  - {{allow: api, to: app, ports: [80/tcp]}}
"""
SWITCH = """\
version: 1
name: here
dns: true
hosts: {one: {connect: local}}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"], bridge: openvswitch}
  back: {cidr: 10.45.0.0/24, mode: isolated, bridge: openvswitch}
containers:
  web: {networks: {front: [10.44.0.10, "fd44::10"]}, command: [sh, -c, "getent hosts app; exec sleep 1000"]}
  app: {networks: {front: [10.44.0.20, "fd44::20"]}}
  db: {networks: {back: 10.45.0.20}}
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
"""
SSH = """\
version: 1
name: {name}
dns: true
hosts:
  alpha: {{connect: ssh://root@alpha, address: 192.0.2.11}}
  beta: {{connect: ssh://root@beta, address: 192.0.2.12}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  web: {{host: alpha, networks: {{front: 10.44.0.10}}, command: [sleep, infinity]}}
  db: {{host: beta, networks: {{front: 10.44.0.20}}}}
"""
ASK = """\
import sys
import dns.message, dns.query
answer = dns.query.udp(dns.message.make_query(sys.argv[2], sys.argv[3]), sys.argv[1], timeout=3)
print(*sorted(str(value) for found in answer.answer for value in found))
"""


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_capability("root")
    require_capability("dnsmasq")


def found(*values: str) -> Answer:
    return Answer("NOERROR", tuple(sorted(values)))


def test_routes_and_routed_subnets(topology_name: str, tmp_path: Path) -> None:
    """Where each host has its own segment, a name of another host is known; a routed subnet has names, and a policy opens one."""
    name, zone, file = topology_name, f"{topology_name}.internal", tmp_path / "topology.yaml"
    file.write_text(ROUTES.format(name=name))
    try:
        done = run_netctl("apply", file)
        assert done.status == 0, done.err
        assert run_netctl("diff", file).status == 0
        for asker, server in (("web", "10.44.0.1"), ("api", "10.44.0.2")):
            assert ask_both(f"{name}.{asker}", server, f"web.{zone}") == found("10.44.0.10")
            assert ask_both(f"{name}.{asker}", server, f"api.front.{zone}", "AAAA") == found("fd00:44::20")
        assert ask_both(f"{name}.app", "10.45.0.1", f"job.{zone}") == found("10.45.0.11")
        assert ask_both(f"{name}.api", "10.44.0.2", f"app.{zone}") == found("10.45.0.10")
        assert ask_both(f"{name}.web", "10.44.0.1", f"app.{zone}") == Answer("NXDOMAIN")
        assert ask_both(f"{name}.app", "10.45.0.1", f"web.{zone}") == Answer("NXDOMAIN")
        shown = run_netctl("verify", file)
        assert shown.status == 0, shown.out
        assert "(name)" in shown.out
    finally:
        done = run_netctl("destroy", "--name", name)
    assert done.status == 0, done.err
    assert not list(Path("/run").glob(f"netctl-dns/{name}*"))


@pytest.fixture
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwitchWorld]:
    """A machine with Open vSwitch and the topology, applied."""
    with switch_machine(tmp_path_factory) as machine:
        world = SwitchWorld.furnish(machine, SWITCH)
        world.apply()
        yield world


def test_open_vswitch(switch: SwitchWorld) -> None:
    """Containers on Open vSwitch resolve names in both families, a policy opens one, and `destroy` leaves nothing."""
    script = switch.machine.folder / "ask.py"
    script.write_text(ASK)

    def ask(asker: str, server: str, name: str, kind: str = "A") -> str:
        done = switch.machine.run(
            sys.executable, str(script), server, f"{name}.here.internal", kind, netns=f"here.{asker}", check=False
        )
        return done.out.strip() or done.err.strip()[-300:]

    assert ask("web", "10.44.0.1", "app") == "10.44.0.20"
    assert ask("web", "fd44::1", "app.front", "AAAA") == "fd44::20"
    assert ask("web", "10.44.0.1", "db") == "10.45.0.20"
    assert ask("app", "10.44.0.1", "db") == ""
    assert ask("db", "10.45.0.1", "web") == ""
    assert ask("db", "10.45.0.1", "db") == "10.45.0.20"
    shown = switch.netctl("verify")
    assert "(name)" in shown.out
    switch.netctl("destroy")
    assert "here" not in switch.sh("ls /run/netctl-dns 2>/dev/null || true")
    assert "dnsmasq" not in switch.sh("ps -eo comm | grep dnsmasq || true")


@pytest.fixture
def machines() -> Iterator[SshWorld]:
    """Two machines with an sshd each."""
    require_capability("sshd")
    name = draw_name()
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    folder.chmod(0o755)  # sshd looks for keys as the user who logs in
    built = SshWorld(name, folder)
    try:
        built.build("alpha", "beta")
        yield built
    finally:
        built.stop()
        remove_leftovers(name)
        shutil.rmtree(folder)


def test_hosts_by_ssh(machines: SshWorld) -> None:
    """Each machine has a name server with the names of both; `verify` asks it there, and `destroy` leaves nothing."""
    file = machines.folder / "topology.yaml"
    file.write_text(SSH.format(name=machines.name))
    done = machines.netctl("apply", file)
    assert done.status == 0, done.err
    assert machines.netctl("diff", file).status == 0
    shown = machines.netctl("verify", file)
    assert shown.status == 0, shown.out
    assert "db (name)" in shown.out
    assert "web (name)" in shown.out
    done = machines.netctl("destroy", file)
    assert done.status == 0, done.err
    for host in ("alpha", "beta"):
        left = machines.machines[host].run("find", "/run/netctl-dns", "-mindepth", "1", check=False).stdout.split()
        assert left == []
        processes = machines.machines[host].run("ps", "-eo", "args").stdout.splitlines()
        # The first process of the test's machine reaps no orphan.
        assert not [line for line in processes if "dnsmasq" in line and "<defunct>" not in line]
