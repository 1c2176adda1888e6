"""A host in memory that obeys the rules of the real one: what exists already, what is missing, and what goes with what.

It carries out the same steps as `kernel.executor.KernelHost`, and gives a Snapshot that the kinds recognise things in. One
contract suite (tests/contract) runs on both, so that this one cannot drift from the kernel, Open vSwitch and the engines.
"""

from __future__ import annotations

import copy

from reconciler.plan.order import Batch
from reconciler.state.naming import cookie_of
from reconciler.state.ref import HOST
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps import backends
from reconciler.state.steps.step import Step, StepError
from tests.harness.fakes.base import Refused
from tests.harness.fakes.links import Links
from tests.harness.fakes.services import Services
from tests.harness.fakes.spaces import Link, read_space
from tests.harness.fakes.tables import Tables

TRANSACTIONS = (backends.NFT, backends.OVSDB, backends.OPENFLOW)
"""Lanes in which a batch happens as a whole, or not at all."""


class FakeHost(Links, Tables, Services):
    """One host with its containers' namespaces. `fail_at` counts down with each step; the one that brings it to 0 fails."""

    def __init__(self, topology: str) -> None:
        """Only the host's own namespace, with a loopback."""
        super().__init__(topology)
        self.fail_at = -1
        self.steps_run = 0

    def add_uplink(self, name: str, mac: str, *cidrs: str) -> None:
        """A link of the host's own, which is not netctl's, with addresses."""
        self._add_link(self.spaces[HOST], Link(self._next_index(), name, "veth", mac, up=True))
        self.spaces[HOST].addresses += [(name, cidr) for cidr in cidrs]

    def run(self, batch: Batch) -> None:
        """Carry out the batch. In backends without transactions, what came before a failure stays."""
        before = copy.deepcopy((self.tables, self.hooks, {name: each.flows for name, each in self.switches.items()}))
        for step in batch.steps:
            try:
                self._count_down()
                self._run(step)
            except Refused as refusal:
                if step.backend in TRANSACTIONS:
                    self.tables, self.hooks, flows = before
                    for name in self.switches.keys() & flows:
                        self.switches[name].flows = flows[name]
                raise StepError(step, str(refusal)) from None

    def settle(self, *_: object) -> None:
        """Packets always pass here."""

    def _count_down(self) -> None:
        self.steps_run += 1
        if self.fail_at >= 0:
            self.fail_at -= 1
            if self.fail_at < 0:
                raise Refused("injected")

    def _run(self, step: Step) -> None:
        parts = (self.link_handlers, self.standing_handlers, self.table_handlers, self.switch_handlers, self.service_handlers)
        handlers = {kind: handler for part in parts for kind, handler in part().items()}
        handlers[type(step)](step)

    def snapshot(self, sysctls: dict[str, tuple[str, ...]] | None = None) -> Snapshot:
        """What the real host would report; `sysctls` are the keys wanted, by namespace."""
        wanted = dict(sysctls or {})
        wanted[HOST] = (*wanted.get(HOST, ()), *self.remembered)
        return Snapshot(
            topology=self.topology,
            namespaces={netns: read_space(self.spaces, netns, wanted.get(netns, ()), self.takes) for netns in self.spaces},
            mounted=frozenset(netns for netns, space in self.spaces.items() if netns != HOST and not space.is_engines),
            tables=tuple(self.read_tables()),
            containers=tuple(self.read_containers()),
            holders=self.read_holders(),
            hosts=dict(self.hosts),
            processes=tuple(self.processes.values()),
            iptables=tuple(self.read_chains()),
            remembered=frozenset(self.remembered),
            uplinks=tuple(self.read_uplinks()),
            dhcp_clients=tuple(self.read_clients()),
            ovs_bridges=tuple(self.read_switches()),
            ovs_flows=tuple(self.read_flows(cookie_of(self.topology))),
            offloads=tuple(self.read_offloads()),
            resolvers=tuple(self.resolvers.values()),
            names=dict(self.names),
            resolv_confs=tuple(self.resolv_confs.values()),
        )
