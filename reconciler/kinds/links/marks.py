"""The mark on the topology's links: which links of a snapshot carry it, and what it says.

A link is ours when its IFLA_GROUP is the topology's tag, and its alias does not name another topology. An alias that is missing
is still to be written (the tag is set in the message that makes the link, the alias only in the next one, so a crash may fall
between them), and one that says something else is an administrator's doing. Such links stand in the host's own namespace, and
in the lab's router. The far end of a veth carries no mark: it is ours because its near end is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.kinds.identity import container_ref, netns_ref
from reconciler.state.naming import DIRECT, Alias, doomed_group_of, group_of, parse_alias
from reconciler.state.ref import HOST, Ref, lab_netns
from reconciler.state.snapshot import LinkInfo, Snapshot
from reconciler.state.subject import LAB, subject_in

MARKED = (HOST, lab_netns("router"))
"""The namespaces in which links carry our mark."""

CONTAINER_LINKS = ("veth", "macvlan")
"""What aliases call the links of containers; any other, but those of the lab, is a subnet's."""

ALTNAME_MAX = 127
"""ALTIFNAMSIZ less the closing NUL (linux/if.h)."""


@dataclass(frozen=True, slots=True)
class OwnLink:
    """A marked link: whose and where it is, what was read of it, and what its alias says (None where it says nothing of ours)."""

    topology: str
    netns: str
    info: LinkInfo
    alias: Alias | None


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
    """The topology's links of a kind ("bridge", "veth") in the namespaces in which links carry the mark."""
    for netns in MARKED:
        for info in snapshot.namespace(netns).links.values():
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


def about(alias: Alias | None, netns: str) -> str:
    """Whose a link is, for people: by its namespace, or else by its alias."""
    if alias is None:
        return subject_in(netns)
    if alias.kind == "lab":
        return LAB
    whose = "container" if alias.kind in CONTAINER_LINKS else "subnet"
    return subject_in(netns, f"{whose} {alias.name}")


def is_direct(alias: str) -> bool:
    """Whether a link's alias says that it is a bridge in the place of the host's uplink."""
    parsed = parse_alias(alias)
    return parsed is not None and parsed.kind == DIRECT


def owner_of(snapshot: Snapshot, netns: str) -> Ref | None:
    """What a namespace belongs to: a mount of ours, or an engine's container; None for the host's own."""
    if netns == HOST:
        return None
    if netns in snapshot.mounted:
        return netns_ref(netns)
    return container_ref(netns)


def altname_of(alias: Alias, name: str, suffix: str = "") -> str:
    """The long readable second name of a link, `shop-web-front`; "" if that is its name already."""
    parts = (alias.topology, alias.name, alias.subnet) if alias.subnet else (alias.topology, alias.name)
    if alias.kind == "lab":
        parts = (alias.topology, "lab", alias.name)
    altname = ("-".join(parts) + suffix)[:ALTNAME_MAX]
    return "" if altname == name else altname


def read_altname(link: OwnLink, name_of: Callable[[Alias, str], str] = altname_of) -> str:
    """The altname that its alias asks for, where the link has it; others are an administrator's, and let alone.

    Where the alias is gone, it is the one that begins with the topology's name: to add it again would be refused (EEXIST).
    """
    if link.alias is None:
        return next((name for name in link.info.altnames if name.startswith(f"{link.topology}-")), "")
    wanted = name_of(link.alias, link.info.name)
    return wanted if wanted in link.info.altnames else ""
