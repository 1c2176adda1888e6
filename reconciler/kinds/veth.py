"""A veth pair: a cable with one end at a bridge and the other in a container (or, in the lab, in a host).

The near end is in `netns` under `name` and carries our mark (see `ownership`); the far end is `peer_name` in `peer_netns`
and carries none, it is ours because the near end is. `mac` is the far end's, the one that neighbors see; the near end, a
bridge port, has an address that nobody speaks to, so it is left to the kernel.

What the far end is called, and where, is settled when the pair is made: a far end is born under its final name in its own
namespace, for moving a link costs fifty times as much, and drops its addresses. So a change of these forces a re-creation.
All else is repaired in place.

The order is the kernel's: the alias is ignored in the message that makes a link, so it comes in a second; the near end must
make no link-local address, so that is said before it is up; the far end cannot be set up in the message that makes the pair
(it has no cable yet, ENOTCONN), so that is the last step, and a container is not connected before all else is done. It is
connected only behind its firewall: the pair follows the tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import PORT_DEFAULTS, changed_options, read_port_options
from reconciler.kinds.firewall import FirewallElement, FirewallTable
from reconciler.kinds.link_settings import interface_key
from reconciler.kinds.ownership import about, bridge_name_of, find_peer, own_links, owner_of, read_altname
from reconciler.kinds.sysctl import LINK_DEFAULTS, Sysctl
from reconciler.state.naming import parse_alias
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.links import AltnameAdd, BridgePortSet, LinkAdd, LinkDelete, LinkSet, Peer
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class Veth(Record):
    """The pair whose near end is `name`; MTUs in bytes. `master` is the bridge of the near end, "" where it has none."""

    kind = "veth"
    dies_with_parent = False

    name: str
    peer_netns: str
    peer_name: str
    mac: str
    mtu: int
    peer_mtu: int
    group: int
    alias: str
    master: str = ""
    altname: str = ""
    port_options: tuple[tuple[str, str], ...] = ()
    """Of the near end as a bridge port; empty where it is none."""
    link_local: bool = False
    """Whether the near end makes itself an IPv6 link-local address."""
    arp: bool = True
    """Whether the host speaks ARP at the near end: not at a port of Open vSwitch, which in user space works beside the host."""
    up: bool = True
    """Whether both ends are up."""
    owner: Ref | None = None
    """What the near end's namespace belongs to; None in the host's own."""
    peer_owner: Ref | None = None
    """What the far end's namespace belongs to."""
    peer_arp: bool = True
    """Whether the far end speaks ARP."""

    @classmethod
    def ref_of(cls, netns: str, name: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, name)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.name)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        refs = [ref for ref in (self.owner, self.peer_owner) if ref]
        if self.master:
            refs.append(Bridge.ref_of(self.netns, self.master))
        return tuple(refs)

    @property
    def follows(self) -> tuple[Ref, ...]:
        if self.netns != HOST:
            return ()
        firewall = (
            *(FirewallTable.ref_of(HOST, family) for family in ("inet", "bridge", "arp")),
            FirewallElement.ref_of(HOST, "bridge", "ports", self.name),
            FirewallElement.ref_of(HOST, "inet", "switched", self.name),
        )
        # What a new link takes from its namespace must be right before it is made, and a bridge that still tests its
        # addresses for duplicates would do so as soon as its first port is up.
        sysctls = [Sysctl.ref_of(self.peer_netns, key) for key in LINK_DEFAULTS]
        return (*firewall, *sysctls, Sysctl.ref_of(HOST, interface_key(6, self.master, "accept_dad")))

    @property
    def exposed_to(self) -> str:
        # With the far end, the whole pair is deleted.
        return self.peer_netns if self.peer_netns.startswith("container:") else ""

    @property
    def subject(self) -> str:
        return about(parse_alias(self.alias), self.peer_netns)

    def describe(self) -> str:
        where = f" at {self.master}" if self.master else ""
        return f"veth {self.name}{where} to {self.peer_name or 'nobody'}, MTU {self.mtu}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for link in own_links(snapshot, "veth"):
            info = link.info
            master = bridge_name_of(snapshot, link.netns, info)
            peer_netns, peer = find_peer(snapshot, link) or ("", None)
            yield cls(
                netns=link.netns,
                name=info.name,
                peer_netns=peer_netns,
                peer_name=peer.name if peer else "",
                mac=peer.mac if peer else "",
                mtu=info.mtu,
                peer_mtu=peer.mtu if peer else 0,
                group=info.group,
                alias=info.alias,
                master=master,
                altname=read_altname(link),
                port_options=read_port_options(snapshot, link.netns, info) if master else (),
                link_local=info.link_local,
                arp=info.arp,
                up=info.up and peer is not None and peer.up,
                owner=owner_of(snapshot, link.netns),
                peer_owner=owner_of(snapshot, peer_netns),
                peer_arp=peer is None or peer.arp,
            )

    @property
    def interfaces(self) -> tuple[tuple[str, str], ...]:
        return (self.netns, self.name), (self.peer_netns, self.peer_name)

    def must_recreate(self, before: Self) -> bool:
        return (self.peer_netns, self.peer_name) != (before.peer_netns, before.peer_name)

    def drops(self, before: Self) -> tuple[str, ...]:
        # Its permanent neighbor entries as well (neigh_changeaddr).
        return ("neighbor",) if self.mac != before.mac else ()

    def lower_create(self) -> tuple[Step, ...]:
        peer = Peer(self.peer_netns, self.peer_name, self.mac, self.peer_mtu)
        steps: list[Step] = [
            LinkAdd(self.netns, self.name, "veth", "", self.mtu, self.group, master=self.master, peer=peer),
            LinkSet(self.netns, self.name, alias=self.alias, link_local=self.link_local, arp=None if self.arp else False),
        ]
        if self.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        if options := changed_options(PORT_DEFAULTS, self.port_options):
            steps.append(BridgePortSet(self.netns, self.name, options))
        if self.up:
            steps += self._lower_up()
        return tuple(steps)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        steps: list[Step] = []
        near = LinkSet(
            self.netns,
            self.name,
            mtu=self.mtu if self.mtu != before.mtu else None,
            group=self.group if self.group != before.group else None,
            master=(self.master or "-") if self.master != before.master else "",
            alias=self.alias if self.alias != before.alias else None,
            link_local=self.link_local if self.link_local != before.link_local else None,
            arp=self.arp if self.arp != before.arp else None,
        )
        far = LinkSet(
            self.peer_netns,
            self.peer_name,
            mac=self.mac if self.mac != before.mac else "",
            mtu=self.peer_mtu if self.peer_mtu != before.peer_mtu else None,
            arp=self.peer_arp if self.peer_arp != before.peer_arp else None,
        )
        steps += [step for step in (near, far) if step != LinkSet(step.netns, step.name)]
        if self.altname and self.altname != before.altname:
            steps.append(AltnameAdd(self.netns, self.name, self.altname))
        # A port that changes its bridge has a new port's options there.
        held = before.port_options if self.master == before.master else PORT_DEFAULTS
        if options := changed_options(held, self.port_options):
            steps.append(BridgePortSet(self.netns, self.name, options))
        if self.up and not before.up:
            steps += self._lower_up()
        if before.up and not self.up:
            steps.append(LinkSet(self.netns, self.name, up=False))
        return tuple(steps)

    def lower_delete(self) -> tuple[Step, ...]:
        return (LinkDelete(self.netns, self.name, self.group),)

    def _lower_up(self) -> tuple[Step, ...]:
        return (LinkSet(self.netns, self.name, up=True), LinkSet(self.peer_netns, self.peer_name, up=True))


