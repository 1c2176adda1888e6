"""What a trace of one packet asks for, and what it shows (nft(8), `meta nftrace`)."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.foreign import TransportProtocol

OPENFLOW = "openflow"
"""The family of an event that is a flow of a switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedPacket:
    """The packets to follow: those from one address to another; with a `protocol` "" echo requests, else to a port."""

    source: str
    target: str
    protocol: TransportProtocol | None = None
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedTunnel:
    """The packets of a tunnel over UDP, with `header_bytes` between the IP header and the frame inside."""

    port: int
    header_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedFrame:
    """A frame that comes in at a switch with flows: the bridge, and the frame in the words of the switch."""

    bridge: str
    flow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """What one host follows. `links` are those at whose ingress hook it begins; all other hooks follow by themselves.

    `frames` are not followed: the switch says which of its flows they would match.
    """

    packets: tuple[TracedPacket, ...]
    tunnels: tuple[TracedTunnel, ...] = ()
    links: tuple[str, ...] = ()
    frames: tuple[TracedFrame, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """A rule that a packet matched, or with `number` 0 the end of a base chain.

    `number` counts the rules of the chain from 1. Of a flow (`family` OPENFLOW), `table` is the bridge, `chain` the number of
    its table, and `number` its priority. `in_dev` and `out_dev` are known where a base chain begins.
    """

    family: str
    table: str
    chain: str
    number: int
    verdict: str
    text: str = ""
    """Of a table that is not netctl's: the rule, as nft(8) lists it."""
    in_dev: str = ""
    out_dev: str = ""
