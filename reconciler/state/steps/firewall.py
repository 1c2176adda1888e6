"""Steps on packet filters: netctl's own nftables tables, conntrack, and the one rule in a chain of Docker's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from reconciler.state.shell import HostShell, here_document
from reconciler.state.steps.backends import CONNTRACK, IPTABLES, NFT
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class NftCommand(Step):
    """Lines of nft(8) syntax, rendered from validated values only. All lines of one batch are one transaction."""

    backend = NFT
    text: str

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield from self.commands_of((self,), shell)

    @classmethod
    def commands_of(cls, steps: Sequence[Self], shell: HostShell) -> Iterator[str]:
        # One call of nft, so one transaction.
        text = "\n".join(step.text.rstrip("\n") for step in steps)
        yield from here_document(shell.tool(steps[0].netns, "nft", "-f", "-"), text, "EOF")


@dataclass(frozen=True, slots=True)
class ConntrackFlush(Step):
    """Delete the connections with this original destination port, so that UDP flows follow a changed DNAT at once."""

    backend = CONNTRACK
    protocol: str
    port: int

    def commands(self, shell: HostShell) -> Iterator[str]:
        words = ("conntrack", "-D", "-p", self.protocol, "--orig-port-dst", str(self.port))
        # It fails if no such connection exists, which is fine.
        yield f"{shell.tool(self.netns, *words)} 2>/dev/null || true"


@dataclass(frozen=True, slots=True)
class IptablesAdd(Step):
    """Insert a rule at the head of a foreign chain if it is not there yet (`iptables -w 5 -C`, then `-I`)."""

    backend = IPTABLES
    command: str
    table: str
    chain: str
    rule: tuple[str, ...]

    def commands(self, shell: HostShell) -> Iterator[str]:
        head, tail = (self.command, "-w", "5", "-t", self.table), (self.chain, *self.rule)
        there = shell.tool(self.netns, *head, "-C", *tail)
        yield f"{there} 2>/dev/null || {shell.tool(self.netns, *head, '-I', *tail)}"


@dataclass(frozen=True, slots=True)
class IptablesDelete(Step):
    """Delete that rule (`iptables -w 5 -D`)."""

    backend = IPTABLES
    command: str
    table: str
    chain: str
    rule: tuple[str, ...]

    def commands(self, shell: HostShell) -> Iterator[str]:
        yield shell.tool(self.netns, self.command, "-w", "5", "-t", self.table, "-D", self.chain, *self.rule)
