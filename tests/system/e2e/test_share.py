"""Commands of several containers in one plain namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.netctl import run_netctl

TEXT = """\
version: 1
name: {name}
hosts: {{alpha: {{connect: lab, address: 192.0.2.11}}, beta: {{connect: lab, address: 192.0.2.12}}}}
subnets: {{front: {{cidr: 10.44.0.0/24}}}}
containers:
  vpn: {{host: alpha, networks: {{front: 10.44.0.10}}, command: [sleep, "1001"]}}
  app: {{host: alpha, share: vpn, command: [sleep, "1002"]}}
  far: {{host: beta, networks: {{front: 10.44.0.20}}}}
"""


@pytest.fixture
def file(topology_name: str, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "topology.yaml"
    path.write_text(TEXT.format(name=topology_name))
    yield path
    run_netctl("destroy", "--name", topology_name)


def pids(name: str) -> set[str]:
    """What sleeps in the namespace, by its argument."""
    numbers = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split()
    found = [Path(f"/proc/{number}/cmdline").read_text().split("\0") for number in numbers]
    return {words[1] for words in found if words[0] == "sleep"}


def test_one_namespace(topology_name: str, file: Path) -> None:
    """Both run in it, each is its own container in `status`, a changed command leaves the other alone, and all end."""
    netns = f"{topology_name}.vpn"
    done = run_netctl("apply", file)
    assert done.status == 0, done.err
    assert pids(netns) == {"1001", "1002"}
    assert run_netctl("diff", file).status == 0
    assert run_netctl("verify", file).status == 0
    shown = json.loads(run_netctl("status", "--json", file).out)
    items = {item["subject"]: item["summary"] for host in shown["hosts"] for item in host["items"]}
    assert "in the network of vpn" in items["container app"]
    assert "10.44.0.10/24" in run_netctl("exec", "--file", file, "app", "--", "ip", "address").out
    file.write_text(file.read_text().replace("1002", "1003"))
    changed = run_netctl("apply", file)
    assert changed.status == 0, changed.err
    assert pids(netns) == {"1001", "1003"}
    file.write_text(file.read_text().replace("share: vpn, ", ""))
    assert run_netctl("apply", file).status == 0
    assert (pids(netns), pids(f"{topology_name}.app")) == ({"1001"}, {"1003"})
    file.write_text(TEXT.format(name=topology_name))
    script = run_netctl("diff", "--commands", file).out
    assert f"--net=/run/netns/{netns} env" in script
    assert run_netctl("apply", file).status == 0
    assert pids(netns) == {"1001", "1002"}
    assert run_netctl("destroy", file).status == 0
    assert not Path(f"/run/netns/{netns}").exists()
