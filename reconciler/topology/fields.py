"""Field types for the model: each has its parser and its JSON Schema, which pydantic cannot derive.

`model` uses them; the parsers, and their errors, are in `scalars`, `addresses`, `ports` and `connect`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from reconciler.state.grammar import LABEL, TOPOLOGY_NAME_MAX
from reconciler.state.naming import RESERVED_NAMES
from reconciler.state.uapi import PORT_MAX
from reconciler.topology.addresses import parse_addresses, parse_auto_addresses, parse_cidrs, parse_sources
from reconciler.topology.connect import parse_connect, parse_engine, parse_lxc_path
from reconciler.topology.ports import ContainerPorts, HostPorts, parse_listen, parse_policy_ports, parse_target
from reconciler.topology.scalars import (
    parse_interface,
    parse_label,
    parse_mac,
    parse_reference,
    parse_topology_name,
)
from reconciler.topology.types import Connect, IPAddress, Network, PortRange


def _text(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


_PORT = r"[0-9]{1,5}(-[0-9]{1,5})?"
_PORT_NUMBER = {"type": "integer", "minimum": 1, "maximum": PORT_MAX}
_ADDRESS: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-fA-F.:]+$", "examples": ["10.44.0.10", "fd00:44::10"]}
_CIDR: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$", "examples": ["10.44.0.0/24", "fd00:44::/64"]}


def _one_or_pair(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "maxItems": 2}]}


ADDRESSES_SCHEMA = _one_or_pair(_ADDRESS)
AUTO_SCHEMA: dict[str, Any] = {"const": "auto", "description": "chosen by netctl, and kept"}

TopologyName = Annotated[
    str,
    PlainValidator(parse_topology_name),
    WithJsonSchema({"type": "string", "pattern": f"^{LABEL}$", "maxLength": TOPOLOGY_NAME_MAX}),
]
Label = Annotated[str, PlainValidator(parse_label), _text(f"^(?!({'|'.join(RESERVED_NAMES)})$){LABEL}$")]
Reference = Annotated[str, PlainValidator(parse_reference), WithJsonSchema({"type": "string", "minLength": 1})]
InterfaceName = Annotated[str, PlainValidator(parse_interface), _text("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$", "eth0")]
Mac = Annotated[str, PlainValidator(parse_mac), _text("^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$", "02:00:00:00:00:10")]
Addresses = Annotated[tuple[IPAddress, ...], PlainValidator(parse_addresses), WithJsonSchema(ADDRESSES_SCHEMA)]
AutoAddresses = Annotated[
    tuple[IPAddress, ...],
    PlainValidator(parse_auto_addresses),
    WithJsonSchema({"anyOf": [AUTO_SCHEMA, *ADDRESSES_SCHEMA["anyOf"]]}),
]
Cidrs = Annotated[tuple[Network, ...], PlainValidator(parse_cidrs), WithJsonSchema(_one_or_pair(_CIDR))]
Sources = Annotated[
    tuple[Network, ...],
    PlainValidator(parse_sources),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "examples": [["192.0.2.0/24"]],
        }
    ),
]
ConnectTo = Annotated[
    Connect,
    PlainValidator(parse_connect),
    WithJsonSchema(
        {"anyOf": [{"enum": ["local", "lab"]}, {"type": "string", "pattern": "^ssh://.+$", "examples": ["ssh://root@alpha:22"]}]}
    ),
]
Engine = Annotated[str, PlainValidator(parse_engine), _text("^unix:///", "unix:///var/run/docker.sock")]
LxcPath = Annotated[str, PlainValidator(parse_lxc_path), _text("^/", "/var/lib/lxc")]
ListenOn = Annotated[
    HostPorts,
    PlainValidator(parse_listen),
    WithJsonSchema({"anyOf": [_PORT_NUMBER, {"type": "string", "pattern": f"^(.+:)?{_PORT}$", "examples": ["192.0.2.11:8443"]}]}),
]
LeadTo = Annotated[
    ContainerPorts,
    PlainValidator(parse_target),
    WithJsonSchema(
        {"anyOf": [_PORT_NUMBER, {"type": "string", "pattern": f"^{_PORT}(/(tcp|udp|sctp))?$", "examples": ["53/udp"]}]}
    ),
]
PolicyPorts = Annotated[
    PortRange,
    PlainValidator(parse_policy_ports),
    WithJsonSchema(
        {
            "anyOf": [
                _PORT_NUMBER,
                {"type": "string", "pattern": f"^{_PORT}(/(tcp|udp|sctp))?$", "examples": ["80/tcp", "8000-8010/udp"]},
            ]
        }
    ),
]
PUBLICATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _PORT_NUMBER,
        {
            "type": "string",
            "pattern": f"^((.*:)?{_PORT}:)?{_PORT}(/(tcp|udp|sctp))?$",
            "examples": ["8080:80", "127.0.0.1:5353:53/udp"],
        },
    ],
    "description": "[[host address:]host port[-end]:]container port[-end][/tcp|udp|sctp]",
}
