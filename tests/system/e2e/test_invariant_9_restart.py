"""Invariant 9: a container that restarts, or whose command has ended, is repaired by the next apply, and nothing else changes."""

from __future__ import annotations

import json

import pytest

from tests.harness.faults.connections import Connection, start_server
from tests.harness.live import differences, read_live, read_pids
from tests.harness.machine import Machine
from tests.harness.topologies.local import LOCAL, write

pytestmark = [pytest.mark.kernel, pytest.mark.invariant(9)]

TWO = LOCAL.replace("policies:", "  job: {networks: {back: 10.45.0.30}, command: [sleep, '99999']}\npolicies:")


def test_a_command_that_ends_at_once(furnished: Machine) -> None:
    """It is named with the file of its output, which says why; the status is 1, and nothing is rolled back."""
    file = write(furnished, TWO.replace("[sleep, '99999']", '[sh, -c, "echo no such table; exit 3"]'))
    done = furnished.netctl("apply", file)
    assert done.status == 1
    assert "warning: one: container job: command sh -c echo no such table; exit 3 has ended" in done.err
    assert "changed during the apply" not in done.err
    named = done.err.split("read its output in ")[1].split()[0]
    assert furnished.sh(f"cat {named}") == "no such table\n"


def test_invariant_9_a_command_that_has_ended(furnished: Machine) -> None:
    """Its death is drift; apply starts it again, and touches neither its network nor another's process."""
    file = write(furnished, TWO)
    assert furnished.netctl("apply", file).status == 0
    before = read_live(furnished)
    start_server(furnished, "here.job", 7)
    connection = Connection.open(furnished, "here.db", "10.45.0.30", 7)
    other, (victim,) = read_pids(furnished, "sleep infinity"), read_pids(furnished, "sleep 99999")
    furnished.sh(f"kill -9 {victim}")
    assert furnished.netctl("status", file).status == 1
    told = json.loads(furnished.netctl("diff", "--json", file).out)
    changes = [change for host in told["hosts"] for change in host["changes"]]
    assert {change["ref"]["kind"] for change in changes} == {"process"}
    assert furnished.netctl("apply", file).status == 0
    assert read_pids(furnished, "sleep infinity") == other
    assert len(read_pids(furnished, "sleep 99999")) == 1
    assert read_pids(furnished, "sleep 99999") != [victim]
    connection.check()
    assert furnished.netctl("diff", file).status == 0
    assert {line for line in read_live(furnished) - before if "process" not in line} == set()
    assert not [line for line in differences(before, read_live(furnished)).splitlines() if line.startswith("- ")]
