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
from functools import cache
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

FORWARD_MARK = 0x00001000
"""The bit that our forward chain sets on what it allows. The rule in DOCKER-USER (kinds.docker_user) accepts it.

A bit that no other program's marks have in a host's forward path: docs/decisions.md says whose bits are where.
"""

_TOPOLOGY = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A set, or with `data` a map: the nft types of its key's and its data's parts, and whether parts may be ranges."""

    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    interval: bool = False
    typeof: str = ""
    """The expressions whose types the key has, where nft has no names for these types."""

    def declare(self, name: str) -> str:
        """Its declaration in a table."""
        word = "map" if self.data else "set"
        types = f"typeof {self.typeof}" if self.typeof else "type " + " . ".join(self.key)
        data = " : " + " . ".join(self.data) if self.data else ""
        flags = "\t\tflags interval\n" if self.interval else ""
        return f"\t{word} {name} {{\n\t\t{types}{data}\n{flags}\t}}\n"


def _inet_sets() -> dict[str, SetSpec]:
    sets = {
        "bridges": SetSpec(("ifname",)),
        # Each bridge with itself. What stays on it is none of our business, but others' firewalls must let it pass.
        "same_bridge": SetSpec(("ifname", "ifname")),
        "nat_bridges": SetSpec(("ifname",)),
        "routed_bridges": SetSpec(("ifname",)),
        "vxlan_ports": SetSpec(("inet_service",)),
        # Ports of Open vSwitch. Where it works in user space, the host sees their packets, too, and must not take them.
        "switched": SetSpec(("ifname",)),
    }
    for family in "46":
        address = f"ipv{family}_addr"
        service = ("inet_proto", "inet_service")
        target = (address, "inet_service")
        sets |= {
            f"own{family}": SetSpec((address,), interval=True),
            # Of `own`, those with a leg on this host: others' packets may arrive over the uplink.
            f"local{family}": SetSpec((address,), interval=True),
            f"guarded{family}": SetSpec((address,), interval=True),
            f"natted{family}": SetSpec((address,), interval=True),
            f"published{family}": SetSpec(service, target),
            f"published_at{family}": SetSpec(("inet_proto", address, "inet_service"), target),
            f"published_from{family}": SetSpec(("inet_proto", address, "inet_service", address), target, interval=True),
            f"allowed{family}": SetSpec((address, address), interval=True),
            f"allowed_ports{family}": SetSpec((address, address, *service), interval=True),
            f"outbound{family}": SetSpec((address,), interval=True),
            f"outbound_ports{family}": SetSpec((address, *service), interval=True),
            # The far end, our end and the port of a VXLAN.
            f"vteps{family}": SetSpec((address, address, "inet_service")),
            # What other hosts, known by link and hardware address, send from containers of theirs without encapsulation.
            f"neighbours{family}": SetSpec(("ifname", "ether_addr", address)),
            # Hosts that share a subnet with this one, by their underlay addresses.
            f"peers{family}": SetSpec((address,)),
            # Containers elsewhere with a port published here, and the address of this host that they answer to.
            f"returns{family}": SetSpec((address,), (address,)),
        }
    return sets


SETS: Mapping[str, Mapping[str, SetSpec]] = {
    "inet": _inet_sets(),
    "bridge": {
        "ports": SetSpec(("ifname",)),
        # Ports that may send as a DHCP server, and as an IPv6 router.
        # Ports whose addresses the LAN gives: which ones, is seen only when they have them.
        "dhcp_clients": SetSpec(("ifname",)),
        "leases4": SetSpec(("ifname", "ether_addr", "ipv4_addr"), interval=True),
        "dhcp_servers": SetSpec(("ifname",)),
        "routers": SetSpec(("ifname",)),
        # Ports in a LAN, whose switches may learn from MLD who listens to what. Our own bridges do not (mcast_snooping 0): there
        # each report would go to every port. Of 1,000 new containers with IPv6, five each: both cores busy for half a minute.
        "lan_ports": SetSpec(("ifname",)),
        "macs": SetSpec(("ifname", "ether_addr")),
        "addresses4": SetSpec(("ifname", "ether_addr", "ipv4_addr")),
        # Two rules look into this one: one with a packet's source, one with the target of a neighbor advertisement. nft 1.0.6
        # has no word for the target, only bits of a payload (`@th,64,128`), which are a plain number to it; so both use bits.
        "addresses6": SetSpec(("ifname", "ether_addr", "ipv6_addr"), typeof="iifname . ether saddr . @nh,64,128"),
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
    blocks = summarize_address_range(low, high)
    block = next(blocks)
    return str(block) if next(blocks, None) is None else f"{low}-{high}"


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PATTERNS = {
    "ifname": "[A-Za-z0-9][A-Za-z0-9_.-]{0,14}",
    "ether_addr": "[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
    "inet_proto": "tcp|udp|sctp",
    "inet_service": "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}|0)",
    "ipv4_addr": rf"{_OCTET}(?:\.{_OCTET}){{3}}",
    "ipv6_addr": "[0-9a-f:.]{2,45}",
}
"""One value of each type. All but the IPv6 address are strict: what matches is canonical."""
_RANGED = ("inet_service", "ipv4_addr", "ipv6_addr")


def _pattern(kinds: tuple[str, ...], interval: bool) -> re.Pattern[str]:
    """Of a whole key or value, one group for each part."""
    parts = []
    for kind in kinds:
        one = _PATTERNS[kind]
        prefix = "|/[0-9]{1,3}" if kind != "inet_service" else ""
        parts.append(f"({one}(?:-{one}{prefix})?)" if interval and kind in _RANGED else f"({one})")
    return re.compile(" \\. ".join(parts), re.ASCII)


@cache
def _grammar(family: str, set_name: str) -> tuple[re.Pattern[str], re.Pattern[str], tuple[tuple[int, str], ...]]:
    """Patterns of key and value, and the parts of the key that need a closer look: IPv6 addresses and ranges."""
    spec = SETS[family][set_name]
    loose = _RANGED if spec.interval else ("ipv6_addr",)
    closer = tuple((place, kind) for place, kind in enumerate(spec.key, start=1) if kind in loose)
    return _pattern(spec.key, spec.interval), _pattern(spec.data, interval=False), closer


def _first_and_last(kind: str, text: str) -> tuple[int, int]:
    """The ends of a value, a CIDR or a range; ValueError where an address is none."""
    if kind == "inet_service":
        low, _, high = text.partition("-")
        return int(low), int(high or low)
    make, bits = (IPv4Address, 32) if kind == "ipv4_addr" else (IPv6Address, 128)
    low, dash, high = text.partition("-")
    if dash:
        return int(make(low)), int(make(high))
    base, _, prefix = text.partition("/")
    return int(make(base)), int(make(base)) + (1 << max(0, bits - int(prefix or bits))) - 1


def _is_canonical(kind: str, text: str) -> bool:
    try:
        first, last = _first_and_last(kind, text)
        return first <= last and format_range(kind, first, last) == text
    except ValueError:
        return False


def check_topology(name: str) -> None:
    """Raises ValueError unless `name` is a DNS label of at most 20 characters."""
    if not _TOPOLOGY.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a topology")


def check_element(family: str, set_name: str, key: str, value: str) -> None:
    """Raises ValueError unless the element is in the grammar of its set.

    A quoted nft string has no escape, so nothing reaches nft(8) that has not passed here.
    """
    if set_name not in SETS.get(family, {}):
        raise ValueError(f"no set {set_name!r} in the {family} table")
    key_pattern, value_pattern, closer = _grammar(family, set_name)
    matched = key_pattern.fullmatch(key)
    if matched is None or not all(_is_canonical(kind, matched[place]) for place, kind in closer):
        raise ValueError(f"{key!r} is not in the form of a key of {set_name}")
    target_is_good = "ipv6_addr" not in SETS[family][set_name].data or _is_canonical("ipv6_addr", value.partition(" ")[0])
    if not value_pattern.fullmatch(value) or not target_is_good:
        raise ValueError(f"{value!r} is not in the form of a value of {set_name}")


def _render_key(spec: SetSpec, key: str) -> str:
    """`key` as nft wants it: interface names in quotes, or one called `ip` would be a keyword; plain numbers as numbers."""
    parts = []
    for kind, part in zip(spec.key, key.split(" . "), strict=True):
        if kind == "ifname":
            parts.append(f'"{part}"')
        elif kind == "ipv6_addr" and spec.typeof:
            parts.append(f"0x{int(IPv6Address(part)):032x}")
        else:
            parts.append(part)
    return " . ".join(parts)


def render_element(verb: str, table: tuple[str, str], set_name: str, key: str, value: str) -> str:
    """The nft command that adds (`add`) or removes (`delete`) an element of a table, given as its family and topology.

    ValueError where something is not in the grammar.
    """
    family, topology = table
    check_topology(topology)
    check_element(family, set_name, key, value)
    data = f" : {value}" if value and verb == "add" else ""
    return f"{verb} element {family} netctl-{topology} {set_name} {{ {_render_key(SETS[family][set_name], key)}{data} }}"


# --- the programs -----------------------------------------------------------------------------------------------------


def render_table(family: str, topology: str) -> str:
    """The table with its empty sets, chains and rules, as `nft -f` takes it; ValueError where the name is not a topology's."""
    check_topology(topology)
    sets = "".join(spec.declare(name) for name, spec in SETS[family].items())
    return f"table {family} netctl-{topology} {{\n{sets}{_CHAINS[family]}}}\n"


_INET = """\
\tchain guard {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiif "lo" return
\t\tudp dport @vxlan_ports jump underlay
\t\tiifname @bridges goto guard_ours
\t\tiifname @switched drop
\t\tiifname . ether saddr . ip saddr @neighbours4 return
\t\tiifname . ether saddr . ip6 saddr @neighbours6 return
\t\tip saddr @local4 drop
\t\tip6 saddr @local6 drop
\t\tip daddr @guarded4 drop
\t\tip6 daddr @guarded6 drop
\t}
\tchain underlay {
\t\tip saddr . ip daddr . udp dport @vteps4 fib saddr . iif oif exists notrack accept
\t\tip6 saddr . ip6 daddr . udp dport @vteps6 fib saddr . iif oif exists notrack accept
\t\tfib daddr type { local, broadcast, multicast } drop
\t\tip saddr @peers4 fib saddr . iif oif exists return
\t\tip6 saddr @peers6 fib saddr . iif oif exists return
\t\tip daddr @peers4 drop
\t\tip6 daddr @peers6 drop
\t}
\tchain encapsulated {
\t\ttype filter hook output priority -300; policy accept;
\t\tip daddr . ip saddr . udp dport @vteps4 notrack
\t\tip6 daddr . ip6 saddr . udp dport @vteps6 notrack
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
\t\tiifname . oifname @same_bridge goto pass
\t\tiifname @bridges goto ours
\t\toifname @bridges goto ours
\t\tct status dnat ip daddr @own4 goto ours
\t\tct status dnat ip saddr @own4 goto ours
\t\tct status dnat ip6 daddr @own6 goto ours
\t\tct status dnat ip6 saddr @own6 goto ours
\t}
\tchain ours {
\t\tct state related goto pass
\t\tct direction reply ct state established goto pass
\t\tct direction original ct status dnat oifname @bridges goto pass
\t\tct direction original ct status dnat ip daddr @own4 goto pass
\t\tct direction original ct status dnat ip6 daddr @own6 goto pass
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
\t\tmeta mark set meta mark | FORWARD_MARK accept
\t}
\tchain refuse {
\t\tmeta l4proto tcp reject with tcp reset
\t\treject with icmpx admin-prohibited
\t}
\tchain leaving {
\t\ttype nat hook postrouting priority 100; policy accept;
\t\tct status dnat snat ip to ip daddr map @returns4
\t\tct status dnat snat ip6 to ip6 daddr map @returns6
\t\tip saddr 127.0.0.0/8 oifname @bridges masquerade
\t\tip saddr @own4 oifname @bridges ct status dnat masquerade
\t\tip6 saddr @own6 oifname @bridges ct status dnat masquerade
\t\tip saddr @natted4 ip daddr != @own4 masquerade
\t\tip6 saddr @natted6 ip6 daddr != @own6 masquerade
\t\tip saddr @local4 ip daddr @peers4 masquerade
\t\tip6 saddr @local6 ip6 daddr @peers6 masquerade
\t}
"""

_BRIDGE = """\
\tchain arriving {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiifname @ports goto port
\t}
\tchain port {
\t\tether type vmap { arp : goto port_arp, ip : goto port_ip, ip6 : goto port_ip6 }
\t\tdrop
\t}
\tchain port_arp {
\t\tiifname . ether saddr != @macs drop
\t\tarp htype != 1 drop
\t\tarp ptype != ip drop
\t\tarp hlen != 6 drop
\t\tarp plen != 4 drop
\t\tiifname . arp saddr ether . arp saddr ip @addresses4 accept
\t\tiifname . arp saddr ether . arp saddr ip @leases4 accept
\t\tarp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept
\t\tdrop
\t}
\tchain port_ip {
\t\tudp sport 67 iifname != @dhcp_servers drop
\t\tiifname . ether saddr . ip saddr @addresses4 accept
\t\tiifname . ether saddr . ip saddr @leases4 accept
\t\tip saddr 0.0.0.0 udp sport 68 udp dport 67 iifname @dhcp_clients iifname . ether saddr @macs accept
\t\tdrop
\t}
\tchain port_ip6 {
\t\ticmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } iifname != @lan_ports drop
\t\ticmpv6 type { nd-router-advert, nd-redirect } iifname != @routers drop
\t\tudp sport 547 iifname != @dhcp_servers drop
\t\ticmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @addresses6 drop
\t\tiifname . ether saddr . @nh,64,128 @addresses6 accept
\t\tip6 saddr != :: drop
\t\ticmpv6 type { mld-listener-report, mld2-listener-report } iifname . ether saddr @macs accept
\t\ticmpv6 type nd-neighbor-solicit iifname . ether saddr . @th,64,128 @addresses6 accept
\t\tdrop
\t}
"""

_CHAINS = {"inet": _INET.replace("FORWARD_MARK", f"{FORWARD_MARK:#010x}"), "bridge": _BRIDGE}
