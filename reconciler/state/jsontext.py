"""JSON from elsewhere, read strictly: what cannot be meant, or would take memory without bound, is refused by one error.

Called for the answers of hosts, for saved plans, and for what stands in labels, marks and files. `json.loads` alone takes NaN,
duplicate keys and lone surrogates, and a line of brackets grows to fifty times its size in memory.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

SIZE_MAX_BYTES = 1 << 26
"""Of any text. 1,000 containers on one host are 13 MB when all of them go."""
NODES_MAX = 1 << 21
"""How many objects and lists there may be: a record is two to eight of them."""
NUMBER_MAX = (1 << 64) - 1
"""The largest number that the kernel has, an unsigned one of 64 bits; nothing is below the negative of it."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class MalformedError(ValueError):
    """Data from elsewhere that is not in the form that was agreed on; a few words say what is wrong with it."""


def parse_json(data: bytes | str, size_max: int = SIZE_MAX_BYTES) -> Any:
    """The value of a JSON text (RFC 8259, and I-JSON, RFC 7493). MalformedError where it is none, or too large."""
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
        raise MalformedError("what is not JSON") from None
    return value


def _check_nodes(text: str) -> None:
    if text.count("{") + text.count("[") > NODES_MAX:
        raise MalformedError(f"more than {NODES_MAX:,} objects and lists")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("JSON with a key that stands twice in one object")
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
    raise MalformedError(f"{text}, which is no number of JSON's")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant)
