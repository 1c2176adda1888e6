"""Names in a container's /etc/hosts, and its own: field types of the model, with the words and forms of Compose."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from reconciler.topology.scalars import describe, expect_text, parse_item, refuse, shorten
from reconciler.topology.types import HOST_GATEWAY

_NAME = r"(?=.{1,63}\Z)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*"
"""A host name, with or without a domain; the kernel takes 64 bytes (sethostname(2))."""


def parse_host_name(value: Any) -> str:
    """A host name, with or without a domain."""
    name = expect_text(value, "a host name", "write one such as web", _NAME)
    if not re.fullmatch(_NAME, name):
        raise refuse(f"is no host name: `{shorten(name)}`", "use letters, digits, `-` and `.`, at most 63")
    return name


def parse_aliases(value: Any) -> tuple[str, ...]:
    """A list of host names."""
    if not isinstance(value, tuple):
        raise refuse(f"must be a list, but is {describe(value)}", "start each item with `- `")
    return tuple(parse_item(parse_host_name, item, number) for number, item in enumerate(value))


def parse_extra_hosts(value: Any) -> tuple[tuple[str, str], ...]:
    """A list of `name:address` or `name=address`, or a mapping of name to an address or several."""
    if isinstance(value, tuple):
        return tuple(parse_item(_split_host, item, number) for number, item in enumerate(value))
    if not isinstance(value, dict):
        raise refuse(f"must be a mapping of name to address, but is {describe(value)}", "write `extra_hosts: {db: 192.0.2.7}`")
    return tuple(
        parse_item(_check_host, (name, address), name)
        for name, given in value.items()
        for address in (given if isinstance(given, tuple) else (given,))
    )


def _split_host(item: Any) -> tuple[str, str]:
    text = expect_text(item, "name:address", "write one such as db:192.0.2.7")
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not separator:
        raise refuse(f"has an item without an address: `{shorten(text)}`", f"write {shorten(text)}:ADDRESS")
    return _check_host((name, address))


def _check_host(pair: tuple[Any, Any]) -> tuple[str, str]:
    name = parse_host_name(pair[0])
    address = expect_text(pair[1], "an address", "write one such as 192.0.2.7").removeprefix("[").removesuffix("]")
    if address == HOST_GATEWAY:
        return name, address
    try:
        return name, str(ip_address(address))
    except ValueError:
        raise refuse(f"is no address: `{shorten(address)}`", f"write one such as 192.0.2.7, or {HOST_GATEWAY}") from None


HostName = Annotated[str, PlainValidator(parse_host_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 63})]
Aliases = Annotated[
    tuple[str, ...], PlainValidator(parse_aliases), WithJsonSchema({"type": "array", "items": {"type": "string"}})
]
_ADDRESSES = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
ExtraHosts = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(parse_extra_hosts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": _ADDRESSES},
                {"type": "array", "items": {"type": "string", "pattern": "^[^:=]+[:=]"}},
            ]
        }
    ),
]
