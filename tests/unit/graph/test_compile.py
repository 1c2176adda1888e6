"""From a topology to nodes, bars and wires: what shares a node, what a badge does, and which ends an arrow has."""

from __future__ import annotations

import pytest

from reconciler.graph.compile import PORT_NODES
from reconciler.graph.model import OUTSIDE, Badge, Graph, NodeId
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.topology.load import parse_topology
from reconciler.topology.types import Topology
from tests.harness.topologies.graphs import EXAMPLES, graph_of, make_large, read

SHOP = read(EXAMPLES[0])


def parse(containers: str, policies: str = "") -> Topology:
    head = "version: 1\nname: t\nhosts: {alpha: {connect: lab, address: 192.0.2.11}, beta: {connect: lab, address: 192.0.2.12}}\n"
    subnets = "subnets: {front: {cidr: 10.44.0.0/24}, back: {cidr: 10.45.0.0/24, mode: isolated}}\n"
    return parse_topology(f"{head}{subnets}containers:\n{containers}\n{policies}".encode())


def node_names(graph: Graph) -> list[str]:
    return [node.id.name for node in graph.nodes if node.id.shape == "container"]


def arrows(graph: Graph, kind: str) -> set[tuple[str, str]]:
    return {(str(wire.source), str(wire.target)) for wire in graph.wires if wire.kind == kind}


def test_replicas_share_a_node() -> None:
    """Three replicas or more are one node that has all their names; two are two nodes."""
    graph = graph_of(SHOP)
    assert node_names(graph) == ["web", "cache", "db", "api", "worker-1 … worker-3", "dns"]
    worker = next(node for node in graph.nodes if node.title == "worker \u00d73")
    assert worker.names == ("worker-1", "worker-2", "worker-3")
    assert worker.lines == ("worker-1 … worker-3", "10.46.0.2 … 10.46.0.4")
    assert node_names(graph_of(parse("  a: {host: alpha, replicas: 2, networks: {front: auto}}"))) == ["a-1", "a-2"]


def test_a_replica_with_a_mark_of_its_own_stands_alone() -> None:
    """Drift of one replica of five is visible: the other four share a node without it."""
    topology = parse("  a: {host: alpha, replicas: 5, networks: {front: auto}}")
    graph = graph_of(topology, {("alpha", Subject.container("a-3")): Badge("drifted", "", ("eth0 is down",))})
    assert node_names(graph) == ["a-1 … a-5", "a-3"]
    drifted = next(node for node in graph.nodes if node.id.name == "a-3")
    assert drifted.lines[-1] == "drifted"
    assert [detail.text for detail in drifted.details][-2:] == ["drifted", "eth0 is down"]


def test_every_name_of_the_file_is_in_the_graph() -> None:
    """Each host is a column, each subnet a bar, and each container belongs to exactly one node."""
    for path in EXAMPLES:
        topology = read(path)
        graph = graph_of(topology)
        assert [column.id.name for column in graph.columns] == list(topology.hosts)
        assert [bar.id.name for bar in graph.bars] == list(topology.subnets)
        names = [name for node in graph.nodes for name in node.names]
        assert sorted(names) == sorted(container.name for container in topology.declared)


def test_a_policy_is_an_arrow_between_its_parties() -> None:
    """Containers, subnets, the outside and hosts are ends; a party that is a set of replicas is one node."""
    policies = """\
policies:
  - {allow: web, to: db, ports: [5432/tcp]}
  - {allow: front, to: back}
  - {allow: db, to: outside, ports: [22/tcp]}
  - {allow: host, to: db, ports: [80/tcp]}
"""
    containers = "  web: {host: alpha, replicas: 4, networks: {front: auto}}\n  db: {host: beta, networks: {back: auto}}"
    graph = graph_of(parse(containers, policies))
    web = "container:web-1 … web-4"
    assert arrows(graph, "policy") == {
        (web, "container:db"),
        ("subnet:front", "subnet:back"),
        ("container:db", "outside"),
        ("host:beta", "container:db"),
    }
    assert {wire.label for wire in graph.wires if wire.kind == "policy"} == {"tcp 5432", "all", "tcp 22", "tcp 80"}
    assert graph.has_outside


def test_a_published_port_leads_from_the_outside_over_its_host_to_its_container() -> None:
    """Each host that publishes has a node with the ports, also if the container runs on another host."""
    graph = graph_of(SHOP)
    assert ("outside", "host:alpha") in arrows(graph, "port")
    assert {("ports:api:alpha", "container:api"), ("ports:api:beta", "container:api")} <= arrows(graph, "port")
    web = next(node for node in graph.nodes if node.id == NodeId("ports", "web", "alpha"))
    assert web.lines == ("8080 → 80/tcp", "192.0.2.11:8443 → 443/tcp from 192.0.2.0/24")


def test_many_published_ports_are_one_node() -> None:
    """With more than ten such nodes on a host, there is one for all, and the containers say their ports themselves."""
    containers = "\n".join(
        f"  c{number}: {{host: alpha, networks: {{front: auto}}, ports: ['{8000 + number}:80']}}"
        for number in range(PORT_NODES + 1)
    )
    graph = graph_of(parse(containers))
    ports = [node for node in graph.nodes if node.id.shape == "ports"]
    assert [node.title for node in ports] == ["published ports"]
    assert ports[0].lines == ("of 11 containers, which say their ports",)
    assert all("→ 80/tcp" in node.lines[-1] for node in graph.nodes if node.id.shape == "container")


def test_marks_reach_hosts_subnets_containers_and_policies() -> None:
    """A badge of a subnet on any host is the subnet's; texts then begin with the name of the host."""
    front, web = Subject.subnet("front"), Subject.container("web")
    badges = {
        ("alpha", HOST_SUBJECT): Badge("drifted"),
        ("alpha", front): Badge("in step"),
        ("beta", front): Badge("missing", "+", ("bridge b-shop-front: missing",)),
        ("alpha", web): Badge("in step", "~", ("add port tcp 8081",)),
        ("alpha", Subject.policy("web", "db")): Badge("", "-", ("tcp 5432",)),
    }
    graph = graph_of(SHOP, badges)
    assert graph.columns[0].badge.words == "drifted"
    bar = next(bar for bar in graph.bars if bar.id.name == "front")
    assert bar.badge == Badge("missing", "+", ("beta: bridge b-shop-front: missing",))
    assert next(node for node in graph.nodes if node.title == "web").lines[-1] == "~ is changed"
    assert next(wire for wire in graph.wires if wire.kind == "policy").label == "- tcp 5432"


def test_what_is_not_in_the_file_is_drawn_on_its_host() -> None:
    """A container and a subnet that an apply removes are in the picture, without an end of an arrow."""
    badges = {
        ("alpha", Subject.container("old")): Badge("not in the file", "-"),
        ("beta", Subject.subnet("gone")): Badge("not in the file", "-"),
    }
    graph = graph_of(SHOP, badges)
    old = next(node for node in graph.nodes if node.title == "old")
    assert (old.host, old.lines) == ("alpha", ("- is removed, not in the file",))
    gone = next(bar for bar in graph.bars if bar.id.name == "gone")
    assert dict(gone.gateways) == {"beta": ""}


def test_the_cells_are_what_verify_expects() -> None:
    """A pair that policies open on one port is "ok -", with both reasons; one that nothing opens is "-"."""
    cells = {(cell.source, cell.target): cell for cell in graph_of(SHOP).cells}
    assert cells["web", "db"].symbol == "ok -"
    assert "tcp to 10.45.0.20 port 5432 may pass: a policy allows tcp 5432" in cells["web", "db"].reasons
    assert cells["db", "outside"].symbol == "-"
    assert cells["worker-1", "worker-2"].symbol == "ok"


def test_details_name_the_line_of_the_file() -> None:
    """A click shows where the file asks for a thing; values of variables are not among the details."""
    topology = parse("  a: {host: alpha, networks: {front: auto}, command: [sleep, secret], env: {TOKEN: secret}}")
    node = next(node for node in graph_of(topology).nodes if node.title == "a")
    assert ("file", "topology.yaml:6") in [tuple(detail) for detail in node.details]
    assert "secret" not in str(graph_of(topology))


@pytest.mark.parametrize("count", [30, 60])
def test_the_size_of_a_graph_follows_from_its_containers(count: int) -> None:
    """Twice as many containers have at most about twice as many wires: no pair of containers has one of its own."""
    graph = graph_of(make_large(count))
    assert len(graph.wires) < 3 * count + 10
    assert graph.has_outside
    assert OUTSIDE in {wire.source for wire in graph.wires}
