"""What a local user without rights can hold up: locks that outlive their taker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.machine import Machine
from tests.harness.topologies.local import write
from tests.system.attacks.test_local_user import TOPOLOGY, lives, path, start_as_user, wait_for
from tests.system.e2e.conftest import machine

__all__ = ["machine", "path"]
pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("target", ["/run/netctl/local/lock", "/run/netns"])
def test_a_lock_whose_taker_has_ended_holds_up_nothing(machine: Machine, path: Path, target: str) -> None:
    """flock(1) takes the lock and ends, the shell has the descriptor: /proc/locks does not show such a lock at all."""
    machine.sh("cd /run/netctl; mkdir -p local; : >local/lock; chmod 755 . local; chmod 644 local/lock")
    holder = start_as_user(machine, "sh", "-c", "exec 9<$0; flock 9; exec sleep infinity", target)
    wait_for(lambda: machine.run("flock", "-n", target, "true", check=False).status == 1)
    write(machine, TOPOLOGY + "  more: {networks: {front: 10.44.0.30}}\n")
    for command in ("apply", "destroy"):
        done = machine.netctl(command, path)
        assert done.status == 0, done.err
    assert lives(holder)
