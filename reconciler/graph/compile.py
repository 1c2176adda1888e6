"""From a topology and its addresses to the values of a picture: `compile_graph`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from reconciler.compile.model import HostSubnet, Resolved
from reconciler.graph.cells import compile_cells
from reconciler.graph.details import (
    badge_details,
    container_details,
    host_details,
    policy_details,
    render_connect,
    render_policy_ports,
    render_ports,
    render_sources,
    subnet_details,
)
from reconciler.graph.model import (
    IN_STEP,
    NO_BADGE,
    OUTSIDE,
    Badge,
    Badges,
    Bar,
    Column,
    Detail,
    Explanation,
    Graph,
    GraphNode,
    NodeId,
    Wire,
)
from reconciler.state.host import HostFacts
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.topology.types import Container, Party, Policy, Topology

FOLD = 3
"""The least number of replicas that share a node, as in `netctl diff`."""
PORT_NODES = 10
"""The most nodes of published ports on one host. With more, the containers say their ports themselves."""
PORT_LINES = 4
"""The most published ports that one node lists."""
WORST = ("missing", "drifted", "not in the file", "waiting", IN_STEP, "")
"""States, the worst first."""
NO_BADGES: Badges = MappingProxyType({})


def compile_graph(
    topology: Topology,
    resolved: Resolved,
    facts: Mapping[str, HostFacts],
    badges: Badges = NO_BADGES,
    explanations: tuple[Explanation, ...] = (),
) -> Graph:
    """The picture of a topology; `badges` are those of `--live` and `--plan`."""
    drawn = _Drawn.of(topology, badges)
    nodes = (*_containers(topology, resolved, drawn), *_gone(topology, drawn), *_ports(topology, drawn))
    wires = (*_cables(drawn), *_policies(topology, drawn), *_port_wires(topology, drawn))
    cells, notes = compile_cells(topology, resolved, facts)
    return Graph(
        topology.name,
        topology.path,
        tuple(_columns(topology, badges)),
        (*_bars(topology, resolved, badges), *_gone_bars(topology, badges)),
        nodes,
        wires,
        has_outside=any(OUTSIDE in (wire.source, wire.target) for wire in wires),
        summary=_summary(topology),
        cells=cells,
        notes=notes,
        explanations=explanations,
    )


def _summary(topology: Topology) -> str:
    counts = ((len(topology.hosts), "host"), (len(topology.subnets), "subnet"), (len(topology.declared), "container"))
    return ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)


# --- what shares a node -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The nodes of containers, and what leads to them."""

    badges: Badges
    groups: Mapping[NodeId, tuple[Container, ...]]
    parties: Mapping[str, tuple[NodeId, ...]]
    """By the name of a container in the file: its nodes."""
    ports: Mapping[NodeId, tuple[NodeId, tuple[str, ...]]]
    """Nodes of published ports: the node that they lead to, and their texts."""
    folded: Mapping[str, int]
    """The hosts with too many published ports for nodes, and how many nodes it would be."""

    @classmethod
    def of(cls, topology: Topology, badges: Badges) -> _Drawn:
        groups = _groups(topology, badges)
        parties: dict[str, list[NodeId]] = {}
        found: dict[NodeId, tuple[NodeId, tuple[str, ...]]] = {}
        for id_, containers in groups.items():
            parties.setdefault(containers[0].origin, []).append(id_)
            for host in dict.fromkeys(host for each in containers for one in each.publications for host in one.hosts):
                texts = dict.fromkeys(
                    " ".join(filter(None, (render_ports(one), render_sources(one))))
                    for each in containers
                    for one in each.publications
                    if host in one.hosts
                )
                found[NodeId("ports", id_.name, host)] = (id_, tuple(texts))
        count: dict[str, int] = {}
        for port in found:
            count[port.host] = count.get(port.host, 0) + 1
        folded = {host: number for host, number in count.items() if number > PORT_NODES}
        ports = {port: each for port, each in found.items() if port.host not in folded}
        return cls(badges, groups, {name: tuple(ids) for name, ids in parties.items()}, ports, folded)

    def badge(self, containers: Sequence[Container]) -> Badge:
        """The badge that all of them have."""
        first = containers[0]
        return self.badges.get((first.host, Subject.container(first.name)), NO_BADGE)


def _groups(topology: Topology, badges: Badges) -> dict[NodeId, tuple[Container, ...]]:
    """The containers of each node: replicas with equal badges share one if they are at least FOLD."""
    alike: dict[tuple[str, ...], list[Container]] = {}
    for container in topology.declared:
        badge = badges.get((container.host, Subject.container(container.name)), NO_BADGE)
        is_replica = container.origin != container.name
        key = (container.origin, container.host, badge.state, badge.sign, "" if is_replica else container.name)
        alike.setdefault(key, []).append(container)
    groups: dict[NodeId, tuple[Container, ...]] = {}
    for containers in alike.values():
        if len(containers) >= FOLD:
            groups[NodeId("container", f"{containers[0].name} … {containers[-1].name}")] = tuple(containers)
        else:
            groups |= {NodeId("container", each.name): (each,) for each in containers}
    return groups


def _containers(topology: Topology, resolved: Resolved, drawn: _Drawn) -> Iterator[GraphNode]:
    for id_, containers in drawn.groups.items():
        first, badge = containers[0], drawn.badge(containers)
        title = first.name if len(containers) == 1 else f"{first.origin} \u00d7{len(containers):,}"
        lines = [f"{first.name} … {containers[-1].name}"] if len(containers) > 1 else []
        lines += [first.spec.image] if first.spec.image else []
        lines += [f"network of {first.share}"] if first.share else []
        lines += _addresses(resolved, containers)
        if any(host in drawn.folded for one in first.publications for host in one.hosts):
            texts = [render_ports(one) for one in first.publications]
            lines += [*texts[:2], *([f"and {len(texts) - 2} more ports"] if len(texts) > 2 else [])]
        lines += [badge.words] if badge.words else []
        yield GraphNode(
            id_,
            first.host,
            title,
            tuple(each.name for each in containers),
            tuple(lines),
            band=next((each.subnet for each in first.attachments), ""),
            badge=badge,
            details=container_details(topology, resolved, containers, badge),
        )


def _addresses(resolved: Resolved, containers: Sequence[Container]) -> Iterator[str]:
    first, last = (resolved.endpoints.get(each.name, ()) for each in (containers[0], containers[-1]))
    for number, endpoint in enumerate(first):
        for index, own in enumerate(endpoint.addresses):
            to = f" … {last[number].addresses[index].address}" if len(containers) > 1 and own.family == 4 else ""
            yield f"{own.address}{to}"


def _gone(topology: Topology, drawn: _Drawn) -> Iterator[GraphNode]:
    """Containers that are live and not in the file."""
    known = {container.name for container in topology.declared}
    for (host, subject), badge in drawn.badges.items():
        name = subject.container_name
        if name and name not in known and host in topology.hosts:
            details = (Detail("container", name), Detail("host", host), *badge_details(badge))
            yield GraphNode(
                NodeId("container", name), host, name, (name,), tuple(filter(None, (badge.words,))), badge=badge, details=details
            )


# --- published ports --------------------------------------------------------------------------------------------------


def _ports(topology: Topology, drawn: _Drawn) -> Iterator[GraphNode]:
    for id_, (target, texts) in drawn.ports.items():
        more = (f"and {len(texts) - PORT_LINES} more",) if len(texts) > PORT_LINES else ()
        details = (Detail("published by", id_.host), Detail("leads to", target.name), *(Detail("port", text) for text in texts))
        yield GraphNode(id_, id_.host, f"to {_title(drawn, target)}", (), (*texts[:PORT_LINES], *more), details=details)
    for host, count in drawn.folded.items():
        if host in topology.hosts:
            text = f"of {count:,} containers, which say their ports"
            yield GraphNode(
                NodeId("ports", "", host), host, "published ports", (), (text,), details=(Detail("published by", host),)
            )


def _title(drawn: _Drawn, id_: NodeId) -> str:
    containers = drawn.groups[id_]
    return containers[0].name if len(containers) == 1 else containers[0].origin


def _port_wires(topology: Topology, drawn: _Drawn) -> Iterator[Wire]:
    """From the outside to the host, from the host to the ports, and from the ports to what they lead to."""
    listening = {*(id_.host for id_ in drawn.ports), *drawn.folded}
    for host in (host for host in topology.hosts if host in listening):
        by = (Detail("published by", host),)
        yield Wire("port", OUTSIDE, NodeId("host", host), f"outside {host}", details=by)
        if host in drawn.folded:
            yield Wire("cable", NodeId("ports", "", host), NodeId("host", host), f"listen {host}", details=by)
    for id_, (target, texts) in drawn.ports.items():
        details = (Detail("published by", id_.host), *(Detail("port", text) for text in texts))
        yield Wire("cable", id_, NodeId("host", id_.host), f"listen {id_.host}", details=details)
        yield Wire("port", id_, target, f"port {target}", details=details)


# --- hosts, subnets, cables and policies ------------------------------------------------------------------------------


def _columns(topology: Topology, badges: Badges) -> Iterator[Column]:
    for host in topology.hosts.values():
        badge = badges.get((host.name, HOST_SUBJECT), NO_BADGE)
        addresses = tuple(str(address) for address in host.addresses)
        yield Column(NodeId("host", host.name), render_connect(host), addresses, badge, host_details(topology, host, badge))


def _bars(topology: Topology, resolved: Resolved, badges: Badges) -> Iterator[Bar]:
    for subnet in topology.subnets.values():
        present = tuple(found[subnet.name] for found in resolved.host_subnets.values() if subnet.name in found)
        badge = _merge(badges, topology.hosts, Subject.subnet(subnet.name))
        yield Bar(
            NodeId("subnet", subnet.name),
            subnet.mode,
            tuple(str(cidr) for cidr in subnet.cidrs),
            {each.host: next((own.address for own in each.addresses), "") for each in present},
            _join(topology, present),
            badge,
            subnet_details(topology, subnet, present, badge),
        )


def _join(topology: Topology, present: Sequence[HostSubnet]) -> str:
    """What connects the hosts of a subnet: its tunnels, routes, both, or the LAN."""
    peers = [peer for each in present for peer in each.peers]
    tunnel = topology.subnets[present[0].subnet].tunnel if present else ""
    words = [tunnel] * any(peer.is_tunnelled for peer in peers) + ["routes"] * any(not peer.is_tunnelled for peer in peers)
    is_lan = bool(present and topology.subnets[present[0].subnet].is_lan)
    return ", ".join(words) or ("LAN" if is_lan and len(present) > 1 else "")


def _gone_bars(topology: Topology, badges: Badges) -> Iterator[Bar]:
    gone = dict.fromkeys(subject for _, subject in badges if subject.sort == "subnet" and subject.name not in topology.subnets)
    for subject in gone:
        badge = _merge(badges, topology.hosts, subject)
        hosts = {host: "" for host, other in badges if other == subject and host in topology.hosts}
        if hosts:
            yield Bar(NodeId("subnet", subject.name), "", (), hosts, "", badge, tuple(badge_details(badge)))


def _merge(badges: Badges, hosts: Iterable[str], subject: Subject) -> Badge:
    """The worst badge of all hosts; each text begins with the host's name if there are several."""
    found = {host: badges[host, subject] for host in hosts if (host, subject) in badges}
    if not found:
        return NO_BADGE
    states, signs = {each.state for each in found.values()}, {each.sign for each in found.values()} - {""}
    sign = signs.pop() if len(signs) == 1 else "~" if signs else ""
    texts = (f"{host}: {text}" if len(found) > 1 else text for host, each in found.items() for text in each.texts)
    return Badge(next(state for state in WORST if state in states), sign, tuple(texts))


def _cables(drawn: _Drawn) -> Iterator[Wire]:
    """A cable from each node to each of its subnets. Members of one subnet in one row share it."""
    for id_, containers in drawn.groups.items():
        for attachment in containers[0].attachments:
            yield Wire("cable", id_, NodeId("subnet", attachment.subnet), f"cable {attachment.subnet}")


def _policies(topology: Topology, drawn: _Drawn) -> Iterator[Wire]:
    for number, policy in enumerate(topology.policies):
        badge = _merge(drawn.badges, topology.hosts, policy.subject)
        details = policy_details(topology, policy, number, badge)
        label = " ".join(filter(None, (badge.sign, render_policy_ports(policy.ports))))
        for source, target in _ends(topology, drawn, policy):
            yield Wire(
                "policy", source, target, f"policy to {policy.target.name or policy.target.kind} {label}", label, badge, details
            )


def _ends(topology: Topology, drawn: _Drawn, policy: Policy) -> Iterator[tuple[NodeId, NodeId]]:
    """The pairs of nodes between which the policy is drawn. `host` is every host with a node of the other end."""
    for source in _party(topology, drawn, policy.source, policy.target):
        for target in _party(topology, drawn, policy.target, policy.source):
            if source != target:
                yield source, target


def _party(topology: Topology, drawn: _Drawn, party: Party, other: Party) -> tuple[NodeId, ...]:
    match party.kind:
        case "outside":
            return (OUTSIDE,)
        case "subnet":
            return (NodeId("subnet", party.name),)
        case "container":
            return drawn.parties.get(party.name, ())
        case "host":
            return tuple(NodeId("host", host) for host in _hosts_of(topology, drawn, other))


def _hosts_of(topology: Topology, drawn: _Drawn, party: Party) -> tuple[str, ...]:
    if party.kind == "container":
        return tuple(dict.fromkeys(drawn.groups[id_][0].host for id_ in drawn.parties.get(party.name, ())))
    if party.kind == "subnet":
        inside = (each.host for each in topology.declared if any(one.subnet == party.name for one in each.attachments))
        return tuple(dict.fromkeys(inside))
    return tuple(topology.hosts)
