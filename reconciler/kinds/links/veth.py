"""A veth pair: a cable with one end at a bridge and the other in a container (or, in the lab, in a host).

The local end is in `netns` under `name` and carries netctl's mark (see `marks`). The remote end is `peer_name` in
`peer_netns`; it carries none, and is owned because the local end is. `mac` is the remote end's address, which neighbors
see. The local end is a bridge port whose address receives no frames, so the kernel chooses it.

The remote end's name and namespace are fixed at the pair's creation. The end is created under its final name in its own
namespace: moving a link costs fifty times as much, and deletes its addresses. So a change of these forces a
re-creation. All else is repaired in place.

The remote end cannot be set up in the message that creates the pair (it has no peer yet, ENOTCONN). So that is the last
step, and a container is not connected before all else is done. It is connected only behind its firewall: the pair
follows the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from reconciler.kinds.identity import element_ref, sysctl_ref
from reconciler.kinds.links.base import Link, drop_empty, loses_ipv6
from reconciler.kinds.links.marks import MARKED, OwnLink, about, owner_of
from reconciler.kinds.links.port import BridgePort
from reconciler.kinds.settings.link_settings import LINK_DEFAULTS, interface_key
from reconciler.state.naming import parse_alias
from reconciler.state.record import InterfaceKey
from reconciler.state.ref import HOST, Ref, is_container_netns
from reconciler.state.snapshot import LinkInfo, Snapshot
from reconciler.state.steps.links import LinkAdd, LinkSet, Peer
from reconciler.state.steps.step import Step
from reconciler.state.subject import Subject
from reconciler.state.summary import InterfaceFacts, Part, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth(BridgePort):
    """The pair whose local end is `name`; MTUs in bytes.

    `arp` and `link_local` belong to the local end. At a port of Open vSwitch it does not use ARP, because a user-space
    datapath works next to the host's stack. `up` says that both ends are up; `owner` is the record of the local end's
    namespace.
    """

    kind = "veth"
    is_attachment = True
    fixed = ("peer_netns", "peer_name")

    peer_netns: str
    peer_name: str
    peer_mtu: int
    peer_owner: Ref | None = None
    """The record of the remote end's namespace."""
    peer_arp: bool = True
    """Whether the remote end uses ARP."""

    is_half_down: bool = field(default=False, compare=False)
    """Whether only the local end is down."""

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        parents = super(Veth, self).depends_on
        return (*parents, self.peer_owner) if self.peer_owner else parents

    @property
    def follows(self) -> tuple[Ref, ...]:
        if self.netns != HOST:
            return ()
        port = element_ref(HOST, "bridge", "ports", self.name)
        # Settings that a new link inherits from its namespace must be right before its creation. A bridge that still
        # tests its addresses for duplicates would do so as soon as its first port is up.
        sysctls = [sysctl_ref(self.peer_netns, key) for key in LINK_DEFAULTS]
        tests_addresses = sysctl_ref(HOST, interface_key(6, self.master, "accept_dad"))
        return (*super(Veth, self).follows, port, *sysctls, tests_addresses)

    @property
    def exposed_to(self) -> str:
        # The kernel deletes the whole pair with the remote end.
        return self.peer_netns if is_container_netns(self.peer_netns) else ""

    @property
    def subject(self) -> Subject:
        return about(parse_alias(self.alias), self.peer_netns)

    @property
    def interfaces(self) -> tuple[InterfaceKey, ...]:
        return (self.netns, self.name), (self.peer_netns, self.peer_name)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return self.name, self.mac

    def phrase(self, facts: InterfaceFacts) -> Phrase | None:
        if self.netns != HOST:
            return None
        alias = parse_alias(self.alias)
        where = f" on {alias.subnet}" if alias and alias.subnet else ""
        own = facts.with_addresses(self.peer_name, self.peer_netns, self.peer_name)
        return Phrase(Part.LINKS, own + where + facts.rate(self.peer_netns, self.peer_name, self.name), self.peer_name)

    def describe(self) -> str:
        where = f" at {self.master}" if self.master else ""
        return f"veth {self.name}{where} to {self.peer_name or 'no peer'}, MTU {self.mtu}"

    @property
    def label(self) -> str:
        return self.peer_name

    def _down_label(self, live: Link) -> str:
        return (
            f"{self.name}, the host's end of {self.peer_name},"
            if isinstance(live, Veth) and live.is_half_down
            else self.peer_name
        )

    @classmethod
    def read_fields(cls, snapshot: Snapshot, link: OwnLink) -> dict[str, Any]:
        netns, peer = find_peer(snapshot, link) or ("", None)
        return super(Veth, cls).read_fields(snapshot, link) | {
            "mac": peer.mac if peer else "",
            "up": link.info.up and peer is not None and peer.up,
            "peer_netns": netns,
            "peer_name": peer.name if peer else "",
            "peer_mtu": peer.mtu if peer else 0,
            "peer_owner": owner_of(snapshot, netns),
            "peer_arp": peer is None or peer.arp,
            "is_half_down": peer is not None and peer.up and not link.info.up,
        }

    def drops(self, before: Self) -> tuple[str, ...]:
        found = super(Veth, self).drops(before)
        return (*found, "neighbor") if self.peer_arp != before.peer_arp else found

    def silenced(self, before: Self) -> tuple[InterfaceKey, ...]:
        found = super(Veth, self).silenced(before)
        return (*found, (self.peer_netns, self.peer_name)) if loses_ipv6(before.peer_mtu, self.peer_mtu) else found

    def lower_add(self) -> LinkAdd:
        peer = Peer(self.peer_netns, self.peer_name, self.mac, self.peer_mtu)
        return replace(BridgePort.lower_add(self), mac="", peer=peer)

    def lower_change(self, before: Self) -> tuple[Step, ...]:
        change = self.change_from(before)
        far = LinkSet(
            self.peer_netns,
            self.peer_name,
            mac=change.mac,
            mtu=self.peer_mtu if self.peer_mtu != before.peer_mtu else None,
            arp=self.peer_arp if self.peer_arp != before.peer_arp else None,
        )
        return drop_empty(replace(change, mac=""), far)

    def lower_up(self) -> tuple[Step, ...]:
        return (LinkSet(self.netns, self.name, up=True), LinkSet(self.peer_netns, self.peer_name, up=True))


def find_peer(snapshot: Snapshot, link: OwnLink) -> tuple[str, LinkInfo] | None:
    """The remote end of a veth and its namespace; None if they cannot be identified.

    Interface numbers are per namespace. If the alias does not name the namespace, the two ends must refer to each
    other. An end that may be in several namespaces stays unknown. The root of a container can choose the numbers of a
    pair of its own, but both ends of that are in one namespace.
    """
    found = [
        (netns, peer)
        for netns in _peer_namespaces(snapshot, link)
        if (namespace := snapshot.namespaces.get(netns))
        and (peer := namespace.links.get(link.info.peer))
        and peer.kind == Veth.kind
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
