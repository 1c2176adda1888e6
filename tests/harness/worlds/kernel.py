"""A namespace that stands for the machine, and what netctl would use on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.kernel.context import KernelContext
from reconciler.kernel.executor import KernelHost
from reconciler.kernel.namespaces import Namespaces
from reconciler.plan.order import Batch
from reconciler.state.ref import Ref
from reconciler.state.steps.step import Step
from tests.harness.netns import Namespace


@dataclass(frozen=True, slots=True)
class KernelWorld:
    """The namespace, the netctl that works on it, and its topology."""

    own: Namespace
    context: KernelContext
    namespaces: Namespaces
    host: KernelHost

    def run(self, *steps: Step) -> None:
        """Carry out steps of one backend and one namespace as one batch."""
        backend, netns = steps[0].backend, steps[0].netns
        self.host.run(Batch(backend, netns if backend in ("netlink", "nft") else "", steps, (Ref("test", "", ""),) * len(steps)))

    def show(self, *command: str, netns: Namespace | None = None) -> list[dict[str, Any]]:
        """What `ip -json …` or `bridge -json …` says."""
        shown: list[dict[str, Any]] = json.loads((netns or self.own).run(command[0], "-json", *command[1:]).stdout or "[]")
        return shown


def picked(shown: Sequence[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    """The one that has these values."""
    found = [one for one in shown if all(one.get(key) == value for key, value in wanted.items())]
    assert len(found) == 1, f"{wanted} in {shown}"
    return found[0]
