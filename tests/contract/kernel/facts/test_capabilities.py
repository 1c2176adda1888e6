"""What a kernel lacks is found out before anything is made, on the real one."""

from __future__ import annotations

import pytest

from reconciler.errors import HostError
from reconciler.kernel.context import KernelContext
from reconciler.kernel.facts.capabilities import check_link_kinds
from reconciler.plan.order import Batch
from reconciler.state.ref import HOST, Ref
from reconciler.state.steps.links import LinkAdd
from reconciler.worker.machine import KernelMachine

pytestmark = pytest.mark.kernel


def link(kind: str) -> LinkAdd:
    return LinkAdd(HOST, "any", kind, mac="", mtu=0, group=0)


def test_kinds_that_are_there() -> None:
    """Whatever kind of link netctl makes: that it lacks options here, or another link, is no sign that the kernel lacks it."""
    check_link_kinds([link(kind) for kind in ("bridge", "veth", "vxlan", "macvlan")])
    check_link_kinds([])


def test_a_kind_that_is_not_there(topology_name: str) -> None:
    """Before a plan is carried out: status 3, every such kind, and what to load."""
    steps = (link("bridge"), link("nosuch"), link("neither"))
    batch = Batch("netlink", HOST, steps, (Ref("bridge", HOST, "any"),) * 3)
    machine = KernelMachine(KernelContext(topology_name, f"{topology_name}.lab.alpha"), "", "netctl test", 0)
    with pytest.raises(HostError, match="this kernel has no links of kind neither, nosuch") as caught:
        machine.check((batch,))
    assert caught.value.exit_status == 3
    assert "modprobe -a neither nosuch" in caught.value.help_text
