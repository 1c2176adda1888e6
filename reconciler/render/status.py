"""The live state compared with the desired one: per host, container and subnet.

`compile_status` is pure: it turns the desired records and the plan of each host into a `StatusDocument`.
`render_status` prints that for users, and `--json` as JSON (`schemas/status.schema.json` is generated from the
dataclasses).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType

from reconciler.plan.document import HostPlan
from reconciler.plan.subjects import names_lent_by, subjects_of
from reconciler.render.colour import PLAIN, Palette
from reconciler.render.connections import Connections, render_connections
from reconciler.render.plan import FOLD, summarise
from reconciler.state.host import HostFacts, HostState
from reconciler.state.listed import listed
from reconciler.state.record import Change, Record
from reconciler.state.ref import container_of
from reconciler.state.subject import Subject
from reconciler.state.visible import visible_line

FORMAT_VERSION = 1
IN_STEP, DRIFTED, MISSING, EXTRA, WAITING = "in step", "drifted", "missing", "not in the file", "waiting"
SHOWN = 8
"""The most differences of one thing that are named for users; JSON has them all."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs from its desired state, and the reason."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """The state of a container, a subnet, the host's own settings, or the lab.

    `state` is "in step", "drifted", "missing", "not in the file", or "waiting". A container waits if another program is to
    run it and does not, and if netctl has done all that is possible without it.
    """

    subject: Subject
    state: str
    summary: str
    differences: tuple[Difference, ...] = listed()


@dataclass(frozen=True, slots=True)
class Foreign:
    """A foreign resource that conflicts, or may conflict."""

    kind: str
    name: str
    detail: str
    help_text: str = ""


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host: its state is the worst of its items'. What waits does not count."""

    host: str
    state: str
    items: tuple[Item, ...]
    foreign: tuple[Foreign, ...] = listed()
    connections: tuple[Connections, ...] = listed()
    """Counted only on request."""


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """A `netctl agent` that holds hosts of the topology on this machine, and what it says of itself."""

    pid: int
    hosts: tuple[str, ...]
    file: str
    since: str
    in_step: bool
    repairs: int = 0
    last_repair: str = ""
    last_repair_at: str = ""
    contested: tuple[str, ...] = listed()
    """What something else changes again and again, so that the agent leaves it alone for a while."""
    waiting: tuple[str, ...] = listed()
    """Containers that do not run, and that it does not start."""
    paused: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class StatusDocument:
    """A whole topology."""

    format_version: int
    topology: str
    in_step: bool
    hosts: tuple[HostStatus, ...]
    agents: tuple[AgentStatus, ...] = listed()


def compile_status(
    topology: str,
    plans: Sequence[HostPlan],
    desired: Mapping[str, HostState],
    facts: Mapping[str, HostFacts],
    connections: Mapping[str, tuple[Connections, ...]],
    foreign: Mapping[str, tuple[Foreign, ...]] = MappingProxyType({}),
    waiting: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> StatusDocument:
    """The status of every host that has a plan.

    By host: the counted `connections`, and conflicts with foreign resources. `waiting` are the containers that other programs
    are to run, each with the reason why it waits.
    """
    names = names_lent_by(record for state in desired.values() for record in state.records.values())
    stands = (
        _host_status(plan, desired.get(plan.host, HostState({})), facts.get(plan.host), waiting.get(plan.host, {}), names)
        for plan in plans
    )
    hosts = tuple(replace(one, connections=connections.get(one.host, ()), foreign=foreign.get(one.host, ())) for one in stands)
    return StatusDocument(FORMAT_VERSION, topology, all(host.state == IN_STEP for host in hosts), hosts)


def _host_status(
    plan: HostPlan, desired: HostState, facts: HostFacts | None, waiting: Mapping[str, str], names: Mapping[str, Subject]
) -> HostStatus:
    gone = [change.before for change in plan.changes if change.before and change.ref not in desired.records]
    subjects = subjects_of([*desired.records.values(), *gone], names)
    wanted: dict[Subject, list[Record]] = {}
    for ref, record in desired.records.items():
        wanted.setdefault(subjects[ref], []).append(record)
    changed: dict[Subject, list[Change]] = {}
    for change in plan.changes:
        changed.setdefault(subjects[change.ref], []).append(change)
    idle = {Subject.container(name): reason for name, reason in waiting.items()}
    found = sorted({*wanted, *changed, *idle}, key=attrgetter("order"))
    leases = _leases(desired, facts)
    items = tuple(
        Item(one, WAITING, idle[one])
        if one in idle and not changed.get(one)
        else _item(one, wanted.get(one, []), changed.get(one, []), leases.get(one, ""))
        for one in found
    )
    return HostStatus(plan.host, _worst(items), items)


def _leases(desired: HostState, facts: HostFacts | None) -> dict[Subject, str]:
    """The addresses that a LAN gave to containers, by subject."""
    wanted = [fact for record in desired.records.values() for fact in record.interface_facts]
    asking = {container_of(fact.netns) for fact in wanted if fact.is_leased}
    fixed = {fact.address.partition("/")[0] for fact in wanted}
    found: dict[Subject, str] = {}
    for lease in facts.leases if facts else ():
        if lease.container in asking and lease.address not in fixed:
            subject = Subject.container(lease.container)
            lease_text = f"lease {lease.address} on {lease.subnet}"
            found[subject] = f"{found[subject]}, {lease_text}" if subject in found else lease_text
    return {**{Subject.container(name): "no lease yet" for name in asking}, **found}


def _item(subject: Subject, wanted: Sequence[Record], changes: Sequence[Change], lease: str = "") -> Item:
    if not changes:
        return Item(subject, IN_STEP, ", ".join(filter(None, (summarise(wanted, subject), lease))))
    differences = tuple(Difference(c.ref.kind, c.ref.name, describe_difference(c)) for c in changes)
    if not wanted:
        return Item(subject, EXTRA, summarise([c.before for c in changes if c.before], subject), differences)
    absent = [change for change in changes if change.before is None]
    always = sum(record.is_always_there for record in wanted)
    state = MISSING if absent and len(absent) + always >= len(wanted) else DRIFTED
    return Item(subject, state, summarise(wanted, subject), differences)


def describe_difference(change: Change) -> str:
    """A difference in words: `veth v-shop-web at b-shop-front to eth0, MTU 1500: locked is on, wanted off`."""
    if change.before is None and change.after:
        return f"{change.after.describe()}: missing"
    if change.after is None and change.before:
        return f"{change.before.describe()}: not in the file"
    return change.describe()


def _worst(items: Sequence[Item]) -> str:
    states = {item.state for item in items} - {WAITING}
    if states <= {IN_STEP}:
        return IN_STEP
    return MISSING if states == {MISSING} else DRIFTED


def render_status(document: StatusDocument, palette: Palette = PLAIN) -> str:
    """The status for users, without a newline at the end."""
    lines = [line for host in document.hosts for line in _host_lines(host, palette)]
    lines += [line for agent in document.agents for line in _agent_lines(agent, palette)]
    if document.in_step:
        lines.append(palette.bold(f"{document.topology} is in step."))
    else:
        verdict = palette.bold(f"{document.topology} is not in step.")
        lines.append(f"{verdict} `netctl diff` shows the plan, `netctl apply` repairs it.")
    return "\n".join(lines)


def _agent_lines(agent: AgentStatus, palette: Palette) -> Iterator[str]:
    stand = f"paused {agent.paused}" if agent.paused else "in step" if agent.in_step else "not in step"
    paint = palette.green if agent.in_step and not agent.paused else palette.yellow
    holds = f"process {agent.pid} holds {', '.join(agent.hosts)} since {agent.since}"
    yield f"{palette.bold('agent')}: {visible_line(holds)}: {paint(visible_line(stand))}"
    if agent.repairs:
        yield f"  {agent.repairs:,} repaired, last at {visible_line(agent.last_repair_at)}: {visible_line(agent.last_repair)}"
    for name in agent.waiting:
        yield palette.yellow(f"  waits for container {visible_line(name)}, which does not run")
    for name in agent.contested:
        yield palette.yellow(f"  contested, and left alone for a while: {visible_line(name)}")
    if agent.error:
        yield palette.red(f"  error: {visible_line(agent.error)}")


def _fold(items: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    """Each item with its title. Replicas that are in step become one line."""
    for (state, stem), group in groupby(items, key=lambda item: (item.state, item.subject.stem)):
        alike = list(group)
        if state not in (IN_STEP, MISSING) or not stem or len(alike) < FOLD:
            yield from ((str(item.subject), item) for item in alike)
            continue
        summary = f"{len(alike):,} replicas, the first with {alike[0].summary}"
        yield alike[0].subject.through(alike[-1].subject), Item(stem, state, summary)


def _host_lines(host: HostStatus, palette: Palette) -> Iterator[str]:
    paint = palette.green if host.state == IN_STEP else palette.yellow if host.state == DRIFTED else palette.red
    yield f"{palette.bold(visible_line(host.host if host.host == 'lab' else f'host {host.host}'))}: {paint(host.state)}"
    items = tuple(_fold(host.items)) if not host.connections else tuple((str(item.subject), item) for item in host.items)
    width = min(32, max((len(visible_line(title)) for title, _ in items), default=0))
    for title, item in items:
        colour = {IN_STEP: palette.green, DRIFTED: palette.yellow, WAITING: palette.yellow}.get(item.state, palette.red)
        yield f"  {visible_line(title):{width}}  {colour(f'{item.state:8}')}  {visible_line(item.summary)}".rstrip()
        if counted := render_connections(host.connections, item.subject.container_name):
            yield f"  {'':{width}}            {counted}"
        if item.state == DRIFTED:
            texts = list(dict.fromkeys(difference.text for difference in item.differences))  # several sets may have equal texts
            for text in texts[:SHOWN]:
                yield f"  {'':{width}}    {visible_line(text)}"
            if len(texts) > SHOWN:
                yield f"  {'':{width}}    and {len(texts) - SHOWN:,} more (--json has all)"
    for foreign in host.foreign:
        yield palette.yellow(f"  foreign {foreign.kind}: {visible_line(foreign.name)} {visible_line(foreign.detail)}".rstrip())
        if foreign.help_text:
            yield f"    help: {visible_line(foreign.help_text)}"
