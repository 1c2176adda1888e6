"""Every hop that `explain` claims, beside nftables' trace of a real packet: each mode, overlay, bridge and published form.

A path agrees if the packet met exactly the rules of nftables that the records lead to, on each host, and ended as they say.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.names import draw_name, remove_leftovers
from tests.harness.netctl import run_netctl

pytestmark = [pytest.mark.kernel, pytest.mark.long]

HEAD = """\
version: 1
name: {name}
hosts:
  alpha: {{connect: lab, address: [192.0.2.11, "2001:db8::11"]}}
  beta: {{connect: lab, address: [192.0.2.12, "2001:db8::12"]}}
"""
MODES = (
    HEAD
    + """\
dns: true
subnets:
  front: {{cidr: [10.44.0.0/24, "fd00:44::/64"], overlay: {overlay}}}
  back: {{cidr: 10.45.0.0/24, mode: isolated}}
  open: {{cidr: [10.46.0.0/24, "fd00:46::/64"], mode: routed, overlay: {overlay}}}
containers:
  web:
    host: alpha
    networks: {{front: [10.44.0.10, "fd00:44::10"]}}
    ports:
      - "8080:80"
      - "5353:53/udp"
      - {{listen: "192.0.2.11:8081", to: 81}}
      - {{listen: 8443, to: 443, from: [203.0.113.0/24, "2001:db8:ffff::/64"]}}
      - {{listen: 8444, to: 444, from: [198.51.100.0/24]}}
      - {{listen: "127.0.0.1:8082", to: 82}}
  app: {{host: alpha, networks: {{front: [10.44.0.11, "fd00:44::11"]}}}}
  api:
    host: beta
    networks: {{front: [10.44.0.20, "fd00:44::20"]}}
    ports: [{{listen: 9090, to: 90, on: [alpha, beta]}}]
  db: {{host: alpha, networks: {{back: {{address: 10.45.0.20, isolated: true}}}}}}
  log: {{host: alpha, networks: {{back: {{address: 10.45.0.21, isolated: true}}}}}}
  far: {{host: beta, networks: {{open: [10.46.0.20, "fd00:46::20"]}}}}
  mail: {{host: alpha, networks: {{open: [10.46.0.10, "fd00:46::10"]}}}}
policies:
  - {{allow: web, to: db, ports: [5432/tcp, 53/udp]}}
  - {{allow: api, to: db}}
  - {{allow: log, to: outside, ports: [514/udp]}}
  - {{allow: mail, to: api, ports: [25/tcp]}}
"""
)
ASKED = {
    # within a subnet, on one host and on two
    ("web", "app"): True,
    ("web", "app:80"): True,
    ("web", "api"): True,
    ("api", "web:80/udp"): True,
    ("mail", "far:25"): True,
    ("log", "db"): False,
    # between a container and hosts
    ("web", "alpha"): True,
    ("web", "beta:22"): True,
    ("alpha", "web"): True,
    ("beta", "web:80"): True,
    ("web", "alpha:53/udp"): True,
    # policies, and none
    ("web", "db:5432"): True,
    ("web", "db:53/udp"): True,
    ("web", "db:22"): False,
    ("web", "db"): False,
    ("api", "db"): True,
    ("mail", "api:25"): True,
    ("far", "api:25"): False,
    ("db", "web"): False,
    # the outside
    ("web", "outside"): True,
    ("web", "outside:443"): True,
    ("far", "outside"): True,
    ("db", "outside"): False,
    ("log", "outside:514/udp"): True,
    ("log", "outside:515/udp"): False,
    ("outside", "mail:25"): True,
    ("outside", "far"): True,
    ("outside", "app:80"): False,
    # published ports in all forms
    ("outside", "web:8080"): True,
    ("outside", "web:5353/udp"): True,
    ("outside", "web:8081"): True,
    ("outside", "web:8443"): True,
    ("outside", "web:8444"): False,
    ("outside", "api:9090"): True,
    ("beta", "192.0.2.11:8080"): True,
    ("alpha", "127.0.0.1:8080"): True,
    ("alpha", "127.0.0.1:8082"): True,
    ("web", "192.0.2.11:8080"): True,
    ("app", "192.0.2.11:8080"): True,
    ("app", "192.0.2.12:9090"): True,
    ("far", "192.0.2.11:8081"): True,
}
LAN = {
    ("one", "two"): True,
    ("one", "three:80"): True,
    ("one", "outside"): True,
    ("outside", "one"): True,
    ("one", "alpha"): True,
    ("alpha", "one"): True,
    ("near", "outside"): True,
}
ON_LAN = (
    HEAD
    + """\
subnets:
  lan: {{cidr: [192.0.2.0/24], mode: {mode}}}
  inner: {{cidr: 10.44.0.0/24}}
containers:
  one: {{host: alpha, networks: {{lan: 192.0.2.51}}}}
  two: {{host: alpha, networks: {{lan: 192.0.2.52}}}}
  three: {{host: beta, networks: {{lan: 192.0.2.53}}}}
  near: {{host: alpha, networks: {{inner: 10.44.0.10}}}}
"""
)


class ExplainedWorld:
    """An applied file."""

    def __init__(self, path: Path) -> None:
        """Apply it."""
        self.path, self.name = path, path.read_text().splitlines()[1].removeprefix("name: ")
        done = run_netctl("apply", path)
        assert done.status == 0, done.out + done.err

    def explain(self, start: str, target: str, *options: str) -> list[dict[str, Any]]:
        """The paths of a question."""
        done = run_netctl("explain", start, target, "-f", self.path, "--json", *options)
        assert done.status in (0, 1), done.err
        return list(json.loads(done.out)["paths"])


def faults_of(paths: list[dict[str, Any]], *, passes: bool) -> Iterator[str]:
    """What explain and the trace disagree about, and what is not as the file promises."""
    for path in paths:
        trace, what = path["trace"], path["packet"]
        if path["passes"] != passes:
            yield f"{what}: {path['end']}, {path['reason']}"
        if trace.get("why_not"):
            yield f"{what}: {trace['why_not']}"
        if not trace["agrees"]:
            wrong = [rule for rule in trace["rules"] if rule["expected"] != rule["seen"]]
            yield f"{what}: {trace.get('outcome')} {wrong}"
        decided = [hop for hop in path["hops"] if hop["layer"] in ("filter", "translate", "fast path")]
        yield from (f"{what}: {hop['words']} is not seen" for hop in decided if hop.get("traced") == "not seen")


@pytest.fixture(scope="module", params=["vxlan", "routes"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainedWorld]:
    """Two hosts with every mode, and one overlay."""
    name = draw_name()
    path = tmp_path_factory.mktemp("explain") / "topology.yaml"
    path.write_text(MODES.format(name=name, overlay=request.param))
    yield ExplainedWorld(path)
    run_netctl("destroy", "--name", name)
    remove_leftovers(name)


@pytest.fixture(scope="module", params=["direct", "macvlan"])
def lan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExplainedWorld]:
    """Two hosts with containers on their own segment."""
    name = draw_name()
    path = tmp_path_factory.mktemp("lan") / "topology.yaml"
    path.write_text(ON_LAN.format(name=name, mode=request.param))
    yield ExplainedWorld(path)
    run_netctl("destroy", "--name", name)
    remove_leftovers(name)


@pytest.mark.parametrize(("start", "target"), ASKED)
def test_the_real_packet_meets_the_rules_that_explain_names(world: ExplainedWorld, start: str, target: str) -> None:
    """Over each mode, overlay and published form, for both families."""
    assert list(faults_of(world.explain(start, target, "--trace"), passes=ASKED[start, target])) == []


@pytest.mark.parametrize(("start", "target"), LAN)
def test_on_a_lan_the_real_packet_ends_as_explain_says(lan: ExplainedWorld, start: str, target: str) -> None:
    """Past the rules of the host, or by the few of a bridge that has taken in the uplink."""
    paths = [path for path in lan.explain(start, target, "--trace") if path["family"] == 4]
    assert list(faults_of(paths, passes=LAN[start, target])) == []


def test_a_trace_leaves_no_table(world: ExplainedWorld) -> None:
    """The ruleset is the same before and after."""
    before = rules_of(world)
    world.explain("web", "api", "--trace")
    assert rules_of(world) == before


def test_a_killed_trace_leaves_no_table(world: ExplainedWorld) -> None:
    """The kernel deletes the tables with the process that has them."""
    before = rules_of(world)
    command = [sys.executable, "-m", "reconciler", "explain", "log", "db", "-f", str(world.path), "--trace"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as netctl:
        wait_until(lambda: any("netctl_trace_" in line for line in rules_of(world)))
        os.killpg(netctl.pid, signal.SIGKILL)
    wait_until(lambda: rules_of(world) == before)


def wait_until(is_so: Any, timeout_s: float = 20) -> None:
    """Wait for it."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rules_of(world: ExplainedWorld) -> list[str]:
    """The tables of both hosts."""
    namespaces = [f"--net=/run/netns/{world.name}.lab.{host}" for host in ("alpha", "beta")]
    found = (
        subprocess.run(["nsenter", one, "nft", "list", "tables"], capture_output=True, text=True, check=True)
        for one in namespaces
    )
    return [line for done in found for line in done.stdout.splitlines()]


def test_drift_is_found_on_the_live_path_and_by_the_packet(world: ExplainedWorld) -> None:
    """Without a policy's element the live path ends, the file says that it passes, and the packet agrees."""
    element = "{ 10.44.0.10 . 10.45.0.20 . tcp . 5432 }"
    command = ["nft", "delete", "element", "inet", f"netctl-{world.name}", "allowed_ports4", element]
    done = run_netctl("exec", "-f", world.path, "--host", "alpha", "--", *command)
    assert done.status == 0, done.err
    try:
        (path,) = world.explain("web", "db:5432", "--trace")
        assert (path["passes"], path["end"]) == (False, "refused")
        assert path["file_says"] == "it passes"
        assert list(faults_of([path], passes=False)) == []
    finally:
        assert run_netctl("apply", world.path).status == 0
    (path,) = world.explain("web", "db:5432")
    assert path["passes"]


def test_a_foreign_rule_that_drops_the_packet_is_seen(world: ExplainedWorld) -> None:
    """The records know nothing of another program's table; the packet meets it, and explain names the rule."""
    hook = "{ type filter hook forward priority 10; policy accept; }"
    script = f"add table inet mine; add chain inet mine f {hook}; add rule inet mine f tcp dport 5432 counter drop"
    netns = f"--net=/run/netns/{world.name}.lab.alpha"
    subprocess.run(["nsenter", netns, "nft", script], check=True)
    try:
        done = run_netctl("explain", "web", "db:5432", "-f", world.path, "--trace")
    finally:
        subprocess.run(["nsenter", netns, "nft", "delete table inet mine"], check=True)
    assert done.status == 1
    assert "not as expected" in done.out
    (line,) = [line for line in done.out.splitlines() if "only seen" in line]
    assert "alpha  inet mine f 1  tcp dport 5432" in line
    assert line.endswith("drop drop")
