"""An address on one of our links: a gateway's on a bridge, a container's on its end of a veth.

It has no mark of its own: an address on a link of ours is ours (see `ownership`), so one that somebody else put there is
drift, and goes. Link-local IPv6 addresses are the kernel's and are let alone. Nothing of an address can be changed, so
another address is another record.

Addresses are added `noprefixroute`: the connected route is a record of its own, so that one that was flushed is seen. IPv6
addresses are added `nodad`, for one that is still being tested for duplicates cannot be used for a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.kinds.ownership import own_ends
from reconciler.kinds.veth import NAMESPACE_KEYS
from reconciler.state.record import Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.addresses import AddressAdd, AddressDelete, Announce
from reconciler.state.steps.step import Step

SCOPE_LINK = 253
"""RT_SCOPE_LINK (linux/rtnetlink.h): link-local."""

IFA_F_PERMANENT = 0x80
"""linux/if_addr.h."""


@dataclass(frozen=True, slots=True)
class Address(Record):
    """`cidr` on the interface `dev`, which `link` makes."""

    kind = "address"

    dev: str
    cidr: str
    link: Ref = field(compare=False)
    announced: bool = field(default=False, compare=False)
    """Whether others on the link may remember another hardware address for it, of who had it before."""
    about: str = field(default="host", compare=False)
    """Whose it is, for people: `container web`, `subnet front`."""

    @property
    def ident(self) -> str:
        return f"{self.dev} {self.cidr}"

    @property
    def depends_on(self) -> tuple[Ref, ...]:
        return (self.link,)

    @property
    def follows(self) -> tuple[Ref, ...]:
        # Where IPv6 is switched on in a namespace, it must be on before an address is given (else EACCES).
        if self.netns == HOST or ":" not in self.cidr:
            return ()
        return (Ref("netns", self.netns, "namespace"), *(Ref("sysctl", self.netns, key) for key in NAMESPACE_KEYS))

    @property
    def subject(self) -> str:
        return self.about

    def describe(self) -> str:
        return f"address {self.cidr} on {self.dev}"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for netns, ends in own_ends(snapshot).items():
            for info in snapshot.namespaces[netns].addresses:
                # One with a lifetime is a lease's, or a router's advertisement's.
                if info.index in ends and info.scope != SCOPE_LINK and info.flags & IFA_F_PERMANENT:
                    dev, link, about = ends[info.index]
                    yield cls(netns, dev, info.cidr, link, about=about)

    def lower_create(self) -> tuple[Step, ...]:
        add = AddressAdd(self.netns, self.dev, self.cidr)
        return (add, Announce(self.netns, self.dev, self.cidr.partition("/")[0])) if self.announced else (add,)

    def lower_delete(self) -> tuple[Step, ...]:
        return (AddressDelete(self.netns, self.dev, self.cidr),)
