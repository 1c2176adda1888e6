"""The ruleset: two constant programs, and the grammar of the data that they work on.

The text of a program depends on nothing but the topology's name. Everything that a topology says (bridges, published ports,
policies, addresses) is an element of a set or map, so one more port is one more element, and no rule is ever rewritten.
Sets are hash tables wherever possible; the few interval sets hold what a user writes as a CIDR or a range.

`kinds.firewall` makes steps of it, `kernel.nft` compares it with what is live, `kernel.nftdump` reads the elements back in
the text form that is defined here, and `compile` fills the sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

FORWARD_MARK = 0x00080000
"""The bit that our forward chain sets on what it allows. The rule in DOCKER-USER (kinds.docker_user) accepts it."""

_PROTOCOLS = ("tcp", "udp", "sctp")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_TOPOLOGY = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A set, or with `data` a map: the nft types of its key's and its data's parts, and whether parts may be ranges."""

    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    interval: bool = False

    def declare(self, name: str) -> str:
        """Its declaration in a table."""
        word = "map" if self.data else "set"
        types = " . ".join(self.key) + (" : " + " . ".join(self.data) if self.data else "")
        return f"\t{word} {name} {{\n\t\ttype {types}\n" + ("\t\tflags interval\n" if self.interval else "") + "\t}\n"


def _inet_sets() -> dict[str, SetSpec]:
    sets = {
        "bridges": SetSpec(("ifname",)),
        "same_bridge": SetSpec(("ifname", "ifname")),
        "nat_bridges": SetSpec(("ifname",)),
        "routed_bridges": SetSpec(("ifname",)),
    }
    for family in "46":
        address = f"ipv{family}_addr"
        service = ("inet_proto", "inet_service")
        target = (address, "inet_service")
        sets |= {
            f"own{family}": SetSpec((address,), interval=True),
            f"guarded{family}": SetSpec((address,), interval=True),
            f"natted{family}": SetSpec((address,), interval=True),
            f"published{family}": SetSpec(service, target),
            f"published_at{family}": SetSpec(("inet_proto", address, "inet_service"), target),
            f"published_from{family}": SetSpec(("inet_proto", address, "inet_service", address), target, interval=True),
            f"allowed{family}": SetSpec((address, address), interval=True),
            f"allowed_ports{family}": SetSpec((address, address, *service), interval=True),
            f"outbound{family}": SetSpec((address,), interval=True),
            f"outbound_ports{family}": SetSpec((address, *service), interval=True),
            f"inbound{family}": SetSpec((address,), interval=True),
            f"inbound_ports{family}": SetSpec((address, *service), interval=True),
        }
    return sets


SETS: Mapping[str, Mapping[str, SetSpec]] = {
    "inet": _inet_sets(),
    "bridge": {
        "ports": SetSpec(("ifname",)),
        "macs": SetSpec(("ifname", "ether_addr")),
        "addresses4": SetSpec(("ifname", "ether_addr", "ipv4_addr")),
        "addresses6": SetSpec(("ifname", "ether_addr", "ipv6_addr")),
    },
}
"""The sets and maps of each table, in the order of their declaration."""


# --- the grammar of elements ------------------------------------------------------------------------------------------


def format_range(kind: str, first: int, last: int) -> str:
    """The canonical text of a range of the nft type `kind`: one value bare, an aligned block as a CIDR, else `first-last`.

    A range of ports is never a CIDR.
    """
    if kind == "inet_service":
        return str(first) if first == last else f"{first}-{last}"
    make = IPv4Address if kind == "ipv4_addr" else IPv6Address
    low, high = make(first), make(last)
    if low == high:
        return str(low)
    blocks = summarize_address_range(low, high)  # type: ignore[type-var]  # both are of one family
    block = next(blocks)
    return str(block) if next(blocks, None) is None else f"{low}-{high}"


def _address(kind: str, text: str) -> int:
    address = IPv4Address(text) if kind == "ipv4_addr" else IPv6Address(text)
    if str(address) != text or "%" in text:
        raise ValueError(f"{text!r} is not the canonical form of an address")
    return int(address)


def _address_range(kind: str, text: str) -> tuple[int, int]:
    if "-" in text:
        low, _, high = text.partition("-")
        return _address(kind, low), _address(kind, high)
    base, _, prefix = text.partition("/")
    if not _NUMBER.fullmatch(prefix):
        raise ValueError(f"{text!r} has no prefix length")
    size = 1 << max(0, (32 if kind == "ipv4_addr" else 128) - int(prefix))
    first = _address(kind, base)
    return first, first + size - 1


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def _check_part(kind: str, text: str, interval: bool) -> None:
    """Raises ValueError unless `text` is the canonical form of one value, or with `interval` of a range, of the nft type."""
    match kind:
        case "ifname":
            good = _NAME.fullmatch(text) is not None
        case "ether_addr":
            good = _MAC.fullmatch(text) is not None
        case "inet_proto":
            good = text in _PROTOCOLS
        case "inet_service" if interval and "-" in text:
            low, _, high = text.partition("-")
            good = _number(low) < _number(high)
        case "inet_service":
            good = _number(text) >= 0
        case _ if interval and ("-" in text or "/" in text):
            first, last = _address_range(kind, text)
            good = first < last and format_range(kind, first, last) == text
        case _:
            good = _address(kind, text) >= 0
    if not good:
        raise ValueError(f"{text!r} is not a canonical {kind}")


def check_topology(name: str) -> None:
    """Raises ValueError unless `name` is a DNS label of at most 20 characters."""
    if not _TOPOLOGY.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a topology")


def check_element(family: str, set_name: str, key: str, value: str) -> None:
    """Raises ValueError unless the element is in the grammar of its set.

    A quoted nft string has no escape, so nothing reaches nft(8) that has not passed here.
    """
    spec = SETS.get(family, {}).get(set_name)
    if spec is None:
        raise ValueError(f"no set {set_name!r} in the {family} table")
    for kinds, text, interval in ((spec.key, key, spec.interval), (spec.data, value, False)):
        parts = text.split(" . ") if text else []
        if len(parts) != len(kinds):
            raise ValueError(f"{text!r} does not have the {len(kinds)} parts of {set_name}")
        for kind, part in zip(kinds, parts, strict=True):
            _check_part(kind, part, interval)


def _quote(family: str, set_name: str, key: str) -> str:
    """`key` as nft wants it: interface names in quotes, or one called `ip` would be a keyword."""
    kinds = SETS[family][set_name].key
    return " . ".join(f'"{part}"' if kind == "ifname" else part for kind, part in zip(kinds, key.split(" . "), strict=True))


def render_element(verb: str, family: str, topology: str, set_name: str, key: str, value: str) -> str:
    """The nft command that adds (`add`) or removes (`delete`) an element; ValueError where it is not in the grammar."""
    check_topology(topology)
    check_element(family, set_name, key, value)
    data = f" : {value}" if value and verb == "add" else ""
    return f"{verb} element {family} netctl-{topology} {set_name} {{ {_quote(family, set_name, key)}{data} }}"


# --- the programs -----------------------------------------------------------------------------------------------------


def render_table(family: str, topology: str) -> str:
    """The table with its empty sets, chains and rules, as `nft -f` takes it; ValueError where the name is not a topology's."""
    check_topology(topology)
    sets = "".join(spec.declare(name) for name, spec in SETS[family].items())
    return f"table {family} netctl-{topology} {{\n{sets}{_CHAINS[family]}}}\n"


_INET = """\
\tchain guard {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiifname "lo" return
\t\tiifname @bridges goto guard_ours
\t\tip saddr @own4 drop
\t\tip6 saddr @own6 drop
\t\tip daddr @inbound4 return
\t\tip6 daddr @inbound6 return
\t\tip daddr . meta l4proto . th dport @inbound_ports4 return
\t\tip6 daddr . meta l4proto . th dport @inbound_ports6 return
\t\tip daddr @guarded4 drop
\t\tip6 daddr @guarded6 drop
\t}
\tchain guard_ours {
\t\tip daddr 127.0.0.0/8 drop
\t}
\tchain arriving {
\t\ttype nat hook prerouting priority -100; policy accept;
\t\tfib daddr type local jump publish
\t}
\tchain leaving_host {
\t\ttype nat hook output priority -100; policy accept;
\t\tip6 daddr ::1 return
\t\tfib daddr type local jump publish
\t}
\tchain publish {
\t\tmeta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . ip daddr . th dport map @published_at4
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . ip6 daddr . th dport map @published_at6
\t\tmeta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . ip daddr . th dport . ip saddr map @published_from4
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . ip6 daddr . th dport . ip6 saddr map @published_from6
\t\tmeta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport map @published4
\t\tmeta l4proto { tcp, udp, sctp } dnat ip6 to meta l4proto . th dport map @published6
\t}
\tchain forward {
\t\ttype filter hook forward priority -10; policy accept;
\t\tiifname @bridges goto ours
\t\toifname @bridges goto ours
\t}
\tchain ours {
\t\tct state established,related goto pass
\t\tiifname . oifname @same_bridge goto pass
\t\toifname @bridges ct direction original ct status dnat goto pass
\t\tip saddr . ip daddr @allowed4 goto pass
\t\tip6 saddr . ip6 daddr @allowed6 goto pass
\t\tip saddr . ip daddr . meta l4proto . th dport @allowed_ports4 goto pass
\t\tip6 saddr . ip6 daddr . meta l4proto . th dport @allowed_ports6 goto pass
\t\tip saddr @own4 ip daddr @own4 goto refuse
\t\tip6 saddr @own6 ip6 daddr @own6 goto refuse
\t\tiifname @bridges oifname @bridges goto refuse
\t\tiifname @nat_bridges ct state invalid drop
\t\tiifname @nat_bridges goto pass
\t\tiifname @routed_bridges goto pass
\t\toifname @routed_bridges goto pass
\t\tiifname @bridges goto outbound
\t\tip daddr @inbound4 goto pass
\t\tip6 daddr @inbound6 goto pass
\t\tip daddr . meta l4proto . th dport @inbound_ports4 goto pass
\t\tip6 daddr . meta l4proto . th dport @inbound_ports6 goto pass
\t\tgoto refuse
\t}
\tchain outbound {
\t\tip saddr @outbound4 goto pass
\t\tip6 saddr @outbound6 goto pass
\t\tip saddr . meta l4proto . th dport @outbound_ports4 goto pass
\t\tip6 saddr . meta l4proto . th dport @outbound_ports6 goto pass
\t\tgoto refuse
\t}
\tchain pass {
\t\tmeta mark set meta mark | 0x00080000 accept
\t}
\tchain refuse {
\t\tmeta l4proto tcp reject with tcp reset
\t\treject with icmpx admin-prohibited
\t}
\tchain leaving {
\t\ttype nat hook postrouting priority 100; policy accept;
\t\tip saddr 127.0.0.0/8 oifname @bridges masquerade
\t\tiifname @bridges oifname @bridges ct status dnat masquerade
\t\toifname @bridges return
\t\tip saddr @natted4 ip daddr != @own4 masquerade
\t\tip6 saddr @natted6 ip6 daddr != @own6 masquerade
\t}
"""

_BRIDGE = """\
\tchain arriving {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiifname @ports goto port
\t}
\tchain port {
\t\tiifname . ether saddr != @macs drop
\t\tether type arp goto port_arp
\t\tether type ip goto port_ip
\t\tether type ip6 goto port_ip6
\t\tdrop
\t}
\tchain port_arp {
\t\tarp htype != 1 drop
\t\tarp ptype != ip drop
\t\tarp hlen != 6 drop
\t\tarp plen != 4 drop
\t\tiifname . arp saddr ether . arp saddr ip @addresses4 accept
\t\tarp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept
\t\tdrop
\t}
\tchain port_ip {
\t\tudp sport 67 drop
\t\tiifname . ether saddr . ip saddr @addresses4 accept
\t\tdrop
\t}
\tchain port_ip6 {
\t\ticmpv6 type { nd-router-advert, nd-redirect } drop
\t\tudp sport 547 drop
\t\tiifname . ether saddr . ip6 saddr @addresses6 accept
\t\tip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld-listener-report, mld2-listener-report } accept
\t\tdrop
\t}
"""

_CHAINS = {"inet": _INET, "bridge": _BRIDGE}
