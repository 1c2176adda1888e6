"""The commands on a lab, as a user meets them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.names import NETNS_ROOT
from tests.harness.netctl import Outcome, run_netctl
from tests.harness.netns import Namespace
from tests.harness.terminal import run_on_terminal

pytestmark = pytest.mark.kernel


def exec_in(shop: Path, *words: str) -> Outcome:
    return run_netctl("exec", "--file", shop, *words)


@pytest.fixture
def live(shop: Path) -> Path:
    """The topology, applied."""
    done = run_netctl("apply", shop)
    assert done.status == 0, done.err
    assert "Plan: " in done.out
    assert "\x1b" not in done.out + done.err
    assert "alpha: make: " in done.err
    return shop


def test_diff_and_status_tell_drift(live: Path, topology_name: str) -> None:
    """In step is 0; a link that an administrator changed is 1, is named, and apply repairs it."""
    assert run_netctl("diff", live).status == 0
    assert run_netctl("status", live).status == 0
    assert exec_in(live, "web", "--", "ip", "link", "set", "eth0", "mtu", "1300").status == 0
    assert exec_in(live, "app", "--", "ip", "route", "delete", "default").status == 0
    told = run_netctl("status", live)
    assert told.status == 1
    assert "1300" in told.out
    assert f"{topology_name} is not in step" in told.out
    document = json.loads(run_netctl("status", "--json", live).out)
    alpha = next(host for host in document["hosts"] if host["host"] == "alpha")
    states = {item["subject"]: item["state"] for item in alpha["items"]}
    assert states["container web"] == "drifted"
    assert states["container app"] == "drifted"
    assert states["container db"] == "in step"
    plan = run_netctl("diff", live)
    assert plan.status == 1
    assert "~ container web" in plan.out
    assert run_netctl("apply", live).status == 0
    assert run_netctl("status", live).status == 0


def test_verify_passes_and_fails(live: Path, topology_name: str) -> None:
    """All is as promised after an apply. Without the firewall, verify is 6, and says what passes and what is at fault."""
    good = run_netctl("verify", live)
    assert good.status == 0, good.out
    assert "probes are as the file says" in good.out
    assert exec_in(live, "--host", "alpha", "--", "nft", "delete", "table", "inet", f"netctl-{topology_name}").status == 0
    bad = run_netctl("verify", live)
    assert bad.status == 6
    assert "FAIL a neighbour -> " in bad.out
    assert "guard chain" in bad.out
    assert "element in the published map is missing" in bad.out
    rows = json.loads(run_netctl("verify", "--json", live).out)["probes"]
    failed = [row for row in rows if not row["passed"]]
    assert any(row["section"] == "forbidden" and row["source"] == "db" for row in failed)
    assert all(row["fault"] for row in failed)


def test_verify_finds_a_container_that_is_cut_off(live: Path) -> None:
    """A link that is down fails the probes from and to its container, and no others."""
    assert exec_in(live, "worker-2", "--", "ip", "link", "set", "eth0", "down").status == 0
    rows = json.loads(run_netctl("verify", "--json", live).out)["probes"]
    failed = [row for row in rows if not row["passed"]]
    assert failed
    assert all("worker-2" in (row["source"], row["target"]) for row in failed)


def test_verify_without_a_lab(shop: Path) -> None:
    """Where the lab is not there, one sentence says so, instead of a hundred failures."""
    done = run_netctl("verify", shop)
    assert done.status == 3
    assert "netctl apply" in done.err


def test_exec(live: Path) -> None:
    """A command runs in the container's network and ends with the command's status; a name that is not there is suggested."""
    done = exec_in(live, "web", "--", "ip", "-br", "address")
    assert done.status == 0
    assert "10.44.0.10/24" in done.out
    assert exec_in(live, "web", "--", "sh", "-c", "exit 42").status == 42
    assert exec_in(live, "web", "true").status == 0
    assert exec_in(live, "web", "--", "no-such-command").status == 127
    assert "192.0.2.11" in exec_in(live, "--host", "alpha", "--", "ip", "address").out
    wrong = exec_in(live, "wep", "--", "true")
    assert wrong.status == 2
    assert "did you mean web?" in wrong.err
    assert exec_in(live, "web").status == 2


def test_exec_before_apply(shop: Path) -> None:
    """A container that is not there is a sentence and status 3."""
    done = exec_in(shop, "web", "--", "true")
    assert done.status == 3
    assert "netctl apply" in done.err


def test_a_saved_plan_is_applied_or_refused(shop: Path, tmp_path: Path) -> None:
    """The plan that was saved is applied; where the hosts have moved since, it is refused."""
    plan = tmp_path / "plan.json"
    assert run_netctl("diff", "--plan", plan, shop).status == 1
    assert run_netctl("apply", "--plan", plan, shop).status == 0
    stale = run_netctl("apply", "--plan", plan, shop)
    assert stale.status == 2
    assert "stale" in stale.err


def test_json_of_apply_and_destroy(shop: Path) -> None:
    """With --json, standard output is one JSON document and standard error is empty."""
    for command in ("apply", "destroy"):
        done = run_netctl(command, "--json", shop)
        assert (done.status, done.err) == (0, "")
        told = json.loads(done.out)
        assert told["format_version"] == 1
        assert told["changes"] > 50


def test_a_foreign_namespace_is_refused(shop: Path, make_namespace: Callable[[str], Namespace]) -> None:
    """One that has the name of an owned container: diff and apply say so with 3, nothing is made, and it stays."""
    foreign = make_namespace("web")
    for command in ("diff", "apply"):
        done = run_netctl(command, shop)
        assert done.status == 3
        assert f"ip netns delete {foreign.name}" in done.err
    assert list(NETNS_ROOT.glob(f"{foreign.name.removesuffix('web')}*")) == [foreign.path]


@pytest.mark.invariant(2)
def test_destroy_by_name_leaves_nothing(live: Path, topology_name: str) -> None:
    """Without the file, the lab is found by its name; nothing that bears it is left, and a second destroy finds nothing."""
    done = run_netctl("destroy", "--name", topology_name)
    assert done.status == 0, done.err
    assert not [path for folder in ("/run/netns", "/run/netctl") for path in Path(folder).glob(f"*{topology_name}*")]
    again = run_netctl("destroy", "--name", topology_name)
    assert (again.status, again.out) == (0, f"There is nothing of {topology_name}.\n")


def test_a_host_that_leaves_the_file_is_pruned(live: Path, topology_name: str) -> None:
    """A lab host that is no longer in the file is taken down by apply."""
    text = live.read_text()
    kept = [line for line in text.splitlines() if "beta" not in line]
    live.write_text("\n".join(kept) + "\n")
    assert run_netctl("apply", live).status == 0
    assert run_netctl("diff", live).status == 0
    assert exec_in(live, "--host", "alpha", "--", "true").status == 0
    assert not Path(f"/run/netns/{topology_name}.lab.beta").exists()


def test_progress_on_a_terminal(shop: Path) -> None:
    """On a terminal, hosts have bars that are redrawn; the plan above them stays, and nothing is left of the bars."""
    shown = run_on_terminal("apply", str(shop), NO_COLOR="")
    assert "\x1b[" in shown
    assert "as the file says" in shown
    assert "make: " not in shown  # no plain lines among the bars
    assert "\x1b[32m" in shown


def test_one_host_only(shop: Path) -> None:
    """--host limits apply to one host: the other one stays as it is."""
    assert run_netctl("apply", "--host", "beta", shop).status == 0
    document = json.loads(run_netctl("status", "--json", shop).out)
    states = {host["host"]: host["state"] for host in document["hosts"]}
    assert states["beta"] == "in step"
    assert states["alpha"] != "in step"
    assert run_netctl("apply", shop).status == 0


def test_status_and_help_with_a_foreign_bridge(live: Path, topology_name: str) -> None:
    """Status shows what there is, and then what conflicts, by 3; the command of the help line, pasted, removes it."""
    bridge = f"b-{topology_name}-back"
    assert exec_in(live, "--host", "alpha", "--", "ip", "link", "delete", bridge).status == 0
    assert exec_in(live, "--host", "alpha", "--", "ip", "link", "add", bridge, "type", "bridge").status == 0
    told = run_netctl("status", live)
    assert told.status == 3
    assert "container web " in told.out
    assert "host beta: in step" in told.out
    assert f"host alpha has an interface {bridge} that is not netctl's" in told.err
    found = re.search(r"\(netctl (exec .*?)\), or", told.err)
    assert found, told.err
    assert run_netctl(*shlex.split(found[1])).status == 0
    assert run_netctl("apply", live).status == 0
    assert run_netctl("status", live).status == 0
