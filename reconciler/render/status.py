"""The live state compared with the desired one: per host, container and subnet.

`compile_status` is pure: it turns the desired records and the plan of each host into a `StatusDocument`. `render.status_text`
prints that for users, and `--json` as JSON (`schemas/status.schema.json` is generated from the dataclasses).

Of the differences of a host, `plan.causes` says which follow from which. A thing has its causes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from types import MappingProxyType

from reconciler.plan.causes import describe_drift, find_causes, is_difference
from reconciler.plan.document import HostPlan
from reconciler.plan.subjects import names_lent_by, subjects_of
from reconciler.render.connections import Connections
from reconciler.render.plan import summarise
from reconciler.state.host import HostFacts, HostState, Lease
from reconciler.state.listed import listed
from reconciler.state.record import Change, Record
from reconciler.state.ref import Ref, container_of
from reconciler.state.subject import HOST_SUBJECT, Subject

FORMAT_VERSION = 1
IN_STEP, DRIFTED, MISSING, EXTRA, WAITING = "in step", "drifted", "missing", "not in the file", "waiting"
CALM = {IN_STEP, WAITING}
"""The states that need no repair."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs from its desired state: `eth0 is down`.

    `follows_from` is the difference that explains it, after its owner: `container web: eth0 is down`. It is empty for a
    difference that no other one explains; `effects` counts the differences that follow from such a one, on its host.
    """

    kind: str
    name: str
    text: str
    follows_from: str = ""
    effects: int = 0


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
    """Those that no other one explains are first."""
    addresses: tuple[str, ...] = listed()
    """The addresses that it is to have, with the length of their prefixes, and those that a LAN has leased to it."""


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
    """Whether all that is in the document is in step, or waits."""
    hosts: tuple[HostStatus, ...]
    things: int = 0
    """The number of items, and of those that are neither in step nor waiting."""
    not_in_step: int = 0
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
    return count_items(StatusDocument(FORMAT_VERSION, topology, in_step=True, hosts=hosts))


def count_items(document: StatusDocument) -> StatusDocument:
    """The document with what follows from its items: the states of its hosts, and the counts."""
    hosts = tuple(replace(host, state=_worst(host.items)) for host in document.hosts)
    items = [item for host in hosts for item in host.items]
    off = sum(item.state not in CALM for item in items)
    return replace(document, in_step=not off, hosts=hosts, things=len(items), not_in_step=off)


def select(document: StatusDocument, is_wanted: Callable[[Item], bool]) -> StatusDocument:
    """The document with the wanted items alone, and the hosts that have any; it counts and judges only these."""
    hosts = (replace(host, items=tuple(item for item in host.items if is_wanted(item))) for host in document.hosts)
    return count_items(replace(document, hosts=tuple(host for host in hosts if host.items)))


def _host_status(
    plan: HostPlan, desired: HostState, facts: HostFacts | None, waiting: Mapping[str, str], names: Mapping[str, Subject]
) -> HostStatus:
    changes = [change for change in plan.changes if is_difference(change)]
    gone = [change.before for change in changes if change.before and change.ref not in desired.records]
    subjects = subjects_of([*desired.records.values(), *gone], names)
    wanted: dict[Subject, list[Record]] = {}
    for ref, record in desired.records.items():
        wanted.setdefault(subjects[ref], []).append(record)
    changed: dict[Subject, list[Change]] = {}
    for change in changes:
        changed.setdefault(subjects[change.ref], []).append(change)
    explained = _explain(changes, subjects)
    idle = {Subject.container(name): reason for name, reason in waiting.items()}
    found = sorted({*wanted, *changed, *idle}, key=attrgetter("order"))
    leases = _leases(desired, facts)
    absent = {change.ref for change in changes if change.before is None}
    has_more = any(ref not in absent and not record.is_always_there for ref, record in desired.records.items())
    items = tuple(
        Item(one, WAITING, idle[one], addresses=_addresses(wanted.get(one, [])))
        if one in idle and not changed.get(one)
        else _item(one, wanted.get(one, []), changed.get(one, []), leases.get(one), explained, has_more=has_more)
        for one in found
    )
    return HostStatus(plan.host, _worst(items), items)


def _explain(changes: Sequence[Change], subjects: Mapping[Ref, Subject]) -> dict[Ref, Difference]:
    """Each change in words, with what explains it."""
    found: dict[Ref, Difference] = {}
    for cause in find_causes(changes):
        root, text = cause.change.ref, describe_drift(cause.change)
        found[root] = Difference(root.kind, root.name, text, effects=len(cause.effects))
        for effect in cause.effects:
            origin = f"{subjects[root]}: {text}"
            found[effect.ref] = Difference(effect.ref.kind, effect.ref.name, describe_drift(effect), origin)
    return found


def _leases(desired: HostState, facts: HostFacts | None) -> dict[Subject, tuple[Lease, ...]]:
    """The addresses that a LAN gave to containers that ask for one; none for one that has not got it yet."""
    wanted = [fact for record in desired.records.values() for fact in record.interface_facts]
    asking = {container_of(fact.netns) for fact in wanted if fact.is_leased}
    fixed = {fact.address.partition("/")[0] for fact in wanted}
    found: dict[Subject, tuple[Lease, ...]] = {Subject.container(name): () for name in asking}
    for lease in facts.leases if facts else ():
        if lease.container in asking and lease.address not in fixed:
            found[Subject.container(lease.container)] += (lease,)
    return found


def _addresses(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fact.address for record in records for fact in record.interface_facts if fact.address))


def _item(
    subject: Subject,
    wanted: Sequence[Record],
    changes: Sequence[Change],
    leases: tuple[Lease, ...] | None,
    explained: Mapping[Ref, Difference],
    *,
    has_more: bool,
) -> Item:
    """An item with or without differences. `leases` are None for one that asks for none; `has_more`: the host has live things."""
    addresses = (*_addresses(wanted), *(lease.address for lease in leases or ()))
    if not changes:
        shown = [f"lease {lease.address} on {lease.subnet}" for lease in leases or ()]
        no_lease = ["no lease yet"] if leases == () else []
        return Item(subject, IN_STEP, ", ".join(filter(None, (summarise(wanted, subject), *shown, *no_lease))), (), addresses)
    differences = tuple(sorted((explained[change.ref] for change in changes), key=lambda one: bool(one.follows_from)))
    if not wanted:
        return Item(subject, EXTRA, summarise([c.before for c in changes if c.before], subject), differences)
    absent = [change for change in changes if change.before is None]
    always = sum(record.is_always_there for record in wanted)
    state = MISSING if absent and len(absent) + always >= len(wanted) else DRIFTED
    if state == MISSING and subject == HOST_SUBJECT and has_more:
        state = DRIFTED  # a host has no record of its own that could be missing
    if state == MISSING:  # unless something else explains it, nothing has happened to it: it has not been applied
        plain = {c.ref: Difference(c.ref.kind, c.ref.name, describe_difference(c)) for c in changes}
        elsewhere = {c.ref for c in changes if is_explained_elsewhere(explained[c.ref], subject)}
        differences = tuple(explained[ref] if ref in elsewhere else found for ref, found in plain.items())
    return Item(subject, state, summarise(wanted, subject), differences, addresses)


def is_explained_elsewhere(difference: Difference, subject: Subject) -> bool:
    """Whether a difference of another thing explains this one."""
    return bool(difference.follows_from) and not difference.follows_from.startswith(f"{subject}: ")


def describe_difference(change: Change) -> str:
    """A difference in words: `veth v-shop-web at b-shop-front to eth0, MTU 1500: locked is on, wanted off`."""
    if change.before is None and change.after:
        return f"{change.after.describe()}: missing"
    if change.after is None and change.before:
        return f"{change.before.describe()}: not in the file"
    return change.describe()


def _worst(items: Sequence[Item]) -> str:
    states = {item.state for item in items} - {WAITING}
    if states <= CALM:
        return IN_STEP
    return MISSING if states == {MISSING} else DRIFTED
