"""Foreign firewalls that drop netctl's packets: their chains are evaluated for typical packets of netctl's.

It changes nothing. An accept in one base chain is not final: every base chain at a hook must accept. So each of them is
evaluated by itself, including its jumps.

Such a packet is known only in part. So a condition is true, false or unknown. A rule that drops is a certain drop if
all its conditions are true. So is a policy of drop, unless an earlier rule certainly accepts. `verify` names a rule
that may drop if a probe fails, and `compile.foreign_firewalls`, which knows the file's ports, reads it. So another
program's rules about its own links, about invalid packets or about rates cause no warnings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from reconciler.errors import HostError
from reconciler.kernel.netfilter.foreign_rules import UNKNOWN, Condition, Rule, parse_rule
from reconciler.kernel.netfilter.iptables_legacy import read_legacy_chains
from reconciler.kernel.netfilter.table_dump import ChainInfo, TableReader
from reconciler.kinds.firewall.chains import FORWARD_MARK
from reconciler.kinds.firewall.docker_user import DOCKER_CHAIN
from reconciler.kinds.firewall.program import TABLE_PREFIX
from reconciler.kinds.links import TUNNELS
from reconciler.state.foreign import (
    BRIDGE,
    Chain,
    Drop,
    ForwardDrop,
    PortMatch,
    PortRange,
    PossibleDrop,
    TunnelDrop,
)

UFW_CHAINS = ("ufw-before-forward", "ufw6-before-forward")
CHAINS_MAX, DEPTH_MAX = 200, 12
"""The most chains of one base chain that are evaluated, and their depth; the kernel allows 16 nested jumps."""
LOOKED_AT = frozenset(("prerouting", "input", "forward", "output", "postrouting", "ingress"))
ECHO_REQUESTS = frozenset(("8", "128"))
PORT_CONDITIONS = ("protocol", "dport")


@dataclass(frozen=True, slots=True)
class Packet:
    """The known part of a netctl packet at a hook: its protocol, "" for any; it has netctl's mark if `marked`."""

    protocol: str = ""
    comes_by: frozenset[str] = frozenset()
    leaves_by: frozenset[str] = frozenset()
    """A condition on one of these links is true for such packets."""
    perhaps_by: frozenset[str] = frozenset()
    """A condition on one of these is true for some of them: the uplink, which foreign packets pass as well."""
    marked: bool = False
    port: int = 0
    """The destination port; 0 if the protocol has none."""
    tunnel: str = ""
    """Of a tunnel's packet: what people call the kind of tunnel."""


@dataclass(slots=True)
class _Walk:
    """One base chain, evaluated for one packet: the certain drops, and the rules that may drop."""

    rules: Mapping[str, Sequence[Rule]]
    packet: Packet
    seen: int = 0
    may: list[tuple[Condition, ...]] = field(default_factory=list)

    def follow(self, chain: str, before: tuple[Condition, ...] = (), depth: int = 0) -> str:
        """The certain result: `accept` or `drop`, else "". `before` may be true or not, and precedes each rule."""
        self.seen += 1
        if depth > DEPTH_MAX or self.seen > CHAINS_MAX:
            return ""
        for rule in self.rules.get(chain, ()):
            found = [(one, holds(one, self.packet)) for one in rule.conditions]
            if any(answer is False for _, answer in found):
                continue
            open_ones = (*before, *(one for one, answer in found if answer is None))
            if rule.verdict in ("jump", "goto"):
                result = self.follow(rule.target, open_ones, depth + 1)
                if result and not open_ones:
                    return result
                if rule.verdict == "goto" and not open_ones:
                    return ""
            elif rule.verdict == "drop" and open_ones:
                self.may.append(open_ones)
            elif rule.verdict in ("drop", "accept") and not open_ones:
                return rule.verdict
            elif rule.verdict == "return" and not open_ones:
                return ""
        return ""


def holds(condition: Condition, packet: Packet) -> bool | None:
    """Whether it is true of the packet; None if that is unknown."""
    answer = _holds(condition, packet)
    return None if answer is None else answer is not condition.negated


def _holds(condition: Condition, packet: Packet) -> bool | None:
    match condition.what:
        case "family":
            return True if condition.values == ("ip",) else None
        case "iifname":
            return _is_link(condition.values, packet.comes_by, packet.perhaps_by)
        case "oifname":
            return _is_link(condition.values, packet.leaves_by, packet.perhaps_by)
        case "ct state":
            return "new" in condition.values
        case "mark":
            value, mask = (int(part, 16) for part in condition.values[0].split("/"))
            return value == FORWARD_MARK if packet.marked and mask == FORWARD_MARK else None
        case "protocol" if packet.protocol:
            wanted = ("icmp", "icmpv6") if packet.protocol == "icmp" else (packet.protocol,)
            return any(each in condition.values for each in wanted)
        case "icmp type" if packet.protocol:
            return packet.protocol == "icmp" and not ECHO_REQUESTS.isdisjoint(condition.values)
        case "dport" if packet.protocol:
            return bool(packet.port) and any(_is_within(packet.port, each) for each in condition.values)
    return None


def _is_link(patterns: Iterable[str], names: frozenset[str], perhaps: frozenset[str]) -> bool | None:
    if any(fnmatchcase(name, each) for each in patterns for name in names):
        return True
    return None if any(fnmatchcase(name, each) for each in patterns for name in perhaps) else False


def _is_within(port: int, values: str) -> bool:
    first, _, last = values.partition("-")
    return int(first) <= port <= int(last or first)


def render(conditions: Iterable[Condition]) -> str:
    """The unknown conditions of a drop, as nft(8) writes them: `tcp dport 5432 drop`."""
    conditions = tuple(dict.fromkeys(conditions))
    plain = _plain(conditions)
    if plain:
        return f"{','.join(plain['protocol'])} dport {','.join(plain['dport'])} drop"
    shown = [
        UNKNOWN if not one.values else f"{one.what}{' !=' if one.negated else ''} {','.join(one.values)}" for one in conditions
    ]
    return f"{' '.join(dict.fromkeys(shown))} drop"


def _plain(conditions: Iterable[Condition]) -> Mapping[str, tuple[str, ...]]:
    """The values of protocol and port, if the conditions concern these alone; else empty."""
    conditions = tuple(dict.fromkeys(conditions))
    plain = {one.what: one.values for one in conditions if not one.negated}
    return plain if set(plain) == set(PORT_CONDITIONS) and len(conditions) == len(PORT_CONDITIONS) else {}


def match_of(conditions: Iterable[Condition]) -> PortMatch | None:
    """The ports of a rule that drops by protocol and port alone."""
    plain = _plain(conditions)
    match plain.get("protocol"):
        case ("tcp" | "udp" | "sctp" as protocol,):
            ranges = tuple(found for each in plain["dport"] if (found := _parse_range(each)))
            return PortMatch(protocol=protocol, ranges=ranges)
    return None


def _parse_range(values: str) -> PortRange | None:
    first, _, last = values.partition("-")
    return (int(first), int(last or first)) if first.isdecimal() and (last or first).isdecimal() else None


# --- the host's chains ------------------------------------------------------------------------------------------------


def find_drops(
    reader: TableReader, chains: Sequence[ChainInfo], own: Iterable[str], uplink: str, links: Mapping[int, str]
) -> Iterator[Drop]:
    """Every foreign base chain that drops netctl's packets, or may. `own` are the names of netctl's links."""
    names = {(chain.family, chain.table, chain.name) for chain in chains}
    others = [
        each
        for each in chains
        if not each.table.startswith(TABLE_PREFIX) and each.family in ("ip", "ip6", "inet", "bridge", "netdev")
    ]
    own_links = frozenset(own)
    for base in others:
        if base.hook not in LOOKED_AT or (base.family == "netdev" and own_links.isdisjoint(base.devices)):
            continue
        if base.hook == "forward" and base.table == "firewalld":
            continue  # its zones tell more, see below
        if base.hook == "forward" and (base.family, base.table, DOCKER_CHAIN) in names:
            continue  # it precedes Docker's own drops, and netctl uses it (kinds.firewall.docker_user)
        rules = _read_rules(reader, base, others, links)
        yield from _judge(
            base, rules, own_links, uplink, has_ufw=any((base.family, base.table, ufw) in names for ufw in UFW_CHAINS)
        )
    # firewalld accepts by policy, and ends with a reject of packets outside of its zones.
    if any(chain.table == "firewalld" for chain in chains):
        commands = (f"firewall-cmd --permanent --zone=trusted --add-interface={BRIDGE}", "firewall-cmd --reload")
        yield ForwardDrop(
            program="firewalld", chain=Chain(family="inet", table="firewalld", name="filter_FORWARD"), commands=commands
        )


def find_legacy_drops(own: Iterable[str], uplink: str) -> Iterator[Drop]:
    """The same of the tables of iptables-legacy, which nftables does not show."""
    for family, chains in read_legacy_chains():
        names = {chain.name for chain in chains}
        for chain in chains:
            hook = {"INPUT": "input", "FORWARD": "forward", "OUTPUT": "output"}.get(chain.name)
            if hook and not (hook == "forward" and DOCKER_CHAIN in names):
                base = ChainInfo(family, "filter", chain.name, hook, chain.drops)
                rules = {each.name: each.rules for each in chains}
                yield from _judge(base, rules, frozenset(own), uplink, has_ufw=not names.isdisjoint(UFW_CHAINS), legacy=True)


def _read_rules(
    reader: TableReader, base: ChainInfo, chains: Iterable[ChainInfo], links: Mapping[int, str]
) -> dict[str, tuple[Rule, ...]]:
    """The rules of a base chain and of all chains that it jumps to, by chain."""
    known = {chain.name: chain for chain in chains if (chain.family, chain.table) == (base.family, base.table)}
    found: dict[str, tuple[Rule, ...]] = {}
    waiting = [base.name]
    while waiting and len(found) < CHAINS_MAX:
        name = waiting.pop()
        if name in found or name not in known:
            continue
        raw: tuple[bytes, ...] = ()
        with contextlib.suppress(HostError):  # deleted, or always changing: that loses a warning, and is no reason to fail
            raw = reader.read_rules(known[name])
        keys = lambda name: reader.read_keys(base.family, base.table, name)  # noqa: E731  read when a rule needs it
        found[name] = tuple(parse_rule(each, links, keys) for each in raw)
        waiting += [rule.target for rule in found[name] if rule.target]
    return found


def _judge(
    base: ChainInfo, rules: Mapping[str, Sequence[Rule]], own: frozenset[str], uplink: str, *, has_ufw: bool, legacy: bool = False
) -> Iterator[Drop]:
    chain = Chain(family=base.family, table=base.table, name=base.name)
    for packet in _packets(base, own, uplink):
        walk = _Walk(rules, packet)
        result = walk.follow(base.name) or ("drop" if base.drops else "")
        if result == "drop":
            program, commands = _name(base, packet, has_ufw=has_ufw, legacy=legacy)
            if packet.tunnel:
                yield TunnelDrop(program=program, chain=chain, commands=commands, tunnel=packet.tunnel)
            else:
                yield ForwardDrop(program=program, chain=chain, commands=commands)
        elif not packet.tunnel:
            program = f"a rule of {_tool(base, legacy=legacy)}"
            for rule, ports in {render(conditions): match_of(conditions) for conditions in walk.may}.items():
                yield PossibleDrop(program=program, chain=chain, rule=rule, ports=ports)


def _packets(base: ChainInfo, own: frozenset[str], uplink: str) -> Iterator[Packet]:
    """The packets of netctl's traffic that meet the chain."""
    outside = frozenset((uplink,)) if uplink else frozenset()
    if base.hook == "input":
        yield Packet("icmp", comes_by=own)
        for kind in TUNNELS if base.family not in ("bridge", "netdev") else ():
            outer = kind.encapsulation
            yield Packet(outer.protocol, comes_by=outside, port=outer.port, tunnel=kind.title)
    elif base.hook == "output":
        yield Packet("icmp", leaves_by=own)
    else:
        yield Packet("", own, own, outside, marked=base.hook == "forward" and base.family != "bridge")


def _name(base: ChainInfo, packet: Packet, *, has_ufw: bool, legacy: bool) -> tuple[str, tuple[str, ...]]:
    """The name of the dropping program, and commands that let netctl's packets pass: BRIDGE stands for each bridge."""
    if has_ufw and base.hook == "forward":
        return "ufw", (f"ufw route allow in on {BRIDGE}", f"ufw route allow out on {BRIDGE}")
    tool, where = _tool(base, legacy=legacy), f"{base.family} {base.table} {base.name}"
    is_iptables = tool.startswith(("iptables", "ip6tables"))
    who = f"the policy of {tool}" if is_iptables and base.drops else tool if not is_iptables else f"a rule of {tool}"
    if packet.port:
        rule, nft = f"-p {packet.protocol} --dport {packet.port}", f"{packet.protocol} dport {packet.port}"
    elif packet.tunnel:
        rule, nft = f"-p {packet.protocol}", f"meta l4proto {packet.protocol}"
    elif base.hook == "forward" and base.family != "bridge":
        rule, nft = f"-m mark --mark {FORWARD_MARK:#x}/{FORWARD_MARK:#x}", f"meta mark and {FORWARD_MARK:#x} == {FORWARD_MARK:#x}"
    elif base.family == "bridge":
        rule, nft = "", f"meta {'obrname' if base.hook in ('output', 'postrouting') else 'ibrname'} {BRIDGE}"
    else:
        side = "o" if base.hook in ("output", "postrouting") else "i"
        rule, nft = f"-{side} {BRIDGE}", f"{side}ifname {BRIDGE}"
    if is_iptables:
        return who, (f"{tool} -I {base.name} {rule} -j ACCEPT",)
    return who, (f"nft insert rule {where} {nft} accept",)


def _tool(base: ChainInfo, *, legacy: bool) -> str:
    tools = {"ip": "iptables", "ip6": "ip6tables"}
    if base.family in tools and base.table == "filter" and base.name.isupper():
        return tools[base.family] + ("-legacy" if legacy else "")
    return f"nftables table {base.family} {base.table}"
