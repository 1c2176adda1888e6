"""The order of changes: batches of steps, each of one backend in one namespace.

Pure, and the cost grows linearly with the number of steps.

A plan has two phases, with a barrier between them over all hosts, so that a thing can move from one to another.
"Remove" deletes, dependents first. "Make" creates, changes, and re-creates, dependencies first. At its end, programs of
the user's start, when their network is complete. A thing that must be re-created, and depends on nothing else that is
deleted, stays in "make" as a whole. Its table, for example, is then replaced in a single transaction.

Batches come from greedy list scheduling. Steps are sorted into groups (backend and namespace). A group that waits for
no other group is emitted whole, as one batch, because a backend keeps the order of its steps. If every group waits, the
smallest with ready steps is emitted in part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from reconciler.errors import NetctlError
from reconciler.plan.diff import is_gone
from reconciler.state.record import Change, Record
from reconciler.state.ref import HOST, Ref
from reconciler.state.steps.backends import NETLINK, NFT, RUNTIME
from reconciler.state.steps.step import Step


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of steps that is sent at once. `refs[i]` is the record of `steps[i]`.

    All steps run in namespace `netns`. Some backends have no connection per namespace (netns, sysctl, …): there it is
    "", and each step names its own.
    """

    backend: str
    netns: str
    steps: tuple[Step, ...]
    refs: tuple[Ref, ...]


class CycleError(NetctlError):
    """Records depend on each other in a circle: a defect of the kinds, which tests prevent."""


Group = tuple[str, str]
"""Backend and namespace."""

BATCH_LIMIT = {RUNTIME: 32}
"""The most steps of a backend in one batch: an engine needs a second for each, and a cancellation waits for the current batch."""


@dataclass(slots=True, eq=False)
class _Node:
    """A run of steps of one change in one group. `waits` counts the nodes that must be emitted before it."""

    ref: Ref
    group: Group
    steps: list[Step]
    waits: int = 0
    next: list[_Node] = field(default_factory=list)


Doing = tuple[bool | None, Ref]
"""The deletion (False) or creation (True) of a thing, or the aftermath (None) of one that the kernel deleted with a parent."""


@dataclass(frozen=True, slots=True)
class _Action:
    """The deletion or creation of one thing: its steps, and the actions before it."""

    doing: Doing
    steps: tuple[Step, ...]
    after: tuple[Doing, ...]


def order_changes(changes: tuple[Change, ...]) -> tuple[tuple[Batch, ...], tuple[Batch, ...]]:
    """The batches of "remove" and of "make". CycleError if no order exists."""
    gone = {change.ref: change.before for change in changes if is_gone(change) and change.before is not None}
    late = _late_deletions(changes, gone)
    last = _last_makings(changes)
    makings = _makings(changes, gone, late)
    first = [action for action in makings if action.doing not in last]
    programs = [action for action in makings if action.doing in last]
    return tuple(_schedule(_removals(changes, gone, late))), (*_schedule(first), *_schedule(programs))


def _last_makings(changes: Iterable[Change]) -> frozenset[Doing]:
    """What is done after all else: programs start. One that is re-created runs until then."""
    found: set[Doing] = set()
    for change in changes:
        if change.after is not None and change.after.starts_last:
            found.add((True, change.ref))
            if change.before is not None and change.before.starts_last:
                found.add((False, change.ref))
    return frozenset(found)


def _late_deletions(changes: tuple[Change, ...], gone: Mapping[Ref, Record]) -> frozenset[Ref]:
    """The re-creations whose deletion belongs to "make": all whose dependencies and predecessors stay."""
    deleted = {change.ref for change in changes if change.after is None}
    return frozenset(
        change.ref
        for change in changes
        if change.recreate
        and change.before is not None
        and not any(ref in gone for ref in change.before.depends_on)
        and not any(ref in deleted for ref in change.before.follows)
    )


def _removals(changes: tuple[Change, ...], gone: Mapping[Ref, Record], late: frozenset[Ref]) -> list[_Action]:
    """The deletions, dependents first. An implied one has no steps, but keeps its position; its aftermath is last."""
    above: dict[Ref, list[Doing]] = {ref: [] for ref in gone if ref not in late}
    for ref in above:
        for below in gone[ref].depends_on + gone[ref].follows:
            if below in above:
                above[below].append((False, ref))
    implied = {change.ref for change in changes if change.implied}
    actions = [
        _Action((False, ref), () if ref in implied else gone[ref].lower_delete(), tuple(after)) for ref, after in above.items()
    ]
    early = (ref for ref in above if ref in implied and late.isdisjoint(gone[ref].depends_on))
    return actions + [_aftermath(ref, gone[ref]) for ref in early]


def _aftermath(ref: Ref, before: Record) -> _Action:
    """The remaining steps for a thing that the kernel deleted with its parents."""
    return _Action((None, ref), before.lower_aftermath(), tuple((False, parent) for parent in before.depends_on))


def _makings(changes: tuple[Change, ...], gone: Mapping[Ref, Record], late: frozenset[Ref]) -> list[_Action]:
    """The creations, dependencies first. A late deletion precedes the creation of all that is deleted with it."""
    actions = []
    for change in changes:
        if late and change.ref in gone and (change.implied or change.ref in late):
            before = gone[change.ref]
            steps = before.lower_delete() if change.ref in late else ()
            actions.append(_Action((False, change.ref), steps, tuple((False, ref) for ref in before.depends_on)))
            if change.implied and not late.isdisjoint(before.depends_on):
                actions.append(_aftermath(change.ref, before))
        if change.after is not None:
            after = tuple((True, ref) for ref in change.after.depends_on + change.after.follows)
            actions.append(_Action((True, change.ref), _make_steps(change), ((False, change.ref), *after)))
    return actions


def _make_steps(change: Change) -> tuple[Step, ...]:
    if change.after is None:
        return ()
    if change.before is None or change.recreate:
        return change.after.lower_create()
    return change.after.lower_update(change.before)


# --- scheduling -------------------------------------------------------------------------------------------------------


def _schedule(actions: list[_Action]) -> Iterator[Batch]:
    nodes = _graph(actions)
    groups = _Groups(nodes)
    left = len(nodes)
    while left:
        group = groups.choose()
        if group is None:
            stuck = sorted({node.ref for node in nodes if node.waits > 0})
            raise CycleError(f"these depend on each other in a circle: {', '.join(map(str, stuck[:5]))}")
        emitted = groups.drain(group)
        left -= len(emitted)
        steps = [(step, node.ref) for node in emitted for step in node.steps]
        limit = BATCH_LIMIT.get(group[0], len(steps) or 1)
        for start in range(0, len(steps), limit):
            part = steps[start : start + limit]
            yield Batch(group[0], group[1], tuple(step for step, _ in part), tuple(ref for _, ref in part))


class _Groups:
    """The rest of each group: the ready nodes, and the number of incoming edges from other groups."""

    def __init__(self, nodes: list[_Node]) -> None:
        self.left: dict[Group, int] = {}
        self.outside: dict[Group, int] = {}
        self.ready: dict[Group, list[_Node]] = {}
        self.smallest: list[tuple[int, Group]] = []
        for node in nodes:
            self.left[node.group] = self.left.get(node.group, 0) + 1
            for successor in node.next:
                if successor.group != node.group:
                    self.outside[successor.group] = self.outside.get(successor.group, 0) + 1
        for node in nodes:
            if not node.waits:
                self._add_ready(node)
        self.free = deque(group for group in self.left if group not in self.outside)

    def choose(self) -> Group | None:
        """A group that waits for no other; else the smallest with ready nodes, because splitting a large one costs most."""
        if self.free:
            return self.free.popleft()
        while self.smallest:
            _, group = heappop(self.smallest)
            if group in self.ready:
                return group
        return None

    def drain(self, group: Group) -> list[_Node]:
        """Emit all nodes of the group that are ready, or become so meanwhile; update the other groups."""
        queue = deque(self.ready.pop(group, ()))
        emitted = []
        while queue:
            node = queue.popleft()
            node.waits = -1
            emitted.append(node)
            for successor in node.next:
                successor.waits -= 1
                if successor.group == group:
                    if not successor.waits:
                        queue.append(successor)
                    continue
                if not successor.waits:
                    self._add_ready(successor)
                self.outside[successor.group] -= 1
                if not self.outside[successor.group]:
                    self.free.append(successor.group)
        self.left[group] -= len(emitted)
        return emitted

    def _add_ready(self, node: _Node) -> None:
        if node.group in self.ready:
            self.ready[node.group].append(node)
        else:
            self.ready[node.group] = [node]
            heappush(self.smallest, (self.left[node.group], node.group))


def _graph(actions: list[_Action]) -> list[_Node]:
    """A chain of nodes for each action that has steps, and the chains linked as the actions say."""
    nodes: list[_Node] = []
    first: dict[Doing, _Node] = {}
    last: dict[Doing, _Node] = {}
    for action in actions:
        previous: _Node | None = None
        for step in action.steps:
            group = _group_of(step)
            if previous is None or previous.group != group:
                node = _Node(action.doing[1], group, [])
                nodes.append(node)
                if previous is not None:
                    _link(previous, node)
                previous = node
                first.setdefault(action.doing, node)
            previous.steps.append(step)
        if previous is not None:
            last[action.doing] = previous
    passive = {action.doing: action.after for action in actions if not action.steps}
    for action in actions:
        if action.steps:
            for doing in _reach(action.after, passive):
                if doing in last:
                    _link(last[doing], first[action.doing])
    return nodes


def _reach(after: tuple[Doing, ...], passive: Mapping[Doing, tuple[Doing, ...]]) -> Iterable[Doing]:
    """`after`, with each action without steps replaced by its own predecessors in turn."""
    if passive.keys().isdisjoint(after):
        return dict.fromkeys(after)
    found: dict[Doing, None] = {}
    waiting = list(after)
    while waiting:
        doing = waiting.pop()
        if doing not in found:
            found[doing] = None
            waiting.extend(passive.get(doing, ()))
    return found


def _link(earlier: _Node, later: _Node) -> None:
    earlier.next.append(later)
    later.waits += 1


def _group_of(step: Step) -> Group:
    """Netlink and nft have a connection per namespace; all other backends serve every namespace in one run."""
    return (step.backend, step.netns if step.backend in (NETLINK, NFT) else HOST)
