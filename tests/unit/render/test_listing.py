"""`netctl ls`: what it lists of each container, its filters and its forms."""

from __future__ import annotations

import json

import pytest

from reconciler.compile import compile_topology
from reconciler.plan.diff import diff_states
from reconciler.plan.document import CODEC, HostPlan
from reconciler.render.listing import Listing, compile_listing, render_listing, select_containers
from reconciler.render.status import compile_status
from reconciler.state.host import HostFacts, HostState, Lease
from reconciler.state.ref import container_netns
from reconciler.topology.load import parse_topology

SHOP = b"""\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}
subnets:
  front: {cidr: [10.44.0.0/24, "fd44::/64"]}
  back: {cidr: 10.45.0.0/24, mode: isolated}
containers:
  web:
    host: alpha
    networks: {front: {address: [10.44.0.10, "fd44::10"]}, back: 10.45.0.10}
    ports: ["8080:80", "9000-9002:100-102", {listen: 53, to: 53, protocol: udp, on: [beta]}]
  worker: {host: beta, replicas: 2, networks: {back: auto}}
"""
LIVE = {"beta": HostFacts(exists=True, leases=(Lease("back", "worker-1", "10.45.0.77"),))}


def listing(*, lost: str = "", waiting: dict[str, str] | None = None) -> tuple[Listing, dict[str, str]]:
    """What is listed if nothing of the container `lost` is live."""
    topology = parse_topology(SHOP)
    desired = compile_topology(topology, LIVE)
    plans = []
    for host, state in desired.hosts.items():
        live = {ref: record for ref, record in state.records.items() if record.exposed_to != container_netns(lost)}
        plans.append(HostPlan(host, changes=diff_states(HostState(live), state)))
    status = compile_status("shop", plans, desired.hosts, LIVE, {})
    origins = {each.name: each.origin for each in topology.containers.values()}
    return compile_listing(topology, desired.resolved, LIVE, status, waiting or {}), origins


def test_a_row_for_each_network() -> None:
    """Every address with its prefix, the hardware address, the ports, and the state of the container."""
    text = render_listing(listing()[0])
    head, first, second, *workers = text.splitlines()
    assert head.split() == ["CONTAINER", "HOST", "SUBNET", "ADDRESSES", "MAC", "PORTS", "STATE"]
    assert first.startswith("web        alpha  front   10.44.0.10/24, fd44::10/64  02:")
    assert first.endswith("8080->80/tcp, 9000-9002->100-102/tcp, beta 53->53/udp  in step")
    assert second.split()[:2] == ["back", "10.45.0.10/24"]
    assert [line.split()[:4] for line in workers] == [
        ["worker-1", "beta", "back", "10.45.0.77/24"],
        ["worker-2", "beta", "back", "10.45.0.3/24"],
    ], "an automatic address that is live stays"


def test_states_are_those_of_a_status() -> None:
    """What is not there is not in step."""
    states = {one.container: one.state for one in listing(lost="web")[0].containers}
    assert states["web"] in ("missing", "drifted")
    assert states["worker-1"] == "in step"


@pytest.mark.parametrize(
    ("names", "subnets", "found"),
    [
        ([], [], ["web", "worker-1", "worker-2"]),
        (["worker"], [], ["worker-1", "worker-2"]),
        (["worker-2", "web"], [], ["web", "worker-2"]),
        ([], ["front"], ["web"]),
        (["worker"], ["front"], []),
    ],
)
def test_filters(names: list[str], subnets: list[str], found: list[str]) -> None:
    """By name, by the name that replicas share, and by subnet; all of them count."""
    whole, origins = listing()
    chosen = select_containers(whole, names, origins, subnets)
    assert [one.container for one in chosen.containers] == found
    assert bool(found) == ("CONTAINER" in render_listing(chosen))


def test_json_has_fields_and_empty_lists() -> None:
    """An address is a field of its own, and a container without ports has an empty list."""
    document = json.loads(json.dumps(CODEC.encode(listing()[0])))
    web, worker, _ = document["containers"]
    assert web["networks"][0]["addresses"] == ["10.44.0.10/24", "fd44::10/64"]
    assert [port["port"] for port in web["ports"]] == [8080, 9000, 53]
    assert worker["ports"] == []
