"""A strict JSON parser for foreign data: one error rejects nonsense and whatever would take memory without bound.

It reads the answers of hosts, saved plans, labels, marks and files. `json.loads` alone accepts NaN, duplicate keys and
lone surrogates. A line of brackets grows to fifty times its size in memory.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

SIZE_MAX_BYTES = 1 << 26
"""The limit for any text. A plan that deletes 1,000 containers of one host has 13 MB."""
NODES_MAX = 1 << 21
"""The limit of objects and lists. A record has two to eight of them."""
NUMBER_MAX = (1 << 64) - 1
"""The largest number of the kernel, an unsigned one of 64 bits. Its negative is the lower limit."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class MalformedError(ValueError):
    """Foreign data that does not have the agreed form; the message says in a few words what is wrong."""


def parse_json(data: bytes | str, size_max: int = SIZE_MAX_BYTES) -> Any:
    """The value of a JSON text (RFC 8259, and I-JSON, RFC 7493); MalformedError if it is none, or too large."""
    if len(data) > size_max:
        raise MalformedError(f"more than {size_max:,} bytes")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        _check_nodes(text)
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except MalformedError:
        raise
    except UnicodeError:
        raise MalformedError("text that is not Unicode") from None
    except RecursionError:
        raise MalformedError("JSON that is nested too deeply") from None
    except ValueError:
        raise MalformedError("text that is not JSON") from None
    return value


def _check_nodes(text: str) -> None:
    if text.count("{") + text.count("[") > NODES_MAX:
        raise MalformedError(f"more than {NODES_MAX:,} objects and lists")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("JSON with a duplicate key in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > 21 or abs(number := int(text)) > NUMBER_MAX:
        raise MalformedError("a number that is too large")
    return number


def _fraction(text: str) -> float:
    if math.isinf(number := float(text)):
        raise MalformedError("a number that is too large")
    return number


def _constant(text: str) -> float:
    raise MalformedError(f"{text}, which is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant)
