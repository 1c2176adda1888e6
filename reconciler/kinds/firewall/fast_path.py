"""The fast path of a subnet over several hosts: packets between its containers are forwarded where they come in.

Within a subnet everything passes, so such a packet needs no firewall of the host and no connection tracking. Their hooks
take a third of its time. A table of the family netdev, one for each such subnet, sees packets at a link's ingress hook, first
of all (nft(8), `fwd`). From a container's port, packets go to the tunnel, or over the uplink to the next hop; from
there they go to the bridge. The table contains the permitted senders and the place of each address. All other packets take the
slow path, which works without the table: those of other subnets, of the host, of published ports, ARP and broadcasts.

Two kinds of record stand next to the table and its plain elements (see `elements`). A hook is a base chain at one link,
with a single rule: `goto` the chain for packets that come in there. An egress element names a link to send to. Both
refer to a link in the kernel's own way. Older kernels delete a hook with its link, newer ones wait for another link of
its name. An egress element keeps the number of a deleted link. So both are deleted before their link, and re-created
after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from reconciler.kinds.firewall.element_text import parse_elements
from reconciler.kinds.firewall.elements import FirewallElement, FirewallTable, own_tables
from reconciler.kinds.firewall.program import table_name
from reconciler.kinds.firewall.set_elements import ProtocolLink
from reconciler.kinds.interfaces import own_interfaces
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.firewall import NftCommand
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in

FAMILY = "netdev"
LEAVING, TUNNELLED, ROUTED = "leaving", "tunnelled", "routed"
"""The chains for what comes from a container, out of the tunnel, and from the uplink."""

_HOOK = re.compile(r"at-([A-Za-z0-9][A-Za-z0-9_.-]{0,14})", re.ASCII)
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9_/.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPathHook(Record):
    """Packets that come in by the link `dev` go to `chain`. `link` is the record of the link if it is netctl's."""

    kind = "fast-path"
    dies_with_parent = False

    topology: str
    subnet: str
    dev: str
    chain: str
    link: Ref | None = field(default=None, compare=False)
    about: Subject = field(default=HOST_SUBJECT, compare=False)

    @classmethod
    def ref_of(cls, netns: str, subnet: str, dev: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{subnet} {dev}")

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.subnet, self.dev)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        table = FirewallTable.ref_of(self.netns, FAMILY, self.subnet)
        return (table, self.link) if self.link else (table,)

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    def describe(self) -> str:
        return f"the fast path from {self.dev}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        own = {each.name: each for each in own_interfaces(snapshot).get(HOST, {}).values()}
        for table, subnet in own_tables(snapshot):
            for dev, chain in table.hooks:
                end = own.get(dev)
                yield cls(
                    netns=HOST,
                    topology=snapshot.topology,
                    subnet=subnet,
                    dev=dev,
                    chain=chain,
                    link=end and end.link,
                    about=end.about if end else Subject.subnet(subnet),
                )

    def lower_create(self) -> tuple[Step, ...]:
        hook = f'type filter hook ingress device "{self.dev}" priority 0; policy accept;'
        if not _CHAIN.fullmatch(self.chain):
            raise ValueError(f"{self.chain!r} is not the name of a chain")
        text = f"add chain {self._chain} {{ {hook} }}\nadd rule {self._chain} goto {self.chain}\n"
        return (NftCommand(self.netns, text),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (NftCommand(self.netns, f"flush chain {self._chain}\ndelete chain {self._chain}\n"),)

    @property
    def _chain(self) -> str:
        name = hook_name(self.dev)
        if not parse_hook_name(name) or not self.subnet:
            raise ValueError(f"{self.dev!r} cannot have a hook in {self.subnet!r}")
        return f"{FAMILY} {table_name(self.topology, self.subnet)} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPathLink(FirewallElement):
    """The link to send to: `value`, for the protocol `key`. `link` is the record of the link if it is netctl's.

    If the link is `gone`, `value` is the number that it had.
    """

    kind = "fast-path-link"
    dies_with_parent = False

    link: Ref | None = field(default=None, compare=False)
    gone: bool = False

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        table = super(FastPathLink, self).depends_on
        return (*table, self.link) if self.link else table

    def describe(self) -> str:
        return f"the fast path of {self.key} to {f'link {self.value}, which is gone' if self.gone else self.value}"

    @property
    def is_remnant(self) -> bool:
        return self.gone

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        own, links = own_interfaces(snapshot).get(HOST, {}), snapshot.namespace(HOST).links
        for table, subnet in own_tables(snapshot):
            for element in parse_elements(table.family, table.elements, ProtocolLink):
                index = int(element.link)
                named = replace(element, link=links[index].name) if index in links else element
                link = own[index].link if index in own else None
                record = cls.of(HOST, FAMILY, snapshot.topology, named, Subject.subnet(subnet), subnet)
                yield replace(record, link=link, gone=index not in links)


def hook_name(dev: str) -> str:
    """The name of the base chain at a link. A name of nft's begins with a letter, which a link's need not."""
    return f"at-{dev}"


def parse_hook_name(chain: str) -> str:
    """The link in a hook chain's name; "" if the chain is not a hook's."""
    found = _HOOK.fullmatch(chain)
    return found[1] if found else ""
