"""Decoders of the leaves of the JSON form: text, numbers, choices, addresses, Refs. Each accepts exactly its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from reconciler.state.jsontext import MalformedError
from reconciler.state.ref import Ref
from reconciler.state.subject import Subject, parse_subject

Json = Any
"""A value that json.dumps accepts: None, bool, int, float, str, list, dict."""
Convert = Callable[[Any], Any]
Decode = tuple[type, Convert]
"""How to decode a type: a value of this class is used unchanged; any other is converted or rejected."""
IP_FORMS: Mapping[Any, tuple[str, Convert]] = {
    IPv4Address | IPv6Address: ("an IP address", ip_address),
    IPv4Network | IPv6Network: ("a network", ip_network),
}


def scalar_decoder(kind: type) -> Decode:
    """The decoder of one scalar type, which accepts exactly that; a float field also accepts a whole number."""

    def decode(value: Json) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        raise unfit(value, NAMES[kind])

    return kind, decode


def ip_decoder(wanted: str, parse: Convert) -> Convert:
    """The decoder of an address. It rejects numbers, which `ipaddress` would accept, and zones, which may be any text."""

    def decode(value: Json) -> Any:
        if type(value) is not str or "%" in value:
            raise unfit(value, wanted)
        try:
            return parse(value)
        except ValueError:
            raise UnfitError(f"text in place of {wanted}") from None

    return decode


def choice_decoder(choices: tuple[Any, ...]) -> Convert:
    """The decoder that accepts only these values."""

    def decode(value: Json) -> Any:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise unfit(value, f"one of {', '.join(map(str, choices))}")

    return decode


def decode_ref(data: Json) -> Ref:
    """The Ref of an object with its three texts."""
    if type(data) is not dict or len(data) != len(Ref._fields):
        raise unfit(data, "a Ref")
    try:
        ref = Ref(data["kind"], data["netns"], data["name"])
    except KeyError:
        raise unfit(data, "a Ref") from None
    if not type(ref[0]) is type(ref[1]) is type(ref[2]) is str:
        raise UnfitError("a Ref that is not three texts")
    return ref


def decode_subject(data: Json) -> Subject:
    """The subject of its text."""
    if type(data) is not str:
        raise unfit(data, "a subject")
    try:
        return parse_subject(data)
    except ValueError:
        raise UnfitError("text in place of a subject") from None


def decode_number_key(key: str) -> int:
    """The number that a key of an object represents."""
    if not re.fullmatch("-?[0-9]{1,20}", key, re.ASCII):
        raise MalformedError("a key that is not a number")
    return int(key)


KEYS: Mapping[Any, Convert] = {str: str, int: decode_number_key}
NAMES: Mapping[type, str] = {str: "text", int: "a whole number", bool: "true or false", float: "a number", type(None): "null"}


class UnfitError(MalformedError):
    """A value of another form than the expected one; its position is not known yet."""


def unfit(value: Json, wanted: str) -> UnfitError:
    """The error for a value of another form than the expected one. It does not quote the value, which may be anything."""
    form = {dict: "an object", list: "a list", **NAMES}.get(type(value), "something else")
    return UnfitError(f"{form} in place of {wanted}")
