"""Settings of the kernel that end with what is removed."""

from __future__ import annotations

from reconciler.kinds.bridge import Bridge
from reconciler.kinds.sysctl import FORWARDING, find_going_along
from reconciler.state.host import HostState
from reconciler.state.ref import HOST

BRIDGE = Bridge(HOST, "b-shop-lan", "02:00:00:00:00:01", 1500, 7, "netctl:shop/direct/lan")


def test_a_host_that_stays_keeps_its_own_settings() -> None:
    """With a bridge go its settings; whether the machine forwards is ours to say only where we have written it."""
    live, nothing = HostState.of([BRIDGE]), HostState({})
    assert set(find_going_along(live, nothing, host_goes=False)[HOST]).isdisjoint(FORWARDING)
    assert set(find_going_along(live, nothing, host_goes=True)[HOST]).issuperset(FORWARDING)
    assert not find_going_along(live, live, host_goes=True)
