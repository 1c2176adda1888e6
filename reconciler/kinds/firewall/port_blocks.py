"""The source ports that masqueraded connections may get, in blocks: one chain of the program masquerades to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.state.uapi import PORT_MAX


@dataclass(frozen=True, slots=True)
class PortBlock:
    """Source ports that masqueraded connections may get, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        """For people: `914-952`."""
        return f"{self.first}-{self.last}"

    @property
    def chain(self) -> str:
        """The chain that masquerades to the block."""
        return f"ports-{self}"

    def overlaps(self, first: int, last: int) -> bool:
        """Whether a port from `first` to `last` is in the block."""
        return self.first <= last and first <= self.last


WHOLE_RANGE = PortBlock(32768, PORT_MAX)
"""It begins with the first port that the kernel gives to clients (net.ipv4.ip_local_port_range), so that no service needs one."""
PORT_BLOCKS = tuple(PortBlock(first, first + 4095) for first in range(32768, PORT_MAX, 4096))
"""Its parts. A part in which a port is published or has a listener is not used."""
LOW_BLOCKS = (PortBlock(914, 952), PortBlock(954, 988))
"""Blocks for connections from a port below 1024, as NFS opens them: IANA has given these ports to no service."""
SOURCE_PORT_BLOCKS = (WHOLE_RANGE, *PORT_BLOCKS, *LOW_BLOCKS)
BLOCKS_BY_CHAIN: Mapping[str, PortBlock] = {block.chain: block for block in SOURCE_PORT_BLOCKS}
