"""The mark on the topology's links: the links of a snapshot that carry it, and its content.

A link is owned if its IFLA_GROUP is the topology's tag, and its alias does not name another topology. A missing alias
is still to be written. The message that creates the link sets the tag, and only the next one the alias. netctl may be
killed in between. An administrator may have written another alias. Such links are in the host's own namespace, and in
the lab's router. The remote end of a veth carries no mark: it is owned because its local end is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.kinds.identity import container_ref, holder_ref, netns_ref
from reconciler.state.lab import ROUTER_NETNS
from reconciler.state.naming import DIRECT, Alias, doomed_group_of, group_of, parse_alias
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import LinkInfo, Snapshot
from reconciler.state.subject import LAB_SUBJECT, Subject, subject_in

MARKED = (HOST, ROUTER_NETNS)
"""The namespaces in which links carry netctl's mark."""

CONTAINER_LINKS = ("veth", "macvlan")
"""The kinds in aliases of containers' links; except for the lab's, all others belong to subnets."""

ALTNAME_MAX = 127
"""ALTIFNAMSIZ less the closing NUL (linux/if.h)."""


@dataclass(frozen=True, slots=True)
class OwnLink:
    """A marked link: its namespace and owner, its properties, and its alias (None if that is not netctl's)."""

    topology: str
    netns: str
    info: LinkInfo
    alias: Alias | None


def bears_tag(topology: str, info: LinkInfo) -> bool:
    """Whether the link's group is the topology's; or of a container's link, is 0 while the alias still names the topology.

    0 is the group of links without one. The other end, or the namespace, of a container's link identifies it, so half of a
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
            # The lab's router is owned as a whole: there an alias is enough, or without one a name.
            is_named = netns != HOST and (alias.topology == snapshot.topology if alias else _is_lab_name(info))
            if not (bears_tag(snapshot.topology, info) or is_named):
                continue
            if alias is None or alias.topology == snapshot.topology:
                yield OwnLink(snapshot.topology, netns, info, alias)


def _is_lab_name(info: LinkInfo) -> bool:
    """Whether a link of the lab's router has a name of `compile.lab`, and no alias."""
    return not info.alias and (info.name == "outside" or info.name.startswith(("s-", "h-")))


def about(alias: Alias | None, netns: str) -> Subject:
    """The owner of a link, for users: by its namespace, or else by its alias."""
    if alias is None:
        return subject_in(netns)
    if alias.kind == "lab":
        return LAB_SUBJECT
    whose = Subject.container if alias.kind in CONTAINER_LINKS else Subject.subnet
    return subject_in(netns, whose(alias.name))


def is_direct(alias: str) -> bool:
    """Whether a link's alias says that it is a bridge that replaces the host's uplink."""
    parsed = parse_alias(alias)
    return parsed is not None and parsed.kind == DIRECT


def owner_of(snapshot: Snapshot, netns: str) -> Ref | None:
    """The record of a namespace: a file of netctl's, a holder, or an engine's container; None for the host's own."""
    if netns == HOST:
        return None
    if netns in snapshot.holders:
        return holder_ref(netns)
    if netns in snapshot.mounted:
        return netns_ref(netns)
    return container_ref(netns)


def altname_of(alias: Alias, name: str, suffix: str = "") -> str:
    """The long readable second name of a link, `shop-web-front`; "" if that is already its name."""
    parts = (alias.topology, alias.name, alias.subnet) if alias.subnet else (alias.topology, alias.name)
    if alias.kind == "lab":
        parts = (alias.topology, "lab", alias.name)
    altname = ("-".join(parts) + suffix)[:ALTNAME_MAX]
    return "" if altname == name else altname


def read_altname(link: OwnLink, name_of: Callable[[Alias, str], str] = altname_of) -> str:
    """The altname that its alias asks for, if the link has it; others are an administrator's, and netctl ignores them.

    Without that, it is the one that begins with the topology's name: the alias may be missing, or another link's. The
    kernel would reject the same altname a second time (EEXIST).
    """
    wanted = name_of(link.alias, link.info.name) if link.alias else None
    if wanted == "" or wanted in link.info.altnames:
        return wanted or ""
    return next((name for name in link.info.altnames if name.startswith(f"{link.topology}-")), "")
