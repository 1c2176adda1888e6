"""Changes of the firewall, for users: the ports, policies and filters that are added, removed or changed.

A port that moves is one removed and one added element, both with the same target; for users it is one change. Elements
that only follow from the subnets (bridges and prefixes) are summed up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from reconciler.kinds.firewall.words import FILTERS, POLICIES, PUBLISHED, describe_port, join_port, purpose_of
from reconciler.state.record import Change, Record

if TYPE_CHECKING:
    from reconciler.kinds.firewall.elements import FirewallElement

FEW = 3
"""The largest number of changes of one sort that are named; more are counted."""


def describe_elements(changes: Sequence[Change]) -> list[str]:
    """The changes of elements, in a few words each."""
    known = (_ports(_of(changes, PUBLISHED)), _policies(_of(changes, POLICIES)), _filters(_of(changes, FILTERS)))
    return [words for part in (*known, _rest(changes)) for words in part]


def summarise_ports(published: Sequence[FirewallElement]) -> list[str]:
    """The published ports of a container: `2 published ports (tcp 8080, udp 53)`; only their number if there are many."""
    ports = dict.fromkeys(_listen(element).removeprefix("port ") for element in published)
    names = f" ({', '.join(ports)})" if len(ports) <= FEW else ""
    return [f"{len(ports):,} published {'port' if len(ports) == 1 else 'ports'}{names}"] if ports else []


def describe_ports(published: Sequence[FirewallElement]) -> list[str]:
    """The ports of a host that lead to containers on other hosts: `published port tcp 9090 to 10.44.0.20:90`."""
    told: dict[str, list[str]] = {}
    for element in published:
        told.setdefault(_listen(element), []).append(_target(element))
    if len(told) > FEW:
        return summarise_ports(published)
    return [f"published {listen} to {' and '.join(dict.fromkeys(targets))}" for listen, targets in told.items()]


def _element(change: Change) -> FirewallElement:
    return _as_element(change.record)


def _as_element(record: Record) -> FirewallElement:
    """The record as an element: `FirewallElement.describe_changes` passes no others."""
    return cast("FirewallElement", record)


def _of(changes: Iterable[Change], stems: Sequence[str]) -> list[Change]:
    return [change for change in changes if purpose_of(_element(change).set) in stems]


def _ports(changes: Sequence[Change]) -> list[str]:
    """One line for each port, whatever the families; only the counts of added, removed and changed ports if there are many."""
    told = list(_each_port(changes))
    if len(told) <= FEW:
        return told
    verbs = [words.partition(" ")[0] for words in told]
    counts = {verb: verbs.count(word) for verb, word in (("add", "add"), ("change", "port"), ("remove", "remove"))}
    return [f"{verb} {count:,} published {'port' if count == 1 else 'ports'}" for verb, count in counts.items() if count]


def _each_port(changes: Sequence[Change]) -> Iterator[str]:
    """Pairs of a removed and an added port with the same target."""
    gone = {_target(_as_element(c.before)): _as_element(c.before) for c in changes if c.before and not c.after}
    targets: dict[str, list[str]] = {}
    for change in changes:
        element, before = _element(change), change.before
        listen, target = _listen(element), _target(element)
        if before and change.after:
            was = _target(_as_element(before))
            targets.setdefault(listen, []).append(f"{was} -> {target}" if was != target else f"{target} (re-created)")
        elif change.after and target in gone:
            was = _listen(gone.pop(target))
            targets.setdefault(f"{was} -> {_less(listen, was)}", []).append(target)
        elif change.after:
            targets.setdefault(f"add {listen}", []).append(target)
    for target, element in gone.items():
        targets.setdefault(f"remove {_listen(element)}", []).append(target)
    yield from (f"{listen} to {' and '.join(found)}" for listen, found in targets.items())


def _listen(element: FirewallElement) -> str:
    return describe_port(element.set, element.key)


def _less(listen: str, was: str) -> str:
    """The new side of a port that moves, without the words that both sides begin with: `8081`, `udp 53`."""
    protocol = listen.split()[1]
    return listen.removeprefix(f"port {protocol} ") if was.split()[1] == protocol else listen.removeprefix("port ")


def _target(element: FirewallElement) -> str:
    return join_port(*element.value.split(" . "))


def _policies(changes: Sequence[Change]) -> Iterator[str]:
    """The added and removed services of one policy.

    A service with both, at another address or in a new table, is re-created.
    """
    come = _services(change.after for change in changes)
    gone = _services(change.before for change in changes)
    parts = {
        "add {}": [service for service in come if service not in gone],
        "{} (re-created)": [service for service in come if service in gone],
        "remove {}": [service for service in gone if service not in come],
    }
    for words, services in parts.items():
        if services:
            yield words.format(", ".join(services) if len(services) <= FEW else f"{len(services):,} services")


def _services(sides: Iterable[Record | None]) -> dict[str, None]:
    """The services that the elements allow, each once, in their order."""
    return dict.fromkeys(_as_element(side).services for side in sides if side)


def _filters(changes: Sequence[Change]) -> Iterator[str]:
    """The added and removed addresses of a filter; lines for a whole filter would only repeat them."""
    for verb in ("add", "remove"):
        elements = [_element(change) for change in changes if (change.after is not None) == (verb == "add")]
        if len(elements) > FEW:
            yield f"{verb} {len(elements):,} filter entries"
        else:
            yield from (f"{verb}: {element.describe()}" for element in elements)


def _rest(changes: Sequence[Change]) -> Iterator[str]:
    known = (*PUBLISHED, *POLICIES, *FILTERS)
    rest = [change for change in changes if purpose_of(_element(change).set) not in known]
    if rest:
        verbs = {"add" if change.before is None else "remove" if change.after is None else "change" for change in rest}
        yield f"{verbs.pop() if len(verbs) == 1 else 'change'} firewall entries"
