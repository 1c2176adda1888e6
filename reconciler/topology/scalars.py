"""The small things that a topology's values are made of: names, addresses, ports. Text in, typed values out, or a sentence.

`fields` makes pydantic field types of them, for `model`. Each `parse_` function takes what YAML gave and returns the typed
value; it raises `refuse(…)` with what is wrong and what to write, and never converts from one YAML type to another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from pydantic_core import PydanticCustomError

from reconciler.topology.types import Address, Connect, Network, PortRange

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
RESERVED_NAMES = ("host", "outside", "router", "lab")
TOPOLOGY_NAME_MAX = 20
PROTOCOLS = ("tcp", "udp", "sctp")
BRIDGE_PORTS_MAX = 1023
"""A bridge takes no more ports: BR_MAX_PORTS is 1 << 10, and number 0 is never given out (net/bridge/br_if.c, find_portno)."""


def refuse(message: str, help_text: str = "") -> PydanticCustomError:
    """What a validator raises: `message` completes “`key` …”; `help_text` says what to write."""
    return PydanticCustomError("netctl", "{message}", {"message": message, "help": help_text})


def describe(value: Any) -> str:
    """What YAML made of a value, for people: `the number 12`, `a list`."""
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
    """A value as it is quoted in a message: on one line, and not too long."""
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= 60 else text[:57] + "…"


def expect_text(value: Any, what: str) -> str:
    """`value` where it is text and not empty; else the refusal that says what is wanted and, for a number, to quote it."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool | int | float):
        written = str(value).lower() if isinstance(value, bool) else str(value)
        raise refuse(f"must be {what}, but is {describe(value)}", f'where it is meant as text, put it in quotes: "{written}"')
    raise refuse(f"must be {what}, but is {describe(value) if value != '' else 'empty'}", f"write {what}, or remove the key")


# --- names ------------------------------------------------------------------------------------------------------------


def parse_label(value: Any) -> str:
    """A DNS label (RFC 1123), lower case, that is no word of netctl's own."""
    name = expect_text(value, "a name")
    if name in RESERVED_NAMES:
        raise refuse(f"must not be `{name}`: the word has a meaning of its own here", "choose another name")
    return _parse_dns_label(name, 63)


def parse_topology_name(value: Any) -> str:
    """A topology's name: a DNS label of at most 20 characters, since names of interfaces and tables are made from it."""
    return _parse_dns_label(expect_text(value, "a name"), TOPOLOGY_NAME_MAX)


def _parse_dns_label(name: str, longest: int) -> str:
    if len(name) > longest:
        raise refuse(f"is too long: {len(name)} characters, and {longest} are allowed", "shorten it")
    if not re.fullmatch(LABEL, name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        rule = "a name is made of a-z, 0-9 and `-`, and neither starts nor ends with `-`"
        raise refuse(f"is no valid name: `{shorten(name)}`", f"{rule}; `{suggestion}` would do" if suggestion else rule)
    return name


def parse_reference(value: Any) -> str:
    """The name of something defined elsewhere in the file; whether it exists is for `checks`."""
    return expect_text(value, "a name")


def parse_interface(value: Any) -> str:
    """An interface's name, as the kernel takes it (dev_valid_name in net/core/dev.c), less what breaks sysctl paths and nft."""
    name = expect_text(value, "an interface name")
    if len(name.encode()) > 15:
        raise refuse(f"is too long: an interface name has at most 15 characters, `{shorten(name)}` has {len(name)}", "shorten it")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise refuse(f"is no interface name: `{shorten(name)}`", "use letters, digits, `_`, `-` and `.`, such as eth0")
    if name in ("lo", "all", "default"):
        raise refuse(f"must not be `{name}`: the kernel has its own use for it", "write another, such as eth0")
    return name


def parse_mac(value: Any) -> str:
    """A unicast hardware address, in lower case."""
    text = expect_text(value, "a MAC address such as 02:00:00:00:00:10").lower()
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        raise refuse(f"is no MAC address: `{shorten(text)}`", "write six pairs of hexadecimal digits, such as 02:00:00:00:00:10")
    if int(text[:2], 16) & 1:
        fixed = f"{int(text[:2], 16) & 0xFE | 2:02x}{text[2:]}"
        raise refuse(f"is a multicast address: `{text}` has the lowest bit of its first byte set", f"clear it: {fixed}")
    if text == "00:00:00:00:00:00":
        raise refuse("must not be all zeros", "write an address of your own, such as 02:00:00:00:00:10")
    return text


# --- addresses --------------------------------------------------------------------------------------------------------


def parse_address(value: Any) -> Address:
    """One IPv4 or IPv6 address, without a prefix length or a zone."""
    text = expect_text(value, "an address")
    try:
        address = ip_address(text)
    except ValueError:
        if "/" in text:
            raise refuse(
                f"must be an address alone, without a prefix length: `{shorten(text)}`", f"write {text.partition('/')[0]}"
            ) from None
        raise refuse(f"is no IP address: `{shorten(text)}`", "write one such as 10.44.0.10 or fd00:44::10") from None
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise refuse(
            f"must be a plain IPv6 address, without a zone or an IPv4 address within: `{text}`", "write one such as fd00:44::10"
        )
    return address


def parse_addresses(value: Any) -> tuple[Address, ...]:
    """One address, or one of each family."""
    addresses = tuple(parse_address(item) for item in _one_or_two(value, "an address", "[10.44.0.10, fd00:44::10]"))
    _one_per_family([address.version for address in addresses], "addresses")
    return addresses


def parse_auto_addresses(value: Any) -> tuple[Address, ...]:
    """As `parse_addresses`; `auto` gives none."""
    return () if value == "auto" else parse_addresses(value)


def parse_network(value: Any) -> Network:
    """A prefix without host bits. A bare address stands for itself alone (/32, /128)."""
    text = expect_text(value, "a CIDR")
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise refuse(f"is no CIDR: `{shorten(text)}`", "write one such as 10.44.0.0/24 or fd00:44::/64") from None
    if "/" in text and text.partition("/")[2] != str(loose.prefixlen):
        raise refuse(f"must give its prefix length as a number: `{shorten(text)}`", f"write {loose}")
    if loose.network_address != ip_address(text.partition("/")[0]):
        raise refuse(f"has host bits set: `{text}`", f"the network is {loose}")
    return loose


def parse_cidrs(value: Any) -> tuple[Network, ...]:
    """A subnet's prefix, or one of each family."""
    networks = tuple(_parse_cidr(item) for item in _one_or_two(value, "a CIDR", "[10.44.0.0/24, fd00:44::/64]"))
    _one_per_family([network.version for network in networks], "CIDRs")
    return networks


def _parse_cidr(value: Any) -> Network:
    network = parse_network(value)
    if "/" not in value:
        raise refuse(
            f"needs a prefix length: `{value}`",
            f"write a CIDR such as {value}/{24 if network.version == 4 else 64}, with the host bits zero",
        )
    base = network.network_address
    for wrong, what in ((base.is_multicast, "multicast"), (base.is_loopback, "loopback"), (base.is_link_local, "link-local")):
        if wrong:
            raise refuse(f"is a {what} range: {network}", "take a private range, such as 10.44.0.0/24 or fd00:44::/64")
    if base.is_unspecified or network.overlaps(ip_network("240.0.0.0/4" if network.version == 4 else "ff00::/8")):
        raise refuse(f"cannot be used for hosts: {network}", "take a private range, such as 10.44.0.0/24 or fd00:44::/64")
    longest = 30 if network.version == 4 else 126
    if network.prefixlen > longest:
        raise refuse(f"has no room for a gateway and a container: {network}", f"make its prefix length {longest} or less")
    return network


def _one_or_two(value: Any, what: str, example: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        return (value,)
    if len(value) not in (1, 2):
        raise refuse(f"must be {what}, or a list of an IPv4 and an IPv6 one, but has {len(value)} items", f"write {example}")
    return value


def _one_per_family(versions: list[int], what: str) -> None:
    if len(set(versions)) < len(versions):
        raise refuse(f"has two IPv{versions[0]} {what}: one of each family is what can be given", "keep one of them")


def parse_sources(value: Any) -> tuple[Network, ...]:
    """The networks that `from:` admits."""
    items = value if isinstance(value, tuple) else (value,)
    if not items:
        raise refuse("is empty: nobody could connect", "name the networks that may connect, or remove `from`")
    return tuple(parse_network(item) for item in items)


# --- hosts ------------------------------------------------------------------------------------------------------------


def parse_connect(value: Any) -> Connect:
    """`local`, `lab`, or `ssh://[user@]name[:port]`."""
    text = expect_text(value, "local, lab or ssh://[user@]name[:port]")
    if text in ("local", "lab"):
        return Connect("local" if text == "local" else "lab")
    match = re.fullmatch(
        r"ssh://(?:([A-Za-z0-9_][A-Za-z0-9_.-]*)@)?([A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", text
    )
    if not match:
        raise refuse(
            f"is no way to reach a host: `{shorten(text)}`",
            "write `local` (this machine), `lab` (a namespace on it) or `ssh://[user@]name[:port]`",
        )
    user, name, port = match.groups()
    if port is not None and not 1 <= int(port) <= 65535:
        raise refuse(f"has a port that does not exist: {port}", "a port is 1 to 65535")
    if name.startswith("["):
        name = str(parse_address(name[1:-1]))
    return Connect("ssh", user or "", name, int(port) if port else None)


def parse_engine(value: Any) -> str:
    """The engine's socket: on the host itself, since netctl enters its containers' namespaces."""
    text = expect_text(value, "a socket such as unix:///var/run/docker.sock")
    if not re.fullmatch(r"unix:///[^\s\0]+", text):
        raise refuse(
            f"must be a Unix socket on the host: `{shorten(text)}`",
            "write unix:///var/run/docker.sock; netctl enters the namespaces of the engine's containers",
        )
    return text


def parse_lxc_path(value: Any) -> str:
    """The directory in which LXC's containers stand."""
    text = expect_text(value, "a directory such as /var/lib/lxc")
    if not re.fullmatch(r"/[^\s\0:]*", text):
        raise refuse(f"must be a directory, by its whole path: `{shorten(text)}`", "write /var/lib/lxc")
    return text.rstrip("/") or "/"


# --- ports ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listen:
    """The host's side of a published port: an address (None: every one) and the first and last port."""

    address: Address | None
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Target:
    """The container's side: the first and last port, and the protocol where it is said."""

    first: int
    last: int
    protocol: str = ""


def parse_ports(text: str) -> tuple[int, int]:
    """`80` or `8000-8010`."""
    match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", text)
    if not match:
        raise refuse(f"is no port: `{shorten(text)}`", "write a number such as 80, or a range such as 8000-8010")
    first, last = int(match[1]), int(match[2] or match[1])
    for port in (first, last):
        if not 1 <= port <= 65535:
            raise refuse(f"has a port that does not exist: {port}", "a port is 1 to 65535")
    if first > last:
        raise refuse(f"is a range that ends before it starts: {text}", f"write {last}-{first}")
    return first, last


def _port_text(value: Any, what: str) -> str:
    """A port may be written as a number: it is the one thing here that is a number and a text at once."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else expect_text(value, what)


def parse_listen(value: Any) -> Listen:
    """`[address:]port[-end]`, IPv6 addresses in brackets."""
    text = _port_text(value, "[address:]port")
    address_text, separator, ports_text = text.rpartition(":")
    first, last = parse_ports(ports_text)
    if not separator:
        return Listen(None, first, last)
    if address_text.startswith("[") and address_text.endswith("]"):
        address_text = address_text[1:-1]
    elif ":" in address_text:
        raise refuse(f"must have its IPv6 address in brackets: `{shorten(text)}`", f'write "[{address_text}]:{ports_text}"')
    address = parse_address(address_text)
    if isinstance(address, IPv6Address) and address.is_loopback:
        raise refuse(
            "cannot listen on [::1]: the kernel forwards nothing from the IPv6 loopback (there is no route_localnet for IPv6)",
            "publish on 127.0.0.1 for local use, or on an IPv6 address of the host",
        )
    if address.is_multicast or address.is_link_local or address == IPv4Address("255.255.255.255"):
        raise refuse(f"cannot listen on {address}", "give an address of the host, or leave it out to listen on all")
    return Listen(address, first, last)


def split_protocol(text: str) -> tuple[str, str]:
    """`53/udp` as (`53`, `udp`); the protocol is "" where it is not said."""
    ports, separator, protocol = text.partition("/")
    if separator and protocol not in PROTOCOLS:
        raise refuse(f"has no protocol that can be published: `{shorten(protocol)}`", "write tcp, udp or sctp, as in 53/udp")
    return ports, protocol


def parse_target(value: Any) -> Target:
    """`port[-end][/protocol]`."""
    ports, protocol = split_protocol(_port_text(value, "a port"))
    return Target(*parse_ports(ports), protocol)


def parse_policy_ports(value: Any) -> PortRange:
    """`port[-end][/protocol]`; tcp where the protocol is not said."""
    target = parse_target(value)
    match target.protocol:
        case "udp":
            return PortRange("udp", target.first, target.last)
        case "sctp":
            return PortRange("sctp", target.first, target.last)
        case _:
            return PortRange("tcp", target.first, target.last)
