"""What the firewall of a host has counted. Packets change it, so it is in no snapshot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrafficCount:
    """The packets and bytes that met an element of a set, since the kernel has the element."""

    set: str
    key: str
    packets: int
    bytes: int
