"""A connection to Open vSwitch's database, and its contents as values of `state.snapshot` (RFC 7047).

The library is `ovs`, Open vSwitch's own, pure Python. This module uses its stream and its JSON-RPC. Its replica of a
database (`ovs.db.idl`) is for long-running programs. The tables are those of ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from reconciler.errors import HostError
from reconciler.kernel.openvswitch.operations import DATABASE, HWADDR, UNTAGGED, Operation, Row
from reconciler.state.snapshot import OvsBridgeInfo, OvsPortInfo
from reconciler.state.steps.openvswitch import HANDS_OFF

TIMEOUT_S = 10.0
COLUMNS = {
    "Bridge": ["_uuid", "name", "datapath_type", "fail_mode", "external_ids", "other_config", "flood_vlans", "ports"],
    "Port": ["_uuid", "name", "interfaces", "external_ids", "protected", "qos"],
    "Interface": ["_uuid", "name", "ofport", "mtu_request"],
    "QoS": ["_uuid", "type"],
}


class Ovsdb:
    """A connection to the OVSDB at a Unix socket. HostError if it does not answer, or rejects a request."""

    def __init__(self, url: str) -> None:
        """`url` is a URL such as `unix:/run/openvswitch/db.sock`."""
        import ovs.jsonrpc
        import ovs.stream

        self._url = url
        error, stream = ovs.stream.Stream.open_block(ovs.stream.Stream.open(url), int(TIMEOUT_S * 1000))
        if error:
            raise HostError(f"Open vSwitch does not answer at {url}", "start it: systemctl start openvswitch-switch")
        self._connection = ovs.jsonrpc.Connection(stream)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._connection.close()

    def transact(self, operations: Sequence[Operation]) -> list[Row]:
        """The results of the operations, which are executed all or not at all. HostError with the reason."""
        import ovs.jsonrpc

        request = ovs.jsonrpc.Message.create_request("transact", [DATABASE, *operations])
        self._check(self._connection.send(request))
        reply = self._receive(request.id)
        if reply.error:
            raise HostError(f"Open vSwitch refused a transaction: {reply.error}")
        with understanding():
            for result in reply.result:
                if result and "error" in result:
                    raise HostError(f"Open vSwitch refused a transaction: {result.get('details') or result['error']}")
            return [dict(result or {}) for result in reply.result]

    def _receive(self, number: int) -> Any:
        import errno

        import ovs.poller

        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            self._connection.run()
            error, message = self._connection.recv()
            if message is not None and message.id == number:
                return message
            if error == errno.EAGAIN:
                poller = ovs.poller.Poller()
                self._connection.wait(poller)
                self._connection.recv_wait(poller)
                poller.timer_wait(int(TIMEOUT_S * 1000))
                poller.block()
            else:
                self._check(error)
        raise HostError(f"Open vSwitch does not answer at {self._url}, after {TIMEOUT_S:.0f} s")

    def _check(self, error: int) -> None:
        if error:
            raise HostError(f"the connection to Open vSwitch at {self._url} broke", "check that ovsdb-server runs")


# --- reading ----------------------------------------------------------------------------------------------------------


def is_there(url: str) -> bool:
    """Whether there is a socket; its server is not checked."""
    return Path(url.removeprefix("unix:")).is_socket()


@contextlib.contextmanager
def understanding() -> Iterator[None]:
    """Parsing an answer of the database: within, HostError if it has not the form of one (RFC 7047)."""
    try:
        yield
    except (KeyError, TypeError, IndexError, ValueError, AttributeError, RecursionError) as error:
        raise HostError(
            f"Open vSwitch sent a malformed answer ({type(error).__name__})", "check that ovsdb-server listens there"
        ) from error


def read_bridges(database: Ovsdb) -> tuple[OvsBridgeInfo, ...]:
    """All bridges with their ports, in one transaction."""
    results = database.transact(_selects())
    with understanding():
        return _parse_bridges(results)


def _parse_bridges(results: Sequence[Row]) -> tuple[OvsBridgeInfo, ...]:
    bridges, ports, interfaces, queues = (result["rows"] for result in results)
    hands_off = {parse_uuid(row["_uuid"]) for row in queues if row["type"] == HANDS_OFF}
    interface_by_uuid = {parse_uuid(row["_uuid"]): row for row in interfaces}
    port_by_uuid = {parse_uuid(row["_uuid"]): row for row in ports}
    mtus = {row["name"]: row["mtu_request"] for row in interfaces}
    return tuple(
        OvsBridgeInfo(
            name=str(row["name"]),
            datapath=str(row["datapath_type"] or "system"),
            mac=parse_map(row["other_config"]).get(HWADDR, ""),
            mtu=parse_number(mtus.get(row["name"], 0)),
            fail_mode=parse_text(row["fail_mode"]),
            external_ids=tuple(sorted(parse_map(row["external_ids"]).items())),
            ports=tuple(
                _port(port_by_uuid[uuid], interface_by_uuid, hands_off)
                for uuid in parse_uuids(row["ports"])
                if port_by_uuid[uuid]["name"] != row["name"]
            ),
            learns=UNTAGGED not in parse_numbers(row["flood_vlans"]),
        )
        for row in bridges
    )


def _selects() -> list[Operation]:
    return [{"op": "select", "table": table, "where": [], "columns": columns} for table, columns in COLUMNS.items()]


def _port(row: Row, interfaces: Mapping[str, Row], hands_off: Container[str]) -> OvsPortInfo:
    uuids = parse_uuids(row["interfaces"])
    number = parse_number(interfaces[uuids[0]]["ofport"]) if len(uuids) == 1 else 0
    marks = tuple(sorted(parse_map(row["external_ids"]).items()))
    leaves_queues = any(uuid in hands_off for uuid in parse_uuids(row["qos"]))
    return OvsPortInfo(str(row["name"]), max(number, 0), marks, bool(row["protected"]), leaves_queues)


def parse_uuid(value: Any) -> str:
    """`["uuid", "…"]`."""
    return str(value[1])


def parse_uuids(value: Any) -> list[str]:
    """A set of UUIDs; a set of one is written as a single UUID (RFC 7047, section 5.1)."""
    return [parse_uuid(value)] if value[0] == "uuid" else [parse_uuid(item) for item in value[1]]


def parse_map(value: Any) -> dict[str, str]:
    """`["map", [[key, value], …]]`."""
    return {str(key): str(item) for key, item in value[1]}


def parse_number(value: Any) -> int:
    """A number, or an empty set."""
    return value if type(value) is int else 0


def parse_numbers(value: Any) -> list[int]:
    """A set of numbers; a set of one is written as a single number (RFC 7047, section 5.1)."""
    return [value] if isinstance(value, int) else [int(item) for item in value[1]]


def parse_text(value: Any) -> str:
    """A text, or an empty set."""
    return value if isinstance(value, str) else ""
