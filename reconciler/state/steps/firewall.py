"""Steps on packet filters: our own nftables tables, conntrack, and the one rule in a chain of Docker's."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.state.steps.lanes import CONNTRACK, IPTABLES, NFT
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class NftCommand(Step):
    """Lines of nft(8) syntax. All that stand in one batch are one transaction. Rendered from validated values only."""

    lane = NFT
    text: str


@dataclass(frozen=True, slots=True)
class ConntrackFlush(Step):
    """Forget the connections whose original destination port is this one, so that UDP flows follow a changed DNAT at once."""

    lane = CONNTRACK
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class IptablesAdd(Step):
    """Insert a rule at the head of another's chain, after a check that it is not there (`iptables -w 5 -C`, then `-I`)."""

    lane = IPTABLES
    command: str
    table: str
    chain: str
    rule: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IptablesDelete(Step):
    """Delete that rule (`iptables -w 5 -D`)."""

    lane = IPTABLES
    command: str
    table: str
    chain: str
    rule: tuple[str, ...]
