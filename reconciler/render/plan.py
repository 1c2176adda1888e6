"""A plan for users: per host, a line for each container and subnet, and a summary.

    host alpha
      + subnet front     bridge b-shop-front 10.44.0.1/24
      + container web    eth0 10.44.0.10/24 on front, default via 10.44.0.1
      ~ container db     eth0 mtu 1500 -> 1450
    Plan: 2 to add, 1 to change, 0 to remove (58 changes)

Replicas that are all added, or all removed, share a line, so the plan of a thousand containers is as short as one of
ten. `verbose` prints every change instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType

from reconciler.plan.causes import find_causes
from reconciler.plan.document import HostPlan, PlanDocument
from reconciler.plan.subjects import names_lent_by, subjects_of
from reconciler.render.colour import PLAIN, Palette
from reconciler.state.record import Change, Record
from reconciler.state.subject import HOST_SUBJECT, Subject
from reconciler.state.summary import InterfaceFacts, Phrase
from reconciler.state.visible import visible_line

FOLD = 3
"""The least number of replicas, all added or all removed, that share a line."""
DETAILS = 6
"""The most changes of one container or subnet that are named; the rest is only counted."""


@dataclass(frozen=True, slots=True)
class Line:
    """The change of one subject: `sign` is +, ~ or -."""

    sign: str
    subject: Subject
    text: str


def render_plan(document: PlanDocument, palette: Palette = PLAIN, *, verbose: bool = False) -> str:
    """The whole plan, without a newline at the end; a sentence if there is nothing to do."""
    shown: list[str] = []
    counts = {"+": 0, "~": 0, "-": 0}
    names = names_lent_by(record for host in document.hosts for record in _sides(host))
    lines_of = {host.host: compile_lines(host, names) for host in document.hosts}
    heirs = find_heirs(line for lines in lines_of.values() for line in lines)
    for host in document.hosts:
        lines = tuple(_with_heir(line, heirs) for line in lines_of[host.host])
        for line in lines:
            counts[line.sign] += 1
        if lines:
            shown.append(palette.bold(visible_line(host.host if host.host == "lab" else f"host {host.host}")))
            shown += _verbose_lines(host, palette, names) if verbose else _short_lines(lines, palette)
    if not shown:
        return "Nothing to do: the hosts are as the file says."
    changes = sum(len(host.changes) for host in document.hosts)
    summary = f"Plan: {counts['+']:,} to add, {counts['~']:,} to change, {counts['-']:,} to remove"
    shown.append(palette.bold(summary) + palette.dim(f" ({changes:,} {'change' if changes == 1 else 'changes'})"))
    return "\n".join(shown)


def _sides(host: HostPlan) -> list[Record]:
    return [record for change in host.changes for record in (change.before, change.after) if record]


def compile_lines(host: HostPlan, names: Mapping[str, Subject] = MappingProxyType({})) -> tuple[Line, ...]:
    """One line for each subject that changes, in an order of their own: subnets before containers.

    `names` are those that the records of all hosts lend (see `plan.subjects`).
    """
    subjects = subjects_of(_sides(host), names)
    by_subject: dict[Subject, list[Change]] = {}
    for change in host.changes:
        by_subject.setdefault(subjects[change.ref], []).append(change)
    return tuple(_line(subject, by_subject[subject]) for subject in sorted(by_subject, key=attrgetter("order")))


def find_heirs(lines: Iterable[Line]) -> dict[Subject, Subject]:
    """For each container that is deleted because of a change of `replicas`: the subject that replaces it, under another name."""
    gone: set[Subject] = set()
    fresh: set[Subject] = set()
    for line in lines:
        if line.subject.container_name and line.sign != "~":
            (fresh if line.sign == "+" else gone).add(line.subject)
    first = {subject: subject.replica(1) for subject in gone if subject.replica(1) in fresh}
    return first | {subject.replica(1): subject for subject in fresh if subject.replica(1) in gone}


def find_losses(document: PlanDocument) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The containers that the plan removes, and those that it re-creates, in order."""
    removed: dict[Subject, None] = {}
    again: dict[Subject, None] = {}
    for host in document.hosts:
        for change in host.changes:
            subject = change.record.subject
            if change.before and subject.container_name and subject.sort in change.record.root_of:
                if change.after is None:
                    removed[subject] = None
                elif change.recreate:
                    again[subject] = None
    # What holds the namespace may go while the container stays.
    kept = {change.record.subject for host in document.hosts for change in host.changes if change.after}
    gone = sorted((subject for subject in removed if subject not in kept), key=attrgetter("order"))
    created = sorted((subject for subject in {**again, **removed} if subject in kept), key=attrgetter("order"))
    return tuple(subject.name for subject in gone), tuple(subject.name for subject in created)


def _with_heir(line: Line, heirs: dict[Subject, Subject]) -> Line:
    if line.sign != "-" or line.subject not in heirs:
        return line
    heir = heirs[line.subject]
    return replace(line, text=f"{line.text}; `replicas` renames it: {heir.name} is created in its place")


def _line(subject: Subject, changes: Sequence[Change]) -> Line:
    records = [change.record for change in changes]
    fresh = all(change.before is None for change in changes if not (change.after and is_inherited(change.after)))
    gone = all(change.after is None for change in changes)
    if fresh or gone:
        sign, verb = ("+", "add") if fresh else ("-", "remove")
        # A policy has no record of its own: its elements define it.
        if not subject.is_rooted or any(subject.sort in record.root_of for record in records):
            return Line(sign, subject, summarise(records, subject))
        if any(record.is_attachment for record in records):
            return Line("~", subject, f"{verb} {summarise(records, subject)}")
    roots = {cause.change.ref for cause in find_causes(changes)}
    described = list(describe_changes(sorted(changes, key=lambda change: change.ref not in roots)))
    more = f"; and {len(described) - DETAILS} more (--verbose shows all)" if len(described) > DETAILS else ""
    return Line("~", subject, "; ".join(described[:DETAILS]) + more)


def is_inherited(record: Record) -> bool:
    """Whether a change of the record may come with a new thing."""
    return record.is_always_there or record.can_change_hands


def describe_changes(changes: Sequence[Change]) -> Iterator[str]:
    """A few words: first changes with a description each, then the joint descriptions of kinds."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.record.described_as, []).append(change)
    for word in sorted(groups):
        yield from type(groups[word][0].record).describe_changes(groups[word])


def summarise(records: Sequence[Record], subject: Subject | None = None) -> str:
    """The summary of a container, subnet or host from an outside view."""
    if subject == HOST_SUBJECT:
        rest = [record for record in records if not record.is_named]
        named = find_phrases([record for record in records if record.is_named])
        return ", ".join(filter(None, (_count(rest), *(phrase.alone or phrase.text for phrase in named))))
    phrases = find_phrases(records)
    first = phrases[0].part if phrases else None
    return ", ".join((p.alone if p.part is first else "") or p.text for p in phrases) or _count(records)


def find_phrases(records: Sequence[Record]) -> list[Phrase]:
    """The phrases of the records about their subject, in the order of a summary."""
    facts = InterfaceFacts(fact for record in records for fact in record.interface_facts)
    by_kind: dict[type[Record], list[Record]] = {}
    for record in records:
        by_kind.setdefault(type(record), []).append(record)
    found = [phrase for kind, alike in by_kind.items() for phrase in kind.phrases(alike, facts)]
    return sorted(found, key=lambda phrase: (phrase.part, phrase.order))


def _count(records: Sequence[Record]) -> str:
    """`firewall, 2 forwarding entries, 1 setting`: kinds that are counted together come first."""
    groups: dict[tuple[bool, str], list[Record]] = {}
    for record in records:
        groups.setdefault((not record.counted_as, record.counted_as or record.kind), []).append(record)
    return ", ".join(type(groups[key][0]).count(groups[key]) for key in sorted(groups))


def _short_lines(lines: Sequence[Line], palette: Palette) -> list[str]:
    rows = list(_fold(lines))
    width = min(32, max(len(title) for _, title, _ in rows))
    return [_paint(sign, f"  {sign} {title:{width}}  {text}".rstrip(), palette) for sign, title, text in rows]


def _fold(lines: Iterable[Line]) -> Iterator[tuple[str, str, str]]:
    """Sign, title and text of each line. Replicas (`worker-1` … `worker-3`) that are all added, or all removed, share one."""
    for (sign, stem), group in groupby(lines, key=lambda line: (line.sign, line.subject.stem)):
        alike = list(group)
        if sign == "~" or not stem or len(alike) < FOLD:
            yield from ((line.sign, str(line.subject), line.text) for line in alike)
            continue
        yield sign, alike[0].subject.through(alike[-1].subject), f"{len(alike):,} replicas, the first with {alike[0].text}"


def _verbose_lines(host: HostPlan, palette: Palette, names: Mapping[str, Subject]) -> Iterator[str]:
    subjects = subjects_of(_sides(host), names)
    ordered = sorted(host.changes, key=lambda change: subjects[change.ref].order)
    for subject, group in groupby(ordered, key=lambda change: subjects[change.ref]):
        yield f"  {visible_line(str(subject))}"
        for change in group:
            sign = "+" if change.before is None else "-" if change.after is None else "~"
            along = " (deleted with its parent)" if change.implied else ""
            text = change.after.describe() if change.before is None and change.after else change.describe()
            if change.after is None and change.before:
                text = change.before.describe()
            yield _paint(sign, f"    {sign} {text}{along}", palette)


def _paint(sign: str, text: str, palette: Palette) -> str:
    colour = {"+": palette.green, "~": palette.yellow, "-": palette.red}[sign]
    return colour(visible_line(text))
