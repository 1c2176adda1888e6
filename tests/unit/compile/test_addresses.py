"""Who gets which address: what is live stays, and the order of the file decides where there is a choice."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.compile import compile_topology
from reconciler.compile.model import Resolved
from reconciler.errors import TopologyError
from reconciler.state.host import HostFacts, Lease
from tests.harness.topologies.full import facts_of, load

NAMES = st.lists(st.sampled_from([f"c{number}" for number in range(12)]), unique=True, max_size=12)


def write(names: list[str], cidr: str = "[10.44.0.0/26, 'fd00:44::/64']", fixed: dict[str, str] | None = None) -> str:
    """A file with these containers, in this order, in one subnet; `fixed` are those with addresses of their own."""
    lines = ["version: 1", "name: shop", "hosts: {alpha: {connect: lab, address: 192.0.2.11}}"]
    lines.append(f"subnets: {{front: {{cidr: {cidr}}}}}")
    if names:
        lines.append("containers:")
        lines += [f"  {name}: {{networks: {{front: {(fixed or {}).get(name, 'auto')}}}}}" for name in names]
    return "\n".join(lines)


def addresses(resolved: Resolved) -> dict[str, tuple[str, ...]]:
    """Of every container."""
    return {
        name: tuple(own.address for endpoint in endpoints for own in endpoint.addresses)
        for name, endpoints in resolved.endpoints.items()
    }


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES)
def test_live_addresses_stay(before: list[str], after: list[str]) -> None:
    """Whatever containers are added, removed or renamed, those that stay keep their addresses, and so does the gateway."""
    old = compile_topology(load(write(before)), {})
    new = compile_topology(load(write(after)), facts_of(old))
    held, holding = addresses(old.resolved), addresses(new.resolved)
    assert {name: holding[name] for name in set(before) & set(after)} == {name: held[name] for name in set(before) & set(after)}
    if set(before) & set(after):
        gateways = [
            [host_subnet.addresses for host_subnet in each.resolved.host_subnets["alpha"].values()] for each in (old, new)
        ]
        assert gateways[0] == gateways[1]


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES)
def test_addresses_are_sound(before: list[str], after: list[str]) -> None:
    """No two share an address, and all are usable ones of their subnet."""
    old = compile_topology(load(write(before)), {})
    new = compile_topology(load(write(after)), facts_of(old)).resolved
    taken = [address for each in addresses(new).values() for address in each]
    taken += [own.address for host_subnet in new.host_subnets["alpha"].values() for own in host_subnet.addresses]
    assert len(taken) == len(set(taken))
    for address in map(ip_address, taken):
        network = ip_network("10.44.0.0/26" if address.version == 4 else "fd00:44::/64")
        assert address in network
        assert address not in (network.network_address, network.broadcast_address)


@settings(max_examples=40, deadline=None)
@given(NAMES.filter(bool).flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_the_order_of_the_file_moves_no_container(orders: tuple[list[str], list[str]]) -> None:
    """A file whose lines are shuffled asks for what is live already: no record changes."""
    names, shuffled = orders
    old = compile_topology(load(write(names)), {})
    new = compile_topology(load(write(shuffled)), facts_of(old))
    assert {host: dict(state.records) for host, state in new.hosts.items()} == {h: dict(s.records) for h, s in old.hosts.items()}


def test_both_families_count_alike() -> None:
    """On a fresh subnet the gateway is the first usable address, containers follow in the order of the file, in both families."""
    resolved = compile_topology(load(write(["b", "a"])), {}).resolved
    assert [own.address for own in resolved.host_subnets["alpha"]["front"].addresses] == ["10.44.0.1", "fd00:44::1"]
    assert addresses(resolved) == {"b": ("10.44.0.2", "fd00:44::2"), "a": ("10.44.0.3", "fd00:44::3")}


def test_what_the_file_fixes_comes_first() -> None:
    """A container whose address is written gets it, and the live one that has it now gets another."""
    old = compile_topology(load(write(["a", "b"])), {})
    new = compile_topology(load(write(["a", "b", "c"], fixed={"c": "[10.44.0.2]"})), facts_of(old)).resolved
    assert addresses(new)["c"][0] == "10.44.0.2"
    assert addresses(new)["b"][0] == "10.44.0.3"
    assert addresses(new)["a"][0] == "10.44.0.4"


def test_a_lease_that_is_no_longer_valid_is_let_go() -> None:
    """If the subnet has moved, all containers get an address of the new one."""
    facts = {"alpha": HostFacts(exists=True, leases=(Lease("front", "", "10.99.0.1"), Lease("front", "a", "10.99.0.2")))}
    assert addresses(compile_topology(load(write(["a"])), facts).resolved)["a"] == ("10.44.0.2", "fd00:44::2")


def test_a_container_that_moves_keeps_its_address() -> None:
    """What it has on the host that it leaves, it has on the host that it goes to."""
    facts = {"beta": HostFacts(exists=True, leases=(Lease("front", "a", "10.44.0.33"),))}
    assert addresses(compile_topology(load(write(["a"])), facts).resolved)["a"][0] == "10.44.0.33"


def test_a_full_subnet_is_a_fault_of_the_file() -> None:
    """It is named with its place, and with how many addresses are missing."""
    roomy = load(write(["a", "b", "c"], cidr="10.44.0.0/24"))
    narrow = replace(roomy.subnets["front"], cidrs=(IPv4Network("10.44.0.0/30"),))
    with pytest.raises(TopologyError) as caught:
        compile_topology(replace(roomy, subnets={"front": narrow}), {})
    (fault,) = caught.value.faults
    assert fault.position.line == 4
    assert "subnet front (10.44.0.0/30) is full: 2 more addresses are needed" in fault.message


def test_default_routes_lead_where_the_family_is() -> None:
    """The first network listed carries the default route; a family that it lacks is carried by the first that has it."""
    text = """
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}}
subnets: {four: {cidr: 10.44.0.0/24}, both: {cidr: [10.45.0.0/24, "fd00:45::/64"]}}
containers: {a: {networks: {four: auto, both: auto}}}
"""
    endpoints = compile_topology(load(text), {}).resolved.endpoints["a"]
    assert [(endpoint.subnet, endpoint.defaults) for endpoint in endpoints] == [("four", (4,)), ("both", (6,))]
