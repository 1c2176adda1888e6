"""Changes of Open vSwitch's database: one transaction for each batch of steps (RFC 7047, section 5.2).

Called by `executor` and `uplink`. A transaction is acknowledged when the database has it, which is before ovs-vswitchd has
done it. So each counts `next_cfg` up, as ovs-vsctl(8) does, and waits until `cur_cfg` has followed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.errors import HostError
from reconciler.kernel.ovsdb import (
    DATABASE,
    HWADDR,
    TIMEOUT_S,
    UNTAGGED,
    Operation,
    Ovsdb,
    Row,
    parse_text,
    read_bridges,
    render_map,
)
from reconciler.kinds.openvswitch import read_marks
from reconciler.state.snapshot import OvsBridgeInfo
from reconciler.state.steps.openvswitch import (
    Marks,
    OvsBridgeAdd,
    OvsBridgeDelete,
    OvsBridgeSet,
    OvsPortAdd,
    OvsPortDelete,
    OvsPortSet,
)
from reconciler.state.steps.step import Step, StepError

POLL_S = 0.003


def run_ovsdb_steps(url: str, steps: Sequence[Step]) -> None:
    """Carry out the steps, and return when ovs-vswitchd has done it. StepError where it is refused.

    It is one transaction; but what is removed and made again under its name takes two, for to ovs-vswitchd one that ends as it
    began is none.
    """
    with Ovsdb(url) as database:
        for run in split_runs(steps):
            _run(database, run)


def split_runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps in their order, cut wherever a name comes again that was removed."""
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
    uuids = _Uuids(database)
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
    """The root of all, in a database that is so new that nobody has made it (`ovs-vsctl init`)."""
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
                "is ovs-vswitchd running? systemctl start openvswitch-switch",
            )
        time.sleep(POLL_S)


def _check_ports(database: Ovsdb, steps: Sequence[Step]) -> None:
    """StepError where ovs-vswitchd could not take a link; why stands in the interface's column `error`."""
    wanted = {step.name: step for step in steps if isinstance(step, OvsPortAdd | OvsPortSet)}
    if not wanted:
        return
    select = [{"op": "select", "table": "Interface", "where": [["ofport", "==", -1]], "columns": ["name", "error"]}]
    for row in database.transact(select)[0]["rows"]:
        if row["name"] in wanted:
            raise StepError(wanted[row["name"]], f"Open vSwitch cannot use {row['name']}: {parse_text(row['error'])}")


class _Uuids:
    """The UUIDs of what is in the database, by table and name."""

    def __init__(self, database: Ovsdb) -> None:
        tables = ("Bridge", "Port")
        found = database.transact(
            [{"op": "select", "table": table, "where": [], "columns": ["_uuid", "name"]} for table in tables]
        )
        self._found = {
            (table, row["name"]): row["_uuid"] for table, result in zip(tables, found, strict=True) for row in result["rows"]
        }

    def get(self, table: str, name: str) -> Any:
        """`["uuid", …]`, or None."""
        return self._found.get((table, name))

    def take(self, table: str, name: str) -> Any:
        """The same, of what is about to go: its name is free from then on."""
        return self._found.pop((table, name), None)


def lower(step: Step, uuids: _Uuids, bridges: Sequence[OvsBridgeInfo]) -> Iterator[Operation]:
    """The operations of one step. What is to be removed and is gone needs none. StepError where a name is somebody else's."""
    match step:
        case OvsBridgeAdd():
            if uuids.get("Bridge", step.name) or uuids.get("Port", step.name):
                raise StepError(step, f"Open vSwitch has a bridge or port {step.name} already, which is not netctl's")
            yield from _bridge_add(step)
        case OvsBridgeSet():
            held = next((bridge.external_ids for bridge in bridges if bridge.name == step.name), ())
            yield _update("Bridge", step.name, {"fail_mode": step.fail_mode})
            change = ["flood_vlans", "delete" if step.learns else "insert", ["set", [UNTAGGED]]]
            yield {"op": "mutate", "table": "Bridge", "where": _named(step.name), "mutations": [change]}
            yield from _mutate_map("Bridge", step.name, "external_ids", read_marks(held), step.marks)
            yield from _mutate_map("Bridge", step.name, "other_config", ((HWADDR, ""),), ((HWADDR, step.mac),))
            yield _update("Interface", step.name, {"mtu_request": step.mtu})
        case OvsBridgeDelete():
            if uuid := uuids.take("Bridge", step.name):
                yield _mutate(DATABASE, [], "bridges", "delete", uuid)
        case OvsPortAdd():
            if uuids.get("Port", step.name):
                raise StepError(step, f"Open vSwitch has a port {step.name} already, which is not netctl's")
            yield from _port_add(step)
        case OvsPortSet():
            held = next((port.external_ids for bridge in bridges for port in bridge.ports if port.name == step.name), ())
            yield _there("Port", step.name)
            yield _update("Port", step.name, {"protected": step.is_isolated})
            yield from _mutate_map("Port", step.name, "external_ids", read_marks(held), step.marks)
        case OvsPortDelete():
            if uuid := uuids.take("Port", step.name):
                yield _mutate("Bridge", _named(step.bridge), "ports", "delete", uuid)
        case _:
            raise TypeError(f"the OVSDB has no operation for {type(step).__name__}")


def _bridge_add(step: OvsBridgeAdd) -> Iterator[Operation]:
    interface, port, bridge = (f"{word}_{_word(step.name)}" for word in ("interface", "port", "bridge"))
    yield _insert("Interface", interface, {"name": step.name, "type": "internal", "mtu_request": step.mtu})
    marks = render_map(step.marks)
    yield _insert("Port", port, {"name": step.name, "interfaces": ["named-uuid", interface], "external_ids": marks})
    row = {
        "name": step.name,
        "datapath_type": step.datapath,
        "fail_mode": step.fail_mode,
        "other_config": render_map(((HWADDR, step.mac),)),
        "external_ids": marks,
        "flood_vlans": ["set", [] if step.learns else [UNTAGGED]],
        "ports": ["named-uuid", port],
    }
    yield _insert("Bridge", bridge, row)
    yield _mutate(DATABASE, [], "bridges", "insert", ["named-uuid", bridge])


def _port_add(step: OvsPortAdd) -> Iterator[Operation]:
    interface, port = (f"{word}_{_word(step.name)}" for word in ("interface", "port"))
    yield _there("Bridge", step.bridge)
    asked = {"ofport_request": step.number} if step.number else {}
    yield _insert("Interface", interface, {"name": step.name, **asked})
    row = {
        "name": step.name,
        "interfaces": ["named-uuid", interface],
        "external_ids": render_map(step.marks),
        "protected": step.is_isolated,
    }
    yield _insert("Port", port, row)
    yield _mutate("Bridge", _named(step.bridge), "ports", "insert", ["named-uuid", port])


def _word(name: str) -> str:
    """A name as an identifier of the protocol: letters, digits and `_` (RFC 7047, section 3.1)."""
    return name.encode().hex()


def _named(name: str) -> list[list[str]]:
    return [["name", "==", name]]


def _there(table: str, name: str) -> Operation:
    """Lets the whole transaction fail where the row is not there: a change of no row would pass for one."""
    rows = [{"name": name}]
    return {"op": "wait", "timeout": 0, "table": table, "where": _named(name), "columns": ["name"], "until": "==", "rows": rows}


def _insert(table: str, name: str, row: Row) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": name, "row": row}


def _update(table: str, name: str, row: Row) -> Operation:
    return {"op": "update", "table": table, "where": _named(name), "row": row}


def _mutate(table: str, where: list[list[str]], column: str, verb: str, uuid: Any) -> Operation:
    return {"op": "mutate", "table": table, "where": where, "mutations": [[column, verb, ["set", [uuid]]]]}


def _mutate_map(table: str, name: str, column: str, held: Marks, wanted: Marks) -> Iterator[Operation]:
    """Our own keys are replaced, all others stay."""
    keys = ["set", sorted({key for key, _ in (*held, *wanted)})]
    mutations = [[column, "delete", keys], [column, "insert", render_map(wanted)]]
    yield {"op": "mutate", "table": table, "where": _named(name), "mutations": mutations}
