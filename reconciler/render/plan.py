"""A plan for people: per host, a line for each container and subnet, and a summary. Called by `cli.diff` and `cli.apply`.

    host alpha
      + subnet front     bridge b-shop-front 10.44.0.1/24
      + container web    eth0 10.44.0.10/24 on front, default via 10.44.0.1
      ~ container db     eth0 mtu 1500 -> 1450
    Plan: 2 to add, 1 to change, 0 to remove (58 changes)

Replicas that are all added, or all removed, share a line, so the plan of a thousand containers is as short as one of ten.
`verbose` prints every change instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType

from reconciler.kinds.address import Address
from reconciler.kinds.container import Container
from reconciler.kinds.fdb import BROADCAST_MAC, Fdb
from reconciler.kinds.firewall import FirewallElement, FirewallTable
from reconciler.kinds.firewall_words import PUBLISHED, purpose_of
from reconciler.kinds.links.bridge import Bridge
from reconciler.kinds.links.macvlan import Macvlan
from reconciler.kinds.links.veth import Veth
from reconciler.kinds.links.vxlan import Vxlan
from reconciler.kinds.neighbor import Neighbor
from reconciler.kinds.openvswitch import OvsBridge
from reconciler.kinds.ovs_flow import OvsFlow
from reconciler.kinds.process import Process
from reconciler.kinds.qdisc import Qdisc
from reconciler.kinds.route import Route
from reconciler.kinds.sysctl import Sysctl
from reconciler.kinds.uplink import Uplink
from reconciler.plan.document import HostPlan, PlanDocument
from reconciler.render.colour import PLAIN, Palette
from reconciler.render.firewall import describe_elements, summarise_elements, summarise_ports, tell_ports
from reconciler.render.subjects import HOST_SUBJECT, containers_by_address, order_of, subjects_of
from reconciler.state.naming import parse_alias
from reconciler.state.record import Change, Record
from reconciler.state.ref import HOST
from reconciler.state.visible import visible_line

FOLD = 3
"""So many replicas, or more, that are all added or all removed share a line."""
DETAILS = 6
"""How many changes of one container or subnet are named before the rest is only counted."""
FEW_FLOWS = 2
"""Up to so many OpenFlow rules of one subject are named."""


NOUNS = {
    "sysctl": ("setting", "settings"),
    "fdb": ("forwarding entry", "forwarding entries"),
    "ovs-port": ("port", "ports"),
}
ROOTS = {
    "container": ("netns", "container"),
    "subnet": ("bridge", "openvswitch", "macvlan"),
    "lab": ("netns",),
    "host": ("firewall",),
}
"""What of a subject is the subject itself, by the first word; the rest is only what it has."""
LINKS = ("veth", "macvlan")
"""A container that stays, and gets or loses an interface, is told by what is on it."""
ALWAYS_BEFORE = (Sysctl, Neighbor)
"""A setting always has a value, and an address may have been another's: what is new may come with a change of these."""


@dataclass(frozen=True, slots=True)
class Line:
    """What happens to one subject: `sign` is +, ~ or -."""

    sign: str
    subject: str
    text: str


def render_plan(document: PlanDocument, palette: Palette = PLAIN, *, verbose: bool = False) -> str:
    """The whole plan, without a newline at the end; a sentence where there is nothing to do."""
    shown: list[str] = []
    counts = {"+": 0, "~": 0, "-": 0}
    containers = containers_by_address(record for host in document.hosts for record in _sides(host))
    lines_of = {host.host: compile_lines(host, containers) for host in document.hosts}
    heirs = find_heirs(line for lines in lines_of.values() for line in lines)
    for host in document.hosts:
        lines = tuple(_with_heir(line, heirs) for line in lines_of[host.host])
        for line in lines:
            counts[line.sign] += 1
        if lines:
            shown.append(palette.bold(visible_line(host.host if host.host == "lab" else f"host {host.host}")))
            shown += _verbose_lines(host, palette, containers) if verbose else _short_lines(lines, palette)
    if not shown:
        return "Nothing to do: the hosts are as the file says."
    changes = sum(len(host.changes) for host in document.hosts)
    summary = f"Plan: {counts['+']:,} to add, {counts['~']:,} to change, {counts['-']:,} to remove"
    shown.append(palette.bold(summary) + palette.dim(f" ({changes:,} {'change' if changes == 1 else 'changes'})"))
    return "\n".join(shown)


def _sides(host: HostPlan) -> list[Record]:
    return [record for change in host.changes for record in (change.before, change.after) if record]


def compile_lines(host: HostPlan, containers: Mapping[str, str] = MappingProxyType({})) -> tuple[Line, ...]:
    """One line for each subject that changes, in an order of their own: subnets before containers."""
    subjects = subjects_of(_sides(host), containers)
    by_subject: dict[str, list[Change]] = {}
    for change in host.changes:
        by_subject.setdefault(subjects[change.ref], []).append(change)
    return tuple(_line(subject, by_subject[subject]) for subject in sorted(by_subject, key=order_of))


def find_heirs(lines: Iterable[Line]) -> dict[str, str]:
    """For each container that goes because `replicas` came or went: the subject that takes its place, under another name."""
    gone: set[str] = set()
    fresh: set[str] = set()
    for line in lines:
        if line.subject.startswith("container ") and line.sign != "~":
            (fresh if line.sign == "+" else gone).add(line.subject)
    first = {subject: f"{subject}-1" for subject in gone if f"{subject}-1" in fresh}
    return first | {f"{subject}-1": subject for subject in fresh if f"{subject}-1" in gone}


def _with_heir(line: Line, heirs: dict[str, str]) -> Line:
    if line.sign != "-" or line.subject not in heirs:
        return line
    name = heirs[line.subject].partition(" ")[2]
    return replace(line, text=f"{line.text}; `replicas` renames it: {name} is created in its place")


def _line(subject: str, changes: Sequence[Change]) -> Line:
    fresh = all(change.before is None for change in changes if not isinstance(change.after, ALWAYS_BEFORE))
    gone = all(change.after is None for change in changes)
    if fresh or gone:
        sign, verb = ("+", "add") if fresh else ("-", "remove")
        text = summarise([record for change in changes if (record := change.after or change.before)], subject)
        if _has_any(ROOTS.get(subject.partition(" ")[0]), changes):
            return Line(sign, subject, text)
        if _has_any(LINKS, changes):
            return Line("~", subject, f"{verb} {text}")
    entries = [change for change in changes if isinstance(change.after or change.before, FirewallElement)]
    flows = [change for change in changes if isinstance(change.after or change.before, OvsFlow)]
    summed = {change.ref for change in (*entries, *flows)}
    told = [describe_change(change) for change in changes if change.ref not in summed and not change.implied]
    told += [*_describe_flows(flows), *describe_elements(entries)]
    more = f"; and {len(told) - DETAILS} more (--verbose shows all)" if len(told) > DETAILS else ""
    return Line("~", subject, "; ".join(told[:DETAILS]) + more)


def _describe_flows(changes: Sequence[Change]) -> list[str]:
    """Each where there are few; else how many come, go and become others."""
    if len(changes) <= FEW_FLOWS:
        return [describe_change(change) for change in changes]
    verbs = ["add" if c.before is None else "remove" if c.after is None else "change" for c in changes]
    return [f"{verb} {_number(verbs.count(verb), 'flow')}" for verb in ("add", "change", "remove") if verb in verbs]


def _has_any(kinds: tuple[str, ...] | None, changes: Iterable[Change]) -> bool:
    """Whether one of the changes is of these kinds; any will do where there are none."""
    return kinds is None or any(change.ref.kind in kinds for change in changes)


def describe_change(change: Change) -> str:
    """One change in a few words, with what differs where both sides are there."""
    if change.before and change.after:
        again = " (made anew)" if change.recreate else ""
        reason = change.reason.replace("→", "->")
        return f"{change.after.describe()}{again}: {reason}" if reason else f"{change.after.describe()}{again}"
    record = change.after or change.before
    assert record
    return f"{'add' if change.after else 'remove'} {record.describe()}"


def summarise(records: Sequence[Record], subject: str = "") -> str:
    """What a container, subnet or host consists of, in the words of somebody who looks at it from outside."""
    elements = [record for record in records if isinstance(record, FirewallElement)]
    published = [element for element in elements if purpose_of(element.set) in PUBLISHED]
    if subject == HOST_SUBJECT:
        # A port of the host's that leads to a container of another host.
        rest = [record for record in records if record not in published]
        return ", ".join(filter(None, (_count(rest) if rest else "", *tell_ports(published))))
    parts = [*_engine_parts(records), *_link_parts(records), *_route_parts(records), *_overlay_parts(records)]
    parts += summarise_ports(published) if parts else tell_ports(published)
    parts += [f"runs {' '.join(record.command)}" for record in records if isinstance(record, Process) and record.command]
    return ", ".join(parts) or _count(records)


def _engine_parts(records: Iterable[Record]) -> list[str]:
    return [record.describe() for record in records if isinstance(record, Container)]


def _link_parts(records: Sequence[Record]) -> Iterator[str]:
    addresses = [record for record in records if isinstance(record, Address)]
    for record in sorted(records, key=lambda r: r.peer_name if isinstance(r, Veth) else ""):
        if isinstance(record, Bridge):
            own = [a.cidr for a in addresses if (a.netns, a.dev) == (record.netns, record.name)]
            yield " ".join([f"bridge {record.name}", *own])
        elif isinstance(record, OvsBridge):
            own = [a.cidr for a in addresses if (a.netns, a.dev) == (record.netns, record.name)]
            yield " ".join([f"Open vSwitch bridge {record.name}", *own])
        elif isinstance(record, Uplink):
            yield f"uplink {record.name}"
        elif isinstance(record, Macvlan):
            alias = parse_alias(record.alias)
            own = [a.cidr for a in addresses if (a.netns, a.dev) == (record.netns, record.name)]
            where = f" on {alias.subnet}" if alias and alias.subnet else f" on {record.lower}"
            yield " ".join([f"macvlan {record.name}", *own]) + where + _rate_of(records, "", record.netns, record.name)
        elif isinstance(record, Vxlan):
            yield f"VXLAN {record.vni}"
        elif isinstance(record, Veth) and record.netns == HOST:
            alias = parse_alias(record.alias)
            own = [a.cidr for a in addresses if (a.netns, a.dev) == (record.peer_netns, record.peer_name)]
            where = f" on {alias.subnet}" if alias and alias.subnet else ""
            yield " ".join([record.peer_name, *own]) + where + _rate_of(records, record.name, record.peer_netns, record.peer_name)


def _route_parts(records: Iterable[Record]) -> Iterator[str]:
    """A container's routes to elsewhere, the default ones first."""
    routes = [each for each in records if isinstance(each, Route) and each.netns.startswith("container:") and each.via]
    for record in sorted(routes, key=lambda route: route.dst != "default"):
        yield f"{record.dst if record.dst == 'default' else f'route to {record.dst}'} via {record.via}"


def _rate_of(records: Iterable[Record], host_end: str, netns: str, dev: str) -> str:
    """The rate limits of one of a container's networks, as the file writes them."""
    limits = {(record.netns, record.dev): record.rate for record in records if isinstance(record, Qdisc)}
    ingress, egress = limits.get((HOST, host_end), ""), limits.get((netns, dev), "")
    if ingress == egress:
        return f" at {ingress}" * bool(ingress)
    return "".join(f" at {way} {rate}" for way, rate in (("ingress", ingress), ("egress", egress)) if rate)


def _overlay_parts(records: Sequence[Record]) -> Iterator[str]:
    """The ways to other hosts, and how many addresses are behind them."""
    tunnels = sum(isinstance(record, Fdb) and record.mac == BROADCAST_MAC for record in records)
    stations = sum(isinstance(record, Fdb) and bool(record.remote) for record in records) - tunnels
    if tunnels:
        yield f"{_number(tunnels, 'host')} behind it with {_number(stations, 'station')}"
    routes = sum(isinstance(record, Route) and record.netns == HOST and record.link is None for record in records)
    if routes:
        yield f"{_number(routes, 'route')} to other hosts"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def _count(records: Sequence[Record]) -> str:
    firewall = [record for record in records if isinstance(record, FirewallElement | FirewallTable)]
    elements = summarise_elements(record for record in firewall if isinstance(record, FirewallElement))
    others = sorted(record.kind for record in records if not isinstance(record, FirewallElement | FirewallTable))
    kinds = [(kind, len(list(group))) for kind, group in groupby(others)]
    counted = [f"{count:,} {_noun(kind, count)}" for kind, count in kinds]
    return ", ".join([elements or "firewall", *counted] if firewall else counted)


def _noun(kind: str, count: int) -> str:
    one, many = NOUNS.get(kind, (kind, f"{kind}s"))
    return one if count == 1 else many


def _short_lines(lines: Sequence[Line], palette: Palette) -> list[str]:
    folded = list(fold(lines))
    width = min(32, max(len(line.subject) for line in folded))
    return [_paint(line.sign, f"  {line.sign} {line.subject:{width}}  {line.text}".rstrip(), palette) for line in folded]


def fold(lines: Iterable[Line]) -> Iterator[Line]:
    """Replicas (`worker-1` … `worker-3`) that are all added, or all removed, become one line."""
    for (sign, stem), group in groupby(lines, key=lambda line: (line.sign, stem_of(line.subject))):
        alike = list(group)
        if sign == "~" or not stem or len(alike) < FOLD:
            yield from alike
            continue
        last = alike[-1].subject.rpartition(" ")[2]
        yield Line(sign, f"{alike[0].subject} .. {last}", f"{len(alike):,} replicas, the first with {alike[0].text}")


def stem_of(subject: str) -> str:
    """`container worker` of `container worker-12`; "" for what bears no number."""
    found = re.fullmatch(r"(.+)-\d+", subject)
    return found.group(1) if found else ""


def _verbose_lines(host: HostPlan, palette: Palette, containers: Mapping[str, str]) -> Iterator[str]:
    subjects = subjects_of(_sides(host), containers)
    ordered = sorted(host.changes, key=lambda change: order_of(subjects[change.ref]))
    for subject, group in groupby(ordered, key=lambda change: subjects[change.ref]):
        yield f"  {visible_line(subject)}"
        for change in group:
            sign = "+" if change.before is None else "-" if change.after is None else "~"
            along = " (goes along)" if change.implied else ""
            text = change.after.describe() if change.before is None and change.after else describe_change(change)
            if change.after is None and change.before:
                text = change.before.describe()
            yield _paint(sign, f"    {sign} {text}{along}", palette)


def _paint(sign: str, text: str, palette: Palette) -> str:
    colour = {"+": palette.green, "~": palette.yellow, "-": palette.red}[sign]
    return colour(visible_line(text))
