"""The parts of a container, subnet or host, for users, in phrases of its records: `eth0 10.44.0.10/24 on front`.

A link's phrase contains the addresses and rate limits that other records set on its interface (`InterfaceFact`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from reconciler.state.ref import HOST


class Part(IntEnum):
    """The parts of a summary, in the order in which they stand."""

    ENGINE = 0
    LINKS = 1
    ROUTES = 2
    OVERLAY = 3
    HOST_ROUTES = 4
    PORTS = 5
    COMMAND = 6


class Phrase(NamedTuple):
    """A few words of a summary. Phrases of one part are sorted by `order`."""

    part: Part
    text: str
    order: str = ""
    alone: str = ""
    """The words if no other part precedes them in the summary."""


class InterfaceFact(NamedTuple):
    """A property of the interface `dev` that a record sets: an address, a rate limit, or a DHCP client."""

    netns: str
    dev: str
    address: str = ""
    rate: str = ""
    is_leased: bool = False


class InterfaceFacts:
    """The properties that the records of one subject set on its interfaces."""

    def __init__(self, facts: Iterable[InterfaceFact]) -> None:
        """Read `facts` in the order of the records; the last rate limit of an interface counts."""
        self._addresses: dict[tuple[str, str], list[str]] = {}
        self._rates: dict[tuple[str, str], str] = {}
        for fact in facts:
            if fact.address:
                self._addresses.setdefault((fact.netns, fact.dev), []).append(fact.address)
            if fact.rate:
                self._rates[fact.netns, fact.dev] = fact.rate

    def with_addresses(self, name: str, netns: str, dev: str) -> str:
        """The name, followed by the addresses of the interface."""
        return " ".join([name, *self._addresses.get((netns, dev), ())])

    def rate(self, netns: str, dev: str, host_end: str = "") -> str:
        """The rate limits of one of a container's networks, as the file writes them: ` at 10mbit`."""
        ingress, egress = self._rates.get((HOST, host_end), ""), self._rates.get((netns, dev), "")
        if ingress == egress:
            return f" at {ingress}" * bool(ingress)
        return "".join(f" at {way} {rate}" for way, rate in (("ingress", ingress), ("egress", egress)) if rate)


def number(count: int, noun: str) -> str:
    """`1 host`, `1,000 hosts`."""
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"
