"""The basic values of a topology: text, names, and the rejection of a value.

Addresses, ports and destinations of hosts have files of their own (`addresses`, `ports`, `connect`).

`fields` makes pydantic field types of them, for `model`. Each `parse_` function takes a YAML value and returns the
typed one. It raises `refuse(…)` with the fault and the advice, and never converts from one YAML type to another.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from reconciler.state.grammar import LABEL, TOPOLOGY_NAME_MAX
from reconciler.state.naming import INTERFACE_NAME_MAX, RESERVED_NAMES
from reconciler.topology.types import Path

T = TypeVar("T")
TRUTHS = {**dict.fromkeys(("yes", "y", "on", "true", "1"), "true"), **dict.fromkeys(("no", "n", "off", "false", "0"), "false")}
"""Truth values of other YAML versions, in quotes or by habit: in YAML 1.2 they are text, or numbers."""
_INTERFACE = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


def refuse(message: str, help_text: str = "", at: Path = ()) -> PydanticCustomError:
    """The exception of a validator: `message` completes “`key` …”; `help_text` is the advice, `at` the faulty item."""
    return PydanticCustomError("netctl", "{message}", {"message": message, "help": help_text, "at": at})


def parse_item(parse: Callable[[Any], T], value: Any, *at: int | str) -> T:
    """`parse(value)`; an error names the position of the item in the whole."""
    try:
        return parse(value)
    except PydanticCustomError as error:
        context = error.context or {}
        raise refuse(context["message"], context["help"], (*at, *context["at"])) from None


Pair = tuple[str, Any]


def parse_pairs(
    value: tuple[Any, ...] | dict[str, Any], split: Callable[[Any], Pair], check: Callable[[Pair], None]
) -> tuple[tuple[str, str], ...]:
    """The pairs of a mapping, or of a list whose items `split` reads; `check` refuses a faulty pair."""
    if isinstance(value, dict):
        pairs = tuple(value.items())
    else:
        pairs = tuple(parse_item(split, item, number) for number, item in enumerate(value))
    for number, pair in enumerate(pairs):
        parse_item(check, pair, pair[0] if isinstance(value, dict) else number)
    return pairs


def advise(given: str, fixed: str, parse: Callable[[Any], object], otherwise: str) -> str:
    """`write FIXED`, if that differs from the given text and is valid; else advice that is always valid."""
    if fixed == given:
        return otherwise
    try:
        parse(fixed)
    except PydanticCustomError:
        return otherwise
    return f"write {fixed}"


def describe(value: Any) -> str:
    """The YAML type of a value, for users: `the number 12`, `a list`."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text `{shorten(value)}`"
    return "a list" if isinstance(value, tuple) else "a mapping"


def shorten(text: str) -> str:
    """A value as a message quotes it: on one line, and not too long."""
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= 60 else text[:57] + "…"


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` if a known word is near; else the empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""


def expect_text(value: Any, what: str, help_text: str = "", grammar: str = "") -> str:
    """`value` if it is text and not empty; else the error that describes the expected value.

    A number that is valid as text (by the `grammar`) needs quotes; for others, `help_text` is the advice.
    """
    if isinstance(value, str) and value:
        return value
    message = f"must be {what}, but is {describe(value) if value != '' else 'empty'}"
    if isinstance(value, bool | int | float):
        written = str(value).lower() if isinstance(value, bool) else str(value)
        if grammar and re.fullmatch(grammar, written):
            raise refuse(message, f'if it is meant as text, put it in quotes: "{written}"')
    raise refuse(message, help_text or f"write {what}, or remove the key")


# --- names ------------------------------------------------------------------------------------------------------------


def parse_label(value: Any) -> str:
    """A DNS label (RFC 1123), lower case, that is no reserved word of netctl."""
    name = expect_text(value, "a name", "write a name such as web", LABEL)
    if name in RESERVED_NAMES:
        raise refuse(f"must not be `{name}`: the word has a meaning of its own here", "choose another name")
    return _parse_dns_label(name, 63)


def parse_topology_name(value: Any) -> str:
    """A topology's name: a DNS label of at most 20 characters, because names of interfaces and tables contain it."""
    return _parse_dns_label(expect_text(value, "a name", "write a name such as shop", LABEL), TOPOLOGY_NAME_MAX)


def _parse_dns_label(name: str, longest: int) -> str:
    if len(name) > longest:
        raise refuse(f"is too long: {len(name)} characters, and {longest} are allowed", "shorten it")
    if not re.fullmatch(LABEL, name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        rule = "a name is made of a-z, 0-9 and `-`, and neither starts nor ends with `-`"
        is_fit = suggestion and len(suggestion) <= longest and suggestion not in RESERVED_NAMES
        raise refuse(f"is not a valid name: `{shorten(name)}`", f"write {suggestion}; {rule}" if is_fit else rule)
    return name


def parse_reference(value: Any) -> str:
    """The name of an object defined elsewhere in the file; `checks` tests whether it exists."""
    return expect_text(value, "a name", "write the name as it is defined in the file", LABEL)


def parse_interface(value: Any) -> str:
    """An interface's name, valid in the kernel (dev_valid_name in net/core/dev.c), in sysctl paths and in nft."""
    name = expect_text(value, "an interface name", "write one such as eth0", _INTERFACE)
    if len(name.encode()) > INTERFACE_NAME_MAX:
        raise refuse(
            f"is too long: an interface name has at most {INTERFACE_NAME_MAX} characters, `{shorten(name)}` has {len(name)}",
            "shorten it",
        )
    if not re.fullmatch(_INTERFACE, name):
        raise refuse(f"is not an interface name: `{shorten(name)}`", "use letters, digits, `_`, `-` and `.`, such as eth0")
    if name in ("lo", "all", "default"):
        raise refuse(f"must not be `{name}`: the kernel has its own use for it", "write another, such as eth0")
    return name


def parse_mac(value: Any) -> str:
    """A unicast hardware address, in lower case."""
    pairs = "write six pairs of hexadecimal digits, such as 02:00:00:00:00:10"
    text = expect_text(value, "a MAC address", pairs).lower()
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        digits = re.sub("[^0-9a-f]", "", text)
        fixed = ":".join(digits[at : at + 2] for at in range(0, 12, 2)) if len(digits) == 12 else ""
        raise refuse(f"is not a MAC address: `{shorten(text)}`", advise(text, fixed, parse_mac, pairs))
    if int(text[:2], 16) & 1:
        fixed = f"{int(text[:2], 16) & 0xFE | 2:02x}{text[2:]}"
        raise refuse(f"is a multicast address: `{text}` has the lowest bit of its first byte set", f"write {fixed}")
    if text == "00:00:00:00:00:00":
        raise refuse("must not be all zeros", "write an address of your own, such as 02:00:00:00:00:10")
    return text
