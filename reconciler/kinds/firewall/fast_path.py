"""The fast path: what goes from container to container of a subnet over several hosts, handed on where it comes in.

Within a subnet everything passes, so such a packet needs neither the host's firewalls nor its connection tracking, whose hooks
take a third of its time. A table of the family netdev, one for each such subnet, sees packets at a link's ingress hook, before
anything else of the host does (nft(8), `fwd`): from a container's port they go to the VXLAN, or to the next hop's neighbour over
the uplink; from there to the bridge. The table knows who may send and who is where. What it does not know takes the slow path,
which works without it, and is the way of everything else: other subnets, the host, published ports, ARP, broadcast.

Two kinds of record stand beside the table and its plain elements (see `firewall`). A hook is a base chain at one link, with a
single rule: `goto` the chain for what comes in there. A way is an element that names a link to send to. Both hold on to the
link, in the kernel's own way: older kernels remove a hook with its link, newer ones wait for another of its name, and a way
keeps the number of a link that is gone. So both are removed before their link, and made again after it.
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
from reconciler.state.subject import subject_in

FAMILY = "netdev"
LEAVING, TUNNELLED, ROUTED = "leaving", "tunnelled", "routed"
"""The chains for what comes from a container, out of the VXLAN, and from the uplink."""

_HOOK = re.compile(r"at-([A-Za-z0-9][A-Za-z0-9_.-]{0,14})", re.ASCII)
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9_/.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastPathHook(Record):
    """What comes in by the link `dev` goes to `chain`. `link` is the link where that is netctl's."""

    kind = "fast-path"
    dies_with_parent = False

    topology: str
    subnet: str
    dev: str
    chain: str
    link: Ref | None = field(default=None, compare=False)
    about: str = field(default="host", compare=False)

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
    def subject(self) -> str:
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
                    about=end.about if end else f"subnet {subnet}",
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
class FastPathWay(FirewallElement):
    """The link to send to: `value`, by the protocol `key`. `link` is the link where that is netctl's.

    Of a link that is `gone`, `value` is the number that it had.
    """

    kind = "way"
    dies_with_parent = False

    link: Ref | None = field(default=None, compare=False)
    gone: bool = False

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        table = super(FastPathWay, self).depends_on
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
                record = cls.of(HOST, FAMILY, snapshot.topology, named, f"subnet {subnet}", subnet)
                yield replace(record, link=link, gone=index not in links)


def hook_name(dev: str) -> str:
    """Of the base chain at a link. A name of nft's begins with a letter, which a link's need not."""
    return f"at-{dev}"


def parse_hook_name(chain: str) -> str:
    """The link that a chain's name speaks of; "" where it is not one of a hook."""
    found = _HOOK.fullmatch(chain)
    return found[1] if found else ""
