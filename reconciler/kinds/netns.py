"""A network namespace under /run/netns: a container of `runtime: netns`, or a member of the lab.

It is recognised by its file name, `<topology>.<container>` or `<topology>.lab.<member>`. Nothing in it can differ, so it is
there or it is not. Whether its links may have IPv6 is settled when it is made: without, net.ipv6.conf.default.disable_ipv6
is set before the first link, since the IPv6 chatter of a thousand links costs more than their wiring.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from reconciler.state.record import Record
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps import NetnsAdd, NetnsDelete, Step


@dataclass(frozen=True, slots=True)
class Netns(Record):
    """The namespace called `netns`."""

    kind = "netns"

    ipv6: bool = field(default=True, compare=False)

    @property
    def ident(self) -> str:
        return "namespace"

    @property
    def subject(self) -> str:
        return self.netns.replace(":", " ")

    def describe(self) -> str:
        return "network namespace"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for name in snapshot.mounted:
            yield cls(name)

    def lower_create(self) -> tuple[Step, ...]:
        return (NetnsAdd(self.netns, self.ipv6),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (NetnsDelete(self.netns),)
