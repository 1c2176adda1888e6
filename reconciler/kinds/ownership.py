"""Which links of a snapshot are the topology's own, and what they belong to.

Called by the kinds whose things live on links: bridges and veths themselves, addresses, routes and neighbors.

A link is ours when its IFLA_GROUP is the topology's tag, and its alias does not name another topology. An alias that is missing
is still to be written (the tag is set in the message that makes the link, the alias only in the next one, so a crash may fall
between them), and one that says something else is an administrator's doing. Such links stand in the host's own namespace, and
in the lab's router. The far end of a veth carries no mark: it is ours because its near end is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from reconciler.kinds.identity import container_ref, netns_ref, openvswitch_ref
from reconciler.state.naming import DIRECT, Alias, doomed_group_of, group_of, parse_alias
from reconciler.state.ref import HOST, Ref, lab_netns
from reconciler.state.snapshot import LinkInfo, NamespaceInfo, OvsBridgeInfo, OvsPortInfo, Snapshot

MARKED = (HOST, lab_netns("router"))
"""The namespaces in which links carry our mark."""

CONTAINER_LINKS = ("veth", "macvlan")
"""What aliases call the links of containers."""

ALTNAME_MAX = 127
"""ALTIFNAMSIZ less the closing NUL (linux/if.h)."""


OVS_TOPOLOGY = "netctl:topology"
"""The key in the `external_ids` of Open vSwitch's bridges and ports under which their topology stands."""
OVS_UPLINK = "netctl:uplink"
"""The key in those of a port that is the host's uplink."""
UPLINK_NUMBER = 65000
"""The OpenFlow number of the uplink in a bridge of ours: its rule can be there before it is. 65,279 is the largest there is."""


class End(NamedTuple):
    """An interface of ours: its name, the link that it is an end of, and whose it is, for people."""

    name: str
    link: Ref
    about: str


Ends = Mapping[str, Mapping[int, End]]
"""By namespace and interface number."""


@dataclass(frozen=True, slots=True)
class OwnLink:
    """A marked link: whose and where it is, what was read of it, and what its alias says (None where it says nothing of ours)."""

    topology: str
    netns: str
    info: LinkInfo
    alias: Alias | None

    @property
    def ref(self) -> Ref:
        """Its identity: the kind of a link of netctl's is what the kernel calls it."""
        kind, name = self.info.kind, self.info.name
        if kind == "macvlan":
            name = macvlan_ident(name, dict(self.info.options).get("mode", ""))
        return Ref(kind, self.netns, name)


def bears_tag(topology: str, info: LinkInfo) -> bool:
    """Whether the link's group is the topology's, or for a container's link, is 0 while the alias still names the topology.

    0 is the group of links that are in none. The other end, or the place, of a container's link says what it is, so half of a
    mark is enough to repair it. A bridge without the group stays foreign.
    """
    if info.group in (group_of(topology), doomed_group_of(topology)):
        return True
    alias = parse_alias(info.alias) if info.group == 0 else None
    return alias is not None and alias.topology == topology and alias.kind in CONTAINER_LINKS


def own_links(snapshot: Snapshot, link_kind: str) -> Iterator[OwnLink]:
    """The topology's links of a kind ("bridge", "veth")."""
    for netns in MARKED:
        namespace = snapshot.namespaces.get(netns)
        for info in namespace.links.values() if namespace else ():
            if info.kind != link_kind:
                continue
            alias = parse_alias(info.alias)
            # The lab's router is ours as a whole: there an alias is enough, or without one a name.
            is_named = netns != HOST and (alias.topology == snapshot.topology if alias else _is_lab_name(info))
            if not (bears_tag(snapshot.topology, info) or is_named):
                continue
            if alias is None or alias.topology == snapshot.topology:
                yield OwnLink(snapshot.topology, netns, info, alias)


def _is_lab_name(info: LinkInfo) -> bool:
    """Whether a link of the lab's router is called as `compile.lab` calls its own, and nobody has written on it."""
    return not info.alias and (info.name == "outside" or info.name.startswith(("s-", "h-")))


def own_macvlans(snapshot: Snapshot) -> Iterator[OwnLink]:
    """The topology's macvlans: they carry its mark where they are, in containers and in the host's own namespace.

    The root of a container can write our mark on one of its own. That is told by the link below it, which is in the container;
    that of ours is the host's.
    """
    for netns, namespace in snapshot.namespaces.items():
        # To the lab, a lab host's own macvlans are the host's affair.
        for info in namespace.links.values() if not netns.startswith("lab:") else ():
            is_forged = netns != HOST and info.local_peer
            if info.kind == "macvlan" and bears_tag(snapshot.topology, info) and not is_forged:
                alias = parse_alias(info.alias)
                if alias is None or alias.topology == snapshot.topology:
                    yield OwnLink(snapshot.topology, netns, info, alias)


def macvlan_ident(name: str, mode: str) -> str:
    """One that has an uplink to itself is another thing than one that shares it: each can be made only when the other is gone."""
    return f"{name} passthru" if mode == "passthru" else name


def find_peer(snapshot: Snapshot, link: OwnLink) -> tuple[str, LinkInfo] | None:
    """The far end of a veth and its namespace; None where it cannot be told.

    Interface numbers are per namespace. Where the alias does not say in which namespace to look, the two ends are known by
    naming each other; an end that several namespaces could hold stays unknown. The root of a container can choose the numbers
    of a pair of its own, but both ends of that are in one namespace.
    """
    found = [
        (netns, peer)
        for netns in _peer_namespaces(snapshot, link)
        if (namespace := snapshot.namespaces.get(netns))
        and (peer := namespace.links.get(link.info.peer))
        and peer.kind == "veth"
        and not (peer.local_peer or link.info.local_peer)
        and peer.peer == link.info.index
        and peer is not link.info
    ]
    return found[0] if len(found) == 1 else None


def _peer_namespaces(snapshot: Snapshot, link: OwnLink) -> Iterator[str]:
    if link.alias is None:
        yield from (netns for netns in snapshot.namespaces if netns not in MARKED)
    else:
        yield f"{'lab' if link.alias.kind == 'lab' else 'container'}:{link.alias.name}"


def own_switches(snapshot: Snapshot) -> Iterator[tuple[OvsBridgeInfo, OwnLink | None]]:
    """The topology's Open vSwitch bridges, each with its internal port, the link of the same name; None where that is not there.

    Their mark stands in the OVSDB, and is written together with the bridge. Where somebody took it off, the link's tells.
    """
    links = {info.name: info for info in links_of(snapshot, HOST).links.values()}
    groups = (group_of(snapshot.topology), doomed_group_of(snapshot.topology))
    for bridge in snapshot.ovs_bridges:
        owner = dict(bridge.external_ids).get(OVS_TOPOLOGY)
        info = links.get(bridge.name)
        alias = parse_alias(info.alias) if info else None
        is_marked = info is not None and info.group in groups and alias is not None and alias.topology == snapshot.topology
        if owner == snapshot.topology or (owner is None and is_marked):
            yield bridge, OwnLink(snapshot.topology, HOST, info, alias) if info else None


def is_uplink_port(port: OvsPortInfo) -> bool:
    """Whether a port of an Open vSwitch bridge is the host's uplink, which netctl has put there."""
    return port.number == UPLINK_NUMBER or OVS_UPLINK in dict(port.external_ids)


def bridge_name_of(snapshot: Snapshot, netns: str, info: LinkInfo) -> str:
    """The bridge that a link is a port of, as the kernel has it; "" where it is none.

    Ports of Open vSwitch's kernel datapath all have `ovs-system` as their master; which bridge they are at, the OVSDB says.
    """
    master = links_of(snapshot, netns).links.get(info.master)
    return master.name if master and master.kind != "openvswitch" else ""


_latest: list[tuple[Snapshot, Ends]] = []
"""What was found last: three kinds ask in turn, of the same snapshot."""


def own_ends(snapshot: Snapshot) -> Ends:
    """Every interface that is a bridge or a macvlan of ours, or either end of a veth of ours."""
    if not _latest or _latest[0][0] is not snapshot:
        _latest[:] = [(snapshot, _find_ends(snapshot))]
    return _latest[0][1]


def _find_ends(snapshot: Snapshot) -> Ends:
    ends: dict[str, dict[int, End]] = {}
    for link in own_macvlans(snapshot):
        ends.setdefault(link.netns, {})[link.info.index] = End(link.info.name, link.ref, about(link.alias, link.netns))
    for kind in ("bridge", "veth"):
        for link in own_links(snapshot, kind):
            if link.alias and link.alias.kind == DIRECT:
                continue  # what it has for addresses is the host's own
            ref = link.ref
            near = End(link.info.name, ref, about(link.alias, link.netns))
            ends.setdefault(link.netns, {})[link.info.index] = near
            if kind == "veth" and (far := find_peer(snapshot, link)):
                netns, peer = far
                end = End(peer.name, ref, about(None, netns))
                ends.setdefault(netns, {})[peer.index] = end
                if master := _direct_bridge(snapshot, netns, peer):
                    ends[netns][master.index] = end
    for bridge, internal in own_switches(snapshot):
        if internal and not (internal.alias and internal.alias.kind == DIRECT):
            ref = openvswitch_ref(HOST, bridge.name)
            ends.setdefault(HOST, {})[internal.info.index] = End(bridge.name, ref, about(internal.alias, HOST))
    return ends


def _direct_bridge(snapshot: Snapshot, netns: str, link: LinkInfo) -> LinkInfo | None:
    """The bridge that has taken a lab host's uplink in, and its addresses with it: to the lab they are the uplink's as before.

    Only a lab host has one: in a container, an alias that says so is the container's own word.
    """
    if not netns.startswith("lab:"):
        return None
    master = links_of(snapshot, netns).links.get(link.master)
    alias = parse_alias(master.alias) if master else None
    return master if alias and alias.kind == DIRECT else None


def about(alias: Alias | None, netns: str) -> str:
    """Whose a link is, for people: by its alias, or else by its namespace."""
    if alias is None:
        return netns.replace(":", " ") or "host"
    if alias.kind == "lab":
        return f"lab {alias.name}"
    return f"subnet {alias.name}" if alias.kind in ("bridge", DIRECT, "vxlan", "shim") else f"container {alias.name}"


def links_of(snapshot: Snapshot, netns: str) -> NamespaceInfo:
    """What was read of a namespace; nothing, where it was not there."""
    return snapshot.namespaces.get(netns) or NamespaceInfo()


def owner_of(snapshot: Snapshot, netns: str) -> Ref | None:
    """What a namespace belongs to: a mount of ours, or an engine's container; None for the host's own."""
    if netns == HOST:
        return None
    if netns in snapshot.mounted:
        return netns_ref(netns)
    return container_ref(netns)


def altname_of(alias: Alias, name: str) -> str:
    """The long readable second name of a link, `shop-web-front`; "" where that is its name already."""
    parts = (alias.topology, alias.name, alias.subnet) if alias.subnet else (alias.topology, alias.name)
    if alias.kind == "lab":
        parts = (alias.topology, "lab", alias.name)
    if alias.kind == "vxlan":  # a dot is in no name of a file, so no bridge or veth has this one
        parts = (alias.topology, f"{alias.name}.vxlan")
    altname = "-".join(parts)[:ALTNAME_MAX]
    return "" if altname == name else altname


def read_altname(link: OwnLink) -> str:
    """The altname that its alias asks for, where the link has it; others are an administrator's, and let alone.

    Where the alias is gone, it is the one that begins with the topology's name: to add it again would be refused (EEXIST).
    """
    if link.alias is None:
        return next((name for name in link.info.altnames if name.startswith(f"{link.topology}-")), "")
    wanted = altname_of(link.alias, link.info.name)
    return wanted if wanted in link.info.altnames else ""


def pick(options: tuple[tuple[str, str], ...], keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The options that netctl has a say in, out of all that were read."""
    return tuple(option for option in options if option[0] in keys)
