"""Published ports of Compose as those of a topology: host addresses, ranges, protocols, and what has no counterpart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address

from reconciler.compose.draft import PortDraft
from reconciler.compose.model import Port
from reconciler.state.uapi import PORT_MAX, PROTOCOLS
from reconciler.topology.types import IPAddress


@dataclass(frozen=True, slots=True)
class Published:
    """Ports of the host that lead to as many of a container. Without an address: those of every address."""

    address: IPAddress | None
    first: int
    last: int
    to: int
    protocol: str

    def __str__(self) -> str:
        """The short form of a topology."""
        end = self.last - self.first
        host = _range(self.first, self.last)
        address = f"[{self.address}]:" if isinstance(self.address, IPv6Address) else f"{self.address}:" if self.address else ""
        suffix = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{address}{host}:{_range(self.to, self.to + end)}{suffix}"

    def overlaps(self, other: Published) -> bool:
        """Whether both cannot be published by one host."""
        if self.protocol != other.protocol or self.first > other.last or other.first > self.last:
            return False
        if self.address is None or other.address is None:
            return True
        if self.address.version != other.address.version:
            return False
        return self.address == other.address or self.address.is_unspecified or other.address.is_unspecified

    def continues(self, other: Published) -> bool:
        """Whether both are one range: its host ports and its container ports follow the other's."""
        return replace(self, first=other.first, to=other.to) == replace(other, last=self.last) and (
            self.first == other.last + 1 and self.to - other.to == self.first - other.first
        )


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


@dataclass(slots=True)
class PortClaims:
    """The ports of the host that are published so far, with their containers."""

    held: list[tuple[Published, str]] = field(default_factory=list)

    def holder_of(self, wanted: Published) -> str:
        """The container that has published one of the ports already; "" if none has."""
        return next((holder for held, holder in self.held if held.overlaps(wanted)), "")


class NoCounterpartError(Exception):
    """The reason why a topology cannot publish a port."""


def convert_ports(ports: Iterable[Port], container: str, families: Sequence[int], claims: PortClaims) -> Iterator[PortDraft]:
    """The ports of one container, in its file's order. `families` are those of the network with its default route."""
    merged: list[Published | PortDraft] = []
    for port in ports:
        try:
            found, note = _convert(port, families)
        except NoCounterpartError as error:
            merged.append(PortDraft("", f"{describe(port)}: {error}"))
            continue
        before = merged[-1] if merged else None
        if isinstance(before, Published) and found.continues(before):
            merged[-1] = replace(before, last=found.last)
        elif note:
            merged.append(PortDraft("", note))
            merged.append(found)
        else:
            merged.append(found)
    for each in merged:
        yield each if isinstance(each, PortDraft) else _claim(each, container, claims)


def _claim(published: Published, container: str, claims: PortClaims) -> PortDraft:
    holder = claims.holder_of(published)
    if holder:
        whose = "this service" if holder == container else holder
        return PortDraft("", f"{published}: not published, because {whose} publishes it above; one host port has one container")
    claims.held.append((published, container))
    return PortDraft(str(published))


def describe(port: Port) -> str:
    """A port as Compose's short form."""
    parts = [f"[{port.host_ip}]" if ":" in (port.host_ip or "") else port.host_ip, port.published, port.target]
    words = ":".join(str(part) for part in parts if part not in (None, ""))
    return words + (f"/{port.protocol}" if port.protocol not in (None, "tcp") else "")


def _convert(port: Port, families: Sequence[int]) -> tuple[Published, str]:
    """The ports, and a note about them if they are not exactly the same as Compose's."""
    protocol = port.protocol or "tcp"
    if protocol not in PROTOCOLS:
        raise NoCounterpartError("its protocol is none of tcp, udp and sctp")
    address = _parse_host_ip(port.host_ip, families)
    to, to_last = _parse_ports(port.target)
    if port.published in (None, "", 0, "0"):
        raise NoCounterpartError(f'Docker chooses the host port; write "PORT:{_range(to, to_last)}" for one of your choice')
    first, last = _parse_ports(port.published)
    if last - first == to_last - to:
        return Published(address, first, last, to, protocol), ""
    if to == to_last:
        note = f"{describe(port)}: Docker takes the first free port of {first}-{last}, and netctl publishes the first"
        return Published(address, first, first, to, protocol), note
    raise NoCounterpartError("its ranges have different lengths")


def _parse_ports(text: int | str | None) -> tuple[int, int]:
    match = re.fullmatch("([0-9]{1,5})(?:-([0-9]{1,5}))?", str(text), re.ASCII)
    if not match:
        raise NoCounterpartError("it is no port, and no range of ports")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= PORT_MAX:
        raise NoCounterpartError(f"a port is 1 to {PORT_MAX}, and a range begins with the lower one")
    return first, last


def _parse_host_ip(text: str | None, families: Sequence[int]) -> IPAddress | None:
    if not text:
        return None
    try:
        address = ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise NoCounterpartError("its host address is no IP address") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise NoCounterpartError("its host address has a zone")
    if isinstance(address, IPv6Address) and address.is_loopback:
        raise NoCounterpartError("the kernel forwards nothing from [::1]; 127.0.0.1 works")
    if address.is_multicast or address.is_link_local or str(address) == "255.255.255.255":
        raise NoCounterpartError("a port cannot listen on this address")
    if address.version not in families:
        raise NoCounterpartError(f"the container has no IPv{address.version} address")
    return address
