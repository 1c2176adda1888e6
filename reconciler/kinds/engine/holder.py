"""A holder: a container of an engine that does nothing but keep a network namespace, which another container joins.

Docker's containers can join the namespace of another container, but not one that a path names. So netctl creates two of
them: the holder `shop-web.net`, whose program only waits, and `shop-web`, which joins it. A dot is in no name of the
file, so no container there can have the holder's name. Links, addresses and settings belong to the holder, and stay
when `shop-web` restarts or is re-created.

The holder never restarts by itself. Docker starts the containers of a machine in no order. A holder with a policy
could give the other container an empty namespace, before netctl has connected it. Without a running holder, Docker
refuses to start the other one.

The other container knows the holder by its id. So a re-creation of the holder re-creates both. Parking only renames a
container, and its id stays, so that a rollback restores both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from reconciler.kinds.identity import holder_ref
from reconciler.kinds.settings.link_settings import LINK_DEFAULTS, interface_key
from reconciler.state.container_spec import HolderSpec
from reconciler.state.record import Record
from reconciler.state.ref import Ref, container_netns
from reconciler.state.snapshot import Snapshot
from reconciler.state.steps.containers import ContainerPark, ContainerStart, ContainerStop, HolderCreate
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class NetnsHolder(Record):
    """The engine's container `engine_name`, which holds the namespace `netns` of the topology's `container`."""

    kind = "holder"
    root_of = ("container",)
    dies_with_parent = False

    container: str
    engine_name: str
    runtime: str
    shares: HolderSpec | None = None
    """What it was created from; None if its label does not say."""
    running: bool = True

    @classmethod
    def ref_of(cls, container: str) -> Ref:
        """The identity of such a record."""
        return holder_ref(container_netns(container))

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.container)

    @property
    def exposed_to(self) -> str:
        # The container that joins it has a process namespace of its own: its root cannot reach the holder's process.
        return ""

    def describe(self) -> str:
        return f"holder {self.engine_name} of the network namespace{'' if self.running else ', stopped'}"

    @property
    def label(self) -> str:
        return f"holder {self.engine_name}"

    def describe_drift(self, live: Record | None, reason: str) -> str:
        if isinstance(live, NetnsHolder) and self.running and not live.running:
            return f"the network namespace of {self.container} is gone: its {self.label} is stopped"
        return Record.describe_drift(self, live, reason)

    def resets(self, before: Self, child: Record) -> bool:
        # The namespace lives as long as the holder's process.
        return (before.running and not self.running) or Record.resets(self, before, child)

    @classmethod
    def recognise(cls, snapshot: Snapshot) -> Iterator[Self]:
        for netns, info in snapshot.holders.items():
            yield cls(
                netns=netns,
                container=info.container,
                engine_name=info.engine_name,
                runtime=info.runtime,
                shares=info.spec,
                running=info.pid > 0,
            )

    @property
    def namespace_settings(self) -> tuple[str, ...]:
        return (*LINK_DEFAULTS, interface_key(6, "lo", "disable_ipv6"))

    def must_recreate(self, before: Self) -> bool:
        return (self.engine_name, self.runtime, self.shares) != (before.engine_name, before.runtime, before.shares)

    def lower_create(self) -> tuple[Step, ...]:
        if self.shares is None:
            return ()
        create = HolderCreate(self.netns, self.container, self.runtime, self.engine_name, self.shares)
        return (create,) if self.running else (create, self._stop())

    def lower_update(self, before: Self) -> tuple[Step, ...]:
        return (ContainerStart(self.netns, self.runtime, self.engine_name),) if self.running else (self._stop(),)

    def _stop(self) -> ContainerStop:
        return ContainerStop(self.netns, self.runtime, self.engine_name)

    def lower_delete(self) -> tuple[Step, ...]:
        return (ContainerPark(self.netns, self.runtime, self.engine_name),)
