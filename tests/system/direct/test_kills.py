"""Invariants 1, 2 and 4 where the host's own place in the network is at stake: killed at any moment, it is found again.

The trials are those of `system/e2e`, on hosts with an uplink in a bridge or under macvlans. A kill strikes
after the writing of the host's file about its uplink, too, before and after the one send that moves it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.faults import walker
from tests.harness.faults.walker import EMPTY, try_all
from tests.system.e2e.test_invariant_4_kills import EITHER, plan_trials

pytestmark = [pytest.mark.kernel, pytest.mark.long, pytest.mark.invariant(4)]

DIRECT = """\
version: 1
name: here
hosts: {one: {connect: local}}
subnets: {lan: {cidr: [192.0.2.0/24, "2001:db8::/64"], mode: direct}}
containers: {web: {networks: {lan: [192.0.2.50, "2001:db8::50"]}}}
"""
MACVLAN = DIRECT.replace("direct", "macvlan")
walker.TEXTS |= {"direct": DIRECT, "macvlan": MACVLAN}
WAYS = [
    (EMPTY, "direct", EITHER, "operation"),
    ("direct", EMPTY, EITHER, "operation"),
    ("macvlan", "direct", EITHER, "step"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(word or "empty" for word in way))
def test_killed_at_every_step(way: tuple[str, str, str, str], tmp_path: Path) -> None:
    """SIGKILL after every second operation on the kernel or on the file, and the next apply or destroy gets there."""
    trials = list(plan_trials(tmp_path, *way))
    assert len(trials) > 5
    wrong = try_all(tmp_path, trials)
    assert not wrong, wrong
