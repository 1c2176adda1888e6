"""How the leaves of our JSON form are decoded: text, numbers, choices, addresses, Refs. Each takes its very type, or refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from reconciler.state.jsontext import MalformedError
from reconciler.state.ref import Ref

Json = Any
"""What json.dumps takes: None, bool, int, float, str, list, dict."""
Convert = Callable[[Any], Any]
Decode = tuple[type, Convert]
"""How a type is decoded: a value of this class is taken as it is, and any other is converted, or refused."""
IP_FORMS: Mapping[Any, tuple[str, Convert]] = {
    IPv4Address | IPv6Address: ("an IP address", ip_address),
    IPv4Network | IPv6Network: ("a network", ip_network),
}


def scalar_decoder(kind: type) -> Decode:
    """Of text, whole numbers, truth values and None exactly those; of numbers with a fraction also whole ones."""

    def decode(value: Json) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        raise unfit(value, NAMES[kind])

    return kind, decode


def ip_decoder(wanted: str, parse: Convert) -> Convert:
    """Of text only, for numbers would be taken for addresses; and without a zone, which may be any text."""

    def decode(value: Json) -> Any:
        if type(value) is not str or "%" in value:
            raise unfit(value, wanted)
        try:
            return parse(value)
        except ValueError:
            raise UnfitError(f"text in place of {wanted}") from None

    return decode


def choice_decoder(choices: tuple[Any, ...]) -> Convert:
    """Of these values only."""

    def decode(value: Json) -> Any:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return choice
        raise unfit(value, f"one of {', '.join(map(str, choices))}")

    return decode


def decode_ref(data: Json) -> Ref:
    """Of an object with the three texts."""
    if type(data) is not dict or len(data) != len(Ref._fields):
        raise unfit(data, "a Ref")
    try:
        ref = Ref(data["kind"], data["netns"], data["name"])
    except KeyError:
        raise unfit(data, "a Ref") from None
    if not type(ref[0]) is type(ref[1]) is type(ref[2]) is str:
        raise UnfitError("a Ref that is not three texts")
    return ref


def decode_number_key(key: str) -> int:
    """The number that a key is written for."""
    if not re.fullmatch("-?[0-9]{1,20}", key, re.ASCII):
        raise MalformedError("a key that is not a number")
    return int(key)


KEYS: Mapping[Any, Convert] = {str: str, int: decode_number_key}
NAMES: Mapping[type, str] = {str: "text", int: "a whole number", bool: "true or false", float: "a number", type(None): "null"}


class UnfitError(MalformedError):
    """A value of another form than the wanted one, before it is known where it stands."""


def unfit(value: Json, wanted: str) -> UnfitError:
    """The error for a value of another form than the wanted one. What it holds is not said: it may be anything."""
    form = {dict: "an object", list: "a list", **NAMES}.get(type(value), "something else")
    return UnfitError(f"{form} in place of {wanted}")
