"""Descriptions of firewall elements for users, and the owner of each.

The kernel stores no owner of an element. The links and addresses of the same snapshot identify it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.state.naming import parse_alias
from reconciler.state.ref import HOST
from reconciler.state.snapshot import NamespaceInfo, Snapshot

POLICY_FROM = "policy from "
"""The first words of the subject of a policy: `policy from web to db`."""
POLICIES = ("allowed", "outbound")
PUBLISHED = ("published", "published_at", "published_from")
FILTERS = ("ports", "macs", "addresses")
CONTAINED = ("endpoints", "isolated", "isolated_ports", "isolated_macs")
"""Sets that restrict a container."""
FAST_PATH = {"behind": "to", "hops": "to", "members": "from other hosts to"}
"""Sets of a fast path whose elements name a container's location, with the word for it."""
"""The sets above, without the digit of their family, have the contents of a file; those of all others follow from the subnets."""


@cache
def purpose_of(set_name: str) -> str:
    """`published_at` of `published_at4`, `allowed` of `allowed_ports6`: the purpose of a set, without its family and form."""
    return set_name.rstrip("46").removesuffix("_ports")


def describe_element(set_name: str, key: str, value: str) -> str:
    """An element in words: `port tcp 8080 to 10.44.0.10:80`, `from 10.44.0.10 to 10.45.0.20 tcp 5432`."""
    stem, parts = purpose_of(set_name), key.split(" . ")
    if stem in PUBLISHED:
        return f"{describe_port(set_name, key)} to {join_port(*value.split(' . '))}"
    if stem in POLICIES:
        source, target = split_policy(set_name, key)
        return " ".join([f"from {source} to {target}", describe_services(set_name, key)]).rstrip()
    if stem in FAST_PATH:
        return f"the fast path {FAST_PATH[stem]} {key}" + (f" by {value}" if value else "")
    if set_name == "ports":
        return f"the filter of {key}"
    if stem == "connections":
        return f"at most {value} connections of {parts[1]} through {parts[0]}"
    if set_name == "source_ports":
        return f"connections from port {key} get a source port of {value.partition('-')[2]}"
    if stem == "endpoints":
        return f"{parts[0]} reports errors about its own connections only"
    if stem == "gateways":
        return f"{key} reports errors about connections that it routes"
    if stem == "uplinks":
        return f"{key} leads to the world"
    if stem in CONTAINED:
        return _describe_isolated(set_name, parts)
    if stem in FILTERS:
        return f"{'MAC address' if stem == 'macs' else 'address'} {parts[-1]} may be used on {parts[0]}"
    return f"firewall of {parts[0]}"


def _describe_isolated(set_name: str, parts: list[str]) -> str:
    if len(parts) > 1:
        return f"{parts[0]} reaches no isolated address of {parts[1]}"
    what = {"isolated_ports": "port ", "isolated_macs": "MAC address "}.get(set_name, "")
    return f"{what}{parts[0]} is isolated"


def describe_port(set_name: str, key: str) -> str:
    """The host's side of a published port: `port tcp 192.0.2.11:8443 from 192.0.2.0/24`."""
    protocol, *parts = key.split(" . ")
    listen, port = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    source = f" from {parts[2]}" if purpose_of(set_name) == "published_from" else ""
    return f"port {protocol} {port if listen in ('', '0.0.0.0/0', '::/0') else join_port(listen, port)}{source}"


def join_port(address: str, port: str) -> str:
    """`10.44.0.10:80`, `[fd00:44::10]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_policy(set_name: str, key: str) -> tuple[str, str]:
    """Source and target of a policy's element, as blocks of addresses or `outside`."""
    parts = key.split(" . ")
    return parts[0], "outside" if purpose_of(set_name) == "outbound" else parts[1]


def describe_services(set_name: str, key: str) -> str:
    """`tcp 5432`; "" if a policy's element allows everything."""
    return " ".join(key.split(" . ")[-2:]) if set_name.rstrip("46").endswith("_ports") else ""


# --- whose it is ------------------------------------------------------------------------------------------------------


def holders_of(snapshot: Snapshot) -> dict[str, str]:
    """The owner of each interface, address and prefix by the host's links: `container web` or `subnet front`."""
    host = snapshot.namespaces.get(HOST, NamespaceInfo())
    holders: dict[str, str] = {}
    for link in host.links.values():
        alias = parse_alias(link.alias)
        if alias and alias.topology == snapshot.topology and alias.kind in ("bridge", "veth"):
            holders[link.name] = f"{'subnet' if alias.kind == 'bridge' else 'container'} {alias.name}"
    for address in host.addresses:
        link_holder = holders.get(host.links[address.index].name) if address.index in host.links else None
        if link_holder:
            holders[str(ip_interface(address.cidr).network)] = link_holder
    for table in snapshot.tables:
        for set_name, key, _ in table.elements if table.family == "bridge" else ():
            if set_name == "macs":
                port, _, mac = key.partition(" . ")
                holders[mac] = holders.get(port, "host")
            if set_name.startswith("addresses"):
                port, _, address_text = key.split(" . ")
                if port in holders:
                    holders[address_text] = holders[port]
    return holders


def about_element(set_name: str, key: str, value: str, holders: Mapping[str, str]) -> str:
    """The owner of an element: `container web`, `subnet front`, `policy from … to …`; `host` if nothing identifies it."""
    stem = purpose_of(set_name)
    if stem in POLICIES:
        source, target = split_policy(set_name, key)
        if source == target:  # no policy: the subnet is connected by routes
            return holders.get(source, "host")
        return f"{POLICY_FROM}{_party_of(source, holders)} to {_party_of(target, holders)}"
    if stem == "connections":
        return holders.get(key.rpartition(" ")[2], "host")
    first = (value if stem in PUBLISHED else key).partition(" ")[0]
    return holders.get(first, "host")


def _party_of(block: str, holders: Mapping[str, str]) -> str:
    """The name of a block of addresses in a policy: a container's, that of its replicas, or the subnet's."""
    if block not in holders:
        return next((name.rpartition(" ")[2] for cidr, name in holders.items() if "/" in cidr and _is_within(block, cidr)), block)
    name = holders[block].rpartition(" ")[2]
    return without_number(name) if holders[block].startswith("container ") else name


def without_number(container: str) -> str:
    """The name of a replica in the file: `worker` for `worker-3`."""
    stem, _, number = container.rpartition("-")
    return stem if stem and number.isdecimal() else container


def _is_within(block: str, cidr: str) -> bool:
    """Whether a prefix contains a CIDR, a range or an address."""
    try:
        return ip_address(block.partition("-")[0].partition("/")[0]) in ip_network(cidr)
    except ValueError:  # `outside`
        return False
