"""The firewall's elements in people's words: what each one says, and whose it is.

The kernel keeps no word on whose an element is, so for what is live it is told by the links and addresses of the same
snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from ipaddress import ip_address, ip_interface, ip_network

from reconciler.state.naming import parse_alias
from reconciler.state.ref import HOST
from reconciler.state.snapshot import NamespaceInfo, Snapshot

POLICY_FROM = "policy from "
"""With which the subject of a policy begins: `policy from web to db`."""
POLICIES = ("allowed", "outbound")
PUBLISHED = ("published", "published_at", "published_from")
FILTERS = ("ports", "macs", "addresses")
CONTAINED = ("endpoints", "isolated", "isolated_ports", "isolated_macs")
"""Those that say what a container must not do."""
FAST_PATH = {"behind": "to", "hops": "to", "members": "from other hosts to"}
"""Of the sets of a fast path, those whose elements are somebody's place."""
"""The sets, less their family's digit, that hold what a file says; all others follow from the subnets."""


@cache
def purpose_of(set_name: str) -> str:
    """`published_at` of `published_at4`, `allowed` of `allowed_ports6`: what a set is for, without its family and form."""
    return set_name.rstrip("46").removesuffix("_ports")


def describe_element(set_name: str, key: str, value: str) -> str:
    """What an element says: `port tcp 8080 to 10.44.0.10:80`, `from 10.44.0.10 to 10.45.0.20 tcp 5432`."""
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
    """`tcp 5432`; "" where a policy's element is for everything."""
    return " ".join(key.split(" . ")[-2:]) if set_name.rstrip("46").endswith("_ports") else ""


# --- whose it is ------------------------------------------------------------------------------------------------------


def holders_of(snapshot: Snapshot) -> dict[str, str]:
    """By interface, address and prefix: `container web` or `subnet front`, as the links of the host say."""
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
    """Whose element it is: `container web`, `subnet front`, `policy from … to …`; `host` where nothing tells."""
    stem = purpose_of(set_name)
    if stem in POLICIES:
        source, target = split_policy(set_name, key)
        if source == target:  # no policy: routes join the subnet
            return holders.get(source, "host")
        return f"{POLICY_FROM}{_party_of(source, holders)} to {_party_of(target, holders)}"
    if stem == "connections":
        return holders.get(key.rpartition(" ")[2], "host")
    first = (value if stem in PUBLISHED else key).partition(" ")[0]
    return holders.get(first, "host")


def _party_of(block: str, holders: Mapping[str, str]) -> str:
    """The name that a policy has for a block of addresses: a container's, that of its replicas, or the subnet's around it."""
    if block not in holders:
        return next((name.rpartition(" ")[2] for cidr, name in holders.items() if "/" in cidr and _is_within(block, cidr)), block)
    name = holders[block].rpartition(" ")[2]
    return without_number(name) if holders[block].startswith("container ") else name


def without_number(container: str) -> str:
    """The name that the file has for a replica: `worker` for `worker-3`."""
    stem, _, number = container.rpartition("-")
    return stem if stem and number.isdecimal() else container


def _is_within(block: str, cidr: str) -> bool:
    """Whether a CIDR, a range or an address lies in a prefix."""
    try:
        return ip_address(block.partition("-")[0].partition("/")[0]) in ip_network(cidr)
    except ValueError:  # `outside`
        return False
