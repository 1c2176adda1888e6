"""What `verify` asks of real hosts from their own segment: by another declared host, over two real sshds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.worlds.ssh import SshWorld

pytestmark = pytest.mark.kernel
DOOR = """
table netdev door { chain arriving {
    type filter hook ingress device "eth0" priority -500
    ip daddr 127.0.0.1 tcp dport 8080 ip daddr set 192.0.2.11
}
}
table ip door { chain leaving {
    type filter hook postrouting priority 500
    tcp sport 8080 ip saddr 192.0.2.11 ip daddr 192.0.2.12 ip saddr set 127.0.0.1
}
}
"""


def test_a_declared_neighbour_asks(world: SshWorld, shop: Path, write: Callable[..., Path]) -> None:
    """The other host of the file asks for the port on localhost by its uplink, and gets an answer once a rule lets it in."""
    assert world.netctl("apply", shop).status == 0
    world.machines["alpha"].run("sh", "-c", f"nft -f - <<'EOF'\n{DOOR}\nEOF")
    try:
        done = world.netctl("verify", "--json", shop)
    finally:
        world.machines["alpha"].run("sh", "-c", "nft delete table netdev door; nft delete table ip door")
    document = json.loads(done.out)
    asked = [row for row in document["probes"] if row["address"] == "127.0.0.1" and row["source"] == "host beta"]
    assert [(row["target"], row["port"], row["outcome"]) for row in asked] == [("host alpha", 8080, "answered")]
    assert done.status == 6
    assert not [note for note in document["notes"] if "neighbour" in note]
