"""The operations of a transaction on Open vSwitch's database (RFC 7047) for each step. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reconciler.kinds.openvswitch.bridge import read_marks
from reconciler.state.snapshot import OvsBridgeInfo
from reconciler.state.steps.openvswitch import (
    BRIDGE_MARK,
    HANDS_OFF,
    OVS_TOPOLOGY,
    PORT_MARK,
    Marks,
    OvsBridgeAdd,
    OvsBridgeDelete,
    OvsBridgeSet,
    OvsPortAdd,
    OvsPortDelete,
    OvsPortSet,
)
from reconciler.state.steps.step import Step, StepError

DATABASE = "Open_vSwitch"
UNTAGGED = 0
"""The value in the column `flood_vlans` for untagged frames. Their addresses are not learned, and the frames are flooded."""
HWADDR = "hwaddr"
"""The key of a bridge's MAC address in its `other_config`."""

Operation = dict[str, Any]
Row = dict[str, Any]


class Uuids:
    """The UUIDs of the rows in the database, by table and name."""

    TABLES = ("Bridge", "Port")

    def __init__(self, results: Sequence[Row]) -> None:
        """`results` are those of `selects`."""
        self._found = {
            (table, row["name"]): row["_uuid"]
            for table, result in zip(self.TABLES, results, strict=True)
            for row in result["rows"]
        }

    @classmethod
    def selects(cls) -> list[Operation]:
        """The operations that read them."""
        return [{"op": "select", "table": table, "where": [], "columns": ["_uuid", "name"]} for table in cls.TABLES]

    def get(self, table: str, name: str) -> Any:
        """`["uuid", …]`, or None."""
        return self._found.get((table, name))

    def take(self, table: str, name: str) -> Any:
        """The same for a row that is about to be deleted: its name is free from then on."""
        return self._found.pop((table, name), None)


def lower(step: Step, uuids: Uuids, bridges: Sequence[OvsBridgeInfo]) -> Iterator[Operation]:
    """The operations of one step. A missing thing that is to be deleted needs none. StepError if a name is a foreign one's."""
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
            ports = (port.name for bridge in bridges for port in bridge.ports if bridge.name == step.name)
            yield from _clear_queues(BRIDGE_MARK, step.name, ports)
            if uuid := uuids.take("Bridge", step.name):
                yield _mutate(DATABASE, [], "bridges", "delete", uuid)
        case OvsPortAdd():
            if uuids.get("Port", step.name):
                raise StepError(step, f"Open vSwitch has a port {step.name} already, which is not netctl's")
            yield from _port_add(step)
        case OvsPortSet():
            known = ((bridge.name, port.external_ids) for bridge in bridges for port in bridge.ports if port.name == step.name)
            bridge, held = next(known, ("", ()))
            yield _there("Port", step.name)
            yield from _queues(step, bridge)
            row = {"qos": ["named-uuid", f"qos_{_word(step.name)}"]} if step.leaves_queues else {}
            yield _update("Port", step.name, {"protected": step.is_isolated, **row})
            yield from _mutate_map("Port", step.name, "external_ids", read_marks(held), step.marks)
        case OvsPortDelete():
            if step.leaves_queues:
                yield from _clear_queues(PORT_MARK, step.name, (step.name,))
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
    yield from _queues(step, step.bridge)
    row: Row = {
        "name": step.name,
        "interfaces": ["named-uuid", interface],
        "external_ids": render_map(step.marks),
        "protected": step.is_isolated,
    }
    if step.leaves_queues:
        row["qos"] = ["named-uuid", f"qos_{_word(step.name)}"]
    yield _insert("Port", port, row)
    yield _mutate("Bridge", _named(step.bridge), "ports", "insert", ["named-uuid", port])


def _queues(step: OvsPortAdd | OvsPortSet, bridge: str) -> Iterator[Operation]:
    """The QoS of a port whose queueing discipline ovs-vswitchd leaves alone. That of an earlier port is deleted."""
    if step.leaves_queues:
        yield from _clear_queues(PORT_MARK, step.name, (step.name,))
        marks = (*(mark for mark in step.marks if mark[0] == OVS_TOPOLOGY), (PORT_MARK, step.name), (BRIDGE_MARK, bridge))
        yield _insert("QoS", f"qos_{_word(step.name)}", {"type": HANDS_OFF, "external_ids": render_map(marks)})


def _clear_queues(mark: str, name: str, ports: Iterable[str]) -> Iterator[Operation]:
    """Delete netctl's QoS rows with the mark, and first the references to them: else the database rejects it."""
    yield from (_update("Port", port, {"qos": ["set", []]}) for port in ports)
    yield {"op": "delete", "table": "QoS", "where": [["external_ids", "includes", render_map(((mark, name),))]]}


def _word(name: str) -> str:
    """A name as an identifier of the protocol: letters, digits and `_` (RFC 7047, section 3.1)."""
    return name.encode().hex()


def _named(name: str) -> list[list[str]]:
    return [["name", "==", name]]


def _there(table: str, name: str) -> Operation:
    """An operation that fails the whole transaction if the row does not exist: else a change of no row would succeed."""
    rows = [{"name": name}]
    return {"op": "wait", "timeout": 0, "table": table, "where": _named(name), "columns": ["name"], "until": "==", "rows": rows}


def _insert(table: str, name: str, row: Row) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": name, "row": row}


def _update(table: str, name: str, row: Row) -> Operation:
    return {"op": "update", "table": table, "where": _named(name), "row": row}


def _mutate(table: str, where: list[list[str]], column: str, verb: str, uuid: Any) -> Operation:
    return {"op": "mutate", "table": table, "where": where, "mutations": [[column, verb, ["set", [uuid]]]]}


def _mutate_map(table: str, name: str, column: str, held: Marks, wanted: Marks) -> Iterator[Operation]:
    """Replace netctl's own keys, and keep all others."""
    keys = ["set", sorted({key for key, _ in (*held, *wanted)})]
    mutations = [[column, "delete", keys], [column, "insert", render_map(wanted)]]
    yield {"op": "mutate", "table": table, "where": _named(name), "mutations": mutations}


def render_map(marks: Marks) -> list[Any]:
    """`["map", [[key, value], …]]`."""
    return ["map", [list(mark) for mark in marks]]
