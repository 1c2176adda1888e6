"""What a line of a plan says of a container, a host and a policy: routes, rates, ports, and who is meant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.compile import compile_topology
from reconciler.kinds.settings.qdisc import Qdisc
from reconciler.plan.document import compile_document, host_plan
from reconciler.plan.plan import compile_plan
from reconciler.render.plan import render_plan
from reconciler.state.host import HostState
from reconciler.state.ref import Ref
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.topology.load import parse_topology

TEXT = """\
version: 1
name: shop
hosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}
subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24, mode: isolated}}
containers:
  web: {host: alpha, networks: {front: §}}
  db: {host: beta, networks: {back: 10.45.0.20}}
  api: {host: beta, networks: {front: auto}, ports: [{listen: 9090, to: 90, on: [alpha, beta]}]}
policies: [{allow: web, to: db, ports: [5432]}]
"""
EMPTY = HostState({})


def states(network: str = "auto") -> dict[str, HostState]:
    return dict(compile_topology(parse_topology(TEXT.replace("§", network).encode()), {}).hosts)


def plan(live: dict[str, HostState], desired: dict[str, HostState]) -> str:
    names = {**live, **desired}
    sides = {name: (live.get(name, EMPTY), desired.get(name, EMPTY)) for name in names}
    hosts = (host_plan(name, old, compile_plan(old, new)) for name, (old, new) in sides.items())
    return render_plan(compile_document("shop", tuple(hosts)))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("{address: auto, rate: 10mbit}", "on front at 10mbit, default via"),
        ("{address: auto, rate: {egress: 1500kbit}}", "on front at egress 1500kbit, default via"),
        ("{address: auto, rate: {ingress: 1gbit, egress: 8kbit}}", "on front at ingress 1gbit at egress 8kbit, default via"),
        ("{address: auto, routes: [{to: 10.9.0.0/16, via: 10.44.0.9}]}", "via 10.44.0.1, route to 10.9.0.0/16 via 10.44.0.9"),
    ],
)  # fmt: skip
def test_options_of_a_container(network: str, words: str) -> None:
    """Its rates stand in the units of the file beside the network, and its routes beside the default route."""
    assert words in plan({}, states(network))


def test_a_rate_that_changes() -> None:
    """Both values are shown as the file writes them, and no bytes."""
    told = plan(states("{address: auto, rate: 10mbit}"), states("{address: auto, rate: 2500kbit}"))
    assert "rate limit 2500kbit on eth0: rate is 10mbit, wanted 2500kbit" in told
    assert "rate_bytes" not in told
    assert Qdisc(netns="", dev="v", link=Ref("veth", "", "v"), about=HOST_SUBJECT, rate_bytes=1001).rate == "8008bit"


def test_ports_are_named() -> None:
    """A container's by number; on a host that only leads to another host's container, where they lead to."""
    told = plan({}, states())
    assert "1 published port (tcp 9090)" in told
    assert "+ container api          published port tcp 9090 to 10.44.0" in told or "add port tcp 9090 to 10.44.0" in told


def test_what_goes_is_named_by_all_hosts() -> None:
    """A host knows a container of another host by its address only; the plan of both says whose port and policy it is."""
    live = states()
    read = {
        name: HostState.of(
            [
                replace(record, about=Subject.policy("front" if name == "beta" else "web", "10.45.0.20"))  # type: ignore[call-arg]
                if getattr(record, "about", "") == Subject.policy("web", "db")
                else replace(record, about=HOST_SUBJECT)  # type: ignore[call-arg]
                if record.ref.kind == "element" and name == "alpha" and "9090" in record.ref.name
                else record
                for record in state.records.values()
            ]
        )
        for name, state in live.items()
    }
    told = plan(read, {})
    assert "policy from web to db" in told
    assert "policy from front" not in told
    assert "to 10.45.0.20" not in told
    assert "~ container api          remove port tcp 9090 to 10.44.0" in told
    assert "  - host                   firewall, 2 settings\n" in told
