"""An address on one of netctl's links: a gateway's on a bridge, a container's on its end of a veth.

An address has no mark of its own: every address on a link of netctl's is owned (see `links.marks`). So an address that
an administrator added there is drift, and is deleted. Link-local IPv6 addresses are the kernel's, and netctl ignores
them. No property of an address can be changed, so another address is another record. An owned address in another form
(another scope, or with a lifetime) is re-created.

When the first IPv4 address of a prefix is deleted, the kernel deletes the others of that prefix, too, unless
promote_secondaries is set. So these are deleted before the first, and created after it.

Addresses are added `noprefixroute`: the connected route is a record of its own, so that its loss is detected. IPv6
addresses are added `nodad`, because an address that is still tested for duplicates cannot be used for a second.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Self

from reconciler.kinds.interfaces import addressed_interfaces
from reconciler.kinds.settings.sysctl import needed_for_ipv6
from reconciler.state.record import Record
from reconciler.state.ref import Ref, is_container_netns
from reconciler.state.snapshot import AddressInfo, Snapshot
from reconciler.state.steps.addresses import AddressAdd, AddressDelete, Announce, PeerAddressDelete
from reconciler.state.steps.step import Step
from reconciler.state.subject import HOST_SUBJECT, Subject, subject_in
from reconciler.state.summary import InterfaceFact
from reconciler.state.uapi import SCOPE_LINK

IFA_F_SECONDARY, IFA_F_PERMANENT = 0x01, 0x80
"""linux/if_addr.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Record):
    """`cidr` on the interface `dev`, which `link` creates."""

    kind = "address"

    dev: str
    cidr: str
    link: Ref = field(compare=False)
    announced: bool = field(default=False, compare=False)
    """Whether nodes of the link may remember another hardware address for it, that of its previous holder."""
    about: Subject = field(default=HOST_SUBJECT, compare=False)
    """Its owner, for users: `container web`, `subnet front`."""
    peer: str = ""
    """The remote address of a point-to-point link; addresses of netctl have none."""
    form: str = ""
    """A word or two for a form other than the plain one; addresses of netctl are plain."""
    primary: Ref | None = field(default=None, compare=False)
    """The first IPv4 address of its prefix, if that is another one."""

    @classmethod
    def ref_of(cls, netns: str, dev: str, cidr: str, peer: str = "") -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, f"{dev} {cidr}" + (f" peer {peer}" if peer else ""))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.dev, self.cidr, self.peer)

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link, self.primary) if self.primary else (self.link,)

    def is_deleted_with(self, parent: Ref) -> bool:
        # The kernel deletes it with the first of its prefix, unless it promotes it. netctl does not rely on that.
        return parent != self.primary

    @property
    def follows(self) -> tuple[Ref, ...]:
        # IPv6 must be enabled on the interface before an address is added (else EACCES).
        return needed_for_ipv6(self.netns, self.dev) if ":" in self.cidr else ()

    @property
    def subject(self) -> Subject:
        return subject_in(self.netns, self.about)

    @property
    def names_lent(self) -> tuple[str, ...]:
        return (self.cidr.partition("/")[0],) if is_container_netns(self.netns) else ()

    @property
    def belongs_to_any_of(self) -> tuple[str, ...]:
        return (self.dev,) if self.subject == HOST_SUBJECT else ()

    @property
    def is_remnant(self) -> bool:
        # No step could restore the other form.
        return bool(self.peer or self.form)

    @property
    def interface_facts(self) -> tuple[InterfaceFact, ...]:
        return (InterfaceFact(self.netns, self.dev, address=self.cidr),)

    def describe(self) -> str:
        return f"address {self.cidr} on {self.dev}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        yield from (address for address, is_usual in cls._read(snapshot) if is_usual)

    @classmethod
    def recognise_odd(cls, snapshot: Snapshot, wanted: Container[Ref]) -> Iterator[Self]:
        """Addresses in another form that occupy the position of a desired one."""
        yield from (address for address, is_usual in cls._read(snapshot) if not is_usual and address.ref in wanted)

    @classmethod
    def _read(cls, snapshot: Snapshot) -> Iterator[tuple[Self, bool]]:
        """All addresses on netctl's links, and whether each is recognised whatever the file says."""
        for netns, ends in addressed_interfaces(snapshot).items():
            addresses = snapshot.namespaces[netns].addresses
            for info in addresses:
                if info.index not in ends:
                    continue
                dev, link, about, _ = ends[info.index]
                is_lasting, is_ipv4 = bool(info.flags & IFA_F_PERMANENT), ":" not in info.cidr
                form = "" if is_lasting else "for a time"
                form = f"of scope {info.scope}" if is_ipv4 and info.scope else form
                first = _find_primary(addresses, info) if is_ipv4 and info.flags & IFA_F_SECONDARY else None
                primary = cls.ref_of(netns, dev, first.cidr, first.peer) if first else None
                # An address with a lifetime comes from a lease, or from a router advertisement.
                is_usual = is_lasting and info.scope != SCOPE_LINK
                yield (
                    cls(netns=netns, dev=dev, cidr=info.cidr, link=link, about=about, peer=info.peer, form=form, primary=primary),
                    is_usual,
                )

    def lower_create(self) -> tuple[Step, ...]:
        add = AddressAdd(self.netns, self.dev, self.cidr)
        return (add, Announce(self.netns, self.dev, self.cidr.partition("/")[0])) if self.announced else (add,)

    def lower_delete(self) -> tuple[Step, ...]:
        if self.peer:
            return (PeerAddressDelete(self.netns, self.dev, self.cidr, self.peer),)
        return (AddressDelete(self.netns, self.dev, self.cidr),)


def _find_primary(addresses: Iterable[AddressInfo], secondary: AddressInfo) -> AddressInfo | None:
    """The address with which the kernel deletes this one: the first of the interface with the same prefix."""
    network = _network_of(secondary)
    for info in addresses:
        is_first = info.index == secondary.index and ":" not in info.cidr and not info.flags & IFA_F_SECONDARY
        if is_first and _network_of(info) == network:
            return info
    return None


def _network_of(info: AddressInfo) -> object:
    address, _, length = info.cidr.partition("/")
    return ip_interface(f"{info.peer or address}/{length}").network
