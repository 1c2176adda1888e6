"""`verify` sees with packets what `diff` would see by reading: here, that a filter which should stop them does not."""

from __future__ import annotations

import json

import pytest

from reconciler.probes.spoofing import ADVERTISEMENT, ARP, NDP
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = pytest.mark.kernel


def test_a_filter_that_lets_spoofed_addresses_through(furnished: Machine) -> None:
    """Where a container can use another's IPv4 or IPv6 address, each of the three ways is named; with the filter, none passes."""
    file = write(furnished, LOCAL)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    good, _ = quick_netctl(furnished, "verify", "--json", file)
    assert good.status == 0, good.out
    asked = {row["kind"] for row in json.loads(good.out)["probes"]}
    assert asked >= {"arp", "ndp", "advertisement"}
    furnished.sh("for each in port_arp port_ip6; do nft insert rule bridge netctl-here $each accept; done")
    bad, _ = quick_netctl(furnished, "verify", "--json", file)
    assert bad.status == 6, bad.out
    failed = [row for row in json.loads(bad.out)["probes"] if not row["passed"] and row["kind"] in (ARP, NDP, ADVERTISEMENT)]
    assert {(row["source"], row["kind"]) for row in failed} == {
        ("web", "arp"),
        ("web", "ndp"),
        ("web", "advertisement"),
        ("db", "arp"),
    }
    assert all("bridge table" in row["fault"] for row in failed)
