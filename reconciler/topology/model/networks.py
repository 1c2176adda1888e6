"""A container's endpoint in a subnet: its address, its interface, and the limits and settings of that."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import CoreSchema

from reconciler.state.uapi import MTU_MAX, MTU_MIN
from reconciler.topology.fields import ADDRESSES_SCHEMA, AUTO_SCHEMA, Addresses, AutoAddresses, InterfaceName, Mac, Sources
from reconciler.topology.model.base import Given, ListForm, Model
from reconciler.topology.scalars import advise, describe, expect_text, parse_item, refuse, shorten

RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def parse_rate(value: Any) -> tuple[int, int]:
    """`10mbit` for both directions, or a mapping of `ingress` and `egress`: bytes a second, 0 for no limit."""
    if isinstance(value, dict):
        unknown = [key for key in value if key not in ("ingress", "egress")]
        if unknown or not value:
            raise refuse("must be {ingress: RATE, egress: RATE}", "write one of them, or both, such as {egress: 10mbit}")
        ingress, egress = (parse_item(_parse_bits, value[key], key) if key in value else 0 for key in ("ingress", "egress"))
        return ingress, egress
    return (_parse_bits(value),) * 2


_RATE_HELP = "write 8kbit to 1000gbit, such as 10mbit (bits a second)"


def _parse_bits(value: Any) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refuse(f"needs a unit, but is {describe(value)}", advise("", f"{value}mbit", _parse_bits, _RATE_HELP))
    text = expect_text(value, "a rate", _RATE_HELP)
    matched = re.fullmatch(r"([0-9]{1,9})(bit|kbit|mbit|gbit)", text)
    if not matched:
        found = re.fullmatch(r"([0-9]{1,18}) ?([kmgKMG]?)(?:i?bits?|[bB]|[bB]ps|bits?/s|bit/sec|[bB]/s)?", text)
        factor = 8 if re.search("B(ps|/s)?$", text) else 1  # bytes
        if part := re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,3})(k|m|g)bit", text):
            smaller = {"k": "bit", "m": "kbit", "g": "mbit"}[part[3]]
            fixed = f"{int(part[1] + part[2].ljust(3, '0'))}{smaller}"
            raise refuse(f"must be a whole number and a unit: `{text}`", advise(text, fixed, _parse_bits, _RATE_HELP))
        fixed = f"{int(found[1]) * factor}{found[2].lower() or 'm'}bit" if found else ""
        raise refuse(f"is not a rate: `{shorten(text)}`", advise(text, fixed, _parse_bits, _RATE_HELP))
    bits = int(matched[1]) * RATE_UNITS[matched[2]]
    if not 8000 <= bits <= 10**12:
        raise refuse(f"is too {'low' if bits < 8000 else 'high'}: `{text}`", _RATE_HELP)
    return bits // 8


def parse_sysctls(value: Any) -> tuple[tuple[str, str], ...]:
    """A mapping of keys with IFNAME in them to numbers or text."""
    if not isinstance(value, dict):
        raise refuse(f"must be a mapping, but is {describe(value)}", "write {net.ipv4.conf.IFNAME.rp_filter: 2}")
    for key, setting in value.items():
        if not re.fullmatch(r"net\.ipv[46]\.(conf|neigh)\.IFNAME\.[a-z0-9_]{1,40}", key):
            help_text = "write IFNAME in place of its name: net.ipv4.conf.IFNAME.rp_filter, or net.ipv6.neigh.IFNAME.…"
            raise refuse(f"has a key that is not a setting of an interface: `{shorten(key)}`", help_text, (key,))
        is_plain = isinstance(setting, int | str) and not isinstance(setting, bool)
        if not is_plain or not re.fullmatch(r"[0-9a-zA-Z:. -]{1,80}", str(setting)):
            message = f"must give a number or text for `{shorten(key)}`, but gives {describe(setting)}"
            raise refuse(message, f"write {key}: 1", (key,))
    return tuple((key, str(setting)) for key, setting in value.items())


_RATE: dict[str, Any] = {"type": "string", "pattern": "^[0-9]{1,9}(bit|kbit|mbit|gbit)$", "examples": ["10mbit"]}
Rate = Annotated[
    tuple[int, int],
    PlainValidator(parse_rate),
    WithJsonSchema(
        {
            "anyOf": [
                _RATE,
                {
                    "type": "object",
                    "properties": {"ingress": _RATE, "egress": _RATE},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }
    ),
]
Sysctls = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(parse_sysctls),
    WithJsonSchema(
        {
            "type": "object",
            "patternProperties": {"^net\\.ipv[46]\\.(conf|neigh)\\.IFNAME\\.[a-z0-9_]+$": {"type": ["integer", "string"]}},
            "additionalProperties": False,
        }
    ),
]


class RouteModel(Model):
    """A static route of a container."""

    @model_validator(mode="before")
    @classmethod
    def refuse_default(cls, value: Any) -> Any:
        """Reject the keyword `default` of ip-route(8), which is no network here."""
        if isinstance(value, dict) and value.get("to") == "default":
            raise refuse("cannot be a default route", "write `default: true` in the network that leads out, and remove the route")
        return value

    to: Sources = Field(description="The network that it leads to.")
    via: Addresses = Field(description="The next hop, an address in the subnet.")

    @model_validator(mode="after")
    def check(self) -> Self:
        """Each network has a next hop of its family, and each next hop a network."""
        to, via = {each.version for each in self.to}, {each.version for each in self.via}
        for family in sorted(to ^ via):
            lacking, given = ("via", "to") if family in to else ("to", "via")
            raise refuse(
                f"has an IPv{family} address in `{given}` and none in `{lacking}`", f"write an IPv{family} one there, too"
            )
        return self


class NetworkModel(Model):
    """A container's endpoint in a subnet."""

    address: AutoAddresses = Field((), description="An address, [IPv4, IPv6], or auto.")
    mac: Mac = Field("", description="The hardware address. Default: computed from the names.")
    interface: InterfaceName = Field(
        "", description="The interface's name inside. Default: eth0, eth1 … in the order of the file."
    )
    ipv4: bool = Field(True, description="false: no IPv4 here, though the subnet has it.")
    ipv6: bool = Field(True, description="false: no IPv6 here, though the subnet has it.")
    default: Annotated[bool | None, Given] = Field(
        None, description="Whether the default route leads here. Default: the first network that leads out (not isolated)."
    )
    dhcp: bool = Field(False, description="The same as `address: dhcp`: ask the LAN's DHCP server, and its routers for IPv6.")
    allow: Annotated[tuple[Literal["dhcp-server", "router-advertisements"], ...], ListForm] = Field(
        (), description="What a container may send that no container may otherwise: as a DHCP server, or as an IPv6 router."
    )
    hairpin: Annotated[bool | None, Given] = Field(
        None, description="Whether its port sends a frame back to it. Default: if it publishes ports, or the subnet has it."
    )
    isolated: bool = Field(False, description="Whether it reaches no other isolated port of its bridge (bridge(8)).")
    rate: Rate = Field(
        (0, 0), description="How fast at most: 10mbit both ways, or {ingress: 100mbit, egress: 10mbit} as the container sees it."
    )
    mtu: Annotated[int | None, Given] = Field(None, ge=MTU_MIN, le=MTU_MAX, description="Bytes, if fewer than the subnet's.")
    routes: Annotated[tuple[RouteModel, ...], ListForm] = Field((), description="Static routes over this network.")
    sysctls: Sysctls = Field(
        (), description="Kernel settings of the interface, IFNAME in its place: {net.ipv4.conf.IFNAME.rp_filter: 2}."
    )

    @property
    def families(self) -> tuple[int, ...]:
        """The families that the container gets here, if the subnet has them."""
        return (4,) * self.ipv4 + (6,) * self.ipv6

    @model_validator(mode="before")
    @classmethod
    def spell_out(cls, value: Any) -> Any:
        """`auto`, `dhcp`, an address or a list of two is the long form with only `address`."""
        if value is None:
            raise refuse("has no value", "write `auto`, an address, or {address: …}")
        long = value if isinstance(value, dict) else {"address": value}
        if long.get("address") == "dhcp":
            return {**{key: each for key, each in long.items() if key != "address"}, "dhcp": True}
        return long

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The short forms in addition to the long one."""
        return {"anyOf": [AUTO_SCHEMA, *ADDRESSES_SCHEMA["anyOf"], handler.resolve_ref_schema(handler(core_schema))]}
