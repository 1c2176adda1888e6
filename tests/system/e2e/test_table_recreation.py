"""A table of nftables that is re-created, because another program added a chain, breaks no connection that a policy allows.

The kernel begins to use new chains a moment before the elements of sets that are concatenated and have intervals. In
net/netfilter/nf_tables_api.c, nf_tables_commit changes the generation first, and nft_set_commit_update comes last.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.faults.connections import Connection, start_server
from tests.harness.faults.strike import quick_netctl
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = [pytest.mark.kernel]

CONNECTIONS, ROUNDS = 8, 12


def test_policies_hold_while_the_table_is_recreated(furnished: Machine) -> None:
    """Connections by a policy live through each re-creation, and new ones that no policy allows are refused at once."""
    file: Path = write(furnished, LOCAL)
    assert quick_netctl(furnished, "apply", file)[0].status == 0
    for port in (5432, 5433):
        start_server(furnished, "here.db", port)
    connections = [Connection.open(furnished, "here.web", "10.45.0.20", 5432) for _ in range(CONNECTIONS)]
    for _ in range(ROUNDS):
        furnished.sh("nft add chain inet netctl-here foreign")
        assert "re-created" in quick_netctl(furnished, "apply", file)[0].out
        for connection in connections:
            connection.check()
    refused = furnished.run("busybox", "nc", "-w", "5", "10.45.0.20", "5433", netns="here.web", check=False, text="")
    assert refused.status != 0
    assert "refused" in refused.err
