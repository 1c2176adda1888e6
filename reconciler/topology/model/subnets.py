"""A subnet of the file, with the values that only a subnet has: its MTU, its bridge, its gateways."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args

from pydantic import Field, PlainValidator, WithJsonSchema

from reconciler.state.naming import INTERFACE_NAME_MAX
from reconciler.state.uapi import MTU_MAX, MTU_MIN, PORT_MAX, VNI_MAX
from reconciler.topology.addresses import parse_addresses
from reconciler.topology.fields import ADDRESSES_SCHEMA, Cidrs, InterfaceName, Reference
from reconciler.topology.foreign import find_value
from reconciler.topology.model.base import Given, ListForm, Model
from reconciler.topology.model.dns import SubnetDnsModel
from reconciler.topology.scalars import describe, parse_interface, parse_item, refuse
from reconciler.topology.types import DEFAULT_TUNNEL, VXLAN_PORT, BridgeKind, IPAddress, OverlayKey

BRIDGES: tuple[BridgeKind, ...] = get_args(BridgeKind)


class ExistingBridge(NamedTuple):
    """A bridge that exists on the host without netctl, and is used unchanged."""

    name: str


def parse_mtu(value: Any) -> int | None:
    """`auto` (None) or bytes; `checks`, which knows the subnet, checks the IPv6 minimum."""
    if value == "auto":
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        is_short = isinstance(value, str) and value.isdecimal() and len(value) <= 5
        example = value if is_short and MTU_MIN <= int(value) <= MTU_MAX else 1500
        help_text = f"write `mtu: auto`, or a number without quotes such as {example}"
        raise refuse(f"must be `auto` or a number of bytes, but is {describe(value)}", help_text)
    if not MTU_MIN <= value <= MTU_MAX:
        raise refuse(f"must be {MTU_MIN} to {MTU_MAX} bytes, but is {value}", "write `mtu: auto`, or a number such as 1500")
    return value


def parse_bridge(value: Any) -> BridgeKind | ExistingBridge:
    """A kind of bridge, or {existing: NAME}."""
    if isinstance(value, dict):
        if tuple(value) != ("existing",):
            raise refuse("must be {existing: NAME} if it is a mapping", "write `bridge: {existing: br0}`")
        return ExistingBridge(parse_item(parse_interface, value["existing"], "existing"))
    if value not in BRIDGES:
        known = f"write {', '.join(BRIDGES)}, or {{existing: NAME}} for a bridge that the host has already"
        help_text = find_value("subnets", "bridge", value) or known
        if isinstance(value, str) and re.fullmatch(r"[a-z][a-z.-]*[0-9.]+", value):
            help_text = f"write `bridge: {{existing: {value}}}` and `mode: direct`, if the host has a bridge of that name"
        raise refuse(f"must be one of {', '.join(BRIDGES)}, or {{existing: NAME}}, but is {describe(value)}", help_text)
    return cast("BridgeKind", value)


def parse_gateway(value: Any) -> dict[str, tuple[IPAddress, ...]]:
    """An address (of the first host: key ""), or a mapping of host to address."""
    if isinstance(value, dict):
        return {name: parse_item(parse_addresses, addresses, name) for name, addresses in value.items()}
    return {"": parse_addresses(value)}


Mtu = Annotated[
    int | None,
    PlainValidator(parse_mtu),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": MTU_MIN, "maximum": MTU_MAX}]}),
]
Bridge = Annotated[
    BridgeKind | ExistingBridge,
    PlainValidator(parse_bridge),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(BRIDGES)},
                {
                    "type": "object",
                    "properties": {"existing": {"type": "string", "minLength": 1, "maxLength": INTERFACE_NAME_MAX}},
                    "required": ["existing"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Gateway = Annotated[
    dict[str, tuple[IPAddress, ...]],
    PlainValidator(parse_gateway),
    WithJsonSchema({"anyOf": [*ADDRESSES_SCHEMA["anyOf"], {"type": "object", "additionalProperties": ADDRESSES_SCHEMA}]}),
]


class SubnetModel(Model):
    """A subnet: one segment, with one prefix per family."""

    cidr: Cidrs = Field(description="The prefix, or [IPv4, IPv6] for dual stack.")
    mode: Literal["nat", "routed", "isolated", "direct", "macvlan"] = Field(
        "nat",
        description="How it reaches other networks: nat (masqueraded), routed, isolated (its host only), direct, macvlan.",
    )
    overlay: OverlayKey = Field(
        DEFAULT_TUNNEL,
        description=f"How it spans several hosts; auto: routes between hosts on one link, {DEFAULT_TUNNEL} between others.",
    )
    bridge: Bridge = Field(
        "linux", description="What the bridge is made of; or {existing: NAME}, one that the host has already (mode: direct)."
    )
    uplink: InterfaceName = Field(
        "", description="Of mode direct or macvlan: the interface to the LAN. Default: the host's `uplink`."
    )
    type: Literal["bridge", "vepa", "private", "passthru"] = Field(
        "bridge", description="Of mode macvlan: how its members reach each other (ip-link(8))."
    )
    hairpin: bool = Field(
        False, description="Whether the bridge sends a frame back on the port that it came from; per port in `networks`."
    )
    datapath: Literal["auto", "system", "netdev"] = Field(
        "auto", description="Of an Open vSwitch bridge: system (the kernel's), netdev (user space), auto (the kernel's if there)."
    )
    mtu: Mtu = Field(None, description="Bytes, or auto: the underlay's, less the overlay's overhead.")
    hosts: Annotated[tuple[Reference, ...], ListForm] = Field(
        (), description="Hosts that get a bridge and an address in it even without a container there."
    )
    gateway: Gateway = Field(
        {}, description="Fixes the hosts' own addresses in it: an address (of the first host), or a mapping of host to address."
    )
    vni: Annotated[int | None, Given] = Field(
        None, ge=1, le=VNI_MAX, description="The VXLAN's number. Default: computed from the names."
    )
    dns: Annotated[SubnetDnsModel | None, Given] = Field(None, description="Of its resolvers: {upstream: …}.")
    vxlan_port: int = Field(VXLAN_PORT, ge=1, le=PORT_MAX, description="The VXLAN's UDP port.")
