"""What would let a packet pass that does not: the key of the topology file to write."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.explain.ask import OUTSIDE_WORD, PathAnswer
from reconciler.state.ref import container_of
from reconciler.topology.types import Container, Path, Topology

REPAIR = "run `netctl apply`: something that the file asks for is not there"


@dataclass(frozen=True, slots=True)
class Remedy:
    """The advice, and the place in the file that it is about."""

    words: str
    path: Path = ()


def find_remedy(answer: PathAnswer) -> Remedy | None:
    """The remedy for a path that ends; None if there is none, or if it passes."""
    if answer.passes:
        return None
    trail = answer.there if answer.back is None or answer.there.end not in ("arrives", "leaves") else answer.back
    topology = answer.world.topology
    source, target = _container(answer, answer.question.start), _container(answer, answer.question.target.name)
    match trail.cause:
        case "policy":
            return _policy(topology, answer, source, target)
        case "guarded" | "local" | "route" if target and not source:
            return _publish(topology, answer, target)
        case "host":
            return _published_from(topology, answer, target)
        case "isolated" if source:
            return Remedy(f"remove `isolated: true` from {source.name}, or from the other end", _network(source))
        case "hairpin" if target:
            return Remedy(f"write `hairpin: true` in a network of {target.name}", _network(target))
        case "route" if source:
            return Remedy(f"give {source.name} a network with a default route, or a `routes` entry", _network(source))
        case "forwarding":
            words = "write `sysctls: {net.ipv4.conf.IFNAME.forwarding: 1}` in a network of the container that is to route"
            return Remedy(words, ("containers",))
        case "stacked":
            return Remedy("write `type: bridge` in the subnet, so that its containers and their host meet", ("subnets",))
        case "down" | "missing" | "fdb" | "mac" | "address":
            return Remedy(REPAIR) if not answer.world.is_file_only else None
        case "spoofed" | "kind":
            return Remedy(
                "a container may send from its own addresses only: write each address in its `networks`", _network(source)
            )
    return None


def _container(answer: PathAnswer, name: str) -> Container | None:
    topology = answer.world.topology
    if name in topology.containers:
        return topology.containers[name]
    key, _ = answer.world.owners.get(name, (("", ""), ""))
    return topology.containers.get(container_of(key[1]))


def _network(container: Container | None) -> Path:
    if container is None or not container.attachments:
        return ("containers",)
    return ("containers", container.origin, "networks", container.attachments[0].subnet)


def _service(answer: PathAnswer) -> str:
    target = answer.question.target
    return f", ports: [{target.port}/{target.protocol}]" if target.port else ""


def _policy(topology: Topology, answer: PathAnswer, source: Container | None, target: Container | None) -> Remedy | None:
    if source is None:
        return _publish(topology, answer, target) if target else None
    if target:
        words = f"add to `policies`: - {{allow: {source.origin}, to: {target.origin}{_service(answer)}}}"
        return Remedy(words, ("policies",))
    default = next((each for each in source.attachments if each.default), None)
    subnet = topology.subnets.get(default.subnet) if default else None
    where: Path = ("subnets", subnet.name, "mode") if subnet else ("policies",)
    other = f", or write `mode: nat` in {subnet.name}" if subnet and subnet.mode == "isolated" else ""
    return Remedy(f"add to `policies`: - {{allow: {source.origin}, to: {OUTSIDE_WORD}{_service(answer)}}}{other}", where)


def _publish(topology: Topology, answer: PathAnswer, target: Container) -> Remedy:
    port, protocol = answer.question.target.port, answer.question.target.protocol
    suffix = f"/{protocol}" if protocol not in ("tcp", "icmp") else ""
    example = f'"{port}:{port}{suffix}"' if port else '"8080:80"'
    where: Path = ("containers", target.origin, PORTS_KEY)
    modes = {each.subnet: topology.subnets[each.subnet].mode for each in target.attachments}
    if all(mode == "isolated" for mode in modes.values()):  # such a subnet publishes nothing
        name = next(iter(modes))
        words = f"write `mode: nat` in {name}, and publish a port in {target.origin}: `{PORTS_KEY}: [{example}]`"
        return Remedy(words, ("subnets", name, "mode"))
    held = "" if where in topology.positions else f" in {target.origin}"
    return Remedy(f"publish a port{held}: `{PORTS_KEY}: [{example}]`; other networks reach published ports only", where)


def _published_from(topology: Topology, answer: PathAnswer, target: Container | None) -> Remedy | None:
    if target is None:
        return None
    port = answer.question.port or answer.question.target.port
    for publication in target.publications:
        if publication.port <= port < publication.port + publication.count and publication.sources:
            return Remedy("add the sender's address to `from`", (*publication.path, "from"))
    return _publish(topology, answer, target)


PORTS_KEY = "ports"
"""The key of published ports."""
