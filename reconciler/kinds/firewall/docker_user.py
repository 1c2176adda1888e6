"""The one rule of netctl in a chain of Docker's: DOCKER-USER accepts packets that netctl's forward chain has marked.

Docker sets the policy of `ip filter FORWARD` to drop, and an accept in netctl's table does not override a drop in
another. Docker leaves DOCKER-USER to the administrator, and keeps it over restarts. The rule is created with iptables
and not with nft. `iptables -S` cannot show every rule of nft. A save and restore would turn such a rule into one that
accepts everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.firewall.chains import FORWARD_MARK
from reconciler.kinds.firewall.program import check_topology
from reconciler.state.record import Record
from reconciler.state.ref import Ref
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.firewall import IptablesAdd, IptablesDelete
from reconciler.state.steps.step import Step

DOCKER_CHAIN = "DOCKER-USER"
"""The chain that Docker leaves to the administrator."""


@dataclass(frozen=True, slots=True)
class DockerUser(Record):
    """The rule in the family of `command`, `iptables` or `ip6tables`.

    It outlives netctl's tables, so it has deletion steps of its own.
    """

    kind = "docker-user"
    dies_with_parent = False

    command: str
    topology: str

    @classmethod
    def ref_of(cls, netns: str, command: str) -> Ref:
        """The identity of such a record."""
        return Ref(cls.kind, netns, command)

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.netns, self.command)

    @property
    def rule(self) -> tuple[str, ...]:
        """The rule as `iptables -S` prints it, so that live and desired rules can be compared."""
        check_topology(self.topology)
        mark = f"{FORWARD_MARK:#x}/{FORWARD_MARK:#x}"
        return ("-m", "mark", "--mark", mark, "-m", "comment", "--comment", f"netctl:{self.topology}", "-j", "ACCEPT")

    def describe(self) -> str:
        return f"{self.command} rule in {DOCKER_CHAIN}: accept what netctl-{self.topology} has marked"

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for found in snapshot.iptables:
            own = cls("", found.command, snapshot.topology)
            if (found.table, found.chain, found.rule) == ("filter", DOCKER_CHAIN, own.rule):
                yield own

    def lower_create(self) -> tuple[Step, ...]:
        return (IptablesAdd(self.netns, self.command, "filter", DOCKER_CHAIN, self.rule),)

    def lower_delete(self) -> tuple[Step, ...]:
        return (IptablesDelete(self.netns, self.command, "filter", DOCKER_CHAIN, self.rule),)
