"""Amounts with a unit, in the forms of Compose: sizes (`512m`), durations (`1m30s`) and numbers of CPUs (`0.5`)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from reconciler.topology.scalars import describe, refuse, shorten

SECOND_NS = 10**9
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kmgt])i?)?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
"""Of go-units' RAMInBytes, which Docker and Compose use: all are powers of 1,024."""
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h)")
_NANOSECONDS = {"us": 10**3, "ms": 10**6, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS}
_LARGEST = (1 << 63) - 1
"""The engines hold all amounts in 64 bits."""


def parse_size(value: Any) -> int:
    """Bytes: a number, or text with a unit."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        number = Decimal(match[1]) * _UNITS[(match[2] or "").lower()]
    else:
        raise refuse(f"must be a size, but is {describe(value)}", "write a number of bytes, or one such as 512m or 2g")
    return _whole(number, 1, "must be at least one byte, and fit in 63 bits")


def parse_duration(value: Any) -> int:
    """Nanoseconds, of a text such as `1m30s`."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        seconds = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        help_text = f"write {value}s" if seconds else "write one such as 30s or 1m30s"
        raise refuse(f"must be a duration, but is {describe(value)}", help_text)
    return _whole(sum((Decimal(n) * _NANOSECONDS[unit] for n, unit in _PART.findall(value)), Decimal(0)), 0, "is too long")


def parse_seconds(value: Any) -> int:
    """Whole seconds: a number, or a duration."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(Decimal(value), 0, "must be a number of seconds from 0 on")
    duration_ns = parse_duration(value)
    if duration_ns % SECOND_NS:
        raise refuse(f"must be whole seconds, but is `{shorten(value)}`", f"write {duration_ns // SECOND_NS + 1}s")
    return duration_ns // SECOND_NS


def parse_cpus(value: Any) -> int:
    """Billionths of a CPU, of a number such as 0.5, also as text."""
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise refuse(f"must be a number of CPUs, but is {describe(value)}", "write one such as 0.5 or 2")
    return _whole(Decimal(text) * SECOND_NS, 10**7, "must be at least 0.01 CPUs")


def _whole(number: Decimal, least: int, message: str) -> int:
    if not least <= number <= _LARGEST:
        raise refuse(message, "write another amount")
    return int(number)
