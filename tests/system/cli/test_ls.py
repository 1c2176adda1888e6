"""`netctl ls` and `netctl status NAME` on a lab, and what verify says of drift."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.harness.netctl import run_netctl

pytestmark = pytest.mark.kernel


def test_what_is_listed_is_what_is_there(shop: Path) -> None:
    """Before an apply all is missing; then the addresses are those that the containers have, in each form."""
    before = json.loads(run_netctl("ls", "-o", "json", shop).out)["containers"]
    assert {one["state"] for one in before} == {"missing"}
    assert run_netctl("apply", shop).status == 0
    found = json.loads(run_netctl("ls", "-f", shop, "--json").out)["containers"]
    assert {one["state"] for one in found} == {"in step"}
    for one in found:
        shown = run_netctl("exec", "-f", shop, one["container"], "ip", "-br", "address").out
        for network in one["networks"]:
            assert all(address in shown for address in network["addresses"])
    assert yaml.safe_load(run_netctl("ls", "-o", "yaml", "-f", shop).out)["containers"] == found
    table = run_netctl("ls", shop, "web").out.splitlines()
    assert (len(table), table[1].split()[0]) == (2, "web")


def test_a_link_that_is_down_is_the_cause(shop: Path) -> None:
    """Status names the link first, for the containers that are asked about; verify says so before the failed probes."""
    assert run_netctl("apply", shop).status == 0
    assert run_netctl("exec", "-f", shop, "web", "ip", "link", "set", "eth0", "down").status == 0
    told = run_netctl("status", shop, "web")
    assert told.status == 1
    assert "eth0 is down (and " in told.out
    assert "1 of 1 drifted" in told.out
    assert run_netctl("status", shop, "db").status == 0
    drifted = run_netctl("status", "--drifted", "-f", shop).out
    assert "container web" in drifted
    assert "container db" not in drifted
    bad = run_netctl("verify", shop)
    assert bad.status == 6
    assert bad.out.index("container web: eth0 is down") < bad.out.index("FAIL web")
    causes = json.loads(run_netctl("verify", "--json", shop).out)["causes"]
    assert [(one["subject"], one["text"].partition(" (")[0]) for one in causes] == [("container web", "eth0 is down")]


def test_a_changed_chain_is_named(shop: Path, topology_name: str) -> None:
    """The chain that another program changed, and no element that is only loaded again with its table."""
    assert run_netctl("apply", shop).status == 0
    table = f"netctl-{topology_name}"
    words = ("nft", "insert", "rule", "inet", table, "ours", "accept")
    assert run_netctl("exec", "-f", shop, "--host", "alpha", *words).status == 0
    told = run_netctl("status", shop)
    assert f"chain `ours` of the nftables table inet {table} was changed by another program" in told.out
    assert "1 of " in told.out
    assert run_netctl("exec", "-f", shop, "--host", "outside", "ip", "-br", "link").status == 0
    assert run_netctl("exec", "-f", shop, "--host", "router", "ip", "-br", "link").status == 0
