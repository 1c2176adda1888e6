"""What is foreign on a host and may be in the way of a topology: named here, judged by `compile`, which knows what is wanted.

Called by `kernel.facts` in a thread that is in the host's namespace. Nothing is changed. An engine's networks are seen by
their routes, and its ports by who listens and by its rules, so that it need not be asked.

    route       name: its link      detail: its destination (CIDR)
    link        name: its name      detail: its kind
    vxlan       name: its name      detail: its number and UDP port, `77 4789`
    interface   name: a container   detail: the name of a link in an existing container that is not ours
    shared      name: a container   detail: another that is in the same network namespace; "" for the host itself
    listener    name: who listens   detail: `tcp 0.0.0.0 8080`
    port        name: who publishes detail: `tcp 0.0.0.0 8080`
    container   name: in the engine detail: the engine and its state, `docker running` or `podman exited` …
    drop        name: who drops     detail: the chain, `ip filter FORWARD` (see `drops`)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from reconciler.kernel.context import KernelContext
from reconciler.kernel.engine import Wanted, engine_of
from reconciler.kernel.iptables import DOCKER_NAT_CHAIN, read_docker_ports
from reconciler.kernel.listeners import read_listeners
from reconciler.kernel.nftdump import ChainInfo, TableReader
from reconciler.kinds.links.marks import bears_tag
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.kinds.openvswitch import own_switches
from reconciler.state.host import Obstacle
from reconciler.state.naming import ROUTE_PROTOCOL, group_of, parse_alias
from reconciler.state.ref import HOST, container_netns
from reconciler.state.snapshot import ContainerInfo, LinkInfo, NamespaceInfo, RouteInfo, Snapshot

LOOPBACK = 1
TABLE_PREFIX = "netctl-"
DOCKER_CHAIN = "DOCKER-USER"
FAMILY_TOOLS = (("ip", "iptables"), ("ip6", "ip6tables"))
EVERYWHERE = {"4": "0.0.0.0", "6": "::"}


def is_own(topology: str, link: LinkInfo) -> bool:
    """Whether a link on a host is the topology's own. The uplink of a lab host belongs to the lab, as a cable would."""
    if not bears_tag(topology, link):
        return False
    alias = parse_alias(link.alias)
    return alias is None or (alias.topology == topology and alias.kind != "lab")


def is_another_topologys(topology: str, link: LinkInfo) -> bool:
    """Whether a link was made by netctl for another topology."""
    alias = parse_alias(link.alias)
    return alias is not None and alias.topology != topology and link.group == group_of(alias.topology)


# --- of the snapshot --------------------------------------------------------------------------------------------------


def find_routes(snapshot: Snapshot) -> Iterator[Obstacle]:
    """Routes that a subnet may overlap: all but default routes, our own, and what every link has for itself."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    for route in host.routes:
        link = host.links.get(route.index)
        if route.dst in ("default", "::1") or route.dst.startswith(("fe80:", "ff00:", "127.")):
            continue
        if route.form and (link is None or link.index == LOOPBACK):  # of no link: IPv6 says the loopback's
            yield Obstacle("route", route.form, route.dst, f"choose another CIDR, or remove it: {_route_delete(route)}")
            continue
        another = link is not None and is_another_topologys(snapshot.topology, link)
        if link is None or is_own(snapshot.topology, link) or (route.protocol == ROUTE_PROTOCOL and not another):
            continue
        help_text = (
            "" if another else f"choose another CIDR, or remove it: ip -{route.family} route delete {route.dst} dev {link.name}"
        )
        yield Obstacle("route", link.name, route.dst, help_text)


def _route_delete(route: RouteInfo) -> str:
    return f"ip -{route.family} route delete {route.form} {route.dst}" + (f" metric {route.metric}" if route.metric else "")


def find_links(snapshot: Snapshot) -> Iterator[Obstacle]:
    """Links on the host that are not ours, whose names are taken."""
    # A kill may come between the making of an Open vSwitch bridge, marked in its database, and the mark on its link.
    switches = {bridge.name for bridge, _ in own_switches(snapshot)}
    for link in snapshot.namespaces.get(HOST, NamespaceInfo()).links.values():
        if not is_own(snapshot.topology, link) and link.index != LOOPBACK and link.name not in switches:
            yield Obstacle("link", link.name, link.kind)
            for altname in link.altnames:
                remedy = f"take it off: ip link property delete dev {link.name} altname {altname}"
                yield Obstacle("link", altname, link.kind, remedy)
            if link.kind == Vxlan.kind:
                options = dict(link.options)
                yield Obstacle("vxlan", link.name, f"{options.get('id', '')} {options.get('dstport', '')}")


def find_interfaces(snapshot: Snapshot) -> Iterator[Obstacle]:
    """Links in existing containers that are not the far ends of ours, and that the container has not made itself.

    Those have their other end, or the link below them, elsewhere, or are hardware: they were given to the container, and serve
    it. What its root makes is in the container as a whole, and gives way (`kinds.stray`): else one could stop every apply.
    """
    host = snapshot.namespaces.get(HOST, NamespaceInfo()).links.values()
    # Of whichever container: one that shares a namespace with another is reported as that (`find_shared`).
    wired = {(link.peer, link.index) for link in host if link.kind == "veth" and is_own(snapshot.topology, link)}
    for info in snapshot.containers:
        if info.existing:
            inside = snapshot.namespaces.get(container_netns(info.container), NamespaceInfo())
            for link in inside.links.values():
                is_given = link.index != LOOPBACK and not (link.kind and link.local_peer)
                if is_given and (link.index, link.peer) not in wired and not is_own(snapshot.topology, link):
                    yield Obstacle("interface", info.container, link.name, _disconnect(info))


def _disconnect(info: ContainerInfo) -> str:
    """What takes an engine's interfaces out of a container that somebody else runs."""
    commands = [f"{info.runtime} network disconnect {network} {info.engine_name}" for network in info.networks]
    return f"{'; '.join(commands)}, or re-create it with `--network none`" if commands else ""


# --- of the host ------------------------------------------------------------------------------------------------------


def find_listeners() -> Iterator[Obstacle]:
    """Sockets that a published port would take the packets from."""
    for one in read_listeners():
        tool = f"ss -Hln{one.protocol[0]}p sport = :{one.port}"
        yield Obstacle("listener", one.holder or "a process", f"{one.protocol} {one.address} {one.port}", f"who: {tool}")


def find_others_ports(reader: TableReader, topology: str, chains: Iterable[ChainInfo]) -> Iterator[Obstacle]:
    """What other topologies of netctl publish on the host."""
    own = TABLE_PREFIX + topology
    names = {chain.table for chain in chains if chain.family == "inet" and chain.table.startswith(TABLE_PREFIX)}
    for name in sorted(names - {own}):
        table = reader.read_table("inet", name)
        for where, key, _ in table.elements if table else ():
            if where.startswith("published"):
                yield Obstacle("port", f"topology {name.removeprefix(TABLE_PREFIX)}", parse_published(where, key))


def parse_published(where: str, key: str) -> str:
    """`tcp 0.0.0.0 8080` of an element of a set `published4`, `published_at4` or `published_from4` (kinds.firewall_program)."""
    parts = key.split(" . ")
    if where.startswith("published_"):
        address = parts[1].removesuffix("/0")
        return f"{parts[0]} {address} {parts[2]}"
    return f"{parts[0]} {EVERYWHERE[where[-1]]} {parts[1]}"


def find_docker_user(chains: tuple[ChainInfo, ...]) -> tuple[str, ...]:
    """The iptables commands whose DOCKER-USER chain is there, among the chains that nftables shows."""
    names = {(chain.family, chain.table, chain.name) for chain in chains}
    return tuple(tool for family, tool in FAMILY_TOOLS if (family, "filter", DOCKER_CHAIN) in names)


def find_docker_ports(chains: Iterable[ChainInfo]) -> Iterator[Obstacle]:
    """The ports that Docker publishes, by its rules: also where no proxy of its own listens (`--userland-proxy=false`)."""
    names = {(chain.family, chain.table, chain.name) for chain in chains}
    tools = [tool for family, tool in FAMILY_TOOLS if (family, "nat", DOCKER_NAT_CHAIN) in names]
    for tool in tools:
        for detail in read_docker_ports(tool):
            port = detail.split()[2]
            yield Obstacle("port", "a container of Docker's", detail, f"which: docker ps --filter publish={port}")


def find_shared(context: KernelContext, snapshot: Snapshot) -> Iterator[Obstacle]:
    """Containers of the engines that are in one network namespace with another of the topology's, or with the host."""
    found: dict[tuple[int, int], str] = {}
    places = [(context.own_netns, "")]
    places += [(f"/proc/{info.pid}/ns/net", info.container) for info in snapshot.containers if info.pid and not info.parked]
    for path, container in places:
        try:
            status = os.stat(path)
        except (FileNotFoundError, ProcessLookupError):
            continue  # a lab host that is not there yet, or a container that has just ended
        other = found.setdefault((status.st_dev, status.st_ino), container)
        if other != container:
            yield Obstacle("shared", container, other)


def find_containers(context: KernelContext, wanted: Wanted) -> Iterator[Obstacle]:
    """The containers that are not ours in the engines of which the file names containers."""
    for runtime in wanted:
        for name, state in engine_of(context, runtime).read_foreign():
            yield Obstacle("container", name, f"{runtime} {state}")
