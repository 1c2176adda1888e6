"""The ruleset: a constant program for each family, and the grammar of its data.

The text of a program depends only on the topology's name. All data of a topology (bridges, published ports, policies,
addresses) are elements of sets and maps. So one more port is one more element, and no rule is ever rewritten. Sets are
hash tables wherever possible; the few interval sets hold what a user writes as a CIDR or a range.

`kinds.firewall.elements` turns it into steps, and `compile` fills the sets. `kernel.netfilter.nft` compares it with the
live tables. `kernel.netfilter.table_dump` reads elements in the text form that is defined here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from reconciler.kinds.firewall.chains import SOURCE_PORT_CHAINS, render_chains
from reconciler.kinds.firewall.port_chains import PORT, PORT_ISOLATED
from reconciler.state.grammar import is_label, is_topology_name
from reconciler.state.naming import group_of

TABLE_PREFIX = "netctl-"


COUNT_MAX = 2**32 - 1
"""The largest limit of connections in an element (NFTA_CONNLIMIT_COUNT, linux/netfilter/nf_tables.h)."""


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A set, or with `data` a map: the nft types of its key's and its data's parts, and whether parts may be ranges."""

    key: tuple[str, ...]
    data: tuple[str, ...] = ()
    interval: bool = False
    typeof: str = ""
    """Expressions with the types of the key, if nft has no names for these types."""
    chains: tuple[str, ...] = ()
    """The chains of its table that its verdicts jump to."""
    statement: str = ""
    """The statement that runs when an element matches, with the element's value as its number: `ct count over`."""

    def declare(self, name: str) -> str:
        """Its declaration in a table."""
        is_map = self.data and not self.statement
        types = f"typeof {self.typeof}" if self.typeof else "type " + " . ".join(self.key)
        data = " : " + " . ".join(self.data) if is_map else ""
        flags = "\t\tflags interval\n" if self.interval else ""
        # The kernel requires one for the set, too; each element has its own.
        statement = f"\t\t{self.statement} {COUNT_MAX}\n" if self.statement else ""
        return f"\t{'map' if is_map else 'set'} {name} {{\n\t\t{types}{data}\n{flags}{statement}\t}}\n"


def _inet_sets() -> dict[str, SetSpec]:
    sets = {
        "bridges": SetSpec(("ifname",)),
        # Each bridge with itself. netctl does not filter traffic within a bridge, but foreign firewalls must let it
        # pass.
        "same_bridge": SetSpec(("ifname", "ifname")),
        "nat_bridges": SetSpec(("ifname",)),
        "routed_bridges": SetSpec(("ifname",)),
        "vxlan_ports": SetSpec(("inet_service",)),
        # An uplink that is a port of Open vSwitch. If that works in user space, the host sees its packets too, and must
        # not accept them. Ports of containers are known by their group.
        "switched": SetSpec(("ifname",)),
        # Links to the outside: packets between them and netctl's bridges may pass foreign filters, too.
        "uplinks": SetSpec(("ifname",)),
        # The limit of a container's connections, by its bridge and its hardware address there.
        "connections": SetSpec(("ifname", "ether_addr"), ("count",), statement="ct count over"),
        # The block of new source ports for a masqueraded connection, by its own source port.
        "source_ports": SetSpec(("inet_service",), ("verdict",), interval=True, chains=SOURCE_PORT_CHAINS),
    }
    for family in "46":
        address = f"ipv{family}_addr"
        service = ("inet_proto", "inet_service")
        target = (address, "inet_service")
        sets |= {
            f"own{family}": SetSpec((address,), interval=True),
            # The members of `own` with a host subnet on this host: other packets may arrive over the uplink.
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
            # The remote end, the local end and the port of a VXLAN.
            f"vteps{family}": SetSpec((address, address, "inet_service")),
            # Other hosts, by link and hardware address, that send packets of their containers without encapsulation.
            f"neighbours{family}": SetSpec(("ifname", "ether_addr", address)),
            # Hosts that share a subnet with this one, by their underlay addresses.
            f"peers{family}": SetSpec((address,)),
            # Containers on other hosts with a port published here, and this host's address that they answer to.
            f"returns{family}": SetSpec((address,), (address,)),
            # Containers on a LAN with a published port, and the LAN: they would answer its clients directly, past this
            # host.
            f"lan_clients{family}": SetSpec((address, address), interval=True),
            # The topology's hosts in their subnets. They route, so their ICMP errors may concern connections of others.
            f"gateways{family}": SetSpec((address,)),
            # Each container with itself: nft cannot compare two addresses of a packet, but it can look up both
            # together.
            f"endpoints{family}": SetSpec((address, address)),
        }
    return sets


def _netdev_sets() -> dict[str, SetSpec]:
    """The sets of one subnet's fast path: local and remote containers, and the links to them."""
    sets = {
        # Hardware addresses behind the VXLAN, and those of local containers.
        "behind": SetSpec(("ether_addr",)),
        "members": SetSpec(("ether_addr",)),
        # With routes: the bridge's hardware address, to which containers send packets for other hosts.
        "gateway": SetSpec(("ether_addr",)),
    }
    for family in "46":
        address = f"ipv{family}_addr"
        sets |= {
            f"addresses{family}": SetSpec(("ifname", "ether_addr", address)),
            # With routes: the next hop to a remote container, the sources that its host sends for it, and the local
            # containers.
            f"hops{family}": SetSpec((address,), (address,)),
            f"neighbours{family}": SetSpec(("ether_addr", address)),
            f"members{family}": SetSpec((address,)),
        }
    return sets | {name: SetSpec(("ether_type",), ("iface_index",)) for name in WAYS}


WAYS = ("to_tunnel", "to_uplink", "to_bridge")
"""The maps that name a link, for each protocol. The kernel stores the link's number, so a re-created link is another one."""

SETS: Mapping[str, Mapping[str, SetSpec]] = {
    "inet": _inet_sets(),
    "bridge": {
        # Each container's port, and the chain for packets that come in there.
        "ports": SetSpec(("ifname",), ("verdict",), chains=(PORT, PORT_ISOLATED)),
        # Ports that may send as a DHCP server, and as an IPv6 router. Ports with addresses from the LAN, which are
        # known only later.
        "dhcp_clients": SetSpec(("ifname",)),
        "leases4": SetSpec(("ifname", "ether_addr", "ipv4_addr"), interval=True),
        "dhcp_servers": SetSpec(("ifname",)),
        "routers": SetSpec(("ifname",)),
        # Ports in a LAN, whose switches may learn group members from MLD. netctl's bridges do not (mcast_snooping 0):
        # there each report would go to every port. 1,000 new containers with IPv6 send five each, and keep both cores
        # busy for half a minute.
        "lan_ports": SetSpec(("ifname",)),
        "macs": SetSpec(("ifname", "ether_addr")),
        "addresses4": SetSpec(("ifname", "ether_addr", "ipv4_addr")),
        # Two rules use this set: one with a packet's source, one with the target of a neighbor advertisement. In nft
        # 1.0.6, only bits of a payload (`@th,64,128`) of type integer can express the target. So both rules use bits.
        "addresses6": SetSpec(("ifname", "ether_addr", "ipv6_addr"), typeof="iifname . ether saddr . @nh,64,128"),
        # Forwarding containers: the port, the prefix behind it, and the containers with a route to the prefix by it.
        "forwarded4": SetSpec(("ifname", "ether_addr", "ipv4_addr", "ipv4_addr"), interval=True),
        "forwarded6": SetSpec(("ifname", "ether_addr", "ipv6_addr", "ipv6_addr"), interval=True),
        # Isolated ports, with the prefixes in which they reach no address of another isolated one, and those addresses.
        # The hardware addresses of isolated ones on other hosts.
        "isolated_ports": SetSpec(("ifname",)),
        "isolated_ports4": SetSpec(("ifname", "ipv4_addr"), interval=True),
        "isolated_ports6": SetSpec(("ifname", "ipv6_addr"), interval=True),
        "isolated4": SetSpec(("ipv4_addr",)),
        "isolated6": SetSpec(("ipv6_addr",)),
        "isolated_macs": SetSpec(("ether_addr",)),
    },
    "arp": {},
    "netdev": _netdev_sets(),
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
    "ether_type": "ip|ip6",
    "iface_index": "[A-Za-z0-9][A-Za-z0-9_.-]{0,14}",
    "ether_addr": "[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
    "inet_proto": "tcp|udp|sctp",
    "inet_service": "(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}|0)",
    "ipv4_addr": rf"{_OCTET}(?:\.{_OCTET}){{3}}",
    "ipv6_addr": "[0-9a-f:.]{2,45}",
    "count": "[1-9][0-9]{0,8}",
}
"""The pattern of one value of each type. All but that of IPv6 addresses are strict: a match is canonical."""
_RANGED = ("inet_service", "ipv4_addr", "ipv6_addr")


def _pattern(kinds: tuple[str, ...], interval: bool) -> re.Pattern[str]:
    """The pattern of a whole key or value, with one group for each part."""
    parts = []
    for kind in kinds:
        one = _PATTERNS[kind]
        prefix = "|/[0-9]{1,3}" if kind != "inet_service" else ""
        parts.append(f"({one}(?:-{one}{prefix})?)" if interval and kind in _RANGED else f"({one})")
    return re.compile(" \\. ".join(parts), re.ASCII)


@cache
def _grammar(family: str, set_name: str) -> tuple[re.Pattern[str], re.Pattern[str], tuple[tuple[int, str], ...]]:
    """Patterns of key and value, and the parts of the key that need a closer check: IPv6 addresses and ranges."""
    spec = SETS[family][set_name]
    loose = _RANGED if spec.interval else ("ipv6_addr",)
    closer = tuple((index, kind) for index, kind in enumerate(spec.key, start=1) if kind in loose)
    value = re.compile("|".join(f"goto {chain}" for chain in spec.chains)) if spec.chains else _pattern(spec.data, interval=False)
    return _pattern(spec.key, spec.interval), value, closer


def _first_and_last(kind: str, text: str) -> tuple[int, int]:
    """The first and last value of a value, a CIDR or a range; ValueError if an address is invalid."""
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
    """Raise ValueError unless `name` is a DNS label of at most 20 characters."""
    if not is_topology_name(name):
        raise ValueError(f"{name!r} is not a name of a topology")


def table_name(topology: str, subnet: str = "") -> str:
    """`netctl-shop`, or for a subnet `netctl-shop.front`; ValueError if a name is invalid in a file."""
    check_topology(topology)
    if subnet and not is_label(subnet):
        raise ValueError(f"{subnet!r} is not a name of a subnet")
    return f"{TABLE_PREFIX}{topology}" + (f".{subnet}" if subnet else "")


def parse_table_name(name: str) -> tuple[str, str]:
    """Topology and subnet of a table; both "" if the name is not one of netctl's."""
    topology, _, subnet = name.removeprefix(TABLE_PREFIX).partition(".")
    return (topology, subnet) if name.startswith(TABLE_PREFIX) else ("", "")


def check_element(family: str, set_name: str, key: str, value: str) -> None:
    """Raise ValueError unless the element is in the grammar of its set.

    A quoted nft string has no escape, so every text for nft(8) passes here.
    """
    if set_name not in SETS.get(family, {}):
        raise ValueError(f"no set {set_name!r} in the {family} table")
    key_pattern, value_pattern, closer = _grammar(family, set_name)
    matched = key_pattern.fullmatch(key)
    if matched is None or not all(_is_canonical(kind, matched[index]) for index, kind in closer):
        raise ValueError(f"{key!r} is not in the form of a key of {set_name}")
    target_is_good = "ipv6_addr" not in SETS[family][set_name].data or _is_canonical("ipv6_addr", value.partition(" ")[0])
    if not value_pattern.fullmatch(value) or not target_is_good:
        raise ValueError(f"{value!r} is not in the form of a value of {set_name}")


def _render(spec: SetSpec, kinds: tuple[str, ...], text: str) -> str:
    """A key or value for nft.

    Interface names are quoted, because a name such as `ip` would be a keyword; plain numbers are not.
    """
    parts = []
    for kind, part in zip(kinds, text.split(" . "), strict=True):
        if kind in ("ifname", "iface_index"):
            parts.append(f'"{part}"')
        elif kind == "ipv6_addr" and spec.typeof:
            parts.append(f"0x{int(IPv6Address(part)):032x}")
        else:
            parts.append(part)
    return " . ".join(parts)


def render_element(verb: str, table: tuple[str, str], set_name: str, key: str, value: str) -> str:
    """The nft command that adds (`add`) or removes (`delete`) an element of a table, given as its family and name.

    ValueError if a part is not in the grammar.
    """
    family, name = table
    table_name(*parse_table_name(name))
    check_element(family, set_name, key, value)
    spec = SETS[family][set_name]
    joint = spec.statement or ":"
    data = f" {joint} {_render(spec, spec.data, value)}" if value and verb == "add" else ""
    return f"{verb} element {family} {name} {set_name} {{ {_render(spec, spec.key, key)}{data} }}"


# --- the programs -----------------------------------------------------------------------------------------------------


def render_table(family: str, name: str) -> str:
    """The table with its empty sets, chains and rules, as `nft -f` reads it; ValueError if the name is not a table's."""
    topology, subnet = parse_table_name(name)
    table_name(topology, subnet)
    sets = "".join(spec.declare(each) for each, spec in SETS[family].items())
    return f"table {family} {name} {{\n{sets}{render_chains(family, group_of(topology))}}}\n"
