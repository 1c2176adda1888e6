"""`netctl graph --live` and `--plan` on the real kernel: what has drifted, and what an apply would do, is in the picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.machine import Machine

pytestmark = pytest.mark.kernel
SHOP = """\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets:
  front: {cidr: 10.44.0.0/24}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web: {networks: {front: 10.44.0.10}, ports: ["8080:80"]}
  old: {networks: {front: auto}}
  worker: {replicas: 4, networks: {back: auto}}
policies:
  - {allow: web, to: worker, ports: [80/tcp]}
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which the topology is applied."""
    made = Machine.make(tmp_path)
    (tmp_path / "shop.yaml").write_text(SHOP)
    assert made.netctl("apply", "-q", tmp_path / "shop.yaml").status == 0
    yield made
    made.end()


def draw(machine: Machine, *options: str) -> dict[str, dict[str, Any]]:
    """All that is drawn, by identity."""
    done = machine.netctl("graph", "--json", *options, machine.folder / "shop.yaml")
    assert done.status == 0, done.err
    answer = json.loads(done.out)
    return {each["id"]: each for part in ("hosts", "subnets", "nodes") for each in answer[part]} | {"": answer}


def test_drift_is_drawn(machine: Machine) -> None:
    """A container with a link down is drifted, one replica of four stands alone, and the rest is in step."""
    machine.run("ip", "link", "set", "eth0", "down", netns="shop.web")
    machine.run("ip", "link", "set", "eth0", "down", netns="shop.worker-3")
    drawn = draw(machine, "--live")
    assert drawn["container:web"]["badge"]["state"] == "drifted"
    assert drawn["container:web"]["badge"]["texts"]
    assert drawn["container:worker-3"]["badge"]["state"] == "drifted"
    assert drawn["container:worker-1 … worker-4"]["names"] == ["worker-1", "worker-2", "worker-4"]
    assert {drawn[id_]["badge"]["state"] for id_ in ("container:old", "subnet:front", "host:alpha")} == {"in step"}
    # The path is that of the hosts as they are: it ends in web.
    path = next(each for each in drawn[""]["paths"] if (each["source"], each["target"]) == ("web", "old"))
    assert "does not pass" in path["verdict"]


def test_a_plan_is_drawn(machine: Machine) -> None:
    """What comes, what changes and what goes have their signs; a container that is gone from the file is drawn, too."""
    text = SHOP.replace("  old: {networks: {front: auto}}\n", "  new: {networks: {front: auto}}\n").replace("8080:80", "8081:80")
    (machine.folder / "shop.yaml").write_text(text)
    drawn = draw(machine, "--plan")
    assert {name: drawn[f"container:{name}"]["badge"]["sign"] for name in ("new", "old", "web")} == {
        "new": "+",
        "old": "-",
        "web": "~",
    }
    assert drawn["container:old"]["host"] == "alpha"
    assert drawn["container:web"]["badge"]["state"] == ""
    both = draw(machine, "--plan", "--live")
    assert (both["container:old"]["badge"]["state"], both["container:old"]["badge"]["sign"]) == ("not in the file", "-")


def test_pictures_change_nothing(machine: Machine) -> None:
    """After any picture there is nothing to do."""
    for form in ("svg", "html"):
        assert machine.netctl("graph", "--live", "--plan", "--format", form, machine.folder / "shop.yaml").status == 0
    assert machine.netctl("diff", machine.folder / "shop.yaml").status == 0
