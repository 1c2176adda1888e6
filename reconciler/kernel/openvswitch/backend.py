"""Changes of Open vSwitch's database: one transaction for each batch of steps (RFC 7047, section 5.2).

The database acknowledges a transaction before ovs-vswitchd applies it. So each transaction increments `next_cfg`, like
ovs-vsctl(8), and waits until `cur_cfg` has followed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from reconciler.errors import HostError
from reconciler.kernel.openvswitch.operations import DATABASE, Operation, Uuids, lower
from reconciler.kernel.openvswitch.ovsdb import TIMEOUT_S, Ovsdb, parse_text, read_bridges
from reconciler.state.steps.openvswitch import OvsBridgeAdd, OvsBridgeDelete, OvsPortAdd, OvsPortDelete, OvsPortSet
from reconciler.state.steps.step import Step, StepError

POLL_S = 0.003


def run_ovsdb_steps(url: str, steps: Sequence[Step]) -> None:
    """Execute the steps, and return when ovs-vswitchd has applied them. StepError if they are rejected.

    It is one transaction. A thing that is deleted and created again under its name takes two, because ovs-vswitchd sees
    no difference in one.
    """
    with Ovsdb(url) as database:
        for run in split_runs(steps):
            _run(database, run)


def split_runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps in order, split before each name that occurs again after its deletion."""
    run: list[Step] = []
    gone: set[str] = set()
    for step in steps:
        if isinstance(step, OvsBridgeAdd | OvsPortAdd) and step.name in gone:
            yield run
            run, gone = [], set()
        if isinstance(step, OvsBridgeDelete | OvsPortDelete):
            gone.add(step.name)
        run.append(step)
    if run:
        yield run


def _run(database: Ovsdb, steps: Sequence[Step]) -> None:
    bridges = read_bridges(database)
    uuids = Uuids(database.transact(Uuids.selects()))
    operations = [*_first_row(database)]
    operations += [operation for step in steps for operation in lower(step, uuids, bridges)]
    operations += [
        {"op": "mutate", "table": DATABASE, "where": [], "mutations": [["next_cfg", "+=", 1]]},
        {"op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"]},
        {"op": "comment", "comment": f"netctl: {len(steps)} steps"},
    ]
    try:
        results = database.transact(operations)
    except HostError as error:
        raise StepError(steps[0], error.message) from error
    _wait(database, results[-2]["rows"][0]["next_cfg"])
    _check_ports(database, steps)


def _first_row(database: Ovsdb) -> Iterator[Operation]:
    """The root row, in a new database that was never initialised (`ovs-vsctl init`)."""
    select = {"op": "select", "table": DATABASE, "where": [], "columns": ["_uuid"]}
    if not database.transact([select])[0]["rows"]:
        yield {"op": "insert", "table": DATABASE, "row": {}}


def _wait(database: Ovsdb, wanted: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    select = [{"op": "select", "table": DATABASE, "where": [], "columns": ["cur_cfg"]}]
    while database.transact(select)[0]["rows"][0]["cur_cfg"] < wanted:
        if time.monotonic() > deadline:
            raise HostError(
                f"Open vSwitch has not carried out a change after {TIMEOUT_S:.0f} s",
                "start ovs-vswitchd: systemctl start openvswitch-switch",
            )
        time.sleep(POLL_S)


def _check_ports(database: Ovsdb, steps: Sequence[Step]) -> None:
    """StepError if ovs-vswitchd could not use a link; the interface's column `error` has the reason."""
    wanted = {step.name: step for step in steps if isinstance(step, OvsPortAdd | OvsPortSet)}
    if not wanted:
        return
    select = [{"op": "select", "table": "Interface", "where": [["ofport", "==", -1]], "columns": ["name", "error"]}]
    for row in database.transact(select)[0]["rows"]:
        if row["name"] in wanted:
            raise StepError(wanted[row["name"]], f"Open vSwitch cannot use {row['name']}: {parse_text(row['error'])}")
