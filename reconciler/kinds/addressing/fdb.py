"""An entry of a forwarding database: behind which end of a tunnel, or behind which port of the bridge, a hardware address is.

Two tables take part in sending a frame to another host. In the bridge's own, the address is behind the tunnel's port
(`remote` is empty; bridge(8): `master static`). In the tunnel's, it is at a host (`remote` is the underlay address of that host;
`self permanent`). The all-zero address stands for broadcast and multicast, with one entry for each other host.

An entry of the bridge is static and sticky (bridge(8)). A static entry alone would move to another port with the first
frame that claims its address there (br_fdb_update, net/bridge/br_fdb.c). Ports of containers have such an entry too,
and do not learn. So frames of a container never change the forwarding.

All static entries on an owned tunnel or port are owned. An entry that is not sticky becomes so in place. All else of an entry is
its identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.links import LINKS, PORTS
from reconciler.kinds.links.marks import about
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.addresses import FdbAdd, FdbDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.summary import InterfaceFacts, Part, Phrase, number
from reconciler.state.uapi import NUD_NOARP, NUD_PERMANENT

BROADCAST_MAC = "00:00:00:00:00:00"
"""In a tunnel's table: what has no entry of its own, broadcast and multicast (`all_zeros_mac` of its driver)."""
LINKS_WITH_TABLE = tuple(kind.kind for kind in LINKS if kind.has_forwarding_table)
"""The kinds of links that have a forwarding database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fdb(Record):
    """`mac` is behind `remote`; or, with `remote` empty, behind `dev` as a port of its bridge."""

    kind = "fdb"
    nouns = ("forwarding entry", "forwarding entries")

    dev: str
    mac: str
    remote: str = ""
    sticky: bool = True
    """Of an entry of the bridge: whether it stays at its port, whichever port frames from its address come in by."""
    link: Ref = field(compare=False, kw_only=True)
    """What makes `dev`."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `subnet front`."""

    @classmethod
    def ref_of(cls, netns: str, dev: str, mac: str, remote: str = "") -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{dev} {mac} {remote or 'port'}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev, self.mac, self.remote)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link,)

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @classmethod
    def phrases(cls, records: Sequence[Self], _facts: InterfaceFacts) -> Iterator[Phrase]:
        tunnels = sum(record.mac == BROADCAST_MAC for record in records)
        remotes = sum(bool(record.remote) for record in records) - tunnels
        if tunnels:
            yield Phrase(Part.OVERLAY, f"{number(tunnels, 'host')} behind it with {number(remotes, 'remote')}")

    @property
    def label(self) -> str:
        where = f"to {self.remote}" if self.remote else f"on {self.dev}"
        return f"forwarding entry {'of broadcasts' if self.mac == BROADCAST_MAC else f'of {self.mac}'} {where}"

    def describe(self) -> str:
        if self.mac == BROADCAST_MAC:
            return f"broadcasts go to {self.remote}"
        return f"{self.mac} is behind {self.remote or self.dev}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        links = {
            (link.netns, link.info.index): (kind.ref_of(link.netns, link.info.name), about(link.alias, link.netns))
            for kind in PORTS
            for link in kind.find_own(snapshot)
        }
        for netns, namespace in snapshot.namespaces.items():
            for info in namespace.fdb:
                if (netns, info.index) not in links:
                    continue
                link, whose = links[netns, info.index]
                if info.remote and info.state & (NUD_NOARP | NUD_PERMANENT):
                    yield cls(netns=netns, dev=link.name, mac=info.mac, remote=info.remote, link=link, about=whose)
                elif not info.remote and info.state & NUD_NOARP:
                    yield cls(netns=netns, dev=link.name, mac=info.mac, sticky=info.sticky, link=link, about=whose)

    def must_recreate(self, before: Self) -> bool:
        return False

    def lower_create(self) -> tuple[Step, ...]:
        return (FdbAdd(self.netns, self.dev, self.mac, self.remote),)

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return self.lower_create()

    def lower_delete(self) -> tuple[Step, ...]:
        return (FdbDelete(self.netns, self.dev, self.mac, self.remote),)
