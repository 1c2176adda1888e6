"""A status for users: a row for each container, subnet, host and lab; under one that has drifted, why.

    host alpha: drifted
      host           in step   firewall, 2 settings
      container web  drifted   eth0 10.44.0.10/24 on front, default via 10.44.0.1
                       eth0 is down (and 3 entries with it)
    shop is not in step: 1 of 2 drifted. `netctl diff` shows the plan, `netctl apply` repairs it.

Things in step that are many share a row: replicas, and containers or subnets beyond `ROWS_MAX`. With `every`, each has a row of
its own, and each difference a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from reconciler.render.colour import PLAIN, Palette
from reconciler.render.connections import Connections, render_connections
from reconciler.render.plan import FOLD
from reconciler.render.status import (
    DRIFTED,
    EXTRA,
    IN_STEP,
    MISSING,
    WAITING,
    AgentStatus,
    Difference,
    Foreign,
    HostStatus,
    Item,
    StatusDocument,
    is_explained_elsewhere,
)
from reconciler.state.ref import LAB
from reconciler.state.visible import visible_line

SHOWN = 8
"""The most differences of one thing that are named; JSON has them all, and so has `every`."""
ROWS_MAX = 20
"""The most things of one sort in step that have a row each."""
NAMED = 6
"""The number of names in a row of many things."""
ORDER = (DRIFTED, MISSING, EXTRA, WAITING)
"""The states in the order in which the last line counts them."""


class _Row(NamedTuple):
    title: str
    state: str
    summary: str
    lines: tuple[str, ...] = ()
    connections: str = ""


def render_status(document: StatusDocument, palette: Palette = PLAIN, *, every: bool = False) -> str:
    """The status for users, without a newline at the end."""
    lines = [line for host in document.hosts for line in _host_lines(host, palette, every=every)]
    lines += [line for agent in document.agents for line in _agent_lines(agent, palette)]
    lines.append(_verdict(document, palette))
    return "\n".join(lines)


def _verdict(document: StatusDocument, palette: Palette) -> str:
    counts = Counter(item.state for host in document.hosts for item in host.items)
    if document.in_step:
        waits = f"; {counts[WAITING]:,} of {document.things:,} waiting" if counts[WAITING] else ""
        return palette.bold(f"{document.topology} is in step{waits}.")
    first, *others = [state for state in ORDER if counts[state]]
    counted = ", ".join([f"{counts[first]:,} of {document.things:,} {first}", *(f"{counts[each]:,} {each}" for each in others)])
    verdict = palette.bold(f"{document.topology} is not in step: {counted}.")
    return f"{verdict} `netctl diff` shows the plan, `netctl apply` repairs it."


def _host_lines(host: HostStatus, palette: Palette, *, every: bool) -> Iterator[str]:
    paint = palette.green if host.state == IN_STEP else palette.yellow if host.state == DRIFTED else palette.red
    yield f"{palette.bold(visible_line(LAB if host.host == LAB else f'host {host.host}'))}: {paint(host.state)}"
    rows = tuple(_row(item, host.connections, every=True) for item in host.items) if every else tuple(_fold(host.items))
    width = min(32, max((len(visible_line(row.title)) for row in rows), default=0))
    for row in rows:
        colour = {IN_STEP: palette.green, DRIFTED: palette.yellow, WAITING: palette.yellow}.get(row.state, palette.red)
        yield f"  {visible_line(row.title):{width}}  {colour(f'{row.state:8}')}  {visible_line(row.summary)}".rstrip()
        if row.connections:
            yield f"  {'':{width}}            {row.connections}"
        for line in row.lines:
            yield f"  {'':{width}}    {visible_line(line)}"
    yield from (line for foreign in host.foreign for line in _foreign_lines(foreign, palette))


def _row(item: Item, connections: Sequence[Connections] = (), *, every: bool = False) -> _Row:
    lines = tuple(_difference_lines(item, every=every))
    return _Row(str(item.subject), item.state, item.summary, lines, render_connections(connections, item.subject.container_name))


def _fold(items: Sequence[Item]) -> Iterator[_Row]:
    """The rows: replicas share one if they are in step or missing, or if something else explains all that differs."""
    rows: list[tuple[Item, _Row]] = []
    for (state, stem, lines), group in groupby(items, key=lambda item: (item.state, item.subject.stem, _shared_lines(item))):
        alike = list(group)
        if lines is None or not stem or len(alike) < FOLD:
            rows += ((item, _row(item)) for item in alike)
            continue
        summary = f"{len(alike):,} replicas, the first with {alike[0].summary}"
        rows.append((alike[0], _Row(alike[0].subject.through(alike[-1].subject), state, summary, lines)))
    for (sort, state), found in groupby(rows, key=lambda pair: (pair[0].subject.sort, pair[1].state)):
        calm = [row for _, row in found]
        if state != IN_STEP or len(calm) <= ROWS_MAX:
            yield from calm
        else:
            names = ", ".join(row.title.partition(" ")[2] for row in calm[:NAMED])
            plural = "policies" if sort == "policy" else f"{sort}s"
            yield _Row(f"{len(calm):,} {plural}", state, f"{names}, … (-v lists all)")


def _shared_lines(item: Item) -> tuple[str, ...] | None:
    """The lines of a row that replicas may share; None for one that has a difference of its own to show."""
    if item.state not in (IN_STEP, MISSING, DRIFTED):
        return None
    if item.state == DRIFTED and not all(one.follows_from for one in item.differences):
        return None
    return tuple(_difference_lines(item, every=False))


def _difference_lines(item: Item, *, every: bool) -> Iterator[str]:
    """What differs: first what no other difference explains, then what follows from differences of other things."""
    roots = [one for one in item.differences if not one.follows_from] if every or item.state == DRIFTED else []
    texts = list(dict.fromkeys(render_difference(one) for one in roots))  # several sets may have equal texts
    shown = texts if every else texts[:SHOWN]
    yield from shown
    if len(texts) > len(shown):
        yield f"and {len(texts) - len(shown):,} more (-v shows all)"
    if every:
        own = [one for one in item.differences if one.follows_from and not is_explained_elsewhere(one, item.subject)]
        yield from (f"  {text}" for text in dict.fromkeys(one.text for one in own))
    others = [one for one in item.differences if is_explained_elsewhere(one, item.subject)]
    for origin, count in Counter(one.follows_from for one in others).items():
        yield f"{count:,} {'entry follows' if count == 1 else 'entries follow'} from {origin}"
        if every:
            yield from (f"  {text}" for text in dict.fromkeys(one.text for one in others if one.follows_from == origin))


def render_difference(difference: Difference) -> str:
    """`eth0 is down (and 3 entries with it)`."""
    count = difference.effects
    return difference.text + (f" (and {count:,} {'entry' if count == 1 else 'entries'} with it)" if count else "")


def _foreign_lines(foreign: Foreign, palette: Palette) -> Iterator[str]:
    yield palette.yellow(f"  foreign {foreign.kind}: {visible_line(foreign.name)} {visible_line(foreign.detail)}".rstrip())
    if foreign.help_text:
        yield f"    help: {visible_line(foreign.help_text)}"


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
