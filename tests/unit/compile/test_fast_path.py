"""Who has a fast path: containers of subnets over several hosts, where the kernel can hand packets on."""

from __future__ import annotations

from reconciler.compile import compile_topology
from reconciler.compile.fast_path import find_slow_paths
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable
from reconciler.kinds.firewall.fast_path import FastPathHook
from reconciler.state.host import HostFacts
from tests.harness.topologies.full import load

TEXT = """
version: 1
name: shop
hosts:
  alpha: {connect: lab, address: 192.0.2.11}
  beta: {connect: lab, address: 192.0.2.12}
subnets:
  tunnel: {cidr: 10.44.0.0/24}
  routed: {cidr: 10.45.0.0/24, overlay: routes}
  alone: {cidr: 10.46.0.0/24}
containers:
  t1: {host: alpha, networks: {tunnel: 10.44.0.10, alone: auto}}
  t2: {host: beta, networks: {tunnel: 10.44.0.20}}
  apart: {host: alpha, networks: {tunnel: {address: 10.44.0.11, isolated: true}}}
  r1: {host: alpha, networks: {routed: 10.45.0.10}}
  r2: {host: beta, networks: {routed: 10.45.0.20}}
"""


def tables_and_hooks(*, able: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """Of alpha: the subnets with a table, and by subnet the chains of their hooks."""
    facts = {host: HostFacts(exists=False, uplink="eth0", fast_path=able) for host in ("alpha", "beta")}
    records = compile_topology(load(TEXT), facts).hosts["alpha"].records.values()
    tables = [record.subnet for record in records if isinstance(record, FirewallTable) and record.subnet]
    return tables, sorted((record.subnet, record.chain) for record in records if isinstance(record, FastPathHook))


def test_subnets_over_several_hosts_have_one() -> None:
    """A hook for each container but the isolated one, and for the way to the other hosts; none for a subnet of one host."""
    tables, hooks = tables_and_hooks(able=True)
    assert tables == ["tunnel", "routed"]
    assert hooks == [("routed", "leaving"), ("routed", "routed"), ("tunnel", "leaving"), ("tunnel", "tunnelled")]


def test_a_kernel_that_cannot_has_the_slow_path_only() -> None:
    """Nothing of it is asked for there."""
    assert tables_and_hooks(able=False) == ([], [])


def test_a_host_without_one_is_named() -> None:
    """With the reason, and only if it has a subnet with another host."""
    lacking = HostFacts(exists=False, uplink="eth0", fast_path_fault="the kernel cannot")
    facts = {"alpha": lacking, "beta": HostFacts(exists=False, uplink="eth0", fast_path=True)}
    resolved = compile_topology(load(TEXT), facts).resolved
    assert list(find_slow_paths(resolved, facts)) == [("alpha", "the kernel cannot")]
    alone = TEXT.replace("host: beta", "host: alpha")
    assert list(find_slow_paths(compile_topology(load(alone), facts).resolved, facts)) == []


def test_who_is_elsewhere_is_one_element_or_two() -> None:
    """Behind the VXLAN by the hardware address; by routes the next hop, and the host that sends for it."""
    facts = {host: HostFacts(exists=False, uplink="eth0", fast_path=True) for host in ("alpha", "beta")}
    records = compile_topology(load(TEXT), facts).hosts["alpha"].records.values()
    found = [record for record in records if isinstance(record, FirewallElement) and record.subnet]
    assert [one.subnet for one in found if one.set == "behind"] == ["tunnel"]
    assert [(one.key, one.value) for one in found if one.set == "hops4"] == [("10.45.0.20", "192.0.2.12")]
    assert [one.key.rpartition(" ")[2] for one in found if one.set == "neighbours4"] == ["10.45.0.20"]
