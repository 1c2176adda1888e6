"""Firewalls of others on a host whose subnets are all on Open vSwitch."""

from __future__ import annotations

import pytest

from tests.harness.worlds.openvswitch import SwitchWorld

pytestmark = pytest.mark.kernel

STRICT = "add table inet strict\nadd chain inet strict through { type filter hook forward priority 10; policy drop; }\n"


def test_drops_are_reported_and_the_advice_helps(cleared: SwitchWorld) -> None:
    """A table that drops is named before anything is done, with the command that lets the traffic of the switch pass."""
    cleared.machine.run("nft", "-f", "-", text=STRICT)
    try:
        told = cleared.netctl("diff", status=1).err
        assert "nftables table inet strict drops unknown packets (inet strict through)" in told
        cleared.netctl("apply")
        assert not cleared.pings("web", "192.0.2.1")
        advice = next(line for line in told.splitlines() if "nft insert rule inet strict" in line).removeprefix("help: ")
        cleared.sh(advice)
        assert cleared.pings("web", "192.0.2.1")
    finally:
        cleared.sh("nft delete table inet strict")
