"""Networks of Compose as subnets: their prefixes, their mode, and notes about what a subnet does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from reconciler.compose.draft import SubnetDraft
from reconciler.compose.model import ComposeNetwork, Range
from reconciler.compose.prefixes import choose_ipv4, choose_ipv6
from reconciler.errors import UsageError
from reconciler.state.uapi import IPV6_MTU_MIN, MTU_MAX, MTU_MIN
from reconciler.topology.types import IPAddress, Network, SubnetMode

_BRIDGE = "com.docker.network.bridge."
MTU_OPTION = "com.docker.network.driver.mtu"
MACVLAN_TYPES = ("bridge", "vepa", "private", "passthru")
_INTERFACE = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", re.ASCII)
PREFIX_MAX = {4: 30, 6: 126}
"""Longer prefixes have no room for a gateway and a container."""


@dataclass(frozen=True, slots=True)
class ImportedNetwork:
    """A subnet, and what its addresses must avoid."""

    subnet: SubnetDraft
    pools: Mapping[int, Network]
    """By family, the part of the prefix from which Docker gives addresses (`ip_range`)."""
    reserved: frozenset[IPAddress]


def convert_networks(
    project: str, networks: Mapping[str, ComposeNetwork | None], labels: Mapping[str, str]
) -> dict[str, ImportedNetwork]:
    """The subnets by the keys of their networks. Prefixes that the file gives come first; the others avoid them."""
    parsed = {key: _parse(project, key, labels[key], network or ComposeNetwork()) for key, network in networks.items()}
    taken = [cidr for each in parsed.values() for cidr in each.subnet.cidrs]
    ipv4, ipv6 = choose_ipv4(project, taken), choose_ipv6(project, taken)
    return {key: _complete(each, networks[key] or ComposeNetwork(), ipv4, ipv6) for key, each in parsed.items()}


def _parse(project: str, key: str, label: str, network: ComposeNetwork) -> ImportedNetwork:
    notes: list[str] = []
    cidrs: list[Network] = []
    gateways: list[IPAddress] = []
    pools: dict[int, Network] = {}
    reserved: set[IPAddress] = set()
    for given in network.ipam.config or () if network.ipam else ():
        _read_range(given, cidrs, gateways, pools, reserved, notes)
    subnet = SubnetDraft(label, tuple(cidrs), gateways=tuple(gateways))
    subnet, mode_notes = _read_driver(subnet, network)
    named = [f"the network {key}"] if key != label else []
    notes = [*named, *_outside_notes(project, key, network), *mode_notes, *notes, *_other_notes(network)]
    return ImportedNetwork(replace(subnet, notes=tuple(notes)), pools, frozenset(reserved))


def _complete(
    each: ImportedNetwork, network: ComposeNetwork, ipv4: Iterator[Network], ipv6: Iterator[Network]
) -> ImportedNetwork:
    """With prefixes of netctl's choice for the families that have none."""
    families = {cidr.version for cidr in each.subnet.cidrs}
    added: list[Network] = []
    if 4 not in families and network.enable_ipv4 is not False:
        added.append(_take(ipv4, each.subnet.name))
    if 6 not in families and network.enable_ipv6:
        added.append(_take(ipv6, each.subnet.name))
    cidrs = tuple(sorted((*each.subnet.cidrs, *added), key=lambda cidr: cidr.version)) or (_take(ipv4, each.subnet.name),)
    subnet, notes = replace(each.subnet, cidrs=cidrs), each.subnet.notes
    if subnet.mtu is not None and subnet.mtu < IPV6_MTU_MIN and cidrs[-1].version == 6:
        subnet = replace(subnet, mtu=None, notes=(*notes, f"not imported: an MTU of {subnet.mtu}: IPv6 needs {IPV6_MTU_MIN}"))
    return replace(each, subnet=subnet)


def _take(free: Iterator[Network], network: str) -> Network:
    """The next prefix. UsageError if the prefixes of the other networks leave none."""
    try:
        return next(free)
    except StopIteration:
        message = f"cannot import: the prefixes of the other networks leave none for the network {network}"
        raise UsageError(message, "give the networks smaller ranges: `ipam: {config: [{subnet: …}]}`") from None


# --- addresses --------------------------------------------------------------------------------------------------------


def _read_range(
    given: Range,
    cidrs: list[Network],
    gateways: list[IPAddress],
    pools: dict[int, Network],
    reserved: set[IPAddress],
    notes: list[str],
) -> None:
    """Add what one entry of `ipam.config` says."""
    cidr = _parse_prefix(given.subnet)
    if cidr is None or any(cidr.version == other.version for other in cidrs) or cidr.prefixlen > PREFIX_MAX[cidr.version]:
        if given.subnet:
            is_small = cidr is not None and cidr.prefixlen > PREFIX_MAX[cidr.version]
            reason = "is no prefix" if cidr is None else "is too small" if is_small else "is a second one of its family"
            notes.append(f"not imported: the range {given.subnet}, because it {reason}")
        return
    cidrs.append(cidr)
    gateway = _parse_address(given.gateway)
    usual, ends = cidr.network_address + 1, (cidr.network_address, cidr.broadcast_address)
    if given.gateway and (gateway is None or gateway not in cidr or gateway in ends):
        notes.append(f"not imported: the gateway {given.gateway}, because it is no address for a host in {cidr}")
    elif gateway is not None and gateway != usual:
        gateways.append(gateway)
    reserved |= {usual, *gateways}
    if given.ip_range:
        pool = _parse_prefix(given.ip_range)
        if pool is not None and pool.version == cidr.version and pool.overlaps(cidr) and pool.prefixlen >= cidr.prefixlen:
            pools[cidr.version] = pool
            notes.append(f"Docker gives addresses of {pool}, and so does this file; netctl chooses `auto` addresses of all")
        else:
            notes.append(f"not imported: the ip_range {given.ip_range}, because it is no part of {cidr}")
    for name, text in (given.aux_addresses or {}).items():
        address = _parse_address(text)
        if address is not None:
            reserved.add(address)
        notes.append(f"reserved: {text} for {name}; `auto` could choose it")


def _parse_prefix(text: str | None) -> Network | None:
    try:
        return ip_network(text or "", strict=False)
    except ValueError:
        return None


def _parse_address(text: str | None) -> IPAddress | None:
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


# --- what kind of network it is ---------------------------------------------------------------------------------------


def _read_driver(subnet: SubnetDraft, network: ComposeNetwork) -> tuple[SubnetDraft, list[str]]:
    """The subnet with its mode, and what the options of the driver do not say here."""
    options = {key: _option_text(value) for key, value in (network.driver_opts or {}).items()}
    driver = network.driver or "bridge"
    if driver in ("macvlan", "ipvlan") and options.get("ipvlan_mode") not in ("l3", "l3s"):
        return _read_lan(subnet, driver, options)
    mode: SubnetMode = "isolated" if network.internal else "nat"
    notes = []
    if driver not in ("bridge", "default") and not network.external:
        notes.append(f"Compose: driver {driver}; here it is a bridge of the host")
    if driver == "ipvlan":
        mode, notes = "routed", ["Compose: ipvlan in mode l3, which routes; so does this subnet"]
        options = {key: value for key, value in options.items() if key != "ipvlan_mode"}
    if options.pop(f"{_BRIDGE}enable_ip_masquerade", "true") == "false" and not network.internal:
        mode = "routed"
    gateway_modes = {options.pop(f"{_BRIDGE}gateway_mode_ipv{family}", "nat") for family in (4, 6)}
    if gateway_modes & {"routed", "nat-unprotected"} and not network.internal:
        mode = "routed"
    if "isolated" in gateway_modes:
        mode = "isolated"
    mtu = _read_mtu(options)
    hides = options.pop(f"{_BRIDGE}enable_icc", "true") == "false"
    notes += [f"not imported: the driver's option {key}: {value}" for key, value in options.items()]
    return replace(subnet, mode=mode, mtu=mtu, hides_ports=hides), notes


def _read_lan(subnet: SubnetDraft, driver: str, options: dict[str, str]) -> tuple[SubnetDraft, list[str]]:
    """A network on the LAN of one of the host's interfaces."""
    notes = []
    if driver == "ipvlan":
        notes.append("Compose: ipvlan, where all containers have the MAC address of the host; here each has its own")
    uplink = options.pop("parent") if _INTERFACE.fullmatch(options.get("parent", "")) else ""
    if "." in uplink:
        notes.append(f"Docker makes {uplink}, the interface of a VLAN, if it is not there; here it must be there")
    kind = options.pop("macvlan_mode", "bridge")
    for key in ("ipvlan_mode", "ipvlan_flag"):
        options.pop(key, None)
    mtu = _read_mtu(options)
    if not subnet.cidrs:
        notes.append("the file gives no range; write that of the LAN, in place of this one")
    notes += [f"not imported: the driver's option {key}: {value}" for key, value in options.items()]
    kind = kind if kind in MACVLAN_TYPES and kind != "bridge" else ""
    return replace(subnet, mode="macvlan", uplink=uplink, kind=kind, mtu=mtu), notes


def _read_mtu(options: dict[str, str]) -> int | None:
    text = options.get(MTU_OPTION, "")
    if not text.isdecimal() or len(text) > 5 or not MTU_MIN <= int(text) <= MTU_MAX:
        return None
    del options[MTU_OPTION]
    return int(text)


def _option_text(value: object) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


# --- notes ------------------------------------------------------------------------------------------------------------


def _outside_notes(project: str, key: str, network: ComposeNetwork) -> Iterable[str]:
    if network.external:
        yield f"Compose: an external network, {network.name or key}, which other projects may use, too"
        yield "here it is a subnet of this project only; a topology with the containers of all connects them"
    elif network.name not in (None, f"{project}_{key}"):
        yield f"Compose: its engine calls it {network.name}"


def _other_notes(network: ComposeNetwork) -> Iterable[str]:
    """A note for each key that has no counterpart. Compose no longer creates the network, so nothing else has them."""
    if network.ipam and network.ipam.driver not in (None, "default"):
        yield f"not imported: the IPAM driver {network.ipam.driver}"
    if network.labels:
        yield f"not imported: labels: {compact(network.labels)}"
    others: dict[str, Any] = {**network.others, **(network.ipam.others if network.ipam else {})}
    for key, value in others.items():
        yield f"not imported: {key}: {compact(value)}"


def compact(value: object) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False)
